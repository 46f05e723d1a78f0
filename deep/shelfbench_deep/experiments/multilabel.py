"""The experiment ``multilabel``: Table 2 of X, multi-label classification scored by MAP@100, on bottlenecks."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from shelfbench.base.console import Console
from shelfbench.base.errors import InputError, RunError, ShelfbenchError
from shelfbench.data.feature_store import Features, FeatureStore
from shelfbench.data.material import Material
from shelfbench.plugins.backend import BackboneChoice
from shelfbench.plugins.experiment import ExperimentSpec
from shelfbench.runs.experiment import Experiment
from shelfbench.runs.recorder import write_parquet
from shelfbench.runs.scoring import readable_rows

from shelfbench_deep.experiments.multilabel_head import MultilabelHead, MultilabelSettings, Part, score
from shelfbench_deep.features.bottleneck import BottleneckExtractor
from shelfbench_deep.features.settings import BottleneckSettings
from shelfbench_deep.training.recipes import RECIPES


@dataclass(frozen=True)
class Task:
    """Which labels there are to learn.

    Attributes
    ----------
    names : tuple of str
        Labels that some training image carries.
    targets : ndarray of bool, shape (images of the material, labels)
    shares : ndarray of float64, shape (labels,)
        Share of the training images that carry each: the class weights. X weights by how common a class is among social
        media images, by scores that are not public.
    unseen : int
        Labels that train lacks, left out.
    """

    names: tuple[str, ...]
    targets: np.ndarray
    shares: np.ndarray
    unseen: int


def task_of(material: Material) -> Task:
    """Gather the labels of all images of a split.

    Raises
    ------
    InputError
        If the catalogue has no labels.
    """
    catalogue = material.catalogue
    if catalogue.labels is None:
        raise InputError(
            f"{catalogue.name} is read without labels", 'name its columns with --set dataset.labels=["COLUMN", ...]'
        )
    targets = catalogue.labels.targets(catalogue.image_product[material.image])
    train = targets[material.images_of("train")]
    known = np.any(train, axis=0)
    if not known.any():
        raise InputError(
            f"no training image of {catalogue.name} carries a label", "name other columns with --set dataset.labels"
        )
    names = tuple(name for name, kept in zip(catalogue.labels.names, known, strict=True) if kept)
    unseen = int((targets.any(axis=0) & ~known).sum())
    return Task(names, targets[:, known], train[:, known].mean(axis=0), unseen)


def run(experiment: Experiment) -> None:
    """Train every backbone's head without and with fully connected layers; one that fails does so alone.

    Raises
    ------
    InputError
        If the data have no labels.
    RunError
        If a head failed; the others are finished and reported first.
    """
    study, record, console = experiment.study, experiment.record, experiment.console
    settings: MultilabelSettings = study.sections["multilabel"]
    task = task_of(experiment.material)
    errors: list[ShelfbenchError] = []
    backbones = settings.backbones or (study.backbone.name,)
    for backbone in backbones:
        heads = {f"{backbone}{suffix}": units for suffix, units in (("", 0), ("-fc", settings.units))}
        for name in [name for name in heads if record.is_marked_done(name)]:
            console.log(f"{name}: done before")
            del heads[name]
        if heads:
            errors += _run_backbone(experiment, task, backbone, heads)
    if errors:
        record.finish("failed", "; ".join(map(str, errors)))
        total = 2 * len(backbones)
        if len(errors) < total:
            report(experiment.out, console)
        raise type(errors[0])(
            f"{len(errors)} of {total} heads failed ({errors[0].message})",
            f"{errors[0].remedy}; the others are in {experiment.out}" if len(errors) < total else errors[0].remedy,
        )


def _run_backbone(experiment: Experiment, task: Task, backbone: str, heads: dict[str, int]) -> list[ShelfbenchError]:
    study, record, material = experiment.study, experiment.record, experiment.material
    try:
        choice = BackboneChoice(backbone, study.backbone.weights, study.backbone.pixels)
        extractor = BottleneckExtractor(choice, study.sections["bottleneck"])
        store = FeatureStore(extractor, study.images, experiment.console, experiment.workers)
        features = store.features(material.catalogue, material.image, experiment.digests)
        experiment.record.unreadable(experiment.material.unreadable(features.reasons))
        parts = {role: _part(features, material.images_of(role), task) for role in ("train", "tune", "test")}
        if not len(parts["train"].features):
            raise InputError(f"none of the training images of {material.catalogue.name} can be read", "check the files")
    except ShelfbenchError as error:
        return [_failed(experiment, name, error) for name in heads]
    errors: list[ShelfbenchError] = []
    for name, units in heads.items():
        experiment.console.log(f"{name}: fitting")
        record.backend(name, status="pending", reason="")
        started = time.perf_counter()
        head = MultilabelHead(units, study.sections["multilabel"], RECIPES["x-jft"].decay_for(backbone))
        try:
            head.fit(parts["train"], parts["tune"], task.shares, seed=study.seed, console=experiment.console)
            seconds = time.perf_counter() - started
            scores = {role: score(head.logits(parts[role].features), parts[role], task.shares) for role in parts}
        except ShelfbenchError as error:
            errors.append(_failed(experiment, name, error))
            continue
        except MemoryError:
            errors.append(_failed(experiment, name, RunError("out of memory", "lower multilabel.units")))
            continue
        assert head.history is not None
        write_parquet(experiment.out / "history" / f"{name}.parquet", head.history)
        record.backend(
            name,
            status="done",
            backbone=backbone,
            pixels=extractor.pixels,
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
    return errors


def _failed(experiment: Experiment, name: str, error: ShelfbenchError) -> ShelfbenchError:
    experiment.console.log(f"{name}: failed ({error})")
    experiment.record.backend(name, status="failed", reason=str(error))
    return type(error)(f"{name}: {error.message}", error.remedy)


def _part(features: Features, images: slice, task: Task) -> Part:
    rows, readable = readable_rows(features, images)
    return Part(rows, readable, task.targets[images])


def report(directory: Path, console: Console) -> str:
    """Make Table 2 of X from a run directory (see `shelfbench.report.multilabel`)."""
    from shelfbench.report.multilabel import report

    return report(directory, console)


multilabel = ExperimentSpec(
    summary="Table 2 of X: MAP@100 of multi-label classifiers on bottlenecks, without and with fully connected layers",
    run=run,
    report=report,
    sections={"multilabel": MultilabelSettings, "bottleneck": BottleneckSettings},
)
