"""The comparison: several backends on one catalogue, each fitted, scored and kept."""

from __future__ import annotations

import dataclasses
from functools import partial
from pathlib import Path
from typing import Any

from shelfbench.base.errors import InputError
from shelfbench.base.grid import number_of
from shelfbench.base.storage import file_stem
from shelfbench.cost.timing import PeakMemory, Stopwatch, timings_frame
from shelfbench.cost.undisturbed import Others
from shelfbench.data.embeddings import EmbeddingFeatures
from shelfbench.data.feature_store import Features
from shelfbench.data.truth import read_truth
from shelfbench.plugins.backend import Classifier
from shelfbench.plugins.finding import split_name
from shelfbench.runs.building import (
    BuiltBackend,
    build_backend,
    columns_of,
    training_data,
    training_images,
    with_network,
)
from shelfbench.runs.entries import BackendEntry
from shelfbench.runs.experiment import Experiment
from shelfbench.runs.groups import begun, grouped
from shelfbench.runs.guarding import RunGuard, make_guard, save_guard
from shelfbench.runs.keeping import backend_timings, save_model, write_histories
from shelfbench.runs.near_duplicates import seek_near_duplicates
from shelfbench.runs.out_of_fold import keep_out_of_fold
from shelfbench.runs.parallel_training import train_together
from shelfbench.runs.photo_views import note_view
from shelfbench.runs.photos import Photos
from shelfbench.runs.reusable import check_reusable
from shelfbench.runs.scored import scored_files
from shelfbench.runs.scoring import choose_rule, score_blocks
from shelfbench.verdict.predictions import ProductRule


def run(experiment: Experiment) -> Photos | None:
    """Fit, score and keep every backend of a study that has not finished yet.

    Parameters
    ----------
    experiment : Experiment

    Returns
    -------
    Photos or None
        For the report; None if the study shows no pictures.

    Raises
    ------
    InputError
        If the data are wrong, or no backend can be built.
    """
    study, jobs = experiment.study, experiment.jobs
    built: list[BuiltBackend] = []
    for name in study.backends:
        base, backbone = split_name(name, study.backbone)
        if not jobs.add(name, _files(experiment.out, name), {"columns": columns_of(study.spec(base), backbone)}):
            if name not in jobs.failures:
                jobs.attempt([name], partial(check_reusable, name, backbone, experiment))
        elif (backend := jobs.prepare(name, partial(build_backend, name, study.sections, experiment))) is not None:
            built.append(backend)
    jobs.require()
    material = experiment.material
    built = begun(built, experiment)
    train_together(experiment)
    if (truth := read_truth(material.catalogue, material.frame)) is not None:
        experiment.record.keep("truth.parquet", truth)
    seek_near_duplicates(experiment)
    for group in grouped(built):
        _run_group(group, experiment)
    return Photos(material, study.seed) if study.report.pictures and study.needs_photos else None


def _files(out: Path, name: str) -> list[Path]:
    return [out / folder / f"{file_stem(name)}.parquet" for folder in ("predictions", "scores")]


def _run_group(group: list[BuiltBackend], experiment: Experiment) -> None:
    """Run the backends that share features, and the training of the network below them, if any."""
    jobs, console, images = experiment.jobs, experiment.console, len(experiment.material.image)
    with PeakMemory().watch() as extracting:
        found = jobs.attempt([backend.name for backend in group], partial(_features, group, experiment))
    if found is None:
        return
    trained, features, guard = found
    for number, backend in enumerate(trained):
        again = number > 0 and not isinstance(backend.store, EmbeddingFeatures)
        shared = dataclasses.replace(features, cached=True) if again else features
        if shared.cached:
            console.log(
                f"{backend.name}: features reused (computing them took {features.seconds:.1f} s)"
                if not features.computed or number
                else f"{backend.name}: features of {number_of(images - features.computed, 'image')} reused"
            )
        before = extracting.mib if number == 0 else 0.0
        jobs.run(backend.name, partial(_run_backend, backend, shared, guard, experiment=experiment, before=before))


