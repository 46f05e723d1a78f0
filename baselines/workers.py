"""Worker processes that take images from, and put features into, files that all of them map into memory.

Threads do not do for HOG in NumPy: it is many short calls, each of which waits for the interpreter's lock. A pipe would
cost a worker a fifth of its time: an image is a hundred kilobytes.
"""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import weakref
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

# Images of which a task is at least worth handing over.
CHUNK = 32
# Tasks of each worker: joblib looks for results every ten milliseconds, and one process may be held up.
TASKS = 2
_MEMORY = Path("/dev/shm")


class Exchange:
    """Two arrays in mapped files, images and features, for at most so many rows.

    Parameters
    ----------
    rows : int
    image, features : tuple of int
        Shapes of one row.
    """

    def __init__(self, rows: int, image: tuple[int, ...], features: tuple[int, ...]) -> None:
        memory = _MEMORY if os.access(_MEMORY, os.W_OK) else None  # on other systems an ordinary folder
        self.folder = Path(tempfile.mkdtemp(prefix="shelfbench-", dir=memory))
        weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)
        self.shapes = ((rows, *image), (rows, *features))
        self.images, self.features = _arrays(self.folder, self.shapes, "w+")
        self.rows = rows

    def run(
        self, work: Callable[[np.ndarray, np.ndarray, Any], None], settings: Any, images: np.ndarray, workers: int
    ) -> np.ndarray:
        """Do ``work(features, images, settings)`` for all images, over processes that joblib keeps.

        Parameters
        ----------
        work : callable
            A function of a module: fills the features of some images.
        settings : object
            Can be pickled.
        images : ndarray of uint8, shape (n, ...)
            At most `rows`.
        workers : int

        Returns
        -------
        ndarray of float32, shape (n, ...)
            A view, good until the next call.
        """
        from joblib import Parallel, delayed

        self.images[: len(images)] = images
        size = max(CHUNK, -(-len(images) // (TASKS * workers)))
        Parallel(n_jobs=workers)(
            delayed(_part)(work, settings, str(self.folder), self.shapes, start, min(start + size, len(images)))
            for start in range(0, len(images), size)
        )
        return self.features[: len(images)]


def _arrays(folder: Path, shapes: tuple[tuple[int, ...], tuple[int, ...]], mode: Any) -> tuple[np.ndarray, np.ndarray]:
    # as plain arrays: every slice of a memmap costs microseconds, and HOG takes many
    images = np.memmap(folder / "images", np.uint8, mode, shape=shapes[0])
    features = np.memmap(folder / "features", np.float32, mode, shape=shapes[1])
    return np.asarray(images), np.asarray(features)


@lru_cache(maxsize=1)
def _opened(folder: str, shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> tuple[np.ndarray, np.ndarray]:
    return _arrays(Path(folder), shapes, "r+")


def _part(
    work: Callable[[np.ndarray, np.ndarray, Any], None],
    settings: Any,
    folder: str,
    shapes: tuple[tuple[int, ...], tuple[int, ...]],
    start: int,
    end: int,
) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that waits, which ends its workers
    images, features = _opened(folder, shapes)
    work(features[start:end], images[start:end], settings)
