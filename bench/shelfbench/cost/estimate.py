"""What a job of a study will take, and what a run does besides its jobs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from shelfbench.cost import memory
from shelfbench.cost.products import counted_seconds
from shelfbench.cost.scoring import chosen_on
from shelfbench.cost.sizes import Sizes
from shelfbench.cost.trial import Trial
from shelfbench.plugins.planned import PlannedJob

STAGES = ("tune", "extract", "fit", "predict")
"""Those of a job, whose seconds `Estimate` has."""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What a job will take.

    Attributes
    ----------
    name : str
        The backend, variant or network.
    trainings, epochs : int
        How often it is trained, and the epochs of each training (0 if unknown, or if there are none).
    tune, extract, fit, predict : float
        Seconds of training the network, of decoding and features (0 if an earlier job of the study has made them), of
        fitting the classifier with all choices, of all log-probabilities; NaN if unknown.
    shared : str
        The job whose features are reused; empty if they are its own.
    memory_mib : float
        The peak over all stages; NaN if unknown.
    memory_extract, memory_fit, memory_predict : float
        Peak of each of them, in MiB; NaN if unknown.
    disk_mib : float
    read_mib : float
        Photos and features that are read from disk.
    least : float
        Minimum seconds, if the settings fix them; otherwise 0.
    machines : int
        For which these are the seconds.
    divides : bool
        Whether fitting is divided among machines; features always are.
    once : float
        Seconds of features that each machine spends before the first image.
    """

    name: str
    trainings: int
    epochs: int
    tune: float
    extract: float
    fit: float
    predict: float
    shared: str
    memory_mib: float
    disk_mib: float
    memory_extract: float = math.nan
    memory_fit: float = math.nan
    memory_predict: float = math.nan
    read_mib: float = 0.0
    least: float = 0.0
    machines: int = 1
    divides: bool = False
    once: float = 0.0

    @property
    def seconds(self) -> float:
        """Total seconds; NaN if a part is unknown."""
        return self.least or self.tune + self.extract + self.fit + self.predict

    @property
    def peak(self) -> str:
        """The stage that needs the most memory: ``extract``, ``fit`` or ``predict``; empty if that is unknown."""
        parts = {name: getattr(self, f"memory_{name}") for name in STAGES[1:]}
        known = {name: mib for name, mib in parts.items() if not math.isnan(mib)}
        return max(known, key=lambda name: known[name]) if known else ""


@dataclass(frozen=True)
class Tried:
    """A job, what its trial found, how many images it uses, and for how many of them features are there already."""

    job: PlannedJob
    trial: Trial
    sizes: Sizes
    there: int = 0


def _counted(trial: Trial, sizes: Sizes) -> Any:
    """Return what a classifier counts of a fit that goes through features in blocks of rows; None for any other."""
    if trial.footprint is None:
        return None
    found = trial.footprint(sizes.train, trial.dimensions, sizes.classes)
    return found if found.streamed else None


def estimated(tried: Tried, owner: str, sizes: Sizes, machines: int = 1) -> Estimate:
    """Estimate a job.

    Parameters
    ----------
    tried : Tried
    owner : str
        The first job with the same features.
    sizes : Sizes
        To estimate for.
    machines : int
        Among which features, and fits that can be divided, are divided.

    Returns
    -------
    Estimate
    """
    job, trial = tried.job, tried.trial
    own = owner == job.name
    training, extraction, fitting = trial.training, trial.extraction, trial.fitting
    only_trained = job.ends_with_training and training is not None
    scored = not job.ends_with_training
    new = max(0, sizes.images - tried.there)
    kept = 0.0 if extraction is None else memory.kept(new, trial.dimensions)
    disk, read = kept * own, 0.0
    held = 0.0 if extraction is None else memory.held(sizes.images, trial.dimensions)
    peaks = dict.fromkeys(STAGES[1:], math.nan)
    once = per_image = 0.0
    if extraction is not None:
        peaks["extract"] = extraction.mib + held
        if own and new:
            once, per_image = extraction.first, extraction.per_image
            read += memory.photos(new, sizes)
    counted = _counted(trial, sizes)
    if fitting is not None and extraction is not None:
        passes = fitting.passes if counted is None else counted.passes
        read += passes * memory.features(sizes.train, trial.dimensions) * job.trainings
        peaks["fit"] = max(fitting.mib, 0.0) + held + (0.0 if counted is None else counted.memory / memory.MIB)
        if scored:
            read += memory.features(sizes.images, trial.dimensions)
            peaks["predict"] = (fitting.mib or extraction.mib) + held + memory.scoring(sizes)
    if training is not None and training.mib:
        peaks["fit"] = max(training.mib, 0.0 if math.isnan(peaks["fit"]) else peaks["fit"])
    if fitting is not None and scored:
        disk += fitting.model_mib + memory.results(sizes)
    divides = fitting is not None and fitting.divides
    fit = math.nan if fitting is None else job.trainings * fitting.seconds(sizes)
    if fitting is not None and counted is not None:
        fit = job.trainings * (counted_seconds(counted, fitting.rate) + fitting.rule * chosen_on(sizes))
    return Estimate(
        name=job.name,
        trainings=job.trainings,
        epochs=job.epochs if training is None else training.epochs,
        tune=training.per_image * sizes.train * job.trainings
        if training is not None and (own or only_trained)
        else 0.0,
        extract=once + per_image * new / machines,
        fit=fit / machines if divides else fit,
        predict=fitting.predict * sizes.images if fitting is not None and scored else 0.0,
        shared="" if own or extraction is None else owner,
        memory_mib=max((mib for mib in peaks.values() if not math.isnan(mib)), default=math.nan),
        disk_mib=disk,
        **{f"memory_{name}": mib for name, mib in peaks.items()},
        read_mib=read,
        least=job.seconds or 0.0,
        machines=machines,
        divides=divides,
        once=once,
    )
