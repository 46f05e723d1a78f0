"""One process at a time in a folder: another one is refused, or waits until it finds what the first has made.

The lock is a file in the user's cache, named after what is locked: the folder itself need not exist yet, and no lock
file is left in it. The system takes back the lock of a process that is killed. Where the cache may only be read, the
lock is a file of the user's own in the folder for temporary files: nothing is made in such a cache, but runs still are.
"""

from __future__ import annotations

import getpass
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from shelfbench.base.errors import READ_ONLY, InputError
from shelfbench.base.storage import cache_dir, storage_errors
from shelfbench.base.temporary import temporary_folder

if TYPE_CHECKING:
    from filelock import BaseFileLock

    from shelfbench.base.console import Console

# Seconds between two tries of a process that waits.
_AGAIN = 0.2


@contextmanager
def locked(folder: Path, elsewhere: str = "--out") -> Iterator[None]:
    """Keep other processes out of a folder while the block runs.

    Parameters
    ----------
    folder : Path
        A run directory, or a file that is replaced.
    elsewhere : str
        The option that names another.

    Yields
    ------
    None

    Raises
    ------
    InputError
        If another process is working in it, or the cache does not support locks.
    """
    with _held(_name(folder)) as free:
        if not free:
            raise InputError(f"another run is working in {folder}", f"wait for it, or choose another {elsewhere}")
        yield


@contextmanager
def waiting(folder: Path, what: str, console: Console, *more: bytes) -> Iterator[bool]:
    """Keep other processes out of the making of something while the block runs; wait for one that is making it.

    Parameters
    ----------
    folder : Path
        Where it will be.
    what : str
        What is being made, for the line that says why nothing happens: "the catalogue".
    console : Console
    *more : bytes
        What it is besides its place, if several things are made there at the same time.

    Yields
    ------
    bool
        Whether another process was waited for, so that it may be there now.

    Raises
    ------
    InputError
        If the cache does not support locks.
    """
    name = _name(folder, *more)
    with _held(name) as free:
        if free:
            yield False
            return
    console.log(f"waiting for another process, which is making {what}")
    with _held(name, timeout=-1.0):
        yield True


def _name(folder: Path, *more: bytes) -> str:
    whole = hashlib.sha256(os.fsencode(folder.expanduser().resolve()))
    for part in more:
        whole.update(b"\0" + part)
    return whole.hexdigest()[:32]


@contextmanager
def _held(name: str, timeout: float = 0.0) -> Iterator[bool]:
    """Hold a lock; yields False, without it, if another process has it and the time is up."""
    from filelock import Timeout

    path = cache_dir() / "locks" / f"{name}.lock"
    try:
        with storage_errors(path):
            try:
                lock = _acquired(path, timeout)
            except OSError as error:
                if error.errno not in READ_ONLY:
                    raise
                lock = _acquired(_own_folder() / path.name, timeout)
    except Timeout:
        yield False
        return
    except NotImplementedError:
        raise InputError(
            f"the file system of {path.parent} does not support locks", "choose another folder with SHELFBENCH_CACHE"
        ) from None
    try:
        yield True
    finally:
        lock.release()


def _acquired(path: Path, timeout: float) -> BaseFileLock:
    from filelock import FileLock

    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    lock.acquire(timeout=timeout, poll_interval=_AGAIN)
    return lock


def _own_folder() -> Path:
    """Make a folder for locks beside temporary files, which nobody else may use."""
    user = os.getuid() if hasattr(os, "getuid") else getpass.getuser()  # Windows
    folder = temporary_folder() / f"shelfbench-locks-{user}"
    folder.mkdir(mode=0o700, exist_ok=True)
    # its name can be foretold, and anybody may write where it lies
    if folder.is_symlink() or (hasattr(os, "getuid") and folder.stat().st_uid != os.getuid()):
        raise PermissionError(None, "it belongs to somebody else", str(folder))
    return folder
