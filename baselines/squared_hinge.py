"""The problem of scikit-learn's ``LinearSVC``, for all categories at once.

For each category k, with y = +1 in it and -1 elsewhere, and z the features with a constant 1 appended::

    minimise over w:  |w|^2 / 2 + C * sum_i max(0, 1 - y_i w.z_i)^2

(L2 penalty, squared hinge, the intercept penalised as one more weight, as ``intercept_scaling=1`` has it). All
categories share the data, so their products with it are one matrix product; each keeps its own direction, step and
stop. The method is non-linear conjugate gradients with an exact line search, preconditioned by what the Hessian
``I + 2C * sum of z z' over the active rows`` would be if every category had the average share of active rows: one
Cholesky factor of the Gram matrix serves them all, and ten to twenty sweeps over the data suffice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from bench.errors import RunError

# Rows per matrix product: large enough for BLAS, small enough that what is done to the product stays in cache.
ROWS = 2048
# Bytes of the two matrices rows x categories (margins, and their change along the direction) that exist at a time.
MARGIN_BYTES = 256 * 2**20
WIDEST = 512
# Above this many features the Gram matrix costs more than it saves; its diagonal preconditions instead.
GRAM_LIMIT = 4096
# Mean over deviation from which folding the mean into the weights would lose float32's digits.
FAR_FROM_ZERO = 100.0


@dataclass(frozen=True)
class Standardisation:
    """What is taken off and divided by before the linear function.

    Attributes
    ----------
    mean, scale : ndarray of float64, shape (d,)
    """

    mean: np.ndarray
    scale: np.ndarray


@dataclass(frozen=True)
class Solution:
    """Weights of all categories at one C.

    Attributes
    ----------
    weights : ndarray of float64, shape (d + 1, classes)
        For standardised features; the last row is the intercept.
    objective : ndarray of float64, shape (classes,)
    gap : float
        Largest estimated distance to the optimum over the categories, relative to the objective.
    sweeps : int
        Sweeps over the data of the category block that took most.
    """

    weights: np.ndarray
    objective: np.ndarray
    gap: float
    sweeps: int


def row_blocks(count: int, rows: int = ROWS) -> Iterator[slice]:
    """Slices that cover `count` rows in order."""
    return (slice(start, min(start + rows, count)) for start in range(0, count, rows))


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
            raise RunError(f"feature {column} of training image {rows.start + row} is {block[row, column]}",
                           "compute the features again, or look for a broken network or image")
    mean = total / count
    return mean, np.sqrt(np.maximum(squares / count - mean**2, 0.0))


class SquaredHinge:
    """One training matrix, and the one-vs-rest problems on it.

    Parameters
    ----------
    features : ndarray of float32, shape (n, d)
        Read in blocks of rows and never changed; copied only where a mean is far from zero (see `FAR_FROM_ZERO`).
    labels : ndarray of int64, shape (n,)
    classes : int
    standardise : bool
        Work on features of mean 0 and deviation 1 (a constant feature becomes 0).
    """

    def __init__(self, features: np.ndarray, labels: np.ndarray, classes: int, standardise: bool) -> None:
        self.labels = labels
        self.classes = classes
        self.count, self.dimensions = features.shape
        mean, deviation = moments(features)
        if standardise:
            constant = deviation <= 1e-6 * np.abs(mean)
            deviation[constant] = 1.0
            self.standardisation = Standardisation(mean, deviation)
        else:
            self.standardisation = Standardisation(np.zeros_like(mean), np.ones_like(mean))
        self._scale = self.standardisation.scale
        self._shift = self.standardisation.mean
        self._features = features
        self._centre = mean - self._shift
        if standardise and np.abs(mean / deviation).max(initial=0.0) > FAR_FROM_ZERO:
            self._features = features - mean.astype(np.float32)
            self._shift = np.zeros_like(mean)
        self._gram, self._diagonal = self._curvature()
        self._factor: tuple[float, object] | None = None

    def _curvature(self) -> tuple[np.ndarray | None, np.ndarray]:
        """Gram matrix of the standardised features with the constant column (None if too large), and its diagonal."""
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
            gram[-1] = self.count
            return None, gram
        gram[:-1, :-1] -= np.outer(shift, edge)
        gram[:-1, :-1] -= np.outer(edge - self.count * shift, shift)
        gram[:-1, :-1] /= scale
        gram[:-1, :-1] /= scale[:, None]
        gram[-1, :-1] = gram[:-1, -1] = (edge - self.count * shift) / scale
        gram[-1, -1] = self.count
        return gram, np.diagonal(gram).copy()

    def solve(self, C: float, start: np.ndarray, tolerance: float, max_iter: int,
              done: Callable[[int], object] = lambda categories: None) -> Solution:
        """Solve for all categories.

        Parameters
        ----------
        C : float
            Weight of the loss.
        start : ndarray of float64, shape (d + 1, classes)
            Where to begin: zeros, or the weights at a neighbouring C.
        tolerance : float
            A category is done when half its squared gradient, in the norm of the preconditioner, which estimates
            the distance to the optimum, is at most this share of its objective.
        max_iter : int
            Sweeps at most.
        done : callable, optional
            Called with the number of categories that have just been finished.
        """
        weights = np.empty_like(start)
        objective = np.empty(self.classes)
        gap, sweeps = 0.0, 0
        widest = int(np.clip(MARGIN_BYTES // (8 * self.count), 16, WIDEST))
        for columns in row_blocks(self.classes, widest):
            block = _Descent(self, C, columns, start[:, columns])
            while block.live.size and block.sweeps < max_iter:
                block.step()
                done(block.drop(tolerance))
            done(block.live.size)
            weights[:, columns], objective[columns] = block.finish()
            gap, sweeps = max(gap, float(block.gap.max(initial=0.0))), max(sweeps, block.sweeps)
        return Solution(weights, objective, gap, sweeps)

    def margins(self, weights: np.ndarray, out: np.ndarray) -> np.ndarray:
        """Products of the standardised features with `weights` (d + 1, k), written into `out`, float32 (n, k)."""
        folded = weights[:-1] / self._scale[:, None]
        constant = (weights[-1] - self._shift @ folded).astype(np.float32)
        folded = folded.astype(np.float32)
        for rows in row_blocks(self.count):
            np.matmul(self._features[rows], folded, out=out[rows])
            out[rows] += constant
        return out

    def residual(self, rows: slice, margins: np.ndarray, position: np.ndarray) -> tuple[np.ndarray, tuple]:
        """Positive part of 1 - y * margins for a block of rows, and where the row's own category stands in it."""
        own = position[self.labels[rows]]
        mine = np.flatnonzero(own >= 0)
        at = (mine, own[mine])
        slack = margins + np.float32(1)
        slack[at] = 2 - slack[at]
        return np.maximum(slack, 0, out=slack), at

    def gradient(self, C: float, weights: np.ndarray, margins: np.ndarray,
                 position: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
        """Gradient (d + 1, k), objective (k,) and mean share of active rows at `weights`, whose `margins` are known."""
        width = weights.shape[1]
        back, column_sum, loss, active = np.zeros((self.dimensions, width)), np.zeros(width), np.zeros(width), 0
        for rows in row_blocks(self.count):
            slack, own = self.residual(rows, margins[rows], position)
            loss += np.einsum("ij,ij->j", slack, slack)
            active += np.count_nonzero(slack)
            slack[own] *= -1
            back += self._features[rows].T @ slack
            column_sum += slack.sum(axis=0, dtype=np.float64)
        gradient = weights.copy()
        gradient[:-1] += 2 * C * (back - self._shift[:, None] * column_sum) / self._scale[:, None]
        gradient[-1] += 2 * C * column_sum
        objective = 0.5 * np.einsum("ij,ij->j", weights, weights) + C * loss
        return gradient, objective, active / margins.size

    def precondition(self, curvature: float, gradient: np.ndarray) -> np.ndarray:
        """Solve (I + curvature * Gram) x = gradient, float64 (d + 1, k)."""
        if self._gram is None:
            return gradient / (1 + curvature * self._diagonal)[:, None]
        if self._factor is None or self._factor[0] != curvature:
            hessian = (curvature * self._gram).astype(np.float32)
            hessian[np.diag_indices_from(hessian)] += 1
            try:
                factor = cho_factor(hessian, lower=True, overwrite_a=True, check_finite=False)
            except np.linalg.LinAlgError:  # float32 was too coarse for so large a C
                factor = cho_factor(curvature * self._gram + np.eye(len(self._gram)), lower=True, check_finite=False)
            self._factor = (curvature, factor)
        factor = self._factor[1]
        return cho_solve(factor, gradient.astype(factor[0].dtype), check_finite=False).astype(np.float64)


class _Descent:
    """Conjugate gradients on a block of categories; a category that is done leaves it."""

    def __init__(self, problem: SquaredHinge, C: float, columns: slice, start: np.ndarray) -> None:
        self.problem, self.C, self.columns = problem, C, columns
        self.live = np.arange(start.shape[1])
        self.weights = start.copy()
        self.final, self.final_objective = np.empty_like(start), np.empty(start.shape[1])
        self.gap = np.full(start.shape[1], np.inf)
        self.margins = problem.margins(start, np.empty((problem.count, start.shape[1]), np.float32))
        self.along = np.empty_like(self.margins)
        self.position = np.full(problem.classes, -1)
        self.position[columns] = self.live
        self.sweeps = 0
        self.grad, self.objective, active = problem.gradient(C, self.weights, self.margins, self.position)
        self.curvature = 2 * C * max(active, 1e-3)
        self.natural = problem.precondition(self.curvature, self.grad)
        self.slope = np.einsum("ij,ij->j", self.grad, self.natural)
        self.direction = -self.natural
        self.plain = np.ones(start.shape[1], bool)
        self.stuck = np.zeros(start.shape[1], bool)

    def step(self) -> None:
        """Go along the direction to the lowest point, and find the next direction."""
        problem, C = self.problem, self.C
        self.sweeps += 1
        along = problem.margins(self.direction, self.along)
        length = self._line_search(along)
        weights = self.weights + length * self.direction
        self._move(along, length)
        grad, objective, active = problem.gradient(C, weights, self.margins, self.position)
        worse = ~(objective <= self.objective)
        if worse.any():  # where rounding or a bad step got in the way: back, and once more straight down
            self._move(along, np.where(worse, -length, 0.0))
            weights[:, worse], grad[:, worse] = self.weights[:, worse], self.grad[:, worse]
            objective[worse] = self.objective[worse]
        self.stuck = worse & self.plain
        if not 0.6 < active / (self.curvature / (2 * C)) < 1.6:
            self.curvature = 2 * C * max(active, 1e-3)
        natural = problem.precondition(self.curvature, grad)
        momentum = np.einsum("ij,ij->j", grad - self.grad, natural) / np.maximum(self.slope, 1e-300)
        momentum = np.where(worse, 0.0, np.maximum(momentum, 0.0))
        direction = momentum * self.direction - natural
        uphill = np.einsum("ij,ij->j", grad, direction) >= 0
        direction[:, uphill] = -natural[:, uphill]
        self.plain = uphill | (momentum == 0)
        self.weights, self.grad, self.objective = weights, grad, objective
        self.natural, self.direction = natural, direction
        self.slope = np.einsum("ij,ij->j", grad, natural)

    def _move(self, along: np.ndarray, length: np.ndarray) -> None:
        step = length.astype(np.float32)
        for rows in row_blocks(len(along)):
            self.margins[rows] += along[rows] * step

    def _line_search(self, along: np.ndarray) -> np.ndarray:
        """Newton's method on the derivative along the direction, which is piecewise linear and rises."""
        slope = np.einsum("ij,ij->j", self.weights, self.direction)
        bend = np.einsum("ij,ij->j", self.direction, self.direction)
        length = np.zeros(len(slope))
        for _ in range(2):
            first, second = np.zeros_like(length), np.zeros_like(length)
            step = length.astype(np.float32)
            for rows in row_blocks(len(along)):
                slack, own = self.problem.residual(rows, self.margins[rows] + along[rows] * step, self.position)
                active = along[rows] * (slack > 0)
                second += np.einsum("ij,ij->j", active, active)
                slack[own] *= -1
                first += np.einsum("ij,ij->j", active, slack)
            first = slope + length * bend + 2 * self.C * first
            length = length - first / np.maximum(bend + 2 * self.C * second, 1e-300)
        return np.maximum(length, 0.0)

    def drop(self, tolerance: float) -> int:
        """Take out the categories that are done; returns how many."""
        gap = 0.5 * self.slope / np.maximum(self.objective, 1e-300)
        self.gap[self.live] = gap
        keep = (gap > tolerance) & ~self.stuck
        finished = int(keep.size - keep.sum())
        if finished:
            self._store(~keep)
            for name in ("weights", "grad", "natural", "direction"):
                setattr(self, name, getattr(self, name)[:, keep])
            self.objective, self.slope, self.plain = self.objective[keep], self.slope[keep], self.plain[keep]
            self.live = self.live[keep]
            self.margins = self.margins[:, keep]
            self.along = np.empty_like(self.margins)
            self.position[:] = -1
            self.position[self.columns.start + self.live] = np.arange(self.live.size)
        return finished

    def _store(self, which: np.ndarray) -> None:
        self.final[:, self.live[which]] = self.weights[:, which]
        self.final_objective[self.live[which]] = self.objective[which]

    def finish(self) -> tuple[np.ndarray, np.ndarray]:
        """Weights and objectives of the whole block."""
        self._store(np.ones(self.live.size, bool))
        return self.final, self.final_objective
