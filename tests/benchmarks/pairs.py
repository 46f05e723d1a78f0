"""Ratios of times: ours and what a user would write instead, in one run, in turn, after a warm-up, medians.

`nox -s regress -- full` measures them at the sizes of the goals.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from shelfbench.cost.timing import PeakMemory

# An opponent that takes longer than this many seconds is run once, without a warm-up.
LONG = 60.0
# Seconds that a row may take, warm-up apart; and turns at least and at most.
BUDGET = 40.0
TURNS = (3, 25)


@dataclass(frozen=True)
class Row:
    """One row of ``results/performance/performance.csv``.

    Attributes
    ----------
    stage, opponent : str
        What is done, and what a user would write instead; no opponent where a time is the goal.
    goal : float
        Least ratio.
    goal_seconds : float or None
        Most seconds, instead of a ratio.
    """

    stage: str
    opponent: str
    goal: float = 0.0
    goal_seconds: float | None = None


class Race:
    """Both measured in turn.

    Parameters
    ----------
    row : Row
    ours : callable
        What is measured.
    theirs : callable or None
        Equal work; that the results are equal is another test's part.
    theirs_share : float
        Share of the work that `theirs` does; its seconds are divided by it.
    clock : callable
        Seconds.

    Attributes
    ----------
    our_seconds, their_seconds : list of float
        Of each turn.
    peak_mib : float
        Peak resident memory of the process while ours ran first: libraries and the data at hand included.
    turns : int
        To be taken after the warm-up.
    """

    def __init__(
        self,
        row: Row,
        ours: Callable[[], object],
        theirs: Callable[[], object] | None,
        *,
        theirs_share: float = 1.0,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.row, self.ours, self._theirs = row, ours, theirs
        self._share, self._clock = theirs_share, clock
        self.our_seconds: list[float] = []
        self.their_seconds: list[float] = []
        with PeakMemory().watch() as memory:
            warm = self._seconds(ours)
        self.peak_mib = memory.mib
        first = self._seconds(theirs) if theirs else 0.0
        self._runs_once = first > LONG
        if self._runs_once:
            self.their_seconds.append(first / theirs_share)
            first = 0.0
        self.turns = int(np.clip(BUDGET / max(warm + first, 1e-9), *TURNS))

    def _seconds(self, method: Callable[[], object]) -> float:
        gc.collect()
        begun = self._clock()
        method()
        return self._clock() - begun

    def opponent(self) -> None:
        """One turn of the opponent's, unless one run of it is enough."""
        if self._theirs and not self._runs_once:
            self.their_seconds.append(self._seconds(self._theirs) / self._share)
        gc.collect()

    @property
    def ratio(self) -> float:
        """How many times as long theirs takes as ours (medians); NaN without an opponent."""
        return float(np.median(self.their_seconds) / np.median(self.our_seconds)) if self._theirs else float("nan")

    def record(self) -> dict[str, Any]:
        """Numbers for pytest-benchmark's JSON."""
        return asdict(self.row) | {
            "ours_s": self.our_seconds,
            "opponent_s": self.their_seconds,
            "ratio": self.ratio if self._theirs else None,
            "peak_mib": self.peak_mib,
        }
