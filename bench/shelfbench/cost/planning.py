"""Planning a study: its jobs, photos to try them on, and the results of the trials."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from shelfbench.base.console import Console
from shelfbench.base.errors import FOREIGN, InputError, explain
from shelfbench.cost.plan import Plan, Tried
from shelfbench.cost.trial import Sizes, Trial, Trials
from shelfbench.data.catalogue import DIGEST, Catalogue
from shelfbench.data.datasets import find_named, named_datasets, open_dataset
from shelfbench.data.extractor import FeatureExtractor
from shelfbench.data.material import Material, gather
from shelfbench.data.photo_size import ChosenSize, PhotoSize, choose_size, measure
from shelfbench.data.sources.settings import DatasetSettings
from shelfbench.data.split import make_split
from shelfbench.data.view import view_for
from shelfbench.generator import GeneratorSettings
from shelfbench.plugins.experiment import find_experiment
from shelfbench.plugins.planned import PlannedJob, PlannedJobs
from shelfbench.study.model import Study

# Categories of a dataset that is not available, if the study does not say (C31).
_CATEGORIES = 1000
_NO_PHOTOS = Sizes(images=0, train=0, tune=0, held_out=0, classes=0)


def plan_study(
    study: Study, data: Path | None, workers: int, console: Console, *, images: int = 0, again: bool = False
) -> Plan:
    """Try every job of a study briefly, and work out what the whole study will take.

    Parameters
    ----------
    study : Study
    data : Path or None
        Where to look for a named dataset first.
    workers : int
    console : Console
    images : int
        Number of images to plan for; 0 for those of the dataset.
    again : bool
        Repeat trials already made on this machine.

    Returns
    -------
    Plan

    Raises
    ------
    InputError
        If the study's dataset is not here and `images` is 0.
    """
    planned = _planned(study, workers)
    if not planned.needs_data:
        tried = tuple(Tried(job, _no_trial(job), _NO_PHOTOS) for job in planned.jobs)
        return Plan(
            study=study.name,
            experiment=study.experiment,
            sizes=_NO_PHOTOS,
            tried=tried,
            problems={},
            notes=_notes(planned),
        )
    photos = _photos(study, planned, data, workers=workers, images=images, console=console)
    trials = Trials(study=study, catalogue=photos.catalogue, workers=workers, again=again, console=console)
    found, problems = [], {}
    chosen: dict[str, ChosenSize] = {}
    for job in planned.jobs:
        console.log(f"{job.name}: trial")
        try:
            sizes, suited = photos.sizes_of(job), _suited(job, photos, chosen)
            found.append(Tried(job, trials.of(suited, sizes), sizes))
        except Exception as error:  # a plug-in may raise anything; the other jobs are planned
            problems[job.name] = str(explain(error, FOREIGN))
    return Plan(
        study=study.name,
        experiment=study.experiment,
        sizes=photos.sizes,
        tried=tuple(found),
        problems=problems,
        notes=(
            *photos.notes,
            *(f"{name} at {size.pixels} px: {size.reason}." for name, size in chosen.items()),
            *_notes(planned),
        ),
        at_scale=study.report.papers and not study.experiment,
    )


def _suited(job: PlannedJob, photos: _Photos, chosen: dict[str, ChosenSize]) -> PlannedJob:
    """Let a job see its images at the size that suits the photos, if the study leaves the size to them."""
    if job.resized is None:
        return job
    extractor = job.backend().features if job.backend else job.features() if job.features else None
    if extractor is None or getattr(extractor, "fixed_size", False):
        return job
    if extractor.name not in chosen:
        chosen[extractor.name] = choose_size(photos.seen(extractor), extractor.pixels)
    built = partial(job.resized, chosen[extractor.name].pixels)
    return replace(job, backend=built) if job.backend else replace(job, features=built)


def _no_trial(job: PlannedJob) -> Trial:
    return Trial(name=job.name, features=job.name, dimensions=0, training=None, extraction=None, fitting=None)


def _notes(planned: PlannedJobs) -> tuple[str, ...]:
    """Say what the plan leaves out, each thing once."""
    unknown = dict.fromkeys(job.unknown for job in planned.jobs if job.unknown)
    return (*(f"Not known: {what}." for what in unknown), *planned.notes)


def _planned(study: Study, workers: int) -> PlannedJobs:
    """Ask the experiment what it will do; the comparison's jobs are its backends."""
    if not study.experiment:
        jobs = (
            PlannedJob.of_backend(name, study.sections, study.backbone, workers, study.heads) for name in study.backends
        )
        return PlannedJobs(jobs=tuple(jobs))
    spec = find_experiment(study.experiment)
    if spec.plan is None:
        note = f"The experiment {study.experiment} does not say what it will do before it runs."
        return PlannedJobs(jobs=(), needs_data=False, notes=(note,))
    return spec.plan(study, workers)


