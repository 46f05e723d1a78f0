"""The chart of `tests.benchmarks.memory_scale`.

python -m tests.benchmarks.memory_chart results/scale/memory.csv results/scale/seconds.csv results/scale/memory.png
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

LIMIT, NEAR = 4096, 0.1
COLOURS = ("#9ecae1", "#4292c6", "#084594", "#000000")


def dots(axes: Axes, frame: pd.DataFrame, column: str) -> None:
    """Draw a dot for each stage and number of images, those of a stage on one line."""
    stages = list(dict.fromkeys(frame["stage"]))
    for colour, (images, part) in zip(COLOURS, frame.groupby("images"), strict=False):
        height = [stages.index(stage) for stage in part["stage"]]
        axes.scatter(part[column], height, color=colour, label=f"{images:,} images", zorder=3)
    axes.set_yticks(range(len(stages)), stages)
    axes.invert_yaxis()
    axes.grid(axis="both", color="#dddddd", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)


def main(memory: Path, seconds: Path, picture: Path) -> None:
    matplotlib.use("agg")
    held, took = pd.read_csv(memory), pd.read_csv(seconds)
    fewest = took[took["images"] == took["images"].min()].set_index("stage")["microseconds_per_image"]
    took["ratio"] = took["microseconds_per_image"] / took["stage"].map(fewest)
    figure, (left, right) = plt.subplots(1, 2, figsize=(12, 5.5), layout="constrained")
    dots(left, held, "own_mib")
    left.set_xscale("log", base=2)
    ticks = [64, 128, 256, 512, 1024, 2048, 4096]
    left.set_xticks(ticks, [f"{mib} MiB" if mib < 1024 else f"{mib // 1024} GiB" for mib in ticks], fontsize=8)
    left.axvline(LIMIT, color="#cb181d", linewidth=1)
    left.set_title("Peak memory of a stage's processes,\npages of mapped files left out", fontsize=10)
    left.text(LIMIT * 0.95, len(held["stage"].unique()) - 0.6, "limit", color="#cb181d", fontsize=8, ha="right")
    dots(right, took, "ratio")
    right.axvspan(1 - NEAR, 1 + NEAR, color="#eeeeee", zorder=0)
    right.set_xlim(0, max(1.5, float(np.ceil(5 * took["ratio"].max()) / 5)))
    right.set_title(
        f"Seconds of the processor for each image,\nas times those with {took['images'].min():,} images", fontsize=10
    )
    for axes in (left, right):
        axes.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.06), ncols=4, frameon=False)
    figure.savefig(picture, dpi=110)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
