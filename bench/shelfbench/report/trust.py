"""What of a run can be trusted: certified thresholds, calibration and aggregation, as tables and a figure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from shelfbench.base.console import Console
from shelfbench.report.aggregated import aggregation_rows, write_aggregation
from shelfbench.report.calibrated import Calibration, calibrations, write_calibration
from shelfbench.report.certified import write_certified
from shelfbench.runs.directory import Run, open_run, read_predictions
from shelfbench.runs.frames import certified_rows
from shelfbench.verdict.confidence import DEFAULT, MEASURES
from shelfbench.verdict.metrics import REQUIRED, exact_target


def write_trust(run_dir: Path | Run, targets: Sequence[str], console: Console | None = None) -> None:
    """Write the tables ``certified``, ``measures``, ``calibration``, ``aggregation`` and the figure ``reliability``.

    Parameters
    ----------
    run_dir : Path or Run
        A run directory with predictions.
    targets : sequence of str
        Required precisions; 0.9 is always among them.
    console : Console, optional

    Raises
    ------
    InputError
        If the directory holds no predictions, or a file in it is damaged (it is named).
    """
    console = console or Console(quiet=True)
    run = open_run(run_dir)
    required = exact_target(REQUIRED)
    wanted = sorted({required, *map(exact_target, targets)})
    level = float(run.record.get("study", {}).get("verdict", {}).get("confidence_level", 0.95))
    others = [measure for measure in MEASURES if measure != DEFAULT]
    certified: list[dict[str, Any]] = []
    aggregated: list[dict[str, Any]] = []
    calibrated: list[Calibration] = []
    with console.progress(len(run.backends), "certified thresholds", "backends") as bar:
        for backend in run.backends:
            products = read_predictions(run, backend)
            certified += certified_rows(backend, products, wanted, level, [DEFAULT])
            certified += certified_rows(backend, products, [required], level, others)
            calibrated += calibrations(run, backend, products)
            aggregated += aggregation_rows(run, backend)
            bar.update(1)
    write_certified(run, certified)
    write_calibration(run, calibrated)
    write_aggregation(run, aggregated)
