"""Read and decode images in the background, a few batches ahead of the consumer."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from shelfbench.data.catalogue import ImageBytes
from shelfbench.data.images import decode_batch
from shelfbench.data.view import View

T = TypeVar("T")


def in_background(items: Generator[T, None, None], count: int = 2) -> Generator[T, None, None]:
    """Take items in the background, a few ahead of the consumer.

    Parameters
    ----------
    items : generator
        Consumed, and closed, in another thread.
    count : int
        How many items may be ready before they are requested.

    Yields
    ------
    object
        The items, in order.

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
        except BaseException as error:  # passed to the waiting thread, which raises it
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


@dataclass(frozen=True)
class Decoding:
    """How images are decoded.

    Attributes
    ----------
    pixels : int
        Side of the square.
    fit : {'pad', 'crop', 'stretch'} or View
        See `shelfbench.data.images.ImageSettings`.
    workers : int
        Threads that decode.
    """

    pixels: int
    fit: str | View
    workers: int


def decoded_ahead(
    images: ImageBytes,
    batches: Iterable[np.ndarray],
    decoding: Decoding,
    then: Callable[[np.ndarray, np.ndarray, dict[int, str]], T],
    ahead: int = 2,
) -> Generator[T, None, None]:
    """Read and decode batches in the background, a few ahead.

    Parameters
    ----------
    images : ImageBytes
    batches : iterable of ndarray of int
        Positions in `images`.
    decoding : Decoding
    then : callable
        Called in the background as ``then(batch, pixels, reasons)``, in the order of `batches`: `pixels` are the
        readable images, `reasons` says why each of the others is unreadable, by position in the batch.
    ahead : int
        How many batches may be ready before they are requested.

    Returns
    -------
    generator
        The result of `then` for each batch. It raises whatever reading or `then` raises.
    """

    def decoded() -> Generator[T, None, None]:
        with ThreadPoolExecutor(decoding.workers) as pool:
            for batch in batches:
                yield then(batch, *decode_batch(images.read(batch), decoding.pixels, decoding.fit, pool))

    return in_background(decoded(), ahead)
