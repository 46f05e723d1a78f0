"""Table 4 of C: the backends next to each other, and next to the paper's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from shelfbench.base.grid import MISSING, Grid, interval, seconds, share
from shelfbench.report.claims import Claim, paper_note, table4_claim
from shelfbench.report.data import RunData
from shelfbench.report.section import NamedTable, Section
from shelfbench.runs.choice import costs_less
from shelfbench.runs.entries import BackendEntry

_SHORT = {
    "Train prec.": "Train",
    "Val. prec.": "Val",
    "Val. acc. at 0.9": "Acc.",
    "Test prec.": "Test, 95% interval",
    "Test acc. at 0.9": "Acc., 95% interval",
    "Seconds": "Sec.",
}
_NAMED = 4  # columns that say which backend it is
_CACHED_NOTE = "†: with features that an earlier backend or run had computed; the seconds include what they cost then."


def table4(data: RunData) -> Section:
    """Table 4, the first thing that readers look at."""
    grid = table4_grid(data)
    return Section(title=data.compared, grids=(NamedTable(name="table4", grid=grid, frame=data.run.table4),))


def _by_backend(table: pd.DataFrame) -> dict[str, dict[str, dict[str, Any]]]:
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for row in table.to_dict("records"):
        splits = found.setdefault(str(row["backend"]), {})
        splits[str(row["split"])] = {str(key): cell for key, cell in row.items()}
    return found


def _any(splits: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return the row of any split, for values that all of them share."""
    return next(iter(splits.values()))


def _best(values: list[float], lows: list[float]) -> set[int]:
    """Rows of the largest value; none where its interval reaches down to the smallest, so that chance may explain it.

    So 1.000 [0.000, 1.000] is never the best of anything.
    """
    known = [value for value in values if not np.isnan(value)]
    if len(known) < 2:
        return set()
    return {row for row, value in enumerate(values) if value == max(known) and lows[row] > min(known)}


def _cheapest(seconds: list[float], others: list[float]) -> set[int]:
    """The row that costs less than every other one, beyond what wall times differ by themselves; none if none does."""
    known = [row for row, value in enumerate(seconds) if not np.isnan(value)]
    first = min(known, key=seconds.__getitem__, default=-1)
    rest = [row for row in known if row != first]
    return {first} if rest and all(costs_less(seconds[first], seconds[row], others[row]) for row in rest) else set()


def _numbers(
    table: pd.DataFrame, entries: Mapping[str, BackendEntry]
) -> tuple[list[str], dict[str, list[float]], set[tuple[int, str]]]:
    """Backends, the numbers by column, and which are the best (training precision has no best)."""
    by_backend = _by_backend(table)
    places = {
        "train": ("train", "precision"),
        "validation": ("validation", "precision"),
        "validation_90": ("validation", "acceptance_90"),
        "test": ("test", "precision"),
        "test_90": ("test", "acceptance_90"),
    }

    def column(split: str, key: str) -> list[float]:
        return [float(splits.get(split, {}).get(key, np.nan)) for splits in by_backend.values()]

    columns = {name: column(*place) for name, place in places.items()}
    best = {
        (row, name)
        for name, (split, key) in places.items()
        if name != "train"
        for row in _best(columns[name], column(split, f"{key}_low"))
    }
    columns["seconds"] = [_any(splits)["seconds"] for splits in by_backend.values()]
    others = [entries[name].others_share or 0.0 if name in entries else 0.0 for name in by_backend]
    return list(by_backend), columns, best | {(row, "seconds") for row in _cheapest(columns["seconds"], others)}


