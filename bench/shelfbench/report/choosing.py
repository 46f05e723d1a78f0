"""The record of a quick choice: ``choose.json``, a table, a figure and a page, in a folder of their own."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

from shelfbench.base.console import Console
from shelfbench.base.errors import InputError
from shelfbench.base.storage import storage_errors, whole_folder, write_json
from shelfbench.cost.timing import machine, versions
from shelfbench.report.render import fill, pairs_html, write_page, write_report
from shelfbench.report.section import NamedFigure, NamedTable, Section, SectionSpec
from shelfbench.report.style import MUTED, legend_columns, marks, plain
from shelfbench.report.words import flat
from shelfbench.runs.quick_choice import QuickChoice
from shelfbench.study.model import Study

RECORD = "choose.json"


@dataclass(frozen=True, eq=False)
class ChoiceData:
    """The data that the sections are made from."""

    choice: QuickChoice
    study: Study


def rounds(data: ChoiceData) -> Section:
    """Show the candidates on every part, as a table and a figure."""
    figure = NamedFigure(
        name="rounds",
        draw=lambda: draw_rounds(data.choice),
        caption="Precision on tune of every candidate against the training products it learnt from, with 95% "
        "intervals. They are judged on the same products, so their differences are surer than these intervals look.",
    )
    table = NamedTable(name="rounds", grid=data.choice.grid(), frame=data.choice.table)
    return Section(title="The candidates", grids=(table,), figures=(figure,))


def next_command(data: ChoiceData) -> Section:
    """Show the command that runs the winner on everything."""
    return Section(
        title="What to do next",
        notes=("This command runs it on everything, with the features that are there already:",),
        html=fill("code", text=data.choice.command),
    )


def this_choice(data: ChoiceData) -> Section:
    """Show how the choice was made."""
    study = json.dumps(data.study.record(), indent=2, ensure_ascii=False)
    rows = [("Budget", str(data.choice.budget)), ("Seed", data.study.seed), ("Versions", flat(versions()))]
    html = pairs_html(rows) + fill("details", summary="The study", inside=fill("code", text=study))
    return Section(title="This choice", html=html)


SECTIONS = (SectionSpec(rounds), SectionSpec(next_command), SectionSpec(this_choice))


def check_place(out: Path) -> None:
    """Make sure that a choice can be written into a folder.

    Parameters
    ----------
    out : Path

    Raises
    ------
    InputError
        If it holds anything but an earlier choice.
    """
    with storage_errors(out):
        if out.exists() and not (out / RECORD).is_file() and (not out.is_dir() or any(out.iterdir())):
            raise InputError(f"{out} is not an empty folder and holds no earlier choice", "choose another --out")


def write_choice(out: Path, choice: QuickChoice, study: Study, console: Console) -> None:
    """Write a choice into a folder, whole or not at all; an earlier one in it is replaced.

    Parameters
    ----------
    out : Path
    choice : QuickChoice
    study : Study
    console : Console
        Told where it is.

    Raises
    ------
    InputError, RunError
        If the folder cannot be written.
    """
    check_place(out)
    with whole_folder(out.absolute()) as aside:
        data = ChoiceData(choice, study)
        pieces = write_report(aside, SECTIONS, data, console=Console(quiet=True))
        verdict, *lines = choice.sentences()
        title = f"Which backend for {choice.data}?"
        head = fill("header", title=title, verdict=verdict, lines=lines, warnings=())
        write_page(aside, title, pieces, header=head)
        values = {**choice.record(), "settings": study.record(), "machine": machine(), "versions": versions()}
        write_json(aside / RECORD, values)
    console.log(f"choice: {out / 'report.html'}")


def draw_rounds(choice: QuickChoice) -> Figure:
    """Draw precision against the products that candidates learnt from.

    Parameters
    ----------
    choice : QuickChoice

    Returns
    -------
    Figure
        A line for each candidate, as far as it came.
    """
    from matplotlib.ticker import FuncFormatter, NullLocator

    figure = Figure(figsize=(7.6, 4.8), layout="constrained")
    axes = figure.subplots()
    standings = [timed.standing for timed in choice.rounds]
    names = [found.name for found in standings[0].standings]
    sizes = [one.products for one in standings]
    for number, name in enumerate(names):
        found = [(one.products, own) for one in standings for own in one.standings if own.name == name]
        # beside each other, so that the intervals do not hide one another
        places = [size * 1.02 ** (number - (len(names) - 1) / 2) for size, _ in found]
        values = [own.precision for _, own in found]
        reach = [
            [max(0.0, own.precision - own.low) for _, own in found],
            [max(0.0, own.high - own.precision) for _, own in found],
        ]
        axes.errorbar(
            places, values, yerr=reach, label=name, capsize=2.5, elinewidth=1, markersize=5.5, **marks(number)
        )
    axes.set(xscale="log", xlabel="training products (logarithmic)", ylabel="precision on tune")
    axes.set_xlim(min(sizes) / 1.3, choice.products * 1.15)
    axes.set_xticks(sorted({*sizes, choice.products}))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(plain))
    axes.axvline(choice.products, color=MUTED, linewidth=0.8, linestyle=":")
    axes.annotate(
        "all of train",
        (choice.products, 0.02),
        xycoords=("data", "axes fraction"),
        xytext=(-4, 0),
        textcoords="offset points",
        ha="right",
        fontsize=8,
        color=MUTED,
    )
    axes.set_title("Candidates on growing parts of train")
    figure.legend(loc="outside lower center", ncols=legend_columns(names, 7.6, 3), fontsize=8.5)
    return figure
