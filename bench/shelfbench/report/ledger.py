"""The papers' numbers next to those that runs measured: ``shelfbench claims``.

Runs are a source here: the numbers come from the tables of finished runs, as a reader finds them. The report of a
single run passes its own tables from memory instead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from shelfbench.base.errors import InputError
from shelfbench.base.grid import MISSING, Grid, percent, share
from shelfbench.report.claims import Claim, load_claims
from shelfbench.report.recomputed import CALCULATIONS
from shelfbench.runs.entries import Entry
from shelfbench.runs.record import RECORD, read_record

HELD, DIFFERS, OTHER, NOWHERE = "held by a test of shelfbench", "differs", "other data", "not measurable here"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One claim, judged.

    Attributes
    ----------
    claim : Claim
        The claim.
    recomputed : str
        Result of a calculation from the paper's own numbers; empty if there is none.
    measured : str
        What a run measured, or which test of shelfbench holds it; empty if there is neither.
    on : str
        The run and its data.
    status : str
        `HELD` if it needs no data and a test of shelfbench holds it, which runs with shelfbench's own tests and need
        not have run on this machine; `DIFFERS` if the paper's own arithmetic contradicts what
        it prints; `OTHER` if a run measured something comparable on other data or another machine; otherwise `NOWHERE`.
    """

    claim: Claim
    recomputed: str
    measured: str
    on: str
    status: str


class RunTables:
    """Tables and record of a run directory, read on demand.

    Parameters
    ----------
    path : Path
        A run directory.
    tables : mapping of str to DataFrame, optional
        The run's tables by name, if they are in memory; then no file is read.

    Raises
    ------
    InputError
        If the record is missing or damaged.
    """

    def __init__(self, path: Path, tables: Mapping[str, pd.DataFrame] | None = None) -> None:
        self.path = path
        self.record = read_record(path, Entry)
        self.title = self.record.dataset.title or "this machine"
        self._in_memory = tables
        self._tables: dict[str, pd.DataFrame | None] = {}

    def table(self, name: str) -> pd.DataFrame | None:
        """Return a table of the run.

        Parameters
        ----------
        name : str
            As in ``tables/NAME.csv``.

        Returns
        -------
        DataFrame or None
            All cells as text; None if the run has no such table.

        Raises
        ------
        InputError
            If the file is damaged.
        """
        if name not in self._tables:
            self._tables[name] = self._read(name) if self._in_memory is None else _as_text(self._in_memory.get(name))
        return self._tables[name]

    def _read(self, name: str) -> pd.DataFrame | None:
        path = self.path / "tables" / f"{name}.csv"
        try:
            return pd.read_csv(path, dtype=str, keep_default_na=False) if path.is_file() else None
        except (OSError, ValueError) as error:
            raise InputError(f"{path} cannot be read ({error})", f"run: shelfbench report {self.path}") from error

    def cell(self, wanted: dict[str, Any]) -> str | None:
        """Find one cell, formatted.

        Parameters
        ----------
        wanted : dict
            As in `Claim.measure`.

        Returns
        -------
        str or None
            None if the run does not have it.
        """
        if "record" in wanted:
            value: Any = self.record
            for key in str(wanted["record"]).split("."):
                value = getattr(value, key, None)
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
            # of several names, the first one present
            names = value if isinstance(value, list) else [value]
            found = next((name for name in names if (table[column] == name).any()), None)
            table = table[table[column] == found]
        return None if table.empty else str(table[wanted["column"]].iloc[0])


def _as_text(frame: pd.DataFrame | None) -> pd.DataFrame | None:
    """Turn all cells of a table into text, as in its CSV."""
    return None if frame is None else frame.map(lambda value: "" if pd.isna(value) else str(value))


def _largest_fifth(run: RunTables) -> float | None:
    """Compute the share of the training products in the largest fifth of the categories (two of ten groups).

    On train, since under the paper's rule the share of a category's products that goes to test depends on its size.
    """
    table = run.table("deciles")
    if table is None or table.empty:
        return None
    own = table[(table["backend"] == table["backend"].iloc[0]) & (table["split"] == "train")]
    products = own["products"].astype(float)
    number = own["decile"].astype(int)
    return float(products[number > 8].sum() / products.sum()) if number.max() == 10 else None


