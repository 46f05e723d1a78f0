"""``results/performance``: the table of ratios and its bar chart, from the records of ``nox -s regress -- full``.

python -m tests.benchmarks.summary results/performance
"""

import json
import math
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from shelfbench.base.grid import Grid
from shelfbench.report.fonts import fit_fonts
from shelfbench.report.render import drawn, write_forms
from shelfbench.report.style import STYLE

COLUMNS = ("stage", "opponent", "ours_s", "opponent_s", "ratio", "goal", "peak_mib")
REACHED, SHORT, GOAL = "#0072B2", "#E69F00", "#222222"


def rows_of(folder: Path) -> Iterator[dict[str, Any]]:
    """Records of all rows, file by file."""
    for path in sorted((folder / "records").glob("*.json")):
        record = json.loads(path.read_text(encoding="utf-8"))
        if "benchmarks" in record:
            if not record["full_size"]:
                raise SystemExit(f"{path} was measured at reduced sizes: nox -s regress -- full")
            for entry in record["benchmarks"]:
                if entry["extra_info"]:
                    yield entry["extra_info"]
                else:
                    print(f"{path}: {entry['name']} was interrupted and is left out", file=sys.stderr)
        else:
            yield record


def frame_of(folder: Path) -> pd.DataFrame:
    """One row a stage and opponent: medians, in seconds; no ratio where a time is the goal."""
    rows = [
        {
            "stage": row["stage"],
            "opponent": row["opponent"],
            "ours_s": float(np.median(row["ours_s"])),
            "opponent_s": float(np.median(row["opponent_s"])) if row["opponent_s"] else math.nan,
            "ratio": math.nan if row["ratio"] is None else row["ratio"],
            "goal": f"{row['goal']:g}x" if row["goal_seconds"] is None else f"under {row['goal_seconds']:g} s",
            "peak_mib": row["peak_mib"],
            "reached": row["ratio"] >= row["goal"]
            if row["goal_seconds"] is None
            else float(np.median(row["ours_s"])) < row["goal_seconds"],
            "bound": row.get("bound", False),
            "goal_ratio": row["goal"] if row["goal_seconds"] is None else math.nan,
        }
        for row in rows_of(folder)
    ]
    if not rows:
        raise SystemExit(f"{folder / 'records'} contains no records: nox -s regress -- full")
    return pd.DataFrame(rows)


def seconds(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.3g}" if value < 100 else f"{value:,.0f}"


def times(ratio: float, bound: bool) -> str:
    """A ratio; where the opponent was stopped, the least that it can be."""
    shown = f"{ratio:.3g}" if ratio < 100 else f"{ratio:,.0f}"
    return "–" if math.isnan(ratio) else f"{'≥ ' if bound else ''}{shown}x"


def grid_of(frame: pd.DataFrame) -> Grid:
    cells = [
        (
            row.stage,
            row.opponent or "–",
            seconds(row.ours_s),
            ("≥ " if row.bound else "") + seconds(row.opponent_s),
            times(row.ratio, row.bound),
            row.goal,
            "yes" if row.reached else "no",
            f"{row.peak_mib:,.0f}",
        )
        for row in frame.itertuples()
    ]
    headers = ("Stage", "Instead", "Ours, s", "Instead, s", "Ratio", "Goal", "Reached", "Peak, MiB")
    return Grid(
        title="Speed against what a user would write instead",
        headers=headers,
        rows=tuple(cells),
        numeric=frozenset({2, 3, 4, 7}),
        notes=(
            "Medians; both in one run, in turn, after a warm-up; an opponent that takes over a minute ran once. "
            "The whole study ran once each, one after the other; ≥ where its opponent was stopped before its end. "
            "Ratios travel between machines better than seconds do. Peak: resident memory of the whole process while "
            "ours ran, with its libraries and the data that were compared.",
        ),
    )


def labels(shown: pd.DataFrame) -> list[str]:
    """Stages, with the opponent where a stage has several."""
    several = shown["stage"].duplicated(keep=False)
    return [
        "\n".join([stage, *textwrap.wrap(f"against {opponent}", 56)]) if alike else stage
        for stage, opponent, alike in zip(shown["stage"], shown["opponent"], several, strict=True)
    ]


def chart(frame: pd.DataFrame) -> Figure:
    """Ratios on a logarithmic axis, with the goal of each."""
    shown = frame[frame["ratio"].notna()].iloc[::-1]
    names = labels(shown)
    figure = Figure(figsize=(9.5, 0.24 * sum(2 + name.count("\n") for name in names) + 1.4), layout="constrained")
    axes = figure.subplots()
    places = np.arange(len(shown))
    colours = [REACHED if reached else SHORT for reached in shown["reached"]]
    hatches = ["" if reached else "///" for reached in shown["reached"]]
    axes.barh(places, shown["ratio"] - 1, left=1, color=colours, hatch=hatches, edgecolor="white", height=0.66)
    axes.scatter(shown["goal_ratio"], places, marker="|", s=190, color=GOAL, linewidths=2.2, zorder=3)
    for place, ratio, goal, bound in zip(places, shown["ratio"], shown["goal_ratio"], shown["bound"], strict=True):
        axes.annotate(
            times(ratio, bound),
            (max(ratio, goal, 1), place),
            (6, 0),
            textcoords="offset points",
            va="center",
            fontsize=8.5,
        )
    axes.set_yticks(places, names, fontsize=8.5)
    axes.set_xscale("log")
    axes.set_ylim(-0.7, len(shown) - 0.3)
    axes.set_xlim(0.8, shown[["ratio", "goal_ratio"]].to_numpy().max() * 3)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}x")
    axes.grid(visible=False, axis="y")
    axes.axvline(1, color=GOAL, linewidth=0.8)
    axes.set_xlabel("times as fast as what a user would write (logarithmic)")
    axes.set_title("Speed, and the goal of each stage", loc="right")
    handles = [
        mpl.patches.Patch(facecolor=REACHED, label="goal reached"),
        mpl.patches.Patch(facecolor=SHORT, hatch="///", edgecolor="white", label="not reached"),
        mpl.lines.Line2D(
            [], [], color=GOAL, marker="|", linestyle="", markersize=11, markeredgewidth=2.2, label="goal"
        ),
    ]
    present = [handles[number] for number in (0, 1, 2) if number == 2 or (shown["reached"] == (number == 0)).any()]
    figure.legend(handles=present, loc="outside lower right", ncols=3)
    return figure


def main(folder: Path) -> None:
    frame = frame_of(folder)
    write_forms(folder, "performance", frame[list(COLUMNS)], grid_of(frame))
    with mpl.rc_context(STYLE):
        figure = chart(frame)
        for suffix, image in drawn(figure, fit_fonts(figure)).items():
            (folder / f"performance{suffix}").write_bytes(image)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
