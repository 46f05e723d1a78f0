"""Is a precision still kept? A bet against it that may be looked at after every labelled product.

Whoever bets against a promise that is kept does not, on average, win: starting with 1, the chance of ever holding
``1 / alpha`` is at most ``alpha`` (Ville). So once the bets have multiplied the stake by 20, the promise is broken with
95% confidence, however often and whenever one has looked (Waudby-Smith and Ramdas, Estimating means of bounded random
variables by betting, JRSS-B 2024, sections 3 and 4.4: a fixed mixture of bets).

The stake is divided twice. By size: each part bets on an error rate of its own, since nobody knows how far the
precision will fall. By start: a part is bet from the first product on, and the rest enters little by little, so that
a fall after thousands of good products is not paid for by what was lost before it (Shin, Ramdas and Rinaldo,
E-detectors, NEJSDS 2024, with a stake of 1 in all, so that the chance of a false alarm is bounded for ever and not per
time). Both were settled by simulation before any real stream was looked at (``tests/simulations/watch.py --shapes``).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum

import numpy as np

# Odds of an error over its odds at the target: what the parts of the stake bet on, and how much of it each part is.
ODDS = np.array([1.2, 1.4, 1.7, 2.2, 4.0])
PARTS = np.array([1, 4, 4, 2, 1]) / 12
# How much of the stake is bet from the first product on; half of the rest has entered after SPREAD products.
FIRST, SPREAD = 0.25, 200
# Evidence that warns, as a share of the evidence that breaks.
WARNS = 0.25
# The least evidence that warns, at levels that a small stake refutes.
_SOME = 1.01
# No bet risks more than this share of its part of the stake on one product.
_MOST = 0.95
# Products in one product of factors: 0.05 ** 32 is still a normal number, and so is its inverse.
_CHUNK = 32
# How firmly the slope of correctness on confidence is believed to be 1, as for a calibrated confidence, until
# products have shown it: as if their confidences had had this sum of squared deviations (about 100 products).
_BELIEF = 1.0
_STEEPEST = 2.0
# Share of that slope which is used. All of it would leave the least variance; but stakes grow fastest with less, since
# what a confidence takes from the payoff of a wrong product is lost (by simulation, 0.5 is better than 0 and than 1).
_USED = 0.5
# Bets on the mean for `Monitor.interval`: shifts of the log-odds, each way, with equal parts of the stake.
_SHIFTS = np.geomspace(0.01, 2.0, 24)


class Status(StrEnum):
    """How a promise stands.

    Attributes
    ----------
    OK : str
        Nothing speaks against it.
    WARNING : str
        Something does, but not enough: label more. Or there is nothing to tell from.
    BROKEN : str
        It is not kept, with the confidence of `Monitor.level`.
    """

    OK = "OK"
    WARNING = "WARNING"
    BROKEN = "BROKEN"

    @property
    def exit_code(self) -> int:
        """Exit code of ``shelfbench watch``: 0 for OK, 3 for BROKEN, 4 for WARNING."""
        return {"OK": 0, "BROKEN": 3, "WARNING": 4}[self.value]


@dataclass(frozen=True)
class Aside:
    """What confidences say about some labelled products, beside their labels (prediction-powered inference).

    Attributes
    ----------
    surer : ndarray of float64, shape (n,)
        The confidence of each labelled product, less the mean confidence of products without a label that came with it
        and are set beside no other product. Its expectation is 0 if those with a label were drawn at random.
    most : float
        The largest value that its negative can have, from what is known without the products: 1, or less if no
        accepted product has a confidence near 0.
    """

    surer: np.ndarray
    most: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Monitor:
    """A bet against the claim that each labelled product, given those before it, is right with probability `target`.

    Attributes
    ----------
    target : float
        Between 0 and 1.
    level : float
        Confidence with which the claim is refuted: a false alarm has at most the probability 1 - level, over all looks
        together.
    labels : int
        Labelled products so far.
    right : int
        How many of them are right.
    cash : float
        Share of the stake that has not been bet yet.
    held : ndarray of float64, shape (ODDS,)
        What each part has become of the stake that has been bet.
    broken_at : int or None
        Number of labels at which the claim was refuted; from then on nothing is bet, since it stays refuted.
    crossed, squared : float
        Sums over products with an `Aside`, from which its slope is learned.
    """

    target: float
    level: float
    labels: int = 0
    right: int = 0
    cash: float = 1 - FIRST
    held: np.ndarray = field(default_factory=lambda: FIRST * PARTS)
    broken_at: int | None = None
    crossed: float = 0.0
    squared: float = 0.0

    @property
    def evidence(self) -> float:
        """What a stake of 1 against the claim has become: 20 refutes it with 95% confidence."""
        return float(self.held.sum() + self.cash)

    @property
    def enough(self) -> float:
        """Evidence that refutes the claim."""
        return 1 / (1 - self.level)

    @property
    def warns(self) -> float:
        """Evidence that warns; more than the stake of 1 that everybody begins with."""
        return max(WARNS * self.enough, _SOME)

    @property
    def status(self) -> Status:
        """How the claim stands; without any label that is a warning."""
        if self.broken_at is not None:
            return Status.BROKEN
        if not self.labels or self.evidence >= self.warns:
            return Status.WARNING
        return Status.OK

    @property
    def slope(self) -> float:
        """By how much correctness rises with confidence, as the products so far say; it weighs the next `Aside`."""
        return float(np.clip((_BELIEF + self.crossed) / (_BELIEF + self.squared), 0, _STEEPEST))

    def after(self, correct: np.ndarray, aside: Aside | None = None) -> Monitor:
        """Go through more labelled products.

        Parameters
        ----------
        correct : ndarray of bool, shape (n,)
            Whether each is right, in an order that does not depend on it.
        aside : Aside, optional
            What their confidences say.

        Returns
        -------
        Monitor
            As it stands after them.
        """
        right = np.asarray(correct, dtype=bool)
        payoffs, most = right.astype(np.float64), 1.0
        crossed, squared = self.crossed, self.squared
        if aside is not None:  # the slope is that of earlier products, so the expectation stays that of correct
            payoffs = payoffs - _USED * self.slope * aside.surer
            most = 1 + _USED * self.slope * aside.most
            crossed += float(aside.surer @ (right - self.target))
            squared += float(aside.surer @ aside.surer)
        held, cash, broken_at = self._bet(payoffs, most)
        return replace(
            self,
            labels=self.labels + len(right),
            right=self.right + int(right.sum()),
            cash=cash,
            held=held,
            broken_at=broken_at,
            crossed=crossed,
            squared=squared,
        )

    def _bet(self, payoffs: np.ndarray, most: float) -> tuple[np.ndarray, float, int | None]:
        """Bet on each payoff in turn; none is above `most`. Return the stakes, and where they were enough."""
        held, cash, count = self.held, self.cash, self.labels
        if self.broken_at is not None:
            return held, cash, self.broken_at
        # a bet b multiplies its part by 1 + b (target - payoff); these are the likelihood ratios for payoffs 0 and 1
        bets = (ODDS - 1) / (self.target + ODDS * (1 - self.target))
        bets = np.minimum(bets, _MOST / (most - self.target))
        for start in range(0, len(payoffs), _CHUNK):
            part = payoffs[start : start + _CHUNK]
            numbers = count + start + np.arange(len(part))
            left = (1 - FIRST) * SPREAD / (SPREAD + numbers + 1)  # cash once the money for each product has entered
            entering = np.append(cash, left[:-1]) - left
            growth = np.cumprod(1 + bets * (self.target - part[:, None]), axis=0)
            before = np.vstack([np.ones_like(bets), growth[:-1]])
            stakes = growth * (held + np.cumsum(entering[:, None] * PARTS / before, axis=0))
            reached = np.flatnonzero(stakes.sum(axis=1) + left >= self.enough)
            if reached.size:
                first = int(reached[0])
                return stakes[first], float(left[first]), count + start + first + 1
            held, cash = stakes[-1], float(left[-1])
        return held, cash, None

    def interval(self) -> tuple[float, float]:
        """Compute a confidence sequence of the precision: the interval holds at all looks together.

        Returns
        -------
        low : float
            Its lower end.
        high : float
            Its upper end. Between them lies the mean of the probabilities with which the products so far were right,
            also where these changed: each bet has a constant shift of the log-odds, so its stake is at most what it
            would be with the probabilities themselves, since ``log(1 - p + p exp(shift))`` is concave in p.
        """
        return interval(self.right, self.labels, self.level)


def interval(right: int, labels: int, level: float) -> tuple[float, float]:
    """Compute the confidence sequence of `Monitor.interval` from counts.

    Parameters
    ----------
    right : int
        Products that are right.
    labels : int
        All products.
    level : float
        Probability with which it holds at all counts of a stream.

    Returns
    -------
    low : float
        0 without products.
    high : float
        1 without products.
    """
    if not labels:
        return 0.0, 1.0
    return 1 - _highest(labels - right, labels, level), _highest(right, labels, level)


def _highest(hits: int, total: int, level: float) -> float:
    """Find the largest mean that bets on a lower one do not refute, at half of 1 - level."""
    from scipy.optimize import brentq

    parts, enough = np.log(len(_SHIFTS)), np.log(2 / (1 - level))

    def excess(mean: float) -> float:
        """How far the log of the stake is from enough, betting that the mean is lower."""
        grown = -_SHIFTS * hits - total * np.log1p(mean * np.expm1(-_SHIFTS))
        return float(np.logaddexp.reduce(grown) - parts - enough)

    # it grows with the mean: from below 0 at the observed share
    return float(brentq(excess, hits / total, 1.0, xtol=1e-9)) if excess(1.0) > 0 else 1.0
