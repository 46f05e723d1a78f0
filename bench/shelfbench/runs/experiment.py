"""What an experiment works on: its study, the run directory, and the catalogue, opened once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from shelfbench.base.console import Console
from shelfbench.data.datasets import open_dataset
from shelfbench.data.feature_store import image_digests
from shelfbench.data.material import Material, dataset_record, gather
from shelfbench.data.split import make_split
from shelfbench.runs.recorder import RunRecord, write_parquet
from shelfbench.study.model import Study


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
