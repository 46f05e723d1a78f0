"""What a decision costs: at its own threshold, and at the one that costs least, against reviewing everything."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any

import msgspec
import numpy as np
import pyarrow as pa
from msgspec import Meta, Struct

from shelfbench.base.grid import asked, percent, probability
from shelfbench.runs.money import Computing, money, needs, paid_after
from shelfbench.verdict.confidence import measure as confidence_of
from shelfbench.verdict.costs import Prices, Spent, cheapest, pays_after, spent

_ROLES = ("certify", "test")
_Amount = Annotated[float, Meta(ge=0)]
_Count = Annotated[int, Meta(ge=0)]


@dataclass(frozen=True, kw_only=True)
class Priced:
    """A threshold, and what it costs.

    Attributes
    ----------
    threshold : float or None
        None accepts nothing.
    certify, test : Spent
    """

    threshold: float | None
    certify: Spent
    test: Spent


@dataclass(frozen=True, kw_only=True)
class Money:
    """What a decision costs.

    Attributes
    ----------
    prices : Prices
    cheapest : Priced
        The threshold that costs least on `tune`, with the same categories switched off.
    certified : Priced or None
        The decision's own threshold; None unless it passed.
    computing : Computing or None
        None if computing is not counted, or was not timed.
    """

    prices: Prices
    cheapest: Priced
    certified: Priced | None
    computing: Computing | None

    def lines(self, measure: str) -> list[str]:
        """Say it in words, for the terminal.

        Parameters
        ----------
        measure : str
            A key of `shelfbench.decision.rule.MEASURES`.

        Returns
        -------
        list of str
        """
        prices, least, own = self.prices, self.cheapest, self.certified
        lines = [f"at {asked(prices.review)} a review and {asked(prices.error)} an error: {needs(prices)}"]
        if own is not None:
            lines.append(f"the certified threshold {self._says(own)}")
        if least.threshold is None:
            lines.append("no threshold costs less than reviewing every product (on tune)")
            return lines
        where = f" of at least {probability(least.threshold)}" if measure == "probability" else f", by {measure},"
        side = "" if own is None or own.threshold is None else self._beside(least.threshold, own.threshold)
        if prices.review >= prices.error:
            lines.append(f"to accept all that are as sure as the least sure product of tune: it {self._says(least)}")
        else:
            lines.append(f"a confidence{where} would cost least, chosen on tune{side}: it {self._says(least)}")
        return lines

    def _beside(self, least: float, own: float) -> str:
        if least == own:
            return ", and is the certified one"
        return ", stricter than the certified one" if least > own else ", looser than the certified one, not promised"

    def _says(self, at: Priced) -> str:
        test = at.test
        text = (
            f"costs {_interval(at.certify)} a product on certify and {_interval(test)} on test, where it accepts "
            f"{percent(test.accepted / test.products)}"
        )
        if test.low > self.prices.review:
            text += f", more than the {asked(self.prices.review)} of reviewing everything"
        if test.accepted:
            text += f"; by test, it pays while an error costs up to {money(test.worth)}" + (
                f" [{money(test.worth_low)}, {money(test.worth_high)}]"
            )
        if self.computing is None:
            return text
        once, each = self.computing.once, self.computing.each
        after = [
            pays_after(once, self.prices.review - cost - each) if test.accepted else math.inf
            for cost in (test.cost, test.low, test.high)
        ]
        paid = f"saved {paid_after(*after)}"
        return f"{text}; computing costs {money(each)} a product and {money(once)} once, {paid}"


def _interval(found: Spent) -> str:
    return f"{money(found.cost)} [{money(found.low)}, {money(found.high)}]"


def price(
    predictions: pa.Table,
    column: str,
    limits: tuple[float | None, Sequence[str]],
    prices: Prices,
    spent_on: Computing,
) -> Money:
    """Compute what a decision costs.

    Parameters
    ----------
    predictions : Table
        As for `shelfbench.decision.rule.judge`.
    column : str
        Of the measure of confidence.
    limits : (float or None, sequence of str)
        The certified threshold, if there is one, and the categories that are switched off.
    prices : Prices
    spent_on : Computing

    Returns
    -------
    Money
    """
    threshold, off = limits
    confidence = confidence_of(predictions, column)
    truth, predicted, role = (predictions[name].to_numpy() for name in ("category", "predicted", "role"))
    correct = (predicted.astype(object) == truth.astype(object)) & (confidence > -np.inf)
    confidence = np.where(np.isin(predicted.astype(str), list(off)), -np.inf, confidence)
    parts = {name: (confidence[role == name], correct[role == name]) for name in ("tune", *_ROLES)}
    least = cheapest(*parts["tune"], prices)

    def at(limit: float) -> Priced:
        found = {name: spent(*parts[name], limit, prices) for name in _ROLES}
        return Priced(threshold=None if math.isinf(limit) else limit, **found)

    counted = prices.hour > 0 and not math.isnan(spent_on.once)
    return Money(
        prices=prices,
        cheapest=at(least),
        certified=None if threshold is None else at(threshold),
        computing=spent_on if counted else None,
    )


class _PricesEntry(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    review: _Amount
    error: _Amount
    hour: _Amount


class _SpentEntry(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    products: _Count
    accepted: _Count
    wrong: _Count
    cost: _Amount
    low: _Amount
    high: _Amount
    worth: _Amount | None
    worth_low: _Amount | None
    worth_high: _Amount | None

    @property
    def spent(self) -> Spent:
        values = msgspec.structs.asdict(self)
        missing = math.inf if self.accepted else math.nan
        known: dict[str, Any] = {name: missing if value is None else value for name, value in values.items()}
        return Spent(**known)


class _PricedEntry(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    threshold: float | None
    certify: _SpentEntry
    test: _SpentEntry

    @property
    def priced(self) -> Priced:
        return Priced(threshold=self.threshold, certify=self.certify.spent, test=self.test.spent)


class _ComputingEntry(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    once: _Amount
    each: _Amount


class MoneyEntry(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """See `Money`; numbers that are infinite or unknown are null."""

    prices: _PricesEntry
    cheapest: _PricedEntry
    certified: _PricedEntry | None
    computing: _ComputingEntry | None

    @property
    def money(self) -> Money:
        """What the decision costs."""
        return Money(
            prices=Prices(**msgspec.structs.asdict(self.prices)),
            cheapest=self.cheapest.priced,
            certified=self.certified.priced if self.certified else None,
            computing=Computing(**msgspec.structs.asdict(self.computing)) if self.computing else None,
        )


def money_values(found: Money) -> dict[str, Any]:
    """Return what a decision costs as JSON, for ``decision.json``.

    Parameters
    ----------
    found : Money

    Returns
    -------
    dict
    """
    values: dict[str, Any] = _finite(asdict(found))
    return values


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
