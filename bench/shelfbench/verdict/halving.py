"""Successive halving: candidates judged on growing parts of train, and what that leaves to say about them.

On every part, all candidates are judged on the same products of `tune`, so that what makes a product hard falls out of
their difference. One is dropped only where it is behind for sure and does not catch up, or where the budget forces it.
Of those that are left, the choice is the one that is expected to be the best with all of train: learning curves cross,
and on simulated ones, to take the best of a small part loses at least twice as much precision (tests/verdict).

The measure is the precision of the surest k products, averaged over all k: how right a candidate is, and how well it
knows when. A run chooses by acceptance at a precision of 0.9, which needs both; but one threshold is a noisy measure,
and 0 for all candidates as long as none of them is precise enough. On parts of 1/32 to 1/8 of `fashion`, the average
told the backend that wins in the end from the others more surely than acceptance did in 23 of 28 comparisons, and more
surely than precision over all products in 17.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from shelfbench.verdict.intervals import exact_interval
from shelfbench.verdict.metrics import REQUIRED, acceptance

RESAMPLES = 1000
_TAILS = (0.025, 0.975)
# How much candidates differ in how fast they learn, before anything is known about them: the standard deviation of what
# the logarithm of what they lack loses when the products double. On `fashion`, five backends lose 0.22, more or less by
# 0.04, noise included.
_SPREAD = 0.03
# Standard deviation of that logarithm from one draw of a part, and of initial weights, to another.
_DRAW = 0.04
# Share of the doublings up to all of train for which that pace is believed: curves flatten.
_BELIEVED = 0.5
LEAST_JUDGES = math.ceil(math.log(_TAILS[0]) / math.log(float(REQUIRED)))
"""Products that must judge at least: 36.

