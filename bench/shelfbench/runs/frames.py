"""Frames computed from a run directory: Table 4, metrics, deciles, certified thresholds, curves.

The report writes them as CSV, and `shelfbench.Run` offers them in Python.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd

from shelfbench.runs.promise import lacking, mix_columns
from shelfbench.runs.reading import SPLITS, Evaluated
from shelfbench.verdict.certify import Certificate, certify, coverage_grid, start_of
from shelfbench.verdict.intervals import Interval, bootstrap_intervals, exact_interval
from shelfbench.verdict.metrics import REQUIRED, acceptance, acceptance_curve, oracle_bound
from shelfbench.verdict.mix import Mix, weigh_back
from shelfbench.verdict.summary import Summary, precision_by_decile, summarise
from shelfbench.verdict.walk import TUNED

TABLE4_COLUMNS = (
    "backend",
    "split",
    "precision",
    "precision_low",
    "precision_high",
    "acceptance_90",
    "acceptance_90_low",
    "acceptance_90_high",
    "seconds",
    "cached",
)
METRICS_COLUMNS = ("backend", "split", "level", "metric", "value")
_BOOTSTRAP = 10  # hits, and misses, from which on resampling the products tells how far off a share can be
DECILES_COLUMNS = ("backend", "split", "decile", "categories", "smallest", "largest", "products", "precision")


@dataclass(frozen=True)
class Evaluation:
    """The frames that come from one evaluation of every backend: ``table4``, ``metrics`` and ``deciles``."""

    table4: pd.DataFrame
    metrics: pd.DataFrame
    deciles: pd.DataFrame


def table4_row(backend: str, products: Evaluated, split: str) -> dict[str, Any]:
    """Compute a row of Table 4, without its cost.

    Parameters
    ----------
    backend : str
    products : Evaluated
    split : str

    Returns
    -------
    dict
        Empty if the split is empty.
    """
    part = products.bare().where(products.split == split)
    if not len(part.truth):
        return {}
    summary = summarise(part.confidence, part.truth, part.predicted, part.rank, targets=(REQUIRED,))
    ends = bootstrap_intervals(part.confidence, part.correct, REQUIRED)
    precision = _not_too_narrow(ends.precision, summary.correct, summary.total)
    share = _not_too_narrow(ends.acceptance, summary.acceptances[0].accepted, summary.total)
    return {
        "backend": backend,
        "split": split,
        "precision": summary.precision,
        "precision_low": precision.low,
        "precision_high": precision.high,
        "acceptance_90": summary.acceptances[0].acceptance,
        "acceptance_90_low": share.low,
        "acceptance_90_high": share.high,
    }


def _not_too_narrow(drawn: Interval, hits: int, total: int) -> Interval:
    """Widen a bootstrap interval to the exact one of a share, where nearly all or nearly none are hits.

    Resamples of 30 products that are all right are all right too: the interval would be a point.
    """
    if min(hits, total - hits) >= _BOOTSTRAP:
        return drawn
    low, high = map(float, exact_interval(hits, total))
    return Interval(min(low, drawn.low), max(high, drawn.high))


def suffix(target: Fraction) -> str:
    """Name a target in columns: 90 for 9/10, 92_5 for 37/40."""
    return f"{float(100 * target):.9g}".replace(".", "_")


def metrics_rows(
    backend: str,
    products: Evaluated,
    images: Evaluated | None,
    targets: Sequence[Fraction],
    image_counts: Mapping[str, int],
) -> list[dict[str, Any]]:
    """Compute every metric of a backend, in rows.

    Parameters
    ----------
    backend : str
    products : Evaluated
    images : Evaluated or None
        None if no scores are kept; then there are no metrics per image.
    targets : sequence of Fraction
        Required precisions.
    image_counts : mapping of str to int
        Images of each split, including those that could not be read.

    Returns
    -------
    list of dict
        With the columns `METRICS_COLUMNS`.
    """
    products = products.bare()
    # the half of validation on which a backend may be chosen; `certify` is not touched
    tune = products.where(products.role == "tune")
    rows: list[dict[str, Any]] = []
    for split in (*SPLITS, "tune"):
        part = tune if split == "tune" else products.where(products.split == split)
        if len(part.truth):
            summary = summarise(part.confidence, part.truth, part.predicted, part.rank, targets=targets)
            values = _values(summary)
            if split == "test":
                chooser = tune if len(tune.truth) else products.where(products.split == "validation")
                values |= _at_tuned_thresholds(chooser, part, targets)
            rows += [
                {"backend": backend, "split": split, "level": "product", "metric": key, "value": value}
                for key, value in values.items()
            ]
    if images is None:
        return rows
    for split in ("validation", "test"):
        part = images.where(images.split == split)
        if not len(part.truth):
            continue
        # images that could not be read have no scores, but they count
        total = max(len(part.truth), image_counts.get(split, 0))
        summary = summarise(part.confidence, part.truth, part.predicted, part.rank, targets=targets, total=total)
        rows += [
            {"backend": backend, "split": split, "level": "image", "metric": key, "value": value}
            for key, value in _values(summary).items()
        ]
    return rows


def _values(summary: Summary) -> dict[str, float]:
    values = {
        "rows": summary.total,
        "rejected": summary.rejected,
        "precision": summary.precision,
        "balanced_accuracy": summary.balanced_accuracy,
        "top_5": summary.top_5,
    }
    for found, bound in zip(summary.acceptances, summary.oracle_bounds, strict=True):
        name = suffix(found.target)
        values |= {
            f"acceptance_{name}": found.acceptance,
            f"threshold_{name}": found.threshold,
            f"oracle_bound_{name}": bound,
        }
    return values


def _at_tuned_thresholds(chooser: Evaluated, test: Evaluated, targets: Sequence[Fraction]) -> dict[str, float]:
    """Apply thresholds fixed beforehand to test: the share accepted and the precision reached."""
    values: dict[str, float] = {}
    if not len(chooser.truth):
        return values
    summary = summarise(chooser.confidence, chooser.truth, chooser.predicted, chooser.rank, targets=targets)
    for found in summary.acceptances:
        taken = (test.confidence >= found.threshold) & (test.confidence > -np.inf)
        name, size = suffix(found.target), int(np.count_nonzero(taken))
        values[f"tuned_acceptance_{name}"] = size / len(taken)
        values[f"tuned_precision_{name}"] = float(test.correct[taken].mean()) if size else float("nan")
    return values


def deciles_rows(backend: str, products: Evaluated) -> list[dict[str, Any]]:
    """Compute the precision by decile of category size, in rows.

    Parameters
    ----------
    backend : str
    products : Evaluated

    Returns
    -------
    list of dict
        With the columns `DECILES_COLUMNS`.
    """
    sizes = np.bincount(products.truth[products.split == "train"], minlength=len(products.keys))
    rows: list[dict[str, Any]] = []
    products = products.bare()
    for split in SPLITS:
        part = products.where(products.split == split)
        if len(part.truth):
            rows += [
                {
                    "backend": backend,
                    "split": split,
                    "decile": found.decile,
                    "categories": found.categories,
                    "smallest": found.smallest,
                    "largest": found.largest,
                    "products": found.rows,
                    "precision": found.precision,
                }
                for found in precision_by_decile(part.truth, part.correct, sizes)
            ]
    return rows


def curve_frame(products: Evaluated, split: str) -> pd.DataFrame:
    """Return every threshold of a backend on one split, from the strictest to the loosest.

    Parameters
    ----------
    products : Evaluated
    split : str

    Returns
    -------
    DataFrame
        With the columns threshold (accept where confidence >= threshold), accepted and correct (products), precision
        (correct of accepted) and acceptance (accepted of all products, rejected ones included); empty if the split is
        empty.
    """
    part = products.where(products.split == split)
    if not len(part.truth):
        return pd.DataFrame(columns=["threshold", "accepted", "correct", "precision", "acceptance"], dtype=float)
    found = acceptance_curve(part.confidence, part.correct)
    return pd.DataFrame(
        {
            "threshold": found.threshold,
            "accepted": found.accepted,
            "correct": found.correct,
            "precision": found.precision,
            "acceptance": found.accepted / found.total,
        }
    )


def certified_rows(
    backend: str,
    products: Evaluated,
    targets: Sequence[Fraction],
    level: float,
    measures: Sequence[str],
    *,
    walk: str = TUNED,
) -> list[dict[str, Any]]:
    """Compute what can be promised of a backend, one row per measure and target.

    Parameters
    ----------
    backend : str
    products : Evaluated
    targets : sequence of Fraction
    level : float
        Probability with which a certified threshold keeps its precision.
    measures : sequence of str
        Of `shelfbench.verdict.confidence.MEASURES`; one that the predictions lack is skipped.
    walk : str
        Of `shelfbench.verdict.walk.WALKS`: where the walk that certifies begins.

    Returns
    -------
    list of dict
        With the columns of ``certified.csv``.
    """
    parts = {role: products.where(products.role == role) for role in ("tune", "certify", "test")}
    sizes = np.bincount(products.truth, minlength=len(products.keys))
    rows = []
    for measure in measures:
        if measure not in products.measures:
            continue
        tune, labelled, test = (parts[role].by(measure) for role in ("tune", "certify", "test"))
        for target in targets:
            row = {"backend": backend, "measure": measure, "target": float(target), "level": level}
            row |= {f"{role}_products": len(part.truth) for role, part in parts.items()}
            row |= _plain(tune, test, target)
            found = _certificate(tune, labelled, target, level, walk)
            row |= _certified(found, test)
            row |= {"more_labels": _more(found), "why": _why(found, len(products.truth), target)}
            row |= mix_columns(_at_the_mix(found, test, sizes))
            rows.append(row)
    return rows


def _plain(tune: Evaluated, test: Evaluated, target: Fraction) -> dict[str, Any]:
    """Compute thresholds without a promise: fitted on what they are measured on, or on tune."""
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
    """Apply a threshold that was fixed elsewhere to test, with exact intervals."""
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


def _certificate(tune: Evaluated, labelled: Evaluated, target: Fraction, level: float, walk: str) -> Certificate | None:
    """Certify on `certify`, with the grid of `tune`; None without products, or if no error is allowed."""
    if not len(tune.truth) or not len(labelled.truth) or target == 1:
        return None
    grid = coverage_grid(tune.confidence)
    start = start_of(walk, tune.confidence, tune.correct, grid)
    return certify(labelled.confidence, labelled.correct, grid, target, level, start=start)


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
    return row | _on_test("certified", row["certified_threshold"], test)


def _at_the_mix(found: Certificate | None, test: Evaluated, sizes: np.ndarray) -> Mix | None:
    """Weight the certified threshold's results on test back to the mix of the whole catalogue."""
    if found is None or not found.certified or not len(test.truth):
        return None
    return weigh_back(test.truth, test.confidence >= found.threshold, test.correct, sizes)


def _more(found: Certificate | None) -> float:
    """Say how many more labelled products would be enough; NaN where that is not known, or would not help."""
    return float(found.missing) if found is not None and found.missing is not None else np.nan


def _why(found: Certificate | None, labelled: int, target: Fraction) -> str:
    """Say why nothing is certified, and what would change that; empty where something is."""
    if found is None:
        reason = "the target allows no error" if target == 1 else "there are no products to certify on"
        return f"not certifiable: {reason}"
    if found.certified:
        return ""
    reason = ": the precision is below the target at every threshold that can be tested" if found.hopeless else " yet"
    return f"not certifiable{reason}. What would change it: {lacking(found, labelled)}"
