"""A short calibration of backends, of which nothing is known but `shelfbench.plugins.backend`.

An extractor is given some of the dataset's own photos; a classifier, random features of the right length and number of
categories, of two sizes between which cost is taken to grow with the number of images. A tuner may tell what it costs
by a method that is no part of `shelfbench.plugins.backend.Tuner`:

    ``calibrate(classes: int) -> dict``

with ``seconds_per_image`` of training and, where they are not 1, the ``epochs`` and the ``share`` of the training
images that an epoch goes through; without it the cost of training the network is not known.
"""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from shelfbench.base.console import Console
from shelfbench.base.storage import cache_dir, fingerprint, write_json
from shelfbench.cost.timing import PeakMemory, Stopwatch, machine, versions
from shelfbench.data.catalogue import DIGEST, Catalogue, digest
from shelfbench.data.feature_store import FeatureStore
from shelfbench.plugins.backend import Backend, Classifier, FeatureExtractor, TrainingData, Tuner, find, split_name
from shelfbench.study.model import Study

_Found = TypeVar("_Found", "Training", "Extraction", "Fitting")
_VERSION = 1
# Seconds after which a calibration is long enough.
_ENOUGH = 1.0
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
class Training:
    """What the training of a network costs: seconds of all of it, for each training image of the study."""

    per_image: float


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
class Calibrator:
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
        tune = self._training(tuner, trained) if tuner else 0.0
        return Calibrated(name, fingerprint([told, trained]), dimensions, tune, extraction, fitting)

    def _training(self, tuner: Tuner, described: dict[str, Any] | None) -> float:
        """Ask a tuner that can tell; NaN of one that cannot."""
        calibrate = getattr(tuner, "calibrate", None)
        if calibrate is None:
            return math.nan
        classes = self.sizes.classes
        return self._kept(Training, ["train", described, classes], lambda: _told(calibrate(classes))).per_image

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
                few = min(extractor.batch, 64)  # enough for processes and networks to start
                extractor.extract(np.zeros((few, extractor.pixels, extractor.pixels, 3), np.uint8))
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
                train, labels = random_features(count, backend.features.dimensions, sizes.classes)
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


def random_features(count: int, dimensions: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Features of categories that lie about as close to each other as real ones: most, not all, are told apart."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((classes, dimensions), np.float32) * np.float32(4 / math.sqrt(2 * dimensions))
    labels = np.arange(count) % classes
    return centres[labels] + rng.standard_normal((count, dimensions), np.float32), labels


def _saved(classifier: Classifier) -> float:
    with tempfile.TemporaryDirectory() as folder:
        classifier.save(Path(folder))
        return sum(path.stat().st_size for path in Path(folder).iterdir()) / _MIB


def _told(answer: dict[str, float]) -> Training:
    return Training(float(answer["seconds_per_image"]) * answer.get("epochs", 1) * answer.get("share", 1.0))
