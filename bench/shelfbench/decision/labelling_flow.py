"""The flow that `shelfbench.decision.labelling` draws from: unlabelled products, and what a backend says of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from shelfbench.base.console import Console
from shelfbench.base.errors import InputError
from shelfbench.base.grid import number_of
from shelfbench.base.spreadsheet import inert
from shelfbench.data.sources.settings import DatasetSettings
from shelfbench.data.sources.table_files import cells_of
from shelfbench.decision.classifying import classify
from shelfbench.decision.deciding import decision_on
from shelfbench.decision.labelling_guard import Fence, fence_of
from shelfbench.decision.rule import Requirement, Ruling, Verdict
from shelfbench.runs.directory import Run
from shelfbench.runs.keeping import read_model
from shelfbench.verdict.guard import UNLIKE

_ANSWERS = ("product", "suggestion", "confidence")


@dataclass(frozen=True, kw_only=True)
class Flow:
    """Products without labels.

    Attributes
    ----------
    product : ndarray of object, shape (n,)
        Ids.
    predicted : ndarray of object, shape (n,)
        Keys.
    confidence : ndarray of float64, shape (n,)
        Log-probabilities; -inf without a prediction.
    outside : ndarray of bool, shape (n,)
        Products that the guard stops.
    fence : Fence or None
        The guard that they met; None if the run has none, or only the answers about them are at hand.
    """

    product: np.ndarray
    predicted: np.ndarray
    confidence: np.ndarray
    outside: np.ndarray
    fence: Fence | None = None


def classified_flow(
    run: Run,
    backend: str,
    paths: Sequence[Path],
    settings: DatasetSettings,
    *,
    required: Requirement,
    console: Console,
) -> Flow:
    """Classify the products of a flow with a backend of a run.

    Parameters
    ----------
    run : Run
    backend : str
    paths : sequence of Path
        As for ``shelfbench classify``.
    settings : DatasetSettings
        Names of columns.
    required : Requirement
        What is to be certified, by which the guard's cut is fixed on `tune`.
    console : Console

    Returns
    -------
    Flow

    Raises
    ------
    InputError
        If the backend cannot be built again, or a path cannot be read.
    """
    for path in paths:
        if not path.exists():
            raise InputError(f"{path} does not exist", "correct the path")
    saved = read_model(run.model(backend))
    fence = fence_of(run, backend, required)
    # nothing is decided yet: only the model and the guard are used, and nothing else sends a product to review
    anything = Ruling(
        verdict=Verdict.PASS,
        reason="",
        remedy="",
        target=Requirement.target,
        level=Requirement.level,
        measure=Requirement.measure,
        threshold=float("-inf"),
        missing=None,
        aggregation=saved.aggregation,
        temperature=saved.temperature,
        calibrator=saved.calibrator,
        categories=tuple(saved.classes),
        off=(),
        guard=None if fence is None else fence.before,
    )
    model = decision_on(run, backend, saved, anything, guard=None if fence is None else fence.guard).model
    frame = classify(model, paths, settings, Console(quiet=True))
    console.log(f"{number_of(len(frame), 'product')} classified by {backend}")
    sure = frame["confidence"].to_numpy(np.float64)
    flow = _flow(frame["product"].tolist(), frame["suggestion"].tolist(), sure, "the flow")
    return replace(flow, outside=(frame["reason"] == UNLIKE).to_numpy(bool), fence=fence)


def answered_flow(path: Path, keys: Sequence[str]) -> Flow:
    """Read what ``shelfbench classify`` wrote about a flow.

    Parameters
    ----------
    path : Path
        CSV, JSON lines or Parquet.
    keys : sequence of str
        Categories of the backend that it was classified by.

    Returns
    -------
    Flow

    Raises
    ------
    InputError
        If a ladder wrote it, it lacks a column, a confidence is not a probability, or a suggestion is not among the
        categories.
    """

    def columns_of(present: list[str]) -> dict[str, str]:
        if "level" in present:
            raise InputError(
                f"{path} has the column level: a decision with --levels wrote it, and its confidence may be that of a "
                "whole group of categories",
                "classify with a decision without --levels, or give the photos (PATH)",
            )
        if missing := [name for name in _ANSWERS if name not in present]:
            raise InputError(f"{path} has no column {missing[0]!r}", "give the file that shelfbench classify wrote")
        return {name: name for name in _ANSWERS}

    cells, unit = cells_of(path, list(_ANSWERS), columns_of)
    known = {inert(key): key for key in keys} | {key: key for key in keys}
    suggestions: list[str | None] = []
    confidences = np.full(len(cells.lines), np.nan)
    for number, line in enumerate(cells.lines.tolist()):
        where = f"{path}, {unit} {line}"
        given, sure = (cells.columns[name][number] for name in ("suggestion", "confidence"))
        if given is None or given != given or str(given) == "":
            suggestions.append(None)
            continue
        if str(given) not in known:
            raise InputError(
                f"{where}: the backend has no category {str(given)[:40]!r}",
                "give what classify wrote with a decision on this backend",
            )
        suggestions.append(known[str(given)])
        try:
            confidences[number] = float(sure)
        except (TypeError, ValueError):
            confidences[number] = np.nan
        if not 0 <= confidences[number] <= 1:
            raise InputError(f"{where}: the confidence {str(sure)[:20]!r} is not a probability", "write it again")
    return _flow([str(one) for one in cells.columns["product"]], suggestions, confidences, str(path))


def _flow(products: list[str], suggestions: Sequence[str | None], confidence: np.ndarray, where: str) -> Flow:
    """Put a flow together; each product may come once."""
    names, counts = np.unique(np.array(products, str), return_counts=True)
    if (counts > 1).any():
        raise InputError(
            f"{where} has the product {names[counts.argmax()][:60]!r} {counts.max():,} times",
            "give each product once (dataset.product_id names the column)",
        )
    with np.errstate(divide="ignore", invalid="ignore"):
        sure = np.log(np.minimum(confidence, 1.0))
    return Flow(
        product=np.array(products, object),
        predicted=np.array([one or "" for one in suggestions], object),
        outside=np.zeros(len(products), bool),
        confidence=np.where(np.isnan(sure) | [one is None for one in suggestions], -np.inf, sure),
    )
