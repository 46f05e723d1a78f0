"""The report of a comparison of backends: which sections it has, and how it is made."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from shelfbench.base.console import Console
from shelfbench.base.errors import InputError
from shelfbench.plugins.experiment import find_experiment
from shelfbench.report.aggregated import aggregation
from shelfbench.report.calibrated import calibration, reliability_diagram
from shelfbench.report.categories import category_gain, figure7, kept_categories, precision_by_category, worst_of_chosen
from shelfbench.report.certified import certified, measures
from shelfbench.report.comparison import comparison, comparison_matrix
from shelfbench.report.data import Photograph, Picture, RunData, open_data
from shelfbench.report.draws import build_draws
from shelfbench.report.errors import confusions, departments, extreme_categories, surest
from shelfbench.report.explorer import explorer
from shelfbench.report.figures import cost, figure1, figure2, figure5
from shelfbench.report.label_noise import label_noise
from shelfbench.report.ladder import ladder
from shelfbench.report.leakage import leakage
from shelfbench.report.merged import merged_runs
from shelfbench.report.money import costs, in_words, note_prices
from shelfbench.report.page import claims, command, header, the_data, the_study, this_run, title_of, unreadable
from shelfbench.report.photos import surest_photos
from shelfbench.report.render import write_page, write_report
from shelfbench.report.section import SectionSpec
from shelfbench.report.suspects import link_to_labels, suspects
from shelfbench.report.table4 import render_table4, table4
from shelfbench.report.tables import deciles, metrics
from shelfbench.runs.draws import DRAWS
from shelfbench.runs.entries import Entry
from shelfbench.runs.intact import check_all
from shelfbench.runs.record import read_record
from shelfbench.verdict.costs import Prices

NO_COSTS = "give costs for a run that compares backends"
_TRUST = "Calibration, measures of confidence, photos of a product"
_KINDS = "Best and worst categories, most confident errors, categories kept"

# The sections of the report, in the order of the page. A new table or figure is one function and one line here.
SECTIONS: tuple[SectionSpec[RunData], ...] = (
    SectionSpec(explorer),
    SectionSpec(table4),
    SectionSpec(figure5),
    SectionSpec(certified),
    SectionSpec(costs),
    SectionSpec(ladder),
    SectionSpec(reliability_diagram),
    SectionSpec(calibration, fold=_TRUST),
    SectionSpec(measures, fold=_TRUST),
    SectionSpec(aggregation, fold=_TRUST),
    SectionSpec(comparison_matrix, turn="beside"),
    SectionSpec(comparison, fold="Every pair", turn="beside"),
    SectionSpec(cost),
    SectionSpec(worst_of_chosen),
    SectionSpec(precision_by_category),
    SectionSpec(departments),
    SectionSpec(confusions),
    SectionSpec(category_gain),
    SectionSpec(surest_photos),
    SectionSpec(link_to_labels),
    SectionSpec(figure7),
    SectionSpec(extreme_categories, fold=_KINDS),
    SectionSpec(surest, fold=_KINDS),
    SectionSpec(kept_categories, fold=_KINDS),
    SectionSpec(deciles, fold="By size of category"),
    SectionSpec(suspects),
    SectionSpec(leakage),
    SectionSpec(label_noise),
    SectionSpec(the_data),
    SectionSpec(unreadable, fold="Unreadable images by name"),
    SectionSpec(figure1),
    SectionSpec(figure2),
    SectionSpec(metrics, fold="Per product and per image, on every split"),
    SectionSpec(claims, fold="The papers' numbers next to this run's", turn="last"),
    SectionSpec(command),
    SectionSpec(merged_runs),
    SectionSpec(this_run),
    SectionSpec(the_study, fold="The study"),
)


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
