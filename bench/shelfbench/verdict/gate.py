"""Whether a newer run is worse than an older one, by more than noise.

For each backend two hypotheses are tested, that its precision and its acceptance have not fallen by more than a
tolerance, one-sided and paired by product: precision by the score test for the difference of two paired shares (Tango,
Equivalence test and confidence interval for the difference in proportions for the paired-sample design, 1998, section
2) and by the exact McNemar test; acceptance by the bootstrap, with the threshold set again on every resample. Holm's
method keeps the probability that any of them is rejected although none is true to `LEVEL`.

The products of test are the sample; the two trained models are taken as they are. Training again with another seed
makes another model, which is truly a little better or worse. The tolerance is for that.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from shelfbench.base.errors import InputError
from shelfbench.verdict.compare import RESAMPLES, Contestant, holm, sorted_alike
from shelfbench.verdict.metrics import REQUIRED, Target, acceptance
from shelfbench.verdict.resampling import replicates

LEVEL = 0.05
"""Of the whole family of tests."""

TOLERANCE = 0.01
"""What may be lost: as much as the luck of training once more, and no more."""

FEWEST = 200
"""Products without which nothing is said of acceptance: on fewer, neither its test nor its bound keeps what it says."""

_STRICTER = 5
"""How many times more seldom than the bounds of acceptance may fail their quantiles would, if the bootstrap were exact.

