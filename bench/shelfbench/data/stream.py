"""Products to classify, one after the other: photos without labels, in any layout."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from shelfbench.base.console import Console
from shelfbench.base.errors import InputError
from shelfbench.data.catalogue import Absent, gather_products
from shelfbench.data.sources.cdiscount import read_products
from shelfbench.data.sources.contents import Contents, as_paths, contents_of, is_metadata, shown
from shelfbench.data.sources.files import is_photo, read_file, skipped
from shelfbench.data.sources.labels import as_key
from shelfbench.data.sources.links import is_link
from shelfbench.data.sources.parquet import ParquetImages, first_line, named_in, names_of
from shelfbench.data.sources.parquet_columns import Photos, find_photos
from shelfbench.data.sources.places import images_named
from shelfbench.data.sources.settings import DatasetSettings
from shelfbench.data.sources.table_files import METADATA, TABLE_SUFFIXES, named_images, read_cells
from shelfbench.data.sources.tables import optional_column
from shelfbench.data.sources.webdataset import photos_of

# Photos that are read at once: links are followed side by side, and files need little memory one after the other.
_LINKS, _FILES = 256, 16


@dataclass(frozen=True)
class Product:
    """A product to classify.

    Attributes
    ----------
    key : str
        Its id; for an image by itself, the path of its file.
    photos : tuple of bytes
        Encoded images; `Absent` for one that cannot be opened.
    """

    key: str
    photos: tuple[bytes, ...]


def products_of(paths: Sequence[Path], settings: DatasetSettings, console: Console) -> Iterator[Product]:
    """Read products from images, folders, tables, Parquet and BSON, with a few in memory at a time.

    Parameters
    ----------
    paths : sequence of Path
        A table (``*.csv``, ``*.xlsx`` ...) names its photos in a column ``file_name``: paths, relative to its folder,
        or links; photos with the same ``product_id`` are one product. So are rows of a Parquet file, which may hold the
        photos themselves (an image column ``{bytes, path}``), and samples of a WebDataset (``*.tar``); without an id,
        each row or sample is a product. Any other file that is not BSON is an image, and a product by itself. A folder
        is read by the tables called ``metadata`` in it; without one, by its BSON, Parquet and tar files; without those,
        every image below it is a product.
        A product without an id is named by its path within the folder, or by file and row; with the full path if there
        are several `paths`.
    settings : DatasetSettings
        Names of the columns ``image``, ``file_name`` and ``product_id``, if they differ from these.
    console : Console

    Yields
    ------
    Product
        One for each product, whether its photos can be read or not.

    Raises
    ------
    InputError
        If a path does not exist or cannot be read.
    """
    for path in paths:
        if not path.exists():
            raise InputError(f"{path} does not exist", "correct the path")
        try:
            str(path).encode()
        except UnicodeEncodeError:  # it may name a product, and no format could store it
            raise InputError(f"the name {os.fsencode(path)!r} is not UTF-8", "rename it") from None
    for path in paths:
        try:
            yield from _products(path, len(paths) > 1, settings, console)
        except PermissionError as error:
            raise InputError(f"no permission to read {error.filename or path}", "change its permissions") from None


def _products(path: Path, several: bool, settings: DatasetSettings, console: Console) -> Iterator[Product]:
    if path.is_dir():
        yield from _from_folder(path, several, settings, console)
    elif not path.is_file():
        raise InputError(f"{path} is neither a file nor a folder", "give images, tables, Parquet, BSON or a folder")
    elif (suffix := path.suffix.lower()) == ".bson":
        yield from _from_bson(path, settings)
    elif suffix == ".parquet":
        yield from _from_parquet([path], path.parent, several, settings, console)
    elif suffix == ".tar":
        yield from _from_archives([path], settings, console)
    elif _is_table(path, settings):
        yield from _from_tables([path], path.parent, several, settings, console)
    else:
        yield Product(str(path), (read_file(path, settings.most),))


def _is_table(path: Path, settings: DatasetSettings) -> bool:
    """Tell whether a file by itself is a table; text is one if it has the column of files."""
    suffix = path.suffix.lower()
    if suffix not in TABLE_SUFFIXES or is_photo(path):
        return False
    try:
        return suffix != ".txt" or bool(read_cells(path, settings, labelled=False))
    except InputError:
        return False


def _from_folder(folder: Path, several: bool, settings: DatasetSettings, console: Console) -> Iterator[Product]:
    held = contents_of(folder)
    tables = as_paths(folder, held.files(is_metadata))
    bson, shards, archives = (_ending(held, suffix) for suffix in (".bson", ".parquet", ".tar"))
    if tables:
        yield from _from_tables(tables, folder, several, settings, console, held=held)
        return
    if (photos := held.count()) and (bson or shards or archives):
        number = "1 image" if photos == 1 else f"{photos:,} images"
        beside = shown(path.name for path in (*bson, *shards, *archives))
        console.warn(f"{folder}: left out {number} beside {beside}")
    for shard in bson:
        yield from _from_bson(shard, settings)
    if shards:
        yield from _from_parquet(shards, folder, several, settings, console)
    if archives:
        yield from _from_archives(archives, settings, console)
    if bson or shards or archives:
        return
    if not photos:
        raise InputError(f"{folder} contains no image", f"give images, Parquet, BSON, or a folder with {METADATA[0]}")
    others = [folder.joinpath(*parts, name) for parts, names in held.others.items() for name in names]
    if others:
        console.warn(f"{folder}: {skipped(others)}")
    for name in held.paths():
        yield Product(str(folder / name) if several else name, (read_file(folder / name, settings.most),))


def _ending(held: Contents, suffix: str) -> tuple[Path, ...]:
    return as_paths(held.root, held.files(lambda name: name.lower().endswith(suffix)))


def _from_bson(path: Path, settings: DatasetSettings) -> Iterator[Product]:
    for key, photos in read_products(path, settings.most):
        yield Product(str(key), photos)


def _from_archives(files: Sequence[Path], settings: DatasetSettings, console: Console) -> Iterator[Product]:
    keys, images = photos_of(files, settings, console)
    if not len(keys):
        raise InputError(f"{files[0]} contains no photos", "a WebDataset has KEY.jpg; unpack any other archive")
    for key, photos in _gathered(keys):
        yield Product(key, tuple(images.read(photos)))


@dataclass(frozen=True)
class _Named:
    """Photos that a table names: `refused` has the reasons of rows without one, and `where` is the record of each."""

    names: np.ndarray
    where: Sequence[str]
    refused: dict[int, str] = field(default_factory=dict)

    def keys(self, given: Path) -> list[str]:
        """Name a product by its photo: a path below what was given, or a link."""
        return [
            self.where[row] if row in self.refused else name if is_link(name) else str(given / name)
            for row, name in enumerate(self.names.tolist())
        ]


def _from_tables(
    tables: Sequence[Path],
    root: Path,
    several: bool,
    settings: DatasetSettings,
    console: Console,
    *,
    held: Contents | None = None,
) -> Iterator[Product]:
    """Read the products of tables; `held` is what lies in the folder that was given, if it was not a table."""
    left = set(held.paths()) if held else set()
    for table in tables:
        found = named_images(table, root, settings, labelled=False)
        for note in found.notes:
            console.warn(note if table.name in note else f"{table}: {note}")
        names = found.rows["where"].to_numpy(object)
        left.difference_update(names.tolist())
        named = _Named(names, [f"{table.name}, record {row + 1}" for row in range(len(names))], found.refused)
        keys = named.keys(root if several else Path())
        if "product_id" in found.rows:
            keys = _keys(found.rows["product_id"].tolist(), keys, table).tolist()
        yield from _read_ahead(np.array(keys, object), named, root, settings, console)
    if left:
        images = "1 image that is" if len(left) == 1 else f"{len(left):,} images that are"
        console.warn(f"{root}: no table names {images} there: {shown(sorted(left), 3)}")


def _read_ahead(
    keys: np.ndarray, named: _Named, root: Path, settings: DatasetSettings, console: Console
) -> Iterator[Product]:
    """Read the photos that rows name, many at once, product by product."""
    there = np.array([row not in named.refused for row in range(len(keys))], bool)
    images = images_named(root, named.names[there], settings, console)
    place = np.cumsum(there) - 1
    most = _LINKS if any(map(is_link, named.names.tolist())) else _FILES
    held: list[tuple[str, np.ndarray]] = []

    def read() -> Iterator[Product]:
        rows = np.concatenate([rows for _, rows in held])
        found = iter(images.read(place[rows[there[rows]]]))
        for key, photos in held:
            yield Product(
                key, tuple(next(found) if there[row] else Absent(named.refused[row]) for row in photos.tolist())
            )
        held.clear()

    for key, rows in _gathered(keys):
        held.append((key, rows))
        if sum(len(rows) for _, rows in held) >= most:
            yield from read()
    if held:
        yield from read()


def _from_parquet(
    files: Sequence[Path], root: Path, several: bool, settings: DatasetSettings, console: Console
) -> Iterator[Product]:
    """Read the ids first (a few bytes per row), then the photos, product by product."""
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
        for key, photos in _gathered(keys):
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
    named = _Named(np.concatenate(paths), places, refused)
    if all(shard.ids is None for shard in found):
        keys = np.array(named.keys(root if several else Path()), object)
    yield from _read_ahead(keys, named, root, settings, console)


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
    return _Shard(file, photos, count, _keys(values, [f"{called}, row {row}" for row in range(count)], file))


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


def _gathered(keys: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Yield each product's rows, products in order of first appearance."""
    table = gather_products(keys)
    bounds = np.searchsorted(table.image_product, np.arange(len(table.product_id) + 1))
    for number, key in enumerate(table.product_id):
        yield str(key), table.image_row[bounds[number] : bounds[number + 1]]


def _keys(values: Sequence[Any], otherwise: Sequence[str], where: Path) -> np.ndarray:
    """Return ids as text; a row without an id is named by its place."""
    try:
        texts = [
            place if pd.api.types.is_scalar(value) and pd.isna(value) else as_key(value)
            for value, place in zip(values, otherwise, strict=True)
        ]
    except TypeError:
        raise InputError(f"{where}: a product_id is not a plain value", "write text or a number") from None
    return np.array(texts, object)
