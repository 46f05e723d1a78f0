"""The kinds of errors (C, §5.4): by department, by pair, best and worst categories, and the most confident errors."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from shelfbench.base.grid import Grid, count, interval, share
from shelfbench.report.claims import load_claims
from shelfbench.report.data import ERRORS, RunData
from shelfbench.report.section import NamedTable, Section
from shelfbench.runs.reading import Evaluated
from shelfbench.verdict.typology import by_group, surest_errors
from shelfbench.verdict.typology import confusions as confused_pairs

_PAIRS = 100  # per backend, in the CSV
_SHOWN = 15  # pairs, and departments, in Markdown and LaTeX
_EXTREMES = 10


def departments(data: RunData) -> Section | None:
    """Errors by department, of the chosen backend; the CSV covers all backends. None if there are no departments."""
    if not data.record.dataset.category_level1:
        return None
    return _of_every_backend(data, "departments", _departments, _departments_grid)


def confusions(data: RunData) -> Section | None:
    """Most confused pairs of categories."""
    return _of_every_backend(data, "confusions", _confusions, _confusions_grid)


def extreme_categories(data: RunData) -> Section | None:
    """Best and worst true categories."""
    return _of_every_backend(data, "extreme_categories", _extremes, _extremes_grid)


def surest(data: RunData) -> Section | None:
    """The most confident errors of the chosen backend."""
    frame = data.once(surest_frame)
    if frame is None:
        return None
    table = NamedTable(name="surest_errors", grid=_surest_grid(frame, data.chosen), frame=frame)
    return Section(title=ERRORS, grids=(table,))


def tests(data: RunData) -> dict[str, Evaluated]:
    """Test products of every backend; empty if a backend has none."""
    found = {name: rows.where(rows.split == "test") for name, rows in data.held_out.items()}
    return found if all(len(test.truth) for test in found.values()) else {}


def _of_every_backend(
    data: RunData,
    name: str,
    count_up: Callable[[RunData, Evaluated], pd.DataFrame],
    grid: Callable[[RunData, pd.DataFrame], Grid],
) -> Section | None:
    found = data.once(tests)
    if not found:
        return None
    parts = [
        count_up(data, test).assign(backend=backend, chosen=backend == data.chosen) for backend, test in found.items()
    ]
    # a backend without errors has no rows, whose types would count
    whole = pd.concat([part for part in parts if len(part)] or parts[:1], ignore_index=True)
    whole = whole[["backend", "chosen", *whole.columns.drop(["backend", "chosen"])]]
    shown = grid(data, whole[whole["chosen"]])
    return Section(title=ERRORS, grids=(NamedTable(name=name, grid=shown, frame=whole),))


def _department_of(data: RunData, keys: tuple[str, ...]) -> tuple[np.ndarray, list[str]]:
    """Group of every category and the groups' names; a category without a department is its own group."""
    names = [data.run.department(key) for key in keys]
    groups = sorted(set(names))
    return np.array([groups.index(name) for name in names]), groups


def _departments(data: RunData, test: Evaluated) -> pd.DataFrame:
    own, groups = _department_of(data, test.keys)
    found = by_group(own[test.truth], test.correct, len(groups))
    frame = pd.DataFrame(
        {
            "department": groups,
            "products": found.products,
            "errors": found.errors,
            "share_of_products": found.products / found.products.sum(),
            "share_of_errors": found.errors / max(found.errors.sum(), 1),
            "precision": found.right,
            "low": found.low,
            "high": found.high,
        }
    )
    frame = frame[frame["products"] > 0]
    return frame.sort_values(["errors", "department"], ascending=[False, True], ignore_index=True)


def _departments_grid(data: RunData, frame: pd.DataFrame) -> Grid:
    more = len(frame) - _SHOWN
    claim = load_claims()["C43"]
    books = f"In the paper {claim.printed} of the errors come from books, on other data ({claim.data})."
    return Grid(
        title=f"Errors by department (level 1 of the true category): {data.chosen}, test products",
        headers=("Department", "Products", "Share of products", "Errors", "Share of errors", "Right [95%]"),
        rows=tuple(
            (
                str(row["department"]),
                count(int(row["products"])),
                share(row["share_of_products"]),
                count(int(row["errors"])),
                share(row["share_of_errors"]),
                interval(row["precision"], row["low"], row["high"]),
            )
            for row in frame.head(_SHOWN).to_dict("records")
        ),
        numeric=frozenset(range(1, 6)),
        notes=(
            "Every test product counts; a rejected one is an error. A category without a department counts as its own."
            + (f" {books}" if data.papers else ""),
            *((f"{more} more are in departments.csv.",) if more > 0 else ()),
        ),
    )


