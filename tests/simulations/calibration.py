"""What each calibration claims on test, and what a bounded temperature brings where `tune` is small.

    python -m tests.simulations.calibration results/decisions/calibration.csv RUN...

Each RUN is the directory of a finished comparison with its scores. The choice among calibrations is made on `tune`
alone, as a run makes it; the rows of test say what it gave there. The rows `few` draw 27 and 100 products of `tune`
(20 times each), all of them right, and show what the most likely and the bounded temperature claim of test.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from shelfbench.runs.directory import open_run
from shelfbench.verdict.calibration import CHOICES, choose_calibrator, claims, fit_calibrator, log_odds
from shelfbench.verdict.metrics import REQUIRED, acceptance
from shelfbench.verdict.predictions import aggregate
from shelfbench.verdict.temperature import reliability

COLUMNS = (
    "run",
    "backend",
    "tune",
    "products",
    "calibration",
    "chosen",
    "temperature",
    "error",
    "loss",
    "acceptance_90",
    "least_gap",
)


def product_scores(run, backend: str):
    """Read the aggregated scores of the products of tune and test, their labels and roles."""
    table = pq.read_table(run.file("scores", backend))
    names = [np.array(row, str) for row in table["categories"].to_pylist()]
    keys, code = np.unique(np.concatenate(names), return_inverse=True)
    scores = np.full((len(names), len(keys)), -np.inf)
    row = np.repeat(np.arange(len(names)), [len(part) for part in names])
    scores[row, code] = np.concatenate(table["log_probabilities"].to_pylist())
    scores -= np.logaddexp.reduce(scores, axis=1)[:, None]
    owner = table["product_id"].to_numpy()
    order = np.argsort(owner, kind="stable")
    products, starts = np.unique(owner[order], return_index=True)
    joined = aggregate(scores[order], starts, run.record.backends[backend].chosen["aggregation"])
    frame = pq.read_table(run.file("predictions", backend), columns=["product_id", "category", "role"]).to_pandas()
    frame = frame.set_index("product_id").loc[products]
    place = np.searchsorted(keys, frame["category"].to_numpy(str)).clip(max=len(keys) - 1)
    return joined, np.where(keys[place] == frame["category"], place, -1), frame["role"].to_numpy()


def measured(found, scores, labels) -> dict:
    """Calibration error, log-loss of being right, acceptance, and the least distance of a claim from 1."""
    predicted, values = claims(found, scores)
    right, odds = predicted == labels, log_odds(values)
    return {
        "calibration": found.method,
        "temperature": round(found.temperature, 4),
        "error": round(reliability(values, right).error, 4),
        "loss": round(float(np.logaddexp(0, np.where(right, -odds, odds)).mean()), 4),
        "acceptance_90": round(acceptance(values, right, REQUIRED).acceptance, 4),
        "least_gap": f"{-np.expm1(values.max()):.3g}",
    }


def rows_of(path: Path):
    """Yield the rows of one run."""
    run = open_run(path)
    for backend in run.backends:
        scores, labels, role = product_scores(run, backend)
        tune, test = (np.flatnonzero(role == name) for name in ("tune", "test"))
        common = {"run": run.record.study["name"], "backend": backend, "products": len(test)}
        chosen = choose_calibrator(scores[tune], labels[tune], run.record.seed).method
        for method in ("unbounded", *CHOICES):
            found = fit_calibrator(method, scores[tune], labels[tune])
            yield {
                **common,
                "tune": len(tune),
                "chosen": "yes" if method == chosen else "",
                **measured(found, scores[test], labels[test]),
            }
        right = tune[scores[tune].argmax(axis=1) == labels[tune]]
        rng = np.random.default_rng(0)
        for count in (27, 100):
            draws = [rng.choice(right, count, replace=False) for _ in range(20)]
            for method in ("unbounded", "temperature"):
                several = [
                    measured(fit_calibrator(method, scores[draw], labels[draw]), scores[test], labels[test])
                    for draw in draws
                ]
                mean = {name: round(float(np.mean([one[name] for one in several])), 4) for name in ("error", "loss")}
                yield {
                    **common,
                    "tune": count,
                    "chosen": "few",
                    **several[0],
                    **mean,
                    "least_gap": min((one["least_gap"] for one in several), key=float),
                }


def main(target: str, *runs: str) -> None:
    """Write the table."""
    with Path(target).open("w", newline="") as handle:
        writer = csv.DictWriter(handle, COLUMNS, lineterminator="\n")
        writer.writeheader()
        for run in runs:
            writer.writerows(rows_of(Path(run)))


if __name__ == "__main__":
    main(*sys.argv[1:])
