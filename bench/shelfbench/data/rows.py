"""Rows of a matrix that stays where it is, on disk or in memory, and is read a block at a time.

Numbers of a whole catalogue do not fit in memory, and a copy of them without a few rows fits even less. Whatever reads
features takes slices of them in order, or a few rows at a time; both work alike on an array, on a memory map and on
`Rows`.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from typing import Any, cast

import numpy as np

# Features of fewer bytes than this are held in memory, as float32.
IN_MEMORY = 1 << 28
# Bytes that are converted at once.
_BLOCK = 1 << 24


class Rows(np.lib.mixins.NDArrayOperatorsMixin):
    """Some rows of a matrix, as float32, in place of an array of them.

    A slice or some of its rows are an ordinary array. Any function of NumPy takes it as well, and reads all of it into
    memory for that.

    Parameters
    ----------
    matrix : ndarray of float32 or float16, shape (n, d)
        May be a memory map.
    index : ndarray of int64, shape (m,), or slice, optional
        Which of its rows these are, in this order; all by default.

    Attributes
    ----------
    matrix : ndarray
        What they are rows of.
    """

    dtype = np.dtype(np.float32)
    ndim = 2

    def __init__(self, matrix: np.ndarray, index: np.ndarray | slice | None = None) -> None:
        if isinstance(index, slice):
            matrix, index = matrix[index], None
        self.matrix, self._index = matrix, index
        self.shape = (len(matrix) if index is None else len(index), matrix.shape[1])

    @property
    def index(self) -> np.ndarray | None:
        """Which rows of the matrix these are, in order; None for all."""
        return self._index

    @property
    def size(self) -> int:
        """How many numbers there are."""
        return int(self.shape[0] * self.shape[1])

    @property
    def nbytes(self) -> int:
        """Bytes that all of them would take in memory."""
        return self.size * self.dtype.itemsize

    def __len__(self) -> int:
        return self.shape[0]

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[row] for row in range(len(self)))

    def __getitem__(self, key: Any) -> np.ndarray:
        """Read rows: float32; a tuple selects columns of them, too."""
        rows, *columns = key if isinstance(key, tuple) else (key,)
        found = self.matrix[rows if self._index is None else self._index[rows]]
        found = np.asarray(found, np.float32)
        return found[(..., *columns)] if columns else found

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """Read all rows."""
        if copy is False:
            raise ValueError("rows that stay on disk are not an array without a copy")
        whole: np.ndarray = np.empty(self.shape, dtype or self.dtype)
        for block in blocks_of(cast(np.ndarray, self)):
            whole[block] = self[block]
        return whole

    def __array_ufunc__(self, function: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        """Compute on all rows, read into memory."""
        read = [np.asarray(value) if isinstance(value, Rows) else value for value in inputs]
        return getattr(function, method)(*read, **options)

    def only(self, index: np.ndarray | slice) -> Rows:
        """Keep some of the rows, without reading any."""
        if self._index is None:
            return Rows(self.matrix, index)
        return Rows(self.matrix, self._index[index])


def rows_of(matrix: np.ndarray, index: np.ndarray | slice) -> np.ndarray:
    """Keep some rows of a matrix, without a second large copy of them.

    Parameters
    ----------
    matrix : ndarray of float32, or Rows, shape (n, d)
    index : slice, ndarray of int64, or ndarray of bool

    Returns
    -------
    ndarray of float32, shape (m, d)
        A view for a slice of an array; a copy of less than `IN_MEMORY` bytes; otherwise `Rows`, which stand for an
        array.
    """
    if isinstance(index, slice):
        return cast(np.ndarray, matrix.only(index)) if isinstance(matrix, Rows) else matrix[index]
    if index.dtype == bool:
        index = np.flatnonzero(index)
    if len(index) * matrix.shape[1] * Rows.dtype.itemsize <= IN_MEMORY:
        return matrix[index]
    return cast(np.ndarray, matrix.only(index) if isinstance(matrix, Rows) else Rows(matrix, index))


def as_float32(matrix: Any) -> np.ndarray:
    """Return features as float32 without a copy where they are; `Rows` stay what they are.

    Parameters
    ----------
    matrix : array-like or Rows

    Returns
    -------
    ndarray of float32, or Rows
    """
    return cast(np.ndarray, matrix) if isinstance(matrix, Rows) else np.asarray(matrix, dtype=np.float32)


def blocks_of(matrix: np.ndarray, size: int = _BLOCK) -> Iterator[slice]:
    """Cut a matrix into slices that cover its rows in order.

    Parameters
    ----------
    matrix : ndarray or Rows, shape (n, d)
    size : int
        About how many bytes a block takes as float32.

    Returns
    -------
    iterator of slice
    """
    step = max(1, size // max(1, matrix.shape[1] * Rows.dtype.itemsize))
    return (slice(start, min(start + step, len(matrix))) for start in range(0, len(matrix), step))


def on_disk(matrix: np.ndarray) -> bool:
    """Tell whether an array, or what `Rows` are of, is a memory map.

    Parameters
    ----------
    matrix : ndarray or Rows

    Returns
    -------
    bool
    """
    owner: Any = matrix.matrix if isinstance(matrix, Rows) else matrix
    while owner is not None and not isinstance(owner, mmap.mmap):
        owner = getattr(owner, "base", None)
    return owner is not None
