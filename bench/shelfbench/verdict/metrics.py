"""Precision, acceptance and related numbers, on plain arrays (C, §5.1, Eq. 4 and 5).

A row of an array is a product, or an image if numbers are per image. A row that was rejected before any
classifier saw it has the confidence -inf: it can never be accepted, and it counts in every denominator.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from shelfbench.base.errors import InputError

Target = float | str | Fraction

REQUIRED = "0.9"
"""The precision that production needs (C, §5.1); tables show the acceptance at this precision."""

# k * q and p * m are compared in int64: denominators up to here leave room for 9e9 rows.
_LARGEST_DENOMINATOR = 10**9


@dataclass(frozen=True, kw_only=True)
class Acceptance:
    """The largest share that can be accepted without a person at a required precision.

    Attributes
    ----------
    acceptance : float
        Accepted rows over all rows, rejected ones included.
    threshold : float
        Accept where confidence >= threshold; +inf where nothing can be accepted.
    accepted : int
        Rows that are accepted.
    correct : int
        How many of them are right.
    target : Fraction
        The required precision.
    """

    acceptance: float
    threshold: float
    accepted: int
    correct: int
    target: Fraction


@dataclass(frozen=True, eq=False)
class AcceptanceCurve:
    """Every possible cut, from the strictest to the loosest.

    Attributes
    ----------
    threshold : ndarray of float64, shape (cuts,)
        Confidence of the last group accepted, descending.
    accepted : ndarray of int64, shape (cuts,)
        Rows accepted at that cut.
    correct : ndarray of int64, shape (cuts,)
        How many of them are right.
    total : int
        All rows, rejected ones included.
    """

    threshold: np.ndarray
    accepted: np.ndarray
    correct: np.ndarray
    total: int

    @property
    def precision(self) -> np.ndarray:
        """Precision at every cut, float64, shape (cuts,)."""
        found: np.ndarray = self.correct / self.accepted
        return found

    def frontier(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the acceptance as a function of the required precision (the axes of C, Fig. 5).

        Returns
        -------
        precision : ndarray of float64
            Ascending corners of the falling staircase ``acceptance(p) = max m / N with precision(m) >= p``.
        acceptance : ndarray of float64
            The acceptance at each of them.
        """
        precision = self.precision[::-1]
        best_before = np.concatenate([[-np.inf], np.maximum.accumulate(precision)[:-1]])
        kept = np.flatnonzero(precision > best_before)
        return precision[kept], self.accepted[::-1][kept] / max(self.total, 1)


def exact_target(target: Target) -> Fraction:
    """Read a required precision as the fraction it is written as (0.9 is 9/10).

    Parameters
    ----------
    target : float, str or Fraction
        The precision.

    Returns
    -------
    Fraction
        Exactly that.

    Raises
    ------
    InputError
        If it is not a number, is not between 0 and 1, or has more than nine decimals.
    """
    try:
        value = target if isinstance(target, Fraction) else Fraction(str(target))
    except (ValueError, ZeroDivisionError) as error:
        raise InputError(f"target precision {target!r} is not a number", "write for example 0.9") from error
    if not 0 <= value <= 1:
        raise InputError(f"target precision {target} is not between 0 and 1", "write for example 0.9")
    if value.denominator > _LARGEST_DENOMINATOR:
        raise InputError(f"target precision {target} has too many decimals", "give at most nine")
    return value


def precision(correct: np.ndarray, total: int | None = None) -> float:
    """Compute the share of right rows (Eq. 4).

    Parameters
    ----------
    correct : ndarray of bool, shape (n,)
        Whether the prediction is right.
    total : int, optional
        Number of all rows, if the rejected ones are not among the `n`; `n` by default.

    Returns
    -------
    float
        From 0 to 1.

    Raises
    ------
    InputError
        If there is no row, or `total` is smaller than `n`.
    """
    return int(np.count_nonzero(correct)) / _checked_total(len(correct), total)


def balanced_accuracy(truth: np.ndarray, predicted: np.ndarray) -> float:
    """Compute the mean recall over the categories that occur in `truth`.

    Parameters
    ----------
    truth : ndarray of int or str, shape (n,)
        True categories.
    predicted : ndarray of int or str, shape (n,)
        Predicted categories.

    Returns
    -------
    float
        From 0 to 1.
    """
    _checked_total(len(truth), None)
    _, codes = np.unique(truth, return_inverse=True)
    sizes = np.bincount(codes)
    return float(np.mean(np.bincount(codes, weights=truth == predicted) / sizes))


