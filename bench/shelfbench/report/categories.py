"""Predicted categories: Figure 7 of C and the tables behind it, precision at the operating point, the worst ten."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from shelfbench.base.grid import MISSING, Grid, count, interval, share
from shelfbench.report.claims import load_claims, paper_note
from shelfbench.report.data import ERRORS, RunData
from shelfbench.report.section import NamedFigure, NamedTable, Section
from shelfbench.report.style import INK, legend_columns, marks
from shelfbench.verdict.categories import CategoryCurve, CategoryPrecision, category_precision, cumulate, halves
from shelfbench.verdict.metrics import REQUIRED, acceptance, exact_target

_KEPT = 0.8  # C41 and C42 are stated at 80% of the categories
_LINES = 100  # of the curve in Markdown and LaTeX; the CSV has all points
_WORST = 10
_PRECISION = (
    "backend",
    "chosen",
    "key",
    "category",
    "threshold",
    "products",
    "predicted",
    "accepted",
    "correct",
    "precision",
    "low",
    "high",
    "below_target",
)
_HOW = (
    "Categories are ranked by the lower 95% bound of their precision on one half of tune, the threshold for each "
    "number of categories is fixed on the other half, and both are applied to test. The threshold is not certified."
)


@dataclass(frozen=True, eq=False)
class _Judged:
    """One backend's predicted categories; `truth` counts the test products of each."""

    curve: CategoryCurve
    threshold: float
    found: CategoryPrecision
    truth: np.ndarray


def judged(data: RunData) -> dict[str, _Judged]:
    """Judge every backend's predicted categories; empty where `tune` or test is."""
    found = {}
    for name, rows in data.held_out.items():
        tune, test = rows.where(rows.role == "tune"), rows.where(rows.split == "test")
        if len(tune.truth) < 2 or not len(test.truth):
            return {}
        first = halves(tune.product_id, data.seed)
        known = len(rows.keys)
        threshold = acceptance(tune.confidence, tune.correct, REQUIRED).threshold
        found[name] = _Judged(
            cumulate(tune.where(first), tune.where(~first), test, known, REQUIRED),
            threshold,
            category_precision(test, threshold, known),
            np.bincount(test.truth, minlength=known),
        )
    return found


def kept_categories(data: RunData) -> Section | None:
    """The curve behind Figure 7: results of keeping only the best categories, for every number of them."""
    found = data.once(judged)
    if not found:
        return None
    keys = {name: rows.keys for name, rows in data.held_out.items()}
    frame = pd.concat([_curve_frame(name, one.curve, keys[name]) for name, one in found.items()], ignore_index=True)
    grid = _curve_grid(frame[frame["backend"] == data.chosen], data.chosen)
    return Section(title=ERRORS, grids=(NamedTable(name="categories", grid=grid, frame=frame),))


def category_gain(data: RunData) -> Section | None:
    """What each backend gains by keeping only the best categories."""
    found = data.once(judged)
    if not found:
        return None
    frame = pd.DataFrame([_gain(name, one.curve, name == data.chosen) for name, one in found.items()])
    return Section(title=ERRORS, grids=(NamedTable(name="category_gain", grid=_gain_grid(data, frame), frame=frame),))


def precision_by_category(data: RunData) -> Section | None:
    """Precision of every predicted category: in files, since it is too long for the page."""
    found = data.once(judged)
    if not found:
        return None
    frame = data.once(_precision)
    own = frame[frame["chosen"]]
    grid = _precision_grid(own, data.chosen, whole=True)
    table = NamedTable(name="category_precision", grid=grid, frame=frame, on_page=False)
    return Section(title=ERRORS, grids=(table,))


def worst_of_chosen(data: RunData) -> Section | None:
    """The predicted categories of the chosen backend that are most clearly imprecise."""
    if not data.once(judged):
        return None
    frame = data.once(_precision)
    worst = worst_categories(frame[frame["chosen"]])
    grid = _precision_grid(worst, data.chosen, whole=False)
    table = NamedTable(name="worst_categories", grid=grid, frame=worst, on_page=len(worst) > 0)
    return Section(title=ERRORS, grids=(table,))


def figure7(data: RunData) -> Section | None:
    """Precision and acceptance, cumulative over the predicted categories (C, Fig. 7)."""
    found = data.once(judged)
    if not found:
        return None
    figure = NamedFigure(
        name="figure7",
        draw=lambda: _figure7(data, {name: one.curve for name, one in found.items()}),
        caption=data.numbered(
            "Figure 7",
            "Precision (left) and acceptance at a precision of 0.9 (right), cumulative over the predicted categories, "
            "best first: ranked on one half of tune, with thresholds from its other half, both measured on test.",
        ),
    )
    return Section(title=ERRORS, figures=(figure,))


