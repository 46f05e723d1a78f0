"""A study from start to end: catalogue, split, features, backends, predictions, report."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from shelfbench import __version__
from shelfbench.base.console import Console
from shelfbench.base.errors import InputError, RunError, ShelfbenchError
from shelfbench.base.storage import fingerprint, storage_errors
from shelfbench.cost.timing import PeakMemory, Stopwatch, machine, timings_frame, versions
from shelfbench.data.datasets import open_dataset
from shelfbench.data.feature_store import Features, FeatureStore, image_digests
from shelfbench.data.images import UnreadableImage, open_image
from shelfbench.data.material import Material, dataset_record, gather
from shelfbench.data.near_duplicates import find_twins
from shelfbench.data.split import make_split
from shelfbench.data.truth import read_truth
from shelfbench.plugins.backend import TrainingData, TuningData, find, split_name
from shelfbench.plugins.experiment import find_experiment
from shelfbench.runs.experiment import Experiment
from shelfbench.runs.keeping import Job, backend_timings, save_model
from shelfbench.runs.recorder import RunRecord, locked, write_parquet
from shelfbench.runs.scoring import choose_rule, readable_rows, score
from shelfbench.study.model import Study


def run_study(study: Study, data: Path | None, out: Path, workers: int, console: Console, command: str) -> str:
    """Run a study, or go on with one in the same directory.

    Parameters
    ----------
    study : Study
    data : Path or None
        Where a named dataset is looked for first.
    out : Path
        The run directory.
    workers : int
        Processes or threads for decoding and classical features.
    console : Console
    command : str
        The command that makes this run again, for the record.

    Returns
    -------
    str
        Table 4 as text.

    Raises
    ------
    InputError
        If the data or the settings are wrong, or `out` holds another run.
    RunError
        If a backend failed; the others are finished and reported first.
    """
    source = Path(study.dataset.name)
    if source.is_dir() and out.resolve().is_relative_to(source.resolve()):
        raise InputError(f"the run directory {out} lies within the data {source}", "choose an --out outside of it")
    with storage_errors(out):
        out.mkdir(parents=True, exist_ok=True)
    with locked(out):
        return _recorded(study, data, out, workers, console, command)


def _recorded(study: Study, data: Path | None, out: Path, workers: int, console: Console, command: str) -> str:
    """Run, and note how it ended."""
    values = {
        "shelfbench": __version__,
        "command": command,
        "study": study.record(),
        "results_hash": study.results_hash(),
        "seed": study.seed,
        "machine": machine(),
        "versions": versions(),
    }
    record = RunRecord.start(out, values)
    try:
        if study.experiment:
            spec = find_experiment(study.experiment)
            spec.run(Experiment(study, data, out, workers, console, record))
            record.finish("complete")
            text = spec.report(out, console)
        else:
            text = _run(study, data, out, workers, console, record)
    except KeyboardInterrupt:
        record.finish("interrupted")
        raise
    except Exception as error:
        try:
            record.finish("failed", str(error))
        except ShelfbenchError:
            console.warn(f"{out / 'run.json'} could not be brought up to date")
        raise
    return text


def _run(study: Study, data: Path | None, out: Path, workers: int, console: Console, record: RunRecord) -> str:
    jobs, errors = _build(study, workers, console, record)
    if errors and not jobs and not record.done():
        raise errors[0]
    catalogue, named = open_dataset(study.dataset, study.generated, data, workers, console)
    for note in catalogue.notes:
        console.warn(note)
    digests = image_digests(catalogue, console)
    split = make_split(catalogue, study.split, study.seed, digests)
    material = gather(catalogue, split)
    record.update(dataset=dataset_record(material, named, digests), split=material.split_record())
    write_parquet(out / "split.parquet", material.frame)
    console.log(
        f"{catalogue.name}: {len(material.frame):,} products, {len(material.image):,} images, "
        f"{material.frame['category'].nunique():,} categories kept"
        + (
            f"; {split.excluded_products:,} products in {split.excluded_categories:,} categories left out: "
            f"{split.excluded_reason}"
            if split.excluded_products
            else ""
        )
    )
    if (truth := read_truth(catalogue, material.frame)) is not None:
        write_parquet(out / "truth.parquet", truth)
    if study.report.seeks_near_duplicates(len(material.image)):
        twins = find_twins(material, digests, workers, console)
        write_parquet(out / "near_duplicates.parquet", twins.frame)
        record.near_duplicates(twins.record())
    groups: dict[str, list[Job]] = {}
    for job in jobs:
        tuner = job.backend.tuner
        groups.setdefault(str(job.store.folder) if tuner is None else fingerprint(tuner.describe()), []).append(job)
    for group in groups.values():
        errors += _run_group(group, material, digests, study, out, workers, console, record)
    if not record.done():
        raise errors[0]
    from shelfbench.report.build import build_report

    console.log("tables, figures and page")
    record.finish("failed" if errors else "complete", "; ".join(map(str, errors)))
    text = build_report(out, _pictures(material, study), console, _photograph(material, study))
    if errors:
        first = errors[0]
        raise type(first)(
            f"{len(errors)} of {len(study.backends)} backends failed ({first.message}); the others are in {out}",
            first.remedy,
        )
    return text


def _build(study: Study, workers: int, console: Console, record: RunRecord) -> tuple[list[Job], list[ShelfbenchError]]:
    """Build the backends that are not done yet; one that cannot be built fails alone."""
    jobs: list[Job] = []
    errors: list[ShelfbenchError] = []
    for name in study.backends:
        if record.is_done(name):
            console.log(f"{name}: done before")
            continue
        base, backbone = split_name(name, study.backbone)
        spec = find(base)
        record.backend(name, status="pending", columns=dict(spec.columns))
        try:
            backend = spec.build(study.sections, backbone, workers)
            jobs.append(Job(name, spec, backend, FeatureStore(backend.features, study.images, console, workers)))
        except ShelfbenchError as error:
            errors.append(_failed(name, error, console, record))
    return jobs, errors


def _failed(name: str, error: ShelfbenchError, console: Console, record: RunRecord) -> ShelfbenchError:
    console.log(f"{name}: failed")
    record.backend(name, status="failed", reason=str(error))
    return type(error)(f"{name}: {error.message}", error.remedy)


def _run_group(
    group: list[Job],
    material: Material,
    digests: np.ndarray,
    study: Study,
    out: Path,
    workers: int,
    console: Console,
    record: RunRecord,
) -> list[ShelfbenchError]:
    """Run the backends that share features."""
    errors: list[ShelfbenchError] = []
    try:
        with PeakMemory().watch() as extracting:
            group = _tuned(group, material, digests, study, workers, console)
            features = group[0].store.features(material.catalogue, material.image, digests)
    except ShelfbenchError as error:
        return [_failed(job.name, error, console, record) for job in group]
    _note_unreadable(features, material, record)
    for number, job in enumerate(group):
        shared = features if number == 0 else dataclasses.replace(features, cached=True)
        if shared.cached:
            console.log(
                f"{job.name}: features reused (computing them took {features.seconds:.1f} s)"
                if not features.computed or number
                else f"{job.name}: features of {len(material.image) - features.computed:,} images reused"
            )
        try:
            with PeakMemory().watch() as memory:
                _run_backend(job, shared, material, study, out, console, record)
            record.backend(job.name, peak_rss_mib=round(max(memory.mib, extracting.mib if number == 0 else 0.0), 1))
        except ShelfbenchError as error:
            errors.append(_failed(job.name, error, console, record))
        except MemoryError:
            errors.append(
                _failed(
                    job.name,
                    RunError("out of memory", "use fewer categories or products, or a machine with more"),
                    console,
                    record,
                )
            )
    return errors


def tuning_data(material: Material, digests: np.ndarray, fit: str, workers: int) -> TuningData:
    """What networks are trained on: the images of train and `tune`."""
    train, tune = material.images_of("train"), material.images_of("tune")
    label = material.label[material.owner]
    state = hashlib.sha256(f"{fit}\0{len(material.classes)}".encode())
    for part in (train, tune):
        state.update(np.ascontiguousarray(digests[material.image[part]]).tobytes())
        state.update(np.ascontiguousarray(label[part]).tobytes())
        state.update(np.ascontiguousarray(material.owner[part]).tobytes())
    return TuningData(
        images=material.catalogue.images,
        fit=fit,
        train=material.image[train],
        train_labels=label[train],
        train_products=material.owner[train],
        tune=material.image[tune],
        tune_labels=label[tune],
        classes=len(material.classes),
        identity=state.hexdigest(),
        workers=workers,
    )


def _tuned(
    group: list[Job], material: Material, digests: np.ndarray, study: Study, workers: int, console: Console
) -> list[Job]:
    """Train the network that a group shares, where it has one to train."""
    tuner = group[0].backend.tuner
    if tuner is None:
        return group
    console.log(f"{group[0].name}: training the network")
    data = tuning_data(material, digests, study.images.fit, workers)
    tuned = tuner.tune(data, seed=study.seed, console=console)
    store = FeatureStore(tuned.features, study.images, console, workers)
    return [
        dataclasses.replace(job, store=store, tuned=tuned if number == 0 else dataclasses.replace(tuned, cached=True))
        for number, job in enumerate(group)
    ]


def _note_unreadable(features: Features, material: Material, record: RunRecord) -> None:
    unreadable = material.unreadable(features.reasons)
    record.unreadable(unreadable)
    train = material.images_of("train")
    if not features.readable[train].any():
        raise InputError(
            f"{material.catalogue.name}: none of the {train.stop - train.start} training images can be read "
            f"(first: {unreadable[0]['record']}: {unreadable[0]['reason']})",
            "check the files",
        )


def _run_backend(
    job: Job, features: Features, material: Material, study: Study, out: Path, console: Console, record: RunRecord
) -> None:
    """Fit, predict, save: everything of one backend."""
    console.log(f"{job.name}: fitting")
    train, tune = material.images_of("train"), material.images_of("tune")
    train_rows, train_readable = readable_rows(features, train)
    tune_rows, tune_readable = readable_rows(features, tune)
    label = material.label[material.owner]
    tuned = job.tuned
    classifier = (tuned.classifier if tuned and tuned.classifier else job.backend.classifier)()
    with Stopwatch() as fit:
        classifier.fit(
            TrainingData(
                train_rows, label[train][train_readable], len(material.classes), tune_rows, label[tune][tune_readable]
            ),
            seed=study.seed,
            console=console,
        )
        rule = choose_rule(classifier, features, material, study.verdict, study.seed, console)
    with Stopwatch() as predict, console.progress(len(material.image), f"{job.name}: scores") as bar:
        scored = score(classifier, features, material, rule, bar)
    save_model(job, classifier, material, study, rule, out)
    write_parquet(out / "scores" / f"{job.name}.parquet", scored.scores)
    write_parquet(out / "aggregations" / f"{job.name}.parquet", scored.aggregations)
    if classifier.history is not None:
        write_parquet(out / "history" / f"{job.name}.parquet", classifier.history)
    if tuned is not None:
        # a network trained end to end has this history alone
        suffix = "tuning.parquet" if tuned.classifier is None else "parquet"
        write_parquet(out / "history" / f"{job.name}.{suffix}", tuned.history)
    record.time(
        job.name, timings_frame(backend_timings(job, features, classifier, fit.seconds, predict.seconds, material))
    )
    # last: a backend is done once its predictions are there
    write_parquet(out / "predictions" / f"{job.name}.parquet", scored.predictions)
    chosen = {
        **classifier.chosen,
        **({"tuning": tuned.chosen} if tuned else {}),
        "aggregation": rule.aggregation,
        "temperature": rule.temperature,
        "rule_products": rule.tune_products,
    }
    record.backend(job.name, status="done", reason="", chosen=chosen, settings=job.backend.settings)


def _pictures(material: Material, study: Study, count: int = 40) -> list[Any] | None:
    """Draw random images of train for Figure 1, or nothing where the study shows none."""
    if not study.report.pictures:
        return None
    from shelfbench.report.figures import Picture

    train = material.images_of("train")
    rows = np.random.default_rng([study.seed, 1]).permutation(np.arange(train.start, train.stop))
    names = {category.key: category.name for category in material.catalogue.categories}
    pictures: list[Any] = []
    for row in rows[: 2 * count]:
        try:
            image = open_image(material.catalogue.images.read([int(material.image[row])])[0])
        except UnreadableImage:
            continue
        pictures.append(Picture(image, names[material.frame["category"][material.owner[row]]]))
        if len(pictures) == count:
            break
    return pictures


def _photograph(material: Material, study: Study) -> Callable[[Any], Any] | None:
    """Show a product by its id, or nothing where the study shows none: its first photo that can be read."""
    if not study.report.pictures:
        return None

    def photograph(product: Any) -> Any:
        [row] = np.flatnonzero(material.frame["product_id"].to_numpy() == product)
        for image in material.image[slice(*np.searchsorted(material.owner, [row, row + 1]))]:
            try:
                return open_image(material.catalogue.images.read([int(image)])[0])
            except UnreadableImage:
                continue
        return None

    return photograph
