"""What the cache holds: each entry with its size, when it was last used, and what makes it again."""

from __future__ import annotations

import os
import re
import stat
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from shelfbench.base.errors import InputError
from shelfbench.base.storage import cache_dir
from shelfbench.base.using import HASHED, WHOLE
from shelfbench.doctor.kinds import KINDS, Kind, known

# What a download leaves beside its files (`shelfbench.data.sources.hub`).
NOTE = "fetched.json"
FOREIGN = "not written by shelfbench"
UNFINISHED = "being written, or left by a command that was killed: --clean removes it"
LINK = "a link, which is not followed"
BY_HAND = "nothing says that shelfbench fetch can bring it back"
_PARTIAL = re.compile(r"\.partial-[0-9a-f]{12}(-.*)?", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What is removed as a whole, or stays as a whole.

    Attributes
    ----------
    kind : Kind or None
        None if it is not shelfbench's.
    name : str
        For people.
    paths : tuple of Path
        A folder, or files that belong together.
    size : int
        Bytes, of files only.
    used : float
        When it was last used, or anything in it written: seconds since 1970.
    kept : str
        Why it is not removed, however old; empty if it may be.
    """

    kind: Kind | None
    name: str
    paths: tuple[Path, ...]
    size: int
    used: float
    kept: str = ""

    @property
    def title(self) -> str:
        """What it is."""
        return FOREIGN if self.kind is None else self.kind.title

    @property
    def name_or_title(self) -> str:
        """What it is called where there may be many of its kind."""
        return self.name if self.kind is None or not (self.kind.single or self.kind.kept) else self.kind.title

    @property
    def again(self) -> str:
        """What makes it again; empty if nothing of shelfbench does."""
        return "" if self.kind is None or self.kept else self.kind.again.replace("NAME", self.name)

    def described(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {
            "kind": None if self.kind is None else self.kind.folder,
            "name": self.name,
            "paths": [str(path) for path in self.paths],
            "bytes": self.size,
            "last_used": datetime.fromtimestamp(self.used).astimezone().isoformat(timespec="seconds"),
            "made_again_by": self.again,
            "never_removed_because": self.kept,
        }


def entries(root: Path | None = None) -> list[Entry]:
    """List everything in the cache, so that sizes add up to that of the folder.

    Parameters
    ----------
    root : Path, optional
        By default the user's cache.

    Returns
    -------
    list of Entry
        In the order of `KINDS`, the largest of each kind first; what is not shelfbench's at the end.

    Raises
    ------
    InputError
        If the place is not a folder, or cannot be read.
    """
    root = cache_dir() if root is None else root
    if not root.exists():
        return []
    if not root.is_dir():
        raise InputError(f"{root} is not a folder", "name another with SHELFBENCH_CACHE")
    kinds = {kind.folder: kind for kind in KINDS}
    found: list[Entry] = []
    try:
        for path in sorted(root.iterdir()):
            kind = kinds.get(path.name)
            if kind is None or path.is_symlink() or not path.is_dir():
                found.append(_other(path, root))
            else:
                found += _of_kind(kind, path, root)
    except PermissionError as error:
        raise InputError(
            f"{error.filename} may not be read", "ask its owner, or name another with SHELFBENCH_CACHE"
        ) from None
    order = {kind.folder: number for number, kind in enumerate(KINDS)}
    return sorted(
        found, key=lambda entry: (len(order) if entry.kind is None else order[entry.kind.folder], -entry.size)
    )


def _of_kind(kind: Kind, folder: Path, root: Path) -> Iterator[Entry]:
    if kind.folder in WHOLE:
        yield _folder(kind, folder)
        return
    together: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()):
        if path.is_symlink() or not (kind.name.fullmatch(path.name) and kind.single != path.is_dir()):
            deeper = kind.folder == "features" and path.is_dir() and not path.is_symlink()
            deeper = deeper and not _PARTIAL.fullmatch(path.name)
            yield from _stores(kind, path, root) if deeper else [_other(path, root)]
        elif kind.single:
            together.setdefault(path.stem, []).append(path)
        else:
            yield _folder(kind, path)
    for paths in together.values():
        found = [_look(path) for path in paths]
        size, used = sum(one.size for one in found), max(one.used for one in found)
        name = kind.about(paths[0])
        yield Entry(kind=kind, name=name, paths=tuple(paths), size=size, used=used, kept=kind.kept)


def _stores(kind: Kind, folder: Path, root: Path) -> Iterator[Entry]:
    """Features of a network that is a path stand deeper if an earlier version computed them."""
    for path in sorted(folder.iterdir()):
        if path.is_symlink() or not path.is_dir():
            yield _other(path, root)
        elif HASHED.fullmatch(path.name):
            yield _folder(kind, path)
        else:
            yield from _stores(kind, path, root)


def _folder(kind: Kind, path: Path) -> Entry:
    fetched = _fetched(path) if kind.fetched else None
    look = _look(path, kind.inside, fetched or ())
    kept = BY_HAND if fetched is not None and not fetched else kind.kept
    if not kept and look.strange:
        kept = f"contains what shelfbench did not write ({look.strange})"
    return Entry(kind=kind, name=kind.about(path), paths=(path,), size=look.size, used=look.used, kept=kept)


def _other(path: Path, root: Path) -> Entry:
    look = _look(path)
    kept = UNFINISHED if _PARTIAL.fullmatch(path.name) else LINK if path.is_symlink() else FOREIGN
    name = str(path.relative_to(root))
    return Entry(kind=None, name=name, paths=(path,), size=look.size, used=look.used, kept=kept)


@dataclass
class _Look:
    size: int
    used: float
    strange: str = ""


def _fetched(folder: Path) -> set[str]:
    """Name the files that a download left, with their notes, by their path in the folder; none without a note."""
    notes = list(folder.rglob(NOTE))
    if not notes:
        return set()
    # which revision is the newest known of a dataset by the hub's name
    found = {path.name for path in folder.glob("*.json") if set(known(path)) == {"revision", "configs"}}
    for note in notes:
        files = known(note).get("files")
        inside = note.parent.relative_to(folder)
        found |= {(inside / name).as_posix() for name in (*(files if isinstance(files, dict) else ()), NOTE)}
    for mark in folder.rglob("*.metadata"):  # of a file that came before a download was interrupted
        above, marked, name = mark.relative_to(folder).as_posix().rpartition(".cache/huggingface/download/")
        found |= {above + name.removesuffix(".metadata")} if marked else set()
    return found


def _look(path: Path, inside: re.Pattern[str] | None = None, fetched: Collection[str] = ()) -> _Look:
    """Add up the files of a folder, or look at a file; links are not followed, and count for nothing."""
    status = path.lstat()
    found = _Look(status.st_size if stat.S_ISREG(status.st_mode) else 0, status.st_mtime)
    waiting = [path] if stat.S_ISDIR(status.st_mode) else []
    while waiting:
        with os.scandir(waiting.pop()) as items:
            for item in items:
                name = Path(item.path).relative_to(path).as_posix()
                if item.is_dir(follow_symlinks=False):
                    waiting.append(Path(item.path))
                    continue
                try:
                    status = item.stat(follow_symlinks=False)
                except FileNotFoundError:  # removed meanwhile
                    continue
                if stat.S_ISREG(status.st_mode):
                    found.size += status.st_size
                    found.used = max(found.used, status.st_mtime)
                own = inside is None or name in fetched or bool(inside.fullmatch(name) or _PARTIAL.fullmatch(item.name))
                if not own or not stat.S_ISREG(status.st_mode):
                    found.strange = found.strange or name
    return found


def size_text(size: int) -> str:
    """Write a number of bytes for people."""
    for unit, digits in (("B", 0), ("kB", 0), ("MB", 0), ("GB", 1)):
        if size < 999.5 or unit == "GB":
            return f"{size:,.{digits}f} {unit}"
        size /= 1000  # type: ignore[assignment]
    raise AssertionError


def age_text(seconds: float) -> str:
    """Write how long ago something was."""
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= length:
            number = int(seconds // length)
            return f"{number:,} {unit}{'s' * (number > 1)} ago"
    return "just now"


def cache_text(found: Sequence[Entry], root: Path, now: float | None = None) -> str:
    """Write the list as a table; files of one kind share a row.

    Parameters
    ----------
    found : sequence of Entry
    root : Path
    now : float, optional
        Seconds since 1970.

    Returns
    -------
    str
    """
    from shelfbench.base.grid import Grid

    now = time.time() if now is None else now
    if not found:
        return f"{root} holds nothing yet"
    rows = []
    for group in grouped(found):
        last = age_text(now - max(entry.used for entry in group))
        first, size = group[0], sum(entry.size for entry in group)
        rows.append((first.title, name_of(group), size_text(size), last))
    grid = Grid(
        title=f"The cache {root}: {size_text(sum(entry.size for entry in found))}",
        headers=("What", "Which", "Size", "Last used"),
        rows=tuple(rows),
    )
    again = dict.fromkeys(f"  {entry.title}: {entry.again}" for entry in found if entry.again)
    stays = dict.fromkeys(f"  {entry.name_or_title}: {entry.kept}" for entry in found if entry.kept)
    lines = [grid.text().rstrip("\n")]
    for title, said in (("What makes it again:", again), ("What is never removed, and why:", stays)):
        lines += ["", title, *said] if said else []
    return "\n".join(lines)


def name_of(group: Sequence[Entry]) -> str:
    """Name entries that are listed together."""
    first = group[0]
    if first.kind is None or not first.kind.single:
        return first.name
    return f"{len(group):,} of them" if len(group) > 1 else "one"


def grouped(found: Sequence[Entry]) -> list[list[Entry]]:
    """Put together entries of one kind that are single files, neighbours in the list; any other stands alone."""
    groups: list[list[Entry]] = []
    for entry in found:
        if entry.kind is not None and entry.kind.single and groups and groups[-1][0].kind is entry.kind:
            groups[-1].append(entry)
        else:
            groups.append([entry])
    return groups
