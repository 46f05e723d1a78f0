"""What each *predicted* category is worth: its precision, and what cumulating the best ones brings (C, Fig. 7)."""

from __future__ import annotations

import numpy as np

from bench.verdict.intervals import exact_interval
from bench.verdict.metrics import Target, exact_target


def weak_categories(
    confidence: np.ndarray,
    predicted: np.ndarray,
    correct: np.ndarray,
    threshold: float,
    target: Target = "0.9",
    level: float = 0.95,
) -> np.ndarray:
    """Predicted categories that are surely less precise than required, to be switched off.

    Parameters
    ----------
    confidence : ndarray of float64, shape (n,)
        Of the products of `tune`; -inf for rejected ones.
    predicted : ndarray of int or str, shape (n,)
        Category given to each: its code, or its key.
    correct : ndarray of bool, shape (n,)
    threshold : float
        Products are accepted where confidence >= threshold.
    target : float, str or Fraction
        Required precision.
    level : float
        The upper bound is exact and one-sided at this level. It is a bound for each category by itself: of those
        that are just precise enough, about ``1 - level`` are named as well.

    Returns
    -------
    ndarray
        Sorted values of `predicted` whose precision among accepted products has an upper bound below the target.
    """
    taken = (np.asarray(confidence) >= threshold) & (np.asarray(confidence) > -np.inf)
    names, codes = np.unique(np.asarray(predicted)[taken], return_inverse=True)
    total = np.bincount(codes, minlength=len(names))
    hits = np.bincount(codes, weights=np.asarray(correct, dtype=bool)[taken], minlength=len(names)).astype(np.int64)
    # the upper end of a two-sided interval at 2 level - 1 is the one-sided bound at `level`
    upper = exact_interval(hits, total, 2 * level - 1)[1]
    return names[upper < float(exact_target(target))]
