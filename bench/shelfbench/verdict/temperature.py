"""A temperature for log-probabilities, and how far confidence is from the truth (Guo et al., 2017).

A temperature T turns log-probabilities z into log-softmax(z / T): above 1 it makes a classifier less sure, below 1
surer. It keeps the order of the categories, and so never changes a prediction.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

BOUNDS = (1e-2, 1e2)
BINS = 15
# Elements of one block of rows: 16 MiB, and a few times that with the intermediate arrays.
_BLOCK = 1 << 21


def row_blocks(shape: tuple[int, ...]) -> Iterator[slice]:
    """Cut the rows of a matrix into blocks of bounded size.

    Parameters
    ----------
    shape : tuple of int
        Rows and columns.

    Yields
    ------
    slice
        Rows of the next block.
    """
    step = max(1, _BLOCK // max(shape[1], 1))
    for start in range(0, shape[0], step):
        yield slice(start, min(start + step, shape[0]))


def fit_temperature(scores: np.ndarray, labels: np.ndarray) -> float:
    """Find the T that makes the true categories most likely under log-softmax(scores / T).

    Parameters
    ----------
    scores : ndarray of float64, shape (n, classes)
        Log-probabilities of products; -inf is allowed.
    labels : ndarray of int, shape (n,)
        Code of the true category. Rows of -1 (a category unknown to training) are skipped, and so are those whose
        true category has probability 0, which no temperature can change.

    Returns
    -------
    float
        From 0.01 to 100; 1 where no row is left or there is only one category.

    Notes
    -----
    The mean negative log-likelihood is convex in 1 / T.
    """
    from scipy.optimize import minimize_scalar

    known = np.flatnonzero(labels >= 0)
    own = scores[known, labels[known]]
    rows, own = known[own > -np.inf], own[own > -np.inf]
    if not len(rows) or scores.shape[1] == 1:
        return 1.0
    # nothing is copied if all rows count
    kept = scores if len(rows) == len(scores) else scores[rows]

    def loss(log_scale: float) -> float:
        scale = math.exp(log_scale)
        total = 0.0
        for part in row_blocks(kept.shape):
            total += float((_log_sum(kept[part], scale) - scale * own[part]).sum())
        return total / len(rows)

    low, high = (math.log(value) for value in BOUNDS)
    return math.exp(-float(minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-4}).x))


def _log_sum(scores: np.ndarray, scale: float) -> np.ndarray:
    """Compute the logarithm of the sum of exp(scale * scores) of each row."""
    values = scale * scores
    top = values.max(axis=1, keepdims=True)
    values -= top
    np.exp(values, out=values)
    found: np.ndarray = np.log(values.sum(axis=1)) + top[:, 0]
    return found


def log_normaliser(scores: np.ndarray, temperature: float) -> np.ndarray:
    """Compute what to subtract from each row of ``scores / temperature`` to obtain log-probabilities.

    Parameters
    ----------
    scores : ndarray of float64, shape (n, classes)
        Log-probabilities, or any other logarithms of positive weights.
    temperature : float
        What to divide them by.

    Returns
    -------
    ndarray of float64, shape (n,)
        The logarithm of the sum of exp(scores / temperature).
    """
    result = np.empty(len(scores))
    for part in row_blocks(scores.shape):
        result[part] = _log_sum(scores[part], 1 / temperature)
    return result


def entropy(scores: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Compute the entropy of log-softmax(scores / temperature).

    Parameters
    ----------
    scores : ndarray of float64, shape (n, classes)
        Log-probabilities; -inf is allowed.
    temperature : float
        What to divide them by.

    Returns
    -------
    ndarray of float64, shape (n,)
        In nats, at least 0.
    """
    result = np.empty(len(scores))
    for part in row_blocks(scores.shape):
        values = scores[part] / temperature
        values -= _log_sum(values, 1.0)[:, None]
        # p log p is 0 where p is; a finite bound avoids 0 times infinity
        result[part] = -(np.exp(values) * np.maximum(values, -1e4)).sum(axis=1)
    return np.maximum(result, 0.0)


@dataclass(frozen=True, eq=False)
class Reliability:
    """How often products of similar confidence are right.

    Attributes
    ----------
    confidence : ndarray of float64, shape (bins,)
        Mean probability claimed for the products of each bin.
    precision : ndarray of float64, shape (bins,)
        Share of them that are right.
    count : ndarray of int64, shape (bins,)
        How many there are.
    """

    confidence: np.ndarray
    precision: np.ndarray
    count: np.ndarray

    @property
    def error(self) -> float:
        """Expected calibration error: the mean distance between claim and truth over the products; NaN without any."""
        if not self.count.sum():
            return float("nan")
        return float(np.average(np.abs(self.confidence - self.precision), weights=self.count))


def reliability(confidence: np.ndarray, correct: np.ndarray, bins: int = BINS) -> Reliability:
    """Compare claimed and true precision in bins of equal mass.

    Parameters
    ----------
    confidence : ndarray of float64, shape (n,)
        Log-probabilities; rows of -inf (rejected products, for which nothing is claimed) are skipped.
    correct : ndarray of bool, shape (n,)
        Whether the prediction is right.
    bins : int
        Number of bins, cut at the quantiles j / bins. Equal confidences stay together, so there may be fewer.

    Returns
    -------
    Reliability
        One entry per bin, the least confident first.
    """
    seen = confidence > -np.inf
    values, right = confidence[seen], correct[seen]
    if not len(values):
        return Reliability(np.empty(0), np.empty(0), np.empty(0, np.int64))
    last = -(-np.arange(1, bins + 1) * len(values) // bins) - 1
    edges = np.unique(np.sort(values)[last])
    code = np.searchsorted(edges, values, side="left")
    count = np.bincount(code, minlength=len(edges))
    return Reliability(
        np.bincount(code, weights=np.exp(values), minlength=len(edges)) / count,
        np.bincount(code, weights=right, minlength=len(edges)) / count,
        count,
    )
