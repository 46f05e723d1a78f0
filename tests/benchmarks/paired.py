"""Whether one of two is slower: ratios of times taken in turn, their interval, and when enough were taken."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np

# Slower by more than this share fails.
LIMIT = 0.10
CONFIDENCE = 0.95
# The interval is looked at after so many pairs; 6 is the fewest that have one of 95%.
LOOKS = (6, 9, 13, 19, 28, 40)
# Launches of new processes at most, and how many of them must find a row slower: what a process owes to its luck (where
# its memory lies) stays with it, and other work on the machine passes.
LAUNCHES, SLOWER = 4, 2

# Takes whether ours is first; gives the seconds of ours and of the base.
Pair = Callable[[bool], tuple[float, float]]


@dataclass(frozen=True)
class Interval:
    """The ratio of our time to that of the base.

    Attributes
    ----------
    ratio, low, high : float
        The Hodges-Lehmann estimate, and the ends of its interval of 95%.
    pairs : int
    """

    ratio: float
    low: float
    high: float
    pairs: int

    @property
    def verdict(self) -> str:
        """``slower`` or ``fine`` where the whole interval lies on one side of the limit, else ``unclear``."""
        if self.low > 1 + LIMIT:
            return "slower"
        return "fine" if self.high < 1 + LIMIT else "unclear"


@dataclass(frozen=True)
class Outcome:
    """What a row came to: the verdict, and the interval of each launch."""

    verdict: str
    launches: tuple[Interval, ...]


def interval(ours: Sequence[float], base: Sequence[float]) -> Interval:
    """The signed-rank interval of paired log-ratios: noise need only be symmetric, and outliers count little.

    Parameters
    ----------
    ours : sequence of float
        Seconds, pair by pair.
    base : sequence of float
        As many.

    Returns
    -------
    Interval
    """
    logs = np.log(np.asarray(ours) / np.asarray(base))
    averages = np.sort([(one + other) / 2 for one, other in combinations_with_replacement(logs, 2)])
    cut = rank_cut(len(logs))
    low, high = (averages[cut], averages[-1 - cut]) if cut >= 0 else (-math.inf, math.inf)
    ratio, low, high = np.exp([np.median(averages), low, high]).tolist()
    return Interval(ratio, low, high, len(logs))


def rank_cut(pairs: int) -> int:
    """How many of the sorted averages lie outside the interval at either end; -1 where there are too few pairs."""
    ways = np.ones(1)  # in how many of the equally likely signings the positive ranks sum to 0, 1, 2, …
    for rank in range(1, pairs + 1):
        longer = np.zeros(len(ways) + rank)
        longer[: len(ways)] += ways
        longer[rank:] += ways
        ways = longer
    below = np.cumsum(ways) / 2.0**pairs
    return int(np.searchsorted(below, (1 - CONFIDENCE) / 2, side="right")) - 1


def one_launch(pair: Pair, enough: Callable[[], bool] = lambda: False) -> Interval:
    """Measure pairs, ours first in every other one, until the interval is clear, or `enough` says so after a look.

    Parameters
    ----------
    pair : callable
        Measures both; takes whether ours goes first.
    enough : callable
        Whether no more time is to be spent.

    Returns
    -------
    Interval
    """
    ours: list[float] = []
    base: list[float] = []
    for look in LOOKS:
        while len(ours) < look:
            mine, other = pair(len(ours) % 2 == 0)
            ours.append(mine)
            base.append(other)
        found = interval(ours, base)
        if found.verdict != "unclear" or enough():
            break
    return found


def decide(launch: Callable[[], Interval], in_time: Callable[[], bool] = lambda: True) -> Outcome:
    """Launch until a row is found fine once, or slower twice.

    Parameters
    ----------
    launch : callable
        Starts new processes and gives their interval.
    in_time : callable
        Whether there is time to launch a row again that is unclear; one that seems slower always is.

    Returns
    -------
    Outcome
        ``unclear`` where neither came about in `LAUNCHES`, or in time.
    """
    found: list[Interval] = []
    while len(found) < LAUNCHES:
        found.append(launch())
        verdicts = [one.verdict for one in found]
        if verdicts[-1] == "fine":
            return Outcome("fine", tuple(found))
        if verdicts.count("slower") == SLOWER:
            return Outcome("slower", tuple(found))
        if "slower" not in verdicts and not in_time():
            break
    return Outcome("unclear", tuple(found))
