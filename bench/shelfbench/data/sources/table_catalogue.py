"""Tables whose rows name the photos: a catalogue of one, and the products of some."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from shelfbench.base.console import Console
from shelfbench.base.errors import InputError
from shelfbench.data.catalogue import Catalogue, ImageBytes, TableRows
from shelfbench.data.sources.contents import Contents, shown
from shelfbench.data.sources.files import NoPhotos
from shelfbench.data.sources.places import images_named
from shelfbench.data.sources.products import NamedPhotos, Product, id_texts, read_ahead
from shelfbench.data.sources.settings import DatasetSettings
from shelfbench.data.sources.table_files import named_images
from shelfbench.data.sources.table_rows import folders_of, split_by_folder
from shelfbench.data.sources.tables import catalogue_from_rows


def read_table_file(path: Path, name: str, settings: DatasetSettings, console: Console) -> Catalogue:
    """Read a catalogue from a table by itself.

    Parameters
    ----------
    path : Path
        ``*.csv``, ``*.tsv``, ``*.txt``, ``*.jsonl``, ``*.xlsx`` or Parquet, with a column of paths relative to its
        folder.
    name : str
        Name of the dataset, for messages.
    settings : DatasetSettings
        Names of the columns.
    console : Console

    Returns
    -------
    Catalogue

    Raises
    ------
    InputError
        If the table cannot be read or lacks a column.
    """
    root = path.parent
    named = named_images(path, root, settings)
    rows, notes = split_by_folder(named.rows, folders_of(named.rows, path, root), path)

    def images_of(numbers: np.ndarray, where: np.ndarray) -> ImageBytes:
        return images_named(root, where, settings, console) if settings.photos else NoPhotos((path,), where)

    tables = TableRows((path,), np.zeros(len(rows), np.int32), named.lines)
    try:
        return catalogue_from_rows(name, rows, images_of, notes=(*named.notes, *notes), tables=tables)
    except InputError as error:  # of a row that is named by its photo
        if path.name in error.message:
            raise
        raise InputError(f"{path}: {error.message}", error.remedy) from None


def products_in_tables(
    tables: Sequence[Path],
    root: Path,
    several: bool,
    settings: DatasetSettings,
    console: Console,
    *,
    held: Contents | None = None,
) -> Iterator[Product]:
    """Read the products of tables, with or without categories.

    Parameters
    ----------
    tables : sequence of Path
    root : Path
        The folder that was given, or that of the table.
    several : bool
        Whether other paths were given, too.
    settings : DatasetSettings
    console : Console
    held : Contents, optional
        What lies in the folder that was given; photos there that no table names are told.

    Yields
    ------
    Product

    Raises
    ------
    InputError
        If a table cannot be read or lacks a column.
    """
    left = set(held.paths()) if held else set()
    for table in tables:
        found = named_images(table, root, settings, labelled=False)
        for note in found.notes:
            console.warn(note if table.name in note else f"{table}: {note}")
        names = found.rows["where"].to_numpy(object)
        left.difference_update(names.tolist())
        named = NamedPhotos(names, [f"{table.name}, record {row + 1}" for row in range(len(names))], found.refused)
        keys = named.keys(root if several else Path())
        if "product_id" in found.rows:
            keys = id_texts(found.rows["product_id"].tolist(), keys, table).tolist()
        yield from read_ahead(np.array(keys, object), named, root, settings, console)
    if left:
        images = "1 image that is" if len(left) == 1 else f"{len(left):,} images that are"
        console.warn(f"{root}: no table names {images} there: {shown(sorted(left), 3)}")
