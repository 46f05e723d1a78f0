"""Folders of the cache in which a process leaves files for those that work for it."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shelfbench.base.storage import cache_dir, storage_errors


@contextmanager
def shared_folder() -> Iterator[Path]:
    """Make a folder in the cache; it is removed at the end, and so are those of processes that have ended.

    Yields
    ------
    Path
        Absolute, so that it is the same on every machine that sees the cache.

    Raises
    ------
    RunError, InputError
        If the cache cannot be written to.
    """
    from filelock import FileLock

    parent = cache_dir().absolute() / "spread"
    folder = parent / uuid.uuid4().hex
    _sweep(parent)
    with storage_errors(folder):
        folder.mkdir(parents=True)
        lock = FileLock(folder / "lock")
        lock.acquire()
        try:
            yield folder
        finally:
            lock.release()
            shutil.rmtree(folder, ignore_errors=True)


def _sweep(parent: Path) -> None:
    """Remove folders whose process has ended without doing so."""
    from filelock import FileLock, Timeout

    for folder in parent.glob("*"):
        try:
            with FileLock(folder / "lock", timeout=0):
                shutil.rmtree(folder, ignore_errors=True)
        except (Timeout, OSError, NotImplementedError):
            continue
