"""The report of the experiment ``profiles``: how variants of a network learn."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import pandas as pd

from shelfbench.base.console import Console
from shelfbench.base.errors import InputError
from shelfbench.base.grid import MISSING, Grid, count, share
from shelfbench.report.curves import Profile, draw, drawing, figure_names
from shelfbench.report.experiment import done, numbers, this_run, write_experiment
from shelfbench.report.section import NamedFigure, NamedTable, Section, SectionSpec
from shelfbench.runs.entries import TrainingEntry
from shelfbench.runs.reading import reading
from shelfbench.runs.record import AGAIN, RECORD, RunRecord, read_record

_COLUMNS = ["epoch", "step", "loss", "accuracy", "val_loss", "val_accuracy", "seconds", "seed", "parameters"]


@dataclass(frozen=True, kw_only=True, eq=False)
class ProfilesData:
    """The data that the sections are made from.

    Attributes
    ----------
    record : RunRecord
        The record of the run.
    profiles : sequence of Profile
        Finished variants, in the order of the study; not empty.
    epochs : DataFrame
        The rows of ``timings.parquet`` that are epochs of a training.
    """

    record: RunRecord[TrainingEntry]
    profiles: Sequence[Profile]
    epochs: pd.DataFrame

    @cached_property
    def table(self) -> NamedTable:
        """One row per variant."""
        frame = _frame(self)
        return NamedTable(name="profiles", grid=_grid(frame), frame=frame)


def curves(data: ProfilesData) -> Section:
    """Make the figures that the variants request."""
    return Section(
        title="How they learn",
        figures=tuple(
            NamedFigure(
                name=name,
                draw=partial(draw, name, data.profiles),
                caption=f"{drawing(name).title}. {drawing(name).caption}",
            )
            for name in figure_names(data.profiles)
        ),
    )


SECTIONS: tuple[SectionSpec[ProfilesData], ...] = (SectionSpec(curves), SectionSpec(numbers), SectionSpec(this_run))


def report(run_dir: Path, console: Console) -> str:
    """Write ``tables/profiles``, the figures and ``report.html`` of a run of the experiment.

    Parameters
    ----------
    run_dir : Path
        A run directory with ``run.json`` and the histories of finished trainings.
    console : Console
        Where progress goes.

    Returns
    -------
    str
        The table, for the terminal.

    Raises
    ------
    InputError
        If nothing has finished yet, or a file is missing or damaged; the message names it.
    """
    record = read_record(run_dir, TrainingEntry)
    profiles = _profiles(run_dir, record)
    path = run_dir / "timings.parquet"
    with reading(path):
        timings = pd.read_parquet(path, columns=["backend", "stage", "seconds", "images", "warm_up"])
    epochs = timings[timings["stage"].isin(["epoch", "tune_epoch"])]
    data = ProfilesData(record=record, profiles=profiles, epochs=epochs)
    note = str((record.study.get("profiles") or {}).get("note") or "")
    lines = [f"How {len(profiles)} variants learn", *filter(None, [note])]
    write_experiment(run_dir, record, SECTIONS, data, lines=lines, console=console)
    return data.table.grid.text()


def _profiles(run_dir: Path, record: RunRecord[TrainingEntry]) -> list[Profile]:
    """Read the finished trainings, in the order of the study."""
    variants = record.settings.variants
    if not variants or not all(variant.label for variant in variants.values()):
        raise InputError(f"{run_dir / RECORD} is not a record of training profiles", AGAIN)
    profiles = []
    trained = done(run_dir, record, "training")
    for name, variant in variants.items():
        histories = []
        for training in (training for training, entry in trained.items() if entry.variant == name):
            path = run_dir / "history" / f"{training}.parquet"
            with reading(path):
                histories.append(pd.read_parquet(path, columns=_COLUMNS))
        if histories:
            history = pd.concat(histories, ignore_index=True)
            profiles.append(Profile(name, variant.label, tuple(variant.figures), history))
    if not profiles:
        raise InputError(f"no training in {run_dir} belongs to a variant of its study", AGAIN)
    return profiles


def _frame(data: ProfilesData) -> pd.DataFrame:
    """Make one row per variant: mean and standard deviation (n - 1) over seeds of the last and the best epoch."""
    rows = []
    for profile in data.profiles:
        history = profile.history.sort_values(["seed", "epoch"])
        by_seed = history.groupby("seed")
        last, best = by_seed["val_accuracy"].last(), by_seed["val_accuracy"].max()
        names = [name for name, entry in data.record.backends.items() if entry.variant == profile.name]
        epochs = data.epochs[data.epochs["backend"].isin(names)]
        if not epochs["warm_up"].all():
            epochs = epochs[~epochs["warm_up"]]
        rows.append(
            {
                "variant": profile.name,
                "label": profile.label,
                "seeds": profile.seeds,
                "parameters": history["parameters"].iloc[0],
                "epochs": int(history["epoch"].max()),
                "updates": int(history["step"].max()),
                "val_accuracy_final": last.mean(),
                "val_accuracy_final_sd": last.std(),
                "val_accuracy_best": best.mean(),
                "val_accuracy_best_sd": best.std(),
                "seconds_per_epoch": epochs["seconds"].median(),
                "images_per_second": (epochs["images"] / epochs["seconds"]).median(),
            }
        )
    return pd.DataFrame(rows).astype({"parameters": "Int64"})


def _grid(frame: pd.DataFrame) -> Grid:
    def with_spread(row: Any, column: str) -> str:
        mean, deviation = row[column], row[f"{column}_sd"]
        return share(mean) + ("" if math.isnan(deviation) else f" ± {share(deviation)}")

    rows = tuple(
        (
            str(row["label"]),
            count(int(row["seeds"])),
            MISSING if pd.isna(row["parameters"]) else count(int(row["parameters"])),
            count(int(row["epochs"])),
            count(int(row["updates"])),
            with_spread(row, "val_accuracy_final"),
            with_spread(row, "val_accuracy_best"),
            MISSING if math.isnan(row["seconds_per_epoch"]) else f"{row['seconds_per_epoch']:,.2f}",
            MISSING if math.isnan(row["images_per_second"]) else f"{row['images_per_second']:,.0f}",
        )
        for row in frame.to_dict("records")
    )
    heads = (
        "Variant",
        "Seeds",
        "Parameters",
        "Epochs",
        "Updates",
        "Val. accuracy, last epoch",
        "Val. accuracy, best epoch",
        "Seconds per epoch",
        "Images/s",
    )
    return Grid(
        title="Training profiles",
        headers=heads,
        rows=rows,
        numeric=frozenset(range(1, len(heads))),
        notes=(
            "Validation: the half of it that is used for choices (tune), so the best epoch looks better than it is. "
            "±: standard deviation over seeds. Seconds: median over epochs, validation included, without the first "
            "epoch, which includes the framework's compilation.",
        ),
    )
