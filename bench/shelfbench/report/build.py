"""The whole report of a run: tables, figures, page."""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd

from shelfbench.base.console import Console
from shelfbench.base.errors import InputError
from shelfbench.plugins.experiment import find_experiment
from shelfbench.report.categories import write_categories
from shelfbench.report.certified import read_certified
from shelfbench.report.comparison import compare_run, held_out, write_comparison
from shelfbench.report.doubts import write_doubts
from shelfbench.report.errors import Photograph, write_errors
from shelfbench.report.figures import Picture, write_figures
from shelfbench.report.page import write_page
from shelfbench.report.table4 import render_table4
from shelfbench.report.tables import write_tables
from shelfbench.report.trust import write_trust
from shelfbench.runs.choice import choose
from shelfbench.runs.directory import open_run, read_predictions
from shelfbench.verdict.metrics import REQUIRED


def build_report(
    run_dir: Path,
    pictures: Sequence[Picture] | None = None,
    console: Console | None = None,
    photograph: Photograph | None = None,
) -> str:
    """Write tables, figures and the page of a run, from its directory alone.

    Parameters
    ----------
    run_dir : Path
        A run directory with predictions.
    pictures : sequence of Picture, optional
        Random photos for Figure 1; without them an earlier Figure 1 stays.
    console : Console, optional
    photograph : callable, optional
        Photos of products by their id, for Figure 6; without it an earlier Figure 6 stays.

    Returns
    -------
    str
        Table 4 and the verdict, for the terminal.

    Raises
    ------
    InputError
        If the directory holds no predictions, or a file in it is damaged (it is named).
    """
    console = console or Console(quiet=True)
    run = open_run(run_dir)
    settings = run.record.get("study", {}).get("report", {})
    targets = tuple(dict.fromkeys([REQUIRED, *(str(target) for target in settings.get("targets", []))]))
    table = write_tables(run, targets, console)
    seed = int(run.record.get("seed") or 0)
    products = {name: held_out(read_predictions(run, name)) for name in run.backends}
    with ThreadPoolExecutor(1) as beside:  # resampling leaves the interpreter to the drawing of figures
        compared = beside.submit(compare_run, products, seed)
        write_trust(run, targets, console)
        write_figures(run, pictures, console)
        write_comparison(run, compared.result())
    choice = choose(table, pd.read_csv(run_dir / "tables" / "metrics.csv"), run.record)
    chosen = (choice and choice.backend) or run.backends[0]
    write_categories(run, products, chosen, seed)
    write_errors(run, products, chosen, photograph)
    write_doubts(run, choice.backend if choice else None)
    write_page(run, console)
    text = render_table4(table, run.record)
    if choice is None:
        return text
    return "\n\n".join(filter(None, [text, choice.sentence(), choice.promise(read_certified(run_dir))]))


def report_again(run_dir: Path, console: Console) -> str:
    """Make the tables and figures of a run again, whatever its study was: a comparison or an experiment.

    Raises
    ------
    InputError
        If the directory holds no run, or a file in it is damaged (it is named).
    """
    path = run_dir / "run.json"
    if not path.is_file():
        raise InputError(f"{run_dir} is not a run directory (it has no run.json)", "name the --out of a run")
    try:
        experiment = json.loads(path.read_text(encoding="utf-8"))["study"].get("experiment", "")
    except (ValueError, KeyError, TypeError, AttributeError):
        experiment = ""  # reading it as a comparison says what is wrong with it
    if experiment:
        return find_experiment(experiment).report(run_dir, console)
    return build_report(run_dir, None, console)
