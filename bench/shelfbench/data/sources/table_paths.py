"""The files that a table names, as they are on this disk."""

from __future__ import annotations

import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import unquote

import numpy as np

from shelfbench.base.errors import InputError
from shelfbench.data.sources.elsewhere import link_of, origin_of
from shelfbench.data.sources.links import FOLLOWED, scheme_of
from shelfbench.data.sources.missing_files import nothing_found, outside, several, several_links, shortened

# A name that needs more than to be put behind the table's folder.
_ODD = re.compile(r"\\|//|^/|/$|(?:^|/)\.{1,2}(?:/|$)")
# In a folder with fewer names than this, each file is looked up by itself; else the folder is listed.
FEW = 32
# Files and folders that are looked at for one that is not where the table says.
SEARCHED = 2_000_000
# If fewer than this share of the photos are found in a folder that was left out, it may be another folder.
_FEWEST_FOUND = 0.5
_OUTSIDE = "its path leads out of the folder"


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def spelled(name: str) -> str:
    """Return the form in which file names are compared if none is spelled exactly so."""
    return unicodedata.normalize("NFC", "/".join(part.strip() for part in name.split("/"))).casefold()


class _Files:
    """What is below a root; folders are looked at when they are asked for."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._real = root.resolve()
        self._folders = {"": True}

    def _inside(self, folder: str) -> bool:
        """Tell whether a folder, links followed, is below the root."""
        if folder not in self._folders:
            inside = self._inside(folder.rpartition("/")[0])
            if inside and os.path.islink(self.root / folder):
                inside = self._leads_inside(folder)
            self._folders[folder] = inside
        return self._folders[folder]

    def _leads_inside(self, name: str) -> bool:
        return Path(os.path.realpath(self.root / name)).is_relative_to(self._real)  # pathlib refuses circles

    def look(self, names: Sequence[str]) -> tuple[np.ndarray, list[int]]:
        """Tell which of some relative paths exist, and return the numbers of those that lead out of the root."""
        by_folder: dict[str, list[int]] = defaultdict(list)
        for number, name in enumerate(names):
            by_folder[name.rpartition("/")[0]].append(number)
        present, out = np.zeros(len(names), bool), []
        for folder, numbers in by_folder.items():
            if not self._inside(folder):
                out += numbers
                continue
            there = self._among(folder, [names[number] for number in numbers])
            for number, linked in zip(numbers, there, strict=True):
                if linked is not None:
                    present[number] = True
                    if linked and not self._leads_inside(names[number]):
                        out.append(number)
        return present, sorted(out)

    def _among(self, folder: str, names: list[str]) -> list[bool | None]:
        """Return for each file of a folder whether it is a link, and None if it does not exist."""
        if len(names) < FEW:
            paths = [self.root / name for name in names]
            return [os.path.islink(path) if os.path.lexists(path) else None for path in paths]
        try:
            with os.scandir(self.root / folder) as entries:
                there = {entry.name: entry.is_symlink() for entry in entries}
        except OSError:
            return [None] * len(names)
        return [there.get(name.rpartition("/")[2]) for name in names]

    def alike(
        self, names: Sequence[str], below: str = "", *, anywhere: bool, suffix: bool = True
    ) -> dict[str, list[str]]:
        """Find files spelled like some names but for case, form and blanks: relative paths by the name's `spelled`.

        Only what is `below` a folder is searched. With `anywhere`, a name may also be the end of a file's path; without
        `suffix`, that of the file is left away. Nothing is found where there are too many files to look at.
        """
        wanted: dict[str, list[str]] = {spelled(name): [] for name in names}
        last = {name.rpartition("/")[2] for name in wanted}
        seen = 0
        for where, folders, files in os.walk(self.root / below):
            folders[:] = sorted(folder for folder in folders if not folder.startswith("."))
            seen += len(folders) + len(files)
            if seen > SEARCHED:
                return {name: [] for name in wanted}
            inner = os.path.relpath(where, self.root / below)
            start = "" if inner == "." else inner.replace(os.sep, "/") + "/"
            for file in sorted(files):
                form = spelled(file if suffix else os.path.splitext(file)[0])
                if form not in last:
                    continue
                path = spelled(start) + form
                while path:
                    if path in wanted:
                        wanted[path].append(below + start + file)
                    path = path.partition("/")[2] if anywhere else ""
        return wanted


def located(
    names: np.ndarray, at: Callable[[int], str], table: Path, root: Path, refused: dict[int, str] | None = None
) -> tuple[np.ndarray, list[str]]:
    """Find the files that a table names.

    A name is taken as it is written, if there is such a file. Otherwise backslashes separate folders; then a single
    file that differs only in case, in Unicode form or in blanks around its name is taken, and a note says so. If no
    file is found so, the folder may have been left out: where every name is the end of exactly one file's path, these
    are taken, and a note says so.

    Parameters
    ----------
    names : ndarray of object, shape (rows,)
        Text, or None for an empty cell. Links (``https://...``) are left as they are.
    at : callable
        Names the record of a row, for messages.
    table : Path
        File of the table.
    root : Path
        Folder of the catalogue, which contains the table.
    refused : dict of int to str, optional
        Takes the reason of each row that names no file below `root`, whose name is then empty; without it, such a row
        is an error, and so is a table none of whose files exists.

    Returns
    -------
    names : ndarray of object, shape (rows,)
        Relative to `root`, separated as this system does.
    notes : list of str

    Raises
    ------
    InputError
        If a row has no name, a name leads out of `root`, or no file exists.
    """
    base = table.parent
    below = os.path.relpath(base.absolute(), root.absolute()).replace(os.sep, "/")
    start = "" if below == "." else below + "/"
    files = _Files(root)
    result = np.empty(len(names), object)
    origin = origin_of(root)
    local: list[int] = []
    for row, name in enumerate(names.tolist()):
        name = str(name) if isinstance(name, int) else name
        if not isinstance(name, str) or "\0" in name or not name.strip():
            if refused is None:
                said = "no file_name" if name is None or isinstance(name, str) else "file_name is not text"
                raise InputError(f"{at(row)}: {said}", "correct the table")
            refused[row], result[row] = "the table names no file", ""
            continue
        if scheme := scheme_of(name):
            if refused is None and several_links(name):
                raise several(name, at(row))
            if refused is not None and (said := _unfollowed(name, scheme)):
                refused[row], result[row] = said, ""
                continue
            result[row] = name.strip()
            continue
        if _ODD.search(name):
            name = _tidied(name, base, root)
            if name is None:
                if refused is None:
                    raise outside(names[row], at(row), root)
                refused[row], result[row] = _OUTSIDE, ""
                continue
            result[row] = name
        else:
            result[row] = start + name if start else name
        if origin:  # the table was copied from there, and its photos were not
            result[row] = link_of(origin, result[row])
        else:
            local.append(row)
    if not local:
        return result, []
    rows = np.array(local)
    present, out = files.look(result[rows].tolist())
    notes: list[str] = []
    if out and refused is None:
        raise outside(names[rows[out[0]]], at(int(rows[out[0]])), root)
    present[out] = True  # these are refused below
    if not present.all():
        gone = rows[~present]
        notes = _from_links(result, gone, table, files)
        if notes:
            gone = rows[~files.look(result[rows].tolist())[0]]
        notes += _respelled(result, gone, table, files)
        if not notes and len(gone) == len(rows):
            notes = _in_other_folders(result, gone, start, table, files)
            if not notes and refused is None and len(rows) == len(names):  # with links, some may be no path: N/A

                def ends(tried: Sequence[str], suffix: bool) -> list[list[str]]:
                    found = files.alike(tried, anywhere=True, suffix=suffix)
                    return [found[spelled(name)] for name in tried]

                last = [name.rpartition("/")[2] for name in result[rows].tolist()]
                raise nothing_found(names[rows], last, table, root, ends)
        present, out = files.look(result[rows].tolist())
        notes += _still_missing(result[rows[~present]], len(names), table) if refused is None else []
    for number in out:
        if refused is None:
            raise outside(names[rows[number]], at(int(rows[number])), root)
        refused[int(rows[number])], result[rows[number]] = _OUTSIDE, ""
    if os.sep != "/":
        result[rows] = [name.replace("/", os.sep) for name in result[rows]]
    return result, notes


def _unfollowed(name: str, scheme: str) -> str:
    """Say why a link is not followed; empty if it is."""
    if scheme not in FOLLOWED:
        return f"a link of the kind {scheme}://, which is not followed"
    return "several links in one cell" if several_links(name) else ""


def _tidied(name: str, base: Path, root: Path) -> str | None:
    """Return a name relative to the root without ``.``, ``..`` and backslashes; None if it leads out of the root."""
    if "\\" in name and not os.path.lexists(base / name):
        name = name.replace("\\", "/")
    target = Path(os.path.normpath(base.absolute() / name))
    if not target.is_relative_to(root.absolute()):
        return None
    return target.relative_to(root.absolute()).as_posix()


def _from_links(result: np.ndarray, rows: np.ndarray, table: Path, files: _Files) -> list[str]:
    """Put in the files whose names are written as in a link: ``my%20photo.jpg``, ``photo.jpg?v=2``."""
    written = [row for row in rows.tolist() if "%" in result[row] or "?" in result[row]]
    plain = [unquote(result[row].partition("?")[0]) for row in written]
    fit = [number for number, name in enumerate(plain) if name and "\0" not in name and not _ODD.search(name)]
    present, out = files.look([plain[number] for number in fit])
    present[out] = False
    found = [number for number, there in zip(fit, present.tolist(), strict=True) if there]
    if not found:
        return []
    first = result[written[found[0]]]
    for number in found:
        result[written[number]] = plain[number]
    few = "1 name" if len(found) == 1 else f"{len(found):,} names"
    return [
        f"{few} in {table.name} {'is' if len(found) == 1 else 'are'} written as in a link, such as {shortened(first)}, "
        f"which was taken as {plain[found[0]]!r}"
    ]


def _respelled(result: np.ndarray, rows: np.ndarray, table: Path, files: _Files) -> list[str]:
    """Put in the files whose spelling differs from a name's only in capitals, Unicode form or blanks."""
    names: list[str] = result[rows].tolist()
    alike = files.alike(names, anywhere=False)
    changed: list[tuple[str, str]] = []
    for row, name in zip(rows, names, strict=True):
        found = alike[spelled(name)]
        found = [path for path in found if _composed(path) == _composed(name)] or found
        if len(found) == 1:
            result[row] = found[0]
            changed.append((name, found[0]))
    if not changed:
        return []
    few = "1 name" if len(changed) == 1 else f"{len(changed):,} names"
    return [
        f"{few} in {table.name} differ{'s' * (len(changed) == 1)} from the file only in capitals, Unicode form or "
        f"blanks, such as {changed[0][0]!r}, which was taken as {changed[0][1]!r}"
    ]


def _in_other_folders(result: np.ndarray, rows: np.ndarray, start: str, table: Path, files: _Files) -> list[str]:
    """Put in the files whose folder was left out, if every name is the end of exactly one file's path.

    Some may be the end of none, if the others lie in one folder: then these are missing there.
    """
    names = [name.removeprefix(start) for name in result[rows]]
    alike = files.alike(names, start, anywhere=True)
    places = [alike[spelled(name)] for name in names]
    found = [number for number, files_there in enumerate(places) if files_there]
    if not found or any(len(there) > 1 for there in places):
        return []
    folders = sorted({places[number][0][: -len(names[number])] for number in found})
    if len(found) < len(names) and (len(folders) > 1 or len(found) < _FEWEST_FOUND * len(names)):
        return []
    for row, name, there in zip(rows, names, places, strict=True):
        result[row] = there[0] if there else folders[0] + name
    said = folders[0] if len(folders) == 1 else f"{len(folders)} folders, such as {folders[0]}"
    which = "each" if len(found) == len(names) else f"{len(found):,} of the {len(names):,}"
    verb = "was" if len(found) == len(names) else "were each"
    return [f"{table.name} names the photos without their folder; {which} {verb} found in exactly one place, in {said}"]


def _still_missing(names: np.ndarray, count: int, table: Path) -> list[str]:
    """Say which photos are not where the table says."""
    if not len(names):
        return []
    few = "1 photo" if len(names) == 1 else f"{len(names):,} photos"
    listed = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
    return [f"{few} of the {count:,} that {table.name} names {'is' if len(names) == 1 else 'are'} not there: {listed}"]
