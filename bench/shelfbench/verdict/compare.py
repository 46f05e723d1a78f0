"""Backends compared with each other, paired by product: bootstrap, McNemar's test, Holm's adjustment."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from shelfbench.base.errors import InputError
from shelfbench.verdict.metrics import Target, acceptance
from shelfbench.verdict.resampling import replicates

RESAMPLES = 2000


@dataclass(frozen=True, eq=False, kw_only=True)
class Contestant:
    """The predictions of one backend for the products of one split.

    Attributes
    ----------
    name : str
        The backend.
    product_id : ndarray of int64 or str, shape (n,)
        The products, in any order.
    confidence : ndarray of float64, shape (n,)
        -inf where rejected.
    correct : ndarray of bool, shape (n,)
        Whether the prediction is right.
    threshold : float
        The threshold by which McNemar's second test accepts, fixed on other products (`tune`); NaN where there are
        none.
    """

    name: str
    product_id: np.ndarray
    confidence: np.ndarray
    correct: np.ndarray
    threshold: float


@dataclass(frozen=True, kw_only=True)
class Difference:
    """How much the first backend is ahead of the second.

    Attributes
    ----------
    first : float
        The first backend's value on the products as they are.
    second : float
        The second backend's.
    value : float
        ``first - second``.
    low : float
        Lower end of its percentile bootstrap interval.
    high : float
        Upper end of it.
    p : float
        Two-sided, by inversion of that interval: twice the smaller share of resamples on one side of 0.
    p_holm : float
        `p`, adjusted for all pairs that were compared.
    """

    first: float
    second: float
    value: float
    low: float
    high: float
    p: float
    p_holm: float


@dataclass(frozen=True)
class McNemar:
    """Exact McNemar test on the products on which only one of the two succeeds.

    Attributes
    ----------
    first : int
        Products on which only the first succeeds.
    second : int
        Products on which only the second succeeds.
    p : float
        Two-sided; NaN where nothing was tested.
    p_holm : float
        `p`, adjusted for all pairs that were compared.
    """

    first: int
    second: int
    p: float
    p_holm: float


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two backends on the same products.

    Attributes
    ----------
    first : str
        Name of the first backend.
    second : str
        Name of the second.
    products : int
        How many products they were compared on.
    precision : Difference
        In precision over all products.
    acceptance : Difference
        In acceptance at the target. This is plain acceptance: each threshold is set on these very products, and again
        on every resample.
    correct : McNemar
        Success is being right.
    accepted : McNemar
        Success is being right and accepted at the threshold fixed beforehand: a test of the two rules as they stand,
        including the luck that each had when its threshold was fixed.
    """

    first: str
    second: str
    products: int
    precision: Difference
    acceptance: Difference
    correct: McNemar
    accepted: McNemar


def compare(
    contestants: Sequence[Contestant],
    target: Target = "0.9",
    *,
    resamples: int | None = None,
    level: float = 0.95,
    seed: int = 0,
) -> tuple[Comparison, ...]:
    """Compare all pairs of backends on the same products and the same resamples of them.

    Parameters
    ----------
    contestants : sequence of Contestant
        At least two; the pairs are (0, 1), (0, 2), ... (1, 2), ...
    target : float, str or Fraction
        Required precision.
    resamples : int, optional
        How many resamples to draw; by default 2,000, or more if there are so many pairs that no p value could
        pass Holm's strictest step (`enough_resamples`).
    level : float
        Share of the resamples between the two ends of an interval.
    seed : int
        The same seed and products give the same numbers, whatever the order of the rows.

    Returns
    -------
    tuple of Comparison
        One per pair.

    Raises
    ------
    InputError
        If there are fewer than two backends, or two of them do not cover the same products.
    """
    if len(contestants) < 2:
        raise InputError("a comparison needs two backends", "run another one in the same study")
    aligned = sorted_alike(contestants)
    pairs = list(itertools.combinations(range(len(aligned)), 2))
    confidence = np.stack([one.confidence for one in aligned])
    correct = np.stack([one.correct & (one.confidence > -np.inf) for one in aligned])
    products = confidence.shape[1]
    drawn = replicates(confidence, correct, target, resamples=resamples or enough_resamples(len(pairs)), seed=seed)
    reached = [acceptance(*rows, target).acceptance for rows in zip(confidence, correct, strict=True)]
    precise = [int(np.count_nonzero(row)) / products for row in correct]
    thresholds = np.array([one.threshold for one in aligned])
    accepted = correct & (confidence >= thresholds[:, None])
    tests = zip(
        pairs,
        _differences(precise, drawn.precision, pairs, level),
        _differences(reached, drawn.acceptance, pairs, level),
        _mcnemar(correct, pairs, np.zeros(len(pairs), bool)),
        _mcnemar(accepted, pairs, np.array([np.isnan(thresholds[list(pair)]).any() for pair in pairs])),
        strict=True,
    )
    return tuple(
        Comparison(
            first=aligned[one].name,
            second=aligned[two].name,
            products=products,
            precision=precision,
            acceptance=share,
            correct=right,
            accepted=taken,
        )
        for (one, two), precision, share, right, taken in tests
    )


