"""In which order a 2NN learns from its images: any, or, if their features do not fit in memory, any within a window.

Reading single rows from all over a file that does not fit in memory takes a disk access for each. So the rows are read
in blocks of neighbours. Which blocks come together in a window is drawn anew in each epoch, and so is the order of all
images in a window. A catalogue is often sorted by category, and a block then holds one category only; so blocks are no
larger than a disk needs, and a window has thousands of them, from anywhere.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from shelfbench.base.processor import free_memory
from shelfbench.data.rows import on_disk
from shelfbench.plugins.backend import TrainingData

# Bytes of features in a block, at most, and in a window; two windows are in memory at once.
BLOCK, WINDOW = 1 << 17, 1 << 29
# The fewest blocks of a window.
BLOCKS = 64


def window_of(features: np.ndarray, batch: int, asked: int) -> int:
    """Choose how many images are shuffled together.

    Parameters
    ----------
    features : ndarray or Rows of float32, shape (n, d)
    batch : int
        Images per update.
    asked : int
        ``two_layer.window``; 0 leaves it to the memory.

    Returns
    -------
    int
        A multiple of the batch, or 0 for all images: if the features are in memory anyway, or take at most half of the
        memory that is free, so that the system keeps the file in it.
    """
    count, dimensions = features.shape
    if not asked and (not on_disk(features) or features.nbytes <= free_memory() // 2):
        return 0
    window = asked or WINDOW // max(1, 4 * dimensions)
    return 0 if window >= count else max(1, window // batch) * batch


def passes(
    data: TrainingData, batch: int, window: int, random: np.random.Generator
) -> Iterator[tuple[TrainingData, np.ndarray]]:
    """Draw the order of one pass over all images.

    Parameters
    ----------
    data : TrainingData
    batch : int
        At most the number of images.
    window : int
        From `window_of`.
    random : Generator

    Yields
    ------
    data : TrainingData
        Those of a window, in memory; all of them without windows.
    rows : ndarray of int, shape (steps, batch)
        Of these data. The last batch is filled up with the first images of the pass, or of its window, so that all
        batches have one shape.
    """
    count = len(data.labels)
    if not window:
        yield data, _batches(random.permutation(count), batch)
        return
    block = _block(window, data.features.shape[1])
    drawn = random.permutation(-(-count // block))
    if count % block:  # the short block comes in the last window, so that the batches of all others are full
        drawn = np.append(drawn[drawn != len(drawn) - 1], len(drawn) - 1)
    windows = np.split(drawn, range(window // block, len(drawn), window // block))
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(_gathered, data, windows[0], block)
        for following in [*windows[1:], None]:
            part = coming.result()
            if following is not None:
                coming = pool.submit(_gathered, data, following, block)
            yield part, _batches(random.permutation(len(part.labels)), batch)


def _block(window: int, dimensions: int) -> int:
    """Return the images of a block: blocks make up a window without a rest, so that all batches but one are full."""
    least = max(BLOCKS, -(-window * 4 * dimensions // BLOCK))
    return next((window // blocks for blocks in range(least, window) if window % blocks == 0), 1)


def _batches(order: np.ndarray, batch: int) -> np.ndarray:
    return np.resize(order, (-(-len(order) // batch), batch))


def _gathered(data: TrainingData, blocks: np.ndarray, size: int) -> TrainingData:
    """Read blocks of images into memory."""
    count = len(data.labels)
    parts = [slice(int(block) * size, min((int(block) + 1) * size, count)) for block in blocks]
    features: np.ndarray = np.empty((sum(part.stop - part.start for part in parts), data.features.shape[1]), np.float32)
    filled = 0
    for part in parts:
        features[filled : filled + part.stop - part.start] = data.features[part]
        filled += part.stop - part.start
    return dataclasses.replace(data, features=features, labels=np.concatenate([data.labels[part] for part in parts]))
