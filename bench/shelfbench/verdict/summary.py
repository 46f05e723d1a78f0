"""What is printed about one backend on one split: all metrics together, and precision by size of category."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from shelfbench.verdict.metrics import (
    Acceptance,
    Target,
    accept_on_curve,
    acceptance_curve,
    balanced_accuracy,
    oracle_bound,
    precision,
    top_k,
)


@dataclass(frozen=True, kw_only=True)
class Decile:
    """Precision over a tenth of the categories, which are similar in size.

    Attributes
    ----------
    decile : int
        1 for the smallest categories, 10 for the largest.
    categories : int
        Categories in it.
    smallest : int
        Products of its smallest category in train.
    largest : int
        Products of its largest category in train.
    rows : int
        Evaluated rows whose true category is in it.
    correct : int
        How many of them are right.
    """

    decile: int
    categories: int
    smallest: int
    largest: int
    rows: int
    correct: int

    @property
    def precision(self) -> float:
        """Share of right rows; NaN if the decile has no rows."""
        return self.correct / self.rows if self.rows else float("nan")


@dataclass(frozen=True, kw_only=True)
class Summary:
    """All metrics of one backend on one split.

    Attributes
    ----------
    total : int
        All rows.
    rejected : int
        Rows that no classifier saw.
    correct : int
        Rows that are right.
    precision : float
        Share of all rows that are right.
    balanced_accuracy : float
        Mean recall of the categories.
    top_5 : float
        Share of all rows whose true category is among the five best.
    acceptances : tuple of Acceptance
        One per target.
    oracle_bounds : tuple of float
        Eq. 5 read literally, one per target.
    """

    total: int
    rejected: int
    correct: int
    precision: float
    balanced_accuracy: float
    top_5: float
    acceptances: tuple[Acceptance, ...]
    oracle_bounds: tuple[float, ...]


def precision_by_decile(truth: np.ndarray, correct: np.ndarray, sizes: np.ndarray) -> list[Decile]:
    """Compute the precision by decile of the category's size in train.

    Categories are ordered by size (then by code) and cut into ten groups of as equal size as possible; with fewer than
    ten categories there are fewer groups.

    Parameters
    ----------
    truth : ndarray of int, shape (n,)
        Codes of the true categories.
    correct : ndarray of bool, shape (n,)
        Whether the prediction is right.
    sizes : ndarray of int, shape (categories,)
        Products of every category in train; 0 for one that is not in train.

    Returns
    -------
    list of Decile
        The smallest categories first.
    """
    rows = np.bincount(truth, minlength=len(sizes))
    right = np.bincount(truth, weights=correct, minlength=len(sizes)).astype(np.int64)
    groups = np.array_split(np.argsort(sizes, kind="stable"), min(10, max(len(sizes), 1)))
    return [
        Decile(
            decile=number,
            categories=len(group),
            smallest=int(sizes[group].min()),
            largest=int(sizes[group].max()),
            rows=int(rows[group].sum()),
            correct=int(right[group].sum()),
        )
        for number, group in enumerate(groups, start=1)
        if len(group)
    ]


def summarise(
    confidence: np.ndarray,
    truth: np.ndarray,
    predicted: np.ndarray,
    rank: np.ndarray,
    *,
    targets: Sequence[Target] = ("0.9",),
    total: int | None = None,
) -> Summary:
    """Compute all metrics of one backend on one split, per product or per image.

    Parameters
    ----------
    confidence : ndarray of float64, shape (n,)
        -inf for rejected rows.
    truth : ndarray of int, shape (n,)
        Codes of the true categories.
    predicted : ndarray of int, shape (n,)
        Codes of the predicted categories; -1 where rejected.
    rank : ndarray of int, shape (n,)
        Place of the true category, as for `top_k`.
    targets : sequence of float, str or Fraction
        Required precisions.
    total : int, optional
        Number of all rows, if unreadable ones are not among the `n`; `n` by default.

    Returns
    -------
    Summary
        All metrics.
    """
    seen = np.asarray(confidence) > -np.inf
    right = (truth == predicted) & seen
    curve = acceptance_curve(confidence, right, total)
    hits = int(np.count_nonzero(right))
    return Summary(
        total=curve.total,
        rejected=curve.total - int(np.count_nonzero(seen)),
        correct=hits,
        precision=precision(right, total),
        top_5=top_k(np.where(seen, rank, -1), 5, total),
        balanced_accuracy=balanced_accuracy(truth, np.where(right, truth, -1)),
        acceptances=tuple(accept_on_curve(curve, target) for target in targets),
        oracle_bounds=tuple(oracle_bound(hits, curve.total, target) for target in targets),
    )