Its percentiles are too narrow where the new model ranks its products worse than the old one, on few products and many.
"""

_TESTS = 2  # of each backend: precision and acceptance
_ROUNDING = 1e-12
_HALVINGS = 50  # of a bound's place: to the last digit


@dataclass(frozen=True, kw_only=True)
class Change:
    """What has become of one number of a backend.

    Attributes
    ----------
    old, new : float
    value : float
        ``new - old``.
    low, high : float
        Its 95% percentile bootstrap interval.
    least : float
        One-sided lower bound of `value`; those of all changes of a gate hold together with probability 1 - `LEVEL`. Of
        precision it is where the score test would reject: resamples of products of which none is lost have no loss
        either, and few products say little. Of acceptance it is a quantile of the bootstrap, at a fifth of the level
        (`_STRICTER`); NaN on fewer than `FEWEST` products.
    p : float
        One-sided: small where the new value is lower by more than the tolerance. NaN where nothing could be lost, and
        for acceptance on fewer than `FEWEST` products.
    p_holm : float
        `p`, adjusted for all tests of the gate.
    """

    old: float
    new: float
    value: float
    low: float
    high: float
    least: float
    p: float
    p_holm: float

    @property
    def worse(self) -> bool:
        """Whether it is lower by more than the tolerance and noise."""
        return self.p_holm <= LEVEL


@dataclass(frozen=True, kw_only=True)
class Versions:
    """A backend in two runs, on the same products.

    Attributes
    ----------
    name : str
    products : int
    only_old, only_new : int
        Products on which only the old one, or only the new one is right.
    precision, acceptance : Change
        Acceptance is plain: its threshold is set on these products.
    """

    name: str
    products: int
    only_old: int
    only_new: int
    precision: Change
    acceptance: Change

    @property
    def worse(self) -> bool:
        """Whether one of the two is lower by more than noise."""
        return self.precision.worse or self.acceptance.worse


@dataclass(frozen=True, kw_only=True)
class GateSettings:
    """What is tested.

    Attributes
    ----------
    target : float, str or Fraction
        Required precision, at which acceptance is measured.
    tolerance : float
        How much of precision and of acceptance may be lost.
    resamples : int, optional
        How many resamples to draw; by default as many as Holm's strictest step needs, at least 2,000.
    seed : int
        The same seed and products give the same numbers, whatever the order of the rows.
    fewest : int
        Products without which nothing is said of acceptance.
    """

    target: Target = REQUIRED
    tolerance: float = TOLERANCE
    resamples: int | None = None
    seed: int = 0
    fewest: int = FEWEST

    def drawn(self, backends: int) -> int:
        """Return the number of resamples for a number of backends."""
        return self.resamples or needed_resamples(backends)


STANDARD = GateSettings()


def gate(pairs: Sequence[tuple[Contestant, Contestant]], settings: GateSettings = STANDARD) -> tuple[Versions, ...]:
    """Test whether backends are worse than they were.

    Parameters
    ----------
    pairs : sequence of (Contestant, Contestant)
        Each backend in the old run and in the new one; all on the same products. Thresholds are not used.
    settings : GateSettings

    Returns
    -------
    tuple of Versions
        In the order of the pairs.

    Raises
    ------
    InputError
        If no pair is given, or they do not cover the same products.
    """
    if not pairs:
        raise InputError("no backend to compare", "run the same backends in both runs")
    both = sorted_alike([one for pair in pairs for one in pair])
    confidence = np.stack([one.confidence for one in both])
    correct = np.stack([one.correct & (one.confidence > -np.inf) for one in both])
    products, step = confidence.shape[1], LEVEL / (_TESTS * len(pairs))
    target, tolerance = settings.target, settings.tolerance
    drawn = replicates(confidence, correct, target, resamples=settings.drawn(len(pairs)), seed=settings.seed)
    only_old = np.count_nonzero(correct[::2] & ~correct[1::2], axis=1)
    only_new = np.count_nonzero(correct[1::2] & ~correct[::2], axis=1)
    precise = correct.mean(axis=1)
    bounds = least_change(only_old, only_new, products, step)
    reached = np.array([acceptance(*rows, target).acceptance for rows in zip(confidence, correct, strict=True)])
    moved_acceptance = drawn.acceptance[1::2] - drawn.acceptance[::2]
    p = np.stack([fallen_p(only_old, only_new, products, tolerance), resampled_p(moved_acceptance, tolerance)])
    few = products < settings.fewest
    p[1, (reached[::2] == 0) | few] = np.nan  # what accepts nothing cannot accept less
    adjusted = holm(p.ravel()).reshape(p.shape)

    def change(row: int, values: np.ndarray, found: np.ndarray, test: int) -> Change:
        moved = found[2 * row + 1] - found[2 * row]
        low, high, least = np.quantile(moved, [0.025, 0.975, step / _STRICTER])
        if test == 0:
            least = bounds[row]
        elif few:
            least = np.nan
        old, new = float(values[2 * row]), float(values[2 * row + 1])
        own, all_ = float(p[test, row]), float(adjusted[test, row])
        return Change(
            old=old, new=new, value=new - old, low=float(low), high=float(high), least=float(least), p=own, p_holm=all_
        )

    return tuple(
        Versions(
            name=old.name,
            products=products,
            only_old=int(only_old[row]),
            only_new=int(only_new[row]),
            precision=change(row, precise, drawn.precision, 0),
            acceptance=change(row, reached, drawn.acceptance, 1),
        )
        for row, (old, _) in enumerate(pairs)
    )


def needed_resamples(backends: int) -> int:
    """Compute how many resamples let a p value pass Holm's strictest step.

    Parameters
    ----------
    backends : int

    Returns
    -------
    int
        At least 2,000; the smallest possible p value is then far enough below that step for the bound of acceptance.
    """
    return max(RESAMPLES, math.ceil(1.25 * _STRICTER * _TESTS * backends / LEVEL))


def can_fail(products: int, backends: int, tolerance: float = TOLERANCE) -> bool:
    """Tell whether the gate could shut at all: whether a backend that loses every product would be found.

    Parameters
    ----------
    products : int
        Of test, all of them right in the old run.
    backends : int
    tolerance : float

    Returns
    -------
    bool
    """
    if not products:
        return False
    return bool(fallen_p(np.array(products), np.array(0), products, tolerance) <= LEVEL / (_TESTS * backends))


def fallen_p(only_old: np.ndarray, only_new: np.ndarray, products: int, tolerance: float = 0.0) -> np.ndarray:
    """Compute one-sided p values for a loss of more than a tolerance.

    Parameters
    ----------
    only_old : ndarray of int
        Products on which only the old one is right.
    only_new : ndarray of int
        Products on which only the new one is right.
    products : int
        All products.
    tolerance : float
        Share of them that may be lost.

    Returns
    -------
    ndarray of float64
        The larger p value of two tests: the score test for the loss being more than the tolerance, and, since that one
        needs more than a few products, the exact McNemar test for there being any loss.
    """
    from scipy.stats import binom, norm

    lost, won = np.asarray(only_old, dtype=np.float64), np.asarray(only_new, dtype=np.float64)
    beyond = _score(lost, won, products, np.asarray(tolerance, dtype=np.float64))
    return np.asarray(np.maximum(binom.sf(lost - 1, lost + won, 0.5), norm.sf(beyond)), dtype=np.float64)


def least_change(only_old: np.ndarray, only_new: np.ndarray, products: int, level: float) -> np.ndarray:
    """Compute one-sided lower bounds of the change in precision, by inverting the score test.

    Parameters
    ----------
    only_old : ndarray of int
        Products on which only the old one is right.
    only_new : ndarray of int
        Products on which only the new one is right.
    products : int
        All products.
    level : float
        Probability with which a bound may fail.

    Returns
    -------
    ndarray of float64
        Minus the largest loss that the test does not reject; below 0 even where no product is lost.
    """
    from scipy.stats import norm

    lost, won = np.asarray(only_old, dtype=np.float64), np.asarray(only_new, dtype=np.float64)
    inside, outside = (lost - won) / products, np.ones(np.broadcast(lost, won).shape)
    for _ in range(_HALVINGS):
        middle = (inside + outside) / 2
        kept = _score(lost, won, products, middle) >= norm.ppf(level)
        inside, outside = np.where(kept, middle, inside), np.where(kept, outside, middle)
    return np.asarray(-outside)


def _score(lost: np.ndarray, won: np.ndarray, products: int, loss: np.ndarray) -> np.ndarray:
    """How many standard deviations more is lost than a loss that is supposed; 0 where nothing could vary."""
    # the likeliest share of products that only the new one gets right, if exactly that is lost
    linear = (2 * products - lost + won) * loss - lost - won
    constant = -won * loss * (1 - loss)
    share = (np.sqrt(np.maximum(linear**2 - 8 * products * constant, 0)) - linear) / (4 * products)
    spread = np.sqrt(np.maximum(products * (2 * share + loss * (1 - loss)), 0))
    beyond: np.ndarray = np.divide(lost - won - products * loss, spread, out=np.zeros_like(spread), where=spread > 0)
    return beyond


def resampled_p(differences: np.ndarray, tolerance: float = 0.0) -> np.ndarray:
    """Compute one-sided p values for a loss of more than a tolerance, by inverting the percentile interval.

    Parameters
    ----------
    differences : ndarray of float64, shape (..., resamples)
        New minus old, on each resample.
    tolerance : float

    Returns
    -------
    ndarray of float64, shape (...)
        At least ``1 / (resamples + 1)``; 1 where the two are equal on all resamples.
    """
    kept = np.count_nonzero(differences >= -tolerance - _ROUNDING, axis=-1)
    return np.asarray((1 + kept) / (differences.shape[-1] + 1))
