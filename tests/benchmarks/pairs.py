"""Ratios of times: ours and what a user would write instead, in one run, in turn, after a warm-up, medians.

The floors are in ``floors.toml``; `nox -s regress` measures at reduced sizes and holds ratios against them, and
`nox -s regress -- full` measures at the sizes of the goals.
"""

from __future__ import annotations

import gc
import time
import tomllib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from shelfbench.base.processor import has, vendor
from shelfbench.cost.timing import PeakMemory

FLOORS = tomllib.loads((Path(__file__).parent / "floors.toml").read_text(encoding="utf-8"))
# An opponent that takes longer than this many seconds is run once, without a warm-up.
LONG = 60.0
# Seconds that a row may take at reduced and at full size, warm-up apart; and turns at least and at most.
BUDGET = {False: 6.0, True: 40.0}
TURNS = {False: (7, 25), True: (3, 25)}
# Turns are added, so many times, to a ratio below its floor: what else the machine does must not fail a row.
AGAIN = 3


@dataclass(frozen=True)
class Row:
    """One row of ``results/performance/performance.csv``.

    Attributes
    ----------
    stage, opponent : str
        What is done, and what a user would write instead; no opponent where a time is the goal.
    floor : str
        Table of ``floors.toml``; empty where nothing is held at a reduced size.
    goal : float
        Least ratio at full size.
    goal_seconds : float or None
        Most seconds at full size, instead of a ratio.
    """

    stage: str
    opponent: str
    floor: str = ""
    goal: float = 0.0
    goal_seconds: float | None = None


def processor() -> str:
    """The kind of processor that a floor is for: ratios differ between kinds."""
    return f"{vendor()}-avx512" if has("avx512f") else vendor()


def floor_of(row: Row) -> float:
    """The least ratio that passes at a reduced size: this kind of processor's, or of all; 0 where there is none."""
    if not row.floor:
        return 0.0
    floors = FLOORS[row.floor]
    return float(floors.get(processor(), min(floors.values())))


class Race:
    """Both measured in turn.

    Parameters
    ----------
    row : Row
    ours, theirs : callable
        Equal work; that the results are equal is another test's part.
    full_size : bool
        Whether the sizes are those of the goals: then no floor holds.
    theirs_share : float
        Share of the work that `theirs` does; its seconds are divided by it.
    slow_down : float
        Share of its own time by which ours is made slower, to see that the gate shuts.
    clock, rest : callable
        Seconds, and to wait for some.

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
        full_size: bool = False,
        theirs_share: float = 1.0,
        slow_down: float = 0.0,
        clock: Callable[[], float] = time.perf_counter,
        rest: Callable[[float], object] = time.sleep,
    ) -> None:
        floor_of(row)  # fail now rather than after the measurement
        self.row, self._ours, self._theirs = row, ours, theirs
        self._share, self._slow_down, self._clock, self._rest = theirs_share, slow_down, clock, rest
        self.our_seconds: list[float] = []
        self.their_seconds: list[float] = []
        with PeakMemory().watch() as memory:
            warm = self._seconds(self.ours)
        self.peak_mib = memory.mib
        first = self._seconds(theirs) if theirs else 0.0
        self._runs_once = first > LONG
        if self._runs_once:
            self.their_seconds.append(first / theirs_share)
            first = 0.0
        least, most = TURNS[full_size]
        if not (theirs or full_size):
            least = 1  # nothing is held
        self.turns = int(np.clip(BUDGET[full_size] / max(warm + first, 1e-9), least, most))

    def _seconds(self, method: Callable[[], object]) -> float:
        gc.collect()
        begun = self._clock()
        method()
        return self._clock() - begun

    def ours(self) -> None:
        """Our work, slowed down if that is wanted."""
        begun = self._clock()
        self._ours()
        if self._slow_down:
            self._rest(self._slow_down * (self._clock() - begun))

    def opponent(self) -> None:
        """One turn of the opponent's, unless one run of it is enough."""
        if self._theirs and not self._runs_once:
            self.their_seconds.append(self._seconds(self._theirs) / self._share)
        gc.collect()

    def again(self) -> None:
        """As many turns more."""
        for _ in range(self.turns):
            self.opponent()
            self.our_seconds.append(self._seconds(self.ours))

    @property
    def ratio(self) -> float:
        """How many times as long theirs takes as ours (medians); NaN without an opponent."""
        return float(np.median(self.their_seconds) / np.median(self.our_seconds)) if self._theirs else float("nan")

    def holds(self) -> bool:
        """Whether the ratio is at least the floor; turns are added while it is not, `AGAIN` times at most."""
        for _ in range(AGAIN):
            if self.ratio >= floor_of(self.row):
                break
            self.again()
        return self.ratio >= floor_of(self.row)

    def record(self) -> dict[str, Any]:
        """Numbers for pytest-benchmark's JSON."""
        return asdict(self.row) | {
            "ours_s": self.our_seconds,
            "opponent_s": self.their_seconds,
            "ratio": self.ratio if self._theirs else None,
            "floor_ratio": floor_of(self.row),
            "peak_mib": self.peak_mib,
        }
