"""Products to classify, one after the other: photos without labels, in any layout."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from shelfbench.base.console import Console
from shelfbench.base.errors import InputError
from shelfbench.data.catalogue import gather_products
from shelfbench.data.sources.cdiscount import read_products
from shelfbench.data.sources.files import files_below, skipped
from shelfbench.data.sources.labels import as_key
from shelfbench.data.sources.parquet import ParquetImages, first_line
from shelfbench.data.sources.parquet_columns import holds_bytes
from shelfbench.data.sources.table_files import METADATA, find_metadata, named_images
from shelfbench.data.sources.tables import DatasetSettings


@dataclass(frozen=True)
class Product:
    """A product to classify.

    Attributes
    ----------
    key : str
        Its id; for an image by itself, the path of its file.
    photos : tuple of bytes
        Encoded images; empty bytes for one that cannot be opened.
    """

    key: str
    photos: tuple[bytes, ...]


def products_of(paths: Sequence[Path], settings: DatasetSettings, console: Console) -> Iterator[Product]:
    """Read products from images, folders, Parquet and BSON, with a few in memory at a time.

    Parameters
    ----------
    paths : sequence of Path
        A file that is neither ``*.parquet`` nor ``*.bson`` is an image, and a product by itself. A folder is read by
        its ``metadata.csv`` or ``metadata.parquet`` (columns ``file_name`` and, if photos belong together,
        ``product_id``); without one, by its BSON or Parquet files; without those, every image below it is a product.
        Rows of Parquet files (an image column ``{bytes, path}``) with the same ``product_id`` are one product; without
        that column, each row is one. A product without an id is named by its path within the folder, or by file and
        row; with the full path if there are several `paths`.
    settings : DatasetSettings
        Names of the columns ``image`` and ``product_id``, if they differ from these.
    console : Console

    Yields
    ------
    Product

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
    if path.is_file():
        if path.suffix == ".bson":
            yield from _from_bson(path)
        elif path.suffix == ".parquet":
            yield from _from_parquet([path], several, settings)
        else:
            yield Product(str(path), (_read(path),))
        return
    if not path.is_dir():
        raise InputError(f"{path} is neither a file nor a folder", "give images, Parquet, BSON or a folder of them")
    if tables := _tables(path):
        for table in tables:
            yield from _from_metadata(table, path if several else Path(), table.parent.relative_to(path), settings)
    elif shards := sorted(path.glob("*.bson")):
        for shard in shards:
            yield from _from_bson(shard)
    elif shards := sorted(path.glob("*.parquet")) or sorted(path.glob("data/*.parquet")):
        yield from _from_parquet(shards, several, settings)
    else:
        found, others = files_below(path)
        if not found:
            raise InputError(f"{path} contains no image", f"give images, Parquet, BSON, or a folder with {METADATA[0]}")
        if others:
            console.warn(f"{path}: {skipped(others)}")
        for file in found:
            yield Product(str(file if several else file.relative_to(path)), (_read(file),))


def _tables(folder: Path) -> list[Path]:
    """Find the metadata tables: the folder's own, or those of its subfolders (``train``, ``test`` ...)."""
    if table := find_metadata(folder):
        return [table]
    below = [find_metadata(path) for path in sorted(folder.iterdir()) if path.is_dir()]
    return [table for table in below if table]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _from_bson(path: Path) -> Iterator[Product]:
    for key, photos in read_products(path):
        yield Product(str(key), photos)


def _from_metadata(table: Path, given: Path, below: Path, settings: DatasetSettings) -> Iterator[Product]:
    """Read a table's products; one without an id is named `given / below / file_name`, to differ from other tables'."""
    root = table.parent
    rows = named_images(table, root, settings, labelled=False).rows
    names = rows["where"].tolist()
    paths = [str(given / below / name) for name in names]
    keys = _keys(rows["product_id"].tolist(), paths, table) if "product_id" in rows else np.array(paths, object)
    for key, photos in _gathered(keys):
        yield Product(key, tuple(_read(root / names[row]) for row in photos))


def _from_parquet(files: Sequence[Path], several: bool, settings: DatasetSettings) -> Iterator[Product]:
    """Read the ids first (a few bytes per row), then the photos, product by product."""
    names = [str(file) if several else file.name for file in files]
    found = [_ids(file, name, settings) for file, name in zip(files, names, strict=True)]
    counts = [count for count, _ in found]
    images = ParquetImages(
        tuple(files),
        settings.image,
        np.repeat(np.arange(len(files), dtype=np.int32), counts),
        np.concatenate([np.arange(count, dtype=np.int64) for count in counts]),
    )
    ids = [values for _, values in found if values is not None]
    if not ids:
        places = ((name, row) for name, count in zip(names, counts, strict=True) for row in range(count))
        for number, (name, row) in enumerate(places):
            yield Product(f"{name}, row {row}", tuple(images.read([number])))
        return
    if len(ids) < len(files):
        file = next(file for file, (_, values) in zip(files, found, strict=True) if values is None)
        raise InputError(
            f"{file} has no column {settings.product_id!r}, but other files have one", "classify it by itself"
        )
    if any(values.dtype == object for values in ids):  # integers here and text there: 7 and "7" are the same product
        ids = [values if values.dtype == object else values.astype(str).astype(object) for values in ids]
    for key, photos in _gathered(np.concatenate(ids)):
        yield Product(key, tuple(images.read(photos)))


def _ids(file: Path, called: str, settings: DatasetSettings) -> tuple[int, np.ndarray | None]:
    """Count the rows of a Parquet file and read their product ids: integers or text; None without the column."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        schema = pq.read_schema(file)
        image = settings.image
        if schema.names.count(image) != 1 or not holds_bytes(schema.field(image).type):
            raise InputError(
                f"{file} has no column {image!r} of bytes and path (it has {', '.join(schema.names)})",
                "write the images in the Hugging Face layout, or name their column with --set dataset.image=COLUMN",
            )
        count = pq.read_metadata(file).num_rows
        name = _column(settings, schema.names, file)
        if not name:
            return count, None
        column = pq.read_table(file, columns=[name]).column(0)
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, PermissionError):
            raise
        raise InputError(f"{file} is not a readable Parquet file ({first_line(error)})", "fetch it again") from None
    if pa.types.is_integer(column.type) and not column.null_count:
        return count, column.to_numpy()
    try:
        values = column.to_pylist()
    except UnicodeDecodeError:
        raise InputError(f"{file}: column {name!r} contains text that is not UTF-8", "write it as UTF-8") from None
    return count, _keys(values, [f"{called}, row {row}" for row in range(count)], file)


def _column(settings: DatasetSettings, present: Sequence[str], where: Path) -> str:
    """Return the name of the column of product ids; empty if there is none and none was named."""
    if settings.product_id in present:
        return settings.product_id
    if settings.product_id != DatasetSettings().product_id:
        raise InputError(
            f"{where} has no column {settings.product_id!r} (it has {', '.join(map(str, present))})",
            "name the right one with --set dataset.product_id=COLUMN",
        )
    return ""


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
