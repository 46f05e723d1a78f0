"""The linear SVM's problem solved for all categories at once.

Each category keeps its own active rows, direction, step and stop. The method is non-linear conjugate gradients with
a line search, preconditioned by what the Hessian ``I + 2C * sum of z z' over the active rows`` would be if every
category had the average share of active rows: one Cholesky factor of the Gram matrix serves them all. A category
that this does not finish soon has few active rows, and for it the Hessian itself is cheap: it goes on by Newton's
method.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from baselines.squared_hinge import SquaredHinge, row_blocks

# Bytes of the two matrices rows x categories, margins and their change along the direction, at a time.
MARGIN_BYTES = 256 * 2**20
WIDEST = 512
# Sweeps after which Newton's method takes over, and what one of its steps may cost, in sweeps over the data.
NEWTON_AFTER = 40
NEWTON_COST = 24


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


def solve(
    problem: SquaredHinge,
    C: float,
    start: np.ndarray,
    tolerance: float,
    max_iter: int,
    done: Callable[[int], object] = lambda categories: None,
) -> Solution:
    """Solve for all categories.

    Parameters
    ----------
    problem : SquaredHinge
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
    objective = np.empty(problem.classes)
    gap, sweeps = 0.0, 0
    widest = int(np.clip(MARGIN_BYTES // (8 * problem.count), 16, WIDEST))
    with problem.threads():
        for columns in row_blocks(problem.classes, widest):
            block = _Descent(problem, C, columns, start[:, columns])
            while block.live.size and block.sweeps < max_iter:
                block.step()
                done(block.drop(tolerance))
            done(block.live.size)
            weights[:, columns], objective[columns] = block.finish()
            gap, sweeps = max(gap, float(block.gap.max(initial=0.0))), max(sweeps, block.sweeps)
    return Solution(weights, objective, gap, sweeps)


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
            cheap = np.flatnonzero(self._newton_cost(active) < NEWTON_COST)

            def newton(k: int) -> None:
                category = self.columns.start + self.live[k]
                natural[:, k] = problem.newton_step(C, category, self.margins[:, k], grad[:, k])

            problem.each(newton, cheap.tolist())
            momentum[cheap] = 0.0
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

        def move(part: slice) -> None:
            for rows in row_blocks(part.stop, start=part.start):
                self.margins[rows] += along[rows] * step

        self.problem.each(move, self.problem.parts)

    def _line_search(self, along: np.ndarray) -> np.ndarray:
        """Newton's method, kept in a bracket, on the derivative along the direction (piecewise linear, rising)."""
        slope = np.einsum("ij,ij->j", self.weights, self.direction)
        bend = np.einsum("ij,ij->j", self.direction, self.direction)
        steepest = np.abs(np.einsum("ij,ij->j", self.grad, self.direction))
        length, low, high = np.zeros_like(slope), np.zeros_like(slope), np.full_like(slope, np.inf)
        for _ in range(12):
            first, second = self._derivatives(along, length.astype(np.float32))
            first = slope + length * bend + 2 * self.C * first
            low, high = np.where(first < 0, length, low), np.where(first > 0, length, high)
            found = np.abs(first) <= 0.05 * steepest
            length = length - first / np.maximum(bend + 2 * self.C * second, 1e-300)
            outside = ~((length >= low) & (length <= high))
            length[outside] = 0.5 * (low + high)[outside]
            if found.all():
                break
        return length

    def _derivatives(self, along: np.ndarray, step: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """First and second derivative of half the loss, per category, at `step` along the direction."""

        def add_up(part: slice) -> tuple[np.ndarray, np.ndarray]:
            first, second = np.zeros(len(step)), np.zeros(len(step))
            for rows in row_blocks(part.stop, start=part.start):
                there = self.margins[rows] + along[rows] * step
                slack, own = self.problem.residual(rows, there, self.position)
                active = along[rows] * (slack > 0)
                second += np.einsum("ij,ij->j", active, active)
                slack[own] *= -1
                first += np.einsum("ij,ij->j", active, slack)
            return first, second

        first, second = (
            np.add.reduce(pieces) for pieces in zip(*self.problem.each(add_up, self.problem.parts), strict=True)
        )
        return first, second

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
