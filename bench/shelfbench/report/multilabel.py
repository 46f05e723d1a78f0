"""The report of the experiment ``multilabel``: Table 2 of X, MAP@100."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from shelfbench.base.console import Console
from shelfbench.base.grid import MISSING, Grid, count, share
from shelfbench.base.storage import file_stem
from shelfbench.report.claims import load_claims
from shelfbench.report.experiment import done, record_section, write_experiment
from shelfbench.report.measured import display
from shelfbench.report.section import NamedFigure, NamedTable, Section, SectionSpec
from shelfbench.report.style import marks
from shelfbench.runs.entries import HeadEntry
from shelfbench.runs.reading import reading
from shelfbench.runs.record import RunRecord, read_record

_HEADS = ("Backbone", "Fully connected", "MAP@100", "Unweighted", "On tune", "Parameters", "Epoch", "Paper: MAP@100")
_CAPTION = "MAP@100 on tune by epoch, class-weighted, with averaged weights; a ring marks the epoch that was kept."


@dataclass(frozen=True, kw_only=True, eq=False)
class MultilabelData:
    """The data that the sections are made from.

    Attributes
    ----------
    record : RunRecord
        The record of the run.
    heads : dict of str to HeadEntry
        Finished heads, by name; at least one.
    histories : dict of str to DataFrame
        The columns ``epoch`` and ``val_map_100`` of each of them.
    """

    record: RunRecord[HeadEntry]
    heads: dict[str, HeadEntry]
    histories: Mapping[str, pd.DataFrame]

    @cached_property
    def table(self) -> NamedTable:
        """Table 2 of X, the paper's numbers next to ours."""
        ours = {(entry.backbone, entry.fully_connected): entry for entry in self.heads.values()}
        paper = {
            (str(claim.value["network"]), str(claim.value["fully_connected"])): claim.value["map_100"]
            for claim in load_claims().values()
            if "map_100" in claim.value
        }
        frame = pd.DataFrame(
            [
                {
                    "backbone": backbone,
                    "fully_connected": connected,
                    **_numbers(ours.get((backbone, connected), HeadEntry())),
                    "paper_map_100": paper.get((backbone, connected)),
                }
                for backbone, connected in dict.fromkeys([*ours, *paper])
            ]
        ).astype({"parameters": "Int64", "epoch": "Int64"})
        return NamedTable(name="table2x", grid=self._grid(frame), frame=frame)

    def _grid(self, frame: pd.DataFrame) -> Grid:
        rows = tuple(
            (
                display(str(row["backbone"])),
                str(row["fully_connected"]),
                *(
                    MISSING if pd.isna(row[key]) else share(float(row[key]))
                    for key in ("map_100", "map_100_unweighted", "tune_map_100")
                ),
                *(MISSING if pd.isna(row[key]) else count(int(row[key])) for key in ("parameters", "epoch")),
                MISSING if pd.isna(row["paper_map_100"]) else f"{row['paper_map_100']:.2f}",
            )
            for row in frame.to_dict("records")
        )
        return Grid(
            title="Table 2 of X. Multi-label classification, MAP@100",
            headers=_HEADS,
            rows=rows,
            numeric=frozenset(range(2, len(_HEADS))),
            notes=self._notes(),
        )

    def _notes(self) -> tuple[str, ...]:
        first = next(iter(self.heads.values()))
        images = {role: first.images.get(role, 0) for role in ("train", "tune", "test")}
        notes = (
            f"{self.record.dataset.title or 'The data'}: {first.labels} labels, {first.labels_per_image:.2f} "
            f"per test image; {images['train']:,} images to train, {images['tune']:,} to choose the epoch, "
            f"{images['test']:,} to test. Backbones are frozen; heads are trained on their bottlenecks.",
            "MAP@100: class-weighted, with each class weighted by its share of the training images. Unweighted: all "
            "classes count the same.",
            "Fully connected: two layers before the logistic regression (the paper's have 4096 units each).",
            "The paper's numbers come from other data (trained on JFT, measured on FastEval14k, neither of them "
            "public) and from networks trained end to end; the paper states neither unit nor class weights, so only "
            "the order of its numbers can be compared.",
        )
        unseen = first.unseen_labels
        return notes + ((f"{unseen} labels that no training image carries are left out.",) if unseen else ())


def _numbers(entry: HeadEntry) -> dict[str, Any]:
    """Return a head's numbers for the table, or None if it has none."""
    test, tune = (entry.scores.get(role, {}) for role in ("test", "tune"))
    return {
        "map_100": test.get("map_100"),
        "map_100_unweighted": test.get("map_100_unweighted"),
        "tune_map_100": tune.get("map_100"),
        "parameters": entry.chosen.get("parameters"),
        "epoch": entry.chosen.get("epoch"),
        "seconds": entry.seconds,
    }


def table2x(data: MultilabelData) -> Section:
    """Table 2 of X, and how the heads learn."""
    figure = NamedFigure(name="map", draw=lambda: draw_curves(data), caption=_CAPTION)
    return Section(title="In numbers", grids=(data.table,), figures=(figure,))


def draw_curves(data: MultilabelData) -> Figure:
    """Draw MAP@100 on `tune` against epochs, one line per head, with a ring around the epoch that was kept.

    Parameters
    ----------
    data : MultilabelData
        The heads and their histories.

    Returns
    -------
    Figure
        One panel.
    """
    figure = Figure(figsize=(6.5, 4.4), layout="constrained")
    axes = figure.subplots()
    for number, (name, entry) in enumerate(data.heads.items()):
        history, look = data.histories[name], marks(number)
        words = "with FC layers" if entry.fully_connected == "yes" else "no FC layers"
        label = f"{display(entry.backbone)}, {words}"
        axes.plot(history["epoch"], history["val_map_100"], label=label, markersize=4, **look)
        kept = history[history["epoch"] == entry.chosen.get("epoch")]
        axes.scatter(kept["epoch"], kept["val_map_100"], s=110, facecolors="none", edgecolors=look["color"])
    axes.set(xlabel="Epoch", ylabel="MAP@100 on tune, class-weighted", title="Multi-label heads (X, Table 2)")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.legend(loc="outside lower left", ncols=2, fontsize=8.5)
    return figure


def this_run(data: MultilabelData) -> Section:
    """How the numbers were made."""
    return record_section(data.record)


SECTIONS = (SectionSpec(table2x), SectionSpec(this_run))


def report(run_dir: Path, console: Console) -> str:
    """Write ``tables/table2x``, ``figures/map`` and ``report.html``.

    Parameters
    ----------
    run_dir : Path
        A run directory of the experiment.
    console : Console
        Where progress goes.

    Returns
    -------
    str
        The table, for the terminal.

    Raises
    ------
    InputError
        If the directory does not contain such a run, none of its heads has finished, or a history is missing or
        damaged.
    """
    record = read_record(run_dir, HeadEntry)
    heads = done(run_dir, record, "head")
    histories = {}
    for name in heads:
        path = run_dir / "history" / f"{file_stem(name)}.parquet"
        with reading(path):
            histories[name] = pd.read_parquet(path, columns=["epoch", "val_map_100"])
    data = MultilabelData(record=record, heads=heads, histories=histories)
    write_experiment(run_dir, record, SECTIONS, data, console=console)
    return data.table.grid.text()
