"""The model of a decision: features and classifier, built from checked files, and probed."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from shelfbench.base.errors import InputError, NotInstalled, ShelfbenchError
from shelfbench.base.loading import why_not_loaded
from shelfbench.data.embedding_names import PREFIX
from shelfbench.data.embeddings import EmbeddingExtractor
from shelfbench.data.extractor import FeatureExtractor
from shelfbench.decision.hostile import refuse, shown
from shelfbench.decision.record import CLASSIFIER, DECISION, ESTIMATOR, NETWORK, NETWORK_FILES, PROBES, ModelSpec
from shelfbench.decision.rule import Ruling
from shelfbench.plugins.backend import BackboneChoice, Backend, Classifier
from shelfbench.plugins.finding import find_saved
from shelfbench.study.sections import build_section
from shelfbench.verdict.guard import Guard

# The longest feature vector that a stranger's file may make us compute; no backend of ours exceeds it.
MAX_DIMENSIONS = 5_000_000


@dataclass(frozen=True, kw_only=True, eq=False)
class Model:
    """A classifier with its ruling, ready to classify.

    Attributes
    ----------
    ruling : Ruling
    spec : ModelSpec
    features : FeatureExtractor
    classifier : Classifier
    workers : int
        Threads that decode, and processes of classical features.
    files : mapping of str to str
        SHA-256 of every file that it was read from, by name; empty for a model that is still in its run.
    guard : Guard or None
        Tells products unlike those learned; None for decisions of earlier versions.
    labelled : bool
        Whether its ruling rests on a labelled sample of a flow.
    warning : str
        A warning if the model computes different numbers here than where the decision was made; otherwise empty.
    """

    ruling: Ruling
    spec: ModelSpec
    features: FeatureExtractor
    classifier: Classifier
    workers: int
    files: Mapping[str, str] = field(default_factory=dict)
    guard: Guard | None = None
    labelled: bool = False
    warning: str = ""


def classifier_files(names: Container[str]) -> tuple[str, str]:
    """Tell in which files a classifier is kept.

    Parameters
    ----------
    names : container of str
        Names of the files that are there.

    Returns
    -------
    tuple of str
        `ESTIMATOR` for an estimator of scikit-learn, otherwise `CLASSIFIER`.
    """
    return ESTIMATOR if ESTIMATOR[1] in names and CLASSIFIER[1] not in names else CLASSIFIER


def probe_images(pixels: int) -> np.ndarray:
    """Draw a few images that are the same on every machine.

    Parameters
    ----------
    pixels : int
        Their side.

    Returns
    -------
    ndarray of uint8, shape (4, pixels, pixels, 3)
    """
    number, row, column, channel = np.ogrid[:PROBES, :pixels, :pixels, :3]
    wave = np.sin(2 * np.pi * ((number + 1) * row + (channel + 2) * column) / pixels)
    found: np.ndarray = np.rint(127.5 + 120 * wave).astype(np.uint8)
    return found


def probe_inputs(features: FeatureExtractor) -> np.ndarray:
    """Draw what a model is probed with: images, or embeddings where it takes these.

    Parameters
    ----------
    features : FeatureExtractor

    Returns
    -------
    ndarray
        `probe_images`, or float32 of shape (4, dimensions).
    """
    if not isinstance(features, EmbeddingExtractor):
        return probe_images(features.pixels)
    number, column = np.ogrid[:PROBES, : features.dimensions]
    found: np.ndarray = np.sin((number + 1) * (column + 1)).astype(np.float32)
    return found


def probe(features: FeatureExtractor, classifier: Classifier) -> list[dict[str, Any]]:
    """Classify `probe_inputs`.

    Parameters
    ----------
    features : FeatureExtractor
    classifier : Classifier

    Returns
    -------
    list of dict
        Code and log-probability of the most likely category of each.
    """
    scores = classifier.log_probabilities(features.extract(probe_inputs(features)))
    best = scores.argmax(axis=1)
    return [{"code": int(code), "log_probability": float(row[code])} for code, row in zip(best, scores, strict=True)]


def build_model(
    folder: Path, inside: Path, spec: ModelSpec, workers: int
) -> tuple[FeatureExtractor, Classifier, np.ndarray]:
    """Build features and classifier from checked files.

    Parameters
    ----------
    folder : Path
        The decision, for messages.
    inside : Path
        Our own copy of it.
    spec : ModelSpec
    workers : int

    Returns
    -------
    features : FeatureExtractor
    classifier : Classifier
    scores : ndarray of float64, shape (4, classes)
        Its log-probabilities of `probe_inputs`.

    Raises
    ------
    InputError
        If the files do not make the model described by `spec`; the message names the file.
    """
    where = folder / DECISION
    try:
        backend = _backend(spec, workers)
        features = backend.features
        if spec.given:
            features = EmbeddingExtractor(spec.given.source, spec.given)
        present = [name for name in (NETWORK[0], *NETWORK_FILES) if (inside / name).exists()]
        if len(present) != (2 if backend.load_features else 0) or (present and present[0] != NETWORK[0]):
            refuse(folder / NETWORK[0], f"and the network beside it do not fit the backend {spec.backend}")
        if backend.load_features:
            where = folder / NETWORK[0]
            features = backend.load_features(inside)
        if features.pixels != spec.pixels or not 0 < features.dimensions <= MAX_DIMENSIONS:
            refuse(where, f"asks for {features.pixels} pixels and {features.dimensions} features")
        description, weights = classifier_files([path.name for path in inside.iterdir()])
        where = folder / description
        classifier = backend.load(inside)
        where = folder / weights
        scores = classifier.log_probabilities(features.extract(probe_inputs(features)))
    except NotInstalled:  # nothing is wrong with the files
        raise
    except ShelfbenchError as error:
        if str(folder) in str(error):
            raise
        message = error.message.replace(str(inside), str(folder))
        refuse(where, f"cannot be used ({shown(message, 300)})")
    except Exception as error:  # whatever a library raises on unexpected values
        if (why := why_not_loaded(error)) is not None:  # nor here
            raise NotInstalled(*why) from error
        if isinstance(error, ImportError):
            raise InputError(
                f"a library that {folder} needs cannot be loaded ({shown(_line(error), 200)})",
                "shelfbench doctor --deep says what is broken",
            ) from error
        first = shown(_line(error).replace(str(inside), str(folder)), 200)
        refuse(where, f"cannot be used ({type(error).__name__}: {first})")
    return features, classifier, scores


def _line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), "no message")


def _backend(spec: ModelSpec, workers: int) -> Backend:
    """Build the backend from its entry point; settings apply only if the folder has no network."""
    offered = find_saved(spec.backend.partition("@")[0])
    if spec.given and not offered.uses_backbone:
        raise InputError("it rests on embeddings, which the backend does not take")
    none = BackboneChoice(PREFIX + spec.given.source, "none") if spec.given else BackboneChoice(weights="none")
    backend = offered.build({name: kind() for name, kind in offered.sections.items()}, none, workers)
    if not spec.sections:
        return backend
    if backend.load_features or set(spec.sections) - set(offered.sections):
        raise InputError("it contains settings that the backend does not need")
    sections = {
        name: build_section(kind, spec.sections.get(name, {}), name, DECISION)
        for name, kind in offered.sections.items()
    }
    return offered.build(sections, none, workers)
