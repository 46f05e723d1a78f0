"""Figures 1, 2 and 5 of C, and what acceptance costs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.legend_handler import HandlerErrorbar
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from shelfbench.base.errors import InputError
from shelfbench.report.claims import load_claims, paper_note
from shelfbench.report.data import Picture, RunData
from shelfbench.report.fonts import wrapped
from shelfbench.report.section import NamedFigure, Section
from shelfbench.report.style import COLOURS, INK, LINES, MARKERS, MUTED, PAPER_RED, legend_columns, marks, plain
from shelfbench.report.thin import thin_staircase
from shelfbench.verdict.metrics import REQUIRED, accept_on_curve, acceptance_curve, exact_target

_CURVE = (3000.0, 800.0)  # pixels of Figure 5 at the most, for a precision of 1 and for all products
_EPOCHS = 8  # marks of one training in Figure 2
_FLAT = 0.9  # a learning rate that falls by less looks like none
_CHOSEN = 3.2  # points: the line of the chosen backend


def figure1(data: RunData) -> Section:
    """Random photos of products (C, Fig. 1)."""
    pictures = data.pictures
    figure = NamedFigure(
        name="figure1",
        draw=(lambda: _gallery(pictures)) if pictures else None,
        caption=data.numbered("Figure 1", "Random products."),
        kind="photos",
    )
    return Section(title="The data", figures=(figure,))


def figure2(data: RunData) -> Section | None:
    """Learning rate against updates (C, Fig. 2); None if nothing was trained by updates and no paper matters."""
    trained = _trained(data)
    if not trained and not data.papers:
        return None
    flat = all(history["lr"].min() > _FLAT * history["lr"].max() for history in trained.values())
    lines = (
        " Lines: the paper's recipes (Eq. 3), read with negative exponents, since the printed 7·10^5 and 10^4 would "
        "end training at once. Marks: what was used here."
    )
    few = " It hardly falls in so few updates."
    figure = NamedFigure(
        name="figure2",
        draw=lambda: _learning_rates(trained, papers=data.papers),
        caption=data.numbered("Figure 2", f"Learning rate against updates.{lines if data.papers else few * flat}"),
    )
    return Section(title="Training", figures=(figure,))


def figure5(data: RunData) -> Section:
    """Acceptance against precision (C, Fig. 5)."""
    figure = NamedFigure(
        name="figure5",
        draw=lambda: _acceptance_against_precision(data),
        caption=data.numbered(
            "Figure 5",
            "Plain acceptance as a function of the required precision, on test."
            + (f" The stars are the two points stated in the paper; {paper_note()}." if data.papers else ""),
        ),
    )
    return Section(title=data.compared, figures=(figure,))


def cost(data: RunData) -> Section | None:
    """What acceptance costs; None if nothing was timed."""
    table = data.run.table4
    table = table[(table["split"] == "test") & (table["seconds"] > 0)]
    if table.empty:
        return None
    reused = " †: with features that had been computed earlier, at what they cost then."
    figure = NamedFigure(
        name="cost",
        draw=lambda: _cost(data, table),
        caption="What acceptance costs: plain acceptance at a precision of 0.9 on test, with 95% intervals, against "
        "seconds." + (reused if table["cached"].astype(bool).any() else ""),
    )
    return Section(title="What it costs", figures=(figure,))


def _gallery(pictures: Sequence[Picture]) -> Figure:
    """Random photos of products, with their categories (C, Fig. 1)."""
    # the fewest empty places, then the most across
    across = min(range(5, 9), key=lambda width: (-len(pictures) % width, -width))
    down = math.ceil(len(pictures) / across)
    figure = Figure(figsize=(9, (9 / across + 0.3) * down + 0.1), layout="constrained")
    grid = np.atleast_1d(np.asarray(figure.subplots(down, across))).ravel()
    for axes in grid:
        axes.set_axis_off()
    for axes, picture in zip(grid, pictures, strict=False):
        image = picture.image.convert("RGB")
        image.thumbnail((256, 256))
        axes.imshow(np.asarray(image))
        axes.set_title(
            wrapped(picture.caption, 72 * 9 / across - 10, 7, 2),
            fontsize=7,
            fontweight="normal",
            pad=3,
            loc="center",
            color=MUTED,
        )
    return figure


def _trained(data: RunData) -> dict[str, pd.DataFrame]:
    """The learning rate of every training by update, by what was trained."""
    histories = dict(data.run.history())
    # backends on one fine-tuned network share its training
    histories |= {
        f"{data.run.labels[name].feature}, fine-tuning": history for name, history in data.run.history("tuning").items()
    }
    kept = {label: history.dropna(subset=["step", "lr"]) for label, history in histories.items()}
    return {label: history for label, history in kept.items() if len(history)}


def _learning_rates(histories: Mapping[str, pd.DataFrame], *, papers: bool) -> Figure:
    """Learning rate against updates: Eq. 3 for the paper's recipes, and what our training used (C, Fig. 2)."""
    figure = Figure(figsize=(10.2, 4.2), layout="constrained")
    axes = figure.subplots()
    recipes: dict[str, dict[str, Any]] = {}
    for claim in load_claims().values() if papers else ():
        if "recipe" in claim.value:
            recipes.setdefault(claim.value["recipe"], {}).update(claim.value)
    last = max([*((200_000,) if papers else ()), *(int(history["step"].max()) for history in histories.values())])
    updates = np.geomspace(1, last, 400)
    for number, (name, recipe) in enumerate(recipes.items()):
        rate = recipe["initial"] / (1 + recipe["decay"] * updates)
        axes.plot(
            updates,
            rate,
            color=COLOURS[number],
            linestyle=LINES[number],
            zorder=2,
            label=f"{name}: {recipe['initial']:g} / (1 + {_power(recipe['decay'])} t), "
            f"batch {recipe['batch']} (C, Eq. 3)",
        )
    for number, (label, history) in enumerate(histories.items()):
        shown = history.iloc[np.unique(np.geomspace(1, len(history), _EPOCHS).round().astype(int)) - 1]
        # trainings that share a recipe overlap: larger markers around smaller ones
        axes.plot(
            shown["step"],
            shown["lr"],
            linestyle="none" if papers else LINES[number % len(LINES)],
            linewidth=1,
            color=COLOURS[number % len(COLOURS)],
            marker=MARKERS[number % len(MARKERS)],
            markersize=13 - 3.5 * (number % 4),
            markerfacecolor="none",
            markeredgecolor=INK,
            markeredgewidth=0.9,
            zorder=3,
            label=wrapped(f"{label}, used here" if papers else label, 200, 8, 4),
        )
    axes.set(ylabel="learning rate", title="Learning rate against updates")
    if papers:
        axes.set(xscale="log", xlim=(1, last), xlabel="updates t (logarithmic)")
    else:
        axes.set(xlim=(0, 1.03 * last), xlabel="updates")
    axes.set_ylim(0, None if papers else 1.06 * max(float(history["lr"].max()) for history in histories.values()))
    axes.xaxis.set_major_formatter(FuncFormatter(plain))
    axes.legend(loc="center left", fontsize=8, bbox_to_anchor=(1.01, 0.5), labelspacing=0.9)
    return figure


