"""Worker processes that read images from, and write features to, files that all of them map into memory.

Threads do not help HOG in NumPy, which makes many short calls that wait for the GIL, and sending images
of a hundred kilobytes through pipes would cost the workers time. The calling process takes its share of the work, too.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Executor, Future, wait
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from shelfbench.base.serving import serve

# Images between two checks of the others' progress: at most, and at least when few are left.
CHUNK = 16
_LEAST = 4
# Images that each worker gets first, to begin with while the rest are copied.
_FIRST = 2 * CHUNK
# Seconds after which an idle worker exits.
_IDLE = 300
_MEMORY = Path("/dev/shm")


class Exchange:
    """Images, features and progress of worker processes in mapped files.

    Every process has its part of the images, including this one. When this process has finished its own part, it takes
    images from the ends of the others' parts. There are no locks: if two processes take the same images at once, both
    compute them.

    Parameters
    ----------
    rows : int
        Maximum number of images at a time.
    workers : int
        Number of processes, including this one; at least 2.
    image : tuple of int
        Shape of one image.
    features : tuple of int
        Shape of one image's features.
    """

    def __init__(self, rows: int, workers: int, image: tuple[int, ...], features: tuple[int, ...]) -> None:
        memory = _MEMORY if os.access(_MEMORY, os.W_OK) else None  # an ordinary folder on other systems
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
        """Return where the parts begin and end; this process's is first, and smaller, as others take none of it."""
        own = 3 * count // (4 * (self._helpers + 1))
        return [0, *(own + (count - own) * number // self._helpers for number in range(self._helpers + 1))]

    def run(self, work: Callable[[np.ndarray, np.ndarray, Any], None], settings: Any, images: np.ndarray) -> np.ndarray:
        """Call ``work(features, images, settings)`` for all images.

        Parameters
        ----------
        work : callable
            A module-level function that fills in the features of some images.
        settings : object
            Anything that can be pickled.
        images : ndarray of uint8, shape (n, ...)
            At most `rows`.

        Returns
        -------
        ndarray of float32, shape (n, ...)

        Raises
        ------
        BrokenExecutor
            If a worker was killed; the next call starts new ones.
        """
        # joblib's processes without its `Parallel`, which polls for results; and not the pool that `Parallel` keeps
        from joblib.externals.loky import ProcessPoolExecutor

        if self._pool is None:
            initial = (os.getpid(), self.folder)
            self._pool = ProcessPoolExecutor(self._helpers, timeout=_IDLE, initializer=serve, initargs=initial)
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
        except BrokenExecutor:  # a worker was killed: the next call starts new ones
            self._pool = None
            raise
        finally:  # even after an interrupt or an error: no worker may still be running in the next call
            self._progress[:, 1] = 0
            wait([task for task in tasks if not task.cancel()])
        return found


Shapes = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]


def _arrays(folder: Path, shapes: Shapes, mode: Any) -> list[np.ndarray]:
    kinds = (("images", np.uint8), ("features", np.float32), ("progress", np.int64))
    # as plain arrays, because slices of a memmap are slow and HOG takes many
    return [
        np.asarray(np.memmap(folder / name, kind, mode, shape=shape))
        for (name, kind), shape in zip(kinds, shapes, strict=True)
    ]


@lru_cache(maxsize=1)
def _opened(folder: str, shapes: Shapes) -> list[np.ndarray]:
    return _arrays(Path(folder), shapes, "r+")


def _next(left: int) -> int:
    """Return how many of the images left to take: few at the end, so that all finish at the same time."""
    return min(CHUNK, max(_LEAST, left // 2))


def _help(
    work: Callable[[np.ndarray, np.ndarray, Any], None],
    settings: Any,
    folder: str,
    shapes: Shapes,
    helper: int,
    ready: int,
) -> None:
    """Work through a helper's part, as far as it is ready, until all of its images are taken."""
    images, features, progress = (array[helper] for array in _opened(folder, shapes))
    while (end := min(int(progress[1]), ready)) > (start := int(progress[0])):
        part = slice(start, min(start + _next(end - start), end))
        progress[0] = part.stop
        work(features[part], images[part], settings)
