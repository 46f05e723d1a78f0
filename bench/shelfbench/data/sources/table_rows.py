"""What a table's paths say: folders that are parts of a split, and a folder that the paths leave out."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd

from shelfbench.base.errors import InputError
from shelfbench.data.sources.contents import Contents, shown
from shelfbench.data.sources.split_words import SPLIT_NAMES, split_of


def found_elsewhere(rows: pd.DataFrame, held: Contents, table: Path) -> tuple[pd.DataFrame, list[str]]:
    """Find photos whose paths leave out a folder.

    Parameters
    ----------
    rows : DataFrame
        With ``where``, relative to the root.
    held : Contents
    table : Path

    Returns
    -------
    DataFrame
        With the folder before each path, if no path leads to a photo without it and all do with it.
    list of str
        Notes.

    Raises
    ------
    InputError
        If no path leads to a file, and one folder before all of them does not mend it.
    """
    there = set(held.paths())
    named = rows["where"].tolist()
    if any(name in there or "://" in name for name in named):
        return rows, []
    if any(os.path.exists(held.root / name) for name in named):
        return rows, []
    base = os.path.relpath(table.parent, held.root)
    below = [os.path.relpath(name, base) for name in named]
    wanted = set(below)
    folders = {path[: -len(name)] for path in there for name in _ends(path) if name in wanted and path != name}
    whole = [folder for folder in sorted(folders) if all(folder + name in there for name in below)]
    first = rows["where"][0]
    if len(whole) == 1:
        at = os.path.relpath(whole[0], base)
        note = f"{table.name} names the photos without their folder {at}{os.sep}, where all of them are"
        return rows.assign(where=[whole[0] + name for name in below]), [note]
    problem = f"none of the {len(named):,} photos that {table} names is there (the first is {first})"
    if whole:
        raise InputError(
            f"{problem}; they are in several folders: {shown(whole)}", "write the folder in the column of files"
        )
    if folders:
        best = max(sorted(folders), key=lambda folder: sum(folder + name in there for name in below))
        count = sum(best + name in there for name in below)
        raise InputError(
            f"{problem}; {count:,} of them are in {best}: {best} is missing in the column of files",
            "write the whole path of each photo from the folder of the table",
        )
    raise InputError(problem, "correct the column of files, or put the photos there")


def _ends(path: str) -> list[str]:
    """Return a path's last part, last two parts and so on."""
    parts = path.split(os.sep)
    return [os.sep.join(parts[start:]) for start in range(1, len(parts))]


def split_by_folder(rows: pd.DataFrame, table: Path) -> tuple[pd.DataFrame, list[str]]:
    """Take the split from the folders in a table's paths, if they are named after its parts.

    Parameters
    ----------
    rows : DataFrame
        With ``where`` and ``category``, and ``split`` if the table has such a column.
    table : Path
        For messages.

    Returns
    -------
    DataFrame
        With ``split``, if the folders say it.
    list of str
        Notes.

    Raises
    ------
    InputError
        If some paths lie in such folders and others do not, or if the column contradicts them.
    """
    folders = rows["where"].map(os.path.dirname)
    said = {folder: _part(folder) for folder in folders.unique() if "://" not in folder}
    parts = folders.map(said)
    if len(set(parts.dropna())) < 2 or _is_category(rows, folders):
        return rows, []
    if "split" in rows:
        cells = rows["split"].map(lambda cell: SPLIT_NAMES.get(str(cell).strip().lower()))
        wrong = np.flatnonzero((parts.notna() & cells.notna() & (parts != cells)).to_numpy())
        if wrong.size:
            row = int(wrong[0])
            raise InputError(
                f"{table}: {rows['where'][row]} has the split {rows['split'][row]!r}, but lies in a folder of "
                f"{parts[row]}",
                "correct the column, or name another with --set dataset.split=COLUMN",
            )
        return rows, []
    if parts.isna().any():
        row = int(np.flatnonzero(parts.isna().to_numpy())[0])
        raise InputError(
            f"{table} names {int(parts.notna().sum()):,} photos in folders that are parts of a split, but "
            f"{rows['where'][row]} is not in one",
            "add a column split, or move the others elsewhere",
        )
    return rows.assign(split=parts), ["the split is that of the folders in the table's paths"]


def _part(folder: str) -> str | None:
    """Return the part of a split that a path's folders name; None if none or two."""
    words = {word for part in folder.split(os.sep) if (word := split_of(part))}
    return words.pop() if len(words) == 1 else None


def _is_category(rows: pd.DataFrame, folders: pd.Series) -> bool:
    """Whether the folders named like parts of a split are those of categories of the same name."""
    named = folders.map(lambda folder: {part.lower() for part in folder.split(os.sep) if split_of(part)})
    same = [str(key).strip().lower() in words for key, words in zip(rows["category"], named, strict=True) if words]
    return bool(same) and all(same)
