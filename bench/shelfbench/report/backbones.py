"""What each backbone's bottleneck costs, beside the precision that a run reached with it: table and Pareto figure."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shelfbench.base.errors import InputError
from shelfbench.base.grid import MISSING, Grid, digits, share, span
from shelfbench.cost.measurements import Measurements
from shelfbench.cost.timing import MILLION, projected
from shelfbench.report.claims import load_claims
from shelfbench.report.measured import catalogue_images, display, failures, fitting, side, week


@dataclass(frozen=True)
class BackbonePrecision:
    """How right a backbone's best backend was in another run."""

    backend: str
    precision: float
    dataset: str


def precisions_of(run: Path) -> dict[str, BackbonePrecision]:
    """Read what a run reached on test with each backbone, by the backend that is best on validation.

    Raises
    ------
    InputError
        If `run` is no finished run.
    """
    try:
        record = json.loads((run / "run.json").read_text(encoding="utf-8"))
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
            f"timing.precision_from: {run} gives no precisions ({error})", "name a finished run's directory"
        ) from None


def backbone_rows(
    devices: Sequence[Measurements], precisions: dict[str, BackbonePrecision]
) -> Iterator[dict[str, Any]]:
    """What every backbone's bottleneck costs; `precision` is NaN where no run gives it."""
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
    """Cost of all backbones, with the precision of those that another run gives."""
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
        "Backbones. Cost of one image's bottleneck",
        (
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
        rows,
        frozenset(range(4, 10)),
        (
            "Weights are random, which changes no cost. 20M images: from JPEG, and whether that fits the paper's week.",
            f"Precision: of the backend that is best on validation ({by})." if by else "No run gives precisions.",
            *failures(devices, ("extract",)),
        ),
    )


def write_pareto(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Draw cost against precision (`path` with .png and .svg); a backbone of unknown precision is a tick on the axis.

    Parameters
    ----------
    path : Path
    rows : sequence of dict
        From `backbone_rows`.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    from shelfbench.report.render import save_figure
    from shelfbench.report.style import STYLE, marks, plain

    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7.6, 4.6), layout="constrained")
        axes = figure.subplots()
        networks = list(dict.fromkeys(row["backbone"] for row in rows))
        devices = list(dict.fromkeys(row["device"] for row in rows))
        several = len(devices) > 1
        for row in rows:
            style = marks(networks.index(row["backbone"]))
            device = f", {row['device']}" if several else ""
            label = f"{display(row['backbone'])}, {row['pixels']} px{device}: {digits(row['milliseconds'])} ms"
            if math.isnan(row["precision"]):
                # a tick on the axis: its cost is known, its precision is not
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
                continue
            spread = [[row["milliseconds"] - row["low"]], [row["high"] - row["milliseconds"]]]
            axes.errorbar(
                [row["milliseconds"]],
                [row["precision"]],
                xerr=spread,
                color=style["color"],
                marker=style["marker"],
                markersize=9,
                capsize=3,
                linestyle="none",
                markeredgecolor="white",
                zorder=3,
                label=label,
            )
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
            title="What a backbone costs, and what it gives" if known else "What a backbone costs",
        )
        if not known:
            axes.set_yticks([])
            axes.set_ylabel("no run gives precisions")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(plain))
        axes.legend(
            loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=1 if several else 2, fontsize=8.5, labelspacing=1.0
        )
        save_figure(figure, path)


def _front(rows: Sequence[dict[str, Any]]) -> list[tuple[float, float]]:
    """Points that no other beats in both cost and precision, by cost."""
    front: list[tuple[float, float]] = []
    for row in sorted(rows, key=lambda row: (row["milliseconds"], -row["precision"])):
        if row["precision"] > (front[-1][1] if front else -1.0):  # NaN never is
            front.append((row["milliseconds"], row["precision"]))
    return front
