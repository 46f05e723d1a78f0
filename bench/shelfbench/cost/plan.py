"""What a study will take, told before it runs: time, memory and disk of every backend."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from shelfbench.base.console import Console
from shelfbench.base.errors import InputError, ShelfbenchError
from shelfbench.base.grid import MISSING, Grid, span
from shelfbench.cost.trial import Calibrated, Calibrator, Sizes
from shelfbench.data.catalogue import DIGEST, Catalogue
from shelfbench.data.datasets import find_named, named_datasets, open_dataset
from shelfbench.data.material import gather
from shelfbench.data.sources.tables import DatasetSettings
from shelfbench.data.split import make_split
from shelfbench.generator import GeneratorSettings
from shelfbench.study.model import Study

_LARGE = 20_000_000
# Categories of a dataset that is not at hand, where the study does not say (C31).
_CATEGORIES = 1000
# Bytes of an image's 100 best categories in scores/BACKEND.parquet: a code and a float each.
_SCORES = 100 * 6
_MIB = 2**20


@dataclass(frozen=True)
class Estimate:
    """What a backend will take.

    Attributes
    ----------
    backend : str
    tune, extract, fit, predict : float
        Seconds of training the network (NaN where that is not known), of decoding and features (0 where an earlier
        backend of the study has made them), of fitting the classifier with all choices, of all log-probabilities.
    shared : str
        The backend whose features are used; empty where they are its own.
    memory_mib, disk_mib : float
    """

    backend: str
    tune: float
    extract: float
    fit: float
    predict: float
    shared: str
    memory_mib: float
    disk_mib: float

    @property
    def seconds(self) -> float:
        """All of it; NaN where a part is not known."""
        return self.tune + self.extract + self.fit + self.predict


@dataclass(frozen=True)
class Plan:
    """What a study will take.

    Attributes
    ----------
    sizes : Sizes
    calibrated : tuple of Calibrated
    problems : dict of str to str
        Backends of which nothing can be told, and why.
    notes : tuple of str
    """

    sizes: Sizes
    calibrated: tuple[Calibrated, ...]
    problems: dict[str, str]
    notes: tuple[str, ...]

    def estimates(self, images: int = 0) -> list[Estimate]:
        """Estimates of every backend, in the study's order; for so many images, or the dataset's own with 0."""
        sizes = self.sizes.scaled(images) if images else self.sizes
        owners: dict[str, str] = {}
        return [_estimate(known, owners.setdefault(known.features, known.name), sizes) for known in self.calibrated]


def _estimate(known: Calibrated, owner: str, sizes: Sizes) -> Estimate:
    extraction, fitting = known.extraction, known.fitting
    own = owner == known.name
    features = sizes.images * known.dimensions * 4 / _MIB
    return Estimate(
        known.name,
        known.tune_per_image * sizes.train if own else 0.0,
        extraction.first + extraction.per_image * sizes.images if own else 0.0,
        fitting.base + fitting.per_image * sizes.train,
        fitting.predict * sizes.images,
        "" if own else owner,
        max(extraction.mib, fitting.mib) + features,
        (features if own else 0.0) + fitting.model_mib + _SCORES * sizes.held_out / _MIB,
    )


def plan_study(
    study: Study, data: Path | None, workers: int, console: Console, *, images: int = 0, again: bool = False
) -> Plan:
    """Calibrate every backend of a study.

    Parameters
    ----------
    study : Study
    data : Path or None
        Where a named dataset is looked for first.
    workers : int
    console : Console
    images : int
        Plan for so many images; 0 for those of the dataset.
    again : bool
        Measure even what was measured before on this machine.

    Raises
    ------
    InputError
        If the study is an experiment, or its dataset is not here and `images` is 0.
    """
    if study.experiment:
        raise InputError(f"study {study.name} is the experiment {study.experiment!r}", "plan knows comparisons only")
    catalogue, sizes, notes = _material(study, data, workers, images, console)
    calibrator = Calibrator(study, catalogue, sizes, workers, again, console)
    calibrated, problems = [], {}
    for name in study.backends:
        console.log(f"{name}: calibrating")
        try:
            calibrated.append(calibrator.calibrate(name))
        except ShelfbenchError as error:
            problems[name] = str(error)
        except MemoryError:
            problems[name] = "out of memory"
    return Plan(sizes, tuple(calibrated), problems, notes)


def _material(
    study: Study, data: Path | None, workers: int, images: int, console: Console
) -> tuple[Catalogue, Sizes, tuple[str, ...]]:
    """Photos to calibrate on, and the sizes to plan for; nothing is downloaded."""
    name = study.dataset.name
    named = named_datasets().get(name)
    if named and named.method != "generate" and find_named(name, data) is None:
        if not images:
            raise InputError(
                f"{name} is not here", f"shelfbench fetch {name}, or --images N to plan with generated photos"
            )
        few = GeneratorSettings(products=160, categories=8)
        catalogue, _ = open_dataset(DatasetSettings(name="generated"), few, None, workers, console)
        classes = study.split.categories or _CATEGORIES
        sizes = Sizes(100, 80, 5, 20, classes).scaled(images)
        return catalogue, sizes, (f"{name} is not here: photos are generated, {classes:,} categories are assumed.",)
    catalogue, _ = open_dataset(study.dataset, study.generated, data, workers, console)
    # which images are equal takes reading all of them, and changes the sizes little
    distinct = np.zeros((len(catalogue.images), 2), np.int64)
    distinct[:, 0] = np.arange(len(distinct))
    material = gather(catalogue, make_split(catalogue, study.split, study.seed, distinct.view(DIGEST).ravel()))
    parts = {role: material.images_of(role) for role in ("train", "tune")}
    train, tune = (part.stop - part.start for part in parts.values())
    held = int((material.frame["split"].to_numpy() != "train")[material.owner].sum())
    sizes = Sizes(len(material.image), train, tune, held, len(material.classes))
    return catalogue, sizes.scaled(images) if images else sizes, ()


def plan_text(plan: Plan) -> str:
    """Two tables for the terminal: the study as it is, and 20 million images."""
    sizes = plan.sizes
    here = _grid(
        f"{sizes.images:,} images, {sizes.train:,} of them to learn from, in {sizes.classes:,} categories",
        plan.estimates(),
        plan.problems,
    )
    large = _grid(
        f"{_LARGE:,} images in {sizes.classes:,} categories, at the same rates", plan.estimates(_LARGE), plan.problems
    )
    notes = (
        "Times are for a machine with nothing else to do, and for features that no cache holds; †: features of an "
        "earlier backend. Peak memory holds the features of all images.",
        *plan.notes,
    )
    return f"{here.text()}\n\n{dataclasses.replace(large, notes=notes).text()}"


def _grid(title: str, estimates: Sequence[Estimate], problems: dict[str, str]) -> Grid:
    rows = [
        (
            found.backend,
            "not known" if math.isnan(found.tune) else (span(found.tune) if found.tune else MISSING),
            "†" if found.shared else span(found.extract),
            span(found.fit),
            span(found.predict),
            span(found.seconds) if not math.isnan(found.seconds) else "not known",
            f"{found.memory_mib / 1024:,.1f} GiB",
            f"{found.disk_mib / 1024:,.2f} GiB",
        )
        for found in estimates
    ]
    total = sum(found.seconds for found in estimates)
    disk = sum(found.disk_mib for found in estimates)
    most = max((found.memory_mib for found in estimates), default=0.0)
    if estimates:
        known = "not known" if math.isnan(total) else span(total)
        rows.append(("all", "", "", "", "", known, f"{most / 1024:,.1f} GiB", f"{disk / 1024:,.2f} GiB"))
    return Grid(
        title,
        ("Backend", "Train network", "Decode, extract", "Fit", "Predict", "Together", "Peak memory", "Disk"),
        tuple(rows),
        frozenset(range(1, 8)),
        tuple(f"{name}: {reason}" for name, reason in problems.items()),
    )
