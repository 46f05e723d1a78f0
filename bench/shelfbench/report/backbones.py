"""What each backbone's bottleneck costs, next to the precision that a run reached with it; a table and a figure.

Needs neither pandas nor, unless it draws, matplotlib.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shelfbench.base.errors import InputError
from shelfbench.base.grid import MISSING, Grid, digits, share, span
from shelfbench.base.storage import load_json
from shelfbench.cost.measurements import Measurements
from shelfbench.cost.timing import MILLION, projected
from shelfbench.report.claims import load_claims
from shelfbench.report.measured import catalogue_images, display, failures, fitting, side, week

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CAPTION = (
    "Milliseconds for one image's bottleneck against precision on test. A backbone without a known precision is a tick "
    "on the axis; where several are known, a line joins those that no other beats on both counts."
)


@dataclass(frozen=True)
class BackbonePrecision:
    """How precise the best backend of a backbone was in another run.

    Attributes
    ----------
    backend : str
        The backend.
    precision : float
        Its precision on test.
    dataset : str
        Title of that run's data.
    """

    backend: str
    precision: float
    dataset: str


def precisions_of(run: Path) -> dict[str, BackbonePrecision]:
    """Read the precision that another run reached on test with each backbone.

    Parameters
    ----------
    run : Path
        A finished run of the comparison.

    Returns
    -------
    dict of str to BackbonePrecision
        By backbone, for the backend that is best on validation.

    Raises
    ------
    InputError
        If `run` is not a finished run.
    """
    try:
        record = load_json(run / "run.json")
        with open(run / "tables" / "table4.csv", encoding="utf-8", newline="") as file:
            cells = {(row["backend"], row["split"]): float(row["precision"]) for row in csv.DictReader(file)}
        best: dict[str, str] = {}
        for backend, entry in record["backends"].items():
            network = entry.get("settings", {}).get("backbone", {}).get("name", "")
            if network and (backend, "validation") in cells and (backend, "test") in cells:
                held = best.get(network)
                if held is None or cells[backend, "validation"] > cells[held, "validation"]:
                    best[network] = backend
        dataset = str(record["dataset"].get("title") or record["dataset"]["name"])
        return {
            network: BackbonePrecision(backend, cells[backend, "test"], dataset) for network, backend in best.items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"timing.precision_from: {run} has no precisions ({error})", "name a finished run's directory"
        ) from None


def backbone_rows(
    devices: Sequence[Measurements], precisions: dict[str, BackbonePrecision]
) -> Iterator[dict[str, Any]]:
    """Make the rows of ``backbones.csv``: what every backbone's bottleneck costs.

    Parameters
    ----------
    devices : sequence of Measurements
        What was measured, by device.
    precisions : dict of str to BackbonePrecision
        From `precisions_of`; may be empty.

    Yields
    ------
    dict
        One row per backbone and device; ``precision`` is NaN if no run has it.
    """
    for device in devices:
        for part in device.parts:
            kind, _, network = part.name.partition(" ")
            found, fed = part.way("resident"), part.way("jpeg")
            if kind != "extract" or not found:
                continue
            known = precisions.get(network)
            once = projected(fed.per_million(), 1, catalogue_images()) if fed else math.nan
            yield {
                "backbone": network,
                "device": device.device,
                "pixels": part.pixels,
                "numbers": part.precision,
                "multiply_accumulates": part.multiply_accumulates,
                "milliseconds": 1000 / found.rate,
                "low": 1000 * found.per_million(0.25) / MILLION,
                "high": 1000 * found.per_million(0.75) / MILLION,
                "jpeg_milliseconds": 1000 / fed.rate if fed else math.nan,
                "extraction_20m": once,
                "fits_20m": once <= week(),
                "precision": known.precision if known else math.nan,
                "backend": known.backend if known else "",
            }


def backbones_grid(devices: Sequence[Measurements], precisions: dict[str, BackbonePrecision]) -> Grid:
    """Lay out the cost of all backbones, with the precision that another run reached, where known.

    Parameters
    ----------
    devices : sequence of Measurements
        What was measured, by device.
    precisions : dict of str to BackbonePrecision
        From `precisions_of`; may be empty.

    Returns
    -------
    Grid
        One row per row of `backbone_rows`.
    """
    printed = {claim.value["network"]: claim.value for claim in load_claims().values() if "top_1" in claim.value}
    rows = tuple(
        (
            display(row["backbone"]),
            row["device"],
            side(row["pixels"]),
            row["numbers"],
            f"{row['multiply_accumulates'] / 1e9:.3f}",
            f"{digits(row['milliseconds'])} [{digits(row['low'])}, {digits(row['high'])}]",
            digits(row["jpeg_milliseconds"]),
            f"{span(row['extraction_20m'])}, {fitting(row['fits_20m'])}",
            share(row["precision"]),
            share(printed[row["backbone"]]["top_1"]) if row["backbone"] in printed else MISSING,
        )
        for row in backbone_rows(devices, precisions)
    )
    by = "; ".join(f"{display(name)}: {found.backend} on {found.dataset}" for name, found in precisions.items())
    return Grid(
        title="Backbones. Cost of one image's bottleneck",
        headers=(
            "Backbone",
            "Device",
            "Pixels",
            "Numbers",
            "GMAC",
            "ms [quartiles]",
            "ms from JPEG",
            "20M images",
            "Precision, test",
            "Paper X: ImageNet top-1",
        ),
        rows=rows,
        numeric=frozenset(range(4, 10)),
        notes=(
            "Weights are random, which does not change the cost. 20M images: from JPEG, and whether that fits the "
            "paper's week.",
            f"Precision: that of the backend that is best on validation ({by})."
            if by
            else "Precision is unknown: no run was named.",
            *failures(devices, ("extract",)),
        ),
    )


def draw_pareto(rows: Sequence[dict[str, Any]]) -> Figure:
    """Draw cost against precision.

    Parameters
    ----------
    rows : sequence of dict
        From `backbone_rows`; at least one.

    Returns
    -------
    Figure
        A backbone of unknown precision is a tick on the axis.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    from shelfbench.report.style import plain

    figure = Figure(figsize=(7.6, 4.6), layout="constrained")
    axes = figure.subplots()
    networks = list(dict.fromkeys(row["backbone"] for row in rows))
    devices = list(dict.fromkeys(row["device"] for row in rows))
    several = len(devices) > 1
    for row in rows:
        device = f", {row['device']}" if several else ""
        label = f"{display(row['backbone'])}, {row['pixels']} px{device}: {digits(row['milliseconds'])} ms"
        _draw_backbone(axes, row, networks.index(row["backbone"]), label)
    for device in devices:
        front = _front([row for row in rows if row["device"] == device])
        if len(front) > 1:
            cost, reached = zip(*front, strict=True)
            axes.plot(cost, reached, color="#666666", linewidth=1, drawstyle="steps-post", zorder=1)
    known = [row["precision"] for row in rows if not math.isnan(row["precision"])]
    costs = [row["milliseconds"] for row in rows]
    axes.set(
        xscale="log",
        xlim=(min(costs) / 1.6, max(costs) * 1.6),
        ylim=(max(0, min(known) - 0.1), min(1, max(known) + 0.1)) if known else (0, 1),
        xlabel="milliseconds for one image's bottleneck (logarithmic)",
        ylabel="precision, test",
        title="Cost and precision of the backbones" if known else "Cost of the backbones",
    )
    if not known:
        axes.set_yticks([])
        axes.set_ylabel("precision unknown (no run was named)")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(plain))
    axes.legend(
        loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=1 if several else 2, fontsize=8.5, labelspacing=1.0
    )
    return figure


