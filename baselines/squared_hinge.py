"""The problem of scikit-learn's ``LinearSVC``, for all categories at once.

For each category, with y = +1 in it and -1 elsewhere, and z the features with a constant appended::

    minimise over w:  |w|^2 / 2 + C * sum_i max(0, 1 - y_i w.z_i)^2

(L2 penalty, squared hinge, the weight of the constant penalised like any other). All categories share the data,
so their products with it are one matrix product; each keeps its own active rows, direction, step and stop. The
method is non-linear conjugate gradients with a line search, preconditioned by what the Hessian
``I + 2C * sum of z z' over the active rows`` would be if every category had the average share of active rows: one
Cholesky factor of the Gram matrix serves them all. A category that this does not finish soon has few active rows,
and for it the Hessian itself is cheap: it goes on by Newton's method.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from bench.errors import RunError

# Rows per matrix product: enough for BLAS, few enough that what is done to the product stays in cache.
ROWS = 2048
# Bytes of the two matrices rows x categories, margins and their change along the direction, at a time.
MARGIN_BYTES = 256 * 2**20
WIDEST = 512
# Above this many features the Gram matrix costs more than it saves; its diagonal preconditions instead.
GRAM_LIMIT = 4096
# Sweeps after which Newton's method takes over, and what one of its steps may cost, in sweeps over the data.
NEWTON_AFTER = 12
NEWTON_COST = 24
# Bound of a Hessian's condition above which Newton's method works in float64.
DOUBLE_ABOVE = 1e5
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
        For standardised features; the last row is that of the constant.
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

    def __init__(self, features: np.ndarray, labels: np.ndarray, classes: int, standardise: bool,
                 constant: float = 1.0) -> None:
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
            A category is done when the estimated distance to its optimum is at most this share of its objective.
            The estimate is half the squared gradient in the norm of the inverse Hessian (of its stand-in, the
            preconditioner, before Newton's method), or what the last sweep gained if that is more.
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
        """Standardised features and constant times `weights` (d + 1, k), into `out`, float32 (n, k)."""
        folded = weights[:-1] / self._scale[:, None]
        offset = (self.constant * weights[-1] - self._shift @ folded).astype(np.float32)
        folded = folded.astype(np.float32)
        for rows in row_blocks(self.count):
            np.matmul(self._features[rows], folded, out=out[rows])
            out[rows] += offset
        return out

    def residual(self, rows: slice, margins: np.ndarray, position: np.ndarray) -> tuple[np.ndarray, tuple]:
        """Positive part of 1 - y * margins for a block of rows, and where a row's own category stands."""
        own = position[self.labels[rows]]
        mine = np.flatnonzero(own >= 0)
        at = (mine, own[mine])
        slack = margins + np.float32(1)
        slack[at] = 2 - slack[at]
        return np.maximum(slack, 0, out=slack), at

    def gradient(self, C: float, weights: np.ndarray, margins: np.ndarray,
                 position: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Gradient (d + 1, k), objective (k,) and number of active rows (k,) at `weights` with `margins`."""
        width = weights.shape[1]
        back, column_sum, loss = np.zeros((self.dimensions, width)), np.zeros(width), np.zeros(width)
        active = np.zeros(width, np.int64)
        for rows in row_blocks(self.count):
            slack, own = self.residual(rows, margins[rows], position)
            loss += np.einsum("ij,ij->j", slack, slack)
            active += np.count_nonzero(slack, axis=0)
            slack[own] *= -1
            back += self._features[rows].T @ slack
            column_sum += slack.sum(axis=0, dtype=np.float64)
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
        return cho_solve(factor, gradient.astype(factor[0].dtype), check_finite=False).astype(np.float64)

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


class _Descent:
    """The descent of a block of categories; a category that is done leaves it."""

    def __init__(self, problem: SquaredHinge, C: float, columns: slice, start: np.ndarray) -> None:
        width = start.shape[1]
        self.problem, self.C, self.columns = problem, C, columns
        self.live = np.arange(width)
        self.position = np.full(problem.classes, -1)
        self.position[columns] = self.live
        self.sweeps = 0
        self.final, self.final_objective = np.empty_like(start), np.empty(width)
        self.gap = np.full(width, np.inf)
        self.margins = problem.margins(start, np.empty((problem.count, width), np.float32))
        self.along = np.empty_like(self.margins)
        self.weights, self.direction = start.copy(), np.zeros_like(start)
        self.grad, self.objective, active = problem.gradient(C, start, self.margins, self.position)
        self.curvature = 2 * C * max(active.mean() / problem.count, 1e-3)
        self.slope, self.gain = np.ones(width), np.full(width, np.inf)
        self.stuck = np.zeros(width, bool)
        self._turn(self.grad, active, np.ones(width, bool))

    def step(self) -> None:
        """Go along the direction to the lowest point, and find the next direction."""
        problem = self.problem
        self.sweeps += 1
        along = problem.margins(self.direction, self.along)
        length = self._line_search(along)
        weights = self.weights + length * self.direction
        self._move(along, length)
        grad, objective, active = problem.gradient(self.C, weights, self.margins, self.position)
        worse = ~(objective <= self.objective)
        if worse.any():  # rounding, or a step too far: back, and once more without momentum
            self._move(along, np.where(worse, -length, 0.0))
            weights[:, worse], grad[:, worse] = self.weights[:, worse], self.grad[:, worse]
            objective[worse] = self.objective[worse]
        self.stuck = worse & self.plain
        self.gain = np.where(worse, np.inf, self.objective - objective)
        self.weights, self.objective = weights, objective
        self._turn(grad, active, worse)

    def _turn(self, grad: np.ndarray, active: np.ndarray, restart: np.ndarray) -> None:
        """The next direction: down, bent by the momentum of the last one."""
        problem, C = self.problem, self.C
        share = active / problem.count
        if not 0.6 < 2 * C * share.mean() / self.curvature < 1.6:
            self.curvature = 2 * C * max(share.mean(), 1e-3)
        natural = problem.precondition(self.curvature, grad)
        momentum = np.einsum("ij,ij->j", grad - self.grad, natural) / np.maximum(self.slope, 1e-300)
        momentum = np.where(restart, 0.0, np.maximum(momentum, 0.0))
        if self.sweeps >= NEWTON_AFTER:
            for k in np.flatnonzero(self._newton_cost(active) < NEWTON_COST):
                category = self.columns.start + self.live[k]
                natural[:, k] = problem.newton_step(C, category, self.margins[:, k], grad[:, k])
                momentum[k] = 0.0
        direction = momentum * self.direction - natural
        uphill = np.einsum("ij,ij->j", grad, direction) >= 0
        direction[:, uphill] = -natural[:, uphill]
        self.plain = uphill | (momentum == 0)
        self.grad, self.direction = grad, direction
        self.slope = np.einsum("ij,ij->j", grad, natural)

    def _newton_cost(self, active: np.ndarray) -> np.ndarray:
        """Cost of a Newton step of each category, in sweeps of one category over the data."""
        size = self.problem.dimensions + 1
        small, large = np.minimum(active, size), np.maximum(active, size)
        return (small**2.0 * large + small**3.0 / 3) / (4.0 * self.problem.count * size)

    def _move(self, along: np.ndarray, length: np.ndarray) -> None:
        step = length.astype(np.float32)
        for rows in row_blocks(len(along)):
            self.margins[rows] += along[rows] * step

    def _line_search(self, along: np.ndarray) -> np.ndarray:
        """Newton's method, kept in a bracket, on the derivative along the direction (piecewise linear, rising)."""
        slope = np.einsum("ij,ij->j", self.weights, self.direction)
        bend = np.einsum("ij,ij->j", self.direction, self.direction)
        steepest = np.abs(np.einsum("ij,ij->j", self.grad, self.direction))
        length, low, high = np.zeros_like(slope), np.zeros_like(slope), np.full_like(slope, np.inf)
        for _ in range(12):
            first, second = np.zeros_like(length), np.zeros_like(length)
            step = length.astype(np.float32)
            for rows in row_blocks(len(along)):
                there = self.margins[rows] + along[rows] * step
                slack, own = self.problem.residual(rows, there, self.position)
                active = along[rows] * (slack > 0)
                second += np.einsum("ij,ij->j", active, active)
                slack[own] *= -1
                first += np.einsum("ij,ij->j", active, slack)
            first = slope + length * bend + 2 * self.C * first
            low, high = np.where(first < 0, length, low), np.where(first > 0, length, high)
            found = np.abs(first) <= 0.05 * steepest
            length = length - first / np.maximum(bend + 2 * self.C * second, 1e-300)
            outside = ~((length >= low) & (length <= high))
            length[outside] = 0.5 * (low + high)[outside]
            if found.all():
                break
        return length

    def drop(self, tolerance: float) -> int:
        """Take out the categories that are done; returns how many."""
        gain = np.where(self.stuck, 0.0, self.gain)
        gap = np.maximum(0.5 * self.slope, gain) / np.maximum(self.objective, 1e-300)
        self.gap[self.live] = gap
        keep = (gap > tolerance) & ~self.stuck
        finished = int(keep.size - keep.sum())
        if finished:
            self._store(~keep)
            self.weights, self.grad, self.direction = self.weights[:, keep], self.grad[:, keep], self.direction[:, keep]
            self.objective, self.slope, self.plain = self.objective[keep], self.slope[keep], self.plain[keep]
            self.live, self.margins = self.live[keep], self.margins[:, keep]
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
