"""Planning a study: its jobs, photos to try them on, and the results of the trials."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from shelfbench.base.console import Console
from shelfbench.base.errors import FOREIGN, explain
from shelfbench.base.grid import duration
from shelfbench.cost.around import tried_around
from shelfbench.cost.estimate import Tried
from shelfbench.cost.fitting import LIMIT
from shelfbench.cost.photos import Asked, PlannedPhotos, planned_photos
from shelfbench.cost.plan import Plan
from shelfbench.cost.sizes import Sizes
from shelfbench.cost.stored import Stored, look
from shelfbench.cost.trial import Trial, Trials, some_digests
from shelfbench.cost.undisturbed import NOTABLE
from shelfbench.data.embeddings import EmbeddingExtractor
from shelfbench.data.extractor import FeatureExtractor
from shelfbench.data.feature_store import FeatureStore, image_digests
from shelfbench.data.fingerprint import Fingerprint
from shelfbench.data.images import ImageSettings
from shelfbench.data.photo_size import ChosenSize, choose_size
from shelfbench.plugins.experiment import find_experiment
from shelfbench.plugins.planned import PlannedJob, PlannedJobs
from shelfbench.study.model import Study

_NO_PHOTOS = Sizes(images=0, train=0, tune=0, held_out=0, classes=0)
# Photos up to which all are hashed, to see which features are there; of more, as many are drawn.
_HASHED, _SAMPLED = 100_000, 2000
_LARGE = 20_000_000


def plan_study(
    study: Study, data: Path | None, workers: int, console: Console, *, asked: Asked | None = None, again: bool = False
) -> Plan:
    """Try every job of a study briefly, and work out what the whole study will take.

    Parameters
    ----------
    study : Study
    data : Path or None
        Where to look for a named dataset first.
    workers : int
    console : Console
    asked : Asked, optional
        Numbers of images and categories to plan for; by default, those of the dataset.
    again : bool
        Repeat trials already made on this machine.

    Returns
    -------
    Plan

    Raises
    ------
    InputError
        If the study's dataset is not here and no number of images is asked for.
    """
    asked = asked or Asked()
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
    photos = planned_photos(study, planned, data, workers=workers, asked=asked, console=console)
    trials = Trials(study=study, catalogue=photos.catalogue, workers=workers, again=again, console=console)
    lookup = _Lookup.of(study, photos, workers, console)
    found: list[Tried] = []
    problems: dict[str, str] = {}
    stored: dict[str, Stored] = {}
    chosen: dict[str, ChosenSize] = {}
    compared = not study.experiment
    counts = (photos.sizes.images, _LARGE)
    seeks = tuple(compared and study.needs_photos and study.report.seeks_near_duplicates(count) for count in counts)
    with _progress(len(planned.jobs) + 1, console) as begin:
        for job in planned.jobs:
            begin(job.name)
            try:
                sizes, suited = photos.sizes_of(job), _suited(job, photos, chosen)
                trial = trials.of(suited, sizes)
                owner = next((tried.job.name for tried in found if tried.trial.features == trial.features), None)
                kept = lookup.of_job(suited, sizes) if owner is None else stored.get(owner)
                if owner is None and kept is not None:
                    stored[job.name] = kept
                found.append(Tried(job, trial, sizes, kept.there if kept else 0))
            except Exception as error:  # a plug-in may raise anything; the other jobs are planned
                problems[job.name] = str(explain(error, FOREIGN))
        begin("what a run does besides")
        around = tried_around(
            trials,
            photos.sizes,
            [tried.trial.dimensions for tried in found if tried.trial.extraction is not None and compared],
            seeks=any(seeks),
            hashed=lookup.whole or not study.needs_photos,
        )
    around = replace(around, drawing=photos.drawing, opening=photos.opening, splitting=photos.splitting)
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
            *_shortened(found),
            *_disturbed(trials.waits),
        ),
        papers=study.report.papers,
        at_scale=study.report.papers and compared and not asked,
        around=around,
        seeks=(seeks[0], seeks[1]),
        stored=stored,
        prints=lookup.prints() if any(seeks) else 0,
    )


@contextmanager
def _progress(trials: int, console: Console) -> Iterator[Callable[[str], None]]:
    """Show which trial is made and how long all of them have taken; yields what begins one."""
    console.log(
        f"{trials} short trials: together usually one to five minutes, and at most about {LIMIT:.0f} seconds for the "
        "fits of one backend, once its library has started; what was measured on this machine before is used again"
    )
    started, begun = time.perf_counter(), 0
    with console.progress(trials, "plan", "trials") as bar:

        def begin(what: str) -> None:
            nonlocal begun
            bar.update(min(begun, 1))  # the one before
            begun += 1
            console.log(f"trial {begun} of {trials}: {what} ({duration(time.perf_counter() - started)} so far)")

        yield begin


def _shortened(tried: Sequence[Tried]) -> tuple[str, ...]:
    """Name the backends whose trials were cut short."""
    said = []
    for found in tried:
        if (fitting := found.trial.fitting) is None or not fitting.shortened:
            continue
        if math.isnan(fitting.per_image):
            said.append(
                f"{found.job.name}: what its fit takes is not known, because one of {fitting.shortened} took so long "
                f"that more would have exceeded the {LIMIT:.0f} seconds of a trial, and tells too little."
            )
        else:
            said.append(
                f"{found.job.name}: its trial was cut short, because more would have taken longer than {LIMIT:.0f} "
                f"seconds. What is said of its fit and scores rests on {fitting.shortened}, and may be off by several "
                "times."
            )
    return tuple(said)


def _disturbed(waits: list[float]) -> tuple[str, ...]:
    """Say that other programs were at work during the trials, if they were."""
    most = max(waits, default=0.0)
    if most < NOTABLE:
        return ()
    return (
        f"Other programs were at work during the trials, which waited up to {most:.0%} of the time for a processor; "
        "that is taken off, but a trial on an idle machine (--again) is more exact.",
    )


@dataclass(frozen=True, kw_only=True)
class _Lookup:
    """Hashes of the photos, or of a sample, by which features are looked up; none if they only stand in for others."""

    study: Study
    photos: PlannedPhotos
    workers: int
    digests: np.ndarray | None
    whole: bool

    @classmethod
    def of(cls, study: Study, photos: PlannedPhotos, workers: int, console: Console) -> _Lookup:
        digests, whole = None, False
        if photos.whole and not photos.scaled and study.needs_photos and not hasattr(photos.catalogue.images, "bring"):
            whole = len(photos.catalogue.images) <= _HASHED
            if whole:
                digests = image_digests(photos.catalogue, console)
            else:
                chosen, all_digests = some_digests(photos.catalogue, _SAMPLED)
                digests = all_digests[chosen]
        return cls(study=study, photos=photos, workers=workers, digests=digests, whole=whole)

    def _store(self, extractor: FeatureExtractor, images: ImageSettings) -> FeatureStore:
        return FeatureStore(extractor, images, Console(quiet=True), self.workers)

    def of_job(self, job: PlannedJob, sizes: Sizes) -> Stored | None:
        """Look up the features of a job; None where they cannot be known before the run."""
        extractor = job.backend().features if job.backend else job.features() if job.features else None
        trained = job.backend is not None and job.backend().trainer is not None
        if self.digests is None or extractor is None or trained or isinstance(extractor, EmbeddingExtractor):
            return None
        if getattr(extractor, "calibration", 0):
            return Stored(
                there=0, images=sizes.images, differs=("the training photos on which it is calibrated first",)
            )
        wanted = self.digests
        if self.whole and self.photos.material is not None:
            part = self.photos.material if job.cut is None else job.cut(self.photos.material)
            wanted = self.digests[part.image]
        store = self._store(extractor, self.study.images)
        return look(store, wanted, sizes.images, whole=self.whole)

    def prints(self) -> int:
        """Count the photos whose fingerprints are there."""
        if self.digests is None:
            return 0
        store = self._store(Fingerprint(), ImageSettings(fit="stretch"))
        return look(store, self.digests, self.photos.sizes.images, whole=self.whole).there


def _suited(job: PlannedJob, photos: PlannedPhotos, chosen: dict[str, ChosenSize]) -> PlannedJob:
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
