"""Where a certifying walk begins, chosen on `tune` (docs/papers.md, "Certifying a threshold").

A walk tests thresholds in a fixed order, here from some first one to ever looser ones, and ends at the first that
fails. Any first threshold is valid that is chosen without the products that certify (fixed-sequence testing:
Maurer, Hothorn and Lehmacher 1995; Angelopoulos et al., "Learn then test", 2021). A strict one has seen few products,
so that one error ends the walk; a loose one may lie beyond what keeps the precision. We begin where, by what `tune`
shows, the walk will accept the most on average. The rule was settled on simulated catalogues
(tests/simulations/walks.py, results/decisions/walk.csv).
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from shelfbench.base.errors import InputError

TUNED, FIRST = "tuned", "first"
WALKS = (TUNED, FIRST)
# Products at exactly the required precision that join those of tune at every threshold: few right ones are no proof.
_BORROWED = 10
# The number of accepted products will differ from the expected one: three cases, in standard deviations.
_SPREAD = (-1.2, 0.0, 1.2)
# The normal approximation is this close to the largest number of errors that passes, or a wider search follows.
_BRACKET = 6


@dataclass(frozen=True, eq=False)
class Tuned:
    """What `tune` shows at every threshold of a grid.

    Attributes
    ----------
    accepted : ndarray of int64, shape (thresholds,)
        Products of `tune` that a threshold accepts; the thresholds go from strict to loose.
    right : ndarray of int64, shape (thresholds,)
        How many of them are right.
    total : int
        Products of `tune`.
    """

    accepted: np.ndarray
    right: np.ndarray
    total: int

    @classmethod
    def of(cls, confidence: np.ndarray, correct: np.ndarray, grid: np.ndarray) -> Tuned:
        """Count the products of `tune`.

        Parameters
        ----------
        confidence : ndarray of float64, shape (n,)
            Of the products of `tune`; -inf for rejected ones.
        correct : ndarray of bool, shape (n,)
        grid : ndarray of float64
            Decreasing thresholds.

        Returns
        -------
        Tuned

        Raises
        ------
        InputError
            If the shapes differ.
        """
        confidence, correct = np.asarray(confidence, np.float64), np.asarray(correct, bool)
        if confidence.shape != correct.shape:
            raise InputError(
                f"confidence has shape {confidence.shape} and correct {correct.shape}",
                "give one value per product in each",
            )
        return cls(*counts_at(confidence, correct, grid), len(confidence))

    def power(self, products: int, target: Fraction, level: float) -> np.ndarray:
        """Estimate the probability with which each threshold passes the test by itself.

        Parameters
        ----------
        products : int
            Products that will certify.
        target : Fraction
            Required precision.
        level : float
            Probability with which a threshold keeps it.

        Returns
        -------
        ndarray of float64, shape (thresholds,)
        """
        from scipy.special import betainc

        chance = float(1 - target)
        rate = (self.accepted - self.right + _BORROWED * chance) / (self.accepted + _BORROWED)
        share = self.accepted / self.total
        deviation = np.sqrt(products * share * (1 - share))
        count = np.clip(np.round(products * share + np.array(_SPREAD)[:, None] * deviation), 0, products)
        most = most_errors(count, chance, 1 - level)
        passes = 1 - betainc(np.maximum(most, 0) + 1, np.maximum(count - most, 1), rate)
        found: np.ndarray = np.where(most >= 0, passes, 0.0).mean(axis=0)
        return found

    def first(self, products: int, target: Fraction, level: float) -> int:
        """Choose the threshold at which the walk begins.

        The expected acceptance of a walk from a threshold, where tests of neighbouring thresholds pass and fail
        together: it comes as far as the weakest threshold on the way passes. The largest wins, of equal ones the
        loosest.

        Parameters
        ----------
        products : int
        target : Fraction
        level : float
            As in `power`.

        Returns
        -------
        int
            Its position in the grid; 0 for an empty grid.
        """
        if not len(self.accepted):
            return 0
        power, share = self.power(products, target, level), self.accepted / self.total
        steps = np.triu(np.broadcast_to(power, (len(power), len(power))))
        reached = np.minimum.accumulate(np.where(np.tri(len(power), k=-1, dtype=bool), 1.0, steps), axis=1)
        gained = np.triu(np.broadcast_to(np.diff(share, prepend=0.0), steps.shape), k=1)
        expected = share * power + (gained * reached).sum(axis=1)
        # a hair, so that rounding does not decide
        return int(np.flatnonzero(expected >= expected.max() - 1e-9)[-1])


def counts_at(confidence: np.ndarray, correct: np.ndarray, grid: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Count the accepted and the right products at every threshold of a grid.

    Parameters
    ----------
    confidence : ndarray of float64, shape (n,)
    correct : ndarray of bool, shape (n,)
    grid : ndarray of float64, shape (thresholds,)

    Returns
    -------
    accepted, right : ndarray of int64, shape (thresholds,)
    """
    order = np.argsort(confidence, kind="stable")
    rising = confidence[order]
    first = np.searchsorted(rising, grid, side="left")
    right = np.append(0, np.cumsum(correct[order], dtype=np.int64))
    return len(rising) - first, right[-1] - right[first]


def binomial_tail(errors: np.ndarray | int, count: np.ndarray | float, rate: float) -> np.ndarray:
    """Compute the exact probability of at most `errors` errors among `count` products.

    Parameters
    ----------
    errors : ndarray of int, or int
        Errors.
    count : ndarray or float
        Products, in the same shape.
    rate : float
        Probability that a product is wrong.

    Returns
    -------
    ndarray of float64
        ``scipy.stats.binom.cdf`` without its checks, which take longer than the sum itself.
    """
    from scipy.special import betainc

    right = np.asarray(count) - errors
    return np.where(right > 0, betainc(np.maximum(right, 1), np.asarray(errors) + 1, 1 - rate), 1.0)


def most_errors(count: np.ndarray, rate: float, significance: float) -> np.ndarray:
    """Find how many errors a test allows.

    Parameters
    ----------
    count : ndarray of float64
        Accepted products, whole numbers.
    rate : float
        Error rate that the test is to reject.
    significance : float
        Largest probability of so few errors at that rate.

    Returns
    -------
    ndarray of int64
        -1 where not even a sample without an error passes.
    """
    from scipy.special import ndtri

    count = np.asarray(count, np.float64)
    guess = np.floor(count * rate + ndtri(significance) * np.sqrt(count * rate * (1 - rate)))
    low, high = np.maximum(guess - _BRACKET, -1.0), np.minimum(guess + _BRACKET, count)
    # the test passes at low, or low is -1, and fails at high: the sum over all errors is 1
    low = np.where((low >= 0) & (binomial_tail(np.maximum(low, 0), count, rate) > significance), -1.0, low)
    high = np.where((high < 0) | (binomial_tail(np.maximum(high, 0), count, rate) <= significance), count, high)
    while np.any(high - low > 1):
        middle = np.floor((low + high) / 2)
        passes = (middle < 0) | (binomial_tail(np.maximum(middle, 0), count, rate) <= significance)
        low, high = np.where(passes, middle, low), np.where(passes, high, middle)
    return np.where(count > 0, low, -1).astype(np.int64)
