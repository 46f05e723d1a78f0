"""The problem of scikit-learn's ``LinearSVC``, for all categories at once.

For each category, with y = +1 in it and -1 elsewhere, and z the features with a constant appended::

    minimise over w:  |w|^2 / 2 + C * sum_i max(0, 1 - y_i w.z_i)^2

(L2 penalty, squared hinge, the weight of the constant penalised like any other). All categories share the data,
so their products with it are one matrix product. `baselines.descent` solves it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from bench.errors import RunError

# Rows per matrix product: enough for BLAS, few enough that what is done to the product stays in cache.
ROWS = 2048
# Pieces that threads share out; fixed, so that sums come out the same with any number of threads.
PARTS = 8
# Above this many features the Gram matrix costs more than it saves; its diagonal preconditions instead.
GRAM_LIMIT = 4096
# Bound of a Hessian's condition above which Newton's method works in float64.
DOUBLE_ABOVE = 1e5
# Mean over deviation from which folding the mean into the weights would lose float32's digits.
FAR_FROM_ZERO = 100.0

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Standardisation:
    """What is taken off and divided by before the linear function.

    Attributes
    ----------
    mean, scale : ndarray of float64, shape (d,)
    """

    mean: np.ndarray
    scale: np.ndarray


def row_blocks(stop: int, rows: int | None = None, start: int = 0) -> Iterator[slice]:
    """Slices of at most `rows` (default `ROWS`) that cover the rows from `start` to `stop` in order."""
    rows = rows or ROWS
    return (slice(first, min(first + rows, stop)) for first in range(start, stop, rows))


def moments(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each feature, float64, in blocks.

    Raises
    ------
    RunError
        If a value is not finite; names its row and column.
    """
    count, dimensions = features.shape
    total, squares = np.zeros(dimensions), np.zeros(dimensions)
    for rows in row_blocks(count):
        block = features[rows].astype(np.float64)
        total += block.sum(axis=0)
        squares += np.einsum("ij,ij->j", block, block)
        if not np.isfinite(total).all():
            row, column = np.argwhere(~np.isfinite(block))[0]
            raise RunError(
                f"feature {column} of training image {rows.start + row} is {block[row, column]}",
                "compute the features again, or look for a broken network or image",
            )
    mean = total / count
    return mean, np.sqrt(np.maximum(squares / count - mean**2, 0.0))


