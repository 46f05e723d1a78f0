"""What a network learns of its images: the targets, the cost, and the judgement on `tune`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Protocol

import numpy as np

from shelfbench_deep.heads.softmax import log_softmax

if TYPE_CHECKING:
    from shelfbench.plugins.backend import TrainingImages
    from shelfbench_deep.engines.keras import keras


class Judge(Protocol):
    """Collects a network's outputs for the images of `tune`, batch by batch."""

    def add(self, images: np.ndarray, logits: np.ndarray) -> None:
        """Take the outputs for some images.

        Parameters
        ----------
        images : ndarray of int64, shape (n,)
            Positions in `tune`, of images that can be read.
        logits : ndarray of float32, shape (n, outputs)
        """

    def result(self) -> tuple[float, float]:
        """Return the cost and the score of all images, unreadable ones included; NaN without images."""


class Objective(Protocol):
    """What a network learns.

    Attributes
    ----------
    multi_label : bool
        Whether an image may carry several labels, so that the cost is sigmoid cross-entropy.
    score : str
        Column of the history for the score on `tune`: ``val_accuracy``.
    words : tuple of str
        What the share that is right in training and the score on `tune` are called in the log.
    """

    multi_label: bool
    score: str
    words: tuple[str, str]

    @property
    def outputs(self) -> int:
        """Number of logits."""

    def targets(self, rows: np.ndarray) -> np.ndarray:
        """Return the targets of training images, by their positions in `train`, as the cost takes them."""

    def accuracy(self) -> keras.metrics.Metric:
        """Make the metric ``accuracy`` of training."""

    def judge(self) -> Judge:
        """Begin a judgement on `tune`."""


class OneLabel:
    """One category an image, by softmax: the `Objective` of a backend.

    Parameters
    ----------
    data : TrainingImages
    """

    multi_label = False
    score = "val_accuracy"
    words = ("precision", "on tune")

    def __init__(self, data: TrainingImages) -> None:
        self._classes = data.classes
        self._train, self._tune = data.train_labels, data.tune_labels

    @property
    def outputs(self) -> int:
        """Number of categories."""
        return self._classes

    def targets(self, rows: np.ndarray) -> np.ndarray:
        """Return the codes of the categories: int64, shape (n,)."""
        found: np.ndarray = self._train[rows]
        return found

    def accuracy(self) -> keras.metrics.Metric:
        """Share of the images whose category is the likeliest."""
        from shelfbench_deep.engines.keras import keras

        return keras.metrics.SparseCategoricalAccuracy(name="accuracy")

    def judge(self) -> Judge:
        """Judge by precision; an image that cannot be read counts as wrong."""
        return _Precision(self._tune)


class _Precision:
    """Cross-entropy of the known categories, and the share of all images that are right."""

    def __init__(self, labels: np.ndarray) -> None:
        self._labels = labels
        self._right, self._cost, self._known = 0, 0.0, 0

    def add(self, images: np.ndarray, logits: np.ndarray) -> None:
        labels, scores = self._labels[images], log_softmax(logits)
        self._right += int((scores.argmax(axis=1) == labels).sum())
        rows = np.flatnonzero(labels >= 0)
        self._cost -= float(scores[rows, labels[rows]].sum())
        self._known += len(rows)

    def result(self) -> tuple[float, float]:
        if not len(self._labels):
            return math.nan, math.nan
        return (self._cost / self._known if self._known else math.nan), self._right / len(self._labels)
