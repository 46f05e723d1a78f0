"""A linear support vector machine, one category against the rest, with log-probabilities."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from shelfbench.base.console import Console
from shelfbench.base.errors import InputError, RunError
from shelfbench.base.storage import load_json, write_json, write_whole
from shelfbench.data.rows import as_float32, rows_of
from shelfbench.plugins.backend import EARLIER, TrainingData, as_record
from shelfbench_baselines.blocks import Blocks
from shelfbench_baselines.descent import Solution, regularisation_path
from shelfbench_baselines.device import ENGINES, check_engine, margins_for
from shelfbench_baselines.footprint import Footprint, footprint
from shelfbench_baselines.grid_search import LEAST_C, MOST_C, Search
from shelfbench_baselines.spread import solved_elsewhere
from shelfbench_baselines.squared_hinge import Standardisation, row_blocks
from shelfbench_baselines.streamed import problem_for, told

# Margin of a category without training images: below any real margin, but finite in every table.
NEVER = -50.0
TEMPERATURES = (1e-2, 1e2)
# Margins of `tune` that the temperature is found on take no more than this; of more, as many rows are drawn.
TEMPERATURE_BYTES = 2**29


@dataclass(frozen=True, kw_only=True)
class SVMSettings:
    """Section ``svm`` of a study.

    Attributes
    ----------
    C : tuple of float
        Weights of the loss to choose from on `tune` (a number or a list; sorted).
    extend : bool
        If the best C is the first or the last of them, go on beyond it by the grid's own factor while `tune` improves
        (see `shelfbench_baselines.grid_search`).
    standardise : bool
        Scale each feature to mean 0 and deviation 1 first.
    intercept_scaling : float
        The constant feature whose weight is the intercept: the larger it is, the less the penalty restrains the
        intercept.
    tol : float
        Relative, estimated distance of a category's objective from its optimum at which it has converged.
    max_iter : int
        Maximum number of sweeps over the data at one C.
    engine : {"auto", "numpy", "cupy", "torch", "jax"}
        Library that computes the sweeps: NumPy on the CPU, or another library on an accelerator. ``auto`` is the first
        library that is installed and sees an accelerator (on Linux), or NumPy if none does.

    Raises
    ------
    InputError
        If a value is impossible.
    """

    C: tuple[float, ...] = (3e-4, 1e-3, 3e-3, 1e-2, 3e-2)
    extend: bool = field(default=True, metadata={EARLIER: False})
    standardise: bool = True
    intercept_scaling: float = 1.0
    tol: float = 1e-4
    max_iter: int = 100
    engine: str = "auto"

    def __post_init__(self) -> None:
        given: Any = self.C
        values = list(given) if isinstance(given, (list, tuple)) else [given]
        if not values or not all(_positive(value) for value in values):
            raise InputError(f"svm.C is {given!r}", "give one or more positive numbers, such as [1e-4, 1e-3]")
        if not all(LEAST_C <= value <= MOST_C for value in values):
            raise InputError(f"svm.C is {given!r}", "give numbers from 1e-12 to 1e6")
        object.__setattr__(self, "C", tuple(sorted({float(value) for value in values})))
        for name in ("standardise", "extend"):
            if not isinstance(getattr(self, name), bool):
                raise InputError(f"svm.{name} is {getattr(self, name)!r}", "give true or false")
        for name in ("intercept_scaling", "tol"):
            if not _positive(getattr(self, name)):
                raise InputError(f"svm.{name} is {getattr(self, name)!r}", "give a positive number")
        if isinstance(self.max_iter, bool) or not isinstance(self.max_iter, int) or self.max_iter < 1:
            raise InputError(f"svm.max_iter is {self.max_iter!r}", "give a whole number of at least 1")
        if self.engine not in ENGINES:
            raise InputError(f"svm.engine is {self.engine!r}", f"choose from: {', '.join(ENGINES)}")


def _positive(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < math.inf


class LinearSVM:
    """One-vs-rest linear SVM with calibrated log-probabilities.

    It solves the problem of ``sklearn.svm.LinearSVC`` (see `shelfbench_baselines.squared_hinge`). Two things are chosen
    on `tune`: C, by precision (in a tie, the smaller one; the middle of the grid if `tune` is empty; beyond the grid,
    only a better one), and one temperature T, by the likelihood of softmax(T * margins). A category without training
    images is never predicted.

    Parameters
    ----------
    settings : SVMSettings

    Attributes
    ----------
    chosen : dict
        ``C``, ``margin_temperature``, ``tune_precision`` (by each C that was tried) and, if the chosen C is the first
        or the last of these, ``edge``: ``smallest`` or ``largest``. If the training images did not fit in memory,
        ``in_blocks_of_rows``: how many ``categories`` went through the features together, and in how many ``passes``.
    history : None
        There are no epochs.
    """

    history: pd.DataFrame | None = None
    # for a plan: every category is fitted by itself, so that machines can share them
    divides = True

    def __init__(self, settings: SVMSettings) -> None:
        self.settings = settings
        self.framework, self.device = "numpy", "cpu"
        self.batch = 0
        self.chosen: dict[str, Any] = {}
        self.temperature = 1.0

    def fit(self, data: TrainingData, *, seed: int, console: Console) -> None:
        """Train on the training images and choose C and the temperature on `tune`.

        Parameters
        ----------
        data : TrainingData
        seed : int
            Not used: the problem is convex and nothing is random.
        console : Console

        Raises
        ------
        RunError
            If there are no training images, a label is out of range, or a feature is not finite.
        """
        check_engine(self.settings.engine)
        features = as_float32(data.features)
        labels = np.asarray(data.labels)
        _check(features, labels, data.classes)
        tune, tune_labels = as_float32(data.tune_features), np.asarray(data.tune_labels)
        grid = self.settings.C if len(tune_labels) else (self.settings.C[(len(self.settings.C) - 1) // 2],)
        precision: dict[str, float] = {}
        edge, streamed = "", dict[str, int]()
        if data.classes == 1:
            width = features.shape[1]
            self._take(np.zeros((width + 1, 1)), Standardisation(np.zeros(width), np.ones(width)), labels)
            best_C = grid[0]
        else:
            problem = problem_for(
                features, labels, data.classes, self.settings.standardise, self.settings.intercept_scaling
            )
            settings = self.settings
            margins, device = margins_for(settings.engine, problem, console)
            if device is not None:
                self.framework, self.device = f"{device.library} (training), numpy (scores)", device.name
            path = solved_elsewhere(features, labels, data.classes, grid, settings)
            if here := path is None:
                if streamed := told(problem, margins):
                    if device is None:
                        self.footprint(len(labels), features.shape[1], data.classes).check()
                    console.log(
                        f"{len(labels):,} training images x {features.shape[1]:,} features x {data.classes:,} "
                        "categories are too many to be solved in memory: the linear SVM goes through the features in "
                        f"blocks of rows, {streamed['categories']:,} categories at a time"
                    )
                with console.progress(
                    len(grid) * data.classes, f"linear SVM at {len(grid)} values of C", "fits"
                ) as bar:
                    path = regularisation_path(
                        problem, grid, settings.tol, settings.max_iter, done=bar.update, margins=margins
                    )

            def judge(C: float, solution: Solution) -> float:
                if solution.gap.max() > 10 * settings.tol:
                    console.warn(
                        f"the linear SVM at C={C:g} stopped after {solution.sweeps.max()} sweeps, an estimated "
                        f"{solution.gap.max():.1e} above the optimum; raise svm.max_iter"
                    )
                self._take(solution.weights, problem.standardisation, labels)
                if not len(tune_labels):
                    return 0.0
                found = [margins.argmax(axis=1) for _, margins in self._in_blocks(tune)]
                return float(np.mean(np.concatenate(found) == tune_labels))

            def solve(C: float) -> Solution:
                with console.progress(data.classes, f"linear SVM at C={C:g}", "fits") as bar:
                    [found] = regularisation_path(
                        problem, [C], settings.tol, settings.max_iter, done=bar.update, margins=margins
                    )
                return found

            search = Search(judge)
            for C, solution in zip(grid, path, strict=True):
                search.add(C, solution)
            if settings.extend:
                search.extend(solve)
            best_C, streamed = search.best, told(problem, margins) if here else {}
            self._take(search.weights, problem.standardisation, labels)
            if len(tune_labels):
                precision = {repr(C): search.precision[C] for C in sorted(search.precision)}
                edge = search.edge()
                if edge:
                    console.warn(search.warning(settings.extend))
        # a category without training images says nothing about the temperature
        known = np.flatnonzero(np.isin(tune_labels, labels))
        if (most := TEMPERATURE_BYTES // (8 * data.classes)) < len(known):
            known = np.sort(np.random.default_rng(0).permutation(known)[:most])
        low, high = TEMPERATURES  # beyond the grid, margins are smaller or larger than it makes them
        bounds = (low * min(1.0, grid[-1] / best_C), high * max(1.0, grid[0] / best_C))
        self.temperature = _temperature(self._margins(rows_of(tune, known)), tune_labels[known], bounds)
        self.chosen = {"C": best_C, "margin_temperature": self.temperature, "tune_precision": precision}
        if edge:
            self.chosen["edge"] = edge
        if streamed:
            self.chosen["in_blocks_of_rows"] = streamed

    def footprint(self, images: int, dimensions: int, classes: int, *, free: int | None = None) -> Footprint:
        """Count what `fit` takes on the CPU, before any features are there.

        Parameters
        ----------
        images : int
            For training.
        dimensions : int
            Their features.
        classes : int
            Categories.
        free : int, optional
            Bytes of memory that are free; those of this machine by default.

        Returns
        -------
        Footprint
            With the peak of memory, in bytes beside the process and its features, and how often features are read; its
            `check` refuses what does not fit.
        """
        return footprint(images, dimensions, classes, values=len(self.settings.C), free=free)

    def _take(self, weights: np.ndarray, standardisation: Standardisation, labels: np.ndarray) -> None:
        self.coef = np.ascontiguousarray(weights[:-1].T, dtype=np.float32)
        self.intercept = self.settings.intercept_scaling * weights[-1]
        self.mean = standardisation.mean.astype(np.float32)
        self.scale = standardisation.scale.astype(np.float32)
        absent = np.bincount(labels, minlength=weights.shape[1]) == 0
        self.coef[absent] = 0
        self.intercept[absent] = NEVER

    def _margins(self, features: np.ndarray) -> np.ndarray:
        """Compute the margins, float64, shape (n, classes)."""
        margins = np.empty((len(features), len(self.coef)))
        for rows, block in self._in_blocks(features):
            margins[rows] = block
        return margins

    def _in_blocks(self, features: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
        """Yield rows and their margins, float64, shape (rows, classes)."""
        blocks = Blocks(features)
        for rows in row_blocks(len(features)):
            with blocks.block(rows) as block:
                margins = ((block - self.mean) / self.scale) @ self.coef.T + self.intercept
            if not np.isfinite(margins).all():
                row = rows.start + int(np.argwhere(~np.isfinite(margins))[0, 0])
                raise RunError(
                    f"the features of image {row} are not finite",
                    "compute the features again, or look for a broken network or image",
                )
            yield rows, margins

    def _check_shapes(self) -> None:
        classes, dimensions = self.coef.shape
        expected = {"coef": (np.float32, (classes, dimensions)), "intercept": (np.float64, (classes,))}
        expected |= {"mean": (np.float32, (dimensions,)), "scale": (np.float32, (dimensions,))}
        for name, (kind, shape) in expected.items():
            array = getattr(self, name)
            if array.dtype != kind or array.shape != shape:
                raise ValueError(f"{name} is {array.dtype} of shape {array.shape}")

    def log_probabilities(self, features: np.ndarray) -> np.ndarray:
        """Compute the log-softmax of the margins times the temperature.

        Parameters
        ----------
        features : ndarray of float32, shape (n, d)

        Returns
        -------
        ndarray of float64, shape (n, classes)

        Raises
        ------
        RunError
            If the number of features differs from the training's, or a feature is not finite.
        """
        features = as_float32(features)
        if features.ndim != 2 or features.shape[1] != len(self.mean):
            raise RunError(
                f"the linear SVM takes {len(self.mean)} features, not shape {features.shape}",
                "use the features it was fitted on",
            )
        return _log_softmax(self.temperature * self._margins(features))

    def save(self, folder: Path) -> None:
        """Write ``weights.safetensors`` and ``classifier.json`` into an existing folder."""
        from safetensors.numpy import save_file

        tensors = {"coef": self.coef, "intercept": self.intercept, "mean": self.mean, "scale": self.scale}
        write_whole(folder / "weights.safetensors", lambda path: save_file(tensors, path))
        write_json(
            folder / "classifier.json",
            {"classifier": "linear_svm", "settings": as_record(self.settings), "chosen": self.chosen},
        )

    @classmethod
    def load(cls, folder: Path) -> LinearSVM:
        """Load a saved linear SVM.

        Parameters
        ----------
        folder : Path
            Folder that `save` wrote to.

        Returns
        -------
        LinearSVM

        Raises
        ------
        InputError
            If a file is missing or was not written by `save`.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        try:
            record, tensors = load_json(folder / "classifier.json"), load_file(folder / "weights.safetensors")
            if record["classifier"] != "linear_svm":
                raise ValueError(f"a classifier of kind {record['classifier']!r}")
            svm = cls(SVMSettings(**record["settings"]))
            svm.chosen = record["chosen"]
            # models saved by earlier versions use the older name
            svm.temperature = float(svm.chosen.get("margin_temperature") or svm.chosen["temperature"])
            svm.coef, svm.intercept = tensors["coef"], tensors["intercept"]
            svm.mean, svm.scale = tensors["mean"], tensors["scale"]
            svm._check_shapes()
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            raise InputError(
                f"{folder} does not contain a linear SVM ({type(error).__name__}: {error})", "train it again"
            ) from error
        return svm


