"""Successive halving: candidates judged on growing parts of train, and what that leaves to say about them.

On every part, all candidates are judged on the same products of `tune`, so that what makes a product hard falls out of
their difference. One is dropped only where it is behind for sure and does not catch up, or where the budget forces it.

The measure is precision over all products, where a run chooses by acceptance at a precision of 0.9. On parts of 1/32 to
1/8 of `fashion`, it told the backend that wins in the end from the others more surely than acceptance did in 20 of 28
comparisons; and where no candidate is precise enough yet, acceptance is 0 for all of them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from shelfbench.verdict.metrics import REQUIRED, acceptance
from shelfbench.verdict.resampling import replicates

RESAMPLES = 1000
_TAILS = (0.025, 0.975)
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
    precision, low, high : float
        Over all products of `tune`, with its 95% interval.
    acceptance : float
        Share that a threshold can accept at a precision of 0.9.
    behind, behind_low, behind_high : float
        How much its precision is below the leader's on the same products, with the 95% interval of the difference;
        0 for the leader.
    """

    name: str
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
    standings : tuple of Standing
        The best first; in a tie, in the order given.
    drawn : dict of str to ndarray, shape (resamples,)
        Precision on resamples of the products of `tune`, the same resamples for all candidates and parts.
    """

    products: int
    standings: tuple[Standing, ...]
    drawn: Mapping[str, np.ndarray]

    @property
    def leader(self) -> Standing:
        """The best of them."""
        return self.standings[0]

    def better_half(self) -> tuple[str, ...]:
        """Names of the better half, at least two."""
        return tuple(found.name for found in self.standings[: max(2, -(-len(self.standings) // 2))])


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
    names = list(candidates)
    confidence = np.stack([found.confidence for found in candidates.values()])
    correct = np.stack([found.correct & (found.confidence > -np.inf) for found in candidates.values()])
    found = replicates(confidence, correct, REQUIRED, resamples=RESAMPLES).precision
    drawn = dict(zip(names, found, strict=True))
    hits = dict(zip(names, np.count_nonzero(correct, axis=1).tolist(), strict=True))
    ordered = sorted(names, key=lambda name: -hits[name])
    leader, total = ordered[0], correct.shape[1]
    standings = []
    for name in ordered:
        low, high = np.quantile(drawn[name], _TAILS)
        behind_low, behind_high = np.quantile(drawn[leader] - drawn[name], _TAILS)
        row = names.index(name)
        standings.append(
            Standing(
                name=name,
                precision=hits[name] / total,
                low=float(low),
                high=float(high),
                acceptance=acceptance(confidence[row], correct[row], REQUIRED).acceptance,
                behind=(hits[leader] - hits[name]) / total,
                behind_low=float(behind_low),
                behind_high=float(behind_high),
            )
        )
    return Round(products=products, standings=tuple(standings), drawn=drawn)


def staying(now: Round, earlier: Round | None, products: int) -> tuple[str, ...]:
    """Say which candidates deserve a larger part: all that may still win.

    Parameters
    ----------
    now : Round
    earlier : Round or None
        The round before, on a smaller part. Without one, all stay: nothing is known yet about how they learn.
    products : int
        Training products in all.

    Returns
    -------
    tuple of str
        The best first. One that is behind for sure stays if it catches up for sure, and at this pace would reach the
        leader before all of train is used.
    """
    if earlier is None:
        return tuple(found.name for found in now.standings)
    return tuple(found.name for found in now.standings if found.tied or _catches_up(found, now, earlier, products))


def _catches_up(found: Standing, now: Round, earlier: Round, products: int) -> bool:
    leader = now.leader.name
    if found.name not in earlier.drawn or leader not in earlier.drawn or now.products <= earlier.products:
        return False
    was = earlier.drawn[leader] - earlier.drawn[found.name]
    closing = (was - (now.drawn[leader] - now.drawn[found.name])) / math.log2(now.products / earlier.products)
    left = math.log2(max(products, now.products) / now.products)
    return bool(np.quantile(closing, _TAILS[0]) > 0 and found.behind <= float(np.mean(closing)) * left)


def ties(rounds: Sequence[Round]) -> tuple[tuple[Standing, Round], ...]:
    """Find the candidates that were not told from the leader when they were last judged.

    Parameters
    ----------
    rounds : sequence of Round
        From the smallest part to the largest; the winner is the last one's leader.

    Returns
    -------
    tuple of (Standing, Round)
        Each with the round that last judged it; those of the largest part first.
    """
    winner, seen, found = rounds[-1].leader.name, set[str](), []
    for one in reversed(rounds):
        for standing in one.standings:
            if standing.name not in seen and standing.name != winner and standing.tied:
                found.append((standing, one))
            seen.add(standing.name)
    return tuple(found)
