"""Where a classifier errs: by department, by pair of categories, and where it is surest of itself (C, §5.4)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from shelfbench.verdict.intervals import exact_interval


@dataclass(frozen=True, eq=False)
class Groups:
    """Products and errors by group of the true category (its department, or itself).

    Attributes
    ----------
    products, errors : ndarray of int64, shape (groups,)
        A rejected product is an error.
    low, high : ndarray of float64, shape (groups,)
        Exact 95% interval of the share that is right.
    """

    products: np.ndarray
    errors: np.ndarray
    low: np.ndarray
    high: np.ndarray

    @property
    def right(self) -> np.ndarray:
        """Share of right products, float64, shape (groups,); NaN where there is no product."""
        return np.where(self.products > 0, (self.products - self.errors) / np.maximum(self.products, 1), np.nan)


@dataclass(frozen=True)
class Confusion:
    """Products of one category put into another.

    Attributes
    ----------
    truth, predicted : int
        Codes of the categories.
    products : int
    """

    truth: int
    predicted: int
    products: int


def by_group(group: np.ndarray, correct: np.ndarray, groups: int) -> Groups:
    """Count products and errors by group.

    Parameters
    ----------
    group : ndarray of int, shape (n,)
    correct : ndarray of bool, shape (n,)
    groups : int
    """
    products = np.bincount(group, minlength=groups)
    right = np.bincount(group[correct], minlength=groups)
    return Groups(products, products - right, *exact_interval(right, products))


def confusions(truth: np.ndarray, predicted: np.ndarray, most: int) -> list[Confusion]:
    """Give the pairs of categories that are confused most often.

    Parameters
    ----------
    truth, predicted : ndarray of int, shape (n,)
        Codes; `predicted` is -1 where rejected, or where no product is of that category: neither confuses a pair.
    most : int
        How many at most; equals in order of their codes.
    """
    wrong = (truth != predicted) & (predicted >= 0)
    pairs, counts = np.unique(np.stack([truth[wrong], predicted[wrong]]), axis=1, return_counts=True)
    first = np.argsort(-counts, kind="stable")[:most]
    return [Confusion(int(pairs[0, pair]), int(pairs[1, pair]), int(counts[pair])) for pair in first]


def surest_errors(
    truth: np.ndarray, predicted: np.ndarray, confidence: np.ndarray, most: int = 24, per_pair: int = 2
) -> np.ndarray:
    """Find the errors made with most confidence (for C, Fig. 6), few of any one pair of categories.

    Parameters
    ----------
    truth, predicted : ndarray of int, shape (n,)
    confidence : ndarray of float64, shape (n,)
        -inf where rejected: no error of this kind.
    most, per_pair : int
        How many in all, and of one true and predicted category.

    Returns
    -------
    ndarray of int64
        Rows, the surest first; equals in order of row.
    """
    wrong = np.flatnonzero((truth != predicted) & (predicted >= 0) & (confidence > -np.inf))
    wrong = wrong[np.argsort(-confidence[wrong], kind="stable")]
    _, pair = np.unique(np.stack([truth[wrong], predicted[wrong]]), axis=1, return_inverse=True)
    pair = pair.ravel()
    # how many of the same pair come before
    grouped = np.argsort(pair, kind="stable")
    starts = np.flatnonzero(np.append(True, np.diff(pair[grouped]) != 0)) if len(pair) else np.array([], np.int64)
    earlier = np.empty(len(pair), np.int64)
    earlier[grouped] = np.arange(len(pair)) - np.repeat(starts, np.diff(np.append(starts, len(pair))))
    return wrong[earlier < per_pair][:most]