def _best_two_layer(run: RunTables) -> str | None:
    table = run.table("table4")
    if table is None:
        return None
    heads = table[(table["split"] == "validation") & table["backend"].str.contains("-2nn-")]
    # a choice needs more than one option
    return str(heads["backend"].iloc[int(heads["acceptance_90"].astype(float).argmax())]) if len(heads) > 1 else None


_CALCULATED: dict[str, Callable[[RunTables], Any]] = {
    "largest_fifth": _largest_fifth,
    "best_two_layer": _best_two_layer,
}

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


def find_runs(directory: Path) -> list[RunTables]:
    """Find the runs of a directory: the directory itself, or those directly below it.

    Parameters
    ----------
    directory : Path
        A run directory, or a folder of run directories.

    Returns
    -------
    list of RunTables
        The most relevant first: Cdiscount's catalogue, then other real products, then generated catalogues; within
        each, those with more backends first, then those with more products.

    Raises
    ------
    InputError
        If there is none, or a record is damaged.
    """
    single = (directory / RECORD).is_file()
    found = [directory] if single else sorted(path.parent for path in directory.glob(f"[!.]*/{RECORD}"))
    if not found:
        raise InputError(
            f"{directory} contains no run (no {RECORD})", "name a run directory, or a folder of run directories"
        )

    def rank(run: RunTables) -> tuple[int, int, int, str]:
        dataset = run.record.dataset
        kind = {"cdiscount": 0, "generated": 2}.get(dataset.name, 1)
        return (kind, -len(run.record.backends), -(dataset.products or 0), run.path.name)

    return sorted(map(RunTables, found), key=rank)


def judge(claim: Claim, runs: Iterable[RunTables]) -> Finding:
    """Compare one claim with runs.

    Parameters
    ----------
    claim : Claim
        The claim.
    runs : iterable of RunTables
        The first run that has all the claim's cells is used.

    Returns
    -------
    Finding
        The claim with its status.
    """
    recomputed = CALCULATIONS[claim.recomputed](claim) if claim.recomputed else None
    measured, on = "", ""
    for run in runs if claim.measure else ():
        cells = [run.cell(wanted) for wanted in claim.measure]
        if all(cell is not None for cell in cells):
            measured, on = ", ".join(map(str, cells)), f"{run.path.name}: {run.title}"
            break
    if measured:
        status = OTHER
    elif claim.checked:
        measured, on = "see " + ", ".join(name.partition("::")[2] for name in claim.checked), MISSING
        status = HELD
    else:
        status = NOWHERE
    if recomputed and not recomputed.agrees:
        status = DIFFERS
    return Finding(
        claim=claim, recomputed=recomputed.text if recomputed else "", measured=measured, on=on, status=status
    )


def findings(directory: Path, tables: Mapping[str, pd.DataFrame] | None = None) -> list[Finding]:
    """Compare all claims of both papers with the runs of a directory.

    Parameters
    ----------
    directory : Path
        A run directory, or a folder of run directories.
    tables : mapping of str to DataFrame, optional
        The tables of a single run by name, if they are in memory; then no file is read.

    Returns
    -------
    list of Finding
        In the order of the ledger.

    Raises
    ------
    InputError
        If no run is found, or a file of one is damaged.
    """
    runs = find_runs(directory) if tables is None else [RunTables(directory, tables)]
    return [judge(claim, runs) for claim in load_claims().values()]


def claims_grid(found: list[Finding]) -> Grid:
    """Lay out the ledger as a table.

    Parameters
    ----------
    found : list of Finding
        From `findings`.

    Returns
    -------
    Grid
        One row per claim.
    """
    counts = {status: sum(one.status == status for one in found) for status in (HELD, DIFFERS, OTHER, NOWHERE)}
    return Grid(
        title="The papers' numbers next to ours",
        headers=("Claim", "Where", "What", "Printed", "Our reading", "Recomputed", "Measured here", "On", "Status"),
        rows=tuple(
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
        notes=(
            "; ".join(f"{status}: {number}" for status, number in counts.items()).capitalize() + ".",
            "Held by a test of shelfbench: the claim needs no data, and the test named here holds it; it runs with "
            "shelfbench's own tests, not with this command. Differs: the paper's own numbers contradict what it "
            "prints. Other data: something comparable was measured, but on other data or another machine, which "
            "neither confirms nor refutes it. Not measurable here: the data are not public, or the study was not run.",
        ),
    )
