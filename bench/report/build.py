"""The whole report of a run: tables, figures, page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from bench.console import Console
from bench.report.choice import choose
from bench.report.figures import Picture, write_figures
from bench.report.inputs import open_run
from bench.report.page import write_page
from bench.report.table4 import REQUIRED, render_table4
from bench.report.tables import write_tables


def build_report(run_dir: Path, pictures: Sequence[Picture] | None = None, console: Console | None = None) -> str:
    """Write tables, figures and the page of a run, from its directory alone.

    Parameters
    ----------
    run_dir : Path
        A run directory with predictions.
    pictures : sequence of Picture, optional
        Random photos for Figure 1; without them an earlier Figure 1 stays.
    console : Console, optional

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
    table = write_tables(run_dir, targets, console)
    write_figures(run_dir, pictures, console)
    write_page(run_dir, console)
    choice = choose(table, pd.read_csv(run_dir / "tables" / "metrics.csv"), run.record)
    text = render_table4(table, run.record)
    return f"{text}\n\n{choice.sentence()}" if choice else text
