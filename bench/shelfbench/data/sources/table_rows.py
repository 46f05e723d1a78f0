"""What a table's paths say: folders that are parts of a split."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd

from shelfbench.base.errors import InputError
from shelfbench.data.sources.columns import FLAGS, plain_header
from shelfbench.data.sources.split_words import SPLIT_NAMES, split_of
from shelfbench.data.sources.tables import PERHAPS_SPLIT

_YES_AND_NO = ({"true", "false"}, {"0", "1"}, {"yes", "no"}, {"y", "n"})


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
    codes, unique = pd.factorize(
        np.array(["" if "://" in name else name.rpartition(os.sep)[0] for name in rows["where"]], object)
    )
    return pd.Series(np.array([os.path.relpath(folder or ".", base) for folder in unique], object)[codes])


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


def settled_split(rows: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Decide whether a column of another name is the split: if each of its cells is a part, and there are several.

    Parameters
    ----------
    rows : DataFrame
        Perhaps with columns that `shelfbench.data.sources.tables.perhaps_splits` found.

    Returns
    -------
    DataFrame
        Without these columns; with ``split`` if one of them is.
    list of str
        What was taken, and what looks like a split and was not.
    """
    maybe = [str(role) for role in rows.columns if str(role).startswith(PERHAPS_SPLIT)]
    found: dict[str, pd.Series] = {}
    notes: list[str] = []
    for role in maybe:
        name, cells = role.removeprefix(PERHAPS_SPLIT), rows[role].map(lambda cell: str(cell).strip().lower())
        words = set(cells.unique())
        parts = {SPLIT_NAMES.get(word) for word in words}
        if plain_header(name) in FLAGS:
            if words in _YES_AND_NO:
                notes.append(
                    f"the column {name!r} may say the split, and was not read; for that, make a column split of train, "
                    "validation and test"
                )
        elif len(parts - {None}) < 2:
            continue
        elif None in parts:
            other = next(word for word in sorted(words) if word not in SPLIT_NAMES)
            notes.append(
                f"the column {name!r} contains parts of a split, but also {other!r}, and was not read as the split"
            )
        else:
            found[name] = cells
    if len(found) > 1:
        notes.append(f"the columns {' and '.join(map(repr, found))} may each be the split, and none was read")
    rows = rows.drop(columns=maybe)
    if len(found) != 1 or "split" in rows:
        return rows, notes
    name, cells = found.popitem()
    return rows.assign(split=cells), [*notes, f"the split is that of the column {name!r}"]


def same_split(rows: pd.DataFrame, split: pd.Series) -> None:
    """Refuse a column of splits that contradicts the folders or files that hold the rows.

    Parameters
    ----------
    rows : DataFrame
        With ``where``, and perhaps ``split``.
    split : Series of str
        The part that each row's folder or file is named after; missing where it is not named after one.

    Raises
    ------
    InputError
        If a cell says another part; the message names the first.
    """
    if "split" not in rows:
        return
    cells = rows["split"].map(lambda cell: SPLIT_NAMES.get(str(cell).strip().lower()))
    if (wrong := np.flatnonzero(((cells != split) & split.notna()).to_numpy())).size:
        row = int(wrong[0])
        raise InputError(
            f"{rows['where'][row]} has the split {rows['split'][row]!r} in the table, but lies in a part named "
            f"{split[row]}",
            "correct the column, the folders or the names of the files",
        )


def _part(folder: str) -> str | None:
    """Return the part of a split that a path's folders name; None if none or two."""
    words = {word for part in folder.split(os.sep) if (word := split_of(part))}
    return words.pop() if len(words) == 1 else None


def _is_category(rows: pd.DataFrame, folders: pd.Series) -> bool:
    """Whether the folders named like parts of a split are those of categories of the same name."""
    named = folders.map(lambda folder: {part.lower() for part in folder.split(os.sep) if split_of(part)})
    same = [str(key).strip().lower() in words for key, words in zip(rows["category"], named, strict=True) if words]
    return bool(same) and all(same)


def other_folders(rows: pd.DataFrame, folders: pd.Series, table: Path) -> list[str]:
    """Tell of photos that lie in the folder of another category than the table says.

    Parameters
    ----------
    rows : DataFrame
        With ``where`` and ``category``.
    folders : Series of str
        Those of each row's photo.
    table : Path

    Returns
    -------
    list of str
        A note, if the folders are named after categories and not all agree.
    """
    inner = {folder: os.path.basename(folder) for folder in folders.unique()}
    keys = rows["category"].astype(str).str.strip()  # lists too, which are refused later
    if set(inner.values()).isdisjoint(keys.unique()):
        return []
    folder = folders.map(inner)
    comparable = folder.isin(set(keys)) & rows["category"].notna()
    agrees = folder[comparable] == keys[comparable]
    if not comparable.any() or agrees.mean() < 0.5 or agrees.all():
        return []
    first = agrees.index[~agrees][0]
    return [
        f"{table.name} says another category than the folder for {int((~agrees).sum()):,} of {len(rows):,} photos "
        f"(such as {rows['where'][first]}: {keys[first]}); the table's is read"
    ]
