"""What a table's paths say: folders that are parts of a split, and a folder that the paths leave out."""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd

from shelfbench.base.errors import InputError
from shelfbench.data.sources.contents import Contents, shown
from shelfbench.data.sources.split_words import SPLIT_NAMES, split_of


def on_disk(rows: pd.DataFrame, held: Contents, table: Path) -> tuple[pd.DataFrame, list[str]]:
    """Hold the paths of a table against the files that are there.

    Parameters
    ----------
    rows : DataFrame
        With ``where``, relative to the root.
    held : Contents
    table : Path

    Returns
    -------
    DataFrame
        A path that differs from a file's only in capitals or in how accents are composed is the file's. If no path
        leads to a photo, and all do with one folder before them, they have it.
    list of str
        Notes.

    Raises
    ------
    InputError
        If no path leads to a photo, and one folder before all of them does not mend it.
    """
    there = set(held.paths())
    missing = [
        row
        for row, name in enumerate(rows["where"])
        if name not in there and "://" not in name and not os.path.exists(held.root / name)
    ]
    if not missing:
        return rows, []
    rows, spelled = _spelled_otherwise(rows, missing, there)
    missing = [row for row in missing if row not in spelled]
    notes = []
    if capitals := [row for row, name in spelled.items() if _composed(name) != _composed(rows["where"][row])]:
        notes.append(
            f"{len(capitals):,} of {len(rows):,} names in {table.name} differ from their files in capitals, such as "
            f"{spelled[capitals[0]]}"
        )
    if len(missing) == len(rows):
        return _in_one_folder(rows, held, table)
    if missing:
        notes.append(
            f"{len(missing):,} of the {len(rows):,} photos that {table.name} names are not there: "
            f"{shown([rows['where'][row] for row in missing[:4]], 3)}"
        )
    return rows, notes


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _spelled_otherwise(rows: pd.DataFrame, missing: list[int], there: set[str]) -> tuple[pd.DataFrame, dict[int, str]]:
    """Give paths the spelling of the one file that they can mean; also return what they were, by row."""
    files: dict[str, list[str]] = {}
    for path in there:
        files.setdefault(_composed(path).casefold(), []).append(path)
    where, spelled = rows["where"].tolist(), {}
    for row in missing:
        found = files.get(_composed(where[row]).casefold(), [])
        same = [path for path in found if _composed(path) == _composed(where[row])] or found
        if len(same) == 1:
            spelled[row], where[row] = where[row], same[0]
    return rows.assign(where=where), spelled


def _in_one_folder(rows: pd.DataFrame, held: Contents, table: Path) -> tuple[pd.DataFrame, list[str]]:
    """Put the one folder before all paths that leads to all photos."""
    base = os.path.relpath(table.parent, held.root)
    below = [os.path.relpath(name, base) for name in rows["where"]]
    wanted, counts = set(below), Counter[str]()
    for path in held.paths():
        counts.update(path[: -len(end)] for end in _ends(path) if end in wanted)
    distinct = len(wanted)
    whole = sorted(folder for folder, count in counts.items() if count == distinct)
    if len(whole) == 1:
        at = os.path.relpath(whole[0], base)
        note = f"{table.name} names the photos without their folder {at}{os.sep}, where all of them are"
        return rows.assign(where=[whole[0] + name for name in below]), [note]
    problem = f"none of the {len(rows):,} photos that {table} names is there (the first is {rows['where'][0]})"
    if whole:
        raise InputError(
            f"{problem}; they are in several folders: {shown(whole)}", "write the folder in the column of files"
        )
    if counts:
        best, count = min(counts.items(), key=lambda item: (-item[1], item[0]))
        raise InputError(
            f"{problem}; {count:,} of them are in {best}: {best} is missing in the column of files",
            "write the whole path of each photo from the folder of the table",
        )
    raise InputError(problem, "correct the column of files, or put the photos there")


def _ends(path: str) -> list[str]:
    """Return a path's last part, last two parts and so on."""
    parts = path.split(os.sep)
    return [os.sep.join(parts[start:]) for start in range(1, len(parts))]


def folders_of(rows: pd.DataFrame, table: Path, root: Path) -> pd.Series:
    """Return the folders of each row's photo below those of its table; those of a link count as none.

    Parameters
    ----------
    rows : DataFrame
        With ``where``, relative to the root.
    table : Path
    root : Path

    Returns
    -------
    Series of str
    """
    base = os.path.relpath(table.parent, root)
    found = rows["where"].map(lambda name: "" if "://" in name else os.path.dirname(name))
    return found.map({folder: os.path.relpath(folder or ".", base) for folder in found.unique()})


def split_by_folder(rows: pd.DataFrame, folders: pd.Series, table: Path) -> tuple[pd.DataFrame, list[str]]:
    """Take the split from the folders in a table's paths, if they are named after its parts.

    Parameters
    ----------
    rows : DataFrame
        With ``where`` and ``category``, and ``split`` if the table has such a column.
    folders : Series of str
        Those of each row's photo.
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
    parts = folders.map({folder: _part(folder) for folder in folders.unique()})
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


def other_folders(rows: pd.DataFrame, table: Path) -> list[str]:
    """Tell of photos that lie in the folder of another category than the table says.

    Parameters
    ----------
    rows : DataFrame
        With ``where`` and ``category``.
    table : Path

    Returns
    -------
    list of str
        A note, if the folders are named after categories and not all agree.
    """
    folder = rows["where"].map(lambda name: os.path.basename(os.path.dirname(name)))
    keys = rows["category"].astype(str).str.strip()
    comparable = folder.isin(set(keys)) & rows["category"].notna()
    agrees = folder[comparable] == keys[comparable]
    if not comparable.any() or agrees.mean() < 0.5 or agrees.all():
        return []
    first = agrees.index[~agrees][0]
    return [
        f"{table.name} says another category than the folder for {int((~agrees).sum()):,} of {len(rows):,} photos "
        f"(such as {rows['where'][first]}: {keys[first]}); the table's is read"
    ]
