"""Intervals: bootstrap by product, the threshold chosen anew in every replicate; exact ones of a share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bench.errors import InputError
from bench.verdict.metrics import Target, exact_target

# Elements of one block of replicates: about 100 MiB with all intermediate arrays.
_BLOCK = 1 << 21


@dataclass(frozen=True)
class Interval:
    """A percentile interval."""

    low: float
    high: float


@dataclass(frozen=True)
class Intervals:
    """Intervals of precision and of acceptance at one target."""

    precision: Interval
    acceptance: Interval


def clopper_pearson(hits: int, total: int, level: float = 0.95) -> tuple[float, float]:
    """Exact (Clopper-Pearson) interval of a share.

    Parameters
    ----------
    hits, total : int
        0 to 1 where `total` is 0: nothing is known.
    level : float
        Least probability of covering the true share.
    """
    from scipy.special import betaincinv

    tail = (1 - level) / 2
    low = float(betaincinv(hits, total - hits + 1, tail)) if hits else 0.0
    high = float(betaincinv(hits + 1, total - hits, 1 - tail)) if hits < total else 1.0
    return low, high


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
        One row for every product; -inf for rejected ones.
    correct : ndarray of bool, shape (n,)
    target : float, str or Fraction
        Required precision.
    resamples : int
        Replicates.
    level : float
        Mass between the two ends.
    seed : int
        The same seed and products give the same intervals, in whatever order the rows stand.

    Raises
    ------
    InputError
        If there is no row or a confidence is NaN.

    Notes
    -----
    The rows are sorted once. A replicate is then a vector of multinomial weights on the sorted rows, and two
    cumulative sums give accepted and correct at every cut. A row drawn 0 times adds no cut of its own.
    """
    confidence = np.asarray(confidence, dtype=np.float64)
    correct = np.asarray(correct, dtype=bool)
    if not len(confidence) or np.isnan(confidence).any():
        raise InputError(
            "no rows to resample" if not len(confidence) else "a confidence is NaN",
            "a rejected row has the confidence -inf",
        )
    wanted = exact_target(target)
    rows = len(confidence)
    order = np.lexsort((correct, -confidence))
    ordered, right = confidence[order], (correct & (confidence > -np.inf))[order]
    ends = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True) & (ordered > -np.inf))
    rng = np.random.default_rng(seed)
    precisions, acceptances = np.empty(resamples), np.empty(resamples)
    # int32 halves the traffic, where the exact products k q and p m fit
    kind = np.dtype(np.int32 if rows * wanted.denominator < 2**31 else np.int64)
    per_block = max(1, _BLOCK // rows)
    for start in range(0, resamples, per_block):
        count = min(per_block, resamples - start)
        drawn = rng.integers(0, rows, size=(count, rows))
        drawn += np.arange(count)[:, None] * rows
        weights = np.bincount(drawn.ravel(), minlength=count * rows).astype(kind).reshape(count, rows)
        accepted: np.ndarray = np.cumsum(weights, axis=1, dtype=kind)[:, ends]
        hits: np.ndarray = np.cumsum(weights * right, axis=1, dtype=kind)
        precisions[start : start + count] = hits[:, -1] / rows
        feasible = hits[:, ends] * wanted.denominator >= accepted * wanted.numerator
        acceptances[start : start + count] = np.max(accepted, axis=1, where=feasible, initial=0) / rows
    tails = [(1 - level) / 2, (1 + level) / 2]
    return Intervals(
        Interval(*(float(end) for end in np.quantile(precisions, tails))),
        Interval(*(float(end) for end in np.quantile(acceptances, tails))),
    )


def exact_interval(hits: np.ndarray, total: np.ndarray, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """Exact (Clopper-Pearson) two-sided intervals of shares, all at once.

    Parameters
    ----------
    hits, total : ndarray of int, same shape
        `hits` of `total`; of nothing at all the interval is 0 to 1.
    level : float
        Least probability that an interval holds the true share.

    Returns
    -------
    low, high : ndarray of float64, same shape
    """
    from scipy.stats import beta

    hits, total = np.asarray(hits), np.asarray(total)
    tail = (1 - level) / 2
    low = np.where(hits > 0, beta.ppf(tail, np.maximum(hits, 1), total - hits + 1), 0.0)
    high = np.where(hits < total, beta.ppf(1 - tail, hits + 1, np.maximum(total - hits, 1)), 1.0)
    return low, high
