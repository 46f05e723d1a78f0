"""Solve the linear SVM's problem for all categories at once, along a path of C.

Each category has its own C, active rows, direction, step and stopping point. The method is non-linear conjugate
gradients with a line search. The preconditioner is the Hessian ``I + 2C * sum of z z' over the active rows``, as if the
active rows were a random share of all rows: its inverses are made of the Gram matrix, one for each power of four of
2C * share, and serve all categories. A category that does not converge soon has few active rows, which make the Hessian
itself cheap: it continues by Newton's method.

A category that has converged at one C moves on to the next without waiting for the others, so that the matrix products
stay wide. Its gradient there costs nothing, and its first step extrapolates from the last two solutions.

The solver is written by hand because liblinear solves one category after the other and goes through all rows for each.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from shelfbench_baselines.margins import Margins, dots
from shelfbench_baselines.squared_hinge import SquaredHinge, row_blocks

# Share of the slope at which the line search ends, after one more secant step that is not evaluated.
LINE_TOLERANCE = 0.2
# Sweeps after which Newton's method takes over, and what one of its steps may cost, in sweeps over the data. It takes
# over sooner where a step costs less than NEWTON_CHEAP.
NEWTON_AFTER = 40
NEWTON_COST = 24
NEWTON_CHEAP = 4
# Numbers that the rows of a Newton step may contain: 256 MiB, or twice that in float64, per thread.
NEWTON_NUMBERS = 2**26
# In a problem of at most this many numbers, categories continue until the gradient proves that they have converged.
SMALL = 2**20
# A sweep over fewer categories than this takes no less time.
FEW = 24
# The next two sweeps are assumed to gain at most this share of what the last two gained.
SLOWEST = 0.95
# At least this share of the last gain is assumed to remain.
LEAST = 0.3


@dataclass
class Solution:
    """Weights of all categories at one C.

    Attributes
    ----------
    weights : ndarray of float64, shape (d + 1, classes)
        For standardised features; the last row belongs to the constant.
    objective : ndarray of float64, shape (classes,)
    gap : ndarray of float64, shape (classes,)
        Estimated distance to the optimum, relative to the objective.
    sweeps : ndarray of int64, shape (classes,)
        Sweeps over the data.
    """

    weights: np.ndarray
    objective: np.ndarray
    gap: np.ndarray
    sweeps: np.ndarray


def regularisation_path(
    problem: SquaredHinge,
    grid: Sequence[float],
    tolerance: float,
    max_iter: int,
    *,
    done: Callable[[int], object] = lambda categories: None,
    margins: Any = Margins,
) -> list[Solution]:
    """Solve the problem for all categories at each C, starting from the solutions at the C before.

    Parameters
    ----------
    problem : SquaredHinge
    grid : sequence of float
        Weights of the loss; in rising order, each solution is near the one before.
    tolerance : float
        A category has converged when the estimated distance to its optimum is at most this share of its objective.
        The estimate is half the squared gradient in the norm of the inverse Hessian. Before Newton's method takes over,
        the preconditioner stands in for the Hessian, and the estimate is at least what is left to gain if gains keep
        shrinking as in the last four sweeps. In a small problem, half the squared gradient itself must prove it, too:
        it bounds the distance because the Hessian is at least the identity.
    max_iter : int
        Maximum number of sweeps at one C.
    done : callable, optional
        Called with the number of categories that have just finished at one C.
    margins : callable, optional
        Makes the margins of a block of categories, `Margins` or an accelerator's from `shelfbench_baselines.device`;
        its `widest` says how many categories a block may have. The result does not depend on that beyond the tolerance.

    Returns
    -------
    list of Solution
        In the order of the grid.
    """
    classes, shape = problem.classes, (problem.dimensions + 1, problem.classes)
    path = [Solution(np.empty(shape), np.empty(classes), np.empty(classes), np.empty(classes, np.int64)) for _ in grid]
    with problem.threads():
        for columns in row_blocks(classes, margins.widest(problem)):
            live = np.arange(columns.start, columns.stop)
            descent = getattr(margins, "descent", Descent)
            block = descent(problem, np.asarray(grid, float), tolerance, live, margins(problem, live))
            while block.live.size:
                block.step()
                done(block.settle(path, max_iter))
    return path


class Descent:
    """The descent of a block of categories along the grid; a category that is finished leaves the block.

    Arrays have one column, or one element, for each category that remains.
    """

    def __init__(
        self, problem: SquaredHinge, grid: np.ndarray, tolerance: float, live: np.ndarray, margins: Any
    ) -> None:
        width = len(live)
        self.problem, self.grid, self.tolerance = problem, grid, tolerance
        self.live, self.margins = live, margins
        self.stage = np.zeros(width, np.int64)
        self.sweeps = np.zeros(width, np.int64)
        self.weights = np.zeros((problem.dimensions + 1, width))
        self.before = self.weights  # weights at the previous C
        self.direction = np.zeros_like(self.weights)
        self.slope, self.gains = np.ones(width), np.full((4, width), np.inf)  # gains of the last sweeps, latest first
        self.stuck = np.zeros(width, bool)
        self.pull, self.loss, self.active = self.margins.gradient(None)
        self.grad = self.weights + grid[0] * self.pull
        self._turn(self.grad, np.ones(width, bool), np.zeros(width, bool))

    @property
    def C(self) -> np.ndarray:
        """The C of each category."""
        return self.grid[self.stage]

    def objective(self) -> np.ndarray:
        """Compute |w|^2 / 2 + C * loss."""
        found: np.ndarray = 0.5 * dots(self.weights, self.weights) + self.C * self.loss
        return found

    def step(self) -> None:
        """Move along the direction to the lowest point, and find the next direction."""
        self.sweeps += 1
        self.margins.look(self.direction)
        length = self._line_search()
        before = self.weights, self.pull, self.loss, self.active
        objective = self.objective()
        self.weights = self.weights + length * self.direction
        self.pull, self.loss, self.active = self.margins.gradient(length)
        reached = self.objective()
        worse = ~(reached <= objective)
        if worse.any():  # rounding, or a step too far: go back and retry without momentum
            self.margins.move(np.where(worse, -length, 0.0))
            for now, then in zip((self.weights, self.pull, self.loss, self.active), before, strict=True):
                now[..., worse] = then[..., worse]
        self.stuck = worse & self.plain & ~self.newton
        self.gains = np.concatenate([np.where(worse, np.inf, objective - reached)[None], self.gains[:3]])
        self._turn(self.weights + self.C * self.pull, worse | self.leap, ~worse)

    def _turn(self, grad: np.ndarray, restart: np.ndarray, newton: np.ndarray) -> None:
        """Find the next direction: downhill with momentum, or Newton's where it is allowed and worth its cost."""
        natural = self.problem.precondition(self._curvature(slice(None)), grad)
        slope = dots(grad, natural)
        momentum = dots(grad - self.grad, natural) / np.maximum(self.slope, 1e-300)
        momentum = np.where(restart, 0.0, np.maximum(momentum, 0.0))
        cost = self._newton_cost()
        due = self.sweeps >= NEWTON_AFTER * np.clip(cost / NEWTON_CHEAP, 0.1, 1.0)
        gap = np.maximum(0.5 * slope, self._remaining()) / (self.tolerance * np.maximum(self.objective(), 1e-300))
        gap[self._unproven(grad)] = np.inf
        small = self.active * len(grad) <= NEWTON_NUMBERS
        cheap = np.flatnonzero(newton & due & small & (cost < NEWTON_COST) & (gap > 1))

        def solve(k: int) -> None:
            natural[:, k] = self.problem.newton_step(self.C[k], self.margins.active(k), grad[:, k])

        self.problem.each(solve, cheap.tolist())
        momentum[cheap] = 0.0
        direction = momentum * self.direction - natural
        uphill = dots(grad, direction) >= 0
        direction[:, uphill] = -natural[:, uphill]
        self.plain = uphill | (momentum == 0)
        self.leap, self.newton = np.zeros((2, self.live.size), bool)
        self.newton[cheap] = True
        self.grad, self.direction = grad, direction
        self.slope = dots(grad, natural)

    def _curvature(self, which: slice | np.ndarray) -> np.ndarray:
        found: np.ndarray = 2 * self.C[which] * np.maximum(self.active[which] / self.problem.count, 1e-3)
        return found

    def _remaining(self) -> np.ndarray:
        """Estimate what is left to gain if gains keep shrinking as in the last four sweeps; at first, the last gain."""
        last, before = self.gains[:2].sum(axis=0), self.gains[2:].sum(axis=0)
        known = (self.sweeps >= 4) & np.isfinite(before)
        rate = np.clip(np.divide(last, before, out=np.ones_like(last), where=known & (before > 0)), 0.0, SLOWEST)
        left = np.maximum(last * rate / (1 - rate), LEAST * self.gains[0])
        found: np.ndarray = np.where(known, left, self.gains[0])
        return found

    def _unproven(self, grad: np.ndarray) -> np.ndarray:
        """Tell where the gradient proves no convergence yet; in a large problem, nowhere."""
        if self.problem.count * len(grad) > SMALL:
            return np.zeros(self.live.size, bool)
        return 0.5 * dots(grad, grad) > self.tolerance * self.objective()

    def _newton_cost(self) -> np.ndarray:
        """Estimate the cost of a Newton step for each category, in sweeps, whose cost the categories share."""
        size = self.problem.dimensions + 1
        small, large = np.minimum(self.active, size), np.maximum(self.active, size)
        share = min(1.0, self.live.size / FEW)
        found: np.ndarray = share * (small**2.0 * large + small**3.0 / 3) / (4.0 * self.problem.count * size)
        return found

    def _line_search(self) -> np.ndarray:
        """Find the zero of the derivative along the direction (piecewise linear, rising): Newton, then secant steps."""
        tilt, bend = dots(self.weights, self.direction), dots(self.direction, self.direction)
        steepest = dots(self.grad, self.direction)
        length: np.ndarray = -steepest / np.maximum(bend + 2 * self.C * self.margins.bend(), 1e-300)
        last, at_last = np.zeros_like(length), steepest
        low, high = np.zeros_like(length), np.full_like(length, np.inf)
        wanted = np.ones(length.size, bool)
        for _ in range(12):
            slope = tilt + length * bend + 2 * self.C * self.margins.slope(length)
            low, high = np.where(slope < 0, length, low), np.where(slope > 0, length, high)
            rise = np.maximum((slope - at_last) * np.sign(length - last), 1e-300)
            following = length - slope * np.abs(length - last) / rise
            ceiling = np.where(np.isfinite(high), high, 8 * length)
            outside = ~((following >= low) & (following <= ceiling))
            following[outside] = np.where(np.isfinite(high), 0.5 * (low + high), ceiling)[outside]
            last, at_last, length = length, slope, np.where(wanted, following, length)
            wanted &= np.abs(slope) > LINE_TOLERANCE * np.abs(steepest)
            if not wanted.any():
                break
        return length

    def settle(self, path: list[Solution], max_iter: int) -> int:
        """Store the categories that are finished at their C, move them on or out, and return their number."""
        objective = self.objective()
        remaining = self._remaining()
        remaining = np.where(
            self.newton, LEAST * self.gains[0], remaining
        )  # rows may become active or inactive on the way
        known = np.isfinite(remaining) & ~self.stuck
        gap = np.maximum(0.5 * self.slope, np.where(known, remaining, 0.0))
        gap /= np.maximum(objective, 1e-300)
        done = ((gap <= self.tolerance) & known & ~self._unproven(self.grad)) | self.stuck | (self.sweeps >= max_iter)
        for stage in np.unique(self.stage[done]):
            which = np.flatnonzero(done & (self.stage == stage))
            solution, names = path[stage], self.live[which]
            solution.weights[:, names], solution.objective[names] = self.weights[:, which], objective[which]
            solution.gap[names], solution.sweeps[names] = gap[which], self.sweeps[which]
        last = self.stage == len(self.grid) - 1
        if (done & ~last).any():
            self._advance(np.flatnonzero(done & ~last))
        if (done & last).any():
            self._keep(~(done & last))
        return int(done.sum())

    def _advance(self, which: np.ndarray) -> None:
        """Move on to the next C; after two solutions, extrapolate along the line through them."""
        self.stage[which] += 1
        self.sweeps[which] = 0
        grad = self.weights[:, which] + self.C[which] * self.pull[:, which]
        natural = self.problem.precondition(self._curvature(which), grad)
        ahead = self.weights[:, which] - self.before[:, which]
        usable = (self.stage[which] > 1) & (dots(grad, ahead) < 0)
        self.direction[:, which] = np.where(usable, ahead, -natural)
        self.before[:, which] = self.weights[:, which]
        self.grad[:, which], self.slope[which] = grad, dots(grad, natural)
        self.leap[which], self.plain[which], self.newton[which] = usable, ~usable, False

    def _keep(self, kept: np.ndarray) -> None:
        """Drop the categories that are not kept."""
        for name in ("weights", "before", "direction", "grad", "pull", "gains"):
            setattr(self, name, getattr(self, name)[:, kept])
        for name in ("live", "stage", "sweeps", "slope", "stuck", "loss", "active", "plain", "leap", "newton"):
            setattr(self, name, getattr(self, name)[kept])
        self.margins.keep(kept, self.live)
