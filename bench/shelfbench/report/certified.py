"""What may be promised of every backend: thresholds plain, fixed on tune and certified, and what they give on test."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from shelfbench.base.grid import MISSING, Grid, asked, interval, share
from shelfbench.report.tables import write_table
from shelfbench.runs.directory import Evaluated, Run, labels
from shelfbench.verdict.certify import Certificate, certify, coverage_grid
from shelfbench.verdict.confidence import DEFAULT, MEASURES
from shelfbench.verdict.intervals import exact_interval
from shelfbench.verdict.metrics import REQUIRED, acceptance, exact_target, oracle_bound


def certified_rows(
    backend: str, products: Evaluated, targets: Sequence[Fraction], level: float, measures: Sequence[str]
) -> list[dict[str, Any]]:
    """One row a measure and target.

    Parameters
    ----------
    backend : str
    products : Evaluated
    targets : sequence of Fraction
    level : float
        Probability with which a certified threshold keeps its precision.
    measures : sequence of str
        Of `shelfbench.verdict.confidence.MEASURES`; one that the predictions lack is left out.

    Returns
    -------
    list of dict
        With the columns of ``certified.csv``.
    """
    parts = {role: products.where(products.role == role) for role in ("tune", "certify", "test")}
    rows = []
    for measure in measures:
        if measure not in products.measures:
            continue
        tune, labelled, test = (parts[role].by(measure) for role in ("tune", "certify", "test"))
        for target in targets:
            row = {"backend": backend, "measure": measure, "target": float(target), "level": level}
            row |= {f"{role}_products": len(part.truth) for role, part in parts.items()}
            row |= _plain(tune, test, target)
            row |= _certified(_certificate(tune, labelled, target, level), test)
            rows.append(row)
    return rows


def _plain(tune: Evaluated, test: Evaluated, target: Fraction) -> dict[str, Any]:
    """Thresholds without a promise: fitted on what they are measured on, or on tune."""
    row: dict[str, Any] = {
        "plain_acceptance_tune": np.nan,
        "plain_acceptance_test": np.nan,
        "oracle_bound_test": np.nan,
        "tuned_threshold": np.nan,
    }
    if len(test.truth):
        row["plain_acceptance_test"] = acceptance(test.confidence, test.correct, target).acceptance
        row["oracle_bound_test"] = oracle_bound(int(test.correct.sum()), len(test.truth), target)
    if len(tune.truth):
        found = acceptance(tune.confidence, tune.correct, target)
        row |= {"plain_acceptance_tune": found.acceptance, "tuned_threshold": found.threshold}
    return row | _on_test("tuned", row["tuned_threshold"], test)


def _on_test(kind: str, threshold: float, test: Evaluated) -> dict[str, Any]:
    """What a threshold that was fixed elsewhere gives on test, with exact intervals."""
    total = len(test.truth)
    # a comparison with NaN (no threshold) accepts nothing
    taken = (test.confidence >= threshold) & (test.confidence > -np.inf)
    accepted, right = int(taken.sum()), int(test.correct[taken].sum())
    row: dict[str, Any] = {f"{kind}_accepted_test": accepted, f"{kind}_right_test": right}
    for name, hits, count in (("acceptance", accepted, total), ("precision", right, accepted)):
        known = count > 0 and not np.isnan(threshold)
        low, high = map(float, exact_interval(hits, count) if known else (np.nan, np.nan))
        row |= {
            f"{kind}_{name}_test": hits / count if known else np.nan,
            f"{kind}_{name}_test_low": low,
            f"{kind}_{name}_test_high": high,
        }
    return row


def _certificate(tune: Evaluated, labelled: Evaluated, target: Fraction, level: float) -> Certificate | None:
    """The grid from tune, the walk on certify; None where there is nothing to walk on, or nothing may be wrong."""
    if not len(tune.truth) or not len(labelled.truth) or target == 1:
        return None
    return certify(labelled.confidence, labelled.correct, coverage_grid(tune.confidence), target, level)


def _certified(found: Certificate | None, test: Evaluated) -> dict[str, Any]:
    row: dict[str, Any] = {
        "certified": found is not None and found.certified,
        "certified_threshold": np.nan,
        "certified_accepted": 0,
        "certified_right": 0,
        "certified_acceptance": np.nan,
        "certified_acceptance_low": np.nan,
        "certified_acceptance_high": np.nan,
    }
    if found is not None and found.certified:
        row |= {
            "certified_threshold": found.threshold,
            "certified_accepted": found.accepted,
            "certified_right": found.correct,
            "certified_acceptance": found.acceptance,
            "certified_acceptance_low": found.acceptance_low,
            "certified_acceptance_high": found.acceptance_high,
        }
    return (
        row
        | _on_test("certified", row["certified_threshold"], test)
        | {"more_labels": _more(found), "why": _why(found)}
    )


def _more(found: Certificate | None) -> float:
    """Further labelled products that would do; NaN where that is not known or not the cure."""
    return float(found.missing) if found is not None and found.missing is not None else np.nan


def _why(found: Certificate | None) -> str:
    """Why nothing is promised, and what would change that; empty where something is."""
    if found is None:
        return "not certifiable: there are no products to certify on, or the target allows no error"
    if found.certified:
        return ""
    if found.missing is not None:
        return f"not certifiable: about {found.missing:,} more labelled products would do"
    if found.hopeless:
        return "not certifiable: the precision is below the target at every threshold that can be tested"
    return "not certifiable: the labelled products do not tell how many more would do"


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
