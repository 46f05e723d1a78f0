"""The experiment ``profiles``: how variants of a network learn, update by update, with several seeds each.

Its results are the histories of all trainings, from which figures 3 and 4 of C and 6 to 10 of X are drawn.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from shelfbench.base.errors import InputError, RunError
from shelfbench.base.storage import write_parquet
from shelfbench.cost.timing import PeakMemory, Stopwatch, Timing, timings_frame
from shelfbench.data.embeddings import EmbeddingFeatures
from shelfbench.data.feature_store import Features, FeatureStore
from shelfbench.data.material import Material
from shelfbench.plugins.finding import split_name
from shelfbench.plugins.planned import PlannedJob, PlannedJobs
from shelfbench.runs.building import BuiltBackend, build_backend, suited, training_data, training_images
from shelfbench.runs.entries import TrainingEntry
from shelfbench.runs.experiment import Experiment
from shelfbench.runs.groups import check_memory
from shelfbench.runs.keeping import feature_timings, fit_timings, network_timings
from shelfbench.study.model import Study, Variant


@dataclass(frozen=True, kw_only=True)
class ProfileSettings:
    """Section ``profiles`` of a study; a variant may have its own.

    Attributes
    ----------
    seeds : tuple of int
        Each variant is trained once with each.
    products : int
        Number of products to train on, drawn with the study's seed so that each category keeps its share; 0 for all.
    tune_products : int
        The same for `tune`, on which the profiles are measured.
    categories : int
        Number of categories to keep, those with the most training products; 0 for all.
    note : str
        What the figures can and cannot show, for the page.

    Raises
    ------
    InputError
        If a value is not valid.
    """

    seeds: tuple[int, ...] = (0,)
    products: int = 0
    tune_products: int = 0
    categories: int = 0
    note: str = ""

    def __post_init__(self) -> None:
        """Validate the settings."""
        if (
            not self.seeds
            or len(set(self.seeds)) < len(self.seeds)
            or any(not 0 <= seed < 2**32 for seed in self.seeds)
        ):
            raise InputError(
                f"profiles.seeds is {list(self.seeds)}", "give different whole numbers from 0 on, like [0, 1, 2]"
            )
        for name in ("products", "tune_products", "categories"):
            value = getattr(self, name)
            if value < 0:
                raise InputError(f"profiles.{name} is {value}", "give a whole number, or 0 for all")
        if self.categories == 1:
            raise InputError("profiles.categories is 1", "give at least 2, or 0 for all")


def cut(material: Material, settings: ProfileSettings, seed: int) -> Material:
    """Select the part of train and `tune` that the variants are trained and measured on.

    Parameters
    ----------
    material : Material
    settings : ProfileSettings
    seed : int
        The same seed draws the same products for every variant.

    Returns
    -------
    Material
        Only products of the roles train and tune; `classes` are the kept categories and `label` codes into them, -1 for
        a category that train lacks. `split` is still that of the whole catalogue.

    Raises
    ------
    InputError
        If there are fewer products or categories than the settings request.
    """
    role, label = material.frame["role"].to_numpy(), material.label
    train, tune = np.flatnonzero(role == "train"), np.flatnonzero(role == "tune")
    classes = np.arange(len(material.classes))
    if settings.categories:
        if settings.categories > len(classes):
            raise InputError(
                f"profiles.categories={settings.categories}, but train has {len(classes)} categories",
                f"request at most {len(classes)}",
            )
        sizes = np.bincount(label[train], minlength=len(classes))
        classes = np.sort(np.argsort(-sizes, kind="stable")[: settings.categories])
        train, tune = (rows[np.isin(label[rows], classes)] for rows in (train, tune))
    if settings.products:
        rng = np.random.default_rng([seed, 0x9F0, 0])
        train = _draw(train, label[train], wanted=settings.products, name="products", least=1, rng=rng)
    if settings.tune_products:
        rng = np.random.default_rng([seed, 0x9F0, 1])
        tune = _draw(tune, label[tune], wanted=settings.tune_products, name="tune_products", least=0, rng=rng)
    rows = np.concatenate([train, tune])
    kept = material.only(rows)
    code = np.full(len(material.classes) + 1, -1, np.int64)  # the last place is for the label -1
    code[classes] = np.arange(len(classes))
    return dataclasses.replace(kept, classes=material.classes[classes], label=code[kept.label])


def _draw(
    rows: np.ndarray, labels: np.ndarray, *, wanted: int, name: str, least: int, rng: np.random.Generator
) -> np.ndarray:
    """Draw rows: first `least` of each label, then each label's share by largest remainders."""
    strata, counts = np.unique(labels, return_counts=True)
    if not least * len(strata) <= wanted <= len(rows):
        raise InputError(
            f"profiles.{name}={wanted}, but there are {len(rows)} in {len(strata)} categories",
            f"request {max(1, least * len(strata))} to {len(rows)}, or 0 for all",
        )
    weights, rest = counts - least, wanted - least * len(strata)
    share, remainder = np.divmod(weights * rest, max(1, int(weights.sum())))
    share[np.argsort(-remainder, kind="stable")[: rest - int(share.sum())]] += 1
    drawn = [
        rng.permutation(rows[labels == label])[:number] for label, number in zip(strata, share + least, strict=True)
    ]
    return np.sort(np.concatenate(drawn))


