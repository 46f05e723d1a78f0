"""Estimators of scikit-learn as classifiers of backends."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from shelfbench.base.console import Console
from shelfbench.base.errors import RunError, ShelfbenchError, first_line
from shelfbench.base.processor import free_memory
from shelfbench.base.serving import joblib_serves
from shelfbench.base.stopping import stop_if_asked
from shelfbench.data.rows import IN_MEMORY, as_float32
from shelfbench.plugins.backend import TrainingData
from shelfbench.plugins.estimators import Recipe
from shelfbench.plugins.grids import Search, shown
from shelfbench.verdict.smoothing import Smoothing, fit_margins, fit_smoothing
from shelfbench.verdict.temperature import log_normaliser

if TYPE_CHECKING:
    import pandas as pd

PROBABILITIES, MARGINS = "probabilities", "margins"
# Images that are scored at once.
_ROWS = 4096
# Scores (images x categories) of `tune` for the calibration: 256 MiB. If there are more, images are drawn.
_CALIBRATED = 1 << 25


class EstimatorHead:
    """A scikit-learn estimator as a `shelfbench.plugins.backend.Classifier`.

    The values of a grid are chosen by precision on `tune`; in a tie, the first. Probabilities are smoothed, and margins
    become probabilities by a softmax, as `tune` makes them most likely (see `shelfbench.verdict.smoothing`). The
    estimator sees the categories that have training images as codes without gaps; the others have no probability.

    Parameters
    ----------
    recipe : Recipe or None
        How the estimator is made; None for one that is loaded.
    workers : int
        Its ``n_jobs``, where it has them and the study does not say.

    Attributes
    ----------
    chosen : dict
        ``parameters`` and ``tune_precision`` (of each candidate) if there is a grid, with ``edge`` if the best value is
        the smallest or the largest of one; ``smoothing`` and ``probability_temperature``, or ``margin_factor``.
    estimator : object
        The fitted estimator; None if only one category has training images.
    codes : ndarray of int64
        The categories that have training images.
    classes, dimensions : int
        Number of categories, and length of a feature vector.
    outputs : {'probabilities', 'margins'}
        What the estimator returns.
    smoothing : Smoothing
    factor : float
        Of the margins.
    """

    framework, device, batch = "scikit-learn", "cpu", 0
    history: pd.DataFrame | None = None

    def __init__(self, recipe: Recipe | None = None, workers: int = 1) -> None:
        self.recipe, self.workers = recipe, workers
        self.chosen: dict[str, Any] = {}
        self.estimator: Any = None
        self.codes = np.zeros(0, np.int64)
        self.classes = self.dimensions = 0
        self.outputs = PROBABILITIES
        self.smoothing, self.factor = Smoothing(0.0, 1.0), 1.0
        if recipe is not None and recipe.library != "sklearn":
            self.framework = recipe.library

    @property
    def where(self) -> str:
        """What it is called in messages."""
        return f"{self.recipe.where} ({self.recipe.title})" if self.recipe else "the estimator"

    @property
    def grows(self) -> bool:
        """Whether it keeps every training image, and compares each image with all of them: nearest neighbours."""
        parts = [self.estimator, *(step for _, step in getattr(self.estimator, "steps", ()))]
        return any("_fit_X" in getattr(part, "__dict__", {}) for part in parts)

    def fit(self, data: TrainingData, *, seed: int, console: Console) -> None:
        """Fit every candidate of the grid, keep the best, and calibrate it.

        Parameters
        ----------
        data : TrainingData
        seed : int
            The ``random_state`` of every part that has one and for which the study does not say.
        console : Console

        Raises
        ------
        RunError
            If there are no training images, a feature is not finite, or no candidate can be fitted.
        """
        assert self.recipe is not None, "a loaded estimator is not fitted again"
        features, labels = _checked(data.features), np.asarray(data.labels)
        if not len(labels):
            raise RunError("there are no training images", "check the split")
        self.codes, encoded = np.unique(labels, return_inverse=True)
        self.classes, self.dimensions = data.classes, features.shape[1]
        if len(self.codes) == 1:  # most estimators refuse to learn that
            return
        _say_memory(self.where, features, console)
        features = np.asarray(features)
        tune, known = _checked(data.tune_features), np.isin(data.tune_labels, self.codes)
        calibrating = self._drawn(np.flatnonzero(known), seed)
        candidates = list(self.recipe.candidates())
        if len(candidates) > 1 and not known.any():
            console.log(f"{self.where}: tune is empty, so the first of {len(candidates)} candidates is taken")
            candidates = candidates[:1]
        search = Search(self.recipe, candidates)
        with console.progress(len(candidates), f"candidates of {self.where}", "fits") as bar:
            for candidate in candidates:
                try:
                    with _told(f"{self.where}{shown(candidate)}", console):
                        fitted = self._fitted(candidate, features, encoded, seed)
                        best, scores = self._judge(fitted, tune, calibrating)
                except (ShelfbenchError, MemoryError):
                    raise
                except Exception as error:  # whatever a library raises on values or data that it refuses
                    stop_if_asked()
                    if os.environ.get("SHELFBENCH_DEBUG"):
                        raise
                    search.failed(candidate, error)
                    console.warn(f"{self.where}{shown(candidate)} cannot be fitted ({first_line(error)})")
                else:
                    right = self.codes[best] == data.tune_labels
                    search.add(candidate, float(right.mean()) if len(right) else 0.0, (fitted, scores))
                bar.update()
        self.estimator, scores = search.best(self.where, len(labels))
        self.outputs = _outputs(self.estimator)
        self.chosen = search.record(bool(len(data.tune_labels)))
        if "edge" in self.chosen:
            console.warn(f"{self.where}: {search.warning()}")
        self._calibrate(scores, np.searchsorted(self.codes, data.tune_labels[calibrating]))
        _alone(self.estimator)

    def _fitted(self, candidate: Mapping[str, Any], features: np.ndarray, labels: np.ndarray, seed: int) -> Any:
        assert self.recipe is not None
        estimator = self.recipe.estimator(candidate)
        given = {**self.recipe.parameters, **candidate}
        free = {name for name, value in estimator.get_params(deep=True).items() if value is None} - set(given)
        for suffix, value in (("random_state", seed), ("n_jobs", self.workers)):
            estimator.set_params(**{name: value for name in free if name.rpartition("__")[2] == suffix})
        for name, value in estimator.get_params(deep=True).items():
            if name not in given and value == "auto" and name.rpartition("__")[2] == "algorithm":
                estimator.set_params(**{name: "brute"})  # as it is for long features; a tree of them is not kept
        with joblib_serves():
            return estimator.fit(features, labels)

    def _drawn(self, rows: np.ndarray, seed: int) -> np.ndarray:
        """Draw rows of `tune` for the calibration: all, if their scores are not too many."""
        most = max(1, _CALIBRATED // len(self.codes))
        if len(rows) <= most:
            return rows
        return rows[np.sort(np.random.default_rng([seed, 3]).permutation(len(rows))[:most])]

    def _judge(self, estimator: Any, tune: np.ndarray, kept: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Compute the best category of each image, and the scores of the rows `kept` (ascending)."""
        best, scores = np.empty(len(tune), np.int64), np.empty((len(kept), len(self.codes)))
        for start in range(0, len(tune), _ROWS):
            found = self._scores(estimator, tune[start : start + _ROWS])
            best[start : start + _ROWS] = found.argmax(axis=1)
            first, last = np.searchsorted(kept, (start, start + _ROWS))
            scores[first:last] = found[kept[first:last] - start]
        return best, scores

    def _calibrate(self, scores: np.ndarray, labels: np.ndarray) -> None:
        if self.outputs == MARGINS:
            self.factor = fit_margins(scores, labels)
            self.chosen["margin_factor"] = self.factor
        else:
            self.smoothing = fit_smoothing(scores, labels)
            self.chosen["smoothing"] = self.smoothing.share
            self.chosen["probability_temperature"] = self.smoothing.temperature

    def _scores(self, estimator: Any, features: np.ndarray) -> np.ndarray:
        """Compute what the estimator returns, float64, shape (n, categories with training images)."""
        scores = np.empty((len(features), len(self.codes)))
        for start in range(0, len(features), _ROWS):
            block = slice(start, start + _ROWS)
            with joblib_serves():
                scores[block] = _output(estimator, features[block], len(self.codes))
            if np.isnan(scores[block]).any():
                raise RunError(f"{self.where} returns scores that contain NaN", "change its parameters")
        return scores

    def log_probabilities(self, features: np.ndarray) -> np.ndarray:
        """Compute calibrated log-probabilities.

        Parameters
        ----------
        features : ndarray of float32, shape (n, d)

        Returns
        -------
        ndarray of float64, shape (n, classes)
            -inf for a category without training images.

        Raises
        ------
        RunError
            If the number of features differs from the training's, or a feature is not finite.
        """
        features = _checked(features)
        if features.shape[1] != self.dimensions:
            raise RunError(
                f"{self.where} takes {self.dimensions} features, not {features.shape[1]}",
                "use the features it was fitted on",
            )
        result = np.full((len(features), self.classes), -np.inf)
        if self.estimator is None:
            result[:, self.codes] = 0.0
            return result
        scores = self._scores(self.estimator, features)
        if self.outputs == MARGINS:
            scores *= self.factor
            result[:, self.codes] = scores - log_normaliser(scores, 1.0)[:, None]
        else:
            result[:, self.codes] = self.smoothing.log_probabilities(scores)
        return result

    def save(self, folder: Path) -> None:
        """Write ``classifier.skops`` and ``classifier.json`` into an existing folder."""
        from shelfbench.plugins.saved_estimator import save_head

        save_head(self, folder)

    @classmethod
    def load(cls, folder: Path, recipe: Recipe | None = None) -> EstimatorHead:
        """Load a saved estimator; nothing in the folder is executed, and no other class than those allowed is used.

        Parameters
        ----------
        folder : Path
            Folder that `save` wrote to.
        recipe : Recipe, optional
            Of an installed package, whose own classes are then allowed as well.

        Returns
        -------
        EstimatorHead

        Raises
        ------
        InputError
            If a file is missing, was not written by `save`, or holds what must not be loaded.
        """
        from shelfbench.plugins.saved_estimator import load_head

        return load_head(cls(recipe), folder)


