"""What the choice of the walk changes on finished runs.

``nice python -m tests.benchmarks.walks_on_runs FILE.csv DIR ...`` reads the predictions of run directories, certifies
every backend at 0.9 and 0.95 with each walk (all categories on), and writes the acceptance on certify and, for
reference only, acceptance and precision on test. ``results/decisions/walks-on-runs.csv`` is of the studies `default`
and `fashion` at seed 0.
"""

import argparse
import csv
from pathlib import Path

import numpy as np

from shelfbench.runs.directory import open_run
from shelfbench.verdict.certify import certify, coverage_grid, start_of
from shelfbench.verdict.walk import WALKS

MEASURED = ("acceptance", "test_acceptance", "test_precision")
COLUMNS = ("study", "backend", "target", "walk", "certify", "certified", *MEASURED)


def rows(folder):
    """Yield a row for each backend, target and walk."""
    run = open_run(folder)
    for backend in run.backends:
        products = run.products(backend)
        tune, sure, test = (products.where(products.role == role) for role in ("tune", "certify", "test"))
        grid = coverage_grid(tune.confidence)
        for target in ("0.9", "0.95"):
            for walk in WALKS[::-1]:
                start = start_of(walk, tune.confidence, tune.correct, grid)
                found = certify(sure.confidence, sure.correct, grid, target, start=start)
                taken = test.confidence >= found.threshold
                precision = test.correct[taken].mean() if taken.any() else np.nan
                numbers = (f"{value:.4f}" for value in (found.acceptance, taken.mean(), precision))
                yield (run.record.settings.name, backend, target, walk, found.total, found.certified, *numbers)


def main():
    """Write the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", metavar="FILE.csv")
    parser.add_argument("runs", metavar="DIR", nargs="+", type=Path)
    options = parser.parse_args()
    with open(options.out, "w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(COLUMNS)
        for folder in options.runs:
            table.writerows(rows(folder))


if __name__ == "__main__":
    main()
