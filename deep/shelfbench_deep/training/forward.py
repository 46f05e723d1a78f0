"""A network's outputs for many images, decoded ahead, by one process or by several that train together."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from shelfbench.base.processes import this_process
from shelfbench.data.ahead import Decoding, decoded_ahead
from shelfbench.data.catalogue import ImageBytes
from shelfbench_deep.engines.processes import gathered, own_share
from shelfbench_deep.training.parallel import predict

if TYPE_CHECKING:
    from shelfbench_deep.engines.keras import keras


def outputs(
    model: keras.Model,
    images: ImageBytes,
    rows: np.ndarray,
    *,
    size: int,
    decoding: Decoding,
    preprocess: Callable[[np.ndarray], np.ndarray],
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Compute the outputs for some images; of several processes, each decodes its share of every batch.

    Parameters
    ----------
    model : keras.Model
    images : ImageBytes
    rows : ndarray of int64, shape (n,)
        Positions in `images`.
    size : int
        Of a batch; the last one is filled up with zeros, so that all have the same shape.
    decoding : Decoding
    preprocess : callable
        From float32 RGB of 0 to 255 to the network's input.

    Yields
    ------
    tuple of ndarray of int64, shape (readable,), and of float32, shape (readable, outputs)
        Positions in `rows` of the images that can be read, and what the network says of them.
    """
    size = math.ceil(size / this_process().count) * this_process().count
    # -1 fills the last batch up
    places = np.concatenate([np.arange(len(rows)), np.full(-len(rows) % size, -1)]).astype(np.int32)
    shares = [own_share(places[begin : begin + size]) for begin in range(0, len(places), size)]
    shares = [share[share >= 0] for share in shares]
    decoded = decoded_ahead(
        images,
        (rows[share] for share in shares),
        decoding,
        then=lambda _, pixels, reasons: (preprocess(pixels.astype(np.float32)), reasons),
    )
    own = size // this_process().count
    filled = np.zeros((own, decoding.pixels, decoding.pixels, 3), np.float32)
    for share, (pixels, reasons) in zip(shares, decoded, strict=True):
        filled[: len(pixels)] = pixels
        filled[len(pixels) :] = 0
        found = np.full(own, -1, np.int32)
        found[: len(pixels)] = np.delete(share, list(reasons))
        found, values = gathered(found), predict(model, filled)
        yield found[found >= 0].astype(np.int64), values[found >= 0].astype(np.float32)