def _power(value: float) -> str:
    digits, exponent = f"{value:.0e}".split("e")
    raised = str(int(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"10{raised}" if digits == "1" else f"{digits}·10{raised}"


def _acceptance_against_precision(data: RunData) -> Figure:
    """Acceptance as a function of precision on test, one curve per backend (C, Fig. 5)."""
    columns = legend_columns((f"{backend}:  0.000, chosen" for backend in data.run.backends), 7.6, 2)
    rows = -(-len(data.run.backends) // columns)
    figure = Figure(figsize=(7.6, 5.2 + 0.2 * rows), layout="constrained")
    axes = figure.subplots()
    required = float(exact_target(REQUIRED))
    lowest, drawn = 0.55, []
    for number, backend in enumerate(data.run.backends):
        products = data.run.products(backend)
        test = products.where(products.split == "test")
        if not len(test.truth):
            continue
        curve = acceptance_curve(test.confidence, test.correct)
        reached = accept_on_curve(curve, str(required)).acceptance
        style, chosen = marks(number), backend == (data.choice and data.choice.backend)
        precision, share = thin_staircase(*curve.frontier(), _CURVE, required)
        if len(precision):
            lowest = min(lowest, float(precision[0]) - 0.03)
        # the chosen one is drawn stronger, and over the others
        strong: dict[str, Any] = {"linewidth": _CHOSEN} if chosen else {}
        axes.plot(precision, share, color=style["color"], linestyle=style["linestyle"], zorder=3 + chosen, **strong)
        if reached:
            axes.plot(
                [required],
                [reached],
                color=style["color"],
                marker=style["marker"],
                markersize=7.5,
                markeredgecolor="white",
                markeredgewidth=0.9,
                zorder=5,
                clip_on=False,
            )
        (handle,) = axes.plot(
            [],
            [],
            **style,
            **strong,
            markeredgecolor="white",
            markersize=7.5,
            label=f"{backend}:  {reached:.3f}" + ", chosen" * chosen,
        )
        drawn.append((reached, handle))
    if not drawn:
        raise InputError(f"{data.run.path} has no test products", "a split needs a test part")
    axes.axvline(required, color=INK, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
    axes.text(required - 0.006, 0.015, f"required: {required:g}", rotation=90, ha="right", va="bottom", fontsize=8.5)
    if data.papers:
        _paper_points(axes)
    axes.set(
        xlim=(max(0.0, lowest), 1.0),
        ylim=(0, 1.02),
        xlabel="precision of accepted products",
        ylabel="plain acceptance: share of all test products",
        title="Acceptance against precision, test products",
    )
    handles = [handle for _, handle in sorted(drawn, key=lambda item: -item[0])]
    # below the axes, where it covers no curve
    figure.legend(
        handles=handles,
        loc="outside lower left",
        ncols=columns,
        fontsize=8.5,
        handlelength=3.4,
        alignment="left",
        title=f"plain acceptance at precision {required:g}",
        title_fontsize=8.5,
    )
    return figure


def _paper_points(axes: Axes) -> None:
    """Draw the two points that C states about its own figure, on its own data."""
    for name, offset, side in (("C39", 9, "left"), ("C40", -9, "right")):
        point = load_claims()[name].value
        place = (point["precision"], point["acceptance"])
        axes.plot(
            *place,
            marker="*",
            markersize=13,
            color=PAPER_RED,
            linestyle="none",
            markeredgecolor="white",
            markeredgewidth=0.8,
            zorder=6,
            clip_on=False,
        )
        axes.annotate(
            f"the paper, on its own data:\n{100 * place[1]:g}% at precision {place[0]:g}",
            place,
            xytext=(offset, -3),
            textcoords="offset points",
            fontsize=7.5,
            color=PAPER_RED,
            ha=side,
            va="top",
            zorder=6,
            path_effects=[withStroke(linewidth=3, foreground="white")],
        )


def pareto_front(cost: np.ndarray, gain: np.ndarray) -> np.ndarray:
    """Find the rows that no other row beats by costing less for as much gain, or gaining more at the same cost.

    Parameters
    ----------
    cost : ndarray of float64, shape (rows,)
    gain : ndarray of float64, shape (rows,)

    Returns
    -------
    ndarray of int, shape (front,)
        By rising cost; the first of equal rows.
    """
    order = np.lexsort((-gain, cost))
    best_before = np.maximum.accumulate(np.append(-np.inf, gain[order]))[:-1]
    return order[gain[order] > best_before]


def _cost(data: RunData, table: pd.DataFrame) -> Figure:
    """Acceptance at 0.9 on test against seconds."""
    figure = Figure(figsize=(7.2, 4.2), layout="constrained")
    axes = figure.subplots()
    for row in table.to_dict("records"):
        number = data.run.backends.index(row["backend"])
        style = marks(number)
        middle, low, high = (row[f"acceptance_90{end}"] for end in ("", "_low", "_high"))
        axes.errorbar(
            [row["seconds"]],
            [middle],
            yerr=np.maximum([[middle - low], [high - middle]], 0),
            color=style["color"],
            marker=style["marker"],
            markersize=9,
            capsize=3,
            linestyle="none",
            elinewidth=1.2,
            markeredgecolor="white",
            clip_on=False,
            zorder=3,
            label=wrapped(row["backend"], 150, 8.5, 4) + ("†" if row["cached"] else ""),
        )
    front = pareto_front(table["seconds"].to_numpy(), table["acceptance_90"].to_numpy())
    ends = np.append(table["seconds"].to_numpy()[front], table["seconds"].max() * 1.6)
    heights = table["acceptance_90"].to_numpy()[front]
    axes.step(
        ends,
        np.append(heights, heights[-1:]),
        where="post",
        color=MUTED,
        linewidth=1.2,
        linestyle=(0, (4, 2)),
        zorder=2,
        label="Pareto front",
    )
    axes.set(
        xscale="log",
        xlim=(table["seconds"].min() / 1.6, table["seconds"].max() * 1.6),
        ylim=(max(0.0, np.floor(10 * table["acceptance_90_low"].min() - 0.5) / 10), 1.02),
        xlabel="seconds to extract, fit and predict (logarithmic)",
        ylabel="plain acceptance at precision 0.9, test",
        title="What acceptance costs",
    )
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(plain))
    without = {ErrorbarContainer: HandlerErrorbar(xerr_size=0, yerr_size=0)}
    axes.legend(loc="center left", bbox_to_anchor=(1.02, 0.5), fontsize=8.5, labelspacing=0.9, handler_map=without)
    return figure
