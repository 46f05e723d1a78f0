"""Worker processes that take images from, and put features into, files that all of them map into memory.

Threads do not do for HOG in NumPy: it is many short calls, each of which waits for the interpreter's lock. A pipe would
cost a worker a fifth of its time: an image is a hundred kilobytes. The process that hands over works, too.
"""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import weakref
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Executor, Future, wait
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

# Images between two looks at how far the others are: at most, and, where few are left, at least.
CHUNK = 16
_LEAST = 4
# Images that a worker is given first, to begin with while the others are copied.
_FIRST = 2 * CHUNK
# Seconds after which a worker without a task goes.
_IDLE = 300
_MEMORY = Path("/dev/shm")


class Exchange:
    """Images, features and progress of worker processes in mapped files.

    Every process has its part of the images, this one too; when this one is through with its own, it takes from the
    ends of the others' parts. Nobody waits for a lock: where two take the same images at once, both compute them.

    Parameters
    ----------
    rows : int
        Most images at a time.
    workers : int
        Processes, this one included; at least 2.
    image, features : tuple of int
        Shapes of one row.
    """

    def __init__(self, rows: int, workers: int, image: tuple[int, ...], features: tuple[int, ...]) -> None:
        memory = _MEMORY if os.access(_MEMORY, os.W_OK) else None  # on other systems an ordinary folder
        self.folder = Path(tempfile.mkdtemp(prefix="shelfbench-", dir=memory))
        weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)
        self.rows = rows
        self._helpers = workers - 1
        share = int(np.diff(self._edges(rows)[1:]).max())
        self._shapes: Shapes = (
            (self._helpers, share, *image),
            (self._helpers, share, *features),
            (self._helpers, 2),
        )
        self._images, self._features, self._progress = _arrays(self.folder, self._shapes, "w+")
        self._pool: Executor | None = None

    def _edges(self, count: int) -> list[int]:
        """Where the parts begin and end, this process's first: smaller, since others can take nothing from it."""
        own = 3 * count // (4 * (self._helpers + 1))
        return [0, *(own + (count - own) * number // self._helpers for number in range(self._helpers + 1))]

    def run(self, work: Callable[[np.ndarray, np.ndarray, Any], None], settings: Any, images: np.ndarray) -> np.ndarray:
        """Do ``work(features, images, settings)`` for all images.

        Parameters
        ----------
        work : callable
            A function of a module: fills the features of some images.
        settings : object
            Can be pickled.
        images : ndarray of uint8, shape (n, ...)
            At most `rows`.

        Returns
        -------
        ndarray of float32, shape (n, ...)
        """
        # joblib's processes without its `Parallel`, which looks for results every ten milliseconds; and not those that
        # `Parallel` keeps for itself
        from joblib.externals.loky import ProcessPoolExecutor

        if self._pool is None:
            self._pool = ProcessPoolExecutor(self._helpers, timeout=_IDLE)
        edges = self._edges(len(images))
        starts, ends = edges[1:-1], edges[2:]
        found = np.empty((len(images), *self._shapes[1][2:]), np.float32)
        tasks: list[Future[None]] = []
        try:
            self._progress[:] = [(0, end - start) for start, end in zip(starts, ends, strict=True)]
            for begun, most in ((0, _FIRST), (_FIRST, self.rows)):
                for helper, (start, end) in enumerate(zip(starts, ends, strict=True)):
                    ready = min(most, end - start)
                    self._images[helper, begun:ready] = images[start + begun : start + ready]
                    if ready > begun:
                        what = (work, settings, str(self.folder), self._shapes, helper, ready)
                        tasks.append(self._pool.submit(_help, *what))
            for start in range(0, edges[1], CHUNK):
                part = slice(start, min(start + CHUNK, edges[1]))
                work(found[part], images[part], settings)
            while (left := self._progress[:, 1] - self._progress[:, 0]).max() > 0:
                helper = int(left.argmax())
                end = int(self._progress[helper, 1])
                first = end - min(_next(int(left.max())), end)
                self._progress[helper, 1] = first
                part = slice(starts[helper] + first, starts[helper] + end)
                work(found[part], images[part], settings)
            for task in tasks:
                task.result()
            for helper, start in enumerate(starts):
                theirs = int(self._progress[helper, 1])
                found[start : start + theirs] = self._features[helper, :theirs]
        except BrokenExecutor:  # a process was killed: the next call starts others
            self._pool = None
            raise
        finally:  # also where the user interrupts or one fails: nobody may go on into the next call
            self._progress[:, 1] = 0
            wait([task for task in tasks if not task.cancel()])
        return found


Shapes = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]


def _arrays(folder: Path, shapes: Shapes, mode: Any) -> list[np.ndarray]:
    kinds = (("images", np.uint8), ("features", np.float32), ("progress", np.int64))
    # as plain arrays: every slice of a memmap costs microseconds, and HOG takes many
    return [
        np.asarray(np.memmap(folder / name, kind, mode, shape=shape))
        for (name, kind), shape in zip(kinds, shapes, strict=True)
    ]


@lru_cache(maxsize=1)
def _opened(folder: str, shapes: Shapes) -> list[np.ndarray]:
    return _arrays(Path(folder), shapes, "r+")


def _next(left: int) -> int:
    """How many images to take of those left: few at the end, so that all are through at the same time."""
    return min(CHUNK, max(_LEAST, left // 2))


def _help(
    work: Callable[[np.ndarray, np.ndarray, Any], None],
    settings: Any,
    folder: str,
    shapes: Shapes,
    helper: int,
    ready: int,
) -> None:
    """Do a helper's part from its beginning, as far as it lies ready, until nothing is left that nobody took."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that hands over, which waits for this one
    images, features, progress = (array[helper] for array in _opened(folder, shapes))
    while (end := min(int(progress[1]), ready)) > (start := int(progress[0])):
        part = slice(start, min(start + _next(end - start), end))
        progress[0] = part.stop
        work(features[part], images[part], settings)