One candidate is behind another for sure if fewer than 2.5% of the resamples hold none of the products on which it alone
is wrong. On fewer products than this, even one that is right on 90%, just enough, is not behind one that is always
right, and nobody who matters would ever drop out.
"""
# Labelled products beyond which nobody would label to tell two candidates apart.
_MOST = 10_000_000


@dataclass(frozen=True, eq=False)
class Judged:
    """The predictions of one candidate for the products of `tune`.

    Attributes
    ----------
    confidence : ndarray of float64, shape (n,)
        -inf where rejected.
    correct : ndarray of bool, shape (n,)
        Whether the prediction is right.
    """

    confidence: np.ndarray
    correct: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Standing:
    """How a candidate stands on one part of train.

    Attributes
    ----------
    name : str
    average : float
        Precision of the surest k products of `tune`, averaged over all k; candidates are compared by it.
    precision, low, high : float
        Over all products of `tune`, with its 95% interval.
    acceptance : float
        Share that a threshold can accept at a precision of 0.9.
    behind, behind_low, behind_high : float
        How much its average is below the leader's on the same products, with the 95% interval of the difference; 0 for
        the leader.
    """

    name: str
    average: float
    precision: float
    low: float
    high: float
    acceptance: float
    behind: float
    behind_low: float
    behind_high: float

    @property
    def tied(self) -> bool:
        """Whether the interval does not tell it from the leader."""
        return self.behind_low <= 0

    def to_settle(self, products: int) -> int | None:
        """Estimate how many labelled products would tell it from the leader, if the difference is as measured.

        Parameters
        ----------
        products : int
            On how many it was measured.

        Returns
        -------
        int or None
            None if there is no difference, or too small a one for any number of products that somebody would label.
        """
        half = (self.behind_high - self.behind_low) / 2
        if self.behind <= 0 or half <= 0:
            return None
        wanted = math.ceil(products * (half / self.behind) ** 2)
        return wanted if wanted <= _MOST else None


@dataclass(frozen=True, eq=False, kw_only=True)
class Round:
    """Candidates after learning from one part of train.

    Attributes
    ----------
    products : int
        Training products of the part.
    judges : int
        Products of `tune` that judged.
    standings : tuple of Standing
        The best first; in a tie, in the order given.
    drawn : dict of str to ndarray, shape (resamples,)
        The average on resamples of the products of `tune`, the same resamples for all candidates.
    """

    products: int
    judges: int
    standings: tuple[Standing, ...]
    drawn: Mapping[str, np.ndarray]

    @property
    def leader(self) -> Standing:
        """The best of them."""
        return self.standings[0]


def judge(products: int, candidates: Mapping[str, Judged]) -> Round:
    """Compare candidates that learnt from the same part of train, on the same products of `tune`.

    Parameters
    ----------
    products : int
        Training products of the part.
    candidates : mapping of str to Judged
        By name; column i of each is the same product.

    Returns
    -------
    Round
    """
    averages, drawn = {}, {}
    total = len(next(iter(candidates.values())).correct)
    resamples = _resamples(total, RESAMPLES)
    for name, found in candidates.items():
        correct = found.correct & (found.confidence > -np.inf)
        order = np.lexsort((correct, -found.confidence))  # of equal confidence, the wrong ones first
        averages[name] = float(_average(correct[order], np.ones((1, total), np.float32))[0])
        drawn[name] = _average(correct[order], resamples[:, order])
    ordered = sorted(candidates, key=lambda name: -averages[name])
    leader, standings = ordered[0], []
    for name in ordered:
        found = candidates[name]
        correct = found.correct & (found.confidence > -np.inf)
        hits = int(np.count_nonzero(correct))
        low, high = exact_interval(hits, total)
        behind_low, behind_high = np.quantile(drawn[leader] - drawn[name], _TAILS)
        standings.append(
            Standing(
                name=name,
                average=averages[name],
                precision=hits / total,
                low=float(low),
                high=float(high),
                acceptance=acceptance(found.confidence, correct, REQUIRED).acceptance,
                behind=averages[leader] - averages[name],
                behind_low=float(behind_low),
                behind_high=float(behind_high),
            )
        )
    return Round(products=products, judges=total, standings=tuple(standings), drawn=drawn)


@lru_cache(maxsize=2)
def _resamples(products: int, count: int) -> np.ndarray:
    """Draw resamples: how often each product is in each, float32, shape (count, products)."""
    rng = np.random.default_rng(0)
    drawn = [np.bincount(rng.integers(0, products, products), minlength=products) for _ in range(count)]
    return np.array(drawn, np.float32)


def _average(correct: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Average the precision of the surest k products over all k, for each row of how often each product counts."""
    seen = np.cumsum(counts, axis=1, dtype=np.float32)
    right = np.cumsum(counts * correct, axis=1, dtype=np.float32)
    averages: np.ndarray = (counts * right / np.maximum(seen, 1)).sum(axis=1, dtype=np.float64) / seen[:, -1]
    return averages


def staying(now: Round, earlier: Round | None, products: int) -> tuple[str, ...]:
    """Say which candidates deserve a larger part: all that may still win.

    Parameters
    ----------
    now : Round
    earlier : Round or None
        The round before, on a smaller part, if it says how fast candidates learn; see `before_last`.
    products : int
        Training products in all.

    Returns
    -------
    tuple of str
        The best first. One that is behind for sure stays if it catches up for sure, and at this pace would reach the
        leader with all of train.
    """
    return tuple(found.name for found in now.standings if found.tied or _catches_up(found, now, earlier, products))


def before_last(rounds: Sequence[Round]) -> Round | None:
    """Return the round before the last, if it says how fast candidates learn: the first one does not.

    On the smallest part, some candidates know little yet of how sure they are, and then learn that at once. On
    `fashion`, their pace from there was wrong about who wins in one draw of three.

    Parameters
    ----------
    rounds : sequence of Round
        From the smallest part to the largest.

    Returns
    -------
    Round or None
    """
    return rounds[-2] if len(rounds) > 2 else None


