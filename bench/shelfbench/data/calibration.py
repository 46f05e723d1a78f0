"""Photos on which a network in int8 is calibrated."""

from __future__ import annotations

import numpy as np

from shelfbench.data.ahead import Decoding, decoded_ahead
from shelfbench.data.catalogue import ImageBytes, chunks

# Among the streams that are drawn from a study's seed.
_STREAM = 17


def drawn_photos(images: ImageBytes, rows: np.ndarray, count: int, decoding: Decoding, seed: int) -> np.ndarray:
    """Draw photos and decode them; those that cannot be read are passed over.

    Parameters
    ----------
    images : ImageBytes
    rows : ndarray of int64
        Positions of the photos to draw from.
    count : int
        How many to return, if there are as many.
    decoding : Decoding
    seed : int

    Returns
    -------
    ndarray of uint8, shape (photos, pixels, pixels, 3)
    """
    order = np.random.default_rng([seed, _STREAM]).permutation(rows)
    found, missing = [np.empty((0, decoding.pixels, decoding.pixels, 3), np.uint8)], count
    batches = chunks(order, 64)
    for squares in decoded_ahead(images, batches, decoding, then=lambda _, squares, reasons: squares):
        found.append(squares[:missing])
        missing -= len(found[-1])
        if not missing:
            break
    return np.concatenate(found)
