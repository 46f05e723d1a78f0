"""The report of the experiment ``timing``: Table 3 of C, Table 3 of X, and what each backbone costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from shelfbench.base.console import Console
from shelfbench.base.grid import Grid, number_of
from shelfbench.cost.measurements import Measurements
from shelfbench.report.backbones import (
    CAPTION,
    BackbonePrecision,
    backbone_rows,
    backbones_grid,
    draw_pareto,
    precisions_of,
)
from shelfbench.report.experiment import record_section, write_experiment
from shelfbench.report.measured import read_devices
from shelfbench.report.section import NamedFigure, NamedTable, Section, SectionSpec
from shelfbench.report.table3 import TrainingCost, short_table, speed_rows, table3_grid, table3x_grid, training_costs
from shelfbench.runs.entries import Entry
from shelfbench.runs.record import RECORD, RunRecord, read_record


@dataclass(frozen=True, kw_only=True, eq=False)
class TimingData:
    """The data that the sections are made from.

    Attributes
    ----------
    devices : sequence of Measurements
        What was measured, by device.
    precisions : dict of str to BackbonePrecision
        By backbone, from the run that the study names; empty if it names none.
    record : RunRecord or None
        The record of the run; None for a folder that has only files of measurements.
    """

    devices: Sequence[Measurements]
    precisions: dict[str, BackbonePrecision]
    record: RunRecord[Entry] | None


def table3(data: TimingData) -> Section:
    """Table 3 of C."""
    columns = [column.name for column in fields(TrainingCost)]
    frame = pd.DataFrame([asdict(row) for row in training_costs(data.devices)], columns=columns)
    table = NamedTable(name="table3", grid=table3_grid(data.devices), frame=frame)
    return Section(title="What training takes", grids=(table,))


def table3x(data: TimingData) -> Section:
    """Table 3 of X."""
    grid = table3x_grid(data.devices)
    table = NamedTable(name="table3x", grid=grid, frame=_frame(list(speed_rows(data.devices)), grid))
    return Section(title="What training takes", grids=(table,))


def backbones(data: TimingData) -> Section:
    """What each backbone costs, as a table and a figure."""
    rows = list(backbone_rows(data.devices, data.precisions))
    grid = backbones_grid(data.devices, data.precisions)
    figure = NamedFigure(name="backbones", draw=partial(draw_pareto, rows), caption=CAPTION)
    return Section(
        title="What a backbone takes",
        grids=(NamedTable(name="backbones", grid=grid, frame=_frame(rows, grid)),),
        figures=(figure,) if rows else (),
    )


def _frame(rows: list[dict[str, Any]], grid: Grid) -> pd.DataFrame:
    """Make a frame; one without rows has the columns of the grid."""
    return pd.DataFrame(rows) if rows else pd.DataFrame(columns=list(grid.headers))


def this_run(data: TimingData) -> Section | None:
    """Show how the numbers were made."""
    return None if data.record is None else record_section(data.record)


SECTIONS = (SectionSpec(table3), SectionSpec(table3x), SectionSpec(backbones), SectionSpec(this_run))


def report(run_dir: Path, console: Console) -> str:
    """Write the tables, the figure and ``report.html`` of a directory of measurements.

    Parameters
    ----------
    run_dir : Path
        With ``device.json``, the files of other devices and, if a study measured it, ``run.json``.
    console : Console
        Where progress goes.

    Returns
    -------
    str
        Tables 3 of C and X, for the terminal.

    Raises
    ------
    InputError
        If it contains no measurements, one is damaged, or the run named for precisions cannot be read.
    """
    devices = read_devices(run_dir)
    record = read_record(run_dir, Entry) if (run_dir / RECORD).exists() else None
    source = str((record.study.get("timing") or {}).get("precision_from") or "") if record else ""
    precisions = precisions_of(Path(source).expanduser()) if source else {}
    data = TimingData(devices=devices, precisions=precisions, record=record)
    write_experiment(run_dir, record or RunRecord(), SECTIONS, data, console=console)
    console.log(f"tables and figures of {number_of(len(devices), 'device')}")
    return short_table(devices)