class SquaredHinge:
    """One training matrix, and the one-vs-rest problems on it.

    Parameters
    ----------
    features : ndarray of float32, shape (n, d)
        Read in blocks of rows and never changed; copied only where a mean is far from zero, see
        `FAR_FROM_ZERO`.
    labels : ndarray of int64, shape (n,)
    classes : int
    standardise : bool
        Work on features of mean 0 and deviation 1 (a constant feature becomes 0).
    constant : float
        The constant that is appended to the features, ``intercept_scaling`` of ``LinearSVC``: the larger, the less
        the penalty holds the intercept back.
    """

    def __init__(
        self, features: np.ndarray, labels: np.ndarray, classes: int, standardise: bool, constant: float = 1.0
    ) -> None:
        self.constant = constant
        self.labels = labels
        self.classes = classes
        self.count, self.dimensions = features.shape
        mean, deviation = moments(features)
        if standardise:
            deviation[deviation <= 1e-6 * np.abs(mean)] = 1.0
            self.standardisation = Standardisation(mean, deviation)
        else:
            self.standardisation = Standardisation(np.zeros_like(mean), np.ones_like(mean))
        self._scale = self.standardisation.scale
        self._shift = self.standardisation.mean
        self._features = features
        if standardise and np.abs(mean / deviation).max(initial=0.0) > FAR_FROM_ZERO:
            self._features = features - mean.astype(np.float32)
            self._shift = np.zeros_like(mean)
        self._gram, self._diagonal = self._curvature()
        self._factor: tuple[float, tuple[np.ndarray, bool]] | None = None
        self._pool: ThreadPoolExecutor | None = None
        size = ROWS * max(1, -(-self.count // (ROWS * PARTS)))
        self.parts = list(row_blocks(self.count, size))

    @contextmanager
    def threads(self) -> Iterator[None]:
        """Within, as many threads as BLAS would use share the work, each with a BLAS of one thread.

        NumPy and SciPy bring a BLAS each, whose idle threads spin and take the cores from the other's and from what
        is not a matrix product; measured with the machine busy, this is several times as fast.
        """
        import scipy.linalg  # noqa: F401  (its BLAS must be there to be limited)
        from threadpoolctl import ThreadpoolController

        controller = ThreadpoolController().select(user_api="blas")
        count = max((library["num_threads"] for library in controller.info()), default=1)
        with controller.limit(limits=1), ThreadPoolExecutor(count) as pool:
            self._pool = pool
            try:
                yield
            finally:
                self._pool = None

    def each(self, work: Callable[[Item], Result], items: list[Item]) -> list[Result]:
        """Results of `work` on every item, in order; by the threads where there are any."""
        return list(self._pool.map(work, items) if self._pool else map(work, items))

    def _curvature(self) -> tuple[np.ndarray | None, np.ndarray]:
        """Gram matrix of standardised features and constant (None if too large), and its diagonal."""
        size = self.dimensions + 1
        whole = self.dimensions <= GRAM_LIMIT
        gram = np.zeros((size, size) if whole else (size,))
        edge = np.zeros(self.dimensions)
        for rows in row_blocks(self.count, 4 * ROWS):
            block = self._features[rows]
            edge += block.sum(axis=0, dtype=np.float64)
            if whole:
                gram[:-1, :-1] += block.T @ block
            else:
                gram[:-1] += np.einsum("ij,ij->j", block, block)
        shift, scale = self._shift, self._scale
        if not whole:
            gram[:-1] = np.maximum(gram[:-1] - 2 * shift * edge + self.count * shift**2, 0.0) / scale**2
            gram[-1] = self.count * self.constant**2
            return None, gram
        gram[:-1, :-1] -= np.outer(shift, edge)
        gram[:-1, :-1] -= np.outer(edge - self.count * shift, shift)
        gram[:-1, :-1] /= scale
        gram[:-1, :-1] /= scale[:, None]
        gram[-1, :-1] = gram[:-1, -1] = (edge - self.count * shift) / scale * self.constant
        gram[-1, -1] = self.count * self.constant**2
        return gram, np.diagonal(gram).copy()

    def margins(self, weights: np.ndarray, out: np.ndarray) -> np.ndarray:
        """Standardised features and constant times `weights` (d + 1, k), into `out`, float32 (n, k)."""
        folded = weights[:-1] / self._scale[:, None]
        offset = (self.constant * weights[-1] - self._shift @ folded).astype(np.float32)
        folded = folded.astype(np.float32)

        def multiply(part: slice) -> None:
            for rows in row_blocks(part.stop, start=part.start):
                np.matmul(self._features[rows], folded, out=out[rows])
                out[rows] += offset

        self.each(multiply, self.parts)
        return out

    def residual(self, rows: slice, margins: np.ndarray, position: np.ndarray) -> tuple[np.ndarray, tuple]:
        """Positive part of 1 - y * margins for a block of rows, and where a row's own category stands."""
        own = position[self.labels[rows]]
        mine = np.flatnonzero(own >= 0)
        at = (mine, own[mine])
        slack = margins + np.float32(1)
        slack[at] = 2 - slack[at]
        return np.maximum(slack, 0, out=slack), at

    def gradient(
        self, C: float, weights: np.ndarray, margins: np.ndarray, position: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Gradient (d + 1, k), objective (k,) and number of active rows (k,) at `weights` with `margins`."""
        width = weights.shape[1]

        def add_up(part: slice) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
            back, column_sum, loss = np.zeros((self.dimensions, width)), np.zeros(width), np.zeros(width)
            active = np.zeros(width, np.int64)
            for rows in row_blocks(part.stop, start=part.start):
                slack, own = self.residual(rows, margins[rows], position)
                loss += np.einsum("ij,ij->j", slack, slack)
                active += np.count_nonzero(slack, axis=0)
                slack[own] *= -1
                back += self._features[rows].T @ slack
                column_sum += slack.sum(axis=0, dtype=np.float64)
            return back, column_sum, loss, active

        back, column_sum, loss, active = (
            np.add.reduce(pieces) for pieces in zip(*self.each(add_up, self.parts), strict=True)
        )
        gradient = weights.copy()
        gradient[:-1] += 2 * C * (back - self._shift[:, None] * column_sum) / self._scale[:, None]
        gradient[-1] += 2 * C * self.constant * column_sum
        objective = 0.5 * np.einsum("ij,ij->j", weights, weights) + C * loss
        return gradient, objective, active

    def precondition(self, curvature: float, gradient: np.ndarray) -> np.ndarray:
        """Solve (I + curvature * Gram) x = gradient, float64 (d + 1, k)."""
        if self._gram is None:
            return gradient / (1 + curvature * self._diagonal)[:, None]
        from scipy.linalg import cho_factor, cho_solve

        if self._factor is None or self._factor[0] != curvature:
            hessian = (curvature * self._gram).astype(np.float32)
            hessian[np.diag_indices_from(hessian)] += 1
            try:
                factor = cho_factor(hessian, lower=True, overwrite_a=True, check_finite=False)
            except np.linalg.LinAlgError:  # float32 was too coarse for so large a C
                exact = curvature * self._gram + np.eye(len(self._gram))
                factor = cho_factor(exact, lower=True, overwrite_a=True, check_finite=False)
            self._factor = (curvature, factor)
        factor = self._factor[1]
        solved = np.empty_like(gradient)

        def solve(columns: slice) -> None:
            solved[:, columns] = cho_solve(factor, gradient[:, columns].astype(factor[0].dtype), check_finite=False)

        self.each(solve, list(row_blocks(gradient.shape[1], 64)))
        return solved

    def newton_step(self, C: float, category: int, margins: np.ndarray, gradient: np.ndarray) -> np.ndarray:
        """Inverse Hessian of one category times its gradient; `margins` (n,) say which rows are active."""
        active = np.flatnonzero(np.where(self.labels == category, 1 - margins, 1 + margins) > 0)
        inputs = np.empty((len(active), self.dimensions + 1), np.float32)
        inputs[:, :-1] = (self._features[active] - self._shift) / self._scale
        inputs[:, -1] = self.constant
        if 2 * C * np.vdot(inputs, inputs) > DOUBLE_ABOVE:
            inputs = inputs.astype(np.float64)
        if len(active) >= inputs.shape[1]:
            hessian = inputs.T @ inputs
            hessian *= inputs.dtype.type(2 * C)
            hessian[np.diag_indices_from(hessian)] += 1
            return _solve(hessian, gradient)
        kernel = inputs @ inputs.T  # Woodbury: a system as large as there are active rows
        kernel[np.diag_indices_from(kernel)] += 0.5 / C
        return gradient - inputs.T @ _solve(kernel, inputs @ gradient.astype(inputs.dtype))


def _solve(matrix: np.ndarray, right: np.ndarray) -> np.ndarray:
    from scipy.linalg import cho_factor, cho_solve

    try:
        factor = cho_factor(matrix, lower=True, check_finite=False)
    except np.linalg.LinAlgError:
        factor = cho_factor(matrix.astype(np.float64), lower=True, check_finite=False)
    return cho_solve(factor, right.astype(factor[0].dtype), check_finite=False)