def _features(
    group: list[BuiltBackend], experiment: Experiment
) -> tuple[list[BuiltBackend], Features, RunGuard | None]:
    """Train the network of a group, if it has one to train, and compute its features and their guard."""
    material = experiment.material
    trained = _trained(group, experiment)
    first = trained[0]
    given = isinstance(first.store, EmbeddingFeatures)
    if not given:
        note_view(experiment, first.backend.features if first.trained is None else first.trained.features)
        experiment.console.detail(f"features are kept in {first.store.folder}")
    features = first.store.features(material.catalogue, material.image, experiment.digests)
    unreadable = material.unreadable(features.reasons)
    experiment.unreadable(unreadable, given=given)
    train = material.images_of("train")
    if not features.readable[train].any():
        raise InputError(
            f"{material.catalogue.name}: none of the {train.stop - train.start} training images can be read "
            f"(first: {unreadable[0]['record']}: {unreadable[0]['reason']})",
            "check the files",
        )
    with experiment.console.stage(f"{first.name}: guard"):
        return trained, features, make_guard(features, material, experiment.study.seed)


def _trained(group: list[BuiltBackend], experiment: Experiment) -> list[BuiltBackend]:
    """Train the network that a group shares, if it has one to train."""
    study, console = experiment.study, experiment.console
    trainer = group[0].backend.trainer
    if trainer is None:
        return group
    console.log(f"{group[0].name}: training the network")
    data = training_images(experiment.material, experiment.digests, study.images.fit, experiment.workers)
    with console.stage(f"{group[0].name}: training the network"):
        trained = trainer.train(data, seed=study.seed, console=console)
    later = dataclasses.replace(trained, cached=True)
    return [with_network(backend, later if number else trained, experiment) for number, backend in enumerate(group)]


def _run_backend(
    built: BuiltBackend, features: Features, guard: RunGuard | None, *, experiment: Experiment, before: float
) -> BackendEntry:
    """Fit, score and keep one backend; `before` is the peak memory (MiB) of the work already done for it."""
    with PeakMemory().watch() as memory, Others() as others:
        chosen = _fit_and_keep(built, features, guard, experiment)
    return BackendEntry(
        columns=columns_of(built.spec, built.backbone),
        chosen=chosen,
        settings=built.backend.settings,
        peak_rss_mib=round(max(memory.mib, before), 1),
        others_share=None if others.share is None else round(others.share, 3),
    )


def _fit_and_keep(
    built: BuiltBackend, features: Features, guard: RunGuard | None, experiment: Experiment
) -> dict[str, Any]:
    study, material, console, out = experiment.study, experiment.material, experiment.console, experiment.out
    name, trained = built.name, built.trained
    console.log(f"{name}: fitting")
    classifier = (trained.classifier if trained and trained.classifier else built.backend.classifier)()
    with Stopwatch() as fit:
        with console.stage(f"{name}: fitting"):
            classifier.fit(training_data(features, material), seed=study.seed, console=console)
        rule = choose_rule(classifier, features, material, settings=study.verdict, seed=study.seed, console=console)
    with scored_files(out, name) as files:
        with Stopwatch() as predict, console.progress(len(material.image), f"scores of {name}") as bar:
            for rows in score_blocks(classifier, features, material, rule, bar):
                files.add(rows)
        save_model(built, classifier, rule, material=material, study=study, out=out)
        save_guard(guard, name, out)
        write_histories(built, classifier, out)
        if study.report.out_of_fold:
            keep_out_of_fold(built, features, experiment)
        timings = backend_timings(built, features, classifier, material, fit=fit.seconds, predict=predict.seconds)
        experiment.record.time(name, timings_frame(timings))
    return _choices(built, classifier, rule)


def _choices(built: BuiltBackend, classifier: Classifier, rule: ProductRule) -> dict[str, Any]:
    """The choices made on `tune`, for the record."""
    return {
        **classifier.chosen,
        **({"tuning": built.trained.chosen} if built.trained else {}),
        "aggregation": rule.aggregation,
        "temperature": rule.temperature,
        **({"calibration": rule.calibrator.method} if rule.calibrator else {}),
        "rule_products": rule.tune_products,
    }