def enough_resamples(pairs: int, level: float = 0.95) -> int:
    """Compute how many resamples let a p value pass even Holm's strictest step, (1 - level) / pairs.

    Parameters
    ----------
    pairs : int
        How many pairs are compared.
    level : float
        One minus the level of the tests.

    Returns
    -------
    int
        At least 2,000; the smallest possible p value is then at least a fifth below that step.
    """
    return max(RESAMPLES, math.ceil(1.25 * 2 * pairs / (1 - level)))


def holm(p: np.ndarray) -> np.ndarray:
    """Adjust p values by Holm's step-down method (Holm, 1979).

    Parameters
    ----------
    p : ndarray of float64, shape (m,)
        NaN for a test that was not made, which is not counted.

    Returns
    -------
    ndarray of float64, shape (m,)
        Reject where this is at most the level wanted for the whole family.
    """
    p = np.asarray(p, dtype=np.float64)
    adjusted = np.full(len(p), np.nan)
    order = np.argsort(p, kind="stable")[: np.count_nonzero(~np.isnan(p))]
    steps = p[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1)
    return adjusted


def mcnemar_p(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Compute exact two-sided p values of McNemar's test.

    Parameters
    ----------
    first : ndarray of int
        Products on which only the first succeeds.
    second : ndarray of int
        Products on which only the second succeeds.

    Returns
    -------
    ndarray of float64
        Twice the smaller tail of a fair coin, at most 1.
    """
    from scipy.stats import binom

    first, second = np.asarray(first), np.asarray(second)
    found: np.ndarray = np.minimum(2 * binom.cdf(np.minimum(first, second), first + second, 0.5), 1.0)
    return found


def bootstrap_p(differences: np.ndarray) -> np.ndarray:
    """Compute two-sided p values by inverting the percentile interval.

    Parameters
    ----------
    differences : ndarray of float64, shape (..., resamples)
        Between two backends, on each resample.

    Returns
    -------
    ndarray of float64, shape (...)
        At least ``2 / (resamples + 1)``; 1 where the two are equal on all resamples.

    Notes
    -----
    For acceptance, this test rejects too rarely on few products, since a resample moves the last feasible cut a little
    more than new products would. On the population of docs/papers.md ("Certifying a threshold"), seen twice under
    noise, it rejected at 5% in 3.3% of 1,000 trials with 2,000 products, in 2.8% with 4,000, in 4.8% with 10,000.
    """
    resamples = differences.shape[-1]
    below = np.count_nonzero(differences <= 0, axis=-1)
    above = np.count_nonzero(differences >= 0, axis=-1)
    found: np.ndarray = np.minimum(2 * (1 + np.minimum(below, above)) / (resamples + 1), 1.0)
    return found


def sorted_alike(contestants: Sequence[Contestant]) -> list[Contestant]:
    """Sort all contestants by product id; their ids must be the same.

    Parameters
    ----------
    contestants : sequence of Contestant

    Returns
    -------
    list of Contestant
        Row i of each is the same product.

    Raises
    ------
    InputError
        If two of them do not cover the same products, or there are none.
    """
    aligned = []
    for one in contestants:
        order = np.argsort(one.product_id, kind="stable")
        aligned.append(
            Contestant(
                name=one.name,
                product_id=one.product_id[order],
                confidence=one.confidence[order],
                correct=np.asarray(one.correct)[order],
                threshold=one.threshold,
            )
        )
    first = aligned[0]
    for other in aligned[1:]:
        if not np.array_equal(first.product_id, other.product_id):
            odd = np.setxor1d(first.product_id, other.product_id)
            named = f" ({len(odd):,} are in only one of them, the first being {odd[0]})" if len(odd) else ""
            raise InputError(
                f"{first.name} and {other.name} do not cover the same products{named}",
                "compare backends of one study, on the same split",
            )
    if not len(first.product_id):
        raise InputError("no products to compare on", "a split needs a test part")
    return aligned


def _differences(
    values: Sequence[float], drawn: np.ndarray, pairs: Sequence[tuple[int, int]], level: float
) -> list[Difference]:
    tails = [(1 - level) / 2, (1 + level) / 2]
    moved = [drawn[first] - drawn[second] for first, second in pairs]
    p = np.array([float(bootstrap_p(difference)) for difference in moved])
    ends = [np.quantile(difference, tails) for difference in moved]
    return [
        Difference(
            first=values[first],
            second=values[second],
            value=values[first] - values[second],
            low=float(low),
            high=float(high),
            p=float(own),
            p_holm=float(all_),
        )
        for (first, second), (low, high), own, all_ in zip(pairs, ends, p, holm(p), strict=True)
    ]


def _mcnemar(success: np.ndarray, pairs: Sequence[tuple[int, int]], untested: np.ndarray) -> list[McNemar]:
    # products on which both succeed, for all pairs at once; exact in float64
    both = success.astype(np.float64) @ success.T.astype(np.float64)
    first = np.array([both[one, one] - both[one, two] for one, two in pairs]).astype(np.int64)
    second = np.array([both[two, two] - both[one, two] for one, two in pairs]).astype(np.int64)
    p = np.where(untested, np.nan, mcnemar_p(first, second))
    return [
        McNemar(int(one), int(two), float(own), float(all_))
        for one, two, own, all_ in zip(first, second, p, holm(p), strict=True)
    ]