def table4_grid(data: RunData) -> Grid:
    """Lay out Table 4 as in the paper, with the paper's own numbers next to ours where the papers matter.

    Parameters
    ----------
    data : RunData
        Backends that are missing from `Run.table4` are listed below the table.

    Returns
    -------
    Grid
    """
    table, names, papers = data.run.table4, data.run.labels, data.papers
    by_backend = _by_backend(table)
    backends, numbers, best = _numbers(table, data.record.backends)
    rows, cached, chosen = [], False, data.choice and data.choice.backend
    for row, backend in enumerate(backends):
        label, test = names[backend], by_backend[backend].get("test")
        claim = table4_claim(label.feature.partition(" (")[0], label.classifier, label.fine_tuning)
        reused = bool(_any(by_backend[backend])["cached"])
        cached |= reused
        rows.append(
            (
                f"{backend} (chosen)" if backend == chosen else backend,
                label.feature,
                label.classifier,
                label.fine_tuning,
                share(numbers["train"][row]),
                share(numbers["validation"][row]),
                share(numbers["validation_90"][row]),
                interval(test["precision"], test["precision_low"], test["precision_high"]) if test else MISSING,
                interval(test["acceptance_90"], test["acceptance_90_low"], test["acceptance_90_high"])
                if test
                else MISSING,
                seconds(numbers["seconds"][row], reused),
                *((_of_paper(claim),) if papers else ()),
            )
        )
    places = {"validation": 5, "validation_90": 6, "test": 7, "test_90": 8, "seconds": 9}
    notes = [
        "Acceptance: plain, the largest share of all products that a threshold on confidence, set on these very "
        "products, accepts at a precision of at least 0.9; it is not a certified promise. Intervals: 95%, bootstrap by "
        "product, with the threshold set again each time. Bold: best of the column, if its interval lies above the "
        "column's smallest value; of the seconds, the fewest if wall times tell them from all others.",
    ]
    if papers:
        notes.append(f"Paper: train / validation precision of Table 4 of C; {paper_note()}.")
    notes += [_CACHED_NOTE] if cached else []
    return Grid(
        title=data.numbered("Table 4", "Precision, and acceptance at a precision of 0.9"),
        headers=(
            "Backend",
            "Feature",
            "Classifier",
            "Fine-tuning",
            "Train prec.",
            "Val. prec.",
            "Val. acc. at 0.9",
            "Test prec.",
            "Test acc. at 0.9",
            "Seconds",
            *(("Paper",) if papers else ()),
        ),
        rows=tuple(rows),
        numeric=frozenset(range(_NAMED, 11 if papers else 10)),
        notes=(*notes, *_heads(data.record.backends), *_left_out(table, data.record.backends)),
        best=frozenset((row, places[name]) for row, name in best),
        marked=frozenset(row for row, backend in enumerate(backends) if backend == chosen),
    )


def _of_paper(claim: Claim | None) -> str:
    return f"{share(claim.value['train'])} / {share(claim.value['validation'])}" if claim else MISSING


def _heads(entries: Mapping[str, BackendEntry]) -> list[str]:
    """Say which estimators of scikit-learn the study's own classifiers are, with what was chosen of their grids."""
    made: dict[str, list[str]] = {}
    for name, entry in entries.items():
        head = entry.settings.get("head")
        if entry.done and isinstance(head, Mapping) and "estimator" in head:
            steps = head["estimator"] if isinstance(head["estimator"], (list, tuple)) else [head["estimator"]]
            chosen = entry.chosen.get("parameters", {})
            values = {**dict(head.get("parameters") or {}), **(chosen if isinstance(chosen, Mapping) else {})}
            with_values = f" with {', '.join(f'{key}={value}' for key, value in values.items())}" if values else ""
            made.setdefault(f"{' + '.join(map(str, steps))}{with_values}", []).append(name)
    return [f"{', '.join(names)}: {what}." for what, names in made.items()]


def _left_out(table: pd.DataFrame, entries: Mapping[str, BackendEntry]) -> list[str]:
    """List the backends that have no row, and say why."""
    return [
        f"Not in the table: {name} ({entry.status}{': ' + entry.reason if entry.reason else ''})."
        for name, entry in entries.items()
        if name not in set(table["backend"])
    ]


def render_table4(data: RunData) -> str:
    """Lay out Table 4 for the terminal, in short words; the best of each column has a star.

    Parameters
    ----------
    data : RunData

    Returns
    -------
    str
    """
    table = data.run.table4
    grid = table4_grid(data)
    title = data.record.dataset.title or data.record.dataset.name
    foot = [
        "* best of its column.  Acc.: plain acceptance, the largest share of products at a precision of at least 0.9.",
    ]
    if data.papers:
        foot.append("Paper: Table 4 of C, train/validation; it comes from other data (Cdiscount, 1,000 categories).")
    if table["cached"].astype(bool).any():
        foot.append("c: with features computed by an earlier backend or run, at what they cost then (cached).")
    foot += _left_out(table, data.record.backends)
    top = f"{data.compared} · {title}" if title else data.compared
    # the name says what the three columns after it say
    kept = [0, *range(_NAMED, len(grid.headers))]
    return Grid(
        title=top,
        headers=tuple(_SHORT.get(grid.headers[column], grid.headers[column]) for column in kept),
        rows=tuple(tuple(_narrow(row[column], grid.headers[column]) for column in kept) for row in grid.rows),
        numeric=frozenset(range(1, len(kept))),
        notes=tuple(foot),
        best=frozenset((row, kept.index(column)) for row, column in grid.best),
    ).text()


def _narrow(cell: str, head: str) -> str:
    """Shorten a cell for the terminal: 0.839 0.829–0.849, 0.716/0.598, 634c."""
    if head.startswith("Test"):
        return cell.replace(" [", " ").replace(", ", "–").removesuffix("]")
    return cell.replace(" / ", "/").replace("†", "c")
