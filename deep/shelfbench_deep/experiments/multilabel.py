"""The experiment ``multilabel``: Table 2 of X, multi-label classification scored by MAP@100.

Heads on frozen backbones are here, networks that are trained as wholes in
`shelfbench_deep.experiments.multilabel_networks`.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

from shelfbench.base.console import Console
from shelfbench.base.errors import InputError
from shelfbench.base.storage import file_stem, write_parquet
from shelfbench.data.extractor import FeatureExtractor
from shelfbench.data.feature_store import Features, FeatureStore
from shelfbench.plugins.backend import BackboneChoice
from shelfbench.plugins.experiment import ExperimentSpec
from shelfbench.plugins.planned import PlannedJob, PlannedJobs
from shelfbench.runs.building import readable_rows
from shelfbench.runs.calibrating import calibrated
from shelfbench.runs.entries import HeadEntry
from shelfbench.runs.experiment import Experiment
from shelfbench.runs.photo_views import pixels_for
from shelfbench.study.model import Study
from shelfbench_deep.engines.versions import check_keras
from shelfbench_deep.experiments.labels import Task, task_of
from shelfbench_deep.experiments.multilabel_head import LabelledImages, MultilabelHead, MultilabelSettings, score
from shelfbench_deep.experiments.multilabel_networks import checked, names_of, train
from shelfbench_deep.experiments.multilabel_networks import planned as planned_networks
from shelfbench_deep.features.bottleneck import BottleneckExtractor
from shelfbench_deep.features.settings import BottleneckSettings
from shelfbench_deep.networks.inception import InceptionSettings
from shelfbench_deep.networks.xception import XceptionSettings
from shelfbench_deep.training.recipes import RECIPES
from shelfbench_deep.training.settings import FullSettings, TrainingSettings


def run(experiment: Experiment) -> None:
    """Train every backbone's head, and every whole network, without and with fully connected layers.

    Parameters
    ----------
    experiment : Experiment

    Raises
    ------
    InputError
        If the data have no labels, or no backbone can be built.
    NotInstalled
        If Keras or its engine is missing.
    """
    check_keras("the experiment multilabel")
    study, jobs = experiment.study, experiment.jobs
    settings: MultilabelSettings = study.sections["multilabel"]
    groups: list[_Group] = []
    for backbone in backbones_of(study):
        heads = {f"{backbone}{suffix}": units for suffix, units in (("", 0), ("-fc", settings.units))}
        heads = {name: units for name, units in heads.items() if jobs.add(name)}
        if heads and (group := jobs.attempt([*heads], partial(_build, backbone, heads, experiment))) is not None:
            groups.append(group)
    wholes = [name for name in names_of(study) if jobs.add(name)]
    if wholes and jobs.attempt(wholes, partial(checked, study)) is None:
        wholes = []
    jobs.require()
    task = task_of(experiment.material)
    experiment.begin()
    for built in groups:
        if (group := jobs.attempt([*built.heads], partial(_suited, built, experiment))) is None:
            continue
        parts = jobs.attempt([*group.heads], partial(_parts, group.store, task, experiment))
        if parts is None:
            continue
        for name in group.heads:
            experiment.console.log(f"{name}: fitting")
            jobs.run(name, partial(_fit, name, group, parts, task=task, experiment=experiment))
    for name in wholes:
        experiment.console.log(f"{name}: training")
        jobs.run(name, partial(train, name, task, experiment))


def backbones_of(study: Study) -> tuple[str, ...]:
    """Frozen backbones that get heads: those named, or the study's own if it trains no whole network."""
    settings: MultilabelSettings = study.sections["multilabel"]
    return settings.backbones or (() if settings.networks else (study.backbone.name,))


@dataclass(frozen=True)
class _Group:
    """Heads on the same backbone: hidden units by name, 0 for none."""

    extractor: FeatureExtractor
    store: FeatureStore
    heads: dict[str, int]


def _build(backbone: str, heads: dict[str, int], experiment: Experiment, pixels: int | None = None) -> _Group:
    study = experiment.study
    choice = BackboneChoice(backbone, study.backbone.weights, pixels or study.backbone.pixels)
    extractor = BottleneckExtractor(choice, study.sections["bottleneck"])
    store = FeatureStore(extractor, study.images, experiment.console, experiment.workers)
    return _Group(extractor, store, heads)


