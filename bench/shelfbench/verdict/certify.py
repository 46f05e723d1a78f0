"""A threshold that keeps a required precision on products not yet seen (docs/papers.md, "Certifying a threshold").

Fixed-sequence testing over a grid of thresholds, each by an exact binomial test (Angelopoulos et al., "Learn then
test", 2021, with a fixed order in place of Bonferroni's correction). The grid comes from products other than those on
which it is tested.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from shelfbench.base.errors import InputError
from shelfbench.verdict.intervals import exact_interval
from shelfbench.verdict.metrics import Target, exact_target
from shelfbench.verdict.walk import FIRST, Tuned, binomial_tail, counts_at

START = 100
# With fewer products, the estimate of how many more it takes is not made. With 145, the walk starts at 29 accepted
# products, the fewest that certify 0.9 with 95% probability. In 150 trials each on four populations, as many more
# products as estimated from 100 were enough in 39 to 49% of the trials; as estimated from 145, in 51 to 94%.
ESTIMABLE = 145
# How many error counts are searched for the last failing test. Beyond them (precisions a hair above the target, more
# products than anybody has), the answer may be slightly too large.
_LOOKED_BACK = 1000
# Larger samples to try when this one does not pass: each is 1% larger than the last.
_GROWTH = 1.01
# Products to borrow from today's start for the precision at a stricter threshold (see `_missing`).
_BORROWED = 20


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """What can be promised about a threshold.

    Attributes
    ----------
    target : Fraction
        The promised precision.
    level : float
        Probability, over the drawing of the labelled products, with which the promise holds.
    threshold : float
        Accept where confidence >= threshold; +inf where nothing can be certified.
    accepted : int
        Labelled products at or above the threshold.
    correct : int
        How many of them are right.
    total : int
        All labelled products.
    acceptance_low : float
        Lower end of the exact (Clopper-Pearson) 95% interval of the acceptance on future products.
    acceptance_high : float
        Its upper end.
    missing : int or None
        0 if certified. For a walk that begins at a number of accepted products, as before version 0.2: about how many
        more labelled products would be enough if the rates stay as they are. None if hopeless, if a thousand times as
        many would not be enough, if there are fewer than `ESTIMABLE` to estimate it from, and for every walk that
        begins where `tune` promises the most: no sample that does not certify can tell within a factor of 1.5
        (tests/simulations/more_labels.py).
    hopeless : bool
        Whether it is not certified and, at every threshold of the walk, even the upper bound of the precision is below
        the target. False if the walk had no threshold at all, since nothing was observed then, or if a threshold too
        strict for the walk would have passed the test on its own.
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
    """Make candidate thresholds: those that accept 1/count, 2/count, ... of some products.

    Parameters
    ----------
    confidence : ndarray of float64, shape (n,)
        Of products other than those that certify; -inf for rejected ones, which no threshold accepts.
    count : int
        Maximum number of thresholds; duplicates are dropped.

    Returns
    -------
    ndarray of float64, shape (at most count,)
        Strictly decreasing: from strict to loose.

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


def start_of(walk: str, confidence: np.ndarray, correct: np.ndarray, grid: np.ndarray) -> int | Tuned:
    """Return where a walk begins, as `certify` takes it.

    Parameters
    ----------
    walk : {'tuned', 'first'}
    confidence : ndarray of float64, shape (n,)
        Of the products of `tune`; see `Tuned.of`.
    correct : ndarray of bool, shape (n,)
    grid : ndarray of float64

    Returns
    -------
    Tuned or int
    """
    return START if walk == FIRST else Tuned.of(confidence, correct, grid)


def certify(
    confidence: np.ndarray,
    correct: np.ndarray,
    grid: np.ndarray,
    target: Target = "0.9",
    level: float = 0.95,
    start: int | Tuned = START,
) -> Certificate:
    """Walk the grid from strict to loose while the binomial test rejects a precision below the target.

    Parameters
    ----------
    confidence : ndarray of float64, shape (n,)
        Of the labelled products that certify, and of no others; -inf for rejected ones.
    correct : ndarray of bool, shape (n,)
        Whether the prediction is right.
    grid : ndarray of float64
        Decreasing thresholds, fixed without these products (`coverage_grid`); if it is empty, nothing passes.
    target : float, str or Fraction
        Required precision.
    level : float
        Probability with which the threshold keeps it.
    start : Tuned or int
        What `tune` shows at the thresholds of the grid: the walk begins where that promises the most
        (`Tuned.first`). A number: it begins where ``min(start, n / 5)`` products are accepted, as it did before.

    Returns
    -------
    Certificate
        The loosest threshold that the walk reached, or why there is none.

    Raises
    ------
    InputError
        If shapes differ, there is no product, a confidence is NaN, the grid does not decrease or would accept rejected
        products, `start` is below 1 or for another grid, or target and level are not between 0 and 1.
    """
    confidence, correct = _checked(confidence), np.asarray(correct, dtype=bool)
    wanted = exact_target(target)
    if confidence.shape != correct.shape:
        raise InputError(
            f"confidence has shape {confidence.shape} and correct {correct.shape}", "give one value per product in each"
        )
    if not 0 < wanted < 1 or not 0 < level < 1:
        raise InputError(
            f"precision {target} at a confidence of {level} cannot be certified", "give two numbers between 0 and 1"
        )
    grid = np.asarray(grid, dtype=np.float64)
    if grid.ndim != 1 or not np.all(grid[1:] < grid[:-1]) or not np.all(grid > -np.inf):
        raise InputError(
            "the thresholds do not decrease, or are not numbers above -inf",
            "give them from strict to loose (coverage_grid)",
        )
    if isinstance(start, Tuned) and len(start.accepted) != len(grid):
        raise InputError(
            f"tune was counted at {len(start.accepted)} thresholds, and there are {len(grid)}", "use the same grid"
        )
    if not isinstance(start, Tuned) and start < 1:
        raise InputError(f"a walk cannot start at {start} products", "give at least 1")
    accepted, hits = counts_at(confidence, correct, grid)
    walked = _walked(accepted, len(confidence), start, wanted, level)
    passes = _passes(accepted[walked] - hits[walked], accepted[walked], wanted, level)
    last = _passed(passes)
    low, high = exact_interval(int(accepted[walked[last - 1]]) if last else 0, len(confidence))
    if last == 0:
        tested = walked if not isinstance(start, Tuned) else _walked(accepted, len(confidence), START, wanted, level)
        below = bool(len(tested) and np.all(_passes(hits[tested], accepted[tested], 1 - wanted, level)))
        # more products would let the walk start at a stricter threshold, where few have been seen so far
        hopeless = below and not _passes(accepted - hits, accepted, wanted, level).any()
        missing = None
        if not hopeless and len(confidence) >= ESTIMABLE and not isinstance(start, Tuned):
            missing = _missing(accepted, hits, len(confidence), wanted, level=level, start=start)
        return Certificate(
            target=wanted,
            level=level,
            threshold=float("inf"),
            accepted=0,
            correct=0,
            total=len(confidence),
            acceptance_low=float(low),
            acceptance_high=float(high),
            missing=missing,
            hopeless=hopeless,
        )
    cut = walked[last - 1]
    return Certificate(
        target=wanted,
        level=level,
        threshold=float(grid[cut]),
        accepted=int(accepted[cut]),
        correct=int(hits[cut]),
        total=len(confidence),
        acceptance_low=float(low),
        acceptance_high=float(high),
        missing=0,
        hopeless=False,
    )


def certified_thresholds(
    confidence: np.ndarray,
    correct: np.ndarray,
    grid: np.ndarray,
    targets: Sequence[Fraction],
    level: float = 0.95,
    start: int | Tuned = START,
) -> np.ndarray:
    """Compute the thresholds of `certify` for many targets, sorting only once.

    Parameters
    ----------
    confidence : ndarray of float64, shape (n,)
        As for `certify`.
    correct : ndarray of bool, shape (n,)
        Whether the prediction is right.
    grid : ndarray of float64
        Decreasing thresholds, fixed without these products.
    targets : sequence of Fraction
        Required precisions.
    level : float
        Probability with which each threshold keeps its target.
    start : Tuned or int
        As for `certify`.

    Returns
    -------
    ndarray of float64, shape (targets,)
        +inf where nothing can be certified.
    """
    confidence = _checked(confidence)
    accepted, hits = counts_at(confidence, np.asarray(correct, dtype=bool), grid)
    grid = np.asarray(grid, dtype=np.float64)
    found = np.empty(len(targets))
    for number, target in enumerate(targets):
        walked = _walked(accepted, len(confidence), start, target, level)
        ordered = np.append(np.inf, grid[walked])
        passes = _passes(accepted[walked] - hits[walked], accepted[walked], target, level)
        found[number] = ordered[_passed(passes)]
    return found


def products_to_certify(precision: Fraction, target: Target = "0.9", level: float = 0.95) -> int | None:
    """Compute how many products must be accepted to certify a target at an observed precision.

    Parameters
    ----------
    precision : Fraction
        The precision observed on the accepted products. Errors are rounded up: n products at a precision q show
        ceil(n (1 - q)) errors.
    target : float, str or Fraction
        Required precision.
    level : float
        Probability with which a threshold keeps it.

    Returns
    -------
    int or None
        The smallest number that certifies the target together with every larger number; None where the observed
        precision is not above the target.
    """
    wanted = exact_target(target)
    if precision <= wanted:
        return None
    rate = 1 - precision
    significance, chance = 1 - level, float(1 - wanted)

    def fewest(errors: int) -> int:
        """Find the smallest number of products with this many errors: the hardest test among them."""
        return (errors - 1) * rate.denominator // rate.numerator + 1 if errors else 1

    def passes(errors: int, count: float) -> bool:
        return bool(binomial_tail(errors, count, chance) <= significance)

    def settled(extra: float) -> int:
        """Find the number of errors from which on every test of (errors - 1) / rate + extra products passes."""
        top = 1
        while not passes(top, (top - 1) / float(rate) + extra):
            top *= 2
        return _first(lambda errors: passes(errors, (errors - 1) / float(rate) + extra), top // 2, top)

    if rate == 0:
        high = 1
        while not passes(0, high):
            high *= 2
        return _first(lambda count: passes(0, count), high // 2, high)
    # rounding puts fewest() somewhere between these two, so the last failing test is among those between
    surely, perhaps = settled(0.0), max(settled(1.0) - 1, 0)
    errors = surely - 1
    while errors > max(perhaps, surely - _LOOKED_BACK) and passes(errors, fewest(errors)):
        errors -= 1
    # with that many errors, larger numbers of products pass; with one error more, all do
    return _first(lambda count: passes(errors, count), fewest(errors) - 1, fewest(errors + 1))


def _first(test: Callable[[int], bool], low: int, high: int) -> int:
    """Find the smallest number above `low` and up to `high` that passes a monotone test; `high` if no other does."""
    while high - low > 1:
        middle = (low + high) // 2
        if test(middle):
            high = middle
        else:
            low = middle
    return high


def _walked(accepted: np.ndarray, total: int, start: int | Tuned, target: Fraction, level: float) -> np.ndarray:
    """Return the positions of the thresholds that the walk goes through, strict to loose, until one fails."""
    if isinstance(start, Tuned):
        return np.arange(start.first(total, target, level), len(accepted))
    return np.flatnonzero(accepted >= min(start, total / 5))


def _passed(passes: np.ndarray) -> int:
    """Count the thresholds that a walk passes before its first failure."""
    return int(np.append(passes, False).argmin())


def _passes(errors: np.ndarray, accepted: np.ndarray, target: Fraction, level: float) -> np.ndarray:
    """Tell whether this few errors would be too unlikely at the target's error rate."""
    return (binomial_tail(errors, accepted, float(1 - target)) <= 1 - level) & (accepted > 0)


def _missing(
    accepted: np.ndarray, hits: np.ndarray, total: int, target: Fraction, *, level: float, start: int
) -> int | None:
    """Estimate how many more products would let the walk pass where it starts, at today's coverage and precision.

    With more products it starts at a stricter threshold, which few products reach today. The precision there is drawn
    towards that at today's start, as if `_BORROWED` more products had shown it. Rounded up to two digits.
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
    # a tiny margin against rounding, so that a whole number stays whole
    counts = np.floor(np.outer(sizes / total, accepted) + 1e-9)
    at = np.argmax(counts >= np.minimum(start, sizes / 5)[:, None], axis=1)
    count = counts[np.arange(len(sizes)), at]
    passes = _passes(np.ceil(count * rate[at] - 1e-9), count, target, level)
    steady = np.flatnonzero(passes[:-6] & passes[3:-3] & passes[6:])  # and not by a lucky rounding of errors
    if not len(steady):
        return None
    more = max(int(sizes[steady[0]]) - total, 1)
    digit = 10 ** max(len(str(more)) - 2, 0)
    return int(-(-more // digit) * digit)


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
