"""What each *predicted* category is worth: its precision, and what is gained by keeping only the best (C, Fig. 7).

C ranks categories and chooses thresholds on validation without saying on which part. Here `tune`, the half of
validation that may be used to choose, is cut in two again, by product: one half ranks the categories, the other fixes
the thresholds. `certify`, the other half of validation, is read by the certifying test alone and not touched here. Test
results are shown for reference only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from shelfbench.verdict.intervals import exact_interval
from shelfbench.verdict.metrics import Target, exact_target

POINTS = 400
# Cells of one block in the search for thresholds: about 100 MiB with all intermediate arrays.
_BLOCK = 1 << 22


class Products(Protocol):
    """Predictions for some products, as arrays of shape (n,)."""

    @property
    def predicted(self) -> np.ndarray:
        """Code of the predicted category, int64; -1 if rejected, or if no product has that category."""

    @property
    def confidence(self) -> np.ndarray:
        """Its log-probability, float64; -inf where rejected."""

    @property
    def correct(self) -> np.ndarray:
        """Whether it is the true category, bool."""


@dataclass(frozen=True, eq=False, kw_only=True)
class CategoryPrecision:
    """Precision of every predicted category among its accepted products.

    Attributes
    ----------
    predicted : ndarray of int64, shape (categories,)
        Products predicted to be in the category.
    accepted : ndarray of int64, shape (categories,)
        How many of them are at or above the threshold.
    correct : ndarray of int64, shape (categories,)
        Accepted products that are right.
    low : ndarray of float64, shape (categories,)
        Lower end of the exact 95% interval of the precision; 0 where nothing was accepted.
    high : ndarray of float64, shape (categories,)
        Its upper end; 1 where nothing was accepted.
    """

    predicted: np.ndarray
    accepted: np.ndarray
    correct: np.ndarray
    low: np.ndarray
    high: np.ndarray

    @property
    def precision(self) -> np.ndarray:
        """Correct over accepted products, float64, shape (categories,); NaN where nothing was accepted."""
        return np.where(self.accepted > 0, self.correct / np.maximum(self.accepted, 1), np.nan)


@dataclass(frozen=True, eq=False, kw_only=True)
class CategoryCurve:
    """Results on test when only the best predicted categories are kept, by the number kept.

    Attributes
    ----------
    order : ndarray of int64, shape (categories,)
        Codes of all categories, the best first.
    categories : ndarray of int64, shape (points,)
        How many are kept, ascending; the last point keeps all.
    threshold : ndarray of float64, shape (points,)
        Fixed on the choosing half, for the products predicted into the kept categories; +inf if no threshold meets the
        target.
    kept : ndarray of int64, shape (points,)
        Test products predicted into the kept categories.
    correct : ndarray of int64, shape (points,)
        Kept products that are right.
    accepted : ndarray of int64, shape (points,)
        Kept products that the threshold accepts.
    accepted_correct : ndarray of int64, shape (points,)
        Accepted products that are right.
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
        """Precision of the products predicted into the kept categories; NaN where there are none."""
        return _ratio(self.correct, self.kept)

    @property
    def acceptance(self) -> np.ndarray:
        """Accepted products over all test products."""
        return self.accepted / max(self.total, 1)

    @property
    def acceptance_of_kept(self) -> np.ndarray:
        """Accepted products over those predicted into the kept categories; NaN where there are none."""
        return _ratio(self.accepted, self.kept)

    @property
    def precision_of_accepted(self) -> np.ndarray:
        """Precision of the accepted products: how well the threshold keeps its promise; NaN where there are none."""
        return _ratio(self.accepted_correct, self.accepted)

    def at_share(self, share: float) -> int:
        """Find the first point that keeps at least a given share of the categories.

        Parameters
        ----------
        share : float
            From 0 to 1.

        Returns
        -------
        int
            Index of the point.
        """
        return int(np.searchsorted(self.categories, share * len(self.order) - 1e-9))


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.where(whole > 0, part / np.maximum(whole, 1), np.nan)


def _placed(products: Products) -> np.ndarray:
    return (products.predicted >= 0) & (products.confidence > -np.inf)


def halves(product_id: np.ndarray, seed: int = 0) -> np.ndarray:
    """Cut products into two halves at random.

    Parameters
    ----------
    product_id : ndarray of int64 or str, shape (n,)
        The products.
    seed : int
        The same seed and products give the same halves, whatever the order of the rows.

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
        The half that ranks. Every product predicted into a category counts, whatever its confidence.
    categories : int
        Number of categories; one that was never predicted has the bound 0 and comes last.

    Returns
    -------
    ndarray of int64, shape (categories,)
        Codes; ties go to the one predicted more often, then to the lower code.
    """
    found = category_precision(products, -np.inf, categories)
    return np.lexsort((np.arange(categories), -found.predicted, -found.low))


