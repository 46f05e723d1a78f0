"""The report of the experiment ``imagenet``: Table 1 of X, top-1 and top-5 on ImageNet's validation set."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from shelfbench.base.console import Console
from shelfbench.base.grid import MISSING, Grid, count, number_of, share
from shelfbench.report.claims import load_claims
from shelfbench.report.experiment import done, numbers, this_run, write_experiment
from shelfbench.report.measured import display
from shelfbench.report.section import NamedTable, SectionSpec
from shelfbench.runs.entries import NetworkEntry
from shelfbench.runs.record import RunRecord, read_record

_HEADS = ("Network", "Pixels", "Images", "Top 1", "Paper: top 1", "Top 5", "Paper: top 5")


@dataclass(frozen=True, kw_only=True, eq=False)
class ImagenetData:
    """The data that the sections are made from.

    Attributes
    ----------
    record : RunRecord
        The record of the run.
    networks : dict of str to NetworkEntry
        Finished networks, by name.
    """

    record: RunRecord[NetworkEntry]
    networks: dict[str, NetworkEntry]

    @cached_property
    def table(self) -> NamedTable:
        """Table 1 of X, the paper's numbers next to ours."""
        paper = {claim.value["network"]: claim.value for claim in load_claims().values() if "top_5" in claim.value}
        frame = pd.DataFrame(
            [
                {
                    "network": network,
                    **{
                        key: getattr(self.networks.get(network), key, None)
                        for key in ("pixels", "images", "unreadable", "top_1", "top_5", "weights")
                    },
                    "paper_top_1": paper.get(network, {}).get("top_1"),
                    "paper_top_5": paper.get(network, {}).get("top_5"),
                }
                for network in dict.fromkeys([*paper, *self.networks])
            ]
        ).astype(dict.fromkeys(("pixels", "images", "unreadable"), "Int64"))
        rows = tuple(
            (
                display(str(row["network"])),
                *(MISSING if pd.isna(row[key]) else count(int(row[key])) for key in ("pixels", "images")),
                *(
                    MISSING if pd.isna(row[key]) else share(float(row[key]))
                    for key in ("top_1", "paper_top_1", "top_5", "paper_top_5")
                ),
            )
            for row in frame.to_dict("records")
        )
        grid = Grid(
            title="Table 1 of X. Classification performance on ImageNet",
            headers=_HEADS,
            rows=rows,
            numeric=frozenset(range(1, len(_HEADS))),
            notes=self._notes(),
        )
        return NamedTable(name="table1x", grid=grid, frame=frame)

    def _notes(self) -> tuple[str, ...]:
        notes = [
            "Single crop, single model: the short side is resized to round(pixels / 0.875) and the central square is "
            "taken. An image that cannot be read counts as wrong.",
            "The paper leaves out the blacklisted images of the validation set; here every image in the folder counts.",
        ]
        if unreadable := max((entry.unreadable for entry in self.networks.values()), default=0):
            notes.append(f"{number_of(unreadable, 'image')} cannot be read.")
        if any(entry.weights == "none" for entry in self.networks.values()):
            classes = self.record.dataset.categories
            notes.insert(0, f"A rehearsal on {classes} classes with random weights: our numbers are at chance level.")
        return tuple(notes)


SECTIONS: tuple[SectionSpec[ImagenetData], ...] = (SectionSpec(numbers), SectionSpec(this_run))


def report(run_dir: Path, console: Console) -> str:
    """Write ``tables/table1x`` and ``report.html``.

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
        If the directory does not contain such a run, or none of its networks has finished.
    """
    record = read_record(run_dir, NetworkEntry)
    networks = {entry.network: entry for entry in done(run_dir, record, "network").values() if entry.network}
    data = ImagenetData(record=record, networks=networks)
    write_experiment(run_dir, record, SECTIONS, data, console=console)
    return data.table.grid.text()
