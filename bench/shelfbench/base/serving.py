"""Processes that work for another one: they leave Ctrl-C to it, and end within a second when it is gone.

A process that is killed cannot tell those that work for it. Linux could (``PR_SET_PDEATHSIG``), but it sends its signal
when the *thread* ends that started the worker, and pools start workers from threads that come and go. So each worker
looks.
"""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

# Seconds between two looks.
_LOOK = 0.5


def serve(parent: int, remove: str | Path | None = None) -> None:
    """Make this process one that works for another.

    Called first in every worker process, and again by mistake without harm.

    Parameters
    ----------
    parent : int
        The number of the process it works for (``os.getpid()`` there).
    remove : str or Path, optional
        A folder of the parent's, which nobody else would remove.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the waiting process, which ends its workers
    end_with(parent, remove)


@cache
def end_with(parent: int, remove: str | Path | None = None, end: Callable[[], None] | None = None) -> None:
    """End this process when another one is gone.

    Parameters
    ----------
    parent : int
    remove : str or Path, optional
        A folder of the parent's, which nobody else would remove.
    end : callable, optional
        What to do instead of ending at once.
    """
    running = _running(parent)

    def look() -> None:
        while running():
            time.sleep(_LOOK)
        if remove is not None:
            shutil.rmtree(remove, ignore_errors=True)
        if end is not None:
            end()
        os._exit(1)

    threading.Thread(target=look, name="ends with its parent", daemon=True).start()


def _running(parent: int) -> Callable[[], bool]:
    """Return what tells whether a process is still there."""
    if os.name == "posix" and os.getppid() == parent:
        return lambda: os.getppid() == parent  # an orphan gets another parent
    import psutil

    try:
        found: Callable[[], bool] = psutil.Process(parent).is_running
        return found
    except psutil.Error:
        return lambda: False


@contextmanager
def joblib_serves() -> Iterator[None]:
    """Let the processes that joblib starts within this block, for scikit-learn for example, end with this one."""
    import joblib
    from joblib._parallel_backends import LokyBackend
    from joblib.parallel import BACKENDS

    before = BACKENDS["loky"]

    class Serving(LokyBackend):
        def configure(self, *args: Any, **settings: Any) -> int:
            settings.setdefault("initializer", serve)
            settings.setdefault("initargs", (os.getpid(),))
            return int(super().configure(*args, **settings))

    joblib.register_parallel_backend("loky", Serving)
    try:
        yield
    finally:
        joblib.register_parallel_backend("loky", before)