def _checked(features: np.ndarray) -> np.ndarray:
    """Return features as float32 of two dimensions, finite."""
    features = as_float32(features)
    if features.ndim != 2:
        raise RunError(f"features have the shape {features.shape}", "give one row per image")
    for start in range(0, len(features), _ROWS):
        finite = np.isfinite(features[start : start + _ROWS])
        if not finite.all():
            row = start + int(np.argwhere(~finite)[0, 0])
            raise RunError(
                f"the features of image {row} are not finite",
                "compute the features again, or look for a broken network or image",
            )
    return features


def _say_memory(where: str, features: np.ndarray, console: Console) -> None:
    """Say what an estimator will take, which learns from all features at once; refuse what cannot fit."""
    needed, free = features.nbytes, free_memory()
    if needed <= IN_MEMORY:
        return
    text = f"{where} learns from all features at once: {needed / 2**30:.1f} GiB of {len(features):,} images"
    if needed > free:
        raise RunError(
            f"{text}, and this machine has {free / 2**30:.1f} GiB of memory free",
            "choose a linear SVM or a 2NN, which read features in blocks, fewer images, or a larger machine",
        )
    console.log(
        f"{text}, and up to three times as much if it computes in float64 ({free / 2**30:.1f} GiB of memory are free)"
    )


