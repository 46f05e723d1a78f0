"""Backends, built from their settings, and their training data."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np

from shelfbench.data.embedding_names import source_of
from shelfbench.data.embeddings import EmbeddingExtractor, EmbeddingFeatures
from shelfbench.data.extractor import FeatureExtractor
from shelfbench.data.feature_store import Features, FeatureStore
from shelfbench.data.material import Material
from shelfbench.data.rows import rows_of
from shelfbench.plugins.backend import (
    BackboneChoice,
    Backend,
    BackendSpec,
    TrainedNetwork,
    TrainingData,
    TrainingImages,
)
from shelfbench.plugins.finding import split_name
from shelfbench.runs.calibrating import calibrated
from shelfbench.runs.experiment import Experiment
from shelfbench.runs.photo_views import note_network, pixels_for


@dataclass(frozen=True, kw_only=True)
class BuiltBackend:
    """A backend of a run, built from its settings.

    Attributes
    ----------
    name : str
    spec : BackendSpec
    backend : Backend
    backbone : BackboneChoice
        The backbone that it was built with.
    store : FeatureStore or EmbeddingFeatures
        Features of the network before its training, if it is trained.
    trained : TrainedNetwork or None
        The network after it.
    calibrated : bool
        Whether its features were calibrated on photos of this run, so that its network is kept with its classifier.
    """

    name: str
    spec: BackendSpec
    backend: Backend
    backbone: BackboneChoice
    store: FeatureStore | EmbeddingFeatures
    trained: TrainedNetwork | None = None
    calibrated: bool = False

    @property
    def size_is_open(self) -> bool:
        """Whether the study leaves the size of its images to the photos."""
        fixed = getattr(self.backend.features, "fixed_size", False)
        return self.spec.uses_backbone and self.backbone.pixels is None and not fixed


def build_backend(name: str, sections: Mapping[str, Any], experiment: Experiment) -> BuiltBackend:
    """Build a backend from its settings.

    Parameters
    ----------
    name : str
        With ``@BACKBONE`` if that is not the study's own.
    sections : mapping of str to dataclass instance
        Of the study, or of a variant.
    experiment : Experiment

    Returns
    -------
    BuiltBackend

    Raises
    ------
    InputError
        If the settings are wrong, or its weights cannot be read.
    """
    base, backbone = split_name(name, experiment.study.backbone)
    return _built(name, experiment.study.spec(base), sections, backbone, experiment)


def _built(
    name: str, spec: BackendSpec, sections: Mapping[str, Any], backbone: BackboneChoice, experiment: Experiment
) -> BuiltBackend:
    backend = spec.build(sections, backbone, experiment.workers)
    note_network(experiment, backend.features, random=spec.uses_backbone and backbone.weights == "none")
    store = _store(backend.features, experiment)
    return BuiltBackend(name=name, spec=spec, backend=backend, backbone=backbone, store=store)


def columns_of(spec: BackendSpec, backbone: BackboneChoice) -> dict[str, str]:
    """Name a backend in the columns of Table 4; one on embeddings that are given is named after them.

    Parameters
    ----------
    spec : BackendSpec
    backbone : BackboneChoice
        The one that it is built with.

    Returns
    -------
    dict of str to str
    """
    source = source_of(backbone.name) if spec.uses_backbone else ""
    return {**spec.columns, **({"Feature": f"Embeddings ({Path(source).name})"} if source else {})}


def _store(features: FeatureExtractor, experiment: Experiment) -> FeatureStore | EmbeddingFeatures:
    if isinstance(features, EmbeddingExtractor):
        return EmbeddingFeatures(features, partial(experiment.embeddings, features.source), experiment.console)
    return FeatureStore(features, experiment.study.images, experiment.console, experiment.workers)


def with_network(built: BuiltBackend, trained: TrainedNetwork, experiment: Experiment) -> BuiltBackend:
    """Go on with the network that a backend has trained, calibrated if it has to be.

    Parameters
    ----------
    built : BuiltBackend
    trained : TrainedNetwork
    experiment : Experiment

    Returns
    -------
    BuiltBackend
    """
    features = calibrated(trained.features, experiment)
    if features is not trained.features:
        trained = replace(trained, features=features, save=cast(Any, features).save)
    return replace(built, store=_store(features, experiment), trained=trained)


def suited(built: BuiltBackend, sections: Mapping[str, Any], experiment: Experiment) -> BuiltBackend:
    """Suit a backend to the photos: to their size, if the study leaves it to them, and by calibration, if it needs it.

    Parameters
    ----------
    built : BuiltBackend
    sections : mapping of str to dataclass instance
        Those that it was built from.
    experiment : Experiment
        Its photos are opened.

    Returns
    -------
    BuiltBackend
        The same one if its size is fixed and nothing has to be calibrated.
    """
    if isinstance(built.store, EmbeddingFeatures):
        built.store.open()
    if built.size_is_open:
        backbone = replace(built.backbone, pixels=pixels_for(experiment, built.backend.features))
        built = _built(built.name, built.spec, sections, backbone, experiment)
    if built.backend.trainer is not None:
        return built  # what is trained is calibrated afterwards
    features = calibrated(built.backend.features, experiment)
    if features is built.backend.features:
        return built
    backend = replace(built.backend, features=features, save_features=cast(Any, features).save)
    return replace(built, backend=backend, store=_store(features, experiment), calibrated=True)


def readable_rows(features: Features, part: slice) -> tuple[np.ndarray, np.ndarray]:
    """Select the images of a slice that can be read.

    Parameters
    ----------
    features : Features
    part : slice

    Returns
    -------
    rows : ndarray of float32, shape (readable images, dimensions)
        Their features; a view if all can be read. Many of them stay on disk (`shelfbench.data.rows.Rows`).
    readable : ndarray of bool, shape (images of the slice,)
    """
    readable = features.readable[part]
    matrix = rows_of(features.matrix, part)
    return (matrix if readable.all() else rows_of(matrix, readable)), readable


def training_data(features: Features, material: Material) -> TrainingData:
    """Gather a classifier's training data: features and labels of the readable images of train and `tune`.

    Parameters
    ----------
    features : Features
        Of the images of `material`.
    material : Material

    Returns
    -------
    TrainingData
    """
    train, tune = material.images_of("train"), material.images_of("tune")
    train_rows, train_readable = readable_rows(features, train)
    tune_rows, tune_readable = readable_rows(features, tune)
    label = material.label[material.owner]
    return TrainingData(
        features=train_rows,
        labels=label[train][train_readable],
        classes=len(material.classes),
        tune_features=tune_rows,
        tune_labels=label[tune][tune_readable],
    )


def training_images(material: Material, digests: np.ndarray, fit: str, workers: int) -> TrainingImages:
    """Gather the training data of networks: the images of train and `tune`.

    Parameters
    ----------
    material : Material
    digests : ndarray of V16, shape (images of the catalogue,)
        Hash of each image's content.
    fit : str
        How a photo becomes a square (``images.fit`` of the study).
    workers : int
        Threads that decode.

    Returns
    -------
    TrainingImages
    """
    train, tune = material.images_of("train"), material.images_of("tune")
    label = material.label[material.owner]
    state = hashlib.sha256(f"{fit}\0{len(material.classes)}".encode())
    for part in (train, tune):
        state.update(np.ascontiguousarray(digests[material.image[part]]).tobytes())
        state.update(np.ascontiguousarray(label[part]).tobytes())
        state.update(np.ascontiguousarray(material.owner[part]).tobytes())
    return TrainingImages(
        images=material.catalogue.images,
        fit=fit,
        train=material.image[train],
        train_labels=label[train],
        train_products=material.owner[train],
        tune=material.image[tune],
        tune_labels=label[tune],
        classes=len(material.classes),
        identity=state.hexdigest(),
        workers=workers,
    )
