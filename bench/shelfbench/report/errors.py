"""The kinds of errors (C, §5.4): by department, by pair, best and worst categories, and the surest ones with photos."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from PIL import Image

from shelfbench.base.grid import Grid, count, interval, percent, share
from shelfbench.base.storage import write_json, write_whole
from shelfbench.report.claims import load_claims
from shelfbench.report.figures import STYLE, save_figure
from shelfbench.report.tables import write_table
from shelfbench.runs.directory import Run, labels
from shelfbench.runs.reading import Evaluated
from shelfbench.verdict.typology import by_group, confusions, surest_errors

Photograph = Callable[[Any], Image.Image | None]
"""Gives the photo of a product by its id; None where there is none to be read."""

_PAIRS = 100  # of a backend in the CSV
_SHOWN = 15  # pairs, and departments, in Markdown and LaTeX
_EXTREMES = 10
_THUMBNAIL = 128  # pixels at most


def write_errors(
    run: Run, products: Mapping[str, Evaluated], chosen: str, photograph: Photograph | None = None
) -> None:
    """Write the tables of errors on test, and Figure 6 where there are photos; nothing without test products.

    Parameters
    ----------
    run : Run
    products : mapping of str to Evaluated
        Products of every backend, at least those of test.
    chosen : str
        The backend that Markdown, LaTeX and Figure 6 speak of (`shelfbench.runs.choice`); the CSV files hold all.
    photograph : callable, optional
        Photos of products. Without it an earlier Figure 6 and its thumbnails stay.
    """
    tests = {name: rows.where(rows.split == "test") for name, rows in products.items()}
    if not all(len(test.truth) for test in tests.values()):
        return
    name = labels(run, run.backends)[chosen].short
    for kind, count_up, grid in (
        ("departments", _departments, _departments_grid),
        ("confusions", _confusions, _confusions_grid),
        ("extreme_categories", _extremes, _extremes_grid),
    ):
        parts = [
            count_up(run, test).assign(backend=backend, chosen=backend == chosen) for backend, test in tests.items()
        ]
        whole = pd.concat(parts, ignore_index=True)
        whole = whole[["backend", "chosen", *whole.columns.drop(["backend", "chosen"])]]
        write_table(run.path, kind, whole, grid(whole[whole["chosen"]], name))
    surest = _surest(run, tests[chosen])
    surest.insert(0, "backend", chosen)
    write_table(run.path, "surest_errors", surest, _surest_grid(surest, name))
    if photograph is not None and len(surest):
        _write_photos(run, surest, photograph)


def _department_of(run: Run, keys: tuple[str, ...]) -> tuple[np.ndarray, list[str]]:
    """Group of every category and the groups' names; the category itself where it has no department."""
    names = [run.department(key) for key in keys]
    groups = sorted(set(names))
    return np.array([groups.index(name) for name in names]), groups


def _departments(run: Run, test: Evaluated) -> pd.DataFrame:
    own, groups = _department_of(run, test.keys)
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