def _outputs(estimator: Any) -> str:
    return PROBABILITIES if hasattr(estimator, "predict_proba") else MARGINS


def _output(estimator: Any, features: np.ndarray, classes: int) -> np.ndarray:
    """Return probabilities or margins with one column for each code, as the estimator's ``classes_`` order them."""
    if _outputs(estimator) == PROBABILITIES:
        values = np.asarray(estimator.predict_proba(features))
    else:
        values = np.asarray(estimator.decision_function(features), np.float64)
        if values.ndim == 1:  # of the second of two categories
            values = np.stack([np.zeros(len(values)), values], axis=1)
    if values.shape != (len(features), classes):
        raise RunError(
            f"{type(estimator).__name__} returns scores of shape {values.shape} for {len(features)} images and "
            f"{classes} categories",
            "choose parameters with one score per category",
        )
    order = getattr(estimator, "classes_", None)
    if order is not None and not np.array_equal(order, np.arange(classes)):
        values = values[:, np.argsort(order)]
    return values


def _alone(estimator: Any) -> None:
    """Let scikit-learn score in one thread: a forest's threads add up its votes in any order, which shows in a bit."""
    values = estimator.get_params(deep=True)
    for name in values:
        owner, _, last = name.rpartition("__")
        if last == "n_jobs" and not type(values.get(owner, estimator)).__module__.startswith("xgboost"):
            estimator.set_params(**{name: 1})


@contextmanager
def _told(what: str, console: Console) -> Iterator[None]:
    """Turn the warnings of a library into one line for each kind."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for category in (DeprecationWarning, FutureWarning):  # about a library's own future
            warnings.simplefilter("ignore", category)
        yield
    for name, text in dict.fromkeys((item.category.__name__, first_line(item.message)) for item in caught):
        if name == "ConvergenceWarning":
            console.warn(f"{what} did not converge ({text}); raise max_iter, or scale the features first")
        else:
            console.warn(f"{what}: {text}")
