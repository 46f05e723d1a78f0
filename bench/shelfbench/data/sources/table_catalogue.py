"""A table given by itself, whose rows name the photos."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from shelfbench.base.console import Console
from shelfbench.base.errors import InputError
from shelfbench.data.catalogue import Catalogue, ImageBytes, TableRows
from shelfbench.data.sources.files import NoPhotos
from shelfbench.data.sources.places import images_named
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
