"""A backend from a scikit-learn estimator, in a few lines of a package of your own.

This is the whole of a backend::

    from shelfbench.plugins.sklearn import sklearn_backend

    def mean_colour(images):  # uint8, (n, pixels, pixels, 3)
        return images.mean(axis=(1, 2)) / 255

    mean_colour_lda = sklearn_backend(
        "sklearn.discriminant_analysis.LinearDiscriminantAnalysis", mean_colour, pixels=32
    )

Offer `mean_colour_lda` as an entry point of the group ``shelfbench.backends`` (see `shelfbench.plugins.backend`).
"""

from __future__ import annotations

import hashlib
import inspect
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from shelfbench.base.errors import InputError, RunError
from shelfbench.base.storage import file_sha256
from shelfbench.plugins.backend import BackboneChoice, BackendSpec, FeatureParts, FeaturesSpec
from shelfbench.plugins.estimators import recipe_of
from shelfbench.plugins.finding import find_features
from shelfbench.plugins.heads import HeadSpec, estimator_head, head_backend

Function = Callable[[np.ndarray], Any]
_PIXELS = 64


def sklearn_backend(
    estimator: str | Sequence[str] | Callable[[], Any],
    features: str | Function,
    *,
    pixels: int | None = None,
    parameters: Mapping[str, Any] | None = None,
    grid: Mapping[str, Sequence[Any]] | None = None,
    columns: Mapping[str, str] | None = None,
) -> BackendSpec:
    """Make a backend from features and a scikit-learn estimator.

    Parameters
    ----------
    estimator : str, sequence of str, or callable
        The estimator's import path, those of the steps of a pipeline, or a function (or class) that returns the
        unfitted estimator, in which heavy imports belong.
    features : str or callable
        The name of an entry point of the group ``shelfbench.features`` (``"hog"``, ``"bottleneck"``), or a function of
        a module that turns photos, uint8 of shape (n, pixels, pixels, 3), into numbers of shape (n, d), each photo's
        by itself. Stored features are computed again when the function's module changes.
    pixels : int, optional
        Side of the photos that the function takes; by default 64.
    parameters : mapping, optional
        Keyword arguments of the estimator; those of a pipeline's steps by name, such as ``logisticregression__C``.
    grid : mapping, optional
        Lists of values of further parameters, from which the best on `tune` are chosen.
    columns : mapping of str to str, optional
        Its name in Table 4, as in `BackendSpec`; by default, the names of the function and of the estimator.

    Returns
    -------
    BackendSpec
        The object of an entry point of the group ``shelfbench.backends``.

    Raises
    ------
    InputError
        If no installed package offers the features, or the function is not one of a module.
    """
    head = sklearn_head(estimator, parameters=parameters, grid=grid)
    if isinstance(features, str):
        if pixels is not None:
            raise InputError(f"the features {features!r} have a size of their own", "leave out pixels")
        spec = find_features(features)
    else:
        spec = _features_of(features, _PIXELS if pixels is None else pixels)
    made = head_backend(spec, head)
    return replace(made, columns={**made.columns, **(columns or {})})


def sklearn_head(
    estimator: str | Sequence[str] | Callable[[], Any],
    *,
    parameters: Mapping[str, Any] | None = None,
    grid: Mapping[str, Sequence[Any]] | None = None,
) -> HeadSpec:
    """Make a head, for any features, of a scikit-learn estimator.

    Parameters
    ----------
    estimator : str, sequence of str, or callable
        As in `sklearn_backend`, as are the others.
    parameters : mapping, optional
    grid : mapping, optional

    Returns
    -------
    HeadSpec
        The object of an entry point of the group ``shelfbench.heads``.
    """
    return estimator_head(recipe_of(estimator, parameters, grid))


def _features_of(function: Function, pixels: int) -> FeaturesSpec:
    name = getattr(function, "__qualname__", type(function).__name__)
    module = getattr(function, "__module__", None)
    if not callable(function) or getattr(sys.modules.get(module or ""), name, None) is not function:
        raise InputError(f"the features {name!r} are not a function of a module", "define it there with def")
    title = re.sub(r"[_\W]+", " ", name).strip()

    def build(settings: Mapping[str, Any], backbone: BackboneChoice, workers: int) -> FeatureParts:
        return FeatureParts(features=FunctionFeatures(function, pixels), settings={"features": f"{module}.{name}"})

    return FeaturesSpec(summary=title, build=build, columns={"Feature": title, "Fine-tuning": "no"})


class FunctionFeatures:
    """The features that a function computes, as a `shelfbench.data.extractor.FeatureExtractor`.

    Parameters
    ----------
    function : callable
        From photos, uint8 of shape (n, pixels, pixels, 3), to numbers of shape (n, d); a function of a module.
    pixels : int
    """

    batch = 256
    framework = "numpy"
    device = "cpu"

    def __init__(self, function: Function, pixels: int) -> None:
        self.function, self.pixels = function, pixels
        self.name = function.__name__
        # one grey photo tells how many numbers the function returns
        self.dimensions = self._computed(np.full((1, pixels, pixels, 3), 128, np.uint8)).shape[1]

    def describe(self) -> dict[str, Any]:
        """Return everything that changes the features; the function's module stands for all that it does."""
        module = inspect.getsourcefile(self.function)
        source = file_sha256(Path(module)) if module else hashlib.sha256(self.function.__code__.co_code).hexdigest()
        return {
            "kind": f"{self.function.__module__}.{self.name}",
            "pixels": self.pixels,
            "source": source,
            "numpy": np.__version__,
        }

    def extract(self, images: np.ndarray) -> np.ndarray:
        """Compute the features.

        Parameters
        ----------
        images : ndarray of uint8, shape (n, pixels, pixels, 3)

        Returns
        -------
        ndarray of float32, shape (n, dimensions)

        Raises
        ------
        RunError
            If the function returns something else than one row of finite numbers for each photo.
        """
        if not len(images):
            return np.zeros((0, self.dimensions), np.float32)
        return self._computed(images)

    def _computed(self, images: np.ndarray) -> np.ndarray:
        values = np.asarray(self.function(images.copy()))
        if values.ndim != 2 or len(values) != len(images) or not values.shape[1] or values.dtype.kind not in "biuf":
            raise RunError(
                f"{self.name} returns {values.dtype} of shape {values.shape} for {len(images)} photos",
                "return one row of numbers for each",
            )
        if not np.isfinite(values).all():
            raise RunError(f"{self.name} returns numbers that are not finite", "return finite ones")
        return values.astype(np.float32)