@dataclass(frozen=True)
class _Trained:
    """A finished training."""

    history: pd.DataFrame
    chosen: dict[str, Any]
    timings: list[Timing]


class _Trainings:
    """Trains variants; those that share features share one extraction."""

    def __init__(self, experiment: Experiment) -> None:
        self.experiment = experiment
        self._cuts: dict[ProfileSettings, Material] = {}
        self._features: dict[tuple[Path, ProfileSettings], Features] = {}

    def material(self, variant: Variant) -> Material:
        """The data that a variant is trained on."""
        key = _drawing(variant)
        if key not in self._cuts:
            settings = variant.sections["profiles"]
            self._cuts[key] = cut(self.experiment.material, settings, self.experiment.study.seed)
        return self._cuts[key]

    def check_memory(self, variant: Variant, built: BuiltBackend, seed: int) -> None:
        """Refuse a network that would not fit into memory while it is trained."""
        if built.backend.trainer is not None:
            check_memory(built, self.material(variant), seed, self.experiment)

    def train(self, variant: Variant, built: BuiltBackend, seed: int, name: str) -> _Trained:
        """Train one variant with one seed."""
        experiment = self.experiment
        material, extractor = self.material(variant), built.backend.features
        if built.backend.trainer is not None:
            images = training_images(material, experiment.digests, experiment.study.images.fit, experiment.workers)
            trained = built.backend.trainer.train(images, seed=seed, console=experiment.console)
            return _Trained(trained.history, trained.chosen, network_timings(name, trained))
        features = self._extracted(variant, built.store, material)
        data = training_data(features, material)
        classifier = built.backend.classifier()
        with Stopwatch() as fit:
            classifier.fit(data, seed=seed, console=experiment.console)
        if classifier.history is None:
            raise RunError(
                f"{variant.backend} has no epochs, so it has no profile", "choose a backend that trains in epochs"
            )
        timings = [
            *feature_timings(name, extractor, features, len(material.image)),
            *fit_timings(name, extractor, classifier, fit.seconds, len(data.labels)),
        ]
        return _Trained(classifier.history, classifier.chosen, timings)

    def _extracted(self, variant: Variant, store: FeatureStore | EmbeddingFeatures, material: Material) -> Features:
        experiment = self.experiment
        key = (store.folder, _drawing(variant))
        if key in self._features:
            return dataclasses.replace(self._features[key], cached=True)
        features = store.features(material.catalogue, material.image, experiment.digests)
        experiment.unreadable(material.unreadable(features.reasons), given=isinstance(store, EmbeddingFeatures))
        if not features.readable[material.images_of("train")].any():
            raise InputError(f"{material.catalogue.name}: no training image can be read", "check the files")
        self._features = {key: features}  # one at a time: they may be gigabytes
        return features


def _drawing(variant: Variant) -> ProfileSettings:
    """The settings that decide which products a variant is trained on."""
    found: ProfileSettings = dataclasses.replace(variant.sections["profiles"], seeds=(0,), note="")
    return found


