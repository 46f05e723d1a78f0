"""What a backend is; `shelfbench.plugins.finding` says how one is found.

A backend is features × classifier: HOG × linear SVM, bottleneck × 2NN, and so on. A package offers one through an entry
point of the group ``shelfbench.backends``, whose object is a `BackendSpec`::

    # pyproject.toml
    [project.entry-points."shelfbench.backends"]
    mean-colour = "mypackage.mean_colour:mean_colour"

`shelfbench.plugins.template` is a whole backend in one short file, to copy. `shelfbench.plugins.conformance` has the
checks that every backend must pass: run them in your own tests.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from shelfbench.base.console import Console
from shelfbench.data.catalogue import ImageBytes
from shelfbench.data.extractor import FeatureExtractor

if TYPE_CHECKING:
    import pandas as pd

# In the metadata of a setting's field: the value that stands for what was done before the setting existed.
EARLIER = "earlier"


@dataclass(frozen=True, kw_only=True)
class TrainingData:
    """The data that a classifier is fitted on.

    Attributes
    ----------
    features : ndarray of float32, shape (n, d)
        Read-only. Many features stay on disk: this is then a view of a memory map, of which a slice costs nothing and
        takes no memory, or `shelfbench.data.rows.Rows`, of which a slice is an array. A classifier that takes slices or
        a few rows at a time learns from any number of images; NumPy's functions read all of it.
    labels : ndarray of int64, shape (n,)
        The category of each image, as a code from 0 to classes - 1.
    classes : int
        Number of categories (at least 1); a code may be absent from `labels`.
    tune_features, tune_labels : ndarray
        The same for `tune`, the half of validation on which choices are made; the label -1 marks a category that train
        lacks. May be empty.
    """

    features: np.ndarray
    labels: np.ndarray
    classes: int
    tune_features: np.ndarray
    tune_labels: np.ndarray


class Classifier(Protocol):
    """Turns features into probabilities of categories.

    Attributes
    ----------
    chosen : dict
        The choices made on `tune`, as JSON: C, temperature, the best epoch ...
    history : DataFrame or None
        One row per epoch if it is fitted in epochs, with the columns of ``history/BACKEND.parquet``: epoch, step,
        loss, accuracy, val_loss, val_accuracy, lr, seconds.
    framework : str
        The library that computes, for the record (``numpy``, ``tensorflow``).
    device : str
        Where it computes, for the record: ``cpu`` or the accelerator's name; empty until it is fitted.
    batch : int
        Images per update; 0 if all are used at once.
    grows : bool, optional
        Whether it keeps every training image and compares each image with all of them, so that both its size and what
        an image takes grow with their number.
    """

    framework: str
    device: str
    batch: int
    chosen: dict[str, Any]
    history: pd.DataFrame | None

    def fit(self, data: TrainingData, *, seed: int, console: Console) -> None:
        """Fit the classifier; the same data and seed produce the same classifier."""

    def log_probabilities(self, features: np.ndarray) -> np.ndarray:
        """Score images: log-probabilities, float64, shape (n, classes); the probabilities of a row sum to 1.

        A backend fails if its scores contain NaN, rule out every category of an image (all -inf), or are not
        normalised.
        """

    def save(self, folder: Path) -> None:
        """Write ``weights.safetensors`` and ``classifier.json`` into an existing folder.

        An estimator of scikit-learn writes ``classifier.skops`` in place of the first.
        """


@dataclass(frozen=True, kw_only=True)
class TrainingImages:
    """The data that a network is trained on: images, not features.

    Attributes
    ----------
    images : ImageBytes
        Encoded images of the catalogue.
    fit : str
        How a photo becomes a square (``images.fit`` of the study).
    train, tune : ndarray of int64, shape (n,), (m,)
        Positions in `images` of those to train on, and of those on which choices are made.
    train_labels, tune_labels : ndarray of int64
        Codes from 0 to classes - 1; in `tune`, -1 marks a category that train lacks.
    train_products : ndarray of int64, shape (n,)
        Product of each training image, for samples that keep products whole.
    classes : int
    identity : str
        Hash of all of this: content of the images, labels, order.
    workers : int
        Threads that decode.
    """

    images: ImageBytes
    fit: str
    train: np.ndarray
    train_labels: np.ndarray
    train_products: np.ndarray
    tune: np.ndarray
    tune_labels: np.ndarray
    classes: int
    identity: str
    workers: int


@dataclass(frozen=True, kw_only=True)
class TrainedNetwork:
    """A network that has been trained.

    Attributes
    ----------
    features : FeatureExtractor
        The trained network up to its pooled features.
    classifier : callable or None
        Returns the network's own head as a `Classifier` that is already fitted; None if the backend's classifier is to
        be fitted on the features.
    history : DataFrame
        The columns of ``history/BACKEND.parquet``, and ``data_wait``: seconds of an epoch that the device waited for
        images.
    chosen : dict
        The choices made on `tune`, and what was trained, as JSON.
    images, batch : int
        Images per epoch, and per update.
    device, framework, precision : str
    seconds : float
        Duration of the training when it was done.
    cached : bool
        Whether it was done in an earlier run, or for an earlier backend of this one.
    save : callable
        Writes the network into an existing folder.
    """

    features: FeatureExtractor
    classifier: Callable[[], Classifier] | None
    history: pd.DataFrame
    chosen: dict[str, Any]
    images: int
    batch: int
    device: str
    framework: str
    precision: str
    seconds: float
    cached: bool
    save: Callable[[Path], None]


class Trainer(Protocol):
    """Trains a network on images before features are taken from it: fine-tuning (C, §4.3), or end to end.

    It may have a method ``check_memory(data, *, seed)`` too, which raises `InputError` if the training would not fit
    into the memory that is free; a run calls it before it starts. With ``train_together(data, *, seed, console, last)``
    it trains with the other processes of `shelfbench.base.processes`, so that `train` then finds the network.
    """

    def describe(self) -> dict[str, Any]:
        """Return everything that decides the result apart from data and seed, as JSON.

        Backends with equal descriptions share one training.
        """

    def train(self, data: TrainingImages, *, seed: int, console: Console) -> TrainedNetwork:
        """Train the network, resume an interrupted training, or return a finished one."""


@dataclass(frozen=True)
class BackboneChoice:
    """The study's backbone: the root keys ``backbone``, ``weights`` and ``pixels`` of a study.

    Attributes
    ----------
    name, weights : str
    pixels : int or None
        Side of the images. None (``pixels = "auto"``) is the size that the network was made for; a run that has opened
        its photos then builds the backend again, with the size that suits them.
    """

    name: str = "efficientnet_lite0"
    weights: str = "imagenet"
    pixels: int | None = None


@dataclass(frozen=True, kw_only=True)
class Backend:
    """A feature extractor and the classifier on its features.

    Attributes
    ----------
    features : FeatureExtractor
    classifier : callable
        Returns a fresh, unfitted classifier.
    load : callable
        Returns the classifier that `Classifier.save` wrote into a folder, reads nothing else, and refuses a folder that
        was tampered with (`InputError`).
    settings : dict
        The settings it was built from, for the record, as JSON.
    trainer : Trainer or None
        Trains the network first; `features` is then the network before its training.
    save_features : callable or None
        Writes the files that `features` needs on another machine, ``network.json`` and ``network.safetensors`` (or
        ``network.onnx``), into an existing folder; None if the settings are enough (`hog-svm`).
    load_features : callable or None
        Returns the extractor that `save_features`, or `TrainedNetwork.save`, wrote into a folder; as careful as `load`.
        If it is given, neither it nor `load` may depend on the settings that the backend was built from.
    export_onnx : callable or None
        ``export_onnx(features, classifier, path)`` writes both as one ONNX graph, from the input ``pixels`` (uint8,
        shape (n, pixels, pixels, 3)) to the output ``log_probabilities`` (float32, shape (n, classes)); None if there
        is no network.
    """

    features: FeatureExtractor
    classifier: Callable[[], Classifier]
    load: Callable[[Path], Classifier]
    settings: dict[str, Any] = field(default_factory=dict)
    trainer: Trainer | None = None
    save_features: Callable[[Path], None] | None = None
    load_features: Callable[[Path], FeatureExtractor] | None = None
    export_onnx: Callable[[FeatureExtractor, Classifier, Path], None] | None = None


@dataclass(frozen=True, kw_only=True)
class BackendSpec:
    """The object of an entry point of the group ``shelfbench.backends``.

    Attributes
    ----------
    summary : str
        One line for ``shelfbench backends``.
    build : callable
        ``build(settings, backbone, workers)`` returns the `Backend`; `settings` maps each name of `sections` to an
        instance of its dataclass. Heavy imports belong inside.
    sections : mapping of str to type
        Sections of a study that it reads, each a frozen dataclass with defaults. A key that the dataclass lacks is
        refused; its ``__post_init__`` raises `InputError` for a bad value.
    columns : mapping of str to str
        Its name in Table 4 of the paper: ``Feature``, ``Classifier``, ``Fine-tuning``.
    uses_backbone : bool
        Whether it sits on the study's backbone, so that ``NAME@BACKBONE`` makes sense. Such a backend is built without
        ``pixels`` first, and its extractor then tells the size that the network was made for.
    head : HeadSettings or None
        The section ``[heads.NAME]`` that its classifier comes from, if a study defines it.
    check : callable or None
        Raises `shelfbench.base.errors.NotInstalled` if a package is missing that it needs with any settings, without
        importing that package; ``shelfbench backends`` then says so. `build` has to raise it, too.
    """

    summary: str
    build: Callable[[Mapping[str, Any], BackboneChoice, int], Backend]
    sections: Mapping[str, type] = field(default_factory=dict)
    columns: Mapping[str, str] = field(default_factory=dict)
    uses_backbone: bool = False
    head: HeadSettings | None = None
    check: Callable[[], None] | None = None


@dataclass(frozen=True, kw_only=True)
class FeatureParts:
    """The part of a `Backend` that turns photos into features; the attributes are those of `Backend`.

    Attributes
    ----------
    features : FeatureExtractor
    settings : dict
    trainer : Trainer or None
    save_features, load_features, export_onnx : callable or None
    """

    features: FeatureExtractor
    settings: dict[str, Any] = field(default_factory=dict)
    trainer: Trainer | None = None
    save_features: Callable[[Path], None] | None = None
    load_features: Callable[[Path], FeatureExtractor] | None = None
    export_onnx: Callable[[FeatureExtractor, Classifier, Path], None] | None = None


@dataclass(frozen=True, kw_only=True)
class FeaturesSpec:
    """The object of an entry point of the group ``shelfbench.features``: features for any head.

    With the entry point ``hog``, the section ``[heads.knn]`` of a study makes the backend ``hog-knn``, and so does a
    `shelfbench.plugins.heads.HeadSpec` of that name.

    Attributes
    ----------
    summary : str
        One line: ``histograms of oriented gradients``.
    build : callable
        ``build(settings, backbone, workers)`` returns the `FeatureParts`.
    sections, columns, uses_backbone, check
        As in `BackendSpec`; the columns are ``Feature`` and ``Fine-tuning``.
    """

    summary: str
    build: Callable[[Mapping[str, Any], BackboneChoice, int], FeatureParts]
    sections: Mapping[str, type] = field(default_factory=dict)
    columns: Mapping[str, str] = field(default_factory=dict)
    uses_backbone: bool = False
    check: Callable[[], None] | None = None


@dataclass(frozen=True, kw_only=True)
class HeadSettings:
    """A section ``[heads.NAME]`` of a study: a scikit-learn estimator as the classifier of backends.

    Attributes
    ----------
    estimator : str or tuple of str
        Its import path, such as ``sklearn.neighbors.KNeighborsClassifier``, or those of the steps of a pipeline.
    parameters : dict
        Keyword arguments; those of a pipeline's steps by name, as ``sklearn.pipeline.make_pipeline`` names them:
        ``logisticregression__C``. The text ``None`` stands for None.
    grid : dict
        Lists of values of further parameters, from which the best on `tune` are chosen.
    """

    estimator: str | tuple[str, ...]
    parameters: dict[str, Any] = field(default_factory=dict)
    grid: dict[str, Any] = field(default_factory=dict)


def as_record(settings: Any) -> dict[str, Any]:
    """Return a section's settings as JSON, without those that are what they were before they existed.

    So a setting that is added changes neither the record nor the hash of a run that does not use it.

    Parameters
    ----------
    settings : dataclass instance

    Returns
    -------
    dict
    """
    unchanged = {
        item.name
        for item in fields(settings)
        if EARLIER in item.metadata and item.metadata[EARLIER] == getattr(settings, item.name)
    }
    return {name: value for name, value in asdict(settings).items() if name not in unchanged}
