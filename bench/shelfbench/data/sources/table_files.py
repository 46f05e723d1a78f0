"""Files of tables that name images: finding them, reading them, and the paths in them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from shelfbench.base.errors import InputError
from shelfbench.data.sources.links import is_link
from shelfbench.data.sources.tables import DatasetSettings, wanted_columns

# Suffixes of files that are tables; Parquet may also hold the photos themselves.
TABLE_SUFFIXES = (".csv", ".tsv", ".txt", ".jsonl", ".xlsx", ".parquet")
# Names of the table that comes with a folder of images.
METADATA = ("metadata.csv", "metadata.jsonl", "metadata.parquet", "metadata.tsv", "metadata.xlsx")


@dataclass(frozen=True, kw_only=True)
class NamedImages:
    """Rows of a table that names images.

    Attributes
    ----------
    rows : DataFrame
        ``where``, the file of each row's image relative to the root, or its URL; and columns by role, as
        `catalogue_from_rows` takes them.
    notes : tuple of str
        What was unsure about reading the table.
    """

    rows: pd.DataFrame
    notes: tuple[str, ...]


def find_metadata(folder: Path) -> Path | None:
    """Return the metadata table of a Hugging Face ImageFolder, if there is one."""
    return next((folder / name for name in METADATA if (folder / name).is_file()), None)


def read_table(path: Path) -> pd.DataFrame:
    """Read ``metadata.csv`` or ``metadata.parquet``.

    Parameters
    ----------
    path : Path

    Returns
    -------
    DataFrame
        Cells of a CSV file are text.

    Raises
    ------
    InputError
        If the table cannot be read or has no column ``file_name``.
    """
    try:
        table = (
            pd.read_csv(path, dtype=str, keep_default_na=False, na_values=[""])
            if path.suffix == ".csv"
            else pd.read_parquet(path)
        )
    except PermissionError:
        raise InputError(f"no permission to read {path}", "change its permissions") from None
    except (ValueError, OSError) as error:  # pandas' and Arrow's parsing errors are ValueErrors
        raise InputError(
            f"{path} cannot be read ({str(error).splitlines()[0] if str(error) else 'empty'})", "correct the table"
        ) from None
    if "file_name" not in table.columns:
        raise InputError(
            f"{path} has no column 'file_name' (it has {', '.join(map(str, table.columns))})",
            "name the images in a column file_name",
        )
    return table


def metadata_names(table: pd.DataFrame, path: Path, root: Path) -> list[str]:
    """Return the path of each row's image, relative to `root`; a link (``https://...``) stays as it is.

    Parameters
    ----------
    table : DataFrame
        With a column ``file_name``, relative to the table's folder.
    path : Path
        File of the table.
    root : Path

    Returns
    -------
    list of str

    Raises
    ------
    InputError
        If a row has no name, or its path leads out of `root`.
    """
    names = []
    for line, name in enumerate(table["file_name"], 2):
        if pd.isna(name) or "\0" in str(name):
            raise InputError(f"{path}, line {line}: no file_name", "correct the table")
        if is_link(name):
            names.append(str(name).strip())
            continue
        target = Path(os.path.normpath(path.parent.absolute() / str(name)))
        if not target.resolve().is_relative_to(root.resolve()) or not target.is_relative_to(root.absolute()):
            raise InputError(f"{path}, line {line}: file_name {name!r} is not a file below {root}", "correct the table")
        names.append(str(target.relative_to(root.absolute())))
    return names


def named_images(path: Path, root: Path, settings: DatasetSettings) -> NamedImages:
    """Read a table that names images.

    Parameters
    ----------
    path : Path
    root : Path
        Folder that the names in ``where`` are relative to; contains the table.
    settings : DatasetSettings
        Names of the columns.

    Returns
    -------
    NamedImages

    Raises
    ------
    InputError
        If the table cannot be read, lacks a column, or names files that are not below `root`.
    """
    table = read_table(path)
    columns = wanted_columns(settings, [str(column) for column in table.columns], str(path))
    rows = pd.DataFrame({role: table[column] for role, column in columns.items()})
    rows["where"] = metadata_names(table, path, root)
    return NamedImages(rows=rows, notes=())
