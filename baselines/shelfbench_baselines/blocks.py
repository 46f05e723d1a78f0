"""Features in blocks of rows, from memory or from a mapped file whose pages are given back after use."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from shelfbench.data.rows import Rows

# How many blocks the system is asked to read ahead.
AHEAD = 2
# Numbers that are copied at once.
COPIED = 2**22


class Blocks:
    """A matrix of features that is gone through in blocks of rows.

    What a process has read of a mapped file counts as its resident memory until the pages are given back. They are,
    after each block, unless the mapping is private and may hold changes.

    Parameters
    ----------
    features : ndarray, or shelfbench.data.rows.Rows, shape (n, d)
        In memory or on disk; never changed.
    shift : ndarray of float32, shape (d,), optional
        Is subtracted from each block.

    Attributes
    ----------
    features : ndarray or Rows
    read : int
        Bytes of features that have been gone through so far.
    """

    def __init__(self, features: np.ndarray | Rows, shift: np.ndarray | None = None) -> None:
        self.features, self.shift = features, shift
        self.read = 0
        owner, self._index = (features.matrix, features.index) if isinstance(features, Rows) else (features, None)
        self._each = owner.strides[0] if owner.ndim == 2 else 0
        self._row = owner.itemsize * owner.shape[-1]
        self._map, self._start = _mapping(owner)

    @property
    def mapped(self) -> bool:
        """Whether pages of a mapped file are given back."""
        return self._map is not None

    @property
    def nbytes(self) -> int:
        """Bytes of features that one pass goes through."""
        return int(len(self.features) * self._row)

    @contextmanager
    def block(self, rows: slice) -> Iterator[np.ndarray]:
        """Read some rows, float32; a view where the features are float32, in order, and not shifted.

        Parameters
        ----------
        rows : slice

        Yields
        ------
        ndarray of float32, shape (rows, d)
            To be used within the context only.
        """
        block = np.asarray(self.features[rows], dtype=np.float32)
        self.read += len(block) * self._row
        self._advise("MADV_WILLNEED", slice(rows.stop, rows.stop + AHEAD * len(block)))
        try:
            yield block if self.shift is None else block - self.shift
        finally:
            self._advise("MADV_DONTNEED", rows)

    def take(self, rows: np.ndarray) -> np.ndarray:
        """Copy some rows, float32; `rows` is int64 and rises, shape (m,)."""
        found = np.empty((len(rows), self.features.shape[1]), np.float32)
        step = max(1, COPIED // max(1, self.features.shape[1]))
        for first in range(0, len(rows), step):
            some = rows[first : first + step]
            found[first : first + step] = self.features[some]
            self._advise("MADV_DONTNEED", slice(int(some[0]), int(some[-1]) + 1))
        if self.shift is not None:
            found -= self.shift
        self.read += len(rows) * self._row
        return found

    def _advise(self, advice: str, rows: slice) -> None:
        """Advise the system about the pages of these rows."""
        if self._map is None or not hasattr(mmap, advice) or not hasattr(self._map, "madvise"):
            return
        first, last = rows.start, min(rows.stop, len(self.features))
        if self._index is not None and first < last:
            there = self._index[first:last]
            first, last = int(there.min()), int(there.max()) + 1
            if advice == "MADV_WILLNEED" and last - first > 2 * len(there):
                return  # most of what lies between would be read in vain
        # the page that the last row shares with the next is left to the next block
        begin = (self._start + first * self._each) // mmap.PAGESIZE * mmap.PAGESIZE
        end = (self._start + last * self._each) // mmap.PAGESIZE * mmap.PAGESIZE
        if end > begin:
            self._map.madvise(getattr(mmap, advice), begin, end - begin)


def _mapping(matrix: np.ndarray) -> tuple[mmap.mmap | None, int]:
    """Find the mapping of a file that an array is a view of, and where in it the array begins; None if it is none."""
    whole: object = matrix
    while isinstance(whole, np.ndarray):
        if isinstance(whole, np.memmap) and whole.mode == "c":
            return None, 0
        whole = whole.base
    in_order = matrix.ndim == 2 and matrix.strides[1] == matrix.itemsize and matrix.strides[0] > 0
    if not isinstance(whole, mmap.mmap) or not in_order or not matrix.size:
        return None, 0
    start = np.frombuffer(whole, np.uint8).__array_interface__["data"][0]
    return whole, matrix.__array_interface__["data"][0] - start
