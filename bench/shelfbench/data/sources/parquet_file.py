"""A Parquet file given by itself, and the products of Parquet files: they hold photos, or name them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from shelfbench.base.console import Console
from shelfbench.base.errors import InputError, first_line
from shelfbench.data.catalogue import Catalogue
from shelfbench.data.sources.parquet import ParquetImages, named_in, names_of, read_parquet
from shelfbench.data.sources.parquet_columns import Photos, find_photos
from shelfbench.data.sources.products import NamedPhotos, Product, gathered, id_texts, read_ahead
from shelfbench.data.sources.settings import DatasetSettings
from shelfbench.data.sources.shards import names_photos
from shelfbench.data.sources.table_catalogue import read_table_file
from shelfbench.data.sources.tables import optional_column


def read_parquet_file(path: Path, name: str, settings: DatasetSettings, console: Console) -> Catalogue:
    """Read a catalogue from one Parquet file; see `read_parquet` and `read_table_file`."""
    if names_photos(path, settings):
        return read_table_file(path, name, settings, console)
    return read_parquet([path], name, settings, console)


def products_in_parquet(
    files: Sequence[Path], root: Path, several: bool, settings: DatasetSettings, console: Console
) -> Iterator[Product]:
    """Read the ids first (a few bytes per row), then the photos (see `shelfbench.data.formats.Format`)."""
    names = [str(file) for file in files] if several else names_of(files)
    found = [_ids(file, name, settings) for file, name in zip(files, names, strict=True)]
    for shard in found:
        if shard.photos != found[0].photos:
            raise InputError(
                f"{files[0]} and {shard.file} hold their photos in different ways", "classify them one after the other"
            )
    if found[0].photos.note:
        console.warn(found[0].photos.note)
    places = [f"{name}, row {row}" for name, shard in zip(names, found, strict=True) for row in range(shard.count)]
    keys = _joined_ids(found) if any(shard.ids is not None for shard in found) else np.array(places, object)
    if found[0].photos.kind == "bytes":
        counts = [shard.count for shard in found]
        images = ParquetImages(
            tuple(files),
            found[0].photos.column,
            np.repeat(np.arange(len(files), dtype=np.int32), counts),
            np.concatenate([np.arange(count, dtype=np.int64) for count in counts]),
            most=settings.most,
        )
        for key, photos in gathered(keys):
            yield Product(key, tuple(images.read(photos)))
        return
    paths: list[np.ndarray] = []
    refused: dict[int, str] = {}
    for shard in found:
        missing: dict[int, str] = {}
        where, notes = named_in(shard.file, root, shard.photos, missing)
        for note in notes:
            console.warn(note if shard.file.name in note else f"{shard.file}: {note}")
        if len(where) != shard.count:
            raise InputError(f"{shard.file} is damaged: its columns differ in their number of rows", "fetch it again")
        refused.update({sum(map(len, paths)) + row: reason for row, reason in missing.items()})
        paths.append(where)
    named = NamedPhotos(np.concatenate(paths), places, refused)
    if all(shard.ids is None for shard in found):
        keys = np.array(named.keys(root if several else Path()), object)
    yield from read_ahead(keys, named, root, settings, console)


@dataclass(frozen=True)
class _Shard:
    """A Parquet file: its rows, how it holds photos, and product ids as integers or text, if it has them."""

    file: Path
    photos: Photos
    count: int
    ids: np.ndarray | None


def _ids(file: Path, called: str, settings: DatasetSettings) -> _Shard:
    """Count the rows of a Parquet file and read their product ids."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        photos = find_photos(file, settings)
        count = pq.read_metadata(file).num_rows
        name = optional_column("product_id", settings, pq.read_schema(file).names, str(file))
        if not name:
            return _Shard(file, photos, count, None)
        column = pq.read_table(file, columns=[name]).column(0)
        if len(column) != count:
            raise pa.ArrowInvalid("its parts differ in their number of rows")
    except UnicodeDecodeError:
        raise InputError(f"{file} has columns whose names are not UTF-8", "write it again") from None
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, PermissionError):
            raise
        raise InputError(f"{file} is not a readable Parquet file ({first_line(error)})", "fetch it again") from None
    if pa.types.is_integer(column.type) and not column.null_count:
        return _Shard(file, photos, count, column.to_numpy())
    try:
        values = column.to_pylist()
    except UnicodeDecodeError:
        raise InputError(f"{file}: column {name!r} contains text that is not UTF-8", "write it as UTF-8") from None
    return _Shard(file, photos, count, id_texts(values, [f"{called}, row {row}" for row in range(count)], file))


def _joined_ids(shards: Sequence[_Shard]) -> np.ndarray:
    """Return the product ids of all rows."""
    ids = []
    for shard in shards:
        if shard.ids is None:
            raise InputError(
                f"{shard.file} has no column of products, but other files have one", "classify it by itself"
            )
        ids.append(shard.ids)
    if any(values.dtype == object for values in ids):  # integers here and text there: 7 and "7" are the same product
        ids = [values if values.dtype == object else values.astype(str).astype(object) for values in ids]
    return np.concatenate(ids)
