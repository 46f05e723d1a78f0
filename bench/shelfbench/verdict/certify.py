"""A threshold that keeps a required precision on products not yet seen (SPEC section 7).

Fixed-sequence testing over a grid of thresholds, each by an exact binomial test (Angelopoulos et al., "Learn then
test", 2021, with Bonferroni's place taken by the fixed order). The grid comes from other products than the test.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from shelfbench.base.errors import InputError
from shelfbench.verdict.intervals import exact_interval
from shelfbench.verdict.metrics import Target, exact_target

START = 100
# Numbers of errors looked through for the last failing test; beyond them, at precisions a hair above the target and
# numbers of products that nobody has, the answer may be a little too large.
_LOOKED_BACK = 1000
# Larger samples that are tried when none of this size passes: each by 1% larger than the last.
_GROWTH = 1.01
_BORROWED = 20


@dataclass(frozen=True)
class Certificate:
    """What may be promised of a threshold.

    Attributes
    ----------
    target : Fraction
        The precision that is promised.
    level : float
        With which probability over the drawing of the labelled products the promise holds.
    threshold : float
        Accept where confidence >= threshold; +inf where nothing can be certified.
    accepted, correct, total : int
        Of the labelled products: those at or above the threshold, those of them that are right, all.
    acceptance_low, acceptance_high : float
        Exact (Clopper-Pearson) 95% interval of the acceptance on products to come.
    missing : int or None
        About how many more labelled products would do, if the rates stay as they are: with so many the walk would get
        past its first threshold, which is then stricter. 0 where it is certified, None where a thousand times as many
        would not do, or it is hopeless.
    hopeless : bool
        Not certified, and at every threshold of the walk the upper bound of the precision is below the target too;
        False where the walk had no threshold at all, since nothing was seen then, and where a threshold too strict for
        the walk would have passed the test by itself.
    """

    target: Fraction
    level: float
    threshold: float
    accepted: int
    correct: int
    total: int
    acceptance_low: float
    acceptance_high: float
    missing: int | None
    hopeless: bool

    @property
    def certified(self) -> bool:
        """Whether there is a threshold."""
        return self.accepted > 0

    @property
    def acceptance(self) -> float:
        """Accepted products over all labelled ones."""
        return self.accepted / self.total


def coverage_grid(confidence: np.ndarray, count: int = 100) -> np.ndarray:
    """Candidate thresholds: those that accept 1/count, 2/count, ... of some products.

    Parameters
    ----------
    confidence : ndarray of float64, shape (n,)
        Of products apart from those that certify; -inf for rejected ones, which no threshold accepts.
    count : int

    Returns
    -------
    ndarray of float64, shape (at most count,)
        Strictly falling: from strict to loose.

    Raises
    ------
    InputError
        If there is no product, or a confidence is NaN.
    """
    ordered = np.sort(_checked(confidence))[::-1]
    # integers: ceil(j n / count) products at step j
    cuts = -(-np.arange(1, count + 1) * len(ordered) // count) - 1
    grid = np.unique(ordered[cuts])[::-1]
    return grid[grid > -np.inf]


def certify(
    confidence: np.ndarray,
    correct: np.ndarray,
    grid: np.ndarray,
    target: Target = "0.9",
    level: float = 0.95,
    start: int = START,
) -> Certificate:
    """Walk the grid from strict to loose while the binomial test rejects a precision below the target.

    Parameters
    ----------
    confidence : ndarray of float64, shape (n,)
        Of the labelled products that certify, and of nothing else; -inf for rejected ones.
    correct : ndarray of bool, shape (n,)
    grid : ndarray of float64
        Falling thresholds, fixed without these products (`coverage_grid`); may be empty, and then nothing passes.
    target : float, str or Fraction
        Required precision.
    level : float
        Probability with which the threshold keeps it.
    start : int
        The walk begins where ``min(start, n / 5)`` products are accepted: a test on fewer says little and would end it.

    Raises
    ------
    InputError
        If shapes differ, there is no product, a confidence is NaN, the grid does not fall or would accept rejected
        products, `start` is below 1, or target and level are not between 0 and 1.
    """
    confidence, correct = _checked(confidence), np.asarray(correct, dtype=bool)
    wanted = exact_target(target)
    if confidence.shape != correct.shape:
        raise InputError(
            f"confidence has shape {confidence.shape} and correct {correct.shape}", "give one value a product in each"
        )
    if not 0 < wanted < 1 or not 0 < level < 1:
        raise InputError(
            f"precision {target} at a confidence of {level} cannot be certified", "give two numbers between 0 and 1"
        )
    grid = np.asarray(grid, dtype=np.float64)
    if grid.ndim != 1 or not np.all(grid[1:] < grid[:-1]) or not np.all(grid > -np.inf):
        raise InputError(
            "the thresholds do not fall, or are no numbers above -inf", "give them from strict to loose (coverage_grid)"
        )
    if start < 1:
        raise InputError(f"a walk cannot start at {start} products", "give at least 1")
    accepted, hits = _counts(confidence, correct, grid)
    walked = np.flatnonzero(accepted >= min(start, len(confidence) / 5))
    passes = _passes(accepted[walked] - hits[walked], accepted[walked], wanted, level)
    last = _passed(passes)
    low, high = exact_interval(int(accepted[walked[last - 1]]) if last else 0, len(confidence))
    if last == 0:
        below = bool(len(walked) and np.all(_passes(hits[walked], accepted[walked], 1 - wanted, level)))
        # more products would let the walk start at a stricter threshold, where few have now been seen
        hopeless = below and not _passes(accepted - hits, accepted, wanted, level).any()
        missing = None if hopeless else _missing(accepted, hits, len(confidence), wanted, level, start)
        return Certificate(
            wanted, level, float("inf"), 0, 0, len(confidence), float(low), float(high), missing, hopeless
        )
    cut = walked[last - 1]
    return Certificate(
        wanted,
        level,
        float(grid[cut]),
        int(accepted[cut]),
        int(hits[cut]),
        len(confidence),
        float(low),
        float(high),
        0,
        False,
    )


def certified_thresholds(
    confidence: np.ndarray,
    correct: np.ndarray,
    grid: np.ndarray,
    targets: Sequence[Fraction],
    level: float = 0.95,
    start: int = START,
) -> np.ndarray:
    """Thresholds of `certify` for many targets, sorting once.

    Returns
    -------
    ndarray of float64, shape (targets,)
        +inf where nothing can be certified.
    """
    confidence = _checked(confidence)
    accepted, hits = _counts(confidence, np.asarray(correct, dtype=bool), grid)
    walked = np.flatnonzero(accepted >= min(start, len(confidence) / 5))
    ordered = np.append(np.inf, np.asarray(grid, dtype=np.float64)[walked])
    found = np.empty(len(targets))
    for number, target in enumerate(targets):
        passes = _passes(accepted[walked] - hits[walked], accepted[walked], target, level)
        found[number] = ordered[_passed(passes)]
    return found


def products_to_certify(precision: Fraction, target: Target = "0.9", level: float = 0.95) -> int | None:
    """Products that must be accepted to certify a target at an observed precision, and at every larger number too.

    Errors are rounded up: n products at a precision q show ceil(n (1 - q)) errors.

    Returns
    -------
    int or None
        None where the observed precision is not above the target.
    """
    wanted = exact_target(target)
    if precision <= wanted:
        return None
    rate = 1 - precision
    significance, chance = 1 - level, float(1 - wanted)

    def fewest(errors: int) -> int:
        """Fewest products that show so many errors; the hardest test of those."""
        return (errors - 1) * rate.denominator // rate.numerator + 1 if errors else 1

    def passes(errors: int, count: float) -> bool:
        return bool(binomial_tail(errors, count, chance) <= significance)

    def settled(extra: float) -> int:
        """First number of errors from which on every test of (errors - 1) / rate + extra products passes."""
        top = 1
        while not passes(top, (top - 1) / float(rate) + extra):
            top *= 2
        return _first(lambda errors: passes(errors, (errors - 1) / float(rate) + extra), top // 2, top)

    if rate == 0:
        high = 1
        while not passes(0, high):
            high *= 2
        return _first(lambda count: passes(0, count), high // 2, high)
    # fewest() lies between these two, up and down by rounding: the last failing test is among those between
    surely, perhaps = settled(0.0), max(settled(1.0) - 1, 0)
    errors = surely - 1
    while errors > max(perhaps, surely - _LOOKED_BACK) and passes(errors, fewest(errors)):
        errors -= 1
    # within the group of that many errors, larger numbers pass; the next group passes from its first on
    return _first(lambda count: passes(errors, count), fewest(errors) - 1, fewest(errors + 1))


def _first(test: Callable[[int], bool], low: int, high: int) -> int:
    """Smallest number above `low` and up to `high` that passes a monotone test; `high` where none before does."""
    while high - low > 1:
        middle = (low + high) // 2
        if test(middle):
            high = middle
        else:
            low = middle
    return high


def _counts(confidence: np.ndarray, correct: np.ndarray, grid: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Accepted and right products at every threshold of a grid."""
    order = np.argsort(confidence, kind="stable")
    rising = confidence[order]
    first = np.searchsorted(rising, grid, side="left")
    right = np.append(0, np.cumsum(correct[order], dtype=np.int64))
    return len(rising) - first, right[-1] - right[first]


