"""Predicted categories: Figure 7 of C and the tables behind it, precision at the operating point, the worst ten."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from shelfbench.base.grid import Grid, count, interval, share
from shelfbench.report.claims import load_claims, paper_note
from shelfbench.report.figures import STYLE, marks, save_figure
from shelfbench.report.tables import write_table
from shelfbench.runs.directory import Run, labels
from shelfbench.runs.reading import Evaluated
from shelfbench.verdict.categories import CategoryCurve, CategoryPrecision, category_precision, cumulate, halves
from shelfbench.verdict.metrics import REQUIRED, acceptance, exact_target

_KEPT = 0.8  # C41 and C42 are stated at 80% of the categories
_LINES = 100  # of the curve in Markdown and LaTeX; the CSV holds all points
_WORST = 10
_HOW = (
    "Categories are ranked by the lower 95% bound of their precision on one half of tune, the threshold of each number "
    "of them is fixed on the other half, and test reports. The threshold is no certified one."
)


@dataclass(frozen=True, eq=False)
class _Judged:
    """One backend's categories."""

    curve: CategoryCurve
    threshold: float
    found: CategoryPrecision
    truth: np.ndarray


def write_categories(run: Run, products: Mapping[str, Evaluated], chosen: str, seed: int = 0) -> None:
    """Write the tables of predicted categories and Figure 7; nothing where `tune` or test is empty.

    Parameters
    ----------
    run : Run
    products : mapping of str to Evaluated
        Products of every backend, at least those of `tune` and test.
    chosen : str
        The backend that Markdown and LaTeX speak of (`shelfbench.runs.choice`); the CSV files hold all.
    seed : int
        Cuts `tune` in two.
    """
    judged = {}
    for name, rows in products.items():
        tune, test = rows.where(rows.role == "tune"), rows.where(rows.split == "test")
        if len(tune.truth) < 2 or not len(test.truth):
            return
        first = halves(tune.product_id, seed)
        known = len(rows.keys)
        threshold = acceptance(tune.confidence, tune.correct, REQUIRED).threshold
        judged[name] = _Judged(
            cumulate(tune.where(first), tune.where(~first), test, known, REQUIRED),
            threshold,
            category_precision(test, threshold, known),
            np.bincount(test.truth, minlength=known),
        )
    curves = {name: one.curve for name, one in judged.items()}
    keys = {name: products[name].keys for name in judged}
    names = labels(run, run.backends)
    frame = pd.concat([_curve_frame(name, curve, keys[name]) for name, curve in curves.items()], ignore_index=True)
    write_table(run.path, "categories", frame, _curve_grid(frame[frame["backend"] == chosen], names[chosen].short))
    gain = pd.DataFrame([_gain(name, curve, name == chosen) for name, curve in curves.items()])
    write_table(run.path, "category_gain", gain, _gain_grid(run, gain))
    precise = pd.concat(
        [_precision_frame(name, one, keys[name], run.categories, name == chosen) for name, one in judged.items()],
        ignore_index=True,
    )
    own = precise[precise["chosen"]]
    write_table(run.path, "category_precision", precise, _precision_grid(own, names[chosen].short, whole=True))
    worst = worst_categories(own)
    write_table(run.path, "worst_categories", worst, _precision_grid(worst, names[chosen].short, whole=False))
    with mpl.rc_context(STYLE):
        save_figure(_figure7(run, curves), run.path / "figures" / "figure7")


