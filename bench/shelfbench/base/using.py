"""Where the cache is, when what is in it was last used, and by whom it is used now.

The modification time of an entry itself (a folder such as ``features/hog-HASH``, or a file such as
``digests/HASH.npz``) says when it was last used: whoever opens it sets it. The time of access that a file system keeps
is not to be trusted, because most are mounted so that it is seldom or never written. A folder is also locked, together
with others, for as long as the process that uses it runs, so that nobody removes it (`shelfbench.doctor.cleaning`).
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows, where nothing that is open can be removed
    fcntl = None  # type: ignore[assignment]

# What is one entry as a whole: it has a folder of its own, but no folders for its parts.
WHOLE = ("downloads",)
# A name that ends with a hash; it may stand deeper where an older version put the folders of a network's path there.
HASHED = re.compile(r".+-[0-9a-f]{32}")
# How often a lock is tried, and the seconds between two tries.
_TRIES, _WAIT = 20, 0.05
# What is being written is locked by whoever writes it (`shelfbench.base.partial`).
_UNFINISHED = ".partial-"
# The locks that this process holds until it ends, by folder.
_held: dict[str, int] = {}


def cache_dir() -> Path:
    """Return the folder for everything that can be made again: features, indexes, downloads (`$SHELFBENCH_CACHE`)."""
    if given := os.environ.get("SHELFBENCH_CACHE"):
        return Path(given).expanduser()
    import platformdirs

    return Path(platformdirs.user_cache_dir("shelfbench"))


def entry_of(path: Path) -> Path | None:
    """Find the entry of the cache that a file or folder belongs to.

    Parameters
    ----------
    path : Path

    Returns
    -------
    Path or None
        None if it is not in an entry of the cache.
    """
    root = cache_dir().absolute()
    try:
        parts = path.absolute().relative_to(root).parts
    except ValueError:
        return None
    if parts and parts[0] in WHOLE:
        return root / parts[0]
    if len(parts) < 2:
        return None
    if parts[0] == "features":
        last = next((number for number, part in enumerate(parts) if HASHED.fullmatch(part)), None)
        return None if last is None else root.joinpath(*parts[: last + 1])
    return root / parts[0] / parts[1]


def used(path: Path) -> None:
    """Note that an entry of the cache is used now, and hold it until this process ends if it is a folder.

    Whatever writes a file does so (`shelfbench.base.storage`); whoever reads what is in the cache has to call it.

    Parameters
    ----------
    path : Path
        The entry, or something in it. What is not there, is not in the cache, or may not be written is let be.
    """
    with contextlib.suppress(OSError):
        if (entry := entry_of(path)) is None or entry.name.startswith(_UNFINISHED) or entry.is_symlink():
            return
        with contextlib.suppress(OSError):  # of a cache that may only be read: it is held all the same
            os.utime(entry)
        if fcntl is not None and entry.is_dir() and not _holds(entry):
            _hold(entry)


def _holds(entry: Path) -> bool:
    """Tell whether this process holds a folder, which is still the same one."""
    handle = _held.get(str(entry))
    return handle is not None and os.path.samestat(os.fstat(handle), os.stat(entry))


def _hold(entry: Path) -> None:
    handle = os.open(entry, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _lock(handle)
        if not os.path.samestat(os.fstat(handle), os.stat(entry)):
            raise FileNotFoundError(entry)
    except OSError:
        os.close(handle)
        raise
    if (before := _held.pop(str(entry), None)) is not None:
        os.close(before)
    _held[str(entry)] = handle


def _lock(handle: int) -> None:
    """Take a lock that others may have, too; whoever removes the folder has it alone, and for a moment only."""
    for again in range(_TRIES):
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if again == _TRIES - 1:
                raise
            time.sleep(_WAIT)


@contextmanager
def alone(entry: Path) -> Iterator[bool | None]:
    """Have an entry for oneself while the block runs.

    Parameters
    ----------
    entry : Path
        A file or a folder.

    Yields
    ------
    bool or None
        False if a process uses it; None if the file system does not tell.
    """
    if fcntl is None:
        yield None
        return
    handle = os.open(entry, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            found: bool | None = True
        except BlockingIOError:
            found = False
        except OSError:
            found = None
        yield found
    finally:
        os.close(handle)
