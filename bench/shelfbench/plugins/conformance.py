"""The checks that every backend must pass: run them on yours.

In the tests of a package that offers a backend::

    import pytest
    from shelfbench.plugins.backend import BackboneChoice
    from shelfbench.plugins.conformance import CHECKS
    from mypackage.mean_colour import ColourSettings, mean_colour

    def build():  # small settings: every check builds a new backend, and most of them fit it
        return mean_colour.build({"mean_colour": ColourSettings()}, BackboneChoice(), 1)

    @pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
    def test_conformance(check):
        check(build)

Each check takes a function that returns a freshly built `Backend`, and raises `ConformanceError`, which says what is
wrong, if the backend falls short. For a head, `on_features` returns that function::

    def test_conformance(check):
        check(on_features(nearest_mean))
"""

from __future__ import annotations

import json
import pickle
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from shelfbench.base.console import Console
from shelfbench.plugins.backend import BackboneChoice, Backend, Classifier, FeatureParts, FeaturesSpec, TrainingData
from shelfbench.plugins.heads import HeadSpec, head_backend
from shelfbench.plugins.template import ColourSettings, MeanColours

Build = Callable[[], Backend]
HISTORY = ["epoch", "step", "loss", "accuracy", "val_loss", "val_accuracy", "lr", "seconds"]


class ConformanceError(AssertionError):
    """A backend that does not do what every backend must."""


def on_features(head: HeadSpec) -> Build:
    """Put a head on simple features, with its default settings, to be checked as a backend.

    Parameters
    ----------
    head : HeadSpec

    Returns
    -------
    callable
        Builds the `Backend`.
    """
    parts = FeatureParts(features=MeanColours(ColourSettings()))
    colours = FeaturesSpec(summary="mean colours", build=lambda settings, backbone, workers: parts)
    sections = {name: kind() for name, kind in head.sections.items()}
    return lambda: head_backend(colours, head).build(sections, BackboneChoice(), 1)


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ConformanceError(message)


