"""Several labels an image, by sigmoid, judged by class-weighted MAP@100: how X trains on JFT (§4.1)."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from shelfbench.verdict.ranking import Best, average_precisions, best_per_image, weighted_mean
from shelfbench_deep.training.objective import Judge

if TYPE_CHECKING:
    from shelfbench_deep.engines.keras import keras

BEST = 100  # X, §4.1


@dataclass(frozen=True, eq=False)
class ManyLabels:
    """The labels of the images that a network is trained on: a `shelfbench_deep.training.objective.Objective`.

    Attributes
    ----------
    train : ndarray of bool, shape (training images, labels)
    tune : ndarray of bool, shape (images of `tune`, labels)
    shares : ndarray of float64, shape (labels,)
        Class weights of the MAP; the training itself weights all classes alike.
    """

    train: np.ndarray
    tune: np.ndarray
    shares: np.ndarray

    multi_label = True
    score = "val_map_100"
    words = ("labels right", "MAP@100 on tune")

    @property
    def outputs(self) -> int:
        """Number of labels."""
        return len(self.shares)

    @cached_property
    def identity(self) -> str:
        """Hash of all labels."""
        state = hashlib.sha256()
        for part in (self.train, self.tune, self.shares):
            state.update(f"{part.shape}\0".encode() + np.ascontiguousarray(part).tobytes())
        return state.hexdigest()

    def targets(self, rows: np.ndarray) -> np.ndarray:
        """Return 0 or 1 for each label of training images: float32, shape (n, labels)."""
        found: np.ndarray = self.train[rows].astype(np.float32)
        return found

    def accuracy(self) -> keras.metrics.Metric:
        """Share of all labels of all images that are right; no label at all is right for most."""
        from shelfbench_deep.engines.keras import keras

        return keras.metrics.BinaryAccuracy(name="accuracy", threshold=0.0)

    def judge(self) -> Judge:
        """Judge by sigmoid cross-entropy and class-weighted MAP@100."""
        return _MeanAveragePrecision(self)


class _MeanAveragePrecision:
    """Keeps all outputs: a class ranks all images."""

    def __init__(self, labels: ManyLabels) -> None:
        self._labels = labels
        self._readable = np.zeros(len(labels.tune), bool)
        self._logits: list[np.ndarray] = []

    def add(self, images: np.ndarray, logits: np.ndarray) -> None:
        self._readable[images] = True
        self._logits.append(logits)

    def result(self) -> tuple[float, float]:
        targets = self._labels.tune
        if not len(targets):
            return math.nan, math.nan
        logits = np.concatenate(self._logits)
        found = mean_average_precision(logits, self._readable, targets, self._labels.shares)
        return cross_entropy(logits, targets[self._readable]), found["map_100"]


def cross_entropy(logits: np.ndarray, targets: np.ndarray) -> float:
    """Mean sigmoid cross-entropy over images and labels; NaN without images."""
    if not len(logits):
        return math.nan
    values = np.asarray(logits, np.float64)
    return float((np.logaddexp(0, values) - values * targets).mean())


def mean_average_precision(
    logits: np.ndarray, readable: np.ndarray, targets: np.ndarray, shares: np.ndarray
) -> dict[str, float]:
    """Compute MAP@100 of some images, with and without class weights.

    Parameters
    ----------
    logits : ndarray of float, shape (readable, labels)
    readable : ndarray of bool, shape (n,)
        Which images have logits. One that cannot be read predicts nothing, but its labels still count.
    targets : ndarray of bool, shape (n, labels)
    shares : ndarray of float, shape (labels,)
        Class weights.

    Returns
    -------
    dict
        ``map_100`` and ``map_100_unweighted``.
    """
    found = best_per_image(logits, BEST)
    code = np.full((len(readable), found.code.shape[1]), -1, np.int32)
    value = np.zeros(code.shape)
    code[readable], value[readable] = found.code, found.score
    precisions = average_precisions(Best(code, value, found.classes), targets, BEST)
    return {"map_100": weighted_mean(precisions, shares), "map_100_unweighted": weighted_mean(precisions)}
