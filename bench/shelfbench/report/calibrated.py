"""How far confidence is from the truth, before and after calibration: table and reliability diagram."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from shelfbench.base.grid import MISSING, Grid, count, share
from shelfbench.report.data import PROMISED, RunData
from shelfbench.report.fonts import wrapped
from shelfbench.report.section import NamedFigure, NamedTable, Section
from shelfbench.verdict.temperature import BINS, Reliability, reliability

_TITLE = 145.0  # width of a panel's title in points; bold letters are wider than they are measured


@dataclass(frozen=True, eq=False, kw_only=True)
class Calibration:
    """The precision that one backend claims on one part of the products, and the true one.

    Attributes
    ----------
    backend, part : str
        `part` is ``tune`` or ``test``.
    before : Reliability or None
        By the confidence before the temperature; None if the predictions lack it.
    after : Reliability
        By the confidence of all tables.
    temperature : float
        NaN if it is not on record.
    method : str
        What was chosen besides (`shelfbench.verdict.calibration`); empty in runs of earlier versions.
    """

    backend: str
    part: str
    before: Reliability | None
    after: Reliability
    temperature: float
    method: str = ""


def calibrations(data: RunData) -> list[Calibration]:
    """Measure every backend on tune and on test; rejected products are skipped, since nothing is claimed about them."""
    found = []
    for backend in data.run.backends:
        products = data.run.products(backend)
        chosen = data.record.backends[backend].chosen if backend in data.record.backends else {}
        # if no aggregation is on record, an SVM's own temperature, over its margins, has that name
        temperature = chosen.get("temperature") if "aggregation" in chosen else None
        for part in ("tune", "test"):
            rows = products.where(products.role == part)
            if len(rows.truth):
                raw = rows.raw_confidence
                found.append(
                    Calibration(
                        backend=backend,
                        part=part,
                        before=None if raw is None else reliability(raw, rows.correct),
                        after=reliability(rows.confidence, rows.correct),
                        temperature=float(temperature) if isinstance(temperature, int | float) else math.nan,
                        method=str(chosen.get("calibration", "")),
                    )
                )
    return found


def calibration(data: RunData) -> Section:
    """Expected calibration error of every backend."""
    found = data.once(calibrations)
    frame = pd.DataFrame([_row(item) for item in found])
    if any(item.method for item in found):
        frame.insert(3, "calibration", [item.method for item in found])
    table = NamedTable(name="calibration", grid=calibration_grid(frame), frame=frame)
    return Section(title=PROMISED, grids=(table,))


def reliability_diagram(data: RunData) -> Section | None:
    """Claimed probability against the truth on test; None if nothing is claimed there."""
    shown = [item for item in data.once(calibrations) if item.part == "test" and item.after.count.sum()]
    if not shown:
        return None
    figure = NamedFigure(
        name="reliability",
        draw=lambda: _diagram(shown),
        caption="Reliability on test: how often a backend is right when it claims a probability, before and after "
        "calibrating on tune. On the diagonal, claims match the truth.",
    )
    return Section(title=PROMISED, figures=(figure,))


def _row(item: Calibration) -> dict[str, Any]:
    return {
        "backend": item.backend,
        "part": item.part,
        "products": int(item.after.count.sum()),
        "temperature": item.temperature,
        "error_before": math.nan if item.before is None else item.before.error,
        "error_after": item.after.error,
        "claimed_before": math.nan if item.before is None else _mean(item.before, item.before.confidence),
        "claimed_after": _mean(item.after, item.after.confidence),
        "precision": _mean(item.after, item.after.precision),
    }


def _fitted(row: Mapping[Any, Any]) -> str:
    """The temperature, and the name of what was chosen besides."""
    temperature = MISSING if math.isnan(row["temperature"]) else f"{row['temperature']:.3f}"
    method = row.get("calibration", "")
    return temperature if method in ("", "temperature") else f"{temperature}, {method}"


def _mean(found: Reliability, values: np.ndarray) -> float:
    return float(np.average(values, weights=found.count)) if found.count.sum() else math.nan


def calibration_grid(frame: pd.DataFrame) -> Grid:
    """Expected calibration error before and after."""
    rows = tuple(
        (
            row["backend"],
            row["part"],
            count(int(row["products"])),
            _fitted(row),
            *(
                share(row[key])
                for key in ("error_before", "error_after", "claimed_before", "claimed_after", "precision")
            ),
        )
        for row in frame.to_dict("records")
    )
    return Grid(
        title="Calibration: claimed and true precision",
        headers=(
            "Backend",
            "Part",
            "Products",
            "Temperature",
            "ECE before",
            "ECE after",
            "Claimed before",
            "Claimed after",
            "Precision",
        ),
        rows=rows,
        numeric=frozenset(range(2, 9)),
        notes=(
            f"ECE: expected calibration error, the mean distance between claimed and true precision over {BINS} bins "
            "of equal mass (equal confidences share a bin). Before and after: without and with what was fitted on "
            "tune: one temperature on the product's scores (above 1, it makes a backend less sure), and beta or "
            "isotonic calibration after it, if it is named, which changes no order. Claimed: mean probability of the "
            "predicted category. Rejected products are skipped: nothing is claimed about them.",
        ),
    )


def _diagram(shown: list[Calibration]) -> Figure:
    """One panel per backend: precision against claimed probability on test, before and after."""
    across = min(len(shown), 3 + (-len(shown) % 4 < -len(shown) % 3))  # 3 or 4, whichever leaves fewer empty places
    down = math.ceil(len(shown) / across)
    figure = Figure(figsize=(max(2.6 * across, 4.2), 2.75 * down + 0.75), layout="constrained")
    panels = np.atleast_1d(np.asarray(figure.subplots(down, across, sharex=True, sharey=True, squeeze=False))).ravel()
    for axes in panels[len(shown) :]:
        axes.set_axis_off()
    for number, (axes, item) in enumerate(zip(panels, shown, strict=False)):
        _panel(axes, item)
        axes.set_title(wrapped(item.backend, _TITLE, 8.5, 2), fontsize=8.5, pad=5)
        if number % across == 0:
            axes.set_ylabel("share that is right")
        if number + across >= len(shown):
            axes.set_xlabel("claimed probability")
            axes.tick_params(labelbottom=True)
    handles, words = panels[0].get_legend_handles_labels()
    figure.legend(handles, words, loc="outside lower left", ncols=3, fontsize=8.5, handlelength=3)
    figure.suptitle(
        "Reliability on test, before and after calibration", x=0.01, ha="left", fontsize=11, fontweight="bold"
    )
    return figure


def _panel(axes: Axes, item: Calibration) -> None:
    axes.plot([0, 1], [0, 1], color="#888888", linewidth=1, linestyle=(0, (2, 2)), label="claim equals truth", zorder=1)
    error = f"ECE {share(item.after.error)}"
    if item.before is not None:
        axes.plot(
            item.before.confidence,
            item.before.precision,
            color="#D55E00",
            linestyle=(0, (5, 2)),
            linewidth=1.3,
            marker="o",
            markersize=4.5,
            markerfacecolor="white",
            label="before",
            zorder=2,
        )
        error = f"ECE {share(item.before.error)} → {share(item.after.error)}"
    axes.plot(
        item.after.confidence,
        item.after.precision,
        color="#0072B2",
        linewidth=1.6,
        marker="s",
        markersize=4.5,
        markeredgecolor="white",
        markeredgewidth=0.6,
        label="after" if item.before is not None else "as predicted",
        zorder=3,
    )
    axes.text(0.97, 0.05, error, transform=axes.transAxes, ha="right", va="bottom", fontsize=8.5)
    axes.set(xlim=(0, 1.02), ylim=(0, 1.02), xticks=(0, 0.5, 1), yticks=(0, 0.5, 1), aspect="equal")