def category_precision(products: Products, threshold: float, categories: int) -> CategoryPrecision:
    """Count the products of every predicted category at a threshold.

    Parameters
    ----------
    products : Products
        The predictions to count.
    threshold : float
        Accept where confidence >= threshold; fixed on other products.
    categories : int
        Number of categories.

    Returns
    -------
    CategoryPrecision
        One entry per category.
    """
    seen = _placed(products)
    taken = seen & (products.confidence >= threshold)
    accepted = np.bincount(products.predicted[taken], minlength=categories)
    correct = np.bincount(products.predicted[taken & products.correct], minlength=categories)
    low, high = exact_interval(correct, accepted)
    return CategoryPrecision(
        predicted=np.bincount(products.predicted[seen], minlength=categories),
        accepted=accepted,
        correct=correct,
        low=low,
        high=high,
    )


def cumulate(
    ranking: Products, choosing: Products, test: Products, categories: int, target: Target = "0.9"
) -> CategoryCurve:
    """Keep the best 1, 2, ... predicted categories, and measure the result on test (C, Fig. 7).

    Parameters
    ----------
    ranking : Products
        Products that rank the categories.
    choosing : Products
        Products that fix a threshold for each number of categories; none of them may be in `ranking` or `test`.
    test : Products
        Products to measure on.
    categories : int
        Number of categories.
    target : float, str or Fraction
        Required precision.

    Returns
    -------
    CategoryCurve
        At every number of categories; with more than 400, at 400 evenly spread numbers and at 80%.
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
    # a product is accepted by every threshold that it reaches
    levels = np.unique(thresholds)
    level = np.searchsorted(levels, test.confidence[seen], side="right")
    wanted = (counts - 1, np.searchsorted(levels, thresholds))
    return CategoryCurve(
        order=order,
        categories=counts,
        threshold=thresholds,
        kept=np.cumsum(np.bincount(at, minlength=categories))[counts - 1],
        correct=np.cumsum(np.bincount(at[right], minlength=categories))[counts - 1],
        accepted=_reaching(at, level, categories, len(levels))[wanted],
        accepted_correct=_reaching(at[right], level[right], categories, len(levels))[wanted],
        total=len(test.confidence),
    )


def _thresholds(products: Products, place: np.ndarray, counts: np.ndarray, target: Target) -> np.ndarray:
    """Find the loosest feasible threshold for the products of the best categories, for each number of them kept."""
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
        # the last accepted product is in the first row where the count reaches that number
        last = np.argmax(accepted == most[:, None], axis=1)
        found[start : start + step] = np.where(most > 0, confidence[last], np.inf)
    return found


def _reaching(place: np.ndarray, level: np.ndarray, categories: int, levels: int) -> np.ndarray:
    """Count the products up to each place that reach each level, int64, shape (categories, levels)."""
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
    """Find the predicted categories that are clearly less precise than required and should be switched off.

    Parameters
    ----------
    confidence : ndarray of float64, shape (n,)
        Of the products of `tune`; -inf for rejected ones.
    predicted : ndarray of int or str, shape (n,)
        The predicted category of each: its code, or its key.
    correct : ndarray of bool, shape (n,)
        Whether the prediction is right.
    threshold : float
        Products are accepted where confidence >= threshold.
    target : float, str or Fraction
        Required precision.
    level : float
        The upper bound is exact and one-sided at this level. It applies to each category on its own: about
        ``1 - level`` of the categories that are just precise enough are named too.

    Returns
    -------
    ndarray
        The values of `predicted`, sorted, whose precision among accepted products has an upper bound below the target.
    """
    taken = (np.asarray(confidence) >= threshold) & (np.asarray(confidence) > -np.inf)
    names, codes = np.unique(np.asarray(predicted)[taken], return_inverse=True)
    total = np.bincount(codes, minlength=len(names))
    hits = np.bincount(codes, weights=np.asarray(correct, dtype=bool)[taken], minlength=len(names)).astype(np.int64)
    # the upper end of a two-sided interval at 2 level - 1 is the one-sided bound at `level`
    upper = exact_interval(hits, total, 2 * level - 1)[1]
    return names[upper < float(exact_target(target))]
