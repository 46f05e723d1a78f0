"""Photos drawn on the spot and decoded ahead of a device, so that timings need no data.

Nothing here loads Keras: worker processes import this module.
"""

from __future__ import annotations

import io
import multiprocessing
import os
import shutil
import tempfile
from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from shelfbench.base.serving import serve
from shelfbench.data.images import decode

# Batches that are decoded ahead: enough to make up for an uneven worker, few enough for the memory.
_AHEAD = 3
_CHUNK = 16


def photos(count: int, side: int, seed: int = 0) -> list[bytes]:
    """Draw JPEG photos of things on white, with about as many bytes per pixel as a shop's photos.

    Parameters
    ----------
    count : int
        Number of photos; all differ.
    side : int
        Side of a photo, in pixels.
    seed : int

    Returns
    -------
    list of bytes
    """
    random = np.random.default_rng(seed)
    drawn = []
    for _ in range(count):
        image = Image.new("RGB", (side, side), "white")
        draw = ImageDraw.Draw(image)
        for shape in (draw.ellipse, draw.rectangle, draw.ellipse):
            left, top = random.uniform(0.05, 0.5, 2) * side
            width, height = random.uniform(0.2, 0.45, 2) * side
            shape(
                (left, top, left + width, top + height), fill=tuple(int(value) for value in random.integers(0, 256, 3))
            )
        pixels = np.asarray(image, np.int16)
        grain = random.normal(0, 9, (side, side, 1)) * (pixels.min(axis=2, keepdims=True) < 255)
        noisy = Image.fromarray(np.clip(pixels + grain, 0, 255).astype(np.uint8))
        file = io.BytesIO()
        noisy.save(file, "JPEG", quality=90)
        drawn.append(file.getvalue())
    return drawn


def _decode_into(pixels: np.ndarray, photos: Sequence[bytes], slot: int, row: int, first: int) -> None:
    """Fill some rows of a slot with photos, starting at `first`."""
    for at in range(row, min(row + _CHUNK, pixels.shape[1])):
        pixels[slot, at] = decode(photos[(first + at) % len(photos)], pixels.shape[2])


# What a worker process works on; set once when it starts.
_shared: dict[str, Any] = {}


def _join(path: Path, shape: tuple[int, ...], photos: Sequence[bytes], parent: int) -> None:
    serve(parent, path.parent)
    _shared.update(pixels=np.memmap(path, np.uint8, "r+", shape=shape), photos=photos)


def _in_process(slot: int, row: int, first: int) -> None:
    _decode_into(_shared["pixels"], _shared["photos"], slot, row, first)


class Decoder:
    """Decodes endless batches of photos ahead, in threads or in processes.

    Parameters
    ----------
    encoded : sequence of bytes
    pixels : int
        Side of the squares.
    batch : int
    workers : int
    processes : bool
        Whether to decode in processes, which write into memory shared with this one, rather than in threads.
    """

    def __init__(self, encoded: Sequence[bytes], pixels: int, batch: int, workers: int, processes: bool) -> None:
        self._encoded, self._workers, self._processes = encoded, workers, processes
        self._shape = (_AHEAD + 1, batch, pixels, pixels, 3)

    def batches(self) -> Generator[np.ndarray, None, None]:
        """Yield batches of uint8, shape (batch, pixels, pixels, 3), each valid until the next is requested.

        Closing the iterator ends the workers.
        """
        slots, batch = self._shape[:2]
        with tempfile.TemporaryDirectory(dir=_roomy(int(np.prod(self._shape)))) as folder:
            buffers, pool = self._open(Path(folder))
            pending: deque[tuple[int, list[Future[None]]]] = deque()
            try:
                number = 0
                while True:
                    # the slot yielded last is still in use
                    while len(pending) < slots - 1:
                        slot = number % slots
                        pending.append((slot, self._submit(pool, buffers, slot, number * batch)))
                        number += 1
                    slot, parts = pending.popleft()
                    for part in parts:
                        part.result()
                    yield buffers[slot]
            finally:
                pool.shutdown(wait=True, cancel_futures=True)

    def _open(self, folder: Path) -> tuple[np.ndarray, Executor]:
        if not self._processes:
            return np.zeros(self._shape, np.uint8), ThreadPoolExecutor(self._workers)
        path = folder / "pixels"
        buffers = np.memmap(path, np.uint8, "w+", shape=self._shape)
        # a forked child would inherit the locks of the engine's threads
        context = multiprocessing.get_context("spawn")
        initial = (path, self._shape, list(self._encoded), os.getpid())
        return buffers, ProcessPoolExecutor(self._workers, context, initializer=_join, initargs=initial)

    def _submit(self, pool: Executor, buffers: np.ndarray, slot: int, first: int) -> list[Future[None]]:
        rows = range(0, self._shape[1], _CHUNK)
        if self._processes:
            return [pool.submit(_in_process, slot, row, first) for row in rows]
        return [pool.submit(_decode_into, buffers, self._encoded, slot=slot, row=row, first=first) for row in rows]


def _roomy(size: int) -> str | None:
    """A folder in memory, if there is one with enough room; else the place for temporary files."""
    memory = "/dev/shm"
    if os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > 2 * size:
        return memory
    return None