def _passed(passes: np.ndarray) -> int:
    """How many thresholds a walk passes before its first failure."""
    return int(np.append(passes, False).argmin())


def _passes(errors: np.ndarray, accepted: np.ndarray, target: Fraction, level: float) -> np.ndarray:
    """Whether so few errors are too unlikely at the target's error rate."""
    return (binomial_tail(errors, accepted, float(1 - target)) <= 1 - level) & (accepted > 0)


def binomial_tail(errors: np.ndarray | int, count: np.ndarray | float, rate: float) -> np.ndarray:
    """Probability of so many errors or fewer among `count` products, each wrong with probability `rate`; exact.

    As ``scipy.stats.binom.cdf``, without its checks, which take longer than the sum itself.
    """
    from scipy.special import betainc

    right = np.asarray(count) - errors
    return np.where(right > 0, betainc(np.maximum(right, 1), np.asarray(errors) + 1, 1 - rate), 1.0)


def _missing(
    accepted: np.ndarray, hits: np.ndarray, total: int, target: Fraction, level: float, start: int
) -> int | None:
    """Further products with which the walk would pass where it starts, coverage and precision being what they are now.

    With more products it starts at a stricter threshold, of which few products tell now: what they show is drawn
    towards the precision at today's start, as if that had been seen on `_BORROWED` more. Rounded up to two digits.
    """
    seen = accepted > 0
    accepted, wrong = accepted[seen], (accepted - hits)[seen]
    walked = np.flatnonzero(accepted >= min(start, total / 5))
    if not len(walked):
        return None
    first = walked[0]
    rate = wrong / accepted
    rate[:first] = (wrong[:first] + _BORROWED * rate[first]) / (accepted[:first] + _BORROWED)
    sizes = np.unique(np.round(total * _GROWTH ** np.arange(1, 700)))
    # a hair against rounding: what is a whole number shall stay one
    counts = np.floor(np.outer(sizes / total, accepted) + 1e-9)
    at = np.argmax(counts >= np.minimum(start, sizes / 5)[:, None], axis=1)
    count = counts[np.arange(len(sizes)), at]
    passes = _passes(np.ceil(count * rate[at] - 1e-9), count, target, level)
    steady = np.flatnonzero(passes[:-6] & passes[3:-3] & passes[6:])  # and not by a lucky rounding of errors
    if not len(steady):
        return None
    more = max(int(sizes[steady[0]]) - total, 1)
    digit = 10 ** max(len(str(more)) - 2, 0)
    return -(-more // digit) * digit


def _checked(confidence: np.ndarray) -> np.ndarray:
    values = np.asarray(confidence, dtype=np.float64)
    if values.ndim != 1 or not len(values):
        raise InputError("no products to certify on", "label some products, or use a larger validation part")
    if np.isnan(values).any():
        raise InputError(
            f"the confidence of product {int(np.isnan(values).argmax())} is NaN",
            "a rejected product has the confidence -inf",
        )
    return values
