"""Rows of features, read in blocks from memory or from a mapped file whose pages are given back after use."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

# Rows that the system is asked to read ahead of a block: this many blocks.
AHEAD = 2


class Rows:
    """A matrix of features that is gone through in blocks of rows.

    What a process has read of a mapped file counts as its resident memory until the pages are given back. They are,
    after each block, unless the mapping is private and may hold changes.

    Parameters
    ----------
    features : ndarray, shape (n, d)
        In memory, or a view of an `numpy.memmap`; never changed.
    shift : ndarray of float32, shape (d,), optional
        Is subtracted from each block.

    Attributes
    ----------
    features : ndarray
    read : int
        Bytes of features that have been gone through so far.
    """

    def __init__(self, features: np.ndarray, shift: np.ndarray | None = None) -> None:
        self.features, self.shift = features, shift
        self.read = 0
        self._map, self._start = _mapping(features)

    @property
    def mapped(self) -> bool:
        """Whether the rows come from a mapped file."""
        return self._map is not None

    @contextmanager
    def block(self, rows: slice) -> Iterator[np.ndarray]:
        """Read some rows, float32; a view where the features are float32 and not shifted.

        Yields
        ------
        ndarray of float32, shape (rows, d)
            To be used within the context only.
        """
        block = self.features[rows]
        self.read += block.nbytes
        self._advise("MADV_WILLNEED", slice(rows.stop, rows.stop + AHEAD * len(block)))
        try:
            if self.shift is not None:
                yield block - self.shift
            else:
                yield np.asarray(block, dtype=np.float32)
        finally:
            self._advise("MADV_DONTNEED", rows)

    def take(self, rows: np.ndarray) -> np.ndarray:
        """Copy some rows, float32; `rows` is int64, shape (m,)."""
        found = np.empty((len(rows), self.features.shape[1]), np.float32)
        step = max(1, 2**22 // max(1, self.features.shape[1]))
        for first in range(0, len(rows), step):
            some = rows[first : first + step]
            found[first : first + step] = self.features[some]
            if self.mapped and len(some):
                self._advise("MADV_DONTNEED", slice(int(some.min()), int(some.max()) + 1))
        if self.shift is not None:
            found -= self.shift
        self.read += len(rows) * self.features.shape[1] * self.features.itemsize
        return found

    def _advise(self, advice: str, rows: slice) -> None:
        """Advise the system about the pages of these rows."""
        if self._map is None or not hasattr(mmap, advice):
            return
        each, page = self.features.strides[0], mmap.PAGESIZE
        # the page that the last row shares with the next is left to the next block
        first = (self._start + rows.start * each) // page * page
        last = (self._start + min(rows.stop, len(self.features)) * each) // page * page
        if last > first:
            self._map.madvise(getattr(mmap, advice), first, last - first)


def _mapping(features: np.ndarray) -> tuple[mmap.mmap | None, int]:
    """Find the mapping of a file that an array is a view of, and where in it the array begins; None if it is none."""
    whole: object = features
    while isinstance(whole, np.ndarray):
        if isinstance(whole, np.memmap) and whole.mode == "c":
            return None, 0
        whole = whole.base
    in_order = features.ndim == 2 and features.strides[1] == features.itemsize and features.strides[0] > 0
    if not isinstance(whole, mmap.mmap) or not in_order or not len(features):
        return None, 0
    start = np.frombuffer(whole, np.uint8).__array_interface__["data"][0]
    return whole, features.__array_interface__["data"][0] - start