def _check(features: np.ndarray, labels: np.ndarray, classes: int) -> None:
    if features.ndim != 2 or features.shape[0] != labels.shape[0]:
        raise RunError(
            f"features of shape {features.shape} do not fit {labels.shape[0]} labels", "give one row per label"
        )
    if not len(labels):
        raise RunError("there are no training images", "check the split")
    if labels.min() < 0 or labels.max() >= classes:
        raise RunError(
            f"training labels range from {labels.min()} to {labels.max()}, but there are {classes} categories",
            "labels must be codes from 0 to categories - 1",
        )


def _log_softmax(scores: np.ndarray) -> np.ndarray:
    """Compute the log-softmax of each row, in place."""
    scores -= scores.max(axis=1, keepdims=True)
    scores -= np.log(np.exp(scores).sum(axis=1, keepdims=True))
    return scores


def _temperature(margins: np.ndarray, labels: np.ndarray, within: tuple[float, float] = TEMPERATURES) -> float:
    """Find the T that makes softmax(T * margins) most likely (convex in T); 1 without data."""
    from scipy.optimize import minimize_scalar

    if not len(labels) or margins.shape[1] == 1:
        return 1.0
    own = margins[np.arange(len(labels)), labels]

    def loss(log_t: float) -> float:
        t = math.exp(log_t)
        total = 0.0
        for rows in row_blocks(len(labels)):
            scaled = t * margins[rows]
            top = scaled.max(axis=1)
            total += float((np.log(np.exp(scaled - top[:, None]).sum(axis=1)) + top - t * own[rows]).sum())
        return total / len(labels)

    bounds = tuple(math.log(value) for value in within)
    return math.exp(float(minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-4}).x))