@dataclass(frozen=True, kw_only=True)
class _Photos:
    """Photos to try jobs on, and the sizes to plan for.

    `material` is None, and `fit` empty, if the photos only stand in for data that are not here.
    """

    catalogue: Catalogue
    material: Material | None
    sizes: Sizes
    images: int
    fit: str = ""
    notes: tuple[str, ...] = ()

    def seen(self, extractor: FeatureExtractor) -> PhotoSize | None:
        """Measure the photos as an extractor sees them, if they are here."""
        return measure(self.catalogue.images, view_for(extractor, self.fit)) if self.fit else None

    def sizes_of(self, job: PlannedJob) -> Sizes:
        """Count the images that a job uses: its own part of the data, or all."""
        if job.cut is None or self.material is None or self.images:
            return self.sizes
        return _counted(job.cut(self.material))


def _photos(
    study: Study, planned: PlannedJobs, data: Path | None, *, workers: int, images: int, console: Console
) -> _Photos:
    """Find photos; nothing is downloaded."""
    name = study.dataset.name
    named = named_datasets().get(name)
    if planned.images:
        catalogue = _stand_in(workers, console)
        count = images or planned.images
        sizes = Sizes(images=count, train=0, tune=0, held_out=0, classes=planned.classes)
        note = f"The trial's photos are generated, not those of {name}."
        return _Photos(catalogue=catalogue, material=None, sizes=sizes, images=images, notes=(note,))
    if named and named.method != "generate" and find_named(name, data) is None:
        if not images:
            raise InputError(
                f"{name} is not here", f"shelfbench fetch {name}, or --images N to plan with generated photos"
            )
        classes = study.split.categories or _CATEGORIES
        sizes = Sizes(images=100, train=80, tune=5, held_out=20, classes=classes).scaled(images)
        note = f"{name} is not here: photos are generated, {classes:,} categories are assumed."
        catalogue = _stand_in(workers, console)
        return _Photos(catalogue=catalogue, material=None, sizes=sizes, images=images, notes=(note,))
    dataset = replace(study.dataset, photos=study.dataset.photos and study.needs_photos)
    catalogue, _ = open_dataset(dataset, study.generated, data, workers, console)
    # finding equal images means reading all of them, and changes the sizes little
    distinct = np.zeros((len(catalogue.images), 2), np.int64)
    distinct[:, 0] = np.arange(len(distinct))
    material = gather(catalogue, make_split(catalogue, study.split, study.seed, distinct.view(DIGEST).ravel()))
    sizes = _counted(material).scaled(images) if images else _counted(material)
    fit = study.images.fit
    return _Photos(catalogue=catalogue, material=material, sizes=sizes, images=images, fit=fit)


def _stand_in(workers: int, console: Console) -> Catalogue:
    few = GeneratorSettings(products=160, categories=8)
    return open_dataset(DatasetSettings(name="generated"), few, None, workers, console)[0]


def _counted(material: Material) -> Sizes:
    parts = {role: material.images_of(role) for role in ("train", "tune")}
    train, tune = (part.stop - part.start for part in parts.values())
    held = int((material.frame["split"].to_numpy() != "train")[material.owner].sum())
    return Sizes(images=len(material.image), train=train, tune=tune, held_out=held, classes=len(material.classes))
