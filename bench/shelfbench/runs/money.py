"""What each backend of a run would cost, in money: reviews, errors and computing, against reviewing everything."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from shelfbench.base.grid import asked, count, digits, percent, probability
from shelfbench.runs.columns import check_columns
from shelfbench.runs.directory import Run
from shelfbench.runs.reading import COST_STAGES, Evaluated, reading
from shelfbench.runs.record import RunRecord
from shelfbench.verdict.costs import Prices, Spent, cheapest, pays_after, spent

_EACH = ("extract", "predict")  # stages that every new product goes through
_HOUR = 3600.0
_CERTIFIED = 0.9  # the precision whose certified threshold stands beside the cheapest


@dataclass(frozen=True)
class Computing:
    """What the computing of a backend costs; NaN if nothing was timed, 0 if it is not counted.

    Attributes
    ----------
    once : float
        All that the run spent on it, before the first product of the flow.
    each : float
        For each product of the flow: decoding, features and scores.
    """

    once: float = 0.0
    each: float = 0.0


def prices_of(record: RunRecord[Any]) -> Prices | None:
    """Return what the run was told that a review, an error and an hour cost; None if nothing.

    Parameters
    ----------
    record : RunRecord

    Returns
    -------
    Prices or None

    Raises
    ------
    InputError
        If the record holds what is not a cost.
    """
    said = record.settings.report
    return Prices.of(*(value or None for value in (said.review_cost, said.error_cost, said.price)))


def computing(run: Run, backend: str, prices: Prices) -> Computing:
    """Compute what the machine costs for a backend.

    Parameters
    ----------
    run : Run
    backend : str
    prices : Prices

    Returns
    -------
    Computing
        All of the catalogue's photos are decoded and scored in a run, so that their seconds by the number of products
        are those of one product. Features that another backend had computed count in full.

    Raises
    ------
    InputError
        If the times of the run are damaged.
    """
    path = run.path / "timings.parquet"
    if not prices.hour:
        return Computing()
    if not path.is_file():
        return Computing(math.nan, math.nan)
    with reading(path):
        check_columns(path)
        timings = pd.read_parquet(path, columns=["backend", "stage", "seconds"])
    own = timings[timings["backend"] == backend].groupby("stage")["seconds"].sum()
    if not len(own):
        return Computing(math.nan, math.nan)
    split = run.record.split
    products = sum(part.products or 0 for part in (split.train, split.validation, split.test))
    each = float(own[own.index.isin(_EACH)].sum())
    return Computing(
        once=prices.hour * float(own[own.index.isin(COST_STAGES)].sum()) / _HOUR,
        each=prices.hour * each / products / _HOUR if products else math.nan,
    )


def money_frame(run: Run, prices: Prices) -> pd.DataFrame:
    """Compute the threshold that costs least for every backend, and what it costs on products that did not choose it.

    Parameters
    ----------
    run : Run
    prices : Prices

    Returns
    -------
    DataFrame
        One row per backend with products of tune and of certify or test: the prices, the threshold (a log-probability,
        infinite where reviewing everything costs least), what it accepts and costs a product on tune, certify and test
        (95% intervals in _low and _high), the cost of the certified threshold (0.9, on test), computing, what is saved
        a product, and after how many products what the run cost has been saved. The columns saved and after are of
        test, or of certify where there is no test.
    """
    found = run.certified.to_dict("records")
    limits = {row["backend"]: float(row["certified_threshold"]) for row in found if row["target"] == _CERTIFIED}
    rows = []
    for backend in run.sound:
        products = run.products(backend)
        parts = {role: products.where(products.role == role) for role in ("tune", "certify", "test")}
        if len(parts["tune"].truth) and (len(parts["certify"].truth) or len(parts["test"].truth)):
            rows.append({"backend": backend, **_row(parts, prices, limits.get(backend, math.nan))})
            rows[-1] |= _pays(rows[-1], computing(run, backend, prices), prices)
    return pd.DataFrame(rows)


def _row(parts: Mapping[str, Evaluated], prices: Prices, certified: float) -> dict[str, Any]:
    threshold = cheapest(parts["tune"].confidence, parts["tune"].correct, prices)
    row: dict[str, Any] = {
        "review_cost": prices.review,
        "error_cost": prices.error,
        "price": prices.hour,
        "threshold": threshold,
    }
    for role, part in parts.items():
        if len(part.truth):
            row |= columns(role, spent(part.confidence, part.correct, threshold, prices))
    test = parts["test"]
    if len(test.truth) and not math.isnan(certified):
        at = spent(test.confidence, test.correct, certified, prices)
        row |= {"certified_cost": at.cost, "certified_cost_low": at.low, "certified_cost_high": at.high}
    else:
        row |= dict.fromkeys(("certified_cost", "certified_cost_low", "certified_cost_high"), math.nan)
    return row


def columns(role: str, found: Spent) -> dict[str, Any]:
    """Name the numbers of a cost by the part of the data that they come from.

    Parameters
    ----------
    role : str
    found : Spent

    Returns
    -------
    dict
    """
    return {
        f"{role}_products": found.products,
        f"{role}_accepted": found.accepted,
        f"{role}_wrong": found.wrong,
        f"{role}_cost": found.cost,
        f"{role}_cost_low": found.low,
        f"{role}_cost_high": found.high,
        f"{role}_worth": found.worth,
        f"{role}_worth_low": found.worth_low,
        f"{role}_worth_high": found.worth_high,
    }


def _pays(row: Mapping[str, Any], spent_on: Computing, prices: Prices) -> dict[str, float]:
    """Compute what is saved, from the cost and both ends of its interval."""
    role = "test" if "test_cost" in row else "certify"
    taken = row[f"{role}_accepted"] > 0
    values = {"computing_once": spent_on.once, "computing_each": spent_on.each}
    for end, cost in (("", "cost"), ("_low", "cost_high"), ("_high", "cost_low")):
        saved = prices.review - row[f"{role}_{cost}"] - spent_on.each if taken else 0.0
        values[f"saved{end}"] = saved
        values[f"after{end}"] = math.nan if math.isnan(saved) else pays_after(spent_on.once, saved)
    # the less is saved, the later it pays
    values["after_low"], values["after_high"] = values["after_high"], values["after_low"]
    return values


def money_sentence(frame: pd.DataFrame, prices: Prices) -> str:
    """Say which backend costs least, chosen on tune, and what it costs where it was not chosen.

    Parameters
    ----------
    frame : DataFrame
        From `money_frame`.
    prices : Prices

    Returns
    -------
    str
        Empty if there is no backend.
    """
    if not len(frame):
        return ""
    start = f"At {asked(prices.review)} a review and {asked(prices.error)} an error, "
    spending = frame["tune_cost"] + frame["computing_each"].fillna(0)
    row = frame.to_dict("records")[int(np.argmin(spending))]
    if not row["tune_accepted"]:
        return f"{start}reviewing every product costs least: no backend is right often enough to save anything."
    role = "test" if "test_cost" in frame else "certify"
    saved = (
        ""
        if row["saved_low"] > 0
        else "; whether that saves anything is not sure"
        if row["saved_high"] > 0
        else "; that saves nothing"
    )
    return (
        f"{start}{row['backend']} costs least of all backends on tune: it accepts confidences of at least "
        f"{probability(row['threshold'])}, which costs {money(row[f'{role}_cost'])} a product on {role} (95% interval "
        f"{money(row[f'{role}_cost_low'])} to {money(row[f'{role}_cost_high'])}; "
        f"{percent(row[f'{role}_accepted'] / row[f'{role}_products'])} accepted). Reviewing every product costs "
        f"{asked(prices.review)} a product{saved}. {needs(prices)}{_too_dear(row, prices)}"
    )


def money(value: float) -> str:
    """Write an amount with three significant digits: 0.0213, 1.20, 12,345."""
    return "no limit" if math.isinf(value) else digits(value)


def _too_dear(row: Mapping[Any, Any], prices: Prices) -> str:
    """Say that a promise costs more than it saves, where that is sure."""
    if not row["certified_cost_low"] > prices.review:
        return ""
    return (
        f" At its certified threshold for {percent(_CERTIFIED)} it costs {money(row['certified_cost'])} a product on "
        "test: more than reviewing everything."
    )


def needs(prices: Prices) -> str:
    """Say how precise accepting must be to save anything."""
    if not prices.even:
        return "An error costs no more than a review: accepting every product costs least."
    return f"Accepting saves only where more than {percent(prices.even)} of the accepted products are right."


def paid_after(value: float, low: float, high: float) -> str:
    """Write after how many products something has been saved, with the interval of that."""
    if math.isnan(value):
        return "–"
    if math.isinf(low):
        return "never"
    text = f"after {products_text(value)} product{'s' * (value != 1)}" if math.isfinite(value) else "perhaps never"
    return text if low == high else f"{text} [{products_text(low)}, {products_text(high)}]"


def products_text(value: float) -> str:
    """Write after how many products something pays: 12,345, or never."""
    return "never" if math.isinf(value) else count(int(value))
