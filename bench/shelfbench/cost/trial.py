"""Short trials of backends, which need only the interface in `shelfbench.plugins.backend`.

An extractor is given some of the dataset's own photos; a classifier, random features (`shelfbench.cost.fitting`). A
trainer may state what training its network costs, by a method that `shelfbench.plugins.backend.Trainer` does not
require:

    ``trial(classes: int) -> dict``

with ``seconds_per_image`` of training and, if they are not 1, the ``epochs`` and the ``share`` of the training images
used per epoch, and ``memory_mib``, what the process then takes. Without that method, the cost of training the network
is unknown.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np

from shelfbench.base.console import Console
from shelfbench.base.storage import cache_dir, fingerprint, load_json, write_json
from shelfbench.base.using import used
from shelfbench.cost.fitting import LIMIT, NO_FITTING, Fitting, tried_fitting
from shelfbench.cost.sizes import Sizes
from shelfbench.cost.timing import PeakMemory, machine, versions
from shelfbench.cost.undisturbed import Undisturbed
from shelfbench.data.ahead import Decoding
from shelfbench.data.calibration import drawn_photos
from shelfbench.data.catalogue import DIGEST, Catalogue, digest
from shelfbench.data.embeddings import EmbeddingExtractor, Embeddings
from shelfbench.data.extractor import FeatureExtractor
from shelfbench.data.feature_store import FeatureStore
from shelfbench.data.view import view_for
from shelfbench.plugins.backend import Backend, Trainer
from shelfbench.plugins.planned import PlannedJob
from shelfbench.study.model import Study

_Found = TypeVar("_Found")
_VERSION = 3
# Seconds after which a trial is long enough.
_ENOUGH = 1.0


@dataclass(frozen=True)
class NetworkTraining:
    """Cost of training a network: total seconds per training image of the study, its epochs, and peak memory in MiB.

    No epochs and no memory are those that are not known.
    """

    per_image: float
    epochs: int = 0
    mib: float = 0.0


@dataclass(frozen=True)
class Extraction:
    """Cost of features: seconds before the first image, seconds per image with its decoding, peak memory in MiB."""

    first: float
    per_image: float
    mib: float


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What is known about a job.

    Attributes
    ----------
    name : str
    features : str
        Equal for jobs that share features.
    dimensions : int
    training : NetworkTraining or None
        None if no network is trained; its ``per_image`` is NaN if the trainer does not say.
    extraction : Extraction or None
        None if no features are computed, or if unknown.
    fitting : Fitting or None
        None if unknown.
    footprint : callable or None
        ``footprint(images, dimensions, classes)`` of a classifier that counts what its fit takes; None if it does not.
    """

    name: str
    features: str
    dimensions: int
    training: NetworkTraining | None
    extraction: Extraction | None
    fitting: Fitting | None
    footprint: Callable[[int, int, int], Any] | None = None


