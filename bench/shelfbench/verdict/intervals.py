"""Intervals: by bootstrap over products, setting the threshold again on every resample; exact ones for shares."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from shelfbench.verdict.metrics import Target
from shelfbench.verdict.resampling import replicates_alone


@dataclass(frozen=True)
class Interval:
    """A percentile interval.

    Attributes
    ----------
    low : float
        Its lower end.
    high : float
        Its upper end.
    """

    low: float
    high: float


@dataclass(frozen=True)
class Intervals:
    """The intervals of one backend on one split.

    Attributes
    ----------
    precision : Interval
        Of the precision over all products.
    acceptance : Interval
        Of the acceptance at the required precision.
    """

    precision: Interval
    acceptance: Interval


def bootstrap_intervals(
    confidence: np.ndarray,
    correct: np.ndarray,
    target: Target = "0.9",
    *,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Intervals:
    """Resample the products with replacement and take percentiles.

    Parameters
    ----------
    confidence : ndarray of float64, shape (n,)
        One value per product; -inf for rejected ones.
    correct : ndarray of bool, shape (n,)
        Whether the prediction is right.
    target : float, str or Fraction
        Required precision.
    resamples : int
        How many resamples to draw.
    level : float
        Share of the resamples between the two ends.
    seed : int
        The same seed and products give the same intervals, whatever the order of the rows.

    Returns
    -------
    Intervals
        Percentile intervals of precision and acceptance.

    Raises
    ------
    InputError
        If there is no row or a confidence is NaN.
    """
    confidence = np.asarray(confidence, dtype=np.float64)
    correct = np.asarray(correct, dtype=bool)
    order = np.lexsort((correct, -confidence))
    found = replicates_alone(confidence[order], correct[order], target, resamples=resamples, seed=seed)
    precisions, acceptances = found.precision[0], found.acceptance[0]
    tails = [(1 - level) / 2, (1 + level) / 2]
    return Intervals(
        Interval(*(float(end) for end in np.quantile(precisions, tails))),
        Interval(*(float(end) for end in np.quantile(acceptances, tails))),
    )


def exact_interval(
    hits: np.ndarray | int, total: np.ndarray | int, level: float = 0.95
) -> tuple[np.ndarray, np.ndarray]:
    """Compute exact (Clopper-Pearson) two-sided intervals of shares, all at once.

    Parameters
    ----------
    hits : ndarray of int, or int
        Successes.
    total : ndarray of int, or int
        Trials, in the same shape; where there is none, the interval is 0 to 1.
    level : float
        Least probability that an interval covers the true share.

    Returns
    -------
    low : ndarray of float64
        Lower ends, in the same shape.
    high : ndarray of float64
        Upper ends, in the same shape.
    """
    from scipy.special import betaincinv

    hits, total = np.asarray(hits), np.asarray(total)
    tail = (1 - level) / 2
    low = np.where(hits > 0, betaincinv(np.maximum(hits, 1), total - hits + 1, tail), 0.0)
    high = np.where(hits < total, betaincinv(hits + 1, np.maximum(total - hits, 1), 1 - tail), 1.0)
    return low, high
