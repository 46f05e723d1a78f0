"""Table 4 of C: the backends beside each other, and beside the paper's own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from shelfbench.base.grid import MISSING, Grid, interval, seconds, share
from shelfbench.report.claims import paper_note, table4_claim
from shelfbench.runs.reading import label_backends

_WIDTH = 110
_CACHED_NOTE = (
    "† with features that an earlier backend or run had computed: their part of the seconds is what they cost then."
)


def _by_backend(table: pd.DataFrame) -> dict[str, dict[str, dict[str, Any]]]:
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for row in table.to_dict("records"):
        splits = found.setdefault(str(row["backend"]), {})
        splits[str(row["split"])] = {str(key): cell for key, cell in row.items()}
    return found


def _any(splits: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return the row of any split, for what all of them share."""
    return next(iter(splits.values()))


def _best(values: list[float], smallest: bool = False) -> set[int]:
    """Rows of the best value; none where there is nothing to choose between."""
    known = [value for value in values if not np.isnan(value)]
    if len(known) < 2:
        return set()
    best = min(known) if smallest else max(known)
    return {row for row, value in enumerate(values) if value == best}


def _numbers(table: pd.DataFrame) -> tuple[list[str], dict[str, list[float]], set[tuple[int, str]]]:
    """Backends, the numbers by column, and which are the best (training precision has no best)."""
    by_backend = _by_backend(table)
    places = {
        "train": ("train", "precision"),
        "validation": ("validation", "precision"),
        "validation_90": ("validation", "acceptance_90"),
        "test": ("test", "precision"),
        "test_90": ("test", "acceptance_90"),
    }
    columns = {
        name: [float(splits.get(split, {}).get(key, np.nan)) for splits in by_backend.values()]
        for name, (split, key) in places.items()
    }
    columns["seconds"] = [_any(splits)["seconds"] for splits in by_backend.values()]
    best = {
        (row, name)
        for name, values in columns.items()
        if name != "train"
        for row in _best(values, smallest=name == "seconds")
    }
    return list(by_backend), columns, best


def table4_grid(table: pd.DataFrame, record: dict[str, Any]) -> Grid:
    """Table 4 in the paper's layout, with the paper's own numbers beside ours."""
    by_backend = _by_backend(table)
    backends, numbers, best = _numbers(table)
    names = label_backends(record, tuple(backends))
    rows, cached = [], False
    for row, backend in enumerate(backends):
        label, test = names[backend], by_backend[backend].get("test")
        claim = table4_claim(label.feature.partition(" (")[0], label.classifier, label.fine_tuning)
        reused = bool(_any(by_backend[backend])["cached"])
        cached |= reused
        rows.append(
            (
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
                f"{share(claim.value['train'])} / {share(claim.value['validation'])}" if claim else MISSING,
            )
        )
    places = {"validation": 4, "validation_90": 5, "test": 6, "test_90": 7, "seconds": 8}
    notes = [
        "Acceptance: plain, the largest share of all products that a threshold on confidence, set on these very "
        "products, takes at a precision of at least 0.9; no certified promise. Intervals: 95%, bootstrap by product, "
        "the threshold chosen anew each time. "
        "Bold: best of the column.",
        f"Paper: train / validation precision of Table 4 of C; {paper_note()}.",
    ]
    notes += [_CACHED_NOTE] if cached else []
    notes += [
        f"Not in the table: {name} ({entry.get('status', MISSING)}"
        f"{': ' + entry['reason'] if entry.get('reason') else ''})."
        for name, entry in record.get("backends", {}).items()
        if name not in backends
    ]
    return Grid(
        "Table 4. Precision, and acceptance at a precision of 0.9",
        (
            "Feature",
            "Classifier",
            "Fine-tuning",
            "Train prec.",
            "Val. prec.",
            "Val. acc. at .9",
            "Test prec.",
            "Test acc. at .9",
            "Seconds",
            "Paper",
        ),
        tuple(rows),
        frozenset(range(3, 10)),
        tuple(notes),
        frozenset((row, places[name]) for row, name in best),
    )


def render_table4(table: pd.DataFrame, run: dict[str, Any]) -> str:
    """Table 4 for the terminal, at most 110 columns wide; the best of each column has a star.

    Parameters
    ----------
    table : DataFrame
        What `write_tables` returned, or ``table4.csv``.
    run : dict
        ``run.json``.
    """
    grid = table4_grid(table, run)
    heads = ("Feature", "Classifier", "Tuned", "Train", "Val", "Acc.9", "Test [95%]", "Acc.9 [95%]", "Seconds", "Paper")
    # the star has a place of its own, so that digits stay in line
    body = [
        [
            cell.replace(", ", " ").replace(" / ", "/").replace("†", "c")
            + (("*" if (number, column) in grid.best else " ") if 4 <= column <= 8 else "")
            for column, cell in enumerate(row)
        ]
        for number, row in enumerate(grid.rows)
    ]
    widths = [max(len(line[column]) for line in [heads, *body]) for column in range(len(heads))]
    for column in (0, 1):  # names give way where the table would be too wide
        over = sum(widths) + 2 * (len(heads) - 1) - _WIDTH
        widths[column] = max(8, widths[column] - max(over, 0))

    def line(cells: Sequence[str]) -> str:
        fitted = []
        for column, (cell, width) in enumerate(zip(cells, widths, strict=True)):
            short = cell if len(cell) <= width else cell[: width - 1] + "…"
            fitted.append(short.rjust(width) if column >= 3 else short.ljust(width))
        return "  ".join(fitted).rstrip()

    title = run.get("dataset", {}).get("title") or run.get("dataset", {}).get("name") or ""
    foot = [
        "* best of its column.  Acc.9: plain, the largest share of all products taken at a precision of 0.9 or more.",
        "Paper: Table 4 of C, train/validation; it rests on other data (Cdiscount, 1,000 categories).",
    ]
    if table["cached"].astype(bool).any():
        foot.append("c: with features computed by an earlier backend or run, at what they cost then (cached).")
    rule = "─" * (sum(widths) + 2 * (len(widths) - 1))
    top = (f"Table 4 · {title}" if title else "Table 4")[:_WIDTH]
    return "\n".join([top, line(heads), rule, *map(line, body), rule, *foot])
