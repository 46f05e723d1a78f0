"""The descent for problems whose margins are not kept: one sweep over the features for each step.

Directions are those of the limited-memory BFGS method (Nocedal and Wright, *Numerical Optimization*, algorithm 7.4)
with the preconditioner as the first inverse Hessian. What it remembers of the curvature are changes of the weights and
of the loss's gradient, neither of which depends on C, so that it serves the next C as well.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from shelfbench_baselines.descent import Descent
from shelfbench_baselines.margins import dots
from shelfbench_baselines.squared_hinge import SquaredHinge

# Steps that are remembered.
MEMORY = 8
# Steps in a row that may fail before a category starts again from the gradient alone, and again before it stops.
PATIENCE = 4
# The longest step, in directions, and the shares of a step that failed between which the next may be.
LONGEST, SHORTER = 4.0, (0.01, 0.7)
# How much the latest step may correct the scale of the preconditioner, either way.
CORRECTION = 20.0


class QuasiNewton(Descent):
    """The descent of a block of categories by limited-memory BFGS; see `Descent`."""

    def __init__(
        self, problem: SquaredHinge, grid: np.ndarray, tolerance: float, live: np.ndarray, margins: Any
    ) -> None:
        shape = (MEMORY, problem.dimensions + 1, len(live))
        self._steps, self._bends = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
        self._known = np.zeros((MEMORY, len(live)), bool)
        self._latest = 0
        self._was: tuple[np.ndarray, np.ndarray] | None = None
        self._failures = np.zeros(len(live), np.int64)
        self._longest = np.full(len(live), LONGEST)
        self._length = self._longest
        super().__init__(problem, grid, tolerance, live, margins)

    def _turn(self, grad: np.ndarray, restart: np.ndarray, newton: np.ndarray) -> None:
        """Find the next direction from what earlier steps have told of the curvature."""
        if self._was is not None:
            self._remember(*self._was)
            self._failures = np.where(restart & ~newton, self._failures + 1, 0)
            self._longest = np.where(self._failures > 0, self._shorter(), LONGEST)
            self._known[:, self._failures == PATIENCE] = False
            self._longest[self._failures == PATIENCE] = 1.0
        self._was = self.weights, self.pull
        natural = self._natural(slice(None), grad)
        self.grad, self.direction, self.slope = grad, -natural, dots(grad, natural)
        self.plain = self._failures >= 2 * PATIENCE - 1
        self.leap, self.newton = np.zeros((2, self.live.size), bool)

    def _line_search(self) -> np.ndarray:
        self._length = np.minimum(super()._line_search(), self._longest)
        return self._length

    def _shorter(self) -> np.ndarray:
        """Where a step went too far, find where the secant through the slopes at both its ends is zero."""
        steepest = dots(self.grad, self.direction)
        there = dots(self.weights, self.direction) + self._length * dots(self.direction, self.direction)
        rise = there + 2 * self.C * self.margins.there - steepest
        found: np.ndarray = self._length * np.clip(-steepest / np.maximum(rise, 1e-300), *SHORTER)
        return found

    def _remember(self, weights: np.ndarray, pull: np.ndarray) -> None:
        step, bend = self.weights - weights, self.pull - pull
        self._latest = (self._latest + 1) % MEMORY
        self._steps[self._latest], self._bends[self._latest] = step, bend
        self._known[self._latest] = dots(step, bend) > 0

    def _natural(self, which: slice | np.ndarray, grad: np.ndarray) -> np.ndarray:
        """Multiply gradients by the estimated inverse Hessian at the present C."""
        curvature, C = self._curvature(which), self.C[which]
        order = [(self._latest - back) % MEMORY for back in range(MEMORY)]
        order = [slot for slot in order if self._known[slot, which].any()]
        found, shares = grad.copy(), []
        for slot in order:
            step, change, known = self._pair(slot, which, C)
            both = np.where(known, dots(step, change), 1.0)
            share = np.where(known, dots(step, found) / both, 0.0)
            found -= share * change
            shares.append((share, both))
        found = self.problem.precondition(curvature, found)
        if order:
            step, change, known = self._pair(order[0], which, C)
            flat = np.where(known, dots(change, self.problem.precondition(curvature, change)), 1.0)
            found *= np.where(known, np.clip(dots(step, change) / flat, 1 / CORRECTION, CORRECTION), 1.0)
        for slot, (share, both) in zip(order[::-1], shares[::-1], strict=True):
            step, change, known = self._pair(slot, which, C)
            found += (share - np.where(known, dots(change, found) / both, 0.0)) * step
        return found

    def _pair(self, slot: int, which: slice | np.ndarray, C: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return a step, float64, what it changed in the objective's gradient at C, and whether it may be used."""
        step = self._steps[slot][:, which].astype(np.float64)
        return step, step + C * self._bends[slot][:, which], self._known[slot, which]

    def _advance(self, which: np.ndarray) -> None:
        """Move on to the next C."""
        self.stage[which] += 1
        self.sweeps[which] = 0
        grad = self.weights[:, which] + self.C[which] * self.pull[:, which]
        natural = self._natural(which, grad)
        self.direction[:, which] = -natural
        self.grad[:, which], self.slope[which] = grad, dots(grad, natural)
        self.gains[:, which] = np.inf
        # steps that failed at the C before say nothing about this one
        self._failures[which], self._longest[which], self.plain[which] = 0, LONGEST, False

    def _keep(self, kept: np.ndarray) -> None:
        super()._keep(kept)
        self._steps, self._bends = self._steps[:, :, kept], self._bends[:, :, kept]
        self._known, self._failures = self._known[:, kept], self._failures[kept]
        self._longest, self._length = self._longest[kept], self._length[kept]
        if self._was is not None:
            self._was = self.weights, self.pull
