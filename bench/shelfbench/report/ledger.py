"""The papers' numbers beside what runs measured: ``shelfbench claims``."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import pandas as pd

from shelfbench.base.console import Console
from shelfbench.base.errors import InputError
from shelfbench.base.grid import MISSING, Grid, percent, share
from shelfbench.report.claims import Claim, load_claims
from shelfbench.report.tables import write_forms

REPRODUCED, DIFFERS, OTHER, NOWHERE = "reproduced", "differs", "other data", "not measurable here"


@dataclass(frozen=True)
class Finding:
    """One claim, judged.

    Attributes
    ----------
    claim : Claim
    recomputed : str
        What the paper's own numbers give; empty where they give nothing.
    measured : str
        What a run measured, or which test holds us to it; empty where there is neither.
    on : str
        The run and its data.
    status : str
        `REPRODUCED` where it needs no data and is tested; `DIFFERS` where the paper's own arithmetic contradicts
        what it prints; `OTHER` where a run measured the like on other data or another machine; else `NOWHERE`.
    """

    claim: Claim
    recomputed: str
    measured: str
    on: str
    status: str


class Run:
    """Tables and record of a run directory, read when asked for.

    Parameters
    ----------
    path : Path
        A folder with ``run.json``.
    tables : mapping of str to DataFrame, optional
        The tables of the run, where a report has just made them; otherwise they are read when asked for.

    Raises
    ------
    InputError
        If the record is damaged.
    """

    def __init__(self, path: Path, tables: Mapping[str, pd.DataFrame] | None = None) -> None:
        self.path = path
        try:
            self.record: dict[str, Any] = json.loads((path / "run.json").read_text(encoding="utf-8"))
            dataset = self.record.get("dataset") or {}
            self.title = str(dataset.get("title") or "this machine")
            self.products = int(dataset.get("products") or 0)
            self.backends = len(self.record.get("backends") or {})
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise InputError(f"{path / 'run.json'} cannot be read ({error})", "run the study again") from error
        self._tables: dict[str, pd.DataFrame | None] = {
            name: pd.read_csv(StringIO(frame.to_csv(index=False)), dtype=str, keep_default_na=False)
            for name, frame in (tables or {}).items()
        }
        self._only_given = tables is not None

    def table(self, name: str) -> pd.DataFrame | None:
        """Read ``tables/NAME.csv``, all cells as text; None where the run has none."""
        if name not in self._tables and not self._only_given:
            path = self.path / "tables" / f"{name}.csv"
            try:
                self._tables[name] = pd.read_csv(path, dtype=str, keep_default_na=False) if path.is_file() else None
            except (OSError, ValueError) as error:
                raise InputError(f"{path} cannot be read ({error})", f"shelfbench report {self.path}") from error
        return self._tables.get(name)

    def cell(self, wanted: dict[str, Any]) -> str | None:
        """Find one cell as `Claim.measure` asks for it, formatted; None where the run lacks it."""
        if "record" in wanted:
            value: Any = self.record
            for key in str(wanted["record"]).split("."):
                value = value.get(key) if isinstance(value, dict) else None
        elif "calculated" in wanted:
            value = _CALCULATED[wanted["calculated"]](self)
        else:
            value = self._looked_up(wanted)
        if value is None or value == "":
            return None
        text = _FORMS[wanted["form"]](value)
        return f"{text} {wanted['label']}" if wanted.get("label") else text

    def _looked_up(self, wanted: dict[str, Any]) -> str | None:
        table = self.table(wanted["table"])
        if table is None or wanted["column"] not in table or not set(wanted["where"]) <= set(table):
            return None
        for column, value in wanted["where"].items():
            # of several names the first that is there
            names = value if isinstance(value, list) else [value]
            found = next((name for name in names if (table[column] == name).any()), None)
            table = table[table[column] == found]
        return None if table.empty else str(table[wanted["column"]].iloc[0])


def _largest_fifth(run: Run) -> float | None:
    """Share of the training products in the largest fifth of the categories (the two largest of ten groups).

    Of train, whose share of a category does not depend on its size as that of test does by the paper's rule.
    """
    table = run.table("deciles")
    if table is None or table.empty:
        return None
    own = table[(table["backend"] == table["backend"].iloc[0]) & (table["split"] == "train")]
    products = own["products"].astype(float)
    number = own["decile"].astype(int)
    return float(products[number > 8].sum() / products.sum()) if number.max() == 10 else None


def _best_two_layer(run: Run) -> str | None:
    table = run.table("table4")
    if table is None:
        return None
    heads = table[(table["split"] == "validation") & table["backend"].str.contains("-2nn-")]
    # a choice needs more than one to choose from
    return str(heads["backend"].iloc[int(heads["acceptance_90"].astype(float).argmax())]) if len(heads) > 1 else None


_CALCULATED: dict[str, Callable[[Run], Any]] = {"largest_fifth": _largest_fifth, "best_two_layer": _best_two_layer}

_FORMS: dict[str, Callable[[Any], str]] = {
    "text": str,
    "count": lambda value: f"{int(value):,}",
    "number": lambda value: f"{float(value):.3g}",
    "share": lambda value: share(float(value)),
    "percent": lambda value: percent(float(value)),
    "points": lambda value: f"{100 * float(value):+.1f} points",
    "seconds": lambda value: f"{float(value):,.0f} s",
    "hours": lambda value: f"{float(value) / 3600:,.1f} hours",
    "days": lambda value: f"{float(value) / 86400:,.1f} days",
}


@dataclass(frozen=True)
class _Recomputed:
    text: str
    agrees: bool = True


def _passes(claim: Claim) -> _Recomputed:
    """Passes over the catalogue, from the epoch of a million images that the paper prints."""
    value = claim.value
    epoch = next(
        other.value["epoch_seconds"]
        for other in load_claims().values()
        if "epoch_seconds" in other.value and other.value["training"] == value["training"]
    )
    seconds = epoch * value["passes"] * value["catalogue"] / 1e6
    amount = seconds / {"hours": 3600, "days": 86400}[value["unit"]]
    return _Recomputed(f"{amount:.1f} {value['unit']}", abs(amount / value["amount"] - 1) < 0.01)


def _images_a_second(claim: Claim) -> _Recomputed:
    return _Recomputed(f"{1e6 / claim.value['epoch_seconds']:,.1f} images/s")


def _literal_decay(claim: Claim) -> _Recomputed:
    """The rate after one update with the exponent as printed: training would be over."""
    initial = next(
        other.value["initial"]
        for other in load_claims().values()
        if "initial" in other.value and other.value["recipe"] == claim.value["recipe"]
    )
    return _Recomputed(f"as printed, a rate of {initial / (1 + claim.value['printed']):.1e} after one update", False)


def _rejected_precision(claim: Claim) -> _Recomputed:
    """Precision of what is not accepted, from the two points of Figure 5."""
    whole = load_claims()["C39"].value["precision"]
    accepted, precision = claim.value["acceptance"], claim.value["precision"]
    return _Recomputed(
        f"the rejected {percent(1 - accepted)} are {percent((whole - accepted * precision) / (1 - accepted))} right"
    )


def _relative_gain(claim: Claim) -> _Recomputed:
    scores = {
        (entry.value["network"], entry.value["fully_connected"]): entry.value["map_100"]
        for entry in load_claims().values()
        if "map_100" in entry.value
    }
    gains = {fc: 100 * (scores["xception", fc] / scores["inception_v3", fc] - 1) for fc in ("yes", "no")}
    return _Recomputed(
        f"{gains['yes']:.2f}% with FC layers, {gains['no']:.2f}% without",
        round(gains["yes"], 1) == claim.value["percent"],
    )


def _size_difference(claim: Claim) -> _Recomputed:
    sizes = [entry.value["parameters"] for entry in load_claims().values() if "parameters" in entry.value]
    difference = max(sizes) / min(sizes) - 1
    return _Recomputed(f"{100 * difference:.2f}%", difference <= claim.value["within"])


def _times_imagenet(claim: Claim) -> _Recomputed:
    return _Recomputed(f"{claim.value['categories'] / claim.value['imagenet']:.1f} times")


_RECOMPUTED: dict[str, Callable[[Claim], _Recomputed]] = {
    "passes": _passes,
    "images_a_second": _images_a_second,
    "literal_decay": _literal_decay,
    "rejected_precision": _rejected_precision,
    "relative_gain": _relative_gain,
    "size_difference": _size_difference,
    "times_imagenet": _times_imagenet,
}


def find_runs(directory: Path) -> list[Run]:
    """Runs of a directory: itself, or those right below it.

    The most telling one first: Cdiscount's catalogue, then other real products, then a generated one; more backends
    first; more products first.

    Raises
    ------
    InputError
        If there is none.
    """
    single = (directory / "run.json").is_file()
    found = [directory] if single else sorted(path.parent for path in directory.glob("*/run.json"))
    if not found:
        raise InputError(f"{directory} holds no run (no run.json)", "name a run directory, or a folder of them")

    def rank(run: Run) -> tuple[int, int, int, str]:
        name = str((run.record.get("dataset") or {}).get("name"))
        return ({"cdiscount": 0, "generated": 2}.get(name, 1), -run.backends, -run.products, run.path.name)

    return sorted(map(Run, found), key=rank)


def judge(claim: Claim, runs: Iterable[Run]) -> Finding:
    """Hold one claim against runs: the first that has all its cells is taken."""
    recomputed = _RECOMPUTED[claim.recomputed](claim) if claim.recomputed else None
    measured, on = "", ""
    for run in runs if claim.measure else ():
        cells = [run.cell(wanted) for wanted in claim.measure]
        if all(cell is not None for cell in cells):
            measured, on = ", ".join(map(str, cells)), f"{run.path.name}: {run.title}"
            break
    if measured:
        status = OTHER
    elif claim.checked:
        measured, on, status = (
            "tested: " + ", ".join(name.partition("::")[2] for name in claim.checked),
            "–",
            REPRODUCED,
        )
    else:
        status = NOWHERE
    if recomputed and not recomputed.agrees:
        status = DIFFERS
    return Finding(claim, recomputed.text if recomputed else "", measured, on, status)


def findings(directory: Path, tables: Mapping[str, pd.DataFrame] | None = None) -> list[Finding]:
    """All claims of both papers, held against the runs of a directory, or against one whose tables are at hand."""
    runs = find_runs(directory) if tables is None else [Run(directory, tables)]
    return [judge(claim, runs) for claim in load_claims().values()]


def claims_grid(found: list[Finding]) -> Grid:
    """The ledger as a table."""
    counts = {status: sum(one.status == status for one in found) for status in (REPRODUCED, DIFFERS, OTHER, NOWHERE)}
    return Grid(
        "The papers' numbers, and ours beside them",
        ("Claim", "Where", "What", "Printed", "Our reading", "Recomputed", "Measured here", "On", "Status"),
        tuple(
            (
                one.claim.id,
                one.claim.where,
                one.claim.meaning,
                one.claim.printed,
                *(text or MISSING for text in (one.claim.reading, one.recomputed, one.measured, one.on)),
                one.status,
            )
            for one in found
        ),
        frozenset(),
        (
            ", ".join(f"{number} {status}" for status, number in counts.items()) + ".",
            "Reproduced: it needs no data, and a test holds us to it. Differs: the paper's own numbers contradict "
            "what it prints. Other data: the like, measured on other data or another machine; it neither confirms "
            "nor refutes. Not measurable here: what it rests on is not public, or the study was not run.",
        ),
    )


def write_claims(directory: Path, console: Console) -> str:
    """Write ``claims.{csv,md,tex}`` into the tables of a run, or beside several runs.

    Parameters
    ----------
    directory : Path
        A run directory, or a folder of run directories.
    console : Console

    Returns
    -------
    str
        A short form for the terminal.

    Raises
    ------
    InputError
        If there is no run, or a file of one is damaged.
    """
    found = findings(directory)
    grid = claims_grid(found)
    frame = pd.DataFrame(
        [
            {
                "claim": one.claim.id,
                "where": one.claim.where,
                "meaning": one.claim.meaning,
                "data": one.claim.data,
                "printed": one.claim.printed,
                "reading": one.claim.reading,
                "recomputed": one.recomputed,
                "measured": one.measured,
                "on": one.on,
                "status": one.status,
            }
            for one in found
        ]
    )
    folder = directory / "tables" if (directory / "run.json").is_file() else directory
    write_forms(folder, "claims", frame, grid)
    console.log(f"claims: {folder / 'claims.md'}")
    short = Grid(
        grid.title,
        ("Claim", "Printed", "Recomputed", "Measured here", "Status"),
        tuple(
            (
                one.claim.id,
                _cut(one.claim.printed, 34),
                _cut(one.recomputed or MISSING, 34),
                _cut(one.measured or MISSING, 44),
                one.status,
            )
            for one in found
        ),
        frozenset(),
        grid.notes,
    )
    return short.text()


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"
