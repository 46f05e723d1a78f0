"""Backends compared over several draws of split and training: mean, spread, paired tests, and tiers.

Draws of one catalogue are not independent: they train on mostly the same products, and may test on the same ones. A
plain paired t test over draws finds differences that are not there. Where each draw has a test part of its own, the
corrected resampled t test is used, whose variance of the mean is that of the draws times 1/draws + test/train (Nadeau
and Bengio, Inference for the Generalization Error, 2003, section 3.3). Where all draws share their test part, their
spread shows only the luck of training, and the variance that resampling the test products gives is added to it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from shelfbench.base.errors import InputError
from shelfbench.verdict.compare import holm

ALPHA = 0.05
_ROUNDING = 1e-9  # differences that are farther apart than this differ


@dataclass(frozen=True, kw_only=True)
class Gap:
    """How much one backend is ahead of another, over the draws that both have.

    Attributes
    ----------
    first, second : int
        Rows of the values.
    draws : int
        Draws that both have.
    value, low, high : float
        Mean difference, first minus second, and its 95% interval; the interval is NaN with fewer than two draws.
    p, p_holm : float
        Two-sided, and adjusted for all pairs; NaN with fewer than two draws, or if all show the same difference.
    """

    first: int
    second: int
    draws: int
    value: float
    low: float
    high: float
    p: float
    p_holm: float


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """Where the draws' test products come from, as far as it widens a difference.

    Attributes
    ----------
    ratio : float
        Test products over train products, where each draw has a test part of its own; 0 where they share it.
    shared : ndarray of float64, shape (pairs,), or None
        Variance of each pair's mean difference over resamples of the test part that all draws share; None where each
        has its own.
    products : int
        Products of that part.
    """

    ratio: float = 0.0
    shared: np.ndarray | None = None
    products: int = 0


def compare_draws(values: np.ndarray, sampling: Sampling, level: float = 0.95) -> list[Gap]:
    """Compare all pairs of backends over the draws.

    Parameters
    ----------
    values : ndarray of float64, shape (backends, draws)
        NaN where a draw lacks a backend; column i is the same draw for every backend.
    sampling : Sampling
    level : float
        Of the intervals.

    Returns
    -------
    list of Gap
        The pairs (0, 1), (0, 2), ... (1, 2), ...

    Raises
    ------
    InputError
        If `values` is not a table.
    """
    from scipy.stats import t

    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 2:
        raise InputError(f"values of draws have shape {values.shape}", "give a row per backend, a column per draw")
    found = []
    for number, (first, second) in enumerate(itertools.combinations(range(len(values)), 2)):
        apart = values[first] - values[second]
        apart = apart[~np.isnan(apart)]
        mean = float(apart.mean()) if len(apart) else math.nan
        low = high = p = math.nan
        if len(apart) > 1:
            spread, freedom = _spread(apart, sampling, number)
            if spread > 0:
                reach = float(t.ppf((1 + level) / 2, freedom)) * spread
                low, high, p = mean - reach, mean + reach, float(2 * t.sf(abs(mean) / spread, freedom))
            elif abs(mean) <= _ROUNDING:
                low, high, p = 0.0, 0.0, 1.0
            # else few products happen to differ by the same number in every draw, which says nothing of the spread
        found.append((first, second, len(apart), mean, low, high, p))
    adjusted = holm(np.array([row[-1] for row in found]))
    return [
        Gap(first=one, second=two, draws=draws, value=mean, low=low, high=high, p=p, p_holm=float(all_))
        for (one, two, draws, mean, low, high, p), all_ in zip(found, adjusted, strict=True)
    ]


def _spread(apart: np.ndarray, sampling: Sampling, pair: int) -> tuple[float, float]:
    """Return the standard error of a mean difference, and its degrees of freedom."""
    draws, variance = len(apart), float(apart.var(ddof=1)) if np.ptp(apart) > _ROUNDING else 0.0
    if sampling.shared is None:
        return math.sqrt(variance * (1 / draws + sampling.ratio)), draws - 1.0
    training, products = variance / draws, float(sampling.shared[pair])
    if training + products == 0:
        return 0.0, draws - 1.0
    # Welch and Satterthwaite: two variances that are each estimated
    freedom = (training + products) ** 2 / (training**2 / (draws - 1) + products**2 / max(sampling.products - 1, 1))
    return math.sqrt(training + products), freedom


def tiers(means: Sequence[float], gaps: Sequence[Gap], alpha: float = ALPHA) -> list[int]:
    """Sort backends into tiers: those that cannot be told from the best, then from the best of the rest, and so on.

    Parameters
    ----------
    means : sequence of float
        Of each backend.
    gaps : sequence of Gap
        Of all pairs.
    alpha : float
        Level of the tests, after Holm's adjustment for all pairs.

    Returns
    -------
    list of int
        1 for the best tier; 0 for a backend that could not be tested against the best of its tier, or has no mean.
    """
    tested = {(gap.first, gap.second): gap.p_holm for gap in gaps}
    waiting = [row for row in np.argsort(-np.asarray(means), kind="stable").tolist() if not math.isnan(means[row])]
    found = [0] * len(means)
    tier = 0
    while waiting:
        tier += 1
        best, *others = waiting
        found[best], waiting = tier, []
        for row in others:
            p = tested[min(best, row), max(best, row)]
            if p <= alpha:
                waiting.append(row)
            elif not math.isnan(p):
                found[row] = tier
    return found
