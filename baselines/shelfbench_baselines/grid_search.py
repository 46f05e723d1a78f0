"""The search for a linear SVM's C on `tune`: along the grid, and beyond the end at which the best one lies."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from shelfbench_baselines.descent import Solution

# The most values of C tried beyond one end of the grid.
STEPS = 4
LEAST_C, MOST_C = 1e-12, 1e6


class Search:
    """What each C gave on `tune`, and the best one so far.

    Parameters
    ----------
    judge : callable
        Returns the precision on `tune` of the solution at a C.

    Attributes
    ----------
    best : float
        In a tie, the one that was added first.
    weights : ndarray of float64
        Of the solution at the best C.
    precision : dict of float to float
        By C.
    """

    best: float
    weights: np.ndarray

    def __init__(self, judge: Callable[[float, Solution], float]) -> None:
        self._judge = judge
        self.precision: dict[float, float] = {}

    def add(self, C: float, solution: Solution) -> bool:
        """Judge the solution at a C.

        Parameters
        ----------
        C : float
        solution : Solution

        Returns
        -------
        bool
            Whether it is better than all before.
        """
        self.precision[C] = self._judge(C, solution)
        better = len(self.precision) == 1 or self.precision[C] > self.precision[self.best]
        if better:
            self.best, self.weights = C, solution.weights
        return better

    def edge(self) -> str:
        """Tell at which end of what was tried the best C lies.

        Returns
        -------
        str
            ``smallest`` or ``largest``; empty if it lies inside, if nothing was compared, or if no C could be better.
        """
        if len(self.precision) < 2 or self.precision[self.best] == 1:
            return ""
        return "smallest" if self.best == min(self.precision) else "largest" if self.best == max(self.precision) else ""

    def extend(self, solve: Callable[[float], Solution]) -> None:
        """Go on beyond the end at which the best C lies, while the precision rises, for at most `STEPS` steps.

        Solutions inside the grid are not computed again, so that they stay what they are without this.

        Parameters
        ----------
        solve : callable
            Returns the solution at a C.
        """
        for _ in range(STEPS):
            edge = self.edge()
            C = beyond(sorted(self.precision), edge == "largest") if edge else 0.0
            if not LEAST_C <= C <= MOST_C or not self.add(C, solve(C)):
                return

    def warning(self, extended: bool) -> str:
        """Say in one line that the best C lies at an end, and what can be done.

        Parameters
        ----------
        extended : bool
            Whether more than the grid has been tried.

        Returns
        -------
        str
        """
        edge = self.edge()
        size = {"smallest": "smaller", "largest": "larger"}[edge]
        what = "try some with svm.C" if extended else "svm.extend=true tries some"
        return f"the linear SVM chose C={self.best:g}, the {edge} that was tried; a {size} one may be better: {what}"


def beyond(grid: list[float], largest: bool) -> float:
    """Return the next C beyond an end of a grid, by the grid's own factor.

    Parameters
    ----------
    grid : list of float
        At least two, rising.
    largest : bool
        Beyond the last, not the first.

    Returns
    -------
    float
        A grid like 1, 3, 10, 30 goes on with 100 and 0.3: by the factor over two steps, if there are two.
    """
    ends = grid[::-1] if largest else grid
    following = ends[0] * ends[1] / ends[2] if len(ends) > 2 else ends[0] ** 2 / ends[1]
    return float(f"{following:.9g}")