def run(experiment: Experiment) -> None:
    """Train every variant with each of its seeds, and keep the histories.

    The first seeds of all variants come before any second one, so that an interrupted study has figures of all.

    Parameters
    ----------
    experiment : Experiment

    Raises
    ------
    InputError
        If the study has no variants, a figure's name is not valid for a file, or no backend can be built.
    """
    study, jobs, out = experiment.study, experiment.jobs, experiment.out
    if not study.variants:
        raise InputError(f"study {study.name} has no variants", "add [variants.NAME] with a backend")
    for variant in study.variants:
        for figure in variant.figures:
            if not re.fullmatch(r"[A-Za-z0-9_-]+", figure):
                raise InputError(
                    f"variants.{variant.name}: the figure {figure!r} is also the name of a file",
                    "use letters, digits, _ and -",
                )
    waiting = {
        _name(variant, seed): (variant, seed)
        for variant, seed in _in_turns(study.variants)
        if jobs.add(
            _name(variant, seed),
            [out / "history" / f"{_name(variant, seed)}.parquet"],
            {"variant": variant.name, "seed": seed},
        )
    }
    built: dict[str, BuiltBackend | None] = {}
    for variant in study.variants:
        names = [name for name, (owner, _) in waiting.items() if owner is variant]
        built[variant.name] = (
            jobs.attempt(names, partial(build_backend, variant.backend, variant.sections, experiment))
            if names
            else None
        )
    jobs.require()
    experiment.begin()
    for variant in study.variants:
        if (backend := built[variant.name]) is not None:
            names = [name for name, (owner, _) in waiting.items() if owner is variant]
            built[variant.name] = jobs.attempt(names, partial(suited, backend, variant.sections, experiment))
    trainings = _Trainings(experiment)
    first = {variant.name: (name, variant, seed) for name, (variant, seed) in reversed(waiting.items())}
    for name, variant, seed in first.values():
        if (backend := built[variant.name]) is not None:
            jobs.prepare(name, partial(trainings.check_memory, variant, backend, seed))
    jobs.require()
    for name, (variant, seed) in waiting.items():
        backend = built[variant.name]
        if backend is not None:
            experiment.console.log(f"{name}: training")
            jobs.run(name, partial(_train_and_keep, trainings, variant, backend, seed))


def planned(study: Study, workers: int) -> PlannedJobs:
    """List what a study of profiles will train, for ``shelfbench plan``.

    Parameters
    ----------
    study : Study
    workers : int

    Returns
    -------
    PlannedJobs
        One job per variant, trained once per seed.
    """
    jobs = []
    for variant in study.variants:
        settings: ProfileSettings = variant.sections["profiles"]
        base, _ = split_name(variant.backend, study.backbone)
        epochs = [getattr(variant.sections[section], "epochs", 0) for section in study.spec(base).sections]
        jobs.append(
            PlannedJob.of_backend(
                variant.backend,
                variant.sections,
                study.backbone,
                workers,
                study.heads,
                name=variant.name,
                trainings=len(settings.seeds),
                epochs=max(epochs, default=0),
                ends_with_training=True,
                cut=partial(cut, settings=settings, seed=study.seed),
            )
        )
    return PlannedJobs(jobs=tuple(jobs))


def _name(variant: Variant, seed: int) -> str:
    return f"{variant.name}-seed{seed}"


def _train_and_keep(trainings: _Trainings, variant: Variant, built: BuiltBackend, seed: int) -> TrainingEntry:
    name, experiment = _name(variant, seed), trainings.experiment
    with PeakMemory().watch() as memory:
        trained = trainings.train(variant, built, seed, name)
    parameters = pd.array([trained.chosen.get("parameters")] * len(trained.history), "Int64")
    history = trained.history.assign(variant=variant.name, seed=seed, parameters=parameters)
    experiment.record.time(name, timings_frame(trained.timings))
    write_parquet(experiment.out / "history" / f"{name}.parquet", history)
    return TrainingEntry(
        variant=variant.name,
        seed=seed,
        chosen=trained.chosen,
        settings=built.backend.settings,
        material=_sizes(trainings.material(variant)),
        peak_rss_mib=round(memory.mib, 1),
    )


def _in_turns(variants: Sequence[Variant]) -> list[tuple[Variant, int]]:
    """Every variant with each of its seeds, all first seeds before any second one."""
    seeds = {variant.name: variant.sections["profiles"].seeds for variant in variants}
    turns = range(max(map(len, seeds.values())))
    return [
        (variant, seeds[variant.name][turn])
        for turn in turns
        for variant in variants
        if turn < len(seeds[variant.name])
    ]


def _sizes(material: Material) -> dict[str, int]:
    roles = material.frame["role"]
    sizes = {"categories": len(material.classes)}
    for role in ("train", "tune"):
        images = material.images_of(role)
        sizes |= {f"{role}_products": int((roles == role).sum()), f"{role}_images": images.stop - images.start}
    return sizes