def _catches_up(found: Standing, now: Round, earlier: Round | None, products: int) -> bool:
    leader = now.leader.name
    if earlier is None:
        return False
    if found.name not in earlier.drawn or leader not in earlier.drawn or now.products <= earlier.products:
        return False
    was = earlier.drawn[leader] - earlier.drawn[found.name]
    closing = was - (now.drawn[leader] - now.drawn[found.name])
    hoped = expected(now, earlier, products, believed=1.0)
    return bool(np.quantile(closing, _TAILS[0]) > 0 and hoped[found.name] >= hoped[leader])


def expected(now: Round, earlier: Round | None, products: int, believed: float = _BELIEVED) -> dict[str, float]:
    """Estimate the average of candidates after learning from all of train, with caution.

    Errors fall by a power of the products. How fast they fall for a candidate is seen in two rounds, with noise; it is
    drawn towards what they all have in common, the more, the noisier it is. The result is meant for comparing
    candidates: all of them will be better than it says.

    Parameters
    ----------
    now : Round
    earlier : Round or None
        The round before. Without one, the averages of now are returned.
    products : int
        Training products in all.
    believed : float
        Share of the doublings up to all of train for which the pace of the two rounds is believed.

    Returns
    -------
    dict of str to float
        By candidate, in the order of `now`.
    """
    wrong = {found.name: max(1 - found.average, 0.5 / now.judges) for found in now.standings}
    if earlier is None or now.products <= earlier.products or not set(wrong) <= set(earlier.drawn):
        return {name: 1 - error for name, error in wrong.items()}
    before = {found.name: max(1 - found.average, 0.5 / earlier.judges) for found in earlier.standings}
    doublings = math.log2(now.products / earlier.products)
    pace = np.array([math.log(wrong[name] / before[name]) / doublings for name in wrong])
    drawn = np.stack(
        [
            np.log(np.maximum(1 - now.drawn[name], 0.5 / now.judges))
            - np.log(np.maximum(1 - earlier.drawn[name], 0.5 / earlier.judges))
            for name in wrong
        ]
    )
    noise = (np.var(drawn - drawn.mean(axis=0), axis=1) + 2 * _DRAW**2) / doublings**2
    pace = pace.mean() + (pace - pace.mean()) * _SPREAD**2 / (_SPREAD**2 + noise)
    left = believed * math.log2(max(products, now.products) / now.products)
    return {
        name: 1 - error * math.exp(min(float(own), 0.0) * left)
        for (name, error), own in zip(wrong.items(), pace, strict=True)
    }


def best(rounds: Sequence[Round], products: int) -> str:
    """Choose among the candidates that may still win after the last round.

    Parameters
    ----------
    rounds : sequence of Round
        From the smallest part to the largest.
    products : int
        Training products in all.

    Returns
    -------
    str
        The name of the one that is expected to be the best with all of train.
    """
    now, earlier = rounds[-1], before_last(rounds)
    hoped = expected(now, earlier, products)
    return max(staying(now, earlier, products), key=lambda name: hoped[name])


def ties(rounds: Sequence[Round], products: int) -> tuple[tuple[Standing, Round], ...]:
    """Find the candidates that may be as good as the choice.

    Parameters
    ----------
    rounds : sequence of Round
        From the smallest part to the largest.
    products : int
        Training products in all.

    Returns
    -------
    tuple of (Standing, Round)
        Each with the round that last judged it: those that were not told from the leader then, and those that are
        expected to overtake it.
    """
    chosen, seen, found = best(rounds, products), set[str](), []
    last = rounds[-1]
    may_win = staying(last, before_last(rounds), products)
    hoped = expected(last, before_last(rounds), products)
    for one in reversed(rounds):
        for standing in one.standings:
            name = standing.name
            overtakes = one is last and name in may_win and hoped[name] >= hoped[last.leader.name]
            if name not in seen and name != chosen and (standing.tied or overtakes):
                found.append((standing, one))
            seen.add(name)
    return tuple(found)
