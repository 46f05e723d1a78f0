"""Reading and decoding images ahead of whoever waits for them."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any, TypeVar

import numpy as np

from shelfbench.data.catalogue import ImageBytes
from shelfbench.data.images import decode_batch

T = TypeVar("T")


def in_background(items: Generator[T, None, None], count: int = 2) -> Generator[T, None, None]:
    """Take items in the background, a few ahead of whoever waits for them.

    Parameters
    ----------
    items : generator
        Is gone through, and closed, in another thread.
    count : int
        Items that may be ready and not yet asked for.

    Raises
    ------
    Exception
        Whatever `items` raised.
    """
    ready: queue.Queue[Any] = queue.Queue(maxsize=count)
    stop = threading.Event()

    def put(item: Any) -> bool:
        while not stop.is_set():
            try:
                ready.put(item, timeout=0.2)
                return True
            except queue.Full:
                continue
        return False

    def produce() -> None:
        try:
            with closing(items):
                for item in items:
                    if not put((item,)):
                        return
            put(None)
        except BaseException as error:  # handed to the thread that waits, which raises it
            put(error)

    thread = threading.Thread(target=produce, daemon=True)
    thread.start()
    try:
        while (item := ready.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item[0]
    finally:
        stop.set()
        thread.join()


def decoded_ahead(
    images: ImageBytes,
    batches: Iterable[np.ndarray],
    pixels: int,
    fit: str,
    workers: int,
    then: Callable[[np.ndarray, np.ndarray, dict[int, str]], T],
    ahead: int = 2,
) -> Generator[T, None, None]:
    """Read and decode batches in the background, a few ahead.

    Parameters
    ----------
    images : ImageBytes
    batches : iterable of ndarray of int
        Positions in `images`.
    pixels, fit
        See `shelfbench.data.images.decode`.
    workers : int
        Threads that decode.
    then : callable
        ``then(batch, pixels, reasons)``, called in the background in the order of `batches`: pixels of the readable
        images, and reasons of the others by position in the batch. What it gives is yielded.
    ahead : int
        Batches that may be ready and not yet asked for.

    Raises
    ------
    Exception
        Whatever reading or `then` raised.
    """

    def decoded() -> Generator[T, None, None]:
        with ThreadPoolExecutor(workers) as pool:
            for batch in batches:
                yield then(batch, *decode_batch(images.read(batch), pixels, fit, pool))

    return in_background(decoded(), ahead)
