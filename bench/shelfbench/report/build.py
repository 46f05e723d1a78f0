"""How the report of a comparison of backends is made."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from shelfbench.base.console import Console
from shelfbench.base.errors import InputError
from shelfbench.plugins.experiment import find_experiment
from shelfbench.report.data import Photograph, Picture, open_data
from shelfbench.report.draws import build_draws
from shelfbench.report.money import in_words, note_prices
from shelfbench.report.page import header, title_of
from shelfbench.report.render import write_page, write_report
from shelfbench.report.sections import SECTIONS
from shelfbench.report.table4 import render_table4
from shelfbench.runs.draws import DRAWS
from shelfbench.runs.entries import Entry
from shelfbench.runs.intact import check_all
from shelfbench.runs.record import read_record
from shelfbench.verdict.costs import Prices

NO_COSTS = "give costs for a run that compares backends"


def build_report(
    run_dir: Path,
    pictures: Sequence[Picture] | None = None,
    console: Console | None = None,
    photograph: Photograph | None = None,
) -> str:
    """Write the tables, the figures and the page of a run.

    Parameters
    ----------
    run_dir : Path
        A run directory with predictions.
    pictures : sequence of Picture, optional
        Random photos for Figure 1; without them an existing Figure 1 is kept.
    console : Console, optional
    photograph : callable, optional
        Photos of products by their id, for Figure 6; without it an existing Figure 6 is kept.

    Returns
    -------
    str
        For the terminal: what the numbers rest on, Table 4, warnings, and what to do.

    Raises
    ------
    InputError
        If the directory has no readable predictions, or another file in it is damaged; the message names it.
    """
    console = console or Console(quiet=True)
    data = open_data(run_dir, pictures=pictures, photograph=photograph, console=console)
    data.run.evaluate(data.run.targets, console)
    pieces = write_report(data.run.path, SECTIONS, data, tables=data.tables, console=console)
    with console.stage("page"):
        write_page(data.run.path, title_of(data), pieces, header=header(data), console=console)
    # what matters comes last, where a reader of a terminal looks first
    said = data.run.headline
    parts = [*said.details, in_words(data), render_table4(data), *said.warnings, said.verdict, said.next, said.code]
    return "\n\n".join(filter(None, parts))


def report_again(run_dir: Path, console: Console, prices: Prices | None = None) -> str:
    """Remake the tables and figures of any run, whether a comparison or an experiment.

    Parameters
    ----------
    run_dir : Path
        A run directory.
    console : Console
    prices : Prices, optional
        What a review, an error and an hour cost, noted in the record of a comparison for this and later pages.

    Returns
    -------
    str
        The main table, for the terminal.

    Raises
    ------
    InputError
        If the directory has no run, or a file in it is damaged; the message names it.
    """
    if (run_dir / DRAWS).is_file():
        if prices is not None:
            raise InputError(f"{run_dir} is a folder of draws", "give costs for one of its run directories")
        return build_draws(run_dir, console)
    record = read_record(run_dir, Entry)
    if experiment := record.experiment:
        check_all(run_dir, record)
        if prices is not None:
            raise InputError(f"{run_dir} is a run of the experiment {experiment}, which accepts no products", NO_COSTS)
        return find_experiment(experiment).report(run_dir, console)
    if prices is not None:
        note_prices(run_dir, prices)
    return build_report(run_dir, None, console)
