"""Tables that name images, wherever they lie: a table given by itself, and what its rows say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from shelfbench.base.console import Console
from shelfbench.data.catalogue import Catalogue, ImageBytes
from shelfbench.data.sources.places import images_named
from shelfbench.data.sources.table_files import metadata_names, read_table
from shelfbench.data.sources.tables import DatasetSettings, catalogue_from_rows, wanted_columns

# Suffixes of files that are tables; Parquet may also hold the photos themselves.
TABLE_SUFFIXES = (".csv", ".tsv", ".txt", ".jsonl", ".xlsx", ".parquet")


def rows_of_table(path: Path, root: Path, settings: DatasetSettings) -> pd.DataFrame:
    """Read the rows of a table that names images.

    Parameters
    ----------
    path : Path
        File of the table.
    root : Path
        Folder that the names in ``where`` are relative to.
    settings : DatasetSettings
        Names of the columns.

    Returns
    -------
    DataFrame
        ``where``, the path of each row's image below `root`; and the columns that `catalogue_from_rows` takes.

    Raises
    ------
    InputError
        If the table cannot be read or lacks a column.
    """
    table = read_table(path)
    columns = wanted_columns(settings, [str(column) for column in table.columns], str(path))
    rows = pd.DataFrame({role: table[column] for role, column in columns.items()})
    rows["where"] = metadata_names(table, path, root)
    return rows


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
    rows = rows_of_table(path, root, settings)

    def images_of(numbers: np.ndarray, where: np.ndarray) -> ImageBytes:
        return images_named(root, where, settings, console)

    return catalogue_from_rows(name, rows, images_of)
