"""What the descent must know of every row and category: slacks, and how a step along a direction changes them.

Memory is that of two matrices of rows x categories, float32, for the categories of one block.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from baselines.squared_hinge import PIECE, SquaredHinge, row_blocks

# Columns are filled up with empty ones to a multiple of this: BLAS is slower where a row ends within a vector.
LANES = 16


class Margins:
    """Slacks ``1 - y * z.w``, before the positive part is taken, of all rows in the categories of a block.

    Parameters
    ----------
    problem : SquaredHinge
    live : ndarray of int64, shape (k,)
        The categories.
    weights : ndarray of float64, shape (d + 1, k), or None
        Where they stand; None for zero.
    """

    def __init__(self, problem: SquaredHinge, live: np.ndarray, weights: np.ndarray | None) -> None:
        self.problem = problem
        self._place(live, np.arange(len(live)), -(-len(live) // LANES) * LANES)
        self._slack = np.zeros((problem.count, self._width), np.float32)
        self._along = np.zeros_like(self._slack)
        if weights is None:
            self._slack[:, self._at] = 1
        else:
            problem.forward(self._spread(weights), self._position, 1.0, self._slack)

    def _place(self, live: np.ndarray, at: np.ndarray, width: int) -> None:
        """Note which column, of `width`, belongs to which category."""
        self._at, self._width = at, width
        self._position = np.full(self.problem.classes + 1, -1)  # the last is for rows of no category
        self._position[live] = at

    def _spread(self, values: np.ndarray) -> np.ndarray:
        """The last axis from categories to columns."""
        spread = np.zeros((*values.shape[:-1], self._width), values.dtype)
        spread[..., self._at] = values
        return spread

    def keep(self, kept: np.ndarray, live: np.ndarray) -> None:
        """Drop the categories that are not `kept` (bool, shape (k,)); `live` are those that stay."""
        at, width = self._at[kept], -(-len(live) // LANES) * LANES
        if width == self._width:
            self._place(live, at, width)  # the others' columns stay empty: a copy would cost more
            return
        self._place(live, np.arange(len(live)), width)
        slack = np.zeros((self.problem.count, width), np.float32)

        def copy(rows: slice) -> None:
            slack[rows, : len(at)] = self._slack[rows].take(at, axis=1)

        self.problem.each(copy, self.problem.parts)
        self._slack, self._along = slack, np.zeros_like(slack)

    def active(self, column: int) -> np.ndarray:
        """Rows whose slack is positive in a category."""
        return np.flatnonzero(self._slack[:, self._at[column]] > 0)

    def look(self, direction: np.ndarray) -> None:
        """Note what a step of 1 along `direction`, float64 (d + 1, k), would add to the slacks."""
        self.problem.forward(self._spread(direction), self._position, 0.0, self._along)

    def bend(self) -> np.ndarray:
        """Half the second derivative of the loss along the direction, float64 (k,)."""
        return self._sums(_bend, np.zeros(len(self._at)))

    def slope(self, length: np.ndarray) -> np.ndarray:
        """Half the first derivative of the loss, `length` (k,) along the direction, float64 (k,)."""
        return self._sums(_slope, length)

    def move(self, length: np.ndarray) -> None:
        """Go `length` (k,) along the direction."""
        step = self._spread(length.astype(np.float32))

        def move(part: slice) -> None:
            for piece in self._pieces(part):
                self._slack[piece] += self._along[piece] * step

        self.problem.each(move, self.problem.parts)

    def gradient(self, length: np.ndarray | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Go `length` (k,) along the direction; gradient (d + 1, k) and value (k,) of the loss, active rows (k,)."""
        step = None if length is None else self._spread(length.astype(np.float32))

        def fill(rows: slice, slack: np.ndarray) -> np.ndarray:
            loss, active = np.zeros(self._width), np.zeros(self._width)
            for piece in self._pieces(rows):
                now, out = self._slack[piece], slack[piece.start - rows.start : piece.stop - rows.start]
                if step is not None:
                    np.multiply(self._along[piece], step, out=out)
                    now += out
                np.maximum(now, 0, out=out)
                loss += _dots(out, out)
                active += (out > 0).view(np.uint8).sum(axis=0, dtype=np.float32)
            return np.stack([loss, active])

        pull, sums = self.problem.back(fill, self._position, self._width)
        return pull[:, self._at], sums[0, self._at], sums[1, self._at]

    def _pieces(self, rows: slice) -> Iterator[slice]:
        return row_blocks(rows.stop, max(16, PIECE // self._width), rows.start)

    def _sums(self, kind: Callable[..., np.ndarray], length: np.ndarray) -> np.ndarray:
        step = self._spread(length.astype(np.float32))

        def add_up(part: slice) -> np.ndarray:
            pieces = (kind(self._slack[piece], self._along[piece], step) for piece in self._pieces(part))
            return sum(pieces, np.zeros(len(step)))

        return np.add.reduce(self.problem.each(add_up, self.problem.parts))[self._at]


def _bend(slack: np.ndarray, along: np.ndarray, step: np.ndarray) -> np.ndarray:
    active = along * (slack > 0)
    return _dots(active, active)


def _slope(slack: np.ndarray, along: np.ndarray, step: np.ndarray) -> np.ndarray:
    there = along * step
    there += slack
    return _dots(np.maximum(there, 0, out=there), along)


def _dots(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Inner product of each column."""
    return np.einsum("ij,ij->j", left, right)