def _draw_backbone(axes: Axes, row: dict[str, Any], number: int, label: str) -> None:
    """Draw one row, as a point with its quartiles or, where the precision is unknown, as a tick on the axis."""
    from shelfbench.report.style import marks

    style = marks(number)
    if math.isnan(row["precision"]):
        axes.plot(
            [row["milliseconds"]],
            [0],
            marker="|",
            markersize=18,
            markeredgewidth=2.2,
            color=style["color"],
            linestyle="none",
            transform=axes.get_xaxis_transform(),
            clip_on=False,
            label=f"{label} (no precision)",
        )
        return
    axes.errorbar(
        [row["milliseconds"]],
        [row["precision"]],
        xerr=[[row["milliseconds"] - row["low"]], [row["high"] - row["milliseconds"]]],
        color=style["color"],
        marker=style["marker"],
        markersize=9,
        capsize=3,
        linestyle="none",
        markeredgecolor="white",
        zorder=3,
        label=label,
    )


def _front(rows: Sequence[dict[str, Any]]) -> list[tuple[float, float]]:
    """Find the points that no other beats in both cost and precision, by cost."""
    front: list[tuple[float, float]] = []
    for row in sorted(rows, key=lambda row: (row["milliseconds"], -row["precision"])):
        if row["precision"] > (front[-1][1] if front else -1.0):  # never true for NaN
            front.append((row["milliseconds"], row["precision"]))
    return front