@dataclass(frozen=True, kw_only=True)
class Trials:
    """Trials of a study's jobs on photos of a catalogue."""

    study: Study
    catalogue: Catalogue
    workers: int
    again: bool
    console: Console
    waits: list[float] = field(default_factory=list)
    _found: dict[Path, Any] = field(default_factory=dict)

    @cached_property
    def base(self) -> float:
        """MiB of this process before any trial."""
        memory = PeakMemory()
        with memory.watch():
            pass
        return memory.mib

    @cached_property
    def _here(self) -> list[Any]:
        """What a trial is valid for."""
        return [_VERSION, machine(), versions(), self.workers]

    def of(self, job: PlannedJob, sizes: Sizes) -> Trial:
        """Measure a job, or reuse an earlier measurement.

        Parameters
        ----------
        job : PlannedJob
        sizes : Sizes
            Its own, if it uses a part of the catalogue.

        Returns
        -------
        Trial

        Raises
        ------
        ShelfbenchError
            If its backend cannot be built or tried.
        """
        if job.backend is None:
            if job.features is None:
                return Trial(
                    name=job.name, features=job.name, dimensions=0, training=None, extraction=None, fitting=None
                )
            extractor = job.features()
            return Trial(
                name=job.name,
                features=fingerprint([extractor.describe(), None]),
                dimensions=extractor.dimensions,
                training=None,
                extraction=self.extracted(extractor),
                fitting=None if job.unknown else NO_FITTING,
            )
        backend = job.backend()
        if isinstance(backend.features, EmbeddingExtractor):
            source = backend.features.source
            backend.features.read(Embeddings(source, self.catalogue, self.study.dataset, self.console).given)
        told, trainer = backend.features.describe(), backend.trainer
        trained = None if trainer is None else trainer.describe()
        known: dict[str, Any] = {"name": job.name, "dimensions": backend.features.dimensions}
        known["features"] = fingerprint([told, trained])
        if trainer is not None and job.ends_with_training:
            return Trial(
                **known,
                training=self._training(trainer, trained, sizes.classes),
                extraction=None,
                fitting=NO_FITTING,
            )
        extraction = self.extracted(backend.features)
        key = ["fit", job.key, backend.settings, backend.features.dimensions, sizes.classes]
        fitting = self.kept(Fitting, key, partial(self._fitting, backend, sizes, job.name))
        training = None if trainer is None else self._training(trainer, trained, sizes.classes)
        counts = getattr(backend.classifier(), "footprint", None) if fitting.rate else None
        return Trial(**known, training=training, extraction=extraction, fitting=fitting, footprint=counts)

    def _fitting(self, backend: Backend, sizes: Sizes, name: str) -> Fitting:
        return tried_fitting(backend, sizes, self.study, lambda text: self.console.log(f"{name}: {text}"))

    def _training(self, trainer: Trainer, described: dict[str, Any] | None, classes: int) -> NetworkTraining:
        """Ask a trainer that can say; NaN for one that cannot."""
        trial = getattr(trainer, "trial", None)
        if trial is None:
            return NetworkTraining(math.nan)
        return self.kept(NetworkTraining, ["train", described, classes], lambda: _told(trial(classes)))

    def kept(self, kind: type[_Found], key: list[Any], measure: Callable[[], _Found]) -> _Found:
        """Return an earlier result from this machine, or measure."""
        path = cache_dir() / "plans" / f"{fingerprint([self._here, key])}.json"
        if path in self._found:
            return cast(_Found, self._found[path])
        if not self.again:
            try:
                found = kind(**load_json(path)["found"])
                used(path)
                return found
            except (OSError, ValueError, KeyError, TypeError):
                pass  # missing or damaged: measure
        with Undisturbed() as watch:
            found = self._found[path] = measure()
        self.waits.append(watch.waited)
        kept = asdict(cast(Any, found))
        if not any(isinstance(value, float) and math.isnan(value) for value in kept.values()):  # else, try again
            write_json(path, {"machine": machine(), "key": key, "waited": watch.waited, "found": kept})
        return found

    def extracted(self, extractor: FeatureExtractor) -> Extraction:
        if isinstance(extractor, EmbeddingExtractor):
            return Extraction(0.0, 0.0, 0.0)
        key = ["extract", extractor.describe(), self.study.dataset.name]
        return self.kept(Extraction, key, lambda: self._extraction(extractor))

    def _extraction(self, extractor: FeatureExtractor) -> Extraction:
        """Compute features of some of the photos, as a run does, until that takes a second."""
        rng = np.random.default_rng(0)
        images = self.catalogue.images
        order = rng.permutation(len(images))
        if photos := getattr(extractor, "calibration", 0):  # on any photos: what matters here is time
            decoding = Decoding(extractor.pixels, view_for(extractor, self.study.images.view), self.workers)
            calibrating: Any = extractor
            extractor = calibrating.calibrated(drawn_photos(images, order, photos, decoding, 0))
        with PeakMemory().watch() as memory:
            with Undisturbed() as first:
                few = min(extractor.batch, 64)  # enough for processes and networks to start
                extractor.extract(np.zeros((few, extractor.pixels, extractor.pixels, 3), np.uint8))
            # where those take long, a batch would take longer than a trial should
            affordable = max(few, int(few * LIMIT / max(first.wall, 1e-9)))
            count, taken = min(extractor.batch, len(order), affordable), 0.0
            while True:
                chosen, digests = some_digests(self.catalogue, count)
                with tempfile.TemporaryDirectory() as folder:
                    store = FeatureStore(extractor, self.study.images, Console(quiet=True), self.workers, Path(folder))
                    with Undisturbed() as watch:
                        store.features(self.catalogue, chosen, digests)
                    taken = watch.seconds
                if taken >= _ENOUGH or count == len(order):
                    break
                count = min(2 * count, len(order))
        return Extraction(first.seconds, taken / count, memory.mib)


def some_digests(catalogue: Catalogue, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw some photos of a catalogue, and hash them.

    Parameters
    ----------
    catalogue : Catalogue
    count : int

    Returns
    -------
    chosen : ndarray of int64, shape (at most count,)
        Ascending.
    digests : ndarray of V16, shape (images,)
        Zero for all others.
    """
    images = catalogue.images
    chosen = np.sort(np.random.default_rng(0).permutation(len(images))[:count])
    digests = np.zeros(len(images), DIGEST)
    digests[chosen] = np.frombuffer(b"".join(map(digest, images.read(chosen))), DIGEST)
    return chosen, digests


def _told(answer: dict[str, float]) -> NetworkTraining:
    epochs = answer.get("epochs", 1)
    seconds = float(answer["seconds_per_image"]) * epochs * answer.get("share", 1.0)
    return NetworkTraining(seconds, int(epochs), float(answer.get("memory_mib", 0.0)))