def _suited(group: _Group, experiment: Experiment) -> _Group:
    """Suit the backbone to the photos, as `shelfbench.runs.building.suited` does."""
    if experiment.study.backbone.pixels is None:
        pixels = pixels_for(experiment, group.extractor)
        group = _build(group.extractor.name, group.heads, experiment, pixels)
    extractor = calibrated(group.extractor, experiment)
    if extractor is group.extractor:
        return group
    store = FeatureStore(extractor, experiment.study.images, experiment.console, experiment.workers)
    return _Group(extractor, store, group.heads)


def _parts(store: FeatureStore, task: Task, experiment: Experiment) -> dict[str, LabelledImages]:
    """Features and labels of train, tune and test."""
    material = experiment.material
    features = store.features(material.catalogue, material.image, experiment.digests)
    experiment.unreadable(material.unreadable(features.reasons))
    parts = {role: _part(features, material.images_of(role), task) for role in ("train", "tune", "test")}
    if not len(parts["train"].features):
        raise InputError(f"none of the training images of {material.catalogue.name} can be read", "check the files")
    return parts


def _fit(name: str, group: _Group, parts: dict[str, LabelledImages], task: Task, experiment: Experiment) -> HeadEntry:
    """Train a head, score it and keep its history."""
    study, units = experiment.study, group.heads[name]
    started = time.perf_counter()
    head = MultilabelHead(units, study.sections["multilabel"], RECIPES["x-jft"].decay_for(group.extractor.name))
    head.fit(parts["train"], parts["tune"], task.shares, seed=study.seed, console=experiment.console)
    seconds = time.perf_counter() - started
    scores = {role: score(head.logits(part.features), part, task.shares) for role, part in parts.items()}
    assert head.history is not None
    write_parquet(experiment.out / "history" / f"{file_stem(name)}.parquet", head.history)
    return HeadEntry(
        backbone=group.extractor.name,
        pixels=group.extractor.pixels,
        fully_connected="yes" if units else "no",
        scores=scores,
        chosen=head.chosen,
        settings={**asdict(head.recipe), "weight_decay": head.weight_decay, "units": units},
        seconds=round(seconds, 3),
        images={role: len(part.readable) for role, part in parts.items()},
        labels=len(task.names),
        labels_per_image=float(parts["test"].targets.sum(axis=1).mean()),
        unseen_labels=task.unseen,
    )


def _part(features: Features, images: slice, task: Task) -> LabelledImages:
    rows, readable = readable_rows(features, images)
    return LabelledImages(rows, readable, task.targets[images])


def report(directory: Path, console: Console) -> str:
    """Make Table 2 of X from a run directory (see `shelfbench.report.multilabel`)."""
    from shelfbench.report.multilabel import report

    return report(directory, console)


def planned(study: Study, workers: int) -> PlannedJobs:
    """Describe what the study will do, for ``shelfbench plan``: the features of each backbone; the heads cannot be
    tried.

    Parameters
    ----------
    study : Study
    workers : int

    Returns
    -------
    PlannedJobs
    """
    settings: MultilabelSettings = study.sections["multilabel"]
    jobs = []
    for name in backbones_of(study):
        choice = BackboneChoice(name, study.backbone.weights, study.backbone.pixels)

        def resized(pixels: int, choice: BackboneChoice = choice) -> BottleneckExtractor:
            return BottleneckExtractor(replace(choice, pixels=pixels), study.sections["bottleneck"])

        jobs.append(
            PlannedJob(
                name=name,
                features=partial(BottleneckExtractor, choice, study.sections["bottleneck"]),
                resized=resized if choice.pixels is None else None,
                trainings=2,
                epochs=settings.epochs,
                ends_with_training=True,
                unknown="what training the two heads of each backbone takes",
            )
        )
    return PlannedJobs(jobs=(*jobs, *planned_networks(study, workers)))


multilabel = ExperimentSpec(
    summary="Table 2 of X: MAP@100 of multi-label heads and whole networks, without and with fully connected layers",
    run=run,
    report=report,
    jobs="heads",
    sections={
        "multilabel": MultilabelSettings,
        "bottleneck": BottleneckSettings,
        "full": FullSettings,
        "training": TrainingSettings,
        "xception": XceptionSettings,
        "inception": InceptionSettings,
    },
    plan=planned,
)
