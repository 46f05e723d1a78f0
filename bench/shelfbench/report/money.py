"""What each backend costs in money, and the prices that a run is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from shelfbench.base.grid import MISSING, Grid, asked, percent, probability
from shelfbench.report.data import RunData
from shelfbench.report.section import NamedTable, Section
from shelfbench.runs.money import money, money_frame, money_sentence, needs, paid_after, prices_of
from shelfbench.runs.record import read_json, write_record
from shelfbench.verdict.costs import Prices

TITLE = "What it costs in money"
_COMPUTING = (
    "Computing a product: decoding, features and scores, from the seconds of this run. Once: all that the run spent on "
    "the backend. It pays after so many products, when what was spent once has been saved."
)


def costs(data: RunData) -> Section | None:
    """The threshold that costs least for each backend; None if the run was not told what reviews and errors cost."""
    found = data.once(_frame)
    if found is None:
        return None
    prices, frame = found
    if not len(frame):
        return None
    grid = money_grid(frame, prices)
    sentence = money_sentence(frame, prices)
    return Section(title=TITLE, notes=(sentence,), grids=(NamedTable(name="money", grid=grid, frame=frame),))


def in_words(data: RunData) -> str:
    """Say which backend costs least; empty if the run was not told what reviews and errors cost."""
    found = data.once(_frame)
    if found is None:
        return ""
    return money_sentence(found[1], found[0])


def _frame(data: RunData) -> tuple[Prices, pd.DataFrame] | None:
    prices = prices_of(data.record)
    return None if prices is None else (prices, money_frame(data.run, prices))


def money_grid(frame: pd.DataFrame, prices: Prices) -> Grid:
    """Every backend: its threshold, what that costs on products that did not choose it, and what it saves.

    Parameters
    ----------
    frame : DataFrame
        From `shelfbench.runs.money.money_frame`.
    prices : Prices

    Returns
    -------
    Grid
    """
    role = "test" if "test_cost" in frame else "certify"
    rows = []
    for row in frame.to_dict("records"):
        pays = paid_after(row["after"], row["after_low"], row["after_high"]).removeprefix("after ")
        rows.append(
            (
                row["backend"],
                f"≥ {probability(row['threshold'])}" if row["tune_accepted"] else "accepts nothing",
                percent(row[f"{role}_accepted"] / row[f"{role}_products"]),
                _cost(row, "certify_cost"),
                _cost(row, "test_cost"),
                _cost(row, "certified_cost"),
                _cost(row, "saved"),
                _cost(row, f"{role}_worth"),
                *((money(row["computing_each"]), money(row["computing_once"]), pays) if prices.hour else ()),
            )
        )
    least = int(np.argmin(frame["tune_cost"]))
    hour = f"An hour of the machine costs {asked(prices.hour)}. " if prices.hour else ""
    return Grid(
        title="The threshold that costs least, chosen on tune",
        headers=(
            "Backend",
            "Confidence",
            f"Accepted, {role}",
            "Cost a product, certify",
            "Cost a product, test",
            "… at the certified threshold",
            "Saved a product",
            "An error may cost",
            *(("Computing a product", "Computing, once", "Pays after") if prices.hour else ()),
        ),
        rows=tuple(rows),
        numeric=frozenset(range(2, 11 if prices.hour else 8)),
        notes=(
            f"A review costs {asked(prices.review)}, an accepted product that is wrong {asked(prices.error)}. {hour}"
            f"Without automation every product is reviewed, at {asked(prices.review)} a product. {needs(prices)} A "
            "person is taken to be always right, and labels that are there already are not counted.",
            "Intervals: 95%, by resampling the products. The threshold is chosen on tune alone, for its cost: it does "
            "not promise a precision. At the certified threshold: of the precision 0.9, on test. An error may cost: up "
            "to so much, accepting at this threshold costs less than reviewing everything (from the precision on "
            f"{role}). Bold: the least on tune.",
            *((_COMPUTING,) * bool(prices.hour)),
        ),
        best=frozenset({(least, 0)}),
    )


def _cost(row: dict[Any, Any], name: str) -> str:
    value = row.get(name)
    if value is None or pd.isna(value):
        return MISSING
    return f"{money(value)} [{money(row[f'{name}_low'])}, {money(row[f'{name}_high'])}]"


def note_prices(run_dir: Path, prices: Prices) -> None:
    """Note in the record of a run what things cost, for its page.

    Parameters
    ----------
    run_dir : Path
        A run directory.
    prices : Prices

    Raises
    ------
    InputError
        If it is not a run directory, or cannot be written.
    """
    values = read_json(run_dir)
    study = dict(values.get("study") or {})
    told = {"review_cost": prices.review, "error_cost": prices.error, **({"price": prices.hour} if prices.hour else {})}
    kept = {key: value for key, value in dict(study.get("report") or {}).items() if key != "price"}
    study["report"] = {**kept, **told}
    write_record(run_dir, {**values, "study": study})
