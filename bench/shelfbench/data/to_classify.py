"""Products to classify, one after the other: photos without labels, in any layout."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from shelfbench.base.console import Console
from shelfbench.base.errors import InputError
from shelfbench.base.grid import number_of
from shelfbench.data.formats import ENDINGS, FORMATS, HOLDING, Format
from shelfbench.data.sources.contents import Contents, as_paths, contents_of, is_metadata, shown
from shelfbench.data.sources.files import is_photo, read_file, skipped
from shelfbench.data.sources.products import Product
from shelfbench.data.sources.settings import DatasetSettings
from shelfbench.data.sources.table_catalogue import products_in_tables
from shelfbench.data.sources.table_files import METADATA, read_cells


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
        raise InputError(
            f"{path} is neither a file nor a folder", f"give images, a folder, or files that end in {ENDINGS}"
        )
    elif (form := _format_of(path, settings)) is not None:
        yield from form.products([path], path.parent, several, settings, console)
    else:
        yield Product(str(path), (read_file(path, settings.most),))


def _format_of(path: Path, settings: DatasetSettings) -> Format | None:
    """Find the format of a file by itself; None for an image, and for text without the column of files."""
    form = FORMATS.get(path.suffix.lower())
    if form is None or not form.table:
        return form
    if is_photo(path):
        return None
    try:
        return form if path.suffix.lower() != ".txt" or read_cells(path, settings, labelled=False) else None
    except InputError:
        return None


def _from_folder(folder: Path, several: bool, settings: DatasetSettings, console: Console) -> Iterator[Product]:
    held = contents_of(folder)
    if tables := as_paths(folder, held.files(is_metadata)):
        yield from products_in_tables(tables, folder, several, settings, console, held=held)
        return
    found = {suffix: _ending(held, suffix) for suffix, form in FORMATS.items() if not form.table}
    files = [path for paths in found.values() for path in paths]
    if (photos := held.count()) and files:
        console.warn(f"{folder}: left out {number_of(photos, 'image')} beside {shown(path.name for path in files)}")
    for suffix, paths in found.items():
        if paths:
            yield from FORMATS[suffix].products(paths, folder, several, settings, console)
    if files:
        return
    if not photos:
        raise InputError(
            f"{folder} contains no image", f"give images, files that end in {HOLDING}, or a folder with {METADATA[0]}"
        )
    others = [folder.joinpath(*parts, name) for parts, names in held.others.items() for name in names]
    if others:
        console.warn(f"{folder}: {skipped(others)}")
    for name in held.paths():
        yield Product(str(folder / name) if several else name, (read_file(folder / name, settings.most),))


def _ending(held: Contents, suffix: str) -> tuple[Path, ...]:
    return as_paths(held.root, held.files(lambda name: name.lower().endswith(suffix)))
