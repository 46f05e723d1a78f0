"""What an experiment is: a study whose result is not Table 4, and how one is found.

Most studies compare backends on a catalogue (``shelfbench.run.comparison``). One whose file says ``experiment = "NAME"`` hands
the run directory to an entry point of the group ``shelfbench.experiments`` instead: training profiles, timings, a
validation set of ImageNet.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from shelfbench.base.console import Console
from shelfbench.base.errors import InputError
from shelfbench.data.datasets import open_dataset
from shelfbench.data.feature_store import image_digests
from shelfbench.data.material import Material, dataset_record, gather
from shelfbench.data.split import make_split
from shelfbench.run.record import RunRecord, write_parquet

if TYPE_CHECKING:
    from shelfbench.study.read import Study

GROUP = "shelfbench.experiments"


@dataclass(frozen=True)
class Experiment:
    """A run of an experiment.

    Attributes
    ----------
    study : Study
    data : Path or None
        Where a named dataset is looked for first.
    out : Path
        The run directory, locked for this run.
    workers : int
    console : Console
    record : RunRecord
        ``run.json``; what is done of a variant is noted by ``record.backend(NAME, status="done", ...)``.
    """

    study: Study
    data: Path | None
    out: Path
    workers: int
    console: Console
    record: RunRecord

    @cached_property
    def digests(self) -> np.ndarray:
        """Content hash of every image of the catalogue."""
        return self._opened[1]

    @cached_property
    def material(self) -> Material:
        """The catalogue, split; noted in the record and in ``split.parquet``."""
        return self._opened[0]

    @cached_property
    def _opened(self) -> tuple[Material, np.ndarray]:
        study, console = self.study, self.console
        catalogue, named = open_dataset(study.dataset, study.generated, self.data, self.workers, console)
        for note in catalogue.notes:
            console.warn(note)
        digests = image_digests(catalogue, console)
        material = gather(catalogue, make_split(catalogue, study.split, study.seed, digests))
        self.record.update(dataset=dataset_record(material, named, digests), split=material.split_record())
        write_parquet(self.out / "split.parquet", material.frame)
        return material, digests


@dataclass(frozen=True)
class ExperimentSpec:
    """What an entry point of the group ``shelfbench.experiments`` holds.

    Attributes
    ----------
    summary : str
        One line.
    run : callable
        ``run(experiment)`` does the work and leaves its results in the run directory; started again in the same
        directory it goes on.
    report : callable
        ``report(directory, console)`` makes tables and figures from the directory alone and gives the text that
        the terminal shows.
    sections : mapping of str to type
        Sections of a study that it reads (see `shelfbench.plugins.backend.BackendSpec`).
    """

    summary: str
    run: Callable[[Experiment], None]
    report: Callable[[Path, Console], str]
    sections: Mapping[str, type] = field(default_factory=dict)


def experiments() -> dict[str, EntryPoint]:
    """Entry points of all installed experiments, by name."""
    return {point.name: point for point in sorted(entry_points(group=GROUP), key=lambda point: point.name)}


def find_experiment(name: str) -> ExperimentSpec:
    """Load an experiment.

    Raises
    ------
    InputError
        If no installed package offers it.
    """
    points = experiments()
    if name not in points:
        raise InputError(f"unknown experiment {name!r}", f"choose from: {', '.join(points) or 'none installed'}")
    spec = points[name].load()
    if not isinstance(spec, ExperimentSpec):
        raise InputError(
            f"experiment {name!r} is no shelfbench.plugins.experiment.ExperimentSpec",
            "see bench/shelfbench/plugins/experiment.py",
        )
    return spec
