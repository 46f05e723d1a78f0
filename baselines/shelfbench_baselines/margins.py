"""The descent's data for every row and category: the slacks, and how a step along a direction changes them.

This takes the memory of two float32 matrices, rows x categories of one block, padded to a multiple of `LANES`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from shelfbench.base.processor import free_memory
from shelfbench_baselines.squared_hinge import PIECE, SquaredHinge, row_blocks

# Columns are padded to a multiple of this, because BLAS is slower where a row ends within a vector register.
LANES = 16
# A block of categories takes this share of the memory that is free, and at least this many bytes: problems that fit
# are solved in the same blocks on every machine.
SHARE = 1 / 4
LEAST_BYTES = 256 * 2**20
WIDEST = 512


def widest_block(count: int, bytes_each: int, room: float) -> int:
    """Count the categories of a block.

    Parameters
    ----------
    count : int
        Rows of the problem.
    bytes_each : int
        Bytes that a row takes for each category.
    room : float
        Bytes that the block may take; `LEAST_BYTES` if it is less.

    Returns
    -------
    int
        A multiple of `LANES`, at most `WIDEST`.
    """
    return int(np.clip(max(room, LEAST_BYTES) // (bytes_each * max(count, 1)) // LANES * LANES, LANES, WIDEST))


class Columns:
    """Maps the categories of a block to columns of the margins.

    Parameters
    ----------
    classes : int
        Categories of the whole problem.
    live : ndarray of int64, shape (k,)
        The categories of the block.

    Attributes
    ----------
    at : ndarray of int64, shape (k,)
        Column of each category.
    width : int
        Number of columns, a multiple of `LANES`; columns without a category are empty.
    position : ndarray of int64, shape (classes + 1,)
        Column by category, -1 if it is not in the block; the last element is for rows without a category.
    """

    def __init__(self, classes: int, live: np.ndarray) -> None:
        self._place(classes, live, np.arange(len(live)), _filled(len(live)))

    def _place(self, classes: int, live: np.ndarray, at: np.ndarray, width: int) -> None:
        self.at, self.width = at, width
        self.position = np.full(classes + 1, -1)
        self.position[live] = at

    def spread(self, values: np.ndarray) -> np.ndarray:
        """Spread the last axis from categories to columns; empty columns are zero."""
        spread = np.zeros((*values.shape[:-1], self.width), values.dtype)
        spread[..., self.at] = values
        return spread

    def keep(self, kept: np.ndarray, live: np.ndarray) -> np.ndarray | None:
        """Drop the categories that are not kept.

        Parameters
        ----------
        kept : ndarray of bool, shape (k,)
        live : ndarray of int64
            The categories that remain.

        Returns
        -------
        ndarray of int64 or None
            The columns that come first now; None if all stay in place, because dropping some saves no width.
        """
        at: np.ndarray = self.at[kept]
        classes = len(self.position) - 1
        narrower = _filled(len(live)) < self.width
        if not narrower:
            self._place(classes, live, at, self.width)
            return None
        self._place(classes, live, np.arange(len(live)), _filled(len(live)))
        return at


class Margins:
    """Slacks ``1 - y * z.w``, before the positive part is taken, of all rows in the categories of a block.

    Parameters
    ----------
    problem : SquaredHinge
    live : ndarray of int64, shape (k,)
        The categories, whose weights begin at zero.
    """

    def __init__(self, problem: SquaredHinge, live: np.ndarray) -> None:
        self._problem = problem
        self._columns = Columns(problem.classes, live)
        self._slack = np.zeros((problem.count, self._columns.width), np.float32)
        self._along = np.zeros_like(self._slack)
        self._slack[:, self._columns.at] = 1

    @staticmethod
    def widest(problem: SquaredHinge) -> int:
        """Count the categories for whose slacks, and their change along the direction, there is memory."""
        few = widest_block(problem.count, 8, 0)
        # no memory is asked for where it makes no difference
        return few if few >= min(problem.classes, WIDEST) else widest_block(problem.count, 8, SHARE * free_memory())

    def keep(self, kept: np.ndarray, live: np.ndarray) -> None:
        """Drop the categories that are not `kept` (bool, shape (k,)); `live` remain."""
        if (columns := self._columns.keep(kept, live)) is None:
            return
        self._along = np.zeros((0, 0), np.float32)  # freed before more is allocated
        slack = np.zeros((self._problem.count, self._columns.width), np.float32)

        def copy(rows: slice) -> None:
            slack[rows, : len(columns)] = self._slack[rows].take(columns, axis=1)

        self._problem.each(copy, self._problem.parts)
        self._slack = slack
        self._along = np.zeros_like(slack)

    def active(self, column: int) -> np.ndarray:
        """Return the rows whose slack is positive in a category."""
        return np.flatnonzero(self._slack[:, self._columns.at[column]] > 0)

    def look(self, direction: np.ndarray) -> None:
        """Set the direction, float64 (d + 1, k), and compute what a step of 1 along it adds to the slacks."""
        self._problem.forward(self._columns.spread(direction), self._columns.position, self._along)

    def bend(self) -> np.ndarray:
        """Return half the second derivative of the loss along the direction, float64 (k,)."""
        return self._sums(_bend, np.zeros(len(self._columns.at)))

    def slope(self, length: np.ndarray) -> np.ndarray:
        """Return half the first derivative of the loss after a step of `length` (k,), float64 (k,)."""
        return self._sums(_slope, length)

    def move(self, length: np.ndarray) -> None:
        """Take a step of `length` (k,) along the direction."""
        step = self._columns.spread(length.astype(np.float32))

        def move(part: slice) -> None:
            for piece in self._pieces(part):
                self._slack[piece] += self._along[piece] * step

        self._problem.each(move, self._problem.parts)

    def gradient(self, length: np.ndarray | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Take a step of `length` (k,); return the loss's gradient (d + 1, k) and value (k,), and active rows (k,)."""
        step = None if length is None else self._columns.spread(length.astype(np.float32))

        def fill(rows: slice, slack: np.ndarray) -> np.ndarray:
            loss, active = np.zeros(self._columns.width), np.zeros(self._columns.width)
            for piece in self._pieces(rows):
                now, out = self._slack[piece], slack[piece.start - rows.start : piece.stop - rows.start]
                if step is not None:
                    np.multiply(self._along[piece], step, out=out)
                    now += out
                np.maximum(now, 0, out=out)
                loss += dots(out, out)
                active += (out > 0).view(np.uint8).sum(axis=0, dtype=np.float32)
            return np.stack([loss, active])

        pull, sums = self._problem.back(fill, self._columns.position, self._columns.width)
        return pull[:, self._columns.at], sums[0, self._columns.at], sums[1, self._columns.at]

    def _pieces(self, rows: slice) -> Iterator[slice]:
        return row_blocks(rows.stop, max(16, PIECE // self._columns.width), rows.start)

    def _sums(self, kind: Callable[..., np.ndarray], length: np.ndarray) -> np.ndarray:
        step = self._columns.spread(length.astype(np.float32))

        def add_up(part: slice) -> np.ndarray:
            pieces = (kind(self._slack[piece], self._along[piece], step) for piece in self._pieces(part))
            return sum(pieces, np.zeros(len(step)))

        found: np.ndarray = np.add.reduce(self._problem.each(add_up, self._problem.parts))[self._columns.at]
        return found


def _filled(categories: int) -> int:
    return -(-categories // LANES) * LANES


def _bend(slack: np.ndarray, along: np.ndarray, step: np.ndarray) -> np.ndarray:
    active = along * (slack > 0)
    return dots(active, active)


def _slope(slack: np.ndarray, along: np.ndarray, step: np.ndarray) -> np.ndarray:
    there = along * step
    there += slack
    return dots(np.maximum(there, 0, out=there), along)


def dots(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Compute the inner product of each column."""
    found: np.ndarray = np.einsum("ij,ij->j", left, right)
    return found
