"""Files of tables that name images: finding them, reading them, and the paths in them."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd

from shelfbench.base.errors import InputError
from shelfbench.data.sources.links import is_link

METADATA = ("metadata.csv", "metadata.parquet")


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