def _precision(data: RunData) -> pd.DataFrame:
    found = data.once(judged)
    names = data.record.dataset.category_names
    return pd.concat(
        [
            _precision_frame(one, data.held_out[name].keys, names).assign(backend=name, chosen=name == data.chosen)
            for name, one in found.items()
        ],
        ignore_index=True,
    )[list(_PRECISION)]


def worst_categories(precise: pd.DataFrame, most: int = _WORST) -> pd.DataFrame:
    """Pick the predicted categories that are most clearly imprecise.

    They are ordered by the *upper* end of the exact interval, lowest first: a category with few products, whose
    interval is wide, is listed only if even that end is low, and one that is clearly below the target comes before all
    that may reach it.

    Parameters
    ----------
    precise : DataFrame
        Rows of ``category_precision.csv`` of one backend.
    most : int

    Returns
    -------
    DataFrame
        At most `most` rows, each of a category with an error among what is accepted.
    """
    erring = precise[precise["correct"] < precise["accepted"]]
    return erring.sort_values(["high", "precision", "accepted", "key"], ascending=[True, True, False, True]).head(most)


def _curve_frame(name: str, curve: CategoryCurve, keys: tuple[str, ...]) -> pd.DataFrame:
    last = np.array(keys, object)[curve.order[curve.categories - 1]]
    return pd.DataFrame(
        {
            "backend": name,
            "categories": curve.categories,
            "share_of_categories": curve.categories / len(curve.order),
            "last_category": last,
            "kept": curve.kept,
            "precision": curve.precision,
            "acceptance_90": curve.acceptance,
            "acceptance_90_of_kept": curve.acceptance_of_kept,
            "precision_of_accepted": curve.precision_of_accepted,
            "threshold": curve.threshold,
        }
    )


def _curve_grid(frame: pd.DataFrame, name: str) -> Grid:
    if len(frame) > _LINES:
        frame = frame.iloc[np.unique(np.linspace(0, len(frame) - 1, _LINES).round().astype(int))]
    rows = tuple(
        (
            count(int(row["categories"])),
            share(row["share_of_categories"]),
            count(int(row["kept"])),
            *(
                share(row[key])
                for key in ("precision", "acceptance_90", "acceptance_90_of_kept", "precision_of_accepted")
            ),
        )
        for row in frame.to_dict("records")
    )
    return Grid(
        title=f"Cumulative over predicted categories, best first: {name}, test products",
        headers=("Categories", "Share", "Products", "Precision", "Acc. at 0.9", "of kept", "Precision met"),
        rows=rows,
        numeric=frozenset(range(7)),
        notes=(
            "Products: those predicted to be in the kept categories; precision is over these. Acceptance: accepted "
            "products as a share of all test products, and of those in the kept categories. Precision met: of the "
            "accepted products. " + _HOW,
        ),
    )


def _gain(name: str, curve: CategoryCurve, chosen: bool) -> dict[str, object]:
    at = curve.at_share(_KEPT)
    row: dict[str, object] = {
        "backend": name,
        "chosen": chosen,
        "categories": len(curve.order),
        "kept_categories": int(curve.categories[at]),
        "kept_products": int(curve.kept[at]),
        "products": curve.total,
    }
    for key, values in (
        ("precision", curve.precision),
        ("acceptance_90", curve.acceptance),
        ("acceptance_90_of_kept", curve.acceptance_of_kept),
        ("precision_of_accepted", curve.precision_of_accepted),
    ):
        row |= {f"{key}_all": values[-1], f"{key}_kept": values[at], f"{key}_gain": values[at] - values[-1]}
    return row


def _gain_grid(data: RunData, frame: pd.DataFrame) -> Grid:
    keys = ("precision", "acceptance_90", "acceptance_90_of_kept", "precision_of_accepted")
    rows = tuple(
        (
            str(row["backend"]),
            f"{count(int(row['kept_categories']))} of {count(int(row['categories']))}",
            share(row["kept_products"] / row["products"]),
            *(
                MISSING
                if np.isnan(row[f"{key}_all"]) and np.isnan(row[f"{key}_kept"])
                else f"{share(row[f'{key}_all'])} → {share(row[f'{key}_kept'])} ({_points(row[f'{key}_gain'])})"
                for key in keys
            ),
        )
        for row in frame.to_dict("records")
    )
    claims = load_claims()
    both = (
        "C does not say which products its acceptance is a share of, so both are given."
        if data.papers
        else "Acceptance: as a share of all test products, and of those in the kept categories."
    )
    paper = (
        f"The paper gains {claims['C41'].printed} of precision and {claims['C42'].printed} of acceptance; "
        f"{paper_note()}."
    )
    return Grid(
        title=f"What keeping only the best {_KEPT:.0%} of the predicted categories changes, test products",
        headers=(
            "Backend",
            "Categories",
            "Products kept",
            "Precision",
            "Acc. at 0.9, of all products",
            "Acc. at 0.9, of kept products",
            "Precision met",
        ),
        rows=rows,
        numeric=frozenset(range(1, 7)),
        notes=(
            f"All categories → the best of them (change in points). {both} {_HOW} Precision met: of the accepted "
            "products.",
            *((paper,) if data.papers else ()),
        ),
    )


