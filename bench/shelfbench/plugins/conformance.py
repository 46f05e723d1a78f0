"""What every backend must pass; run it on your own.

In the tests of a package that brings a backend::

    import pytest
    from shelfbench.plugins.backend import BackboneChoice
    from shelfbench.plugins.conformance import CHECKS
    from mypackage import my_spec, MySettings

    def build():
        return my_spec.build({"mine": MySettings()}, BackboneChoice(), workers=1)

    @pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
    def test_conformance(check):
        check(build)

Each check takes a function that gives a freshly built `Backend` and raises `ConformanceError` where it falls short.
"""

from __future__ import annotations

import json
import pickle
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from shelfbench.base.console import Console
from shelfbench.plugins.backend import Backend, Classifier, TrainingData

Build = Callable[[], Backend]
HISTORY = ["epoch", "step", "loss", "accuracy", "val_loss", "val_accuracy", "lr", "seconds"]


class ConformanceError(AssertionError):
    """A backend does not keep its promise."""


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ConformanceError(message)


def _images(pixels: int, count: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (count, 8, 8, 3), dtype=np.uint8)
    times = -(-pixels // 8)
    return np.ascontiguousarray(small.repeat(times, axis=1).repeat(times, axis=2)[:, :pixels, :pixels])


def _data(classes: int = 3, per_class: int = 30, dimensions: int = 24, seed: int = 0) -> TrainingData:
    """Well separated clusters, so that any sound classifier learns them."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(classes, dimensions)) * 3
    labels = np.tile(np.arange(classes), per_class)
    features = (centres[labels] + rng.normal(size=(len(labels), dimensions))).astype(np.float32)
    tune = np.tile(np.arange(classes), 6)
    return TrainingData(
        features, labels, classes, (centres[tune] + rng.normal(size=(len(tune), dimensions))).astype(np.float32), tune
    )


def _fitted(build: Build, data: TrainingData, seed: int = 0) -> Classifier:
    classifier = build().classifier()
    classifier.fit(data, seed=seed, console=Console(quiet=True))
    return classifier


def _check_scores(scores: np.ndarray, rows: int, classes: int) -> None:
    _require(scores.shape == (rows, classes), f"log_probabilities has shape {scores.shape}, not {(rows, classes)}")
    _require(scores.dtype == np.float64, f"log_probabilities is {scores.dtype}, not float64")
    _require(not np.isnan(scores).any(), "log_probabilities holds NaN")
    total = np.logaddexp.reduce(scores, axis=1) if rows else np.zeros(0)
    _require(bool(np.all(np.abs(total) < 1e-6)), "the probabilities of a row do not sum to 1")


def features_have_the_promised_shape(build: Build) -> None:
    """Any number of images, none included, gives float32 (n, dimensions), all finite."""
    extractor = build().features
    for count in (0, 1, 3):
        values = extractor.extract(_images(extractor.pixels, count))
        _require(values.shape == (count, extractor.dimensions), f"{count} images give features of shape {values.shape}")
        _require(values.dtype == np.float32, f"features are {values.dtype}, not float32")
        _require(bool(np.isfinite(values).all()), "features are not finite")


def features_do_not_depend_on_the_batch(build: Build) -> None:
    """An image has the same features alone and among others, and its input is left as it was."""
    extractor = build().features
    images = _images(extractor.pixels, 5)
    before = images.copy()
    together = extractor.extract(images)
    alone = np.concatenate([extractor.extract(images[i : i + 1]) for i in range(5)])
    _require(bool(np.array_equal(images, before)), "extract changes its input")
    _require(bool(np.allclose(together, alone, rtol=1e-4, atol=1e-4)), "features depend on the batch")


def features_are_described(build: Build) -> None:
    """`describe` is JSON and the same for two extractors of the same settings."""
    first, second = build().features.describe(), build().features.describe()
    _require(
        json.loads(json.dumps(first)) == json.loads(json.dumps(second)), "describe differs between two equal extractors"
    )


def an_extractor_can_be_pickled_for_workers(build: Build) -> None:
    """An extractor that was not used yet survives pickling and gives the same features."""
    extractor = build().features
    copy = pickle.loads(pickle.dumps(extractor))
    images = _images(extractor.pixels, 2)
    _require(
        bool(np.allclose(extractor.extract(images), copy.extract(images), rtol=1e-4, atol=1e-4)),
        "features change by pickling the extractor",
    )


def scores_are_log_probabilities(build: Build) -> None:
    """Scores have a column a category, are float64, finite and sum to 1; no row at all gives an empty table."""
    data = _data()
    classifier = _fitted(build, data)
    _check_scores(classifier.log_probabilities(data.features[:7]), 7, 3)
    _check_scores(classifier.log_probabilities(data.features[:0]), 0, 3)


def columns_follow_the_codes(build: Build) -> None:
    """Easy data are learnt, and renumbering the categories renumbers the columns."""
    data = _data()
    order = np.array([2, 0, 1])
    for labels, tune in ((data.labels, data.tune_labels), (order[data.labels], order[data.tune_labels])):
        classifier = _fitted(build, TrainingData(data.features, labels, 3, data.tune_features, tune))
        right = float((classifier.log_probabilities(data.features).argmax(axis=1) == labels).mean())
        _require(right > 0.9, f"only {right:.2f} of well separated training images are put into their category")


def a_seed_decides_everything(build: Build) -> None:
    """The same data and seed give the same scores."""
    data = _data()
    first = _fitted(build, data, seed=3).log_probabilities(data.tune_features)
    second = _fitted(build, data, seed=3).log_probabilities(data.tune_features)
    _require(bool(np.array_equal(first, second)), "two fits with the same data and seed differ")


def one_image_is_enough(build: Build) -> None:
    """One training image of one of two categories can be learnt from."""
    data = _data(classes=2)
    empty = data.features[:0]
    classifier = _fitted(build, TrainingData(data.features[:1], data.labels[:1], 2, empty, data.labels[:0]))
    _check_scores(classifier.log_probabilities(data.features[:4]), 4, 2)


def one_category_is_certain(build: Build) -> None:
    """With a single category its probability is 1."""
    data = _data(classes=1)
    scores = _fitted(build, data).log_probabilities(data.features[:4])
    _check_scores(scores, 4, 1)


def a_category_may_lack_images(build: Build) -> None:
    """A category without a training image (all unreadable) keeps its column and does not spoil the others."""
    data = _data(classes=4)
    there = data.labels != 1
    classifier = _fitted(
        build, TrainingData(data.features[there], data.labels[there], 4, data.tune_features, data.tune_labels)
    )
    scores = classifier.log_probabilities(data.features[there])
    _check_scores(scores, int(there.sum()), 4)
    right = float((scores.argmax(axis=1) == data.labels[there]).mean())
    _require(right > 0.9, f"a category without images leaves only {right:.2f} of the others right")


def tune_may_be_empty_or_unknown(build: Build) -> None:
    """Validation may be empty, or hold only categories that training lacks (-1)."""
    data = _data()
    for features, labels in (
        (data.tune_features[:0], data.tune_labels[:0]),
        (data.tune_features, np.full(len(data.tune_labels), -1)),
    ):
        classifier = _fitted(build, TrainingData(data.features, data.labels, 3, features, labels))
        _check_scores(classifier.log_probabilities(data.features), len(data.features), 3)


def a_saved_model_predicts_the_same(build: Build) -> None:
    """Saving and loading changes no score, and the files are JSON and safetensors alone."""
    data = _data()
    classifier = _fitted(build, data)
    with tempfile.TemporaryDirectory() as folder:
        classifier.save(Path(folder))
        names = sorted(path.name for path in Path(folder).iterdir())
        _require(names == ["classifier.json", "weights.safetensors"], f"save wrote {names}")
        loaded = build().load(Path(folder))
        _require(
            bool(np.array_equal(classifier.log_probabilities(data.features), loaded.log_probabilities(data.features))),
            "a loaded model gives other scores",
        )


def saved_features_are_the_same(build: Build) -> None:
    """Where features can be saved, they are loaded from JSON and safetensors alone, and compute the same."""
    backend = build()
    if backend.save_features is None:
        return
    images = _images(backend.features.pixels, 3)
    with tempfile.TemporaryDirectory() as folder:
        backend.save_features(Path(folder))
        names = sorted(path.name for path in Path(folder).iterdir())
        _require(names == ["network.json", "network.safetensors"], f"save_features wrote {names}")
        _require(backend.load_features is not None, "there is no load_features beside save_features")
        assert backend.load_features is not None
        loaded = backend.load_features(Path(folder))
        same = bool(np.array_equal(backend.features.extract(images), loaded.extract(images)))
    sizes = [(extractor.pixels, extractor.dimensions) for extractor in (backend.features, loaded)]
    _require(same and sizes[0] == sizes[1], "loaded features are others")


def what_was_chosen_is_on_record(build: Build) -> None:
    """`chosen` is JSON; a history has the columns of ``history/BACKEND.parquet``; framework and batch are told."""
    backend = build()
    classifier = _fitted(build, _data())
    json.dumps(classifier.chosen, allow_nan=False)
    json.dumps(backend.settings, allow_nan=False)
    _require(bool(backend.features.framework) and bool(classifier.framework), "framework is empty")
    _require(isinstance(classifier.batch, int), "batch is no whole number")
    if classifier.history is not None:
        _require(
            list(classifier.history.columns) == HISTORY, f"history has the columns {list(classifier.history.columns)}"
        )


CHECKS: tuple[Callable[[Build], None], ...] = (
    features_have_the_promised_shape,
    features_do_not_depend_on_the_batch,
    features_are_described,
    an_extractor_can_be_pickled_for_workers,
    scores_are_log_probabilities,
    columns_follow_the_codes,
    a_seed_decides_everything,
    one_image_is_enough,
    one_category_is_certain,
    a_category_may_lack_images,
    tune_may_be_empty_or_unknown,
    a_saved_model_predicts_the_same,
    saved_features_are_the_same,
    what_was_chosen_is_on_record,
)
