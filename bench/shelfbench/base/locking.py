"""One process at a time in a folder."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from shelfbench.base.errors import InputError
from shelfbench.base.storage import cache_dir, storage_errors


@contextmanager
def locked(folder: Path, elsewhere: str = "--out") -> Iterator[None]:
    """Keep other processes out of a folder while the block runs.

    The lock is a file in the user's cache, named after the folder's resolved path: the folder itself need not exist
    yet, and no lock file is left in it. The system releases the lock of a process that is killed.

    Parameters
    ----------
    folder : Path
        A run directory, a folder of the cache, or a file that is replaced.
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
    from filelock import FileLock, Timeout

    name = hashlib.sha256(str(folder.expanduser().resolve()).encode(errors="surrogateescape")).hexdigest()[:32]
    path = cache_dir() / "locks" / f"{name}.lock"
    lock = FileLock(path)
    try:
        with storage_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            lock.acquire(timeout=0)
    except Timeout:
        raise InputError(f"another run is working in {folder}", f"wait for it, or choose another {elsewhere}") from None
    except NotImplementedError:
        raise InputError(
            f"the file system of {path.parent} does not support locks", "choose another folder with SHELFBENCH_CACHE"
        ) from None
    try:
        yield
    finally:
        lock.release()


@contextmanager
def waiting_for(what: str, say: Callable[[], None]) -> Iterator[None]:
    """Let processes of one cache through the block one after the other.

    Parameters
    ----------
    what : str
        What the block does; processes that do something else do not wait.
    say : callable
        Called once if another process is in the block, so that this one waits.

    Yields
    ------
    None
    """
    from filelock import FileLock, Timeout

    path = cache_dir() / "locks" / f"{hashlib.sha256(what.encode(errors='surrogateescape')).hexdigest()[:32]}.lock"
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            say()
            lock.acquire()
    try:
        yield
    finally:
        lock.release()
