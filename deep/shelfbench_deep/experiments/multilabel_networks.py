"""Networks trained as wholes on several labels: Table 2 and Figures 7 and 8 of X (§4.5.1)."""

from __future__ import annotations

import dataclasses
from dataclasses import asdict
from typing import Any

import numpy as np

from shelfbench.base.errors import InputError
from shelfbench.base.storage import write_parquet
from shelfbench.data.feature_store import FeatureStore
from shelfbench.data.material import Material
from shelfbench.plugins.backend import TrainedNetwork
from shelfbench.plugins.planned import PlannedJob
from shelfbench.runs.building import readable_rows, training_images
from shelfbench.runs.entries import HeadEntry
from shelfbench.runs.experiment import Experiment
from shelfbench.runs.profiles import ProfileSettings, cut
from shelfbench.study.model import Study
from shelfbench_deep.experiments.labels import Task
from shelfbench_deep.experiments.multilabel_head import LabelledImages, MultilabelSettings, score
from shelfbench_deep.heads.own_head import OwnHead
from shelfbench_deep.training.full import full_trainer
from shelfbench_deep.training.many_labels import ManyLabels
from shelfbench_deep.training.trainer import NetworkTrainer

PREFIX = "full-"


def names_of(study: Study) -> dict[str, tuple[str, bool]]:
    """List the networks that a study trains as wholes.

    Parameters
    ----------
    study : Study

    Returns
    -------
    dict of str to tuple
        By name of the job: the network, and whether it has fully connected layers.
    """
    settings: MultilabelSettings = study.sections["multilabel"]
    return {
        f"{PREFIX}{network}{suffix}": (network, connected)
        for suffix, connected in (("", False), ("-fc", True))
        for network in settings.networks
    }


def trainer_of(study: Study, network: str, connected: bool, labels: ManyLabels | None) -> NetworkTrainer:
    """Make the trainer of a network.

    Parameters
    ----------
    study : Study
    network : {"inception_v3", "xception"}
    connected : bool
        Whether it has fully connected layers.
    labels : ManyLabels or None
        None to plan: a trial then learns one label.

    Returns
    -------
    NetworkTrainer

    Raises
    ------
    InputError
        If the settings do not fit together.
    """
    sections = study.sections
    if sections["training"].class_weights:
        raise InputError(
            "training.class_weights is true, and an image of several labels has no category to be weighted by",
            "set training.class_weights=false",
        )
    own = _connected(study, network, connected)["xception" if network == "xception" else "inception"]
    return full_trainer(network, sections["full"], sections["training"], own, sections["bottleneck"], labels=labels)


def train(name: str, task: Task, experiment: Experiment) -> HeadEntry:
    """Train a network on the labels, keep its history, and score it on `tune` and test.

    Parameters
    ----------
    name : str
        Of `names_of`.
    task : Task
        The labels of all images of the split.
    experiment : Experiment

    Returns
    -------
    HeadEntry
    """
    study, material, console = experiment.study, experiment.material, experiment.console
    network, connected = names_of(study)[name]
    settings: MultilabelSettings = study.sections["multilabel"]
    part = cut(material, ProfileSettings(products=settings.products), study.seed)
    trainer = trainer_of(study, network, connected, _labels(part, material, task))
    images = training_images(part, experiment.digests, study.images.fit, experiment.workers)
    trained = trainer.train(images, seed=study.seed, console=console)
    scores, found = _scores(trained, task, experiment)
    write_parquet(experiment.out / "history" / f"{name}.parquet", trained.history)
    return HeadEntry(
        backbone=network,
        pixels=trained.features.pixels,
        fully_connected="yes" if connected else "no",
        scores=scores,
        chosen=trained.chosen,
        settings={
            "trained": "whole network",
            **asdict(study.sections["full"].recipe_of(network)),
            "width": trained.chosen["width"],
        },
        seconds=round(trained.seconds, 3),
        images={"train": trained.images, **found},
        labels=len(task.names),
        labels_per_image=float(task.targets[material.images_of("test")].sum(axis=1).mean()),
        unseen_labels=task.unseen,
    )


def _labels(part: Material, material: Material, task: Task) -> ManyLabels:
    """Labels of the images of a part of the split, in its order."""
    row = np.full(len(material.catalogue.images), -1, np.int64)
    row[material.image] = np.arange(len(material.image))
    targets = task.targets[row[part.image]]
    return ManyLabels(targets[part.images_of("train")], targets[part.images_of("tune")], task.shares)


def _scores(
    trained: TrainedNetwork, task: Task, experiment: Experiment
) -> tuple[dict[str, dict[str, float]], dict[str, int]]:
    """MAP@100 on `tune` and test, and the number of images of each."""
    material = experiment.material
    assert trained.classifier is not None
    head = trained.classifier()
    assert isinstance(head, OwnHead)
    store = FeatureStore(trained.features, experiment.study.images, experiment.console, experiment.workers)
    scores, counts = {}, {}
    for role in ("tune", "test"):
        images = material.images_of(role)
        features = store.features(material.catalogue, material.image[images], experiment.digests)
        rows, readable = readable_rows(features, slice(None))
        labelled = LabelledImages(rows, readable, task.targets[images])
        scores[role] = score(rows @ head.kernel + head.bias, labelled, task.shares)
        counts[role] = len(readable)
    return scores, counts


def planned(study: Study, workers: int) -> list[PlannedJob]:
    """Describe the trainings for ``shelfbench plan``; a trial of one label an image stands for them.

    Parameters
    ----------
    study : Study
    workers : int

    Returns
    -------
    list of PlannedJob
    """
    settings: MultilabelSettings = study.sections["multilabel"]
    part = ProfileSettings(products=settings.products)
    return [
        PlannedJob.of_backend(
            f"full-{network}",
            _connected(study, network, connected),
            study.backbone,
            workers,
            name=name,
            ends_with_training=True,
            cut=lambda material: cut(material, part, study.seed),
        )
        for name, (network, connected) in names_of(study).items()
    ]


def _connected(study: Study, network: str, connected: bool) -> dict[str, Any]:
    """The sections of the study, with fully connected layers in the network or not."""
    section = "xception" if network == "xception" else "inception"
    return {**study.sections, section: dataclasses.replace(study.sections[section], fc=connected)}


def checked(study: Study) -> bool:
    """Make sure that the settings of all networks fit together, before any data are read.

    Parameters
    ----------
    study : Study

    Returns
    -------
    bool
        Always true.

    Raises
    ------
    InputError
        If they do not.
    """
    for network, connected in names_of(study).values():
        trainer_of(study, network, connected, None)
    return True
