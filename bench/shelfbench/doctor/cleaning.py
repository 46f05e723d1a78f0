"""Removing from the cache what nobody has used for long: whole entries of its own, which no command uses."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shelfbench.base.errors import InputError, system_error
from shelfbench.base.partial import aside_of, sweep
from shelfbench.base.storage import cache_dir
from shelfbench.base.using import alone
from shelfbench.doctor.cache import Entry, entries, grouped, name_of, size_text
from shelfbench.doctor.kinds import KINDS

_AGE = re.compile(r"(\d{1,6})([hdw])")
_SECONDS = {"h": 3600.0, "d": 86400.0, "w": 604800.0}
# Where the file system does not tell whether an entry is in use: what was used within a week stays.
_CERTAIN = 7 * 86400.0
# What was made or used within these seconds may belong to a command that is about to lock it.
_MOMENT = 10.0


@dataclass(frozen=True, kw_only=True)
class Cleaned:
    """What was removed, or would be.

    Attributes
    ----------
    removed, in_use : tuple of Entry
        Old enough; what is in use stays.
    dry : bool
        Whether nothing was done.
    """

    removed: tuple[Entry, ...]
    in_use: tuple[Entry, ...]
    dry: bool

    @property
    def size(self) -> int:
        """Bytes."""
        return sum(entry.size for entry in self.removed)

    def described(self) -> dict[str, Any]:
        """Return it as JSON."""
        listed = {"removed": self.removed, "in_use": self.in_use}
        return {"dry_run": self.dry, "bytes": self.size} | {
            name: [entry.described() for entry in found] for name, found in listed.items()
        }

    def __str__(self) -> str:
        """One line for each entry, and one for all of them."""
        verb, total = ("would remove", "would free") if self.dry else ("removed", "freed")
        lines = [f"{verb} {line}" for line in _lines(self.removed)]
        lines += [f"in use, stays: {line}" for line in _lines(self.in_use)]
        return "\n".join([*lines, f"{total} {size_text(self.size)}"])


def _lines(found: Sequence[Entry]) -> list[str]:
    return [
        f"{group[0].title}: {name_of(group)} ({size_text(sum(entry.size for entry in group))})"
        for group in grouped(found)
    ]


def parse_age(text: str) -> float:
    """Read an age such as ``30d``.

    Parameters
    ----------
    text : str
        A whole number of hours, days or weeks: ``12h``, ``30d``, ``8w``.

    Returns
    -------
    float
        Seconds.

    Raises
    ------
    InputError
        If it is something else.
    """
    if (match := _AGE.fullmatch(text)) is None or not match[1].isascii():
        raise InputError(
            f"the age is {text[:20]!r}", "give a whole number of hours, days or weeks, like 12h, 30d or 8w"
        )
    return int(match[1]) * _SECONDS[match[2]]


def clean(older: float, *, dry: bool = False, root: Path | None = None, now: float | None = None) -> Cleaned:
    """Remove entries that nobody has used for a while.

    An entry is moved aside in one step, under the lock that no process which uses it leaves free, and then deleted;
    if that is interrupted, the next command that writes there goes on with it. Links are not followed, and what is not
    the cache's own stays.

    Parameters
    ----------
    older : float
        Seconds since the last use.
    dry : bool
        Only say what would be removed.
    root : Path, optional
        By default the user's cache.
    now : float, optional
        Seconds since 1970.

    Returns
    -------
    Cleaned

    Raises
    ------
    InputError, RunError
        If the cache may not be read or written to.
    """
    root = cache_dir() if root is None else root
    now = time.time() if now is None else now
    if not dry:
        for folder in (root, *(root / kind.folder for kind in KINDS)):
            if not folder.is_symlink() or folder == root:
                sweep(folder)  # what killed commands left
    removed, in_use = list[Entry](), list[Entry]()
    for entry in entries(root):
        if entry.kept or now - entry.used < older:
            continue
        try:
            taken = _take(entry, now, dry)
        except FileNotFoundError:  # another command cleans as well
            continue
        except PermissionError as error:
            raise InputError(f"{error.filename} may not be removed", "ask its owner") from None
        except OSError as error:
            raise system_error(error, str(error.filename or entry.paths[0]), "remove it yourself") from error
        (removed if taken else in_use).append(entry)
    return Cleaned(removed=tuple(removed), in_use=tuple(in_use), dry=dry)


def _take(entry: Entry, now: float, dry: bool) -> bool:
    """Remove an entry unless it is in use, or was used since it was listed."""
    first = entry.paths[0]
    with alone(first) as free:
        if free is False or now - entry.used < (_CERTAIN if free is None else _MOMENT):
            return False
        if first.lstat().st_mtime > entry.used:
            return False
        if dry:
            return True
        asides = _moved(entry.paths)
        for aside in asides:
            if aside.is_dir():
                shutil.rmtree(aside)
            else:
                aside.unlink()
    return True


def _moved(paths: Sequence[Path]) -> list[Path]:
    asides = []
    for path in paths:
        aside = aside_of(path)
        os.rename(path, aside)
        asides.append(aside)
    return asides
