"""The report of the experiment ``multilabel``: Table 2 of X, MAP@100."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from shelfbench.base.console import Console
from shelfbench.base.grid import MISSING, Grid, count, number_of, share
from shelfbench.base.storage import file_stem
from shelfbench.report.claims import load_claims
from shelfbench.report.experiment import done, this_run, write_experiment
from shelfbench.report.measured import display
from shelfbench.report.section import NamedFigure, NamedTable, Section, SectionSpec
from shelfbench.report.style import marks
from shelfbench.runs.entries import HeadEntry
from shelfbench.runs.papers import shows_papers
from shelfbench.runs.reading import reading
from shelfbench.runs.record import RunRecord, read_record

_HEADS = (
    "Network",
    "Trained",
    "Fully connected",
    "MAP@100",
    "Unweighted",
    "On tune",
    "Parameters",
    "Epoch",
    "Paper: MAP@100",
)
HEAD, WHOLE = "head", "whole network"
# name, title, what is shown: kind, and with FC layers or not (empty: both)
_FIGURES = (
    ("map", "Multi-label heads (X, Table 2)", HEAD, ""),
    ("figure7", "Whole networks on several labels, without FC layers (X, Figure 7)", WHOLE, "no"),
    ("figure8", "Whole networks on several labels, with FC layers (X, Figure 8)", WHOLE, "yes"),
)
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
        ours = {(entry.backbone, entry.trained, entry.fully_connected): entry for entry in self.heads.values()}
        paper = {
            (str(claim.value["network"]), str(claim.value["fully_connected"])): claim.value["map_100"]
            for claim in load_claims().values()
            if "map_100" in claim.value
        }
        # the paper trains whole networks
        missing = [(network, WHOLE, connected) for network, connected in paper]
        frame = pd.DataFrame(
            [
                {
                    "backbone": backbone,
                    "trained": trained,
                    "fully_connected": connected,
                    **_numbers(ours.get((backbone, trained, connected), HeadEntry())),
                    "paper_map_100": paper.get((backbone, connected)) if trained == WHOLE else None,
                }
                for backbone, trained, connected in dict.fromkeys([*ours, *missing])
            ]
        ).astype({"parameters": "Int64", "epoch": "Int64", "paper_map_100": "Float64"})
        return NamedTable(name="table2x", grid=self._grid(frame), frame=frame)

    def _grid(self, frame: pd.DataFrame) -> Grid:
        rows = tuple(
            (
                display(str(row["backbone"])),
                str(row["trained"]),
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
            numeric=frozenset(range(3, len(_HEADS))),
            notes=self._notes(),
        )

    def _notes(self) -> tuple[str, ...]:
        first = next(iter(self.heads.values()))
        notes = (
            f"{self.record.dataset.title or 'The data'}: {first.labels} labels, {first.labels_per_image:.2f} "
            f"per test image.",
            *self._trainings(),
            "MAP@100: class-weighted, with each class weighted by its share of the training images. Unweighted: all "
            "classes count the same.",
            "Fully connected: two layers before the logistic regression (the paper's have 4096 units each).",
            "The paper's numbers come from other data (trained on JFT, measured on FastEval14k, neither of them "
            "public), for networks of full width after 30 million updates; the paper states neither unit nor class "
            "weights, so only the order of its numbers can be compared.",
        )
        note = str((self.record.study.get("multilabel") or {}).get("note") or "")
        if note and shows_papers(self.record):  # it is about the data that the study names
            notes = (note, *notes)
        unseen = first.unseen_labels
        return notes + ((f"{number_of(unseen, 'label')} that no training image carries: left out.",) if unseen else ())

    def _trainings(self) -> list[str]:
        """Say what the heads, and the networks, were trained on."""
        words = {
            HEAD: "Heads are trained on the bottlenecks of frozen backbones",
            WHOLE: "Whole networks are trained from random weights, by sigmoid and JFT's recipe",
        }
        found = {entry.trained: entry for entry in reversed(self.heads.values())}
        lines = []
        for kind, said in words.items():
            if kind in found:
                images = {role: found[kind].images.get(role, 0) for role in ("train", "tune", "test")}
                lines.append(
                    f"{said}: {images['train']:,} images to train, {images['tune']:,} to choose the epoch, "
                    f"{images['test']:,} to test."
                )
        return lines


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
    """Table 2 of X, and how the heads and the networks learn."""
    figures = []
    for name, title, kind, connected in _FIGURES:
        shown = [
            job
            for job, entry in data.heads.items()
            if entry.trained == kind and connected in ("", entry.fully_connected)
        ]
        if shown:
            draw = partial(draw_curves, data, shown, title)
            figures.append(NamedFigure(name=name, draw=draw, caption=f"{title}. {_CAPTION}"))
    return Section(title="In numbers", grids=(data.table,), figures=tuple(figures))


def draw_curves(data: MultilabelData, shown: Sequence[str], title: str) -> Figure:
    """Draw MAP@100 on `tune` against epochs, one line per job, with a ring around the epoch that was kept.

    Parameters
    ----------
    data : MultilabelData
        The heads and networks, and their histories.
    shown : sequence of str
        Those to draw.
    title : str

    Returns
    -------
    Figure
        One panel.
    """
    figure = Figure(figsize=(6.5, 4.4), layout="constrained")
    axes = figure.subplots()
    for number, name in enumerate(shown):
        entry, history, look = data.heads[name], data.histories[name], marks(number)
        words = "with FC layers" if entry.fully_connected == "yes" else "no FC layers"
        label = f"{display(entry.backbone)}, {words}"
        axes.plot(history["epoch"], history["val_map_100"], label=label, markersize=4, **look)
        kept = history[history["epoch"] == entry.chosen.get("epoch")]
        axes.scatter(kept["epoch"], kept["val_map_100"], s=110, facecolors="none", edgecolors=look["color"])
    axes.set(xlabel="Epoch", ylabel="MAP@100 on tune, class-weighted", title=title)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.legend(loc="outside lower left", ncols=2, fontsize=8.5)
    return figure


SECTIONS: tuple[SectionSpec[MultilabelData], ...] = (SectionSpec(table2x), SectionSpec(this_run))


def report(run_dir: Path, console: Console) -> str:
    """Write ``tables/table2x``, the figures and ``report.html``.

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
