"""Training the networks of a run with several processes; the first of them then goes on alone.

Every process reads the study and the data, and takes part in each training. The trained networks are in the cache that
they share, where the first process finds them when their turn comes.
"""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from shelfbench.base.console import Console
from shelfbench.base.errors import InputError
from shelfbench.base.processes import enter, leave, this_process
from shelfbench.base.storage import fingerprint
from shelfbench.runs.building import BuiltBackend, build_backend, suited, training_images
from shelfbench.runs.experiment import Experiment, Jobs
from shelfbench.runs.recorder import Recorder
from shelfbench.study.model import Study


def take_part(study: Study, data: Path | None, workers: int, console: Console) -> None:
    """Find out which process this is; one that is not the first takes part in every training, and ends.

    Parameters
    ----------
    study : Study
    data : Path or None
        Where to look for a named dataset first.
    workers : int
    console : Console

    Raises
    ------
    ShelfbenchError
        If the data or the settings are wrong, or a training fails.
    SystemExit
        In all processes but the first, once they are done.
    """
    here = enter()
    if here.count > 1 and study.experiment:
        raise InputError(
            f"{here.count} processes are to train together, and {study.name} is a study of {study.experiment}",
            "only a comparison trains its networks so: start one process",
        )
    if not here.first:
        _follow(study, data, workers, console)
        console.log(f"process {here.number} of {here.count} is done; the first one goes on alone")
        raise SystemExit(0)


def _follow(study: Study, data: Path | None, workers: int, console: Console) -> None:
    """Take part in every training, and write nothing but the cache."""
    with tempfile.TemporaryDirectory() as folder:
        record = Recorder.open(Path(folder), study, "")
        experiment = Experiment(
            study=study,
            data=data,
            out=Path(folder),
            workers=workers,
            console=console,
            record=record,
            jobs=Jobs(record, console, "trainings"),
        )
        train_together(experiment)


def train_together(experiment: Experiment) -> None:
    """Train every network of a comparison with the other processes, if there are any, and part from them.

    Parameters
    ----------
    experiment : Experiment

    Raises
    ------
    InputError
        If no network of the study can be trained by several processes, or they do not agree on what they train.
    RunError
        If a training fails.
    """
    study, here = experiment.study, this_process()
    if here.count == 1:
        return
    networks: dict[str, BuiltBackend] = {}
    for name in study.backends:
        built = build_backend(name, study.sections, experiment)
        if hasattr(built.backend.trainer, "train_together"):
            built = suited(built, study.sections, experiment)
            networks.setdefault(fingerprint(_trainer(built).describe()), built)
    if not networks:
        raise InputError(
            f"{here.count} processes are to train together, and no backend of {study.name} is trained by several",
            "start one process, or a study with a network to train",
        )
    data = training_images(experiment.material, experiment.digests, study.images.fit, experiment.workers)
    for number, built in enumerate(networks.values(), 1):
        experiment.console.log(f"{built.name}: training the network with {here.count} processes")
        train = partial(_trainer(built).train_together, data, seed=study.seed, console=experiment.console)
        train(last=number == len(networks))
    leave()


def _trainer(built: BuiltBackend) -> Any:
    return built.backend.trainer