def _images(pixels: int, count: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (count, 8, 8, 3), dtype=np.uint8)
    times = -(-pixels // 8)
    return np.ascontiguousarray(small.repeat(times, axis=1).repeat(times, axis=2)[:, :pixels, :pixels])


def _data(classes: int = 3, per_class: int = 30, dimensions: int = 24, seed: int = 0) -> TrainingData:
    """Make well separated clusters, which any sound classifier learns."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(classes, dimensions)) * 3
    labels = np.tile(np.arange(classes), per_class)
    features = (centres[labels] + rng.normal(size=(len(labels), dimensions))).astype(np.float32)
    tune = np.tile(np.arange(classes), 6)
    return TrainingData(
        features=features,
        labels=labels,
        classes=classes,
        tune_features=(centres[tune] + rng.normal(size=(len(tune), dimensions))).astype(np.float32),
        tune_labels=tune,
    )


def _fitted(build: Build, data: TrainingData, seed: int = 0) -> Classifier:
    classifier = build().classifier()
    classifier.fit(data, seed=seed, console=Console(quiet=True))
    return classifier


def _check_scores(scores: np.ndarray, rows: int, classes: int) -> None:
    _require(scores.shape == (rows, classes), f"log_probabilities has shape {scores.shape}, not {(rows, classes)}")
    _require(scores.dtype == np.float64, f"log_probabilities is {scores.dtype}, not float64")
    _require(not np.isnan(scores).any(), "log_probabilities contains NaN")
    total = np.logaddexp.reduce(scores, axis=1) if rows else np.zeros(0)
    _require(bool(np.all(np.abs(total) < 1e-6)), "the probabilities of a row do not sum to 1")


def features_have_the_promised_shape(build: Build) -> None:
    """Any number of images, even none, has finite features: float32, shape (n, dimensions)."""
    extractor = build().features
    for count in (0, 1, 3):
        values = extractor.extract(_images(extractor.pixels, count))
        _require(values.shape == (count, extractor.dimensions), f"{count} images have features of shape {values.shape}")
        _require(values.dtype == np.float32, f"features are {values.dtype}, not float32")
        _require(bool(np.isfinite(values).all()), "features are not finite")


def features_do_not_depend_on_the_batch(build: Build) -> None:
    """An image has the same features alone and among others, and `extract` does not change its input."""
    extractor = build().features
    images = _images(extractor.pixels, 5)
    before = images.copy()
    together = extractor.extract(images)
    alone = np.concatenate([extractor.extract(images[i : i + 1]) for i in range(5)])
    _require(bool(np.array_equal(images, before)), "extract changes its input")
    _require(bool(np.allclose(together, alone, rtol=1e-4, atol=1e-4)), "features depend on the batch")


def features_are_described(build: Build) -> None:
    """`describe` returns JSON, equal for two extractors with the same settings."""
    first, second = build().features.describe(), build().features.describe()
    _require(
        json.loads(json.dumps(first)) == json.loads(json.dumps(second)), "describe differs between two equal extractors"
    )


def an_extractor_can_be_pickled_for_workers(build: Build) -> None:
    """An extractor that has not been used yet can be pickled, and its copy computes the same features."""
    extractor = build().features
    copy = pickle.loads(pickle.dumps(extractor))
    images = _images(extractor.pixels, 2)
    _require(
        bool(np.allclose(extractor.extract(images), copy.extract(images), rtol=1e-4, atol=1e-4)),
        "a pickled extractor computes different features",
    )


def scores_are_log_probabilities(build: Build) -> None:
    """Scores are float64, one column per category, without NaN, and sum to 1; no images make an empty table."""
    data = _data()
    classifier = _fitted(build, data)
    _check_scores(classifier.log_probabilities(data.features[:7]), 7, 3)
    _check_scores(classifier.log_probabilities(data.features[:0]), 0, 3)


def columns_follow_the_codes(build: Build) -> None:
    """Easy data are learnt, and the columns follow the codes of the categories."""
    data = _data()
    order = np.array([2, 0, 1])
    for labels, tune in ((data.labels, data.tune_labels), (order[data.labels], order[data.tune_labels])):
        classifier = _fitted(build, replace(data, labels=labels, tune_labels=tune))
        right = float((classifier.log_probabilities(data.features).argmax(axis=1) == labels).mean())
        _require(right > 0.9, f"only {right:.2f} of well separated training images are classified correctly")


def a_seed_decides_everything(build: Build) -> None:
    """The same data and seed produce the same scores."""
    data = _data()
    first = _fitted(build, data, seed=3).log_probabilities(data.tune_features)
    second = _fitted(build, data, seed=3).log_probabilities(data.tune_features)
    _require(bool(np.array_equal(first, second)), "two fits with the same data and seed differ")


def one_image_is_enough(build: Build) -> None:
    """A single training image, of one of two categories, is enough to fit on."""
    data = _data(classes=2)
    one = replace(data, features=data.features[:1], labels=data.labels[:1])
    classifier = _fitted(build, replace(one, tune_features=data.features[:0], tune_labels=data.labels[:0]))
    _check_scores(classifier.log_probabilities(data.features[:4]), 4, 2)


def one_category_is_certain(build: Build) -> None:
    """A single category has probability 1."""
    data = _data(classes=1)
    scores = _fitted(build, data).log_probabilities(data.features[:4])
    _check_scores(scores, 4, 1)


def a_category_may_lack_images(build: Build) -> None:
    """A category without training images (none can be read) keeps its column and leaves the others right."""
    data = _data(classes=4)
    there = data.labels != 1
    classifier = _fitted(build, replace(data, features=data.features[there], labels=data.labels[there]))
    scores = classifier.log_probabilities(data.features[there])
    _check_scores(scores, int(there.sum()), 4)
    right = float((scores.argmax(axis=1) == data.labels[there]).mean())
    _require(right > 0.9, f"with a category without images, only {right:.2f} of the others are classified correctly")


def tune_may_be_empty_or_unknown(build: Build) -> None:
    """`tune` may be empty, or contain only categories that train lacks (-1)."""
    data = _data()
    for features, labels in (
        (data.tune_features[:0], data.tune_labels[:0]),
        (data.tune_features, np.full(len(data.tune_labels), -1)),
    ):
        classifier = _fitted(build, replace(data, tune_features=features, tune_labels=labels))
        _check_scores(classifier.log_probabilities(data.features), len(data.features), 3)


def a_saved_model_predicts_the_same(build: Build) -> None:
    """A saved and loaded model produces the same scores; its files are JSON and safetensors, or skops, only."""
    data = _data()
    classifier = _fitted(build, data)
    with tempfile.TemporaryDirectory() as folder:
        classifier.save(Path(folder))
        names = sorted(path.name for path in Path(folder).iterdir())
        _require(
            names in (["classifier.json", "weights.safetensors"], ["classifier.json", "classifier.skops"]),
            f"save wrote {names}",
        )
        loaded = build().load(Path(folder))
        _require(
            bool(np.array_equal(classifier.log_probabilities(data.features), loaded.log_probabilities(data.features))),
            "a loaded model produces different scores",
        )


def saved_features_are_the_same(build: Build) -> None:
    """An extractor that can be saved is loaded from two files without code, and computes the same features."""
    backend = build()
    if backend.save_features is None:
        return
    images = _images(backend.features.pixels, 3)
    with tempfile.TemporaryDirectory() as folder:
        backend.save_features(Path(folder))
        names = sorted(path.name for path in Path(folder).iterdir())
        kinds = [["network.json", "network.safetensors"], ["network.json", "network.onnx"]]
        _require(names in kinds, f"save_features wrote {names}")
        _require(backend.load_features is not None, "there is save_features but no load_features")
        assert backend.load_features is not None
        loaded = backend.load_features(Path(folder))
        same = bool(np.array_equal(backend.features.extract(images), loaded.extract(images)))
    sizes = [(extractor.pixels, extractor.dimensions) for extractor in (backend.features, loaded)]
    _require(same and sizes[0] == sizes[1], "a loaded extractor computes different features")


def what_was_chosen_is_on_record(build: Build) -> None:
    """`chosen` and `settings` are JSON; a history has the columns of ``history/BACKEND.parquet``."""
    backend = build()
    classifier = _fitted(build, _data())
    json.dumps(classifier.chosen, allow_nan=False)
    json.dumps(backend.settings, allow_nan=False)
    _require(bool(backend.features.framework) and bool(classifier.framework), "framework is empty")
    _require(isinstance(classifier.batch, int), "batch is not a whole number")
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
