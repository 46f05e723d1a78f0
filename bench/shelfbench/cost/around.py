"""What a run does besides its backends: opening the data, hashing, the split, near-duplicates, guards, the report."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from shelfbench.base.console import Console
from shelfbench.cost import memory
from shelfbench.cost.fitting import random_features
from shelfbench.cost.sizes import Sizes
from shelfbench.cost.timing import PeakMemory
from shelfbench.cost.trial import Trials, some_digests
from shelfbench.cost.undisturbed import Undisturbed
from shelfbench.data.catalogue import digest
from shelfbench.data.feature_store import FeatureStore
from shelfbench.data.fingerprint import Fingerprint
from shelfbench.data.images import ImageSettings
from shelfbench.data.near_duplicates import altered_pairs, near_pairs
from shelfbench.verdict.guard import LEARNED
from shelfbench.verdict.guard_choice import Photos, choose_guard

# Photos that are read and hashed in a trial, and those whose fingerprints are compared.
_READ, _COMPARED = 2048, 4096
# Features that a guard learns from, at most, as in `shelfbench.runs.guarding`.
_GUARDED = 1 << 27
# Seconds of the report on the machine of our records (results/scale/plan.csv): once, by backend, and by backend and
# thousand products of validation and test.
_REPORT, _PER_BACKEND, _PER_PRODUCTS = 5.0, 0.6, 0.02


@dataclass(frozen=True, kw_only=True)
class StageEstimate:
    """What a stage of a run that belongs to no backend will take.

    Attributes
    ----------
    name : str
    seconds : float
    memory_mib, disk_mib, read_mib : float
    first : bool
        Whether features can be computed only after it.
    """

    name: str
    seconds: float
    memory_mib: float = math.nan
    disk_mib: float = 0.0
    read_mib: float = 0.0
    first: bool = False


@dataclass(frozen=True, kw_only=True)
class Twinning:
    """Cost of near-duplicates.

    Attributes
    ----------
    per_image : float
        Seconds of a photo's fingerprint.
    seconds, count, power : float
        Seconds of comparing `count` photos, and the power of their number with which that grows.
    mib : float
        Peak memory.
    """

    per_image: float
    seconds: float
    count: int
    power: float
    mib: float

    def of(self, images: int, new: int) -> float:
        """Seconds for a number of images, of which some need their fingerprints."""
        return float(self.per_image * new + self.seconds * (images / self.count) ** self.power)


@dataclass(frozen=True)
class Once:
    """Seconds of something."""

    seconds: float


@dataclass(frozen=True, kw_only=True)
class Around:
    """What the stages around the backends cost.

    Attributes
    ----------
    drawing : float
        Seconds per image of drawing a generated catalogue that is not there yet; otherwise 0.
    opening, splitting : float
        Seconds per product.
    hashing : float
        Seconds per image; 0 if the hashes of all images are kept already.
    twins : Twinning or None
        None if near-duplicates are not sought.
    guard : float
        Seconds of one guard.
    base : float
        MiB of the process before it reads anything.
    """

    drawing: float = 0.0
    opening: float = 0.0
    splitting: float = 0.0
    hashing: float = 0.0
    twins: Twinning | None = None
    guard: float = 0.0
    base: float = 0.0

    def stages(self, sizes: Sizes, *, groups: int, backends: int, seeks: bool, there: int = 0) -> list[StageEstimate]:
        """Estimate the stages of a run.

        Parameters
        ----------
        sizes : Sizes
        groups : int
            Kinds of features, each of which has a guard.
        backends : int
        seeks : bool
            Whether near-duplicates are sought among so many images.
        there : int
            Images whose fingerprints are there already.

        Returns
        -------
        list of StageEstimate
        """
        columns = self.base + memory.columns(sizes)
        found = []
        photos = memory.photos(sizes.images, sizes)
        if self.drawing:
            found.append(
                StageEstimate(
                    name="draw the catalogue", seconds=self.drawing * sizes.images, disk_mib=photos, first=True
                )
            )
        found.append(
            StageEstimate(
                name="open, split",
                seconds=(self.opening + self.splitting) * sizes.rows,
                memory_mib=columns,
                disk_mib=sizes.images * 40 / memory.MIB,
                first=True,
            )
        )
        if self.hashing:
            found.append(
                StageEstimate(
                    name="hash the photos",
                    seconds=self.hashing * sizes.images,
                    memory_mib=columns,
                    disk_mib=sizes.images * 16 / memory.MIB,
                    read_mib=photos,
                    first=True,
                )
            )
        if seeks and self.twins is not None:
            new = max(0, sizes.images - there)
            prints = memory.fingerprints(sizes.images)
            found.append(
                StageEstimate(
                    name="near-duplicates",
                    seconds=self.twins.of(sizes.images, new),
                    memory_mib=self.twins.mib + 2 * prints,
                    disk_mib=memory.fingerprints(new),
                    read_mib=memory.photos(new, sizes),
                )
            )
        if groups:
            found.append(StageEstimate(name="guards", seconds=self.guard * groups, memory_mib=self.base + memory.GUARD))
        if backends:
            work = backends * (_PER_BACKEND + _PER_PRODUCTS * sizes.held_rows / 1000)
            found.append(
                StageEstimate(
                    name="report",
                    seconds=_REPORT + work,
                    memory_mib=self.base + memory.reporting(sizes),
                    disk_mib=memory.report(sizes),
                )
            )
        return found


def tried_around(trials: Trials, sizes: Sizes, dimensions: Sequence[int], *, seeks: bool, hashed: bool) -> Around:
    """Try what a run does besides its backends on some of the photos.

    Parameters
    ----------
    trials : Trials
    sizes : Sizes
    dimensions : sequence of int
        Of every kind of features.
    seeks : bool
        Whether near-duplicates are sought.
    hashed : bool
        Whether the hashes of all images are kept already.

    Returns
    -------
    Around
        Without `opening`, `splitting` and `drawing`, which only who opens the data can time.
    """
    name = trials.study.dataset.name
    reading = 0.0 if hashed else trials.kept(Once, ["hash", name], partial(_hashing, trials)).seconds
    held = max(0.01, sizes.held_out / max(1, sizes.images))
    twins = trials.kept(Twinning, ["twins", name], partial(_twinning, trials, held)) if seeks else None
    guards = [
        trials.kept(Once, ["guard", width, sizes.classes], partial(_guarding, trials, width, sizes)).seconds
        for width in dict.fromkeys(dimensions)
    ]
    return Around(hashing=reading, twins=twins, guard=float(np.mean(guards)) if guards else 0.0, base=trials.base)


def _hashing(trials: Trials) -> Once:
    images = trials.catalogue.images
    count = min(_READ, len(images))
    with Undisturbed() as watch:
        for data in images.read(np.arange(count)):
            digest(data)
    return Once(watch.seconds / count)


def _twinning(trials: Trials, held: float) -> Twinning:
    """Make fingerprints of some photos, and compare a quarter of them, then all."""
    catalogue = trials.catalogue
    chosen, digests = some_digests(catalogue, _COMPARED)
    trials.console.log(f"near-duplicates: tries {len(chosen):,} photos")
    with tempfile.TemporaryDirectory() as folder, PeakMemory().watch() as peak:
        quiet = Console(quiet=True)
        store = FeatureStore(Fingerprint(), ImageSettings(fit="stretch"), quiet, trials.workers, Path(folder))
        with Undisturbed() as making:
            prints = store.features(catalogue, chosen, digests).matrix
        counts, seconds = (max(2, len(prints) // 4), len(prints)), []
        for count in counts:
            queries = np.arange(0, count, max(1, round(1 / held)))
            with Undisturbed() as comparing:
                near_pairs(prints[:count], queries)
                altered_pairs(prints[:count], queries, trials.workers)
            seconds.append(comparing.seconds)
    power = math.log(seconds[1] / seconds[0]) / math.log(counts[1] / counts[0]) if counts[1] > 64 else 1.0
    return Twinning(
        per_image=making.seconds / len(chosen),
        seconds=seconds[1],
        count=counts[1],
        # cells are probed in proportion to the root of the number of photos; few photos hide that
        power=min(max(power, 1.0), 1.5),
        mib=peak.mib,
    )


def _guarding(trials: Trials, width: int, sizes: Sizes) -> Once:
    count = max(64, min(sizes.train, LEARNED, _GUARDED // width))
    trials.console.log(f"guards: tries {count:,} features of {width:,} numbers")
    learned, labels = random_features(count, width, sizes.classes)
    judges = max(1, min(sizes.tune, count // 2))
    part = Photos(learned[:judges], labels[:judges], np.arange(judges))
    with Undisturbed() as watch:
        choose_guard(Photos(learned, labels, np.arange(count)), part, 0)
    return Once(watch.seconds)
