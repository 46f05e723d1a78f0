"""Estimators of scikit-learn as classifiers of backends."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from shelfbench.base.console import Console
from shelfbench.base.storage import load_json, write_json
from shelfbench.plugins.backend import TrainingData
from shelfbench.plugins.estimators import Recipe

_FILE, _RECORD = "classifier.skops", "classifier.json"


class EstimatorHead:
    """A scikit-learn estimator as a `shelfbench.plugins.backend.Classifier`.

    Parameters
    ----------
    recipe : Recipe or None
        How the estimator is made; None for one that is loaded.
    """

    framework, device, batch = "scikit-learn", "cpu", 0
    history = None

    def __init__(self, recipe: Recipe | None = None) -> None:
        self.recipe = recipe
        self.chosen: dict[str, Any] = {}
        self.classes = 0
        self._estimator: Any = None

    def fit(self, data: TrainingData, *, seed: int, console: Console) -> None:
        """Fit the estimator on the training images."""
        assert self.recipe is not None
        self._estimator = self.recipe.estimator().fit(data.features, data.labels)
        self.classes = data.classes

    def log_probabilities(self, features: np.ndarray) -> np.ndarray:
        """Score images: float64, shape (n, classes)."""
        scores = np.full((len(features), self.classes), 1e-12)
        scores[:, self._estimator.classes_] += self._estimator.predict_proba(features)
        return np.log(scores / scores.sum(axis=1, keepdims=True))

    def save(self, folder: Path) -> None:
        """Write ``classifier.skops`` and ``classifier.json``."""
        import skops.io

        skops.io.dump(self._estimator, folder / _FILE)
        write_json(folder / _RECORD, {"chosen": self.chosen, "classes": self.classes})

    @classmethod
    def load(cls, folder: Path) -> EstimatorHead:
        """Read what `save` wrote."""
        import skops.io

        record = load_json(folder / _RECORD)
        head = cls()
        head.chosen, head.classes = record["chosen"], int(record["classes"])
        head._estimator = skops.io.load(folder / _FILE)
        return head