def worst_categories(precise: pd.DataFrame, most: int = _WORST) -> pd.DataFrame:
    """Pick the predicted categories that are most surely imprecise.

    By the *upper* end of the exact interval, the lowest first: a category of few products, whose interval is wide, is
    named only where even that leaves little hope, and one that is surely below the target comes before all that may
    reach it.

    Parameters
    ----------
    precise : DataFrame
        Rows of ``category_precision.csv`` of one backend.
    most : int
    """
    accepted = precise[precise["accepted"] > 0]
    return accepted.sort_values(["high", "precision", "accepted", "key"], ascending=[True, True, False, True]).head(
        most
    )


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
        f"Cumulated over predicted categories, the best first: {name}, test products",
        ("Categories", "Share", "Products", "Precision", "Acc. at .9", "of kept", "Precision met"),
        rows,
        frozenset(range(7)),
        (
            "Products: those put into the kept categories; precision is over these. Acceptance: accepted over all test "
            "products, and over those of the kept categories. Precision met: of the accepted. " + _HOW,
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


def _gain_grid(run: Run, frame: pd.DataFrame) -> Grid:
    names = labels(run, run.backends)
    keys = ("precision", "acceptance_90", "acceptance_90_of_kept", "precision_of_accepted")
    rows = tuple(
        (
            names[str(row["backend"])].short,
            f"{count(int(row['kept_categories']))} of {count(int(row['categories']))}",
            share(row["kept_products"] / row["products"]),
            *(
                f"{share(row[f'{key}_all'])} → {share(row[f'{key}_kept'])} ({_points(row[f'{key}_gain'])})"
                for key in keys
            ),
        )
        for row in frame.to_dict("records")
    )
    claims = load_claims()
    return Grid(
        f"What keeping the best {_KEPT:.0%} of the predicted categories brings, test products",
        (
            "Backend",
            "Categories",
            "Products kept",
            "Precision",
            "Acc. at .9, of all products",
            "Acc. at .9, of kept products",
            "Precision met",
        ),
        rows,
        frozenset(range(1, 7)),
        (
            "All categories → the best of them (gain in points). C does not say of which products its acceptance is a "
            f"share: both are given. {_HOW} Precision met: of the accepted.",
            f"The paper gains {claims['C41'].printed} of precision and {claims['C42'].printed} of acceptance; "
            f"{paper_note()}.",
        ),
    )


def _points(gain: float) -> str:
    return f"{100 * gain:+.1f}"


def _precision_frame(
    name: str, judged: _Judged, keys: tuple[str, ...], display: Mapping[str, str], chosen: bool
) -> pd.DataFrame:
    found = judged.found
    return pd.DataFrame(
        {
            "backend": name,
            "chosen": chosen,
            "key": list(keys),
            "category": [display.get(key, key) for key in keys],
            "threshold": judged.threshold,
            "products": judged.truth,
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
    title = "Precision by predicted category" if whole else f"The {len(rows)} worst predicted categories"
    first = "" if whole else " Named by the upper end of the interval, the lowest first, and after the fact: on test."
    return Grid(
        f"{title} at the operating point: {name}, test products",
        ("Predicted category", "Products of it", "Put into it", "Accepted", "Precision of accepted [95%]"),
        rows,
        frozenset(range(1, 5)),
        (
            f"Accepted: by the threshold that gives a precision of {REQUIRED} on tune; not certified. Intervals: "
            f"exact, for each category by itself. A star: the whole interval lies below {REQUIRED} ({below} of these "
            f"categories).{first}",
        ),
    )


def _figure7(run: Run, curves: Mapping[str, CategoryCurve]) -> Figure:
    """Precision and acceptance at 0.9, cumulated over predicted categories, the best first (C, Fig. 7)."""
    figure = Figure(figsize=(10.4, 4.9), layout="constrained")
    left, right = figure.subplots(1, 2)
    names, handles = labels(run, run.backends), []
    for name, curve in curves.items():
        number = run.backends.index(name)
        style, kept = marks(number), curve.categories / len(curve.order)
        every = max(1, len(kept) // 8)
        # the marks of different lines stand apart
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
                label=names[name].short,
            )
        handles.append(line)
    for axes, title, quantity in (
        (left, "Precision on test", "precision over products put into them"),
        (right, "Acceptance on test at 0.9, threshold fixed on tune", "accepted, share of all test products"),
    ):
        axes.axvline(_KEPT, color=mpl.rcParams["text.color"], linewidth=1, linestyle=(0, (4, 3)), zorder=1)
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
    figure.legend(handles=handles, loc="outside lower center", ncols=3, fontsize=8.5, handlelength=3.4)
    return figure
