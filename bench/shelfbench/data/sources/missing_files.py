"""Why a table's names lead to no file, as far as that can be seen, and what to write instead."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from shelfbench.base.errors import InputError

# Files in which photos may still be packed.
ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".rar", ".7z")
_PHOTO = r"[^,;|]*\.(?:jpe?g|png|webp|gif|bmp|tiff?|heic|avif)(?:\?[^,;|\s]*)?"
_SEVERAL = re.compile(rf"\s*{_PHOTO}(?:\s*[,;|]\s*{_PHOTO})+[\s,;|]*", re.IGNORECASE)
# One link behind another; a link within a link follows on "/" or "=".
_LINKS = re.compile(r"[\s;|]https?://|,\s*https?://", re.IGNORECASE)
_AS_TEXT = re.compile(r"data:[^,]{0,80},|[A-Za-z0-9+/=\s]{400,}\Z")
_LONGEST = 120

# Finds files by their name, with or without its suffix: relative paths of each.
Ends = Callable[[Sequence[str], bool], list[list[str]]]


def shortened(name: str) -> str:
    """Quote a name for a message, cut off if it is very long."""
    return repr(name if len(name) <= _LONGEST else name[: _LONGEST - 3] + "...")


def several_links(name: str) -> bool:
    """Tell whether a cell has several links, one behind the other.

    Parameters
    ----------
    name : str
        Begins with a link.

    Returns
    -------
    bool
    """
    return name.count("://") > 1 and bool(_LINKS.search(name, 8))


def several(name: str, where: str) -> InputError:
    """Say that a cell names several photos."""
    return InputError(
        f"{where}: {shortened(name)} names several photos in one cell",
        "write a row for each photo, with the same product_id and category",
    )


def outside(name: str, where: str, root: Path) -> InputError:
    """Say that a name leads out of the folder; if its end is a file in there, name that.

    Parameters
    ----------
    name : str
    where : str
        Names the record.
    root : Path

    Returns
    -------
    InputError
    """
    if re.match(r"//[\w-]+\.[\w.-]+/", name):
        return InputError(f"{where}: {shortened(name)} is a link without https:", "write https: before each of them")
    parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".", "..")]
    ends = ("/".join(parts[start:]) for start in range(len(parts)))
    real = root.resolve()
    if found := next((end for end in ends if _is_in(root / end, real)), None):
        return InputError(
            f"{where}: file_name {shortened(name)} leads out of {root}, in which there is {found}",
            "write paths relative to the folder of the table",
        )
    return InputError(
        f"{where}: file_name {shortened(name)} is not a file below {root}",
        "correct the table, or put it into a folder above the photos",
    )


def _is_in(path: Path, real: Path) -> bool:
    try:
        return path.exists() and Path(os.path.realpath(path)).is_relative_to(real)
    except OSError:
        return False


def nothing_found(given: np.ndarray, last: Sequence[str], table: Path, root: Path, ends: Ends) -> InputError:
    """Say why no file of a table was found, as far as that can be seen.

    Parameters
    ----------
    given : ndarray of object
        The names, as the table writes them.
    last : sequence of str
        The name of each one's file, without its folders.
    table : Path
    root : Path
    ends : callable
        Takes names, and whether suffixes count; returns the files of each name.

    Returns
    -------
    InputError
    """
    first = str(given[0])
    if _AS_TEXT.match(first):
        return InputError(
            f"the column of files in {table} contains photos written as text, such as {shortened(first)}",
            "write each photo into a file, or the bytes of all into Parquet",
        )
    if re.match(r"[A-Za-z]:[\\/]", first):
        return InputError(
            f"{table} names files on a drive of Windows, such as {shortened(first)}",
            "write paths relative to the folder of the table",
        )
    if _SEVERAL.fullmatch(first):
        return several(first, str(table))
    stems = [os.path.splitext(name)[0] for name in last]
    for tried, suffix in ((last, True), (last, False), (stems, False)):
        places = ends(tried, suffix)
        number = next((number for number, found in enumerate(places) if found), None)
        if number is not None:
            break
    else:
        return _nowhere(first, len(given), table, root)
    there = places[number]
    said = " and ".join(there[:2]) + (f" and {len(there) - 2} more places" if len(there) > 2 else "")
    return InputError(
        f"no file is where {table} says: {shortened(str(given[number]))} is missing, but there is {said}",
        f"write each file's {'folder, relative to that of the table,' if suffix else 'suffix'} in the column of files",
    )


def _nowhere(first: str, count: int, table: Path, root: Path) -> InputError:
    what = "the file" if count == 1 else f"any of the {count:,} files"
    with os.scandir(root) as entries:
        packed = sorted(entry.name for entry in entries if entry.name.lower().endswith(ARCHIVES))
    return InputError(
        f"{root} does not contain {what} that {table} names (the first is {shortened(first)})",
        f"unpack {', '.join(packed[:3])}"
        if packed
        else "put the photos where the table says, relative to its own folder",
    )