def _points(gain: float) -> str:
    return MISSING if np.isnan(gain) else f"{100 * gain + 0.0:+.1f}".replace("-0.0", "+0.0")


def _precision_frame(one: _Judged, keys: tuple[str, ...], display: Mapping[str, str]) -> pd.DataFrame:
    found = one.found
    return pd.DataFrame(
        {
            "key": list(keys),
            "category": [display.get(key, key) for key in keys],
            "threshold": one.threshold,
            "products": one.truth,
            "predicted": found.predicted,
            "accepted": found.accepted,
            "correct": found.correct,
            "precision": found.precision,
            "low": found.low,
            "high": found.high,
            "below_target": found.high < float(exact_target(REQUIRED)),
        }
    )


def _precision_grid(frame: pd.DataFrame, name: str, whole: bool) -> Grid:
    below = int(frame["below_target"].sum())
    rows = tuple(
        (
            str(row["category"]),
            count(int(row["products"])),
            count(int(row["predicted"])),
            count(int(row["accepted"])),
            interval(row["precision"], row["low"], row["high"]) + ("*" if row["below_target"] else ""),
        )
        for row in (frame.sort_values(["high", "key"]) if whole else frame).to_dict("records")
    )
    title = "Precision by predicted category" if whole else _worst_title(len(rows))
    first = (
        "" if whole else " Ordered by the upper end of the interval, lowest first; selected after the fact, on test."
    )
    return Grid(
        title=f"{title} at the operating point: {name}, test products",
        headers=("Predicted category", "Products in it", "Predicted", "Accepted", "Precision of accepted [95%]"),
        rows=rows,
        numeric=frozenset(range(1, 5)),
        notes=(
            f"Accepted: by the threshold that reaches a precision of {REQUIRED} on tune; not certified. Intervals: "
            f"exact, for each category on its own. A star: the whole interval is below {REQUIRED} ({below} of these "
            f"categories).{first}",
        ),
    )


def _worst_title(number: int) -> str:
    if not number:
        return "No predicted category has an error"
    return "The worst predicted category" if number == 1 else f"The {number} worst predicted categories"


def _figure7(data: RunData, curves: Mapping[str, CategoryCurve]) -> Figure:
    """Precision and acceptance at 0.9, cumulative over predicted categories, best first (C, Fig. 7)."""
    figure = Figure(figsize=(10.4, 4.5 + 0.2 * -(-len(curves) // 3)), layout="constrained")
    left, right = figure.subplots(1, 2)
    handles = []
    for name, curve in curves.items():
        number = data.run.backends.index(name)
        style, kept = marks(number), curve.categories / len(curve.order)
        every = max(1, len(kept) // 8)
        # so that the markers of different lines do not coincide
        offset = (number * every) // max(len(curves), 1) % every
        for axes, values in ((left, curve.precision), (right, curve.acceptance)):
            (line,) = axes.plot(
                kept,
                values,
                **style,
                markevery=(offset, every),
                markersize=6,
                markeredgecolor="white",
                markeredgewidth=0.7,
                linewidth=1.5,
                label=name,
            )
        handles.append(line)
    for axes, title, quantity in (
        (left, "Precision on test", "precision over products predicted to be in them"),
        (right, "Acceptance on test at 0.9, threshold fixed on tune", "accepted, share of all test products"),
    ):
        axes.axvline(_KEPT, color=INK, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
        axes.annotate(
            f"{_KEPT:.0%}",
            (_KEPT, 0),
            xycoords=("data", "axes fraction"),
            xytext=(-4, 5),
            textcoords="offset points",
            ha="right",
            fontsize=8.5,
        )
        axes.set(xlim=(0, 1), title=title, xlabel="predicted categories kept, best first", ylabel=quantity)
        axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    lowest = min(float(np.nanmin(curve.precision[curve.kept > 0], initial=1.0)) for curve in curves.values())
    left.set_ylim(max(0.0, np.floor(10 * lowest - 0.5) / 10), 1.005)
    right.set_ylim(0, 1.005)
    columns = legend_columns(curves, 10.4, 3)
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, fontsize=8.5, handlelength=3.4)
    return figure
