"""Histograms of oriented gradients (Dalal and Triggs, CVPR 2005): the features of paper C's weakest row."""

from __future__ import annotations

import threading
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
from shelfbench.base.errors import InputError, RunError

from shelfbench_baselines.gradients import Histograms
from shelfbench_baselines.workers import CHUNK, Exchange

ENGINES = ("numpy", "skimage")
# The last settings' tables and working memory, of each thread.
_OWN = threading.local()


@dataclass(frozen=True)
class HogSettings:
    """Section ``hog`` of a study. The papers give no values; the defaults are this suite's.

    Attributes
    ----------
    pixels : int
        Side of the square images.
    orientations : int
        Bins of the unsigned gradient direction.
    cells : int
        Side of a cell in pixels; what is left over at the right and lower edge is not used.
    blocks : int
        Side of a block in cells. Blocks overlap, one starting at every cell, and are normalised by L2-Hys
        (clipped at .2).
    engine : {"numpy", "skimage"}
        What computes them. ``skimage`` is `skimage.feature.hog`; ``numpy`` gives the same to seven digits, many times
        as fast.

    Raises
    ------
    InputError
        If a value is not possible, or no block fits into the image.
    """

    pixels: int = 180
    orientations: int = 9
    cells: int = 16
    blocks: int = 2
    engine: str = "numpy"

    def __post_init__(self) -> None:
        for name in ("pixels", "orientations", "cells", "blocks"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise InputError(f"hog.{name} is {value!r}", "give a whole number of at least 1")
        if self.engine not in ENGINES:
            raise InputError(f"hog.engine is {self.engine!r}", f"choose from: {', '.join(ENGINES)}")
        if self.pixels < self.cells * self.blocks:
            raise InputError(
                f"hog.pixels is {self.pixels}, but a block of {self.blocks} x {self.blocks} "
                f"cells of {self.cells} pixels needs {self.cells * self.blocks}",
                "make hog.pixels larger, or hog.cells or hog.blocks smaller",
            )

    @property
    def dimensions(self) -> int:
        """Length of one feature vector."""
        positions = self.pixels // self.cells - self.blocks + 1
        return (positions * self.blocks) ** 2 * self.orientations


class HogExtractor:
    """HOG of colour images, by an own engine or by ``skimage.feature.hog``, over processes.

    As Dalal and Triggs do, each pixel takes the gradient of the colour channel in which it is strongest
    (``channel_axis``); nothing is turned to grey. There is no Gaussian window and no interpolation between
    cells.

    Parameters
    ----------
    settings : HogSettings
    workers : int
        Processes, this one included. With 1 everything stays here; otherwise joblib's are started at the first call
        of many images (a second or two) and kept for the next.
    """

    name = "hog"
    device = "cpu"
    batch = 512

    def __init__(self, settings: HogSettings, workers: int = 1) -> None:
        if workers < 1:
            raise InputError(f"workers is {workers}", "give a whole number of at least 1")
        self.settings = settings
        self.workers = workers
        self._exchange: Exchange | None = None
        self.framework = "scikit-image" if settings.engine == "skimage" else "numpy"
        self.pixels = settings.pixels
        self.dimensions = settings.dimensions

    def describe(self) -> dict[str, Any]:
        """Settings, colour rule, normalisation and library: all that changes the features."""
        return {
            "features": self.name,
            **asdict(self.settings),
            "channels": "strongest",
            "block_norm": "L2-Hys",
            # sums in float64, rounded to float32: versions of NumPy differ in the last digit at most
            "library": f"scikit-image {version('scikit-image')}" if self.settings.engine == "skimage" else "numpy",
        }

    def extract(self, images: np.ndarray) -> np.ndarray:
        """Compute the HOG of each image.

        Parameters
        ----------
        images : ndarray of uint8, shape (n, pixels, pixels, 3)

        Returns
        -------
        ndarray of float32, shape (n, dimensions)

        Raises
        ------
        RunError
            If the images have another shape or type.
        """
        side = self.pixels
        if images.ndim != 4 or images.shape[1:] != (side, side, 3) or images.dtype != np.uint8:
            raise RunError(
                f"HOG takes uint8 images of shape (n, {side}, {side}, 3), not {images.dtype} of {images.shape}",
                "give images of the size that hog.pixels says",
            )
        if self.workers == 1 or len(images) <= CHUNK:
            features = np.empty((len(images), self.dimensions), np.float32)
            fill(features, images, self.settings)
            return features
        if self._exchange is None or self._exchange.rows < len(images):
            self._exchange = Exchange(max(self.batch, len(images)), self.workers, images.shape[1:], (self.dimensions,))
        return self._exchange.run(fill, self.settings, images)

    def __getstate__(self) -> dict[str, Any]:
        """Leave the files of the worker processes behind."""
        return {**self.__dict__, "_exchange": None}


def fill(features: np.ndarray, images: np.ndarray, settings: HogSettings) -> None:
    """Compute the HOG of images by the engine of `settings`.

    Parameters
    ----------
    features : ndarray of float32, shape (n, dimensions)
        Written.
    images : ndarray of uint8, shape (n, pixels, pixels, 3)
    settings : HogSettings
    """
    if settings.engine == "numpy":
        if getattr(_OWN, "settings", None) != settings:
            _OWN.histograms = Histograms(settings.pixels, settings.cells, settings.blocks, settings.orientations)
            _OWN.settings = settings
        own = _OWN.histograms
        for start in range(0, len(images), CHUNK):  # what a chunk's blocks need stays in cache
            own.fill(features[start : start + CHUNK], images[start : start + CHUNK])
        return
    from skimage.feature import hog

    for row, image in zip(features, images, strict=True):
        row[:] = hog(
            image,
            orientations=settings.orientations,
            block_norm="L2-Hys",
            channel_axis=-1,
            pixels_per_cell=(settings.cells, settings.cells),
            cells_per_block=(settings.blocks, settings.blocks),
        )
