"""The linear SVM in blocks of rows against the one in memory, on the bottlenecks of the study fashion.

    SHELFBENCH_DATA=DIR python -m tests.benchmarks.svm_agreement results/scale/svm-agreement.csv

For each tolerance and C: how far the objective of the worst category is above that of a solution in memory at a
tolerance of 1e-7 (`memory`, `blocks`), steps of the slowest category, and the shares of photos of `tune` that go to the
same category (`agree`: blocks and memory; `agree_best`: blocks and the solution at 1e-7). Nothing is random.
"""

import contextlib
import csv
import sys
import tempfile
from pathlib import Path

import numpy as np

import shelfbench
from shelfbench.base.errors import RunError
from shelfbench_baselines.descent import Solution, regularisation_path
from shelfbench_baselines.linear_svm import LinearSVM
from shelfbench_baselines.squared_hinge import SquaredHinge
from shelfbench_baselines.streamed import Streamed, StreamedHinge

GRID = (3e-4, 1e-3, 3e-3, 1e-2, 3e-2)


def bottlenecks() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the features and labels of the training photos of fashion, and the features of those of `tune`."""
    found = []

    def take(self, data, *, seed, console):
        found.extend([np.asarray(data.features), np.asarray(data.labels), np.asarray(data.tune_features)])
        raise RunError("the features are taken", "compare the solvers")

    LinearSVM.fit = take
    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(RunError):
        shelfbench.run("fashion", backends=["bottleneck-svm"], out=folder, quiet=True)
    return found[0], found[1], found[2]


def main(table: Path) -> None:
    """Compare, and write a row for each C as it comes."""
    features, labels, tune = bottlenecks()
    classes = int(labels.max()) + 1
    memory, blocks = (kind(features, labels, classes, True) for kind in (SquaredHinge, StreamedHinge))
    best = regularisation_path(memory, GRID, 1e-7, 400)
    inputs = (tune - memory.standardisation.mean) / memory.standardisation.scale

    def decided(solution: Solution) -> np.ndarray:
        return (inputs @ solution.weights[:-1] + solution.weights[-1]).argmax(axis=1)

    with table.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["tolerance", "C", "memory", "blocks", "memory_steps", "blocks_steps", "agree", "agree_best"])
        for tolerance in (1e-4, 1e-6):
            here = regularisation_path(memory, GRID, tolerance, 400)
            there = regularisation_path(blocks, GRID, tolerance, 400, margins=Streamed(blocks.sweep))
            for C, one, other, least in zip(GRID, here, there, best, strict=True):
                above = [f"{(found.objective / least.objective - 1).max():.1e}" for found in (one, other)]
                steps = [int(found.sweeps.max()) for found in (one, other)]
                agree = [f"{np.mean(decided(other) == decided(than)):.4f}" for than in (one, least)]
                writer.writerow([tolerance, C, *above, *steps, *agree])
                file.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
