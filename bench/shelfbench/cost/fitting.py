"""Short trials of classifiers: fits of random features of growing numbers of images, within a limit of time.

A classifier is given random features of the right length and number of categories, in two sizes, between which its cost
is assumed to grow linearly with the number of images.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from shelfbench.base.console import EVERY, Console
from shelfbench.base.grid import duration
from shelfbench.cost.products import product_rate
from shelfbench.cost.scoring import choosing, chosen_on, predicting
from shelfbench.cost.sizes import Sizes
from shelfbench.cost.timing import PeakMemory
from shelfbench.cost.undisturbed import Undisturbed
from shelfbench.plugins.backend import Backend, Classifier, TrainingData
from shelfbench.study.model import Study

LIMIT = 60.0
"""Seconds that the fits of one backend's trial may take: none is begun that is predicted to exceed them.

A first fit that starts a library is made twice and counts once; it may take as long again.
"""
# What is fitted first, in images and categories, to predict what more of them take: at least eight images of each
# category, which is what estimators ask for that cross-validate.
_PROBES = ((32, 4), (256, 4), (256, 32))
# A classifier is then fitted on so many images, and on this many times more: its time grows evenly only once there are
# more images than a batch, and more than features. It is enough once a fit takes as long as this.
_FIRST, _MORE, _LEAST, _ENOUGH, _LONG = 512, 4, 2048, 1.0, 4.0
# From fits of fewer images than `_FIRST`, nothing is said of more than so many times as many.
_FAR = 16
# Categories at most on which a classifier is tried that fits each of them by itself.
_SOME = 128
# Images that are scored in a trial, scores (images x categories) of it, and seconds that this may take. The first
# images show how many that are: nearest neighbours are quick to fit and slow to score.
_SCORED, _SCORES, _SCORING, _WARM = 4096, 1 << 23, 15.0, 64
_MIB = 2**20


@dataclass(frozen=True, kw_only=True)
class Fitting:
    """Cost of a classifier.

    Attributes
    ----------
    base, per_image : float
        Seconds of fitting: independent of the number of training images, and per training image.
    predict : float
        Seconds of one image's log-probabilities and its share of a product's prediction.
    mib, model_mib : float
        Peak memory, and the size of the saved model.
    rule : float
        Seconds per image of `tune` of choosing how photos are combined and the calibration.
    passes : float
        How often fitting reads the features.
    divides : bool
        Whether fitting can be divided among machines.
    rate : float
        Operations a second of a product of float32 matrices; 0 if the classifier does not count those that it needs.
    shortened : str
        What the trial was cut short to, in words, because more would have taken longer than `LIMIT`; empty if it was
        not.
    """

    base: float
    per_image: float
    predict: float
    mib: float
    model_mib: float
    rule: float = 0.0
    passes: float = 1.0
    divides: bool = False
    rate: float = 0.0
    shortened: str = ""

    def seconds(self, sizes: Sizes) -> float:
        """Seconds of fitting and choosing, for the numbers of images of a study."""
        return self.base + self.per_image * sizes.train + self.rule * chosen_on(sizes)


NO_FITTING = Fitting(base=0.0, per_image=0.0, predict=0.0, mib=0.0, model_mib=0.0)


def tried_fitting(backend: Backend, sizes: Sizes, study: Study, say: Callable[[str], None]) -> Fitting:
    """Fit a backend's classifier until that takes long enough to tell what all images take, or time is up.

    Parameters
    ----------
    backend : Backend
    sizes : Sizes
    study : Study
    say : callable
        Is told what comes next, if that takes a while.

    Returns
    -------
    Fitting
    """
    try:
        divides = bool(getattr(backend.classifier(), "divides", False))
    except RuntimeError:  # the head of a network trained end to end is part of it
        return NO_FITTING
    fits = _Fits(backend, sizes, say)
    with PeakMemory().watch() as memory:
        wanted = min(sizes.classes, _SOME) if divides else sizes.classes
        classes = fits.categories(wanted)
        points = fits.grow(classes)
    last = points[-1]
    cut = classes < wanted or not (last.images == sizes.train or _is_enough(points, backend.features.dimensions))
    more = sizes.classes / classes
    per_image = last.seconds / last.images
    if len(points) > 1 and last.seconds > points[-2].seconds:
        per_image = (last.seconds - points[-2].seconds) / (last.images - points[-2].images)
    measured = fits.by_categories(classes, sizes.classes)
    if not divides:
        more = measured or more
    if not (divides or measured) or (last.images < _FIRST and sizes.train > _FAR * last.images):
        per_image = math.nan
    classifier, features, labels = fits.held[classes]
    scored = features[: _scorable(classifier, features, max(_WARM, min(_SCORED, _SCORES // classes)))]
    classifier.log_probabilities(scored)
    with Undisturbed() as predict:
        scores = classifier.log_probabilities(scored)
    grown = sizes.train / last.images if getattr(classifier, "grows", False) else 1.0
    history = classifier.history
    return Fitting(
        base=max(0.0, last.seconds - per_image * last.images) * more,  # 0 for what is not known
        per_image=per_image * more,
        predict=(predict.seconds / len(scored) * grown + predicting(scores, sizes)) * more,
        mib=memory.mib,
        model_mib=_saved(classifier) * grown * more,
        rule=(predict.seconds / len(scored) * grown + choosing(scores, labels, study)) * more,
        passes=float(getattr(classifier, "passes", 1 if history is None else len(history))),
        divides=divides,
        rate=product_rate(backend.features.dimensions) if hasattr(classifier, "footprint") else 0.0,
        shortened=f"{last.images:,} images in {classes:,} categories" if cut else "",
    )


@dataclass(frozen=True)
class _Fit:
    """A fit: of how many images and categories, its seconds without what other programs took, and those that passed."""

    images: int
    classes: int
    seconds: float
    wall: float


class _Fits:
    """The fits of one trial; `held` has the last classifier for each number of categories, and what it was given."""

    def __init__(self, backend: Backend, sizes: Sizes, say: Callable[[str], None]) -> None:
        self._backend, self._sizes, self._say = backend, sizes, say
        self._made: list[_Fit] = []
        self._left = LIMIT
        self.held: dict[int, tuple[Classifier, np.ndarray, np.ndarray]] = {}

    def categories(self, wanted: int) -> int:
        """Find how many categories, up to a number, there is time to fit."""
        first = min(self._sizes.train, _FIRST)
        probes = [(min(images, first), min(classes, wanted)) for images, classes in _PROBES]
        if self._fit(*probes[0]).wall <= LIMIT and not self._room(first, wanted):
            # it may have taken so long because it started a library: once more, and it does not count
            self._made.clear()
            self._left = LIMIT
            self._fit(*probes[0])
        for probe in probes:
            last = self._made[-1]
            near = min(2 * last.images, probe[0]), min(2 * last.classes, probe[1])
            if self._predicted(*probe) > self._left >= self._predicted(*near):
                self._fit(*near)  # it may grow less than in proportion
            if self._predicted(*probe) > self._left:
                break
            self._fit(*probe)
            if self._room(first, wanted):
                self._fit(first, wanted)
                return wanted
        tried = sorted({fit.classes for fit in self._made}, reverse=True)
        return next((classes for classes in tried if self._room(first, classes)), tried[-1])

    def grow(self, classes: int) -> list[_Fit]:
        """Fit more and more images of some categories; return those fits, the first of the smallest that counts."""
        train = self._sizes.train
        points = [fit for fit in self._made if fit.classes == classes]
        if points[-1].images >= _FIRST:  # the probes before it have told what they were for
            points = points[-1:]
        while points[-1].images < train and not _is_enough(points, self._backend.features.dimensions):
            here, took = points[-1].images, points[-1].wall
            for step in (_MORE * here if here >= _FIRST else _FIRST, 2 * here):
                images = min(step, train)
                # few images hide what grows with their square
                if max(self._predicted(images, classes), took * (images / here) ** 2) <= self._left:
                    points.append(self._fit(images, classes))
                    break
            else:
                break
        return points

    def by_categories(self, classes: int, all_of_them: int) -> float:
        """How many times as long a fit of all categories takes as one of some; 0 if no two fits tell."""
        if classes < all_of_them and not self._pairs("classes"):
            return 0.0
        return self._growth("classes", classes, all_of_them, cautious=False)

    def _fit(self, images: int, classes: int) -> _Fit:
        if found := [fit for fit in self._made if (fit.images, fit.classes) == (images, classes)]:
            return found[0]
        if self._made and (expected := self._predicted(images, classes)) >= EVERY:
            self._say(f"fits {images:,} images in {classes:,} categories, about {duration(expected)}")
        self.held.pop(classes, None)
        features, labels = random_features(images, self._backend.features.dimensions, classes)
        few = math.ceil(images * self._sizes.tune / self._sizes.train)
        data = TrainingData(
            features=features,
            labels=labels,
            classes=classes,
            tune_features=features[:few],
            tune_labels=labels[:few],
        )
        classifier = self._backend.classifier()
        with Undisturbed() as watch:
            classifier.fit(data, seed=0, console=Console(quiet=True))
        self._made.append(_Fit(images, classes, watch.seconds, watch.wall))
        self._left -= watch.wall
        self.held[classes] = classifier, features, labels
        return self._made[-1]

    def _room(self, images: int, classes: int) -> bool:
        """Whether there is time for a fit, and for the next one, of as many times more images."""
        times = 1 + _MORE * (images < self._sizes.train)
        return times * self._predicted(images, classes) <= self._left

    def _predicted(self, images: int, classes: int) -> float:
        """Predict the seconds that a fit will take on this machine as it is."""
        last = self._made[-1]
        more = self._growth("images", last.images, images) * self._growth("classes", last.classes, classes)
        return last.wall * more

    def _pairs(self, along: str) -> list[tuple[_Fit, _Fit]]:
        """Return two fits each, one after the other, that differ in nothing else."""
        other = "classes" if along == "images" else "images"
        return [
            (before, after)
            for before, after in zip(self._made, self._made[1:], strict=False)
            if getattr(before, other) == getattr(after, other) and getattr(before, along) < getattr(after, along)
        ]

    def _growth(self, along: str, start: int, end: int, *, cautious: bool = True) -> float:
        """How many times as long a fit of `end` images or categories takes as one of `start`.

        From the last two fits that differ in nothing else: on the line through them or, to be cautious, on their power
        if that is steeper. Without two such fits, in proportion.
        """
        pairs = self._pairs(along)
        if not pairs:
            return end / start
        before, after = pairs[-1]
        (less, took), (more, took_more) = ((getattr(fit, along), fit.wall) for fit in (before, after))
        if took_more <= took:
            return 1.0
        slope = (took_more - took) / (more - less)
        # where the line has fallen to nothing, as little as the smaller of the two fits
        line = (took_more + slope * (end - more)) / max(took_more + slope * (start - more), took)
        power = math.pow(end / start, math.log(took_more / took) / math.log(more / less))
        return float(max(line, power) if cautious else line)


def _scorable(classifier: Classifier, features: np.ndarray, most: int) -> int:
    """Find how many images can be scored twice, up to a number, in the time that there is."""
    few = features[:_WARM]
    classifier.log_probabilities(few)
    with Undisturbed() as watch:
        classifier.log_probabilities(few)
    return min(most, max(_WARM, int(len(few) * _SCORING / (2 * watch.wall + 1e-9))))


def _is_enough(points: list[_Fit], dimensions: int) -> bool:
    """Tell whether the last fit took long enough, of enough images, to say what more of them take."""
    last = points[-1]
    return len(points) > 1 and (
        last.seconds >= 2 * _LONG
        or (last.seconds >= _ENOUGH and last.images >= _LEAST and (last.images >= dimensions or last.seconds >= _LONG))
    )


def random_features(count: int, dimensions: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw features of categories about as close to each other as real ones: most can be told apart, not all."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((classes, dimensions), np.float32) * np.float32(4 / math.sqrt(2 * dimensions))
    labels = np.arange(count) % classes
    return centres[labels] + rng.standard_normal((count, dimensions), np.float32), labels


def _saved(classifier: Classifier) -> float:
    with tempfile.TemporaryDirectory() as folder:
        classifier.save(Path(folder))
        return sum(path.stat().st_size for path in Path(folder).iterdir()) / _MIB
