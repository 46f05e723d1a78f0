"""What should be doubted in a run's numbers: twins across the split, wrong labels."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from shelfbench.report import label_noise, leakage
from shelfbench.report.suspects import write_suspects
from shelfbench.report.tables import write_table
from shelfbench.runs.directory import Run, open_run, read_predictions


def write_doubts(run_dir: Path | Run, chosen: str | None) -> None:
    """Write the tables ``leakage``, ``label_noise`` and ``suspects``, each where the run holds what it needs.

    Parameters
    ----------
    run_dir : Path or Run
        A run directory with predictions.
    chosen : str or None
        The backend whose scores name suspected wrong labels (`shelfbench.runs.choice`).

    Raises
    ------
    InputError
        If a file of the run is damaged.
    """
    run = open_run(run_dir)
    twins, truth = leakage.read_twins(run), label_noise.read_truth(run)
    leaks, noises = [], []
    for backend in run.backends:
        products = read_predictions(run, backend)
        if twins is not None and (row := leakage.leakage_row(backend, products, twins)) is not None:
            leaks.append(row)
        noises += label_noise.label_noise_rows(run, backend, products, truth)
    if leaks:
        frame = pd.DataFrame(leaks, columns=list(leakage.COLUMNS))
        write_table(run.path, "leakage", frame, leakage.leakage_grid(run, frame))
    if noises:
        frame = pd.DataFrame(noises, columns=list(label_noise.COLUMNS))
        write_table(run.path, "label_noise", frame, label_noise.label_noise_grid(run, frame))
    write_suspects(run, chosen)
