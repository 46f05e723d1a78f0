"""What each *predicted* category is worth: its precision, and what keeping only the best ones brings (C, Fig. 7).

C ranks categories and chooses thresholds on validation without saying on which part. Here the half of validation that
may choose, `tune`, is cut in two once more, by product: one half ranks, the other fixes the thresholds. The other half
of validation, `certify`, has one reader, the certifying test, and is not touched. Test only reports.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from shelfbench.verdict.intervals import exact_interval
from shelfbench.verdict.metrics import Target, exact_target

POINTS = 400
# Cells of one block of the search for thresholds: some 100 MiB with all intermediate arrays.
_BLOCK = 1 << 22


class Products(Protocol):
    """Predictions of some products, as arrays of shape (n,)."""

    @property
    def predicted(self) -> np.ndarray:
        """Code of the category given, int64; -1 where rejected, or where no product is of that category."""

    @property
    def confidence(self) -> np.ndarray:
        """Log-probability of it, float64; -inf where rejected."""

    @property
    def correct(self) -> np.ndarray:
        """Whether it is the true one, bool."""


@dataclass(frozen=True, eq=False)
class CategoryPrecision:
    """Precision of every predicted category among accepted products.

    Attributes
    ----------
    predicted, accepted, correct : ndarray of int64, shape (categories,)
        Products put into the category; those of them at or above the threshold; those of these that are right.
    low, high : ndarray of float64, shape (categories,)
        Exact 95% interval of the precision; 0 to 1 where nothing was accepted.
    """

    predicted: np.ndarray
    accepted: np.ndarray
    correct: np.ndarray
    low: np.ndarray
    high: np.ndarray

    @property
    def precision(self) -> np.ndarray:
        """Right over accepted, float64, shape (categories,); NaN where nothing was accepted."""
        return np.where(self.accepted > 0, self.correct / np.maximum(self.accepted, 1), np.nan)


@dataclass(frozen=True, eq=False)
class CategoryCurve:
    """What keeping the best predicted categories brings on test, one row a number of categories.

    Attributes
    ----------
    order : ndarray of int64, shape (categories,)
        Codes of all categories, the best first.
    categories : ndarray of int64, shape (points,)
        How many are kept, rising; the last point keeps all.
    threshold : ndarray of float64, shape (points,)
        Fixed on the choosing half, for the products put into the kept categories; +inf where none would do.
    kept, correct : ndarray of int64, shape (points,)
        Test products put into the kept categories, and those of them that are right.
    accepted, accepted_correct : ndarray of int64, shape (points,)
        Those of the kept that the threshold accepts, and those of these that are right.
    total : int
        All test products, rejected ones included.
    """

    order: np.ndarray
    categories: np.ndarray
    threshold: np.ndarray
    kept: np.ndarray
    correct: np.ndarray
    accepted: np.ndarray
    accepted_correct: np.ndarray
    total: int

    @property
    def precision(self) -> np.ndarray:
        """Of the products put into the kept categories; NaN where there are none."""
        return _ratio(self.correct, self.kept)

    @property
    def acceptance(self) -> np.ndarray:
        """Accepted over all test products."""
        return self.accepted / max(self.total, 1)

    @property
    def acceptance_of_kept(self) -> np.ndarray:
        """Accepted over the products put into the kept categories; NaN where there are none."""
        return _ratio(self.accepted, self.kept)

    @property
    def precision_of_accepted(self) -> np.ndarray:
        """What the threshold keeps of its promise; NaN where nothing is accepted."""
        return _ratio(self.accepted_correct, self.accepted)

    def at_share(self, share: float) -> int:
        """Row of the first point that keeps at least this share of the categories."""
        return int(np.searchsorted(self.categories, share * len(self.order) - 1e-9))


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.where(whole > 0, part / np.maximum(whole, 1), np.nan)


def _placed(products: Products) -> np.ndarray:
    return (products.predicted >= 0) & (products.confidence > -np.inf)


def halves(product_id: np.ndarray, seed: int = 0) -> np.ndarray:
    """Cut products in two at random.

    Parameters
    ----------
    product_id : ndarray of int64 or str, shape (n,)
    seed : int
        The same seed and products give the same halves, in whatever order the rows stand.

    Returns
    -------
    ndarray of bool, shape (n,)
        True for the half that ranks; it gets the odd product.
    """
    order = np.argsort(product_id, kind="stable")
    first = np.zeros(len(order), bool)
    drawn = np.random.default_rng([seed, 7]).permutation(len(order))
    first[order[drawn[: -(-len(order) // 2)]]] = True
    return first


def rank_categories(products: Products, categories: int) -> np.ndarray:
    """Order all categories by the lower bound of their precision, the best first.

    Parameters
    ----------
    products : Products
        Of the half that ranks. Every product put into a category counts, whatever its confidence.
    categories : int
        Number of categories; one that was never predicted has the bound 0 and comes last.

    Returns
    -------
    ndarray of int64, shape (categories,)
        Codes. Equals: the one predicted more often first, then in order of code.
    """
    found = category_precision(products, -np.inf, categories)
    return np.lexsort((np.arange(categories), -found.predicted, -found.low))


def category_precision(products: Products, threshold: float, categories: int) -> CategoryPrecision:
    """Count every predicted category at a threshold.

    Parameters
    ----------
    products : Products
    threshold : float
        Accept where confidence >= threshold; fixed on other products.
    categories : int
        Number of categories.
    """
    seen = _placed(products)
    taken = seen & (products.confidence >= threshold)
    accepted = np.bincount(products.predicted[taken], minlength=categories)
    correct = np.bincount(products.predicted[taken & products.correct], minlength=categories)
    return CategoryPrecision(
        np.bincount(products.predicted[seen], minlength=categories),
        accepted,
        correct,
        *exact_interval(correct, accepted),
    )


def cumulate(
    ranking: Products, choosing: Products, test: Products, categories: int, target: Target = "0.9"
) -> CategoryCurve:
    """Keep 1, 2, ... of the best predicted categories, and see on test what that gives (C, Fig. 7).

    Parameters
    ----------
    ranking, choosing : Products
        Apart from each other and from test: they rank the categories, and fix a threshold for each number of them.
    test : Products
    categories : int
        Number of categories.
    target : float, str or Fraction
        Required precision.

    Returns
    -------
    CategoryCurve
        At every number of categories; beyond 400 of them, at 400 numbers spread evenly and at 80%.
    """
    order = rank_categories(ranking, categories)
    place = np.empty(categories, np.int64)
    place[order] = np.arange(categories)
    counts = np.arange(1, categories + 1)
    if categories > POINTS:
        spread = np.linspace(1, categories, POINTS).round().astype(np.int64)
        counts = np.unique(np.append(spread, -(-4 * categories // 5)))
    thresholds = _thresholds(choosing, place, counts, target)
    seen = _placed(test)
    at, right = place[test.predicted[seen]], test.correct[seen]
    # a product is accepted by the loosest of the thresholds that it reaches and by all looser ones
    levels = np.unique(thresholds)
    level = np.searchsorted(levels, test.confidence[seen], side="right")
    wanted = (counts - 1, np.searchsorted(levels, thresholds))
    return CategoryCurve(
        order,
        counts,
        thresholds,
        np.cumsum(np.bincount(at, minlength=categories))[counts - 1],
        np.cumsum(np.bincount(at[right], minlength=categories))[counts - 1],
        _reaching(at, level, categories, len(levels))[wanted],
        _reaching(at[right], level[right], categories, len(levels))[wanted],
        len(test.confidence),
    )


def _thresholds(products: Products, place: np.ndarray, counts: np.ndarray, target: Target) -> np.ndarray:
    """Threshold of the loosest feasible cut among the products put into the best categories, by how many are kept."""
    wanted = exact_target(target)
    seen = np.flatnonzero(_placed(products))
    order = seen[np.argsort(-products.confidence[seen], kind="stable")]
    confidence, right = products.confidence[order], products.correct[order]
    own = place[products.predicted[order]]
    found = np.full(len(counts), np.inf)
    if not len(order):
        return found
    ends = np.append(confidence[1:] != confidence[:-1], True)
    step = max(1, _BLOCK // len(order))
    for start in range(0, len(counts), step):
        kept = own < counts[start : start + step, None]
        accepted = np.cumsum(kept, axis=1, dtype=np.int64)
        hits = np.cumsum(kept & right, axis=1, dtype=np.int64)
        feasible = (hits * wanted.denominator >= accepted * wanted.numerator) & ends
        most = np.max(accepted, axis=1, where=feasible, initial=0)
        # the row of the last accepted product, the first at which so many are reached
        last = np.argmax(accepted == most[:, None], axis=1)
        found[start : start + step] = np.where(most > 0, confidence[last], np.inf)
    return found


def _reaching(place: np.ndarray, level: np.ndarray, categories: int, levels: int) -> np.ndarray:
    """How many products lie at a place or before it and reach a level, int64, shape (categories, levels)."""
    table = np.bincount(place * (levels + 1) + level, minlength=categories * (levels + 1))
    table = np.cumsum(table.reshape(categories, levels + 1), axis=0)
    # a product of level l reaches the levels 0 to l - 1
    return np.cumsum(table[:, ::-1], axis=1)[:, ::-1][:, 1:]


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
