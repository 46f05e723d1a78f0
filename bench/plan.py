"""What a study will take, told before it runs: time, memory and disk of every backend, from a short calibration.

A backend is known here by `bench.backend` alone: its extractor is given some of the dataset's own photos, its
classifier random features of the right length and number of categories, of two sizes between which cost is taken to
grow with the number of images. A tuner may tell what it costs by a method that is no part of `bench.backend.Tuner`:

    ``calibrate(classes: int) -> dict``

with ``seconds_per_image`` of training and, where they are not 1, the ``epochs`` and the ``share`` of the training
images that an epoch goes through; without it the cost of training the network is not known.
"""

from __future__ import annotations

import dataclasses
import json
import math
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from bench.backend import Backend, Classifier, FeatureExtractor, TrainingData, Tuner, find, split_name
from bench.console import Console
from bench.data.catalogue import DIGEST, Catalogue, digest
from bench.data.datasets import find_named, named_datasets, open_dataset
from bench.data.features import FeatureStore
from bench.data.generator import GeneratorSettings
from bench.data.sources.tables import DatasetSettings
from bench.data.split import make_split
from bench.errors import InputError, ShelfbenchError
from bench.material import gather
from bench.report.measured import as_text, span
from bench.report.render import MISSING, Grid
from bench.storage import cache_dir, fingerprint, write_json
from bench.study import Study
from bench.timing import PeakMemory, Stopwatch, machine, versions

_Found = TypeVar("_Found", "Extraction", "Fitting")
_VERSION = 1
# Seconds after which a calibration is long enough.
_ENOUGH = 1.0
_LARGE = 20_000_000
# Categories of a dataset that is not at hand, where the study does not say (C31).
_CATEGORIES = 1000
# Bytes of an image's 100 best categories in scores/BACKEND.parquet: a code and a float each.
_SCORES = 100 * 6
_MIB = 2**20


@dataclass(frozen=True)
class Sizes:
    """How many images of a study do what.

    Attributes
    ----------
    images, train, tune, held_out : int
        All; those to learn from; those to choose on; validation and test.
    classes : int
    """

    images: int
    train: int
    tune: int
    held_out: int
    classes: int

    def scaled(self, images: int) -> Sizes:
        """The same shares of another number of images."""
        train, tune, held = (round(part / self.images * images) for part in (self.train, self.tune, self.held_out))
        return Sizes(images, max(1, train), tune, held, self.classes)


@dataclass(frozen=True)
class Extraction:
    """What features cost: seconds before the first image, of each image with its decoding, and MiB at the peak."""

    first: float
    per_image: float
    mib: float


@dataclass(frozen=True)
class Fitting:
    """What a classifier costs.

    Attributes
    ----------
    base, per_image : float
        Seconds of fitting: whatever the number of training images, and for each of them.
    predict : float
        Seconds of an image's log-probabilities.
    mib, model_mib : float
        At the peak, and saved.
    """

    base: float
    per_image: float
    predict: float
    mib: float
    model_mib: float


@dataclass(frozen=True)
class Calibrated:
    """What is known of a backend.

    Attributes
    ----------
    name : str
    features : str
        Equal for backends that share features.
    dimensions : int
    tune_per_image : float
        Seconds of training the network, for each training image; NaN where its tuner does not tell.
    extraction, fitting : Extraction, Fitting
    """

    name: str
    features: str
    dimensions: int
    tune_per_image: float
    extraction: Extraction
    fitting: Fitting


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
    planner = _Planner(study, catalogue, sizes, workers, again, console)
    calibrated, problems = [], {}
    for name in study.backends:
        console.log(f"{name}: calibrating")
        try:
            calibrated.append(planner.calibrate(name))
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


