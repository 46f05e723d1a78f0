"""What is being written: a hidden file or folder beside its place, locked by the process that writes it.

A process that is killed leaves its file behind, without the lock, which the system takes back. So whoever writes to the
same folder next can tell what is abandoned from what is still being written, and removes it. Nothing else is removed:
only names that shelfbench gives, ``.partial-``, twelve hexadecimal digits and the name of the final place.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import stat
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows, where a file that is open cannot be removed anyway
    fcntl = None  # type: ignore[assignment]

OURS = re.compile(r"\.partial-[0-9a-f]{12}(-.*)?", re.DOTALL)
# Some writers replace the file that they were given, and with it the lock, which is then taken again: within this.
_GRACE = 2.0
# Where the file system knows no locks, what is older than this is abandoned.
_OLD = 86_400.0
# Folders that this process has swept.
_swept: set[str] = set()


def aside_of(path: Path) -> Path:
    """Name a place beside a file or folder, for it to be written to first.

    Parameters
    ----------
    path : Path

    Returns
    -------
    Path
        Of the same suffix, hidden.
    """
    return path.with_name(f".partial-{uuid.uuid4().hex[:12]}-{path.name}")


@contextmanager
def aside_file(path: Path) -> Iterator[Path]:
    """Yield a place for a file that is to become `path`, hold it, and remove what is left of it at the end.

    Parameters
    ----------
    path : Path
        In a folder that exists; it is swept of what killed processes left, once in a process.

    Yields
    ------
    Path
        An empty file.
    """
    sweep_once(path.parent)
    aside = aside_of(path)
    held = os.open(aside, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), 0o666)
    try:
        hold(held)
        if fcntl is None:
            os.close(held)
            held = -1
        yield aside
    finally:
        if held >= 0:
            os.close(held)
        # Windows removes no file that is still open: the next sweep does
        with contextlib.suppress(FileNotFoundError, PermissionError):
            aside.unlink()


@contextmanager
def aside_folder(path: Path, mode: int = 0o777) -> Iterator[Path]:
    """Yield a new folder that is to become `path`, hold it, and remove what is left of it at the end.

    Parameters
    ----------
    path : Path
        The folders above it are created; the one that holds it is swept, once in a process.
    mode : int
        Who may use it, besides what the umask takes away.

    Yields
    ------
    Path
        An empty folder.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    sweep_once(path.parent)
    aside = aside_of(path)
    aside.mkdir(mode)
    held = -1
    try:
        if fcntl is not None:
            held = os.open(aside, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            hold(held)
        yield aside
    finally:
        if held >= 0:
            os.close(held)
        shutil.rmtree(aside, ignore_errors=True)


def hold(handle: int) -> None:
    """Lock a file for as long as it is open, if its file system knows locks.

    Parameters
    ----------
    handle : int
        Of a file that was just created, or of one that a writer has put in its place.
    """
    if fcntl is not None:
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


def sweep_once(folder: Path) -> None:
    """Sweep a folder unless this process has done so already.

    Parameters
    ----------
    folder : Path
    """
    if (name := os.path.abspath(folder)) not in _swept:
        _swept.add(name)
        sweep(folder)


def sweep(folder: Path, *, below: bool = False) -> int:
    """Remove what processes that are gone began to write in a folder.

    Parameters
    ----------
    folder : Path
        It need not exist.
    below : bool
        Whether folders in it are swept, too.

    Returns
    -------
    int
        How many files and folders were removed.
    """
    removed, waiting = 0, [os.fspath(folder)]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                listed = list(entries)
        except OSError:
            continue
        for entry in listed:
            if OURS.fullmatch(entry.name):
                with contextlib.suppress(OSError):
                    removed += _removed(Path(entry.path))
            elif below and entry.is_dir(follow_symlinks=False):
                waiting.append(entry.path)
    return removed


def _removed(path: Path) -> bool:
    """Remove a file or folder if nobody writes it any more, and tell whether that was so."""
    status = os.lstat(path)
    folder = stat.S_ISDIR(status.st_mode)
    if not folder and not stat.S_ISREG(status.st_mode):
        return False
    age = abs(time.time() - status.st_mtime)  # a clock that was set back makes files of the future
    if fcntl is None:
        if age < _OLD:
            return False
        handle = -1
    else:
        if age < _GRACE:
            return False
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if fcntl is not None and not _abandoned(handle, age):
            return False
        if folder:
            shutil.rmtree(path)
        else:
            path.unlink()
        return True
    finally:
        if handle >= 0:
            os.close(handle)


def _abandoned(handle: int, age: float) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # no locks here
        return age > _OLD
    return True


def put_folder(aside: Path, path: Path) -> None:
    """Move a finished folder to its place, and remove the one that it replaces.

    Parameters
    ----------
    aside : Path
        From `aside_folder`.
    path : Path
        A folder, or nothing.
    """
    if not path.exists():
        aside.rename(path)
    elif not _exchanged(aside, path):
        with aside_folder(path) as old:
            old.rmdir()  # Windows renames to nothing that is there, not even an empty folder
            path.rename(old)
            aside.rename(path)


def _exchanged(one: Path, other: Path) -> bool:
    """Swap two folders in one step, where the system can; what was replaced is then removed with `one`."""
    if sys.platform not in ("linux", "darwin"):
        return False
    import ctypes

    try:
        library = ctypes.CDLL(None)
        if sys.platform == "linux":
            done = library.renameat2(-100, os.fsencode(one), -100, os.fsencode(other), 2)  # AT_FDCWD, RENAME_EXCHANGE
        else:
            done = library.renamex_np(os.fsencode(one), os.fsencode(other), 2)  # RENAME_SWAP
    except (OSError, AttributeError):
        return False
    return bool(done == 0)
