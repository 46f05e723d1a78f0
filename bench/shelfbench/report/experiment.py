"""What the reports of the experiments have in common: the finished jobs, the run's record, the page."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

from markupsafe import Markup

from shelfbench.base.console import Console
from shelfbench.base.errors import InputError
from shelfbench.base.grid import MISSING, Grid
from shelfbench.report.render import fill, pairs_html, table_html, write_page, write_report
from shelfbench.report.section import Data, NamedTable, Section, SectionSpec
from shelfbench.report.tables import machine_table
from shelfbench.report.words import flat, status
from shelfbench.runs.data_line import data_line
from shelfbench.runs.entries import Entry
from shelfbench.runs.record import AGAIN, RunRecord

E = TypeVar("E", bound=Entry)


def done(run_dir: Path, record: RunRecord[E], what: str) -> dict[str, E]:
    """Find the finished jobs of a run.

    Parameters
    ----------
    run_dir : Path
        The run directory, for messages.
    record : RunRecord
        Its record.
    what : str
        What a job is called, for messages.

    Returns
    -------
    dict of str to Entry
        In the order of the study; at least one.

    Raises
    ------
    InputError
        If none has finished.
    """
    found = {name: entry for name, entry in record.backends.items() if entry.done}
    if not found:
        raise InputError(f"no {what} in {run_dir} has finished", f"let the run finish at least one, or {AGAIN}")
    return found


def write_experiment(
    run_dir: Path,
    record: RunRecord[E],
    sections: Sequence[SectionSpec[Data]],
    data: Data,
    *,
    lines: Sequence[str] = (),
    console: Console,
) -> None:
    """Write the tables, figures and ``report.html`` of an experiment.

    Parameters
    ----------
    run_dir : Path
        The run directory.
    record : RunRecord
        Its record; unfinished jobs are listed on the page.
    sections : sequence of SectionSpec
        Which sections the report has, in the order of the page.
    data : Data
        The data they are made from.
    lines : sequence of str
        Paragraphs for the page's head, the first of them in large type.
    console : Console
        Where progress goes.
    """
    pieces = write_report(run_dir, sections, data, console=console)
    title = record.settings.title or run_dir.name
    undone = [f"{name}: {status(entry)}" for name, entry in record.backends.items() if not entry.done]
    verdict, *rest = lines or ("",)
    left_out = filter(None, [data_line(record.dataset, record.split)])
    head = fill("header", title=title, verdict=verdict, lines=rest, warnings=[*left_out, *undone])
    write_page(run_dir, title, pieces, header=head, console=console)


class Made(Protocol):
    """What a report of an experiment is made from, if it has one table."""

    @property
    def record(self) -> RunRecord[Any]:
        """Record of the run."""

    @property
    def table(self) -> NamedTable:
        """All numbers."""


def numbers(data: Made) -> Section:
    """Show the table."""
    return Section(title="In numbers", grids=(data.table,))


def this_run(data: Made) -> Section:
    """Show how the numbers were made."""
    return record_section(data.record)


def record_section(record: RunRecord[E]) -> Section:
    """Show how the numbers of an experiment were made: command, machine, data, every job, the study.

    Parameters
    ----------
    record : RunRecord
        The record of the run.

    Returns
    -------
    Section
        With no table or figure of its own.
    """
    inside = []
    if record.command:
        inside += [fill("note", text="This command repeats the run:"), fill("code", text=record.command)]
    dataset = record.dataset
    inside += [
        table_html(machine_table(record.machine, papers=record.settings.report.papers is not False).grid),
        pairs_html(
            [
                ("Dataset", dataset.title),
                ("Source", dataset.source),
                ("Licence", dataset.licence),
                ("Content hash", dataset.hash),
                ("Split", record.split.rule),
                ("Unreadable images", dataset.unreadable_images),
                ("Status", record.status),
                ("Seed of split and draw", record.seed),
                ("Started", record.started),
                ("Finished", record.finished),
                ("shelfbench", record.shelfbench),
                ("Versions", flat(record.versions)),
            ]
        ),
        fill("details", summary="Every job", inside=table_html(_jobs_grid(record))),
        fill(
            "details",
            summary="The study",
            inside=fill("code", text=json.dumps(record.study, indent=2, ensure_ascii=False)),
        ),
    ]
    return Section(title="This run", html=Markup("\n").join(inside))


def _jobs_grid(record: RunRecord[E]) -> Grid:
    def row(name: str, entry: Entry) -> tuple[str, ...]:
        material, chosen, settings = (
            flat(getattr(entry, key, None) or None) or MISSING for key in ("material", "chosen", "settings")
        )
        peak = getattr(entry, "peak_rss_mib", None)
        return (name, status(entry), material, chosen, f"{peak:,.0f} MiB" if peak else MISSING, settings)

    return Grid(
        title="Jobs",
        headers=("Job", "Status", "Trained on", "Chosen", "Peak memory", "Settings"),
        rows=tuple(row(name, entry) for name, entry in record.backends.items()),
        numeric=frozenset({4}),
    )