@dataclass(frozen=True)
class _Planner:
    """Calibrates backends of a study on photos of a catalogue."""

    study: Study
    catalogue: Catalogue
    sizes: Sizes
    workers: int
    again: bool
    console: Console

    @cached_property
    def _here(self) -> list[Any]:
        """What a calibration holds for."""
        return [_VERSION, machine(), versions(), self.workers]

    def calibrate(self, name: str) -> Calibrated:
        """Measure a backend, or take what was measured before."""
        base, backbone = split_name(name, self.study.backbone)
        backend = find(base).build(self.study.sections, backbone, self.workers)
        told, tuner = backend.features.describe(), backend.tuner
        extraction = self._kept(
            Extraction, ["extract", told, self.study.dataset.name], lambda: self._extraction(backend.features)
        )
        dimensions, classes = backend.features.dimensions, self.sizes.classes
        fitting = self._kept(
            Fitting, ["fit", base, backend.settings, dimensions, classes], lambda: self._fitting(backend)
        )
        trained = None if tuner is None else tuner.describe()
        return Calibrated(name, fingerprint([told, trained]), dimensions, _tuning(tuner, classes), extraction, fitting)

    def _kept(self, kind: type[_Found], key: list[Any], measure: Callable[[], _Found]) -> _Found:
        """Give what was found before on this machine, or find it."""
        path = cache_dir() / "plans" / f"{fingerprint([self._here, key])}.json"
        if not self.again:
            try:
                return kind(**json.loads(path.read_text(encoding="utf-8"))["found"])
            except (OSError, ValueError, KeyError, TypeError):
                pass  # not there, or damaged: found anew
        found = measure()
        write_json(path, {"machine": machine(), "key": key, "found": asdict(found)})
        return found

    def _extraction(self, extractor: FeatureExtractor) -> Extraction:
        """Take features of some of the photos, as a run does; until that takes a second."""
        rng = np.random.default_rng(0)
        images = self.catalogue.images
        order = rng.permutation(len(images))
        with PeakMemory().watch() as memory:
            with Stopwatch() as first:
                extractor.extract(np.zeros((extractor.batch, extractor.pixels, extractor.pixels, 3), np.uint8))
            count, taken = min(extractor.batch, len(order)), 0.0
            while True:
                chosen = np.sort(order[:count])
                digests = np.zeros(len(images), DIGEST)
                digests[chosen] = np.frombuffer(b"".join(map(digest, images.read(chosen))), DIGEST)
                with tempfile.TemporaryDirectory() as folder:
                    store = FeatureStore(extractor, self.study.images, Console(quiet=True), self.workers, Path(folder))
                    taken = store.features(self.catalogue, chosen, digests).seconds
                if taken >= _ENOUGH or count == len(order):
                    break
                count = min(2 * count, len(order))
        return Extraction(first.seconds, taken / count, memory.mib)

    def _fitting(self, backend: Backend) -> Fitting:
        """Fit random features of doubling numbers of images, until that takes a second."""
        sizes = self.sizes
        try:
            classifier = backend.classifier()
        except RuntimeError:  # the head of a network that is trained end to end comes with it
            return Fitting(0.0, 0.0, 0.0, 0.0, 0.0)
        count, seconds, counts = min(sizes.train, 128), [], []
        with PeakMemory().watch() as memory:
            while True:
                train, labels = _random_features(count, backend.features.dimensions, sizes.classes)
                few = math.ceil(count * sizes.tune / sizes.train)
                made = TrainingData(train, labels, sizes.classes, train[:few], labels[:few])
                classifier = backend.classifier()
                with Stopwatch() as fit:
                    classifier.fit(made, seed=0, console=Console(quiet=True))
                seconds.append(fit.seconds)
                counts.append(count)
                if (len(counts) > 1 and fit.seconds >= _ENOUGH) or count == sizes.train:
                    break
                count = min(2 * count, sizes.train)
            classifier.log_probabilities(train)
            with Stopwatch() as predict:
                classifier.log_probabilities(train)
        per_image = seconds[-1] / count
        if len(counts) > 1 and seconds[-1] > seconds[-2]:
            per_image = (seconds[-1] - seconds[-2]) / (counts[-1] - counts[-2])
        base = max(0.0, seconds[-1] - per_image * count)
        return Fitting(base, per_image, predict.seconds / count, memory.mib, _saved(classifier))


def _random_features(count: int, dimensions: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Features of categories that lie about as close to each other as real ones: most, not all, are told apart."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((classes, dimensions), np.float32) * np.float32(4 / math.sqrt(2 * dimensions))
    labels = np.arange(count) % classes
    return centres[labels] + rng.standard_normal((count, dimensions), np.float32), labels


def _saved(classifier: Classifier) -> float:
    with tempfile.TemporaryDirectory() as folder:
        classifier.save(Path(folder))
        return sum(path.stat().st_size for path in Path(folder).iterdir()) / _MIB


def _tuning(tuner: Tuner | None, classes: int) -> float:
    """Seconds of a network's training for each training image: 0 without one, NaN where its tuner does not tell."""
    if tuner is None:
        return 0.0
    calibrate = getattr(tuner, "calibrate", None)
    if calibrate is None:
        return math.nan
    told = calibrate(classes)
    return float(told["seconds_per_image"]) * told.get("epochs", 1) * told.get("share", 1.0)


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
    return f"{as_text(here)}\n\n{as_text(dataclasses.replace(large, notes=notes))}"


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
