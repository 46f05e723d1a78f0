"""What answers cost: a review, an error, an hour of computing; the threshold that costs least, and from when it pays.

A product goes to a person, which costs a review, or is accepted; if it is accepted and wrong, it costs an error.
Without automation every product is reviewed. A person is taken to be always right: what a person's errors cost is part
of what a review costs. With the confidence a true probability, the threshold that costs least is 1 - review / error
(Chow, On optimum recognition error and reject tradeoff, 1970); here it is found on products, since no confidence is
quite that.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from shelfbench.base.errors import InputError
from shelfbench.verdict.intervals import exact_interval
from shelfbench.verdict.metrics import acceptance_curve

RESAMPLES = 2000
_FEW = 10  # products of a kind below which resampling them tells too little
_MOST = 1e12


def amount(value: Any, what: str, *, zero: bool = False) -> float:
    """Check what something costs: a plain number, in any currency.

    Parameters
    ----------
    value : float or str
    what : str
        What it is the cost of, for messages.
    zero : bool
        Whether it may cost nothing.

    Returns
    -------
    float

    Raises
    ------
    InputError
        If it is not a number, is negative or not finite, or is 0 where it must cost something.
    """
    remedy = f"give a plain number {'of at least' if zero else 'above'} 0 without a currency, like 0.05"
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not (0 <= number <= _MOST) or (number == 0 and not zero):
        shown = repr(value) if len(repr(value)) <= 40 else f"{repr(value)[:40]} ..."
        raise InputError(f"{what} is {shown}", remedy)
    return number


@dataclass(frozen=True)
class Prices:
    """What a review, an error and an hour of the machine cost, in one currency; see `Prices.of`, which validates them.

    Attributes
    ----------
    review : float
        Of one product by a person.
    error : float
        Of one product that was accepted and is wrong.
    hour : float
        Of the machine; 0 if computing is not counted.
    """

    review: float
    error: float
    hour: float = 0.0

    @property
    def even(self) -> float:
        """The precision of accepted products at which accepting costs as much as reviewing them; at least 0."""
        return max(1 - self.review / self.error, 0.0)

    @classmethod
    def of(cls, review: Any, error: Any, hour: Any = None) -> Prices | None:
        """Validate what the user gives.

        Parameters
        ----------
        review : float or str, optional
            Of a product that a person looks at.
        error : float or str, optional
            Of an accepted product that is wrong.
        hour : float or str, optional
            Of the machine.

        Returns
        -------
        Prices or None
            None if nothing is given.

        Raises
        ------
        InputError
            If one of them is not a cost, or only one of review and error is given.
        """
        if review is None and error is None and hour is None:
            return None
        if review is None or error is None:
            missing = "a review" if review is None else "an error"
            raise InputError(
                f"nothing is said of what {missing} costs", "give both, like --review-cost 0.05 --error-cost 1.2"
            )
        return cls(
            amount(review, "the cost of a review"),
            amount(error, "the cost of an error"),
            0.0 if hour is None else amount(hour, "the price of an hour", zero=True),
        )


@dataclass(frozen=True, kw_only=True)
class Spent:
    """What a threshold costs on some products.

    Attributes
    ----------
    products, accepted, wrong : int
        All products, those accepted, and those both accepted and wrong.
    cost : float
        Of a product, on average: reviews and errors.
    low, high : float
        95% interval of it, by resampling the products.
    worth : float
        The cost of an error up to which this threshold costs less than reviewing everything; infinite if none of the
        accepted products is wrong, NaN if none is accepted.
    worth_low, worth_high : float
        Its 95% interval, from the exact one of the precision.
    """

    products: int
    accepted: int
    wrong: int
    cost: float
    low: float
    high: float
    worth: float
    worth_low: float
    worth_high: float


def cheapest(confidence: np.ndarray, correct: np.ndarray, prices: Prices) -> float:
    """Find the threshold that costs least on some products.

    Parameters
    ----------
    confidence : ndarray of float64, shape (n,)
        -inf for rejected products, which no threshold accepts.
    correct : ndarray of bool, shape (n,)
        Whether the prediction is right.
    prices : Prices

    Returns
    -------
    float
        Accept where confidence >= threshold; +inf where reviewing everything costs least. The strictest of those that
        cost the same.

    Raises
    ------
    InputError
        If there is no product, or a confidence is NaN.

    Notes
    -----
    The accepted products are counted as if one more had been seen, and been wrong (the rule of succession): a few
    products that happen to be right say little about errors that cost hundreds of reviews. Without that, thresholds
    chosen on 150 products cost up to 32 times as much as reviewing everything in simulated shops, and at most 1.04
    times with it (``tests/simulations/cheapest_threshold.py``, ``results/decisions/cheapest_threshold.csv``).
    """
    curve = acceptance_curve(confidence, correct)
    wrong = curve.accepted - curve.correct + curve.accepted / (curve.accepted + 1)
    saved = prices.review * curve.accepted - prices.error * wrong
    if not len(saved) or saved.max() <= 0:
        return math.inf
    return float(curve.threshold[np.argmax(saved)])


def spent(
    confidence: np.ndarray, correct: np.ndarray, threshold: float, prices: Prices, *, level: float = 0.95, seed: int = 0
) -> Spent:
    """Compute what a threshold costs on products on which it was not chosen.

    Parameters
    ----------
    confidence : ndarray of float64, shape (n,)
        -inf for rejected products.
    correct : ndarray of bool, shape (n,)
    threshold : float
        +inf accepts nothing.
    prices : Prices
    level : float
        Of the intervals.
    seed : int
        Fixes the resamples.

    Returns
    -------
    Spent

    Raises
    ------
    InputError
        If there is no product.

    Notes
    -----
    A product costs 0, a review or an error, so that a resample of the products is a multinomial draw of three counts.
    Where fewer than ten products are wrong, or fewer than ten reviewed or accepted, resamples vary too little; the
    interval then reaches at least as far as the exact (Clopper-Pearson) one of that share does.
    """
    confidence, correct = np.asarray(confidence, dtype=np.float64), np.asarray(correct, dtype=bool)
    if not len(confidence):
        raise InputError("no products to compute a cost on", "use more products, or a larger validation part")
    taken = (confidence >= threshold) & (confidence > -np.inf)
    total, accepted, wrong = len(taken), int(taken.sum()), int((taken & ~correct).sum())
    shares = np.array([accepted - wrong, total - accepted, wrong]) / total
    unit = np.array([0.0, prices.review, prices.error])
    cost = float(shares @ unit)
    tails = [(1 - level) / 2, (1 + level) / 2]
    drawn = np.random.default_rng(seed).multinomial(total, shares, size=RESAMPLES) @ unit / total
    low, high = map(float, np.quantile(drawn, tails))
    for count, price in ((wrong, prices.error), (total - accepted, prices.review)):
        if min(count, total - count) < _FEW and accepted:
            least, most = map(float, exact_interval(count, total, level))
            low = min(low, cost + price * (least - count / total))
            high = max(high, cost + price * (most - count / total))
    worst, best = map(float, exact_interval(accepted - wrong, accepted, level))
    return Spent(
        products=total,
        accepted=accepted,
        wrong=wrong,
        cost=cost,
        low=max(low, 0.0),
        high=high,
        worth=_worth(prices.review, wrong / accepted) if accepted else math.nan,
        worth_low=_worth(prices.review, 1 - worst) if accepted else math.nan,
        worth_high=_worth(prices.review, 1 - best) if accepted else math.nan,
    )


def _worth(review: float, rate: float) -> float:
    return review / rate if rate > 0 else math.inf


def pays_after(once: float, saved: float) -> float:
    """Compute after how many products what was spent once has been saved.

    Parameters
    ----------
    once : float
        Spent before the first product.
    saved : float
        By each product.

    Returns
    -------
    float
        Products, rounded up; infinite if nothing is saved.
    """
    return float(math.ceil(once / saved)) if saved > 0 else math.inf
