"""Which products of an unlabelled flow to label for a certificate, and the certificate that their labels give.

The products are drawn at random, with equal chances, from those whose confidence is above a cut; no other product is
drawn. Every threshold above the cut can then be tested exactly, since the drawn products above it are a random sample
of all products above it. The cut, and the threshold at which the walk starts, come from `tune` and from the flow's
confidences alone, so that no label that certifies has a say in them. Drawing doubtful products more often than sure
ones, which makes strata that are weighted back, was tried and gains nothing (results/decisions/label.csv).

`tune` tells how often a product of a confidence is wrong: the logit of being right is a line in the logit of the
confidence (Platt, "Probabilistic outputs for support vector machines", 1999), up to a share of errors that no
confidence excludes. Both have a posterior over a grid, so that a small `tune` says little and a large one much.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from shelfbench.base.errors import InputError
from shelfbench.verdict.metrics import Target, exact_target
from shelfbench.verdict.walk import binomial_tail

# Candidate cuts: those that accept 1/60, 2/60, ... of the flow.
CUTS = 60
# With a smaller chance, a certificate is not to be expected.
LIKELY = 0.5
# Draws from the posterior of the error rates, and samples drawn for each of them.
_DRAWS, _SAMPLES = 40, 4
# `tune` is summed up in this many groups of equal size, ordered by confidence.
_GROUPS = 100
_STEEPEST = 9.0


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """From which products of a flow to draw those that are labelled.

    Attributes
    ----------
    accepted : ndarray of int64, shape (candidates,)
        Products of the flow at or above each threshold, ascending.
    thresholds : ndarray of float64, same shape
        Log-probabilities from strict to loose, between the confidences of two products: the walk goes through them.
    chance : float
        About how probable it is that the walk passes its first threshold.
    """

    accepted: np.ndarray
    thresholds: np.ndarray
    chance: float

    @property
    def frame(self) -> int:
        """Products from which to draw: those that the loosest threshold accepts."""
        return int(self.accepted[-1])


@dataclass(frozen=True, kw_only=True)
class Sampled:
    """What the labels of a sample certify.

    Attributes
    ----------
    reached : int or None
        The loosest threshold of the sampling that is certified; None if none is.
    labelled : int
        Labelled products that it accepts, or the first threshold does if none is certified.
    correct : int
        How many of them are right.
    hopeless : bool
        Whether even the upper bound of the precision is below the target at every threshold.
    """

    reached: int | None
    labelled: int
    correct: int
    hopeless: bool


def plan_sampling(
    confidence: np.ndarray,
    tune: tuple[np.ndarray, np.ndarray],
    *,
    budget: int,
    target: Target = "0.9",
    level: float = 0.95,
    seed: int = 0,
) -> Sampling:
    """Choose the products of a flow from which to draw those that are labelled.

    Parameters
    ----------
    confidence : ndarray of float64, shape (n,)
        Log-probabilities of the flow's products; -inf for those that are never accepted.
    tune : (ndarray of float64, ndarray of bool)
        Log-probabilities of the products of `tune`, -inf for rejected ones, and whether each prediction is right.
    budget : int
        Products to label.
    target : float, str or Fraction
        Required precision.
    level : float
        Probability with which the threshold must keep it.
    seed : int
        Of the draws from the posterior.

    Returns
    -------
    Sampling

    Raises
    ------
    InputError
        If no product of the flow can be accepted, a confidence is NaN or above 0, or the budget is below 1.
    """
    confidence = np.asarray(confidence, np.float64)
    if np.isnan(confidence).any() or np.any(confidence > 0):
        raise InputError("a confidence of the flow is not a log-probability", "give numbers up to 0")
    if budget < 1:
        raise InputError(f"{budget} products cannot be labelled", "give a budget of at least 1")
    flow = np.sort(confidence[confidence > -np.inf])[::-1]
    if not len(flow):
        raise InputError("the flow has no product that could be accepted", "give more products")
    accepted, thresholds = _candidates(flow)
    rng = np.random.default_rng([seed, 4])
    rates = _error_rates(tune, _middles(flow, accepted), rng)
    allowed = float(1 - exact_target(target))
    best = max(
        (_best_start(rates, accepted[:last], budget, (allowed, 1 - level), rng) for last in _lasts(len(accepted))),
        key=lambda found: found.worth,
    )
    first, last, chance = best.first, best.last, best.chance
    walk = slice(first, last)
    return Sampling(accepted=accepted[walk], thresholds=thresholds[walk], chance=chance)


def draw_sample(confidence: np.ndarray, sampling: Sampling, budget: int, seed: int) -> np.ndarray:
    """Draw the products to label: at random from those that the loosest threshold accepts.

    Parameters
    ----------
    confidence : ndarray of float64, shape (n,)
        As for `plan_sampling`.
    sampling : Sampling
    budget : int
    seed : int

    Returns
    -------
    ndarray of int64, shape (min(budget, sampling.frame),)
        Positions in `confidence`, in random order.
    """
    above = np.flatnonzero(np.asarray(confidence) >= sampling.thresholds[-1])
    drawn = np.random.default_rng([seed, 5]).permutation(len(above))
    return above[drawn[:budget]].astype(np.int64)


def certify_sample(
    confidence: np.ndarray, correct: np.ndarray, sampling: Sampling, *, target: Target = "0.9", level: float = 0.95
) -> Sampled:
    """Walk from the first threshold to looser ones, on the products that were drawn and labelled.

    The exact binomial test of `shelfbench.verdict.certify`, in the order that the sampling fixed.

    Parameters
    ----------
    confidence : ndarray of float64, shape (n,)
        Log-probabilities of all the products that were drawn.
    correct : ndarray of bool, shape (n,)
        Whether the prediction is right.
    sampling : Sampling
    target : float, str or Fraction
        Required precision.
    level : float
        Probability with which the threshold must keep it.

    Returns
    -------
    Sampled
    """
    taken = np.asarray(confidence)[:, None] >= sampling.thresholds
    labelled = taken.sum(axis=0)
    right = (taken & np.asarray(correct, bool)[:, None]).sum(axis=0)
    rate = float(1 - exact_target(target))
    passes = (binomial_tail(labelled - right, labelled, rate) <= 1 - level) & (labelled > 0)
    below = (binomial_tail(right, labelled, 1 - rate) <= 1 - level) & (labelled > 0)
    reached = int(np.append(passes, False).argmin()) - 1
    at = max(reached, 0)
    return Sampled(
        reached=None if reached < 0 else reached,
        labelled=int(labelled[at]),
        correct=int(right[at]),
        hopeless=bool(below.all()),
    )


def _candidates(flow: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Find numbers of accepted products and thresholds halfway to the next product; ties stay together."""
    count = len(flow)
    cuts = np.unique(-(-np.arange(1, CUTS + 1) * count // CUTS))
    cuts = np.unique(count - np.searchsorted(flow[::-1], flow[cuts - 1], side="left"))
    below = np.append(flow, flow[-1] - 1e-9)[cuts]
    return cuts.astype(np.int64), (flow[cuts - 1] + below) / 2


def _middles(flow: np.ndarray, accepted: np.ndarray) -> np.ndarray:
    """Average the log-odds of the products between two candidates."""
    odds = np.clip(_log_odds(flow), -_STEEPEST, _STEEPEST)
    before = np.append(0, accepted[:-1])
    found: np.ndarray = np.add.reduceat(odds, before) / (accepted - before)
    return found


def _log_odds(confidence: np.ndarray) -> np.ndarray:
    """Turn log-probabilities into log-odds."""
    with np.errstate(divide="ignore"):
        found: np.ndarray = confidence - np.log(-np.expm1(np.minimum(confidence, 0.0)))
        return found


def _error_rates(tune: tuple[np.ndarray, np.ndarray], odds: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw error rates at some log-odds from the posterior that `tune` leaves; shape (draws, odds)."""
    from scipy.special import expit

    lines = np.meshgrid(np.linspace(-2, 1.5, 22), np.linspace(0.4, 1.6, 13), [0.001, 0.003, 0.006, 0.01, 0.02, 0.04])
    shift, slope, least = (axis.ravel()[:, None] for axis in lines)

    def wrong(at: np.ndarray) -> np.ndarray:
        found: np.ndarray = 1 - (1 - least) * expit(shift + slope * at)
        return found

    seen = tune[0] > -np.inf
    known, right = np.clip(_log_odds(tune[0][seen]), -_STEEPEST, _STEEPEST), tune[1][seen]
    weight = (-0.5 * (shift / 0.7) ** 2 - 0.5 * ((slope - 1) / 0.3) ** 2)[:, 0]
    if len(known):
        order = np.argsort(known)
        first = np.unique(np.arange(min(_GROUPS, len(known))) * len(known) // min(_GROUPS, len(known)))
        count = np.diff(np.append(first, len(known)))
        hits = np.add.reduceat(right[order].astype(np.int64), first)
        rate = wrong(np.add.reduceat(known[order], first) / count)
        weight = weight + np.log(rate) @ (count - hits) + np.log1p(-rate) @ hits
    chance = np.exp(weight - weight.max())
    return wrong(odds)[rng.choice(len(chance), _DRAWS, p=chance / chance.sum())]


@dataclass(frozen=True, kw_only=True)
class _Start:
    """Where a walk through the first `last` candidates starts best; its worth, and its chance to pass there."""

    first: int
    last: int
    worth: float
    chance: float


def _lasts(candidates: int) -> list[int]:
    """List the numbers of candidates that a walk may have: every fourth one, and all."""
    return sorted({*range(1, candidates + 1, 4), candidates})


def _best_start(
    rates: np.ndarray, accepted: np.ndarray, budget: int, test: tuple[float, float], rng: np.random.Generator
) -> _Start:
    """Draw samples of the products that the last candidate accepts, label them as the rates tell, and walk.

    The worth of a walk is the root of the share that it certifies: two certificates of a quarter are worth as much as
    one of all, because having none is worse than having little.
    """
    allowed, significance = test
    sizes = np.diff(accepted, prepend=0)
    often = np.repeat(rates[:, : len(accepted)], _SAMPLES, axis=0)
    if budget >= accepted[-1]:
        budget, labelled = int(accepted[-1]), np.broadcast_to(sizes, often.shape)
    else:
        labelled = rng.multinomial(budget, sizes / accepted[-1], size=len(often))
    errors, total = np.cumsum(rng.binomial(labelled, often), axis=1), np.cumsum(labelled, axis=1)
    passes = errors <= _most_errors(budget, allowed, significance)[total]
    worth = np.zeros(passes.shape)
    further = np.zeros(len(passes))
    for at in reversed(range(len(accepted))):
        worth[:, at] = further = np.where(passes[:, at], np.maximum(further, np.sqrt(accepted[at])), 0.0)
    mean = worth.mean(axis=0)
    first = int(mean.argmax())
    return _Start(first=first, last=len(accepted), worth=float(mean[first]), chance=float(passes[:, first].mean()))


@lru_cache(maxsize=8)
def _most_errors(most: int, allowed: float, significance: float) -> np.ndarray:
    """Find with how many errors at most each number of products, from 0 to `most`, passes the test; -1 if with none."""
    count = np.arange(most + 1)
    low, high = np.full(most + 1, -1), np.floor(allowed * count).astype(np.int64) + 1
    while np.any(high - low > 1):
        middle = (low + high) // 2
        passes = (binomial_tail(np.maximum(middle, 0), count, allowed) <= significance) & (count > 0) & (middle >= 0)
        low, high = np.where(passes, middle, low), np.where(passes, high, middle)
    return low
