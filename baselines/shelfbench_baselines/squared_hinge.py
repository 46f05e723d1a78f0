"""The problem of scikit-learn's ``LinearSVC``, for all categories at once.

For each category, with y = +1 in it and -1 elsewhere, and z the features with a constant appended::

    minimise over w:  |w|^2 / 2 + C * sum_i max(0, 1 - y_i w.z_i)^2

(L2 penalty, squared hinge, the weight of the constant penalised like any other). All categories share the data, so
one matrix product computes their products with it. `shelfbench_baselines.descent` solves it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from shelfbench.base.errors import RunError

# Rows per matrix product: enough for BLAS, and few enough for the work on the product to stay in cache.
ROWS = 2048
# Elements of a matrix, rows x categories or rows x features, that stay in a core's cache while in use.
PIECE = 2**16
# Columns of the Gram matrix computed together.
TILE = 640
# Parts that threads divide among themselves; fixed, so that sums are the same with any number of threads.
PARTS = 8
# With more features, the Gram matrix costs more than it saves; its diagonal is the preconditioner instead.
GRAM_LIMIT = 4096
# Ratio of neighbouring curvatures that have an inverse each, and how many inverses are kept.
BASE = 4.0
INVERSES = 4
# If the bound of a Hessian's condition is above this, Newton's method works in float64.
DOUBLE_ABOVE = 1e5
# The same for the preconditioner, which must be positive but need not be exact.
DOUBLE_INVERSE_ABOVE = 1e6
# If mean / deviation is above this, folding the mean into the weights would lose digits of float32.
FAR_FROM_ZERO = 100.0

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Standardisation:
    """Shift and scale of the features before the linear function.

    Attributes
    ----------
    mean, scale : ndarray of float64, shape (d,)
    """

    mean: np.ndarray
    scale: np.ndarray


def row_blocks(stop: int, rows: int | None = None, start: int = 0) -> Iterator[slice]:
    """Yield slices of at most `rows` (default `ROWS`) that cover the rows from `start` to `stop` in order."""
    rows = rows or ROWS
    return (slice(first, min(first + rows, stop)) for first in range(start, stop, rows))


class SquaredHinge:
    """One training matrix and the one-vs-rest problems on it.

    Parameters
    ----------
    features : ndarray of float32, shape (n, d)
        Read in blocks of rows and never changed; copied only if a mean is far from zero (see `FAR_FROM_ZERO`).
    labels : ndarray of int64, shape (n,)
        Codes from 0; -1 for a row of none of the categories.
    classes : int
        Number of categories.
    standardise : bool
        Work on features of mean 0 and deviation 1 (a constant feature becomes 0).
    constant : float
        The constant that is appended to the features, ``intercept_scaling`` of ``LinearSVC``: the larger it is, the
        less the penalty restrains the intercept.
    """

    def __init__(
        self, features: np.ndarray, labels: np.ndarray, classes: int, standardise: bool, constant: float = 1.0
    ) -> None:
        self.constant = constant
        self.labels = labels
        self.classes = classes
        self.count, self.dimensions = features.shape
        self.features = features
        self._inverses: dict[int, np.ndarray] = {}
        self._pool: ThreadPoolExecutor | None = None
        size = ROWS * max(1, -(-self.count // (ROWS * PARTS)))
        self.parts = list(row_blocks(self.count, size))
        with self.threads():
            mean, deviation = self._moments()
        if standardise:
            deviation[deviation <= 1e-6 * np.abs(mean)] = 1.0
            self.standardisation = Standardisation(mean, deviation)
        else:
            self.standardisation = Standardisation(np.zeros_like(mean), np.ones_like(mean))
        self._scale = self.standardisation.scale
        self._shift = self.standardisation.mean
        if standardise and np.abs(mean / deviation).max(initial=0.0) > FAR_FROM_ZERO:
            self._subtract(mean.astype(np.float32))
            self._shift, mean = np.zeros_like(mean), mean - mean.astype(np.float32)
        with self.threads():
            self._gram, self._diagonal = self._curvature(self.count * mean)

    def _subtract(self, mean: np.ndarray) -> None:
        self.features = self.features - mean

    @contextmanager
    def threads(self) -> Iterator[None]:
        """Share the work among as many threads as BLAS would use, each with a single-threaded BLAS.

        NumPy and SciPy each come with a BLAS whose idle threads spin, which takes cores from the other BLAS and from
        all work that is not a matrix product.

        Yields
        ------
        None
            The threads live as long as the context.
        """
        import scipy.linalg  # noqa: F401  (its BLAS must be loaded to be limited)
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
        """Return the results of `work` on every item, in order; the threads share the work, if there are any."""
        return list(self._pool.map(work, items) if self._pool else map(work, items))

    def _moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Compute the mean and standard deviation of each feature, float64; refuse values that are not finite."""

        def add_up(part: slice) -> np.ndarray:
            sums = np.zeros((2, self.dimensions))
            for rows in row_blocks(part.stop, max(16, PIECE // max(1, self.dimensions)), part.start):
                block = self.features[rows].astype(np.float64)
                sums += block.sum(axis=0), np.einsum("ij,ij->j", block, block)
                if not np.isfinite(sums[0]).all():
                    row, column = np.argwhere(~np.isfinite(block))[0]
                    raise RunError(
                        f"feature {column} of training image {rows.start + row} is {block[row, column]}",
                        "compute the features again, or look for a broken network or image",
                    )
            return sums

        mean, square = np.add.reduce(self.each(add_up, self.parts)) / self.count
        return mean, np.sqrt(np.maximum(square - mean**2, 0.0))

    def _curvature(self, edge: np.ndarray) -> tuple[np.ndarray | None, np.ndarray]:
        """Compute the Gram matrix of standardised features and constant (None if too large), and its diagonal.

        `edge` is the sum of each feature, float64 (d,).
        """
        size = self.dimensions + 1
        shift, scale = self._shift, self._scale
        if self.dimensions > GRAM_LIMIT:
            diagonal = np.zeros(size)
            for rows in row_blocks(self.count):
                diagonal[:-1] += np.einsum("ij,ij->j", self.features[rows], self.features[rows])
            diagonal[:-1] = np.maximum(diagonal[:-1] - 2 * shift * edge + self.count * shift**2, 0.0) / scale**2
            diagonal[-1] = self.count * self.constant**2
            return None, diagonal
        gram = np.zeros((size, size))

        def multiply(tile: tuple[slice, slice]) -> None:
            for rows in row_blocks(self.count, 4 * ROWS):
                block = self.features[rows]
                gram[tile] += block[:, tile[0]].T @ block[:, tile[1]]
            gram[tile[::-1]] = gram[tile].T

        tiles = list(row_blocks(self.dimensions, TILE))
        self.each(multiply, [(left, right) for left in tiles for right in tiles if left.start <= right.start])
        gram[:-1, :-1] -= np.outer(shift, edge)
        gram[:-1, :-1] -= np.outer(edge - self.count * shift, shift)
        gram[:-1, :-1] /= scale
        gram[:-1, :-1] /= scale[:, None]
        gram[-1, :-1] = gram[:-1, -1] = (edge - self.count * shift) / scale * self.constant
        gram[-1, -1] = self.count * self.constant**2
        return gram, np.diagonal(gram).copy()

    def folded(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Turn weights (d + 1, k) into weights (d, k) of the raw features and an offset (k,), both float32."""
        scaled = weights[:-1] / self._scale[:, None]
        shift = self.constant * weights[-1] - self._shift @ scaled
        return scaled.astype(np.float32), shift.astype(np.float32)

    def unfolded(self, back: np.ndarray, column_sum: np.ndarray) -> np.ndarray:
        """Compute the gradient (d + 1, k) from features times signed slacks (d, k) and the slacks' sums (k,)."""
        gradient = np.empty((self.dimensions + 1, back.shape[1]))
        gradient[:-1] = 2 * (back - self._shift[:, None] * column_sum) / self._scale[:, None]
        gradient[-1] = 2 * self.constant * column_sum
        return gradient

    def forward(self, weights: np.ndarray, position: np.ndarray, out: np.ndarray) -> None:
        """Compute how weights change the slacks, ``-y * z.w``.

        Parameters
        ----------
        weights : ndarray of float64, shape (d + 1, k)
        position : ndarray of int64, shape (classes + 1,)
            Column of each category, -1 for none.
        out : ndarray of float32, shape (n, k)
            Where the result is written.
        """
        folded, shift = self.folded(weights)

        def multiply(part: slice) -> None:
            for rows in row_blocks(part.stop, start=part.start):
                block = np.matmul(self.features[rows], folded, out=out[rows])
                block += shift
                own = self.own(rows, position)
                block[own] *= -1

        self.each(multiply, self.parts)

    def own(self, rows: slice, position: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Find where in a block of rows each row's own category is: rows and columns."""
        column = position[self.labels[rows]]
        mine = np.flatnonzero(column >= 0)
        return mine, column[mine]

    def back(
        self, fill: Callable[[slice, np.ndarray], np.ndarray], position: np.ndarray, width: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Compute the gradient of the sum of squared slacks.

        Parameters
        ----------
        fill : callable
            ``fill(rows, slack)`` writes the slacks of some rows, float32 (rows, width), and returns two sums over them,
            (2, width).
        position : ndarray of int64, shape (classes + 1,)
            Column of each category, -1 for none.
        width : int
            Number of columns.

        Returns
        -------
        ndarray of float64, shape (d + 1, width)
            The gradient.
        ndarray of float64, shape (2, width)
            The sums that `fill` returns, over all rows.
        """

        def add_up(part: slice) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
            back, column_sum, sums = np.zeros((self.dimensions, width)), np.zeros(width), np.zeros((2, width))
            for rows in row_blocks(part.stop, start=part.start):
                slack = np.empty((rows.stop - rows.start, width), np.float32)
                sums += fill(rows, slack)
                slack[self.own(rows, position)] *= -1
                back += self.features[rows].T @ slack
                column_sum += slack.sum(axis=0)
            return back, column_sum, sums

        back, column_sum, sums = (np.add.reduce(piece) for piece in zip(*self.each(add_up, self.parts), strict=True))
        return self.unfolded(back, column_sum), sums

    def precondition(self, curvature: np.ndarray, gradient: np.ndarray) -> np.ndarray:
        """Solve (I + curvature * Gram) x = gradient for each column, up to a factor of about `BASE`.

        Parameters
        ----------
        curvature : ndarray of float64, shape (k,)
            Columns whose curvatures are near the same power of `BASE` share an inverse.
        gradient : ndarray of float64, shape (d + 1, k)

        Returns
        -------
        ndarray of float64, shape (d + 1, k)
        """
        if self._gram is None:
            found: np.ndarray = gradient / (1 + curvature * self._diagonal[:, None])
            return found
        power = np.rint(np.log(curvature) / np.log(BASE)).astype(int)
        powers = np.unique(power).tolist()
        for new in powers:
            kept = self._inverses.pop(new, None)
            self._inverses[new] = self._inverse(new) if kept is None else kept  # the most recently used come last
        for old in list(self._inverses)[: -max(len(powers), INVERSES)]:
            del self._inverses[old]
        solved = np.empty_like(gradient)

        def solve(columns: np.ndarray) -> None:
            inverse = self._inverses[power[columns[0]]]
            solved[:, columns] = inverse @ gradient[:, columns].astype(inverse.dtype)

        groups = (np.flatnonzero(power == p) for p in powers)
        self.each(solve, [group[piece] for group in groups for piece in row_blocks(len(group), 48)])
        return solved

    def _inverse(self, power: int) -> np.ndarray:
        """Invert I + BASE ** power * Gram, to be applied as a product, which threads can share."""
        from scipy.linalg.lapack import dpotrf, dpotri, spotrf, spotri

        scale, failed = BASE**power, 1
        if scale * self._diagonal.sum() <= DOUBLE_INVERSE_ABOVE:
            factor, failed = spotrf(self._shifted(scale, np.float32), lower=1, overwrite_a=1)
        if failed:
            factor, _ = dpotrf(self._shifted(scale, np.float64), lower=1, overwrite_a=1)
        inverse: np.ndarray = (dpotri if failed else spotri)(factor, lower=1, overwrite_c=1)[0]
        for rows in row_blocks(len(inverse), 256):  # fill the upper half from the lower
            inverse[rows, rows.stop :] = inverse[rows.stop :, rows].T
            corner = np.tril(inverse[rows, rows])
            inverse[rows, rows] = corner + np.tril(corner, -1).T
        return inverse

    def _shifted(self, scale: float, kind: type) -> np.ndarray:
        """Compute I + scale * Gram in LAPACK's memory order."""
        assert self._gram is not None
        matrix: np.ndarray = np.multiply(self._gram, scale, dtype=kind, casting="same_kind").T
        matrix[np.diag_indices_from(matrix)] += 1
        return matrix

    def newton_step(self, C: float, active: np.ndarray, gradient: np.ndarray) -> np.ndarray:
        """Multiply a category's gradient by its inverse Hessian.

        Parameters
        ----------
        C : float
            The category's C.
        active : ndarray of int64
            Its active rows.
        gradient : ndarray of float64, shape (d + 1,)

        Returns
        -------
        ndarray of float64, shape (d + 1,)
        """
        inputs = np.empty((len(active), self.dimensions + 1), np.float32)
        inputs[:, :-1] = self.features[active]
        inputs[:, :-1] -= self._shift.astype(np.float32)
        inputs[:, :-1] /= self._scale.astype(np.float32)
        inputs[:, -1] = self.constant
        if 2 * C * np.vdot(inputs, inputs) > DOUBLE_ABOVE:
            inputs = inputs.astype(np.float64)
        if len(active) >= inputs.shape[1]:
            hessian = inputs.T @ inputs
            hessian *= inputs.dtype.type(2 * C)
            hessian[np.diag_indices_from(hessian)] += 1
            return _solve(hessian, gradient)
        kernel = inputs @ inputs.T  # Woodbury: a system of the size of the active rows
        kernel[np.diag_indices_from(kernel)] += 0.5 / C
        found: np.ndarray = gradient - inputs.T @ _solve(kernel, inputs @ gradient.astype(inputs.dtype))
        return found


def _solve(matrix: np.ndarray, right: np.ndarray) -> np.ndarray:
    from scipy.linalg import cho_factor, cho_solve

    try:
        factor = cho_factor(matrix, lower=True, check_finite=False)
    except np.linalg.LinAlgError:
        factor = cho_factor(matrix.astype(np.float64), lower=True, check_finite=False)
    found: np.ndarray = cho_solve(factor, right.astype(factor[0].dtype), check_finite=False)
    return found