def top_k(rank: np.ndarray, k: int, total: int | None = None) -> float:
    """Compute the share of rows whose true category is among the `k` best.

    Parameters
    ----------
    rank : ndarray of int, shape (n,)
        Place of the true category in the ranking: 0 for the best, -1 where it is not in the ranking.
    k : int
        How many places count.
    total : int, optional
        Number of all rows, if the rejected ones are not among the `n`; `n` by default.

    Returns
    -------
    float
        From 0 to 1.
    """
    return int(np.count_nonzero((rank >= 0) & (rank < k))) / _checked_total(len(rank), total)


def acceptance_curve(confidence: np.ndarray, correct: np.ndarray, total: int | None = None) -> AcceptanceCurve:
    """Find all cuts by confidence; rows of equal confidence are accepted together or not at all.

    Parameters
    ----------
    confidence : ndarray of float64, shape (n,)
        The larger, the surer; -inf for rejected rows, which no cut accepts.
    correct : ndarray of bool, shape (n,)
        Whether the prediction is right.
    total : int, optional
        Number of all rows, if the rejected ones are not among the `n`; `n` by default.

    Returns
    -------
    AcceptanceCurve
        The cuts, from strict to loose.

    Raises
    ------
    InputError
        If a confidence is NaN, the shapes differ, or there is no row.
    """
    confidence = np.asarray(confidence, dtype=np.float64)
    correct = np.asarray(correct, dtype=bool)
    if confidence.shape != correct.shape or confidence.ndim != 1:
        raise InputError(
            f"confidence has shape {confidence.shape} and correct {correct.shape}", "give one value per row in each"
        )
    rows = _checked_total(len(confidence), total)
    if np.isnan(confidence).any():
        raise InputError(
            f"the confidence of row {int(np.isnan(confidence).argmax())} is NaN",
            "a rejected row has the confidence -inf",
        )
    seen = confidence > -np.inf
    order = np.argsort(-confidence[seen])  # rows of equal confidence in any order: no cut falls between them
    ordered = confidence[seen][order]
    right = np.cumsum(correct[seen][order], dtype=np.int64)
    last = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], np.ones(min(len(ordered), 1), dtype=bool)))
    return AcceptanceCurve(ordered[last], last + 1, right[last], rows)


def acceptance(
    confidence: np.ndarray, correct: np.ndarray, target: Target = "0.9", total: int | None = None
) -> Acceptance:
    """Find the largest share that a threshold can accept at a required precision (Eq. 5, by thresholding).

    The precision test is exact, in integers: k right of m accepted rows meet p/q where ``k q >= p m``.

    Parameters
    ----------
    confidence : ndarray of float64, shape (n,)
        The larger, the surer; -inf for rejected rows, which no cut accepts.
    correct : ndarray of bool, shape (n,)
        Whether the prediction is right.
    target : float, str or Fraction
        Required precision.
    total : int, optional
        Number of all rows, if the rejected ones are not among the `n`; `n` by default.

    Returns
    -------
    Acceptance
        At the loosest feasible threshold; with an acceptance of 0 where there is none.
    """
    return accept_on_curve(acceptance_curve(confidence, correct, total), target)


def accept_on_curve(curve: AcceptanceCurve, target: Target) -> Acceptance:
    """Find the loosest feasible cut of a curve.

    Parameters
    ----------
    curve : AcceptanceCurve
        All cuts.
    target : float, str or Fraction
        Required precision.

    Returns
    -------
    Acceptance
        As returned by `acceptance`.
    """
    wanted = exact_target(target)
    feasible = np.flatnonzero(curve.correct * wanted.denominator >= curve.accepted * wanted.numerator)
    if not len(feasible):
        return Acceptance(acceptance=0.0, threshold=float("inf"), accepted=0, correct=0, target=wanted)
    cut = feasible[-1]
    accepted = int(curve.accepted[cut])
    return Acceptance(
        acceptance=accepted / curve.total,
        threshold=float(curve.threshold[cut]),
        accepted=accepted,
        correct=int(curve.correct[cut]),
        target=wanted,
    )


def oracle_bound(correct: int, total: int, target: Target = "0.9") -> float:
    """Compute Eq. 5 read literally: the size of the largest subset of any kind that is precise enough.

    It contains all the right products and as many wrong ones as the target allows. No threshold can exceed it.

    Parameters
    ----------
    correct : int
        Right products.
    total : int
        All products.
    target : float, str or Fraction
        Required precision.

    Returns
    -------
    float
        As a share of all products.
    """
    wanted = exact_target(target)
    if wanted == 0:
        return 1.0
    forgiven = correct * (wanted.denominator - wanted.numerator) // wanted.numerator
    return min(1.0, (correct + forgiven) / _checked_total(0, total))


def _checked_total(rows: int, total: int | None) -> int:
    count = rows if total is None else total
    if count < max(rows, 1):
        raise InputError(
            f"{rows} rows of a total of {count}" if rows else "no rows to evaluate",
            "the total counts every row, rejected ones included",
        )
    return count