def _confusions(data: RunData, test: Evaluated) -> pd.DataFrame:
    errors = np.count_nonzero(~test.correct)
    products = np.bincount(test.truth, minlength=len(test.keys))
    return pd.DataFrame(
        [
            {
                "key": test.keys[pair.truth],
                "category": _display(data, test.keys[pair.truth]),
                "predicted_key": test.keys[pair.predicted],
                "predicted": _display(data, test.keys[pair.predicted]),
                "products": pair.products,
                "share_of_errors": pair.products / errors,
                "share_of_category": pair.products / int(products[pair.truth]),
            }
            for pair in confused_pairs(test.truth, test.predicted, _PAIRS)
        ],
        columns=[
            "key",
            "category",
            "predicted_key",
            "predicted",
            "products",
            "share_of_errors",
            "share_of_category",
        ],
    )


def _confusions_grid(data: RunData, frame: pd.DataFrame) -> Grid:
    return Grid(
        title=f"Most confused pairs: {data.chosen}, test products",
        headers=("True category", "Predicted", "Products", "Share of errors", "Share of its category"),
        rows=tuple(
            (
                str(row["category"]),
                str(row["predicted"]),
                count(int(row["products"])),
                share(row["share_of_errors"]),
                share(row["share_of_category"]),
            )
            for row in frame.head(_SHOWN).to_dict("records")
        ),
        numeric=frozenset({2, 3, 4}),
        notes=(
            f"Every test product counts, whatever its confidence. Up to {_PAIRS} pairs of each backend are in "
            "confusions.csv."
            if len(frame)
            else "Every test product is put into its own category.",
        ),
    )


def _extremes(data: RunData, test: Evaluated) -> pd.DataFrame:
    found = by_group(test.truth, test.correct, len(test.keys))
    frame = pd.DataFrame(
        {
            "key": list(test.keys),
            "category": [_display(data, key) for key in test.keys],
            "products": found.products,
            "errors": found.errors,
            "recall": found.right,
            "low": found.low,
            "high": found.high,
        }
    )
    frame = frame[frame["products"] > 0]
    best = frame.sort_values(["low", "recall", "key"], ascending=[False, False, True]).head(_EXTREMES)
    rest = frame.drop(best.index)
    worst = rest.sort_values(["high", "recall", "key"]).head(_EXTREMES)
    return pd.concat([best.assign(end="best"), worst.assign(end="worst")], ignore_index=True)


def _extremes_grid(data: RunData, frame: pd.DataFrame) -> Grid:
    return Grid(
        title=f"Best and worst true categories: {data.chosen}, test products",
        headers=("End", "Category", "Products", "Errors", "Recall [95%]"),
        rows=tuple(
            (
                str(row["end"]),
                str(row["category"]),
                count(int(row["products"])),
                count(int(row["errors"])),
                interval(row["recall"], row["low"], row["high"]),
            )
            for row in frame.to_dict("records")
        ),
        numeric=frozenset({2, 3, 4}),
        notes=(
            "Recall: share of a category's products that are predicted to be in it, with every product accepted. Best "
            "by the lower end of the exact interval, worst by the upper end, so that size alone does not decide.",
        ),
    )


def surest_frame(data: RunData) -> pd.DataFrame | None:
    """The chosen backend's most confident errors, as in ``surest_errors.csv``; None without test products."""
    found = data.once(tests)
    if not found:
        return None
    test = found[data.chosen]
    rows = surest_errors(test.truth, test.predicted, test.confidence)
    true, given = ([test.keys[code] for code in codes[rows]] for codes in (test.truth, test.predicted))
    return pd.DataFrame(
        {
            "backend": data.chosen,
            "product_id": test.product_id[rows],
            "key": true,
            "category": [_display(data, key) for key in true],
            "predicted_key": given,
            "predicted": [_display(data, key) for key in given],
            "confidence": test.confidence[rows],
            "probability": np.exp(test.confidence[rows]),
        }
    )


def _surest_grid(frame: pd.DataFrame, name: str) -> Grid:
    return Grid(
        title=f"Most confident errors: {name}, test products",
        headers=("Product", "True category", "Predicted", "Probability"),
        rows=tuple(
            (str(row["product_id"]), str(row["category"]), str(row["predicted"]), f"{row['probability']:.4f}")
            for row in frame.to_dict("records")
        ),
        numeric=frozenset({3}),
        notes=(
            "The errors with the highest confidence, at most two per pair of categories. Some may be wrong labels.",
        ),
    )


def _display(data: RunData, key: str) -> str:
    return data.record.dataset.category_names.get(key, key)
