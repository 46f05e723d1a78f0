"""Results of a threshold on test, weighted back to the mix of categories of the whole catalogue.

A split need not draw test as the catalogue is mixed: the paper's gives test ten products of every small category and a
tenth of every large one. Each category of test then stands for its share of the catalogue (post-stratification). The
intervals are those of Korn and Graubard (1998): exact (Clopper-Pearson) for the effective number of products.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from shelfbench.base.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Mix:
    """What a threshold reaches on test, at the catalogue's own mix of categories.

    Attributes
    ----------
    precision : float
        Weighted right products over weighted accepted ones.
    precision_low, precision_high : float
        Its interval.
    acceptance : float
        Weighted accepted products over all weighted products.
    acceptance_low, acceptance_high : float
        Its interval.
    small : int
        Categories of at most this many products are called small: the size at which the shares of test and of the
        catalogue differ the most.
    small_of_test, small_of_catalogue : float
        Shares of the products that are in small categories.
    unseen : float
        Share of the catalogue in categories that test lacks; nothing is known about them.
    """

    precision: float
    precision_low: float
    precision_high: float
    acceptance: float
    acceptance_low: float
    acceptance_high: float
    small: int
    small_of_test: float
    small_of_catalogue: float
    unseen: float


def weigh_back(
    truth: np.ndarray, accepted: np.ndarray, correct: np.ndarray, sizes: np.ndarray, level: float = 0.95
) -> Mix | None:
    """Weight the products of test back to the mix of the catalogue.

    Parameters
    ----------
    truth : ndarray of int, shape (n,)
        Codes of the true categories of the test products.
    accepted : ndarray of bool, shape (n,)
        Whether the threshold accepts them.
    correct : ndarray of bool, shape (n,)
        Whether the prediction is right.
    sizes : ndarray of int, shape (categories,)
        Products of every category in the catalogue: all parts of the split together.
    level : float
        Probability that the intervals aim for.

    Returns
    -------
    Mix or None
        None if no product is accepted.

    Raises
    ------
    InputError
        If test has products of a category of which the catalogue has none.
    """
    accepted = np.asarray(accepted, bool)
    if not accepted.any():
        return None
    sizes = np.asarray(sizes, np.float64)
    here = np.bincount(truth, minlength=len(sizes))
    if len(here) > len(sizes) or np.any((here > 0) & (sizes <= 0)):
        raise InputError("test has a category that the catalogue lacks", "count the products of all parts of the split")
    weight = (sizes / np.maximum(here, 1))[truth]
    precision = _weighted(weight[accepted], np.asarray(correct, bool)[accepted], level)
    acceptance = _weighted(weight, accepted, level)
    small, of_test, of_catalogue = _small(here, sizes)
    return Mix(
        precision=precision[0],
        precision_low=precision[1],
        precision_high=precision[2],
        acceptance=acceptance[0],
        acceptance_low=acceptance[1],
        acceptance_high=acceptance[2],
        small=small,
        small_of_test=of_test,
        small_of_catalogue=of_catalogue,
        unseen=float(sizes[here == 0].sum() / sizes.sum()),
    )


def _weighted(weight: np.ndarray, hit: np.ndarray, level: float) -> tuple[float, float, float]:
    """Compute a weighted share and its interval.

    The effective number of products is the one whose binomial variance the weighted share has, but never more than
    Kish's, (sum w)^2 / sum w^2: where no error, or only errors of small weight, are seen, the variance says too little.
    """
    total = weight.sum()
    value = float(weight[hit].sum() / total)
    effective = total**2 / np.square(weight).sum()
    spread = float(np.square(weight * (hit - value)).sum() / total**2)
    if spread > 0:
        effective = min(effective, value * (1 - value) / spread)
    low, high = _fractional(value, float(effective), level)
    return value, min(low, value), max(high, value)


def _fractional(value: float, trials: float, level: float) -> tuple[float, float]:
    """Compute a Clopper-Pearson interval of a share in a number of trials that need not be whole."""
    from scipy.special import betaincinv

    hits, tail = value * trials, (1 - level) / 2
    low = float(betaincinv(hits, trials - hits + 1, tail)) if hits > 0 else 0.0
    high = float(betaincinv(hits + 1, trials - hits, 1 - tail)) if hits < trials else 1.0
    return (0.0 if math.isnan(low) else low), (1.0 if math.isnan(high) else high)


def _small(here: np.ndarray, sizes: np.ndarray) -> tuple[int, float, float]:
    """Find up to which size categories are small, and their shares of test and of the catalogue."""
    order = np.argsort(sizes, kind="stable")
    rising = sizes[order]
    of_test = np.cumsum(here[order]) / here.sum()
    of_catalogue = np.cumsum(rising) / rising.sum()
    last = np.append(rising[1:] != rising[:-1], True)  # categories of one size stay together
    at = np.flatnonzero(last)[np.argmax((of_test - of_catalogue)[last])]
    return int(rising[at]), float(of_test[at]), float(of_catalogue[at])
