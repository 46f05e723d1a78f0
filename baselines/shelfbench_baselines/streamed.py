"""Linear SVMs of any number of rows: what a sweep needs of a row is computed and forgotten, and read once.

`shelfbench_baselines.margins` keeps the slacks of all rows in a block of categories, which takes memory by rows x
categories, and reads the features twice for each step: for the slacks' change along the direction, and for the
gradient. Here a sweep computes slacks from the weights and goes on to the gradient while the rows are still in the
cache; nothing is kept of a row. The length of a step is found on a sample of the rows, which stays in memory: the slope
at its beginning is known from the gradient, and the sample tells how it changes. After each step, the new gradient
tells the true slope there, and corrects what the sample says for the category.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from shelfbench.base.errors import RunError
from shelfbench.base.processor import free_memory
from shelfbench_baselines.blocks import Blocks
from shelfbench_baselines.footprint import GRAM_LIMIT, SAMPLE, fits, sample_size, widest
from shelfbench_baselines.margins import Columns, Margins, dots
from shelfbench_baselines.quasi_newton import QuasiNewton
from shelfbench_baselines.squared_hinge import PIECE, ROWS, Item, Result, SquaredHinge, row_blocks

# Rows for each feature that the preconditioner is made of.
GRAM_ROWS = 64
# Threads share that many parts of the rows; fixed, so that sums are the same with any number of threads.
PARTS = 64
# By what the true curvature may differ from the sample's.
MISJUDGED = 8.0

# From weights (d + 1, k) and columns: the loss's gradient (d + 1, k) and value (k,), and the active rows (k,).
Sweep = Callable[[np.ndarray, Columns], tuple[np.ndarray, np.ndarray, np.ndarray]]


class StreamedHinge(SquaredHinge):
    """One training matrix, gone through in blocks of rows, and the one-vs-rest problems on it.

    Parameters
    ----------
    features : ndarray, or shelfbench.data.rows.Rows, of float32 or float16, shape (n, d)
        May be a mapped file.
    labels : ndarray of int64, shape (n,)
    classes : int
    standardise : bool
    constant : float
        See `SquaredHinge`.

    Attributes
    ----------
    blocks : Blocks
        The features, with the number of bytes that were read.
    """

    def __init__(
        self, features: np.ndarray, labels: np.ndarray, classes: int, standardise: bool, constant: float = 1.0
    ) -> None:
        self.blocks = Blocks(features)
        self._sample = np.empty((0, 0), np.float32)
        super().__init__(features, labels, classes, standardise, constant)
        size = ROWS * max(1, -(-self.count // (ROWS * PARTS)))
        self.parts = list(row_blocks(self.count, size))

    def _subtract(self, mean: np.ndarray) -> None:
        read, self.blocks = self.blocks.read, Blocks(self.features, mean)
        self.blocks.read = read
        self._sample = self._sample - mean

    def _moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Compute the mean and standard deviation of each feature, and draw the samples on the way."""
        # not the rows at equal distances: a catalogue may have an order
        order = np.random.default_rng(0).permutation(self.count)[: max(SAMPLE, GRAM_ROWS * self.dimensions)]
        size = sample_size(self.count, self.dimensions)
        self._chosen, self._wider = np.sort(order[:size]), np.sort(order[size:])
        self._sample = np.empty((size, self.dimensions), np.float32)
        first = self._first_row()

        def add_up(part: slice) -> np.ndarray:
            sums = np.zeros((2, self.dimensions))
            for rows in row_blocks(part.stop, start=part.start):
                with self.blocks.block(rows) as block:
                    inside = slice(*np.searchsorted(self._chosen, (rows.start, rows.stop)))
                    self._sample[inside] = block[self._chosen[inside] - rows.start]
                    for piece in row_blocks(len(block), max(16, PIECE // max(1, self.dimensions))):
                        # from the first row on, so that large means cost no digits
                        some = block[piece].astype(np.float64) - first
                        sums += some.sum(axis=0), np.einsum("ij,ij->j", some, some)
                    if not np.isfinite(sums).all():
                        self._name_bad(block, rows.start)
            return sums

        mean, square = sum(self._in_order(add_up, self.parts), np.zeros((2, self.dimensions))) / self.count
        return first + mean, np.sqrt(np.maximum(square - mean**2, 0.0))

    def _first_row(self) -> np.ndarray:
        first = np.asarray(self.features[0], dtype=np.float64)
        return np.where(np.isfinite(first), first, 0.0)

    def _name_bad(self, block: np.ndarray, start: int) -> None:
        row, column = np.argwhere(~np.isfinite(block))[0]
        raise RunError(
            f"feature {column} of training image {start + row} is {block[row, column]}",
            "compute the features again, or look for a broken network or image",
        )

    def _curvature(self, edge: np.ndarray) -> tuple[np.ndarray | None, np.ndarray]:
        """Estimate the Gram matrix of standardised features and constant, and its diagonal, from the samples."""
        shift, scale = self._shift.astype(np.float32), self._scale.astype(np.float32)
        taken = len(self._chosen) + len(self._wider)

        def standardised(rows: slice) -> np.ndarray:
            here = slice(max(0, rows.start - len(self._chosen)), max(0, rows.stop - len(self._chosen)))
            raw = self._sample[rows] if rows.start < len(self._chosen) else np.empty((0, self.dimensions), np.float32)
            inputs = np.empty((rows.stop - rows.start, self.dimensions + 1), np.float32)
            inputs[: len(raw), :-1] = raw
            if here.stop > here.start:
                inputs[len(raw) :, :-1] = self.blocks.take(self._wider[here])
            inputs[:, :-1] -= shift
            inputs[:, :-1] /= scale
            inputs[:, -1] = self.constant
            return inputs

        pieces, factor = list(row_blocks(taken, ROWS)), self.count / taken
        if self.dimensions > GRAM_LIMIT:
            squares = self._in_order(lambda rows: np.einsum("ij,ij->j", *(2 * [standardised(rows)])), pieces)
            return None, factor * sum(squares, np.zeros(self.dimensions + 1))
        gram = np.zeros((self.dimensions + 1, self.dimensions + 1))

        def product(rows: slice) -> np.ndarray:
            inputs = standardised(rows)
            found: np.ndarray = inputs.T @ inputs
            return found

        for piece in self._in_order(product, pieces):
            gram += piece
        gram *= factor
        return gram, np.diagonal(gram).copy()

    def _in_order(self, work: Callable[[Item], Result], items: list[Item]) -> Iterator[Result]:
        """Yield the results of `work` in order, as they come, so that few are in memory at a time."""
        return self._pool.map(work, items) if self._pool else map(work, items)

    def sample(self) -> SquaredHinge:
        """Return the problem on the sample of rows; it shares the threads of this one."""
        sample = copy.copy(self)
        sample.features, sample.labels = self._sample, self.labels[self._chosen]
        sample.count = len(self._chosen)
        sample.parts = list(row_blocks(sample.count, ROWS))
        return sample

    def sweep(self, weights: np.ndarray, columns: Columns) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Compute the loss's gradient and value, and the number of active rows, at weights, from one reading.

        Parameters
        ----------
        weights : ndarray of float64, shape (d + 1, k)
        columns : Columns
            The categories.

        Returns
        -------
        gradient : ndarray of float64, shape (d + 1, k)
        loss, active : ndarray of float64, shape (k,)
        """
        folded, shift = self.folded(columns.spread(weights))

        def add_up(part: slice) -> tuple[np.ndarray, np.ndarray]:
            back, sums = np.zeros((self.dimensions, columns.width)), np.zeros((3, columns.width))
            for rows in row_blocks(part.stop, start=part.start):
                with self.blocks.block(rows) as block:
                    slack = block @ folded
                    own = self.own(rows, columns.position)
                    for piece in row_blocks(len(slack), max(16, PIECE // columns.width)):
                        some = slack[piece]
                        some += shift
                    slack[own] *= -1
                    for piece in row_blocks(len(slack), max(16, PIECE // columns.width)):
                        some = slack[piece]
                        some += 1
                        np.maximum(some, 0, out=some)
                        sums[0] += dots(some, some)
                        sums[1] += (some > 0).view(np.uint8).sum(axis=0, dtype=np.float32)
                    slack[own] *= -1
                    sums[2] += slack.sum(axis=0)
                    back += block.T @ slack
            return back, sums

        back, sums = np.zeros((self.dimensions, columns.width)), np.zeros((3, columns.width))
        for part_back, part_sums in self._in_order(add_up, self.parts):
            back += part_back
            sums += part_sums
        return self.unfolded(back[:, columns.at], sums[2, columns.at]), sums[0, columns.at], sums[1, columns.at]


def problem_for(
    features: np.ndarray, labels: np.ndarray, classes: int, standardise: bool, constant: float = 1.0
) -> SquaredHinge:
    """Make the problem of some features: in memory if it `fits`, and otherwise in blocks of rows.

    Parameters
    ----------
    features : ndarray, or shelfbench.data.rows.Rows, of float32 or float16, shape (n, d)
    labels : ndarray of int64, shape (n,)
    classes : int
    standardise : bool
    constant : float
        See `SquaredHinge`.

    Returns
    -------
    SquaredHinge
    """
    count, dimensions = features.shape
    if fits(count, dimensions, classes):
        return SquaredHinge(np.asarray(features, dtype=np.float32), labels, classes, standardise, constant)
    return StreamedHinge(features, labels, classes, standardise, constant)


def told(problem: SquaredHinge, margins: Any) -> dict[str, int]:
    """Say for the record how many categories go through the features together, in blocks of rows, and how often so far.

    Parameters
    ----------
    problem : SquaredHinge
    margins : Streamed, or what makes margins in memory

    Returns
    -------
    dict of str to int
        ``categories`` and ``passes``; empty if the problem is solved in memory.
    """
    if not isinstance(problem, StreamedHinge):
        return {}
    passes = round(problem.blocks.read / max(1, problem.blocks.nbytes))
    return {"categories": min(problem.classes, margins.widest(problem)), "passes": passes}


class Streamed:
    """Makes the margins of blocks of categories of a `StreamedHinge`, for `regularisation_path`.

    Parameters
    ----------
    sweep : callable
        The problem's own `sweep`, or a device's.
    """

    descent = QuasiNewton

    def __init__(self, sweep: Sweep) -> None:
        self._sweep = sweep
        self._widest = 0

    def widest(self, problem: StreamedHinge) -> int:
        """Count the categories for which there was memory when this was asked first."""
        if not self._widest:
            self._widest = widest(problem.dimensions, sample_size(problem.count, problem.dimensions), free_memory())
        return self._widest

    def __call__(self, problem: StreamedHinge, live: np.ndarray) -> StreamedMargins:
        """Make the margins of a block."""
        return StreamedMargins(problem, live, self._sweep)


class StreamedMargins:
    """Does the work of `shelfbench_baselines.margins.Margins` without the margins; lengths are found on a sample.

    Parameters
    ----------
    problem : StreamedHinge
    live : ndarray of int64, shape (k,)
        The categories, whose weights begin at zero.
    sweep : callable
        See `Sweep`.

    Attributes
    ----------
    there : ndarray of float64, shape (k,)
        Half the first derivative of the loss along the direction at the end of the latest step, undone or not.
    """

    def __init__(self, problem: StreamedHinge, live: np.ndarray, sweep: Sweep) -> None:
        self._problem, self._sweep = problem, sweep
        sample = problem.sample()
        self._sample = Margins(sample, live)
        self._columns = Columns(problem.classes, live)
        self._weights = np.zeros((problem.dimensions + 1, len(live)))
        self._pull = np.zeros_like(self._weights)
        self._direction = np.zeros_like(self._weights)
        self._before = self._weights, self._pull
        self._ratio = problem.count / sample.count
        self._scale = np.full(len(live), self._ratio)
        self._steep, self._flat, self.there = np.zeros((3, len(live)))

    def keep(self, kept: np.ndarray, live: np.ndarray) -> None:
        """Drop the categories that are not kept."""
        self._sample.keep(kept, live)
        self._columns = Columns(self._problem.classes, live)
        self._weights, self._pull, self._direction = (
            array[:, kept] for array in (self._weights, self._pull, self._direction)
        )
        self._before = self._weights, self._pull
        self._scale, self._steep, self._flat = self._scale[kept], self._steep[kept], self._flat[kept]

    def look(self, direction: np.ndarray) -> None:
        """Set the direction, float64 (d + 1, k)."""
        self._direction = direction
        self._sample.look(direction)
        self._steep = 0.5 * dots(self._pull, direction)
        self._flat = self._sample.slope(np.zeros(direction.shape[1]))

    def bend(self) -> np.ndarray:
        """Estimate half the second derivative of the loss along the direction, float64 (k,)."""
        found: np.ndarray = self._scale * self._sample.bend()
        return found

    def slope(self, length: np.ndarray) -> np.ndarray:
        """Estimate half the first derivative of the loss after a step of `length` (k,), float64 (k,)."""
        return self._steep + self._scale * (self._sample.slope(length) - self._flat)

    def move(self, length: np.ndarray) -> None:
        """Undo the last step where `length` (k,) is not zero."""
        self._sample.move(length)
        undone = length != 0
        for now, then in zip((self._weights, self._pull), self._before, strict=True):
            now[:, undone] = then[:, undone]

    def gradient(self, length: np.ndarray | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Take a step of `length` (k,); return the loss's gradient (d + 1, k) and value (k,), and active rows (k,)."""
        self._before = self._weights, self._pull
        if length is not None:
            self._weights = self._weights + length * self._direction
            self._sample.move(length)
        self._pull, loss, active = self._sweep(self._weights, self._columns)
        if length is not None:
            self.there = 0.5 * dots(self._pull, self._direction)
            risen = self.there - self._steep
            supposed = self._sample.slope(np.zeros(len(length))) - self._flat
            usable = (supposed > 0) & (risen > 0)
            scale = np.divide(risen, supposed, out=self._scale.copy(), where=usable)
            self._scale = np.clip(scale, self._ratio / MISJUDGED, self._ratio * MISJUDGED)
        return self._pull.copy(), loss, active
