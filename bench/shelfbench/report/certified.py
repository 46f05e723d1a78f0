"""What may be promised of every backend: thresholds plain, fixed on tune and certified, and what they give on test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from shelfbench.base.grid import MISSING, Grid, asked, interval, share
from shelfbench.report.tables import write_table
from shelfbench.runs.directory import Run, labels
from shelfbench.verdict.confidence import DEFAULT, MEASURES
from shelfbench.verdict.metrics import REQUIRED, exact_target


def write_certified(run: Run, rows: list[dict[str, Any]]) -> None:
    """Write the tables ``certified`` (the default measure, every target) and ``measures`` (every measure, 0.9)."""
    frame = pd.DataFrame(rows)
    at = float(exact_target(REQUIRED))
    by_measure = frame[frame["target"] == at].reset_index(drop=True)
    default = frame[frame["measure"] == DEFAULT].reset_index(drop=True)
    write_table(run.path, "certified", default, certified_grid(run, default))
    write_table(run.path, "measures", by_measure, measures_grid(run, by_measure))


def read_certified(run_dir: Path) -> pd.DataFrame | None:
    """Read ``certified.csv``; None where a run has none."""
    path = run_dir / "tables" / "certified.csv"
    return pd.read_csv(path, keep_default_na=False, na_values=[""]) if path.is_file() else None


_HOLDS = (
    "Certified: the threshold that the fixed-sequence binomial test passed on the certify half of validation; on "
    "products to come its precision is at least the target with the probability given, for each backend and target by "
    "itself (the best of several, picked by this table, keeps it with less). "
)


def certified_grid(run: Run, frame: pd.DataFrame) -> Grid:
    """Every backend and target: plain, tuned, certified, oracle."""
    names = labels(run, run.backends)
    rows = tuple(
        (
            names[row["backend"]].short,
            asked(row["target"]),
            share(row["plain_acceptance_test"]),
            share(row["tuned_acceptance_test"]),
            _interval(row, "tuned_precision_test"),
            _interval(row, "certified_acceptance") if row["certified"] else _text(row["why"]),
            _interval(row, "certified_acceptance_test"),
            _interval(row, "certified_precision_test"),
            share(row["oracle_bound_test"]),
        )
        for row in frame.to_dict("records")
    )
    level = frame["level"].iloc[0] if len(frame) else np.nan
    return Grid(
        "Acceptance that can be promised",
        (
            "Backend",
            "Target",
            "Plain acc., test",
            "Tuned acc., test",
            "Tuned prec., test",
            "Certified acc., certify",
            "Certified acc., test",
            "Certified prec., test",
            "Oracle acc., test",
        ),
        rows,
        frozenset(range(1, 9)),
        (
            "Plain: the threshold is fitted on the very test products that it is measured on. Tuned: fixed on the "
            "tune half of validation, then applied to test. Oracle: Eq. 5 of C read literally, which no threshold "
            "reaches. Acc.: share of all products; prec.: precision of what is accepted.",
            f"{_HOLDS}Probability: {asked(level)}. Its acceptance is measured on certify; what it then gives on test "
            "stands beside it; it was promised for products drawn as validation's are, and the paper's split gives "
            "test a larger share of the small categories. Intervals: exact (Clopper-Pearson), 95%. Labelled "
            "products: those of certify.",
        ),
    )


def measures_grid(run: Run, frame: pd.DataFrame) -> Grid:
    """Every backend by every measure of confidence, at 0.9."""
    names = labels(run, run.backends)
    rows = tuple(
        (
            names[row["backend"]].short,
            MEASURES[row["measure"]].name,
            share(row["plain_acceptance_tune"]),
            share(row["plain_acceptance_test"]),
            _interval(row, "certified_acceptance") if row["certified"] else _text(row["why"]),
            share(row["certified_acceptance_test"]),
            _interval(row, "certified_precision_test"),
        )
        for row in frame.to_dict("records")
    )
    lacking = len(set(frame["measure"])) < len(MEASURES)
    return Grid(
        "Measures of confidence, at a precision of 0.9",
        (
            "Backend",
            "Measure",
            "Plain acc., tune",
            "Plain acc., test",
            "Certified acc., certify",
            "Certified acc., test",
            "Certified prec., test",
        ),
        rows,
        frozenset(range(2, 7)),
        (
            "Log-probability: the largest, after calibration; the measure of all other tables. Margin: its distance "
            "to the "
            "second. Entropy: of the whole distribution, the smaller the surer. " + _HOLDS.rstrip(),
            *(("A measure that is not shown is not in these predictions: an earlier version wrote them.",) * lacking),
        ),
    )


def _interval(row: dict[Any, Any], name: str) -> str:
    return interval(row[name], row[f"{name}_low"], row[f"{name}_high"])


def _text(value: Any) -> str:
    return value if isinstance(value, str) and value else MISSING
