"""Where a classifier errs: by department, by pair of categories, and where it is surest of itself (C, §5.4)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from shelfbench.verdict.intervals import exact_interval


@dataclass(frozen=True, eq=False)
class Groups:
    """Products and errors by group of the true category (its department, or the category itself).

    Attributes
    ----------
    products : ndarray of int64, shape (groups,)
        Products of each group.
    errors : ndarray of int64, shape (groups,)
        How many of them are wrong; a rejected product is an error.
    low : ndarray of float64, shape (groups,)
        Lower end of the exact 95% interval of the share that is right.
    high : ndarray of float64, shape (groups,)
        Its upper end.
    """

    products: np.ndarray
    errors: np.ndarray
    low: np.ndarray
    high: np.ndarray

    @property
    def right(self) -> np.ndarray:
        """Share of right products, float64, shape (groups,); NaN if there are no products."""
        return np.where(self.products > 0, (self.products - self.errors) / np.maximum(self.products, 1), np.nan)


@dataclass(frozen=True)
class Confusion:
    """Products of one category that were given another.

    Attributes
    ----------
    truth : int
        Code of the true category.
    predicted : int
        Code of the predicted category.
    products : int
        How many products.
    """

    truth: int
    predicted: int
    products: int


def by_group(group: np.ndarray, correct: np.ndarray, groups: int) -> Groups:
    """Count products and errors by group.

    Parameters
    ----------
    group : ndarray of int, shape (n,)
        Group of each product, from 0.
    correct : ndarray of bool, shape (n,)
        Whether the prediction is right.
    groups : int
        Number of groups.

    Returns
    -------
    Groups
        The counts, with exact intervals.
    """
    products = np.bincount(group, minlength=groups)
    right = np.bincount(group[correct], minlength=groups)
    return Groups(products, products - right, *exact_interval(right, products))


def confusions(truth: np.ndarray, predicted: np.ndarray, most: int) -> list[Confusion]:
    """Find the pairs of categories that are confused most often.

    Parameters
    ----------
    truth : ndarray of int, shape (n,)
        Codes of the true categories.
    predicted : ndarray of int, shape (n,)
        Codes of the predicted ones; -1 if the product was rejected or no product has that category; neither counts as a
        confusion.
    most : int
        Maximum number of pairs.

    Returns
    -------
    list of Confusion
        The most frequent first; ties in order of their codes.
    """
    wrong = (truth != predicted) & (predicted >= 0)
    pairs, counts = np.unique(np.stack([truth[wrong], predicted[wrong]]), axis=1, return_counts=True)
    first = np.argsort(-counts, kind="stable")[:most]
    return [Confusion(int(pairs[0, pair]), int(pairs[1, pair]), int(counts[pair])) for pair in first]


def surest_errors(
    truth: np.ndarray, predicted: np.ndarray, confidence: np.ndarray, most: int = 24, per_pair: int = 2
) -> np.ndarray:
    """Find the most confident errors (C, Fig. 6), only a few for any one pair of categories.

    Parameters
    ----------
    truth : ndarray of int, shape (n,)
        Codes of the true categories.
    predicted : ndarray of int, shape (n,)
        Codes of the predicted ones; -1 as for `confusions`.
    confidence : ndarray of float64, shape (n,)
        -inf where rejected, which is not an error of this kind.
    most : int
        Maximum number of errors.
    per_pair : int
        Maximum number for one true and one predicted category.

    Returns
    -------
    ndarray of int64
        Rows, the surest first; ties in order of the row.
    """
    wrong = np.flatnonzero((truth != predicted) & (predicted >= 0) & (confidence > -np.inf))
    wrong = wrong[np.argsort(-confidence[wrong], kind="stable")]
    _, pair = np.unique(np.stack([truth[wrong], predicted[wrong]]), axis=1, return_inverse=True)
    pair = pair.ravel()
    # how many errors of the same pair come before
    grouped = np.argsort(pair, kind="stable")
    starts = np.flatnonzero(np.append(True, np.diff(pair[grouped]) != 0)) if len(pair) else np.array([], np.int64)
    earlier = np.empty(len(pair), np.int64)
    earlier[grouped] = np.arange(len(pair)) - np.repeat(starts, np.diff(np.append(starts, len(pair))))
    return wrong[earlier < per_pair][:most]