def _departments_grid(frame: pd.DataFrame, name: str) -> Grid:
    more = len(frame) - _SHOWN
    claim = load_claims()["C43"]
    return Grid(
        f"Errors by department (level 1 of the true category): {name}, test products",
        ("Department", "Products", "Share of products", "Errors", "Share of errors", "Right [95%]"),
        tuple(
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
        frozenset(range(1, 6)),
        (
            "Every test product counts; a rejected one is an error. A category without a department stands for itself. "
            f"In the paper {claim.printed} of the errors come from books, on other data ({claim.data}).",
            *((f"{more} more are in departments.csv.",) if more > 0 else ()),
        ),
    )


def _confusions(run: Run, test: Evaluated) -> pd.DataFrame:
    errors = np.count_nonzero(~test.correct)
    products = np.bincount(test.truth, minlength=len(test.keys))
    return pd.DataFrame(
        [
            {
                "key": test.keys[pair.truth],
                "category": _display(run, test.keys[pair.truth]),
                "predicted_key": test.keys[pair.predicted],
                "predicted": _display(run, test.keys[pair.predicted]),
                "products": pair.products,
                "share_of_errors": pair.products / errors,
                "share_of_category": pair.products / int(products[pair.truth]),
            }
            for pair in confusions(test.truth, test.predicted, _PAIRS)
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


def _confusions_grid(frame: pd.DataFrame, name: str) -> Grid:
    return Grid(
        f"Most confused pairs: {name}, test products",
        ("True category", "Put into", "Products", "Share of errors", "Share of its category"),
        tuple(
            (
                str(row["category"]),
                str(row["predicted"]),
                count(int(row["products"])),
                share(row["share_of_errors"]),
                share(row["share_of_category"]),
            )
            for row in frame.head(_SHOWN).to_dict("records")
        ),
        frozenset({2, 3, 4}),
        (
            f"Every test product counts, whatever its confidence. Up to {_PAIRS} pairs of each backend are in "
            "confusions.csv.",
        ),
    )


def _extremes(run: Run, test: Evaluated) -> pd.DataFrame:
    found = by_group(test.truth, test.correct, len(test.keys))
    frame = pd.DataFrame(
        {
            "key": list(test.keys),
            "category": [_display(run, key) for key in test.keys],
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


def _extremes_grid(frame: pd.DataFrame, name: str) -> Grid:
    return Grid(
        f"Best and worst true categories: {name}, test products",
        ("End", "Category", "Products", "Errors", "Found again [95%]"),
        tuple(
            (
                str(row["end"]),
                str(row["category"]),
                count(int(row["products"])),
                count(int(row["errors"])),
                interval(row["recall"], row["low"], row["high"]),
            )
            for row in frame.to_dict("records")
        ),
        frozenset({2, 3, 4}),
        (
            "Found again: share of a category's products that are put into it, with every product accepted (recall). "
            "Best by the lower end of the exact interval, worst by the upper one, so that size does not decide alone.",
        ),
    )


def _surest(run: Run, test: Evaluated) -> pd.DataFrame:
    rows = surest_errors(test.truth, test.predicted, test.confidence)
    true, given = ([test.keys[code] for code in codes[rows]] for codes in (test.truth, test.predicted))
    return pd.DataFrame(
        {
            "product_id": test.product_id[rows],
            "key": true,
            "category": [_display(run, key) for key in true],
            "predicted_key": given,
            "predicted": [_display(run, key) for key in given],
            "confidence": test.confidence[rows],
            "probability": np.exp(test.confidence[rows]),
        }
    )


def _surest_grid(frame: pd.DataFrame, name: str) -> Grid:
    return Grid(
        f"The surest errors: {name}, test products",
        ("Product", "True category", "Put into", "Probability"),
        tuple(
            (str(row["product_id"]), str(row["category"]), str(row["predicted"]), f"{row['probability']:.4f}")
            for row in frame.to_dict("records")
        ),
        frozenset({3}),
        ("The errors of highest confidence, at most two of a pair of categories. Some may be wrong labels.",),
    )


def _write_photos(run: Run, surest: pd.DataFrame, photograph: Photograph) -> None:
    """Figure 6, and its photos in the small with a list of what they show."""
    folder = run.path / "figures" / "confusions"
    listed = folder / "confusions.json"
    shown: list[tuple[Image.Image, dict[str, Any]]] = []
    for row in surest.to_dict("records"):
        image = photograph(row["product_id"])
        if image is not None:
            shown.append((image.convert("RGB"), {str(key): value for key, value in row.items()}))
    if not shown:
        return
    # the list goes first and comes last, so that it never names photos of another run
    listed.unlink(missing_ok=True)
    for stale in folder.glob("*.jpg"):
        stale.unlink()
    entries = []
    for number, (image, values) in enumerate(shown, start=1):
        image.thumbnail((256, 256))
        small = image.copy()
        small.thumbnail((_THUMBNAIL, _THUMBNAIL))
        file = f"{number:02d}.jpg"
        write_whole(folder / file, lambda aside, small=small: aside.write_bytes(_jpeg(small)))  # type: ignore[misc]
        entries.append({"file": file, **values})
    write_json(listed, entries)
    with mpl.rc_context(STYLE):
        save_figure(_figure6(shown), run.path / "figures" / "figure6")


def _jpeg(image: Image.Image) -> bytes:
    written = io.BytesIO()
    image.save(written, "JPEG", quality=85)
    return written.getvalue()


def _figure6(shown: list[tuple[Image.Image, dict[str, Any]]]) -> Figure:
    """Gallery of confident confusions (C, Fig. 6: ambiguous products)."""
    across = min(6, len(shown))
    down = -(-len(shown) // across)
    figure = Figure(figsize=(9.6, 2.05 * down + 0.1), layout="constrained")
    grid = np.atleast_1d(np.asarray(figure.subplots(down, across))).ravel()
    for axes in grid:
        axes.set_axis_off()
    for axes, (image, row) in zip(grid, shown, strict=False):
        axes.imshow(np.asarray(image))
        axes.set_title(
            f"{_cut(row['category'])}\n→ {_cut(row['predicted'])}, {_sure(row['probability'])}",
            fontsize=7,
            fontweight="normal",
            pad=3,
            loc="center",
        )
    return figure


def _sure(probability: float) -> str:
    return "> 99.9%" if probability > 0.9995 else percent(probability)


def _cut(text: str, length: int = 24) -> str:
    text = " ".join(str(text).split())
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"


def _display(run: Run, key: str) -> str:
    return run.categories.get(key, key)
