"""Histograms of oriented gradients (Dalal and Triggs, CVPR 2005), the features of paper C's weakest backend."""

from __future__ import annotations

import threading
from dataclasses import asdict, dataclass
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

import numpy as np

from shelfbench.base.errors import InputError, NotInstalled, RunError
from shelfbench_baselines.gradients import Histograms
from shelfbench_baselines.workers import CHUNK, Exchange

ENGINES = ("numpy", "skimage")
# Tables and working memory for the last settings, per thread.
_OWN = threading.local()


@dataclass(frozen=True, kw_only=True)
class HogSettings:
    """Section ``hog`` of a study. The papers state no values; the defaults are our own.

    Attributes
    ----------
    pixels : int
        Side of the square images.
    orientations : int
        Bins of the unsigned gradient direction.
    cells : int
        Side of a cell, in pixels; pixels left over at the right and lower edge are not used.
    blocks : int
        Side of a block, in cells. Blocks overlap, one starting at every cell, and are normalised by L2-Hys (clipped at
        0.2).
    engine : {"numpy", "skimage"}
        Implementation of the features. ``skimage`` is `skimage.feature.hog`; ``numpy`` computes the same up to
        rounding, in less time.

    Raises
    ------
    InputError
        If a value is impossible, or no block fits into the image.
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
    """HOG of colour images, by our own engine or by ``skimage.feature.hog``, in several processes.

    As in Dalal and Triggs, each pixel takes the gradient of the colour channel in which it is strongest
    (``channel_axis``), without conversion to grey. There is no Gaussian window and no interpolation between cells.

    Parameters
    ----------
    settings : HogSettings
    workers : int
        Number of processes, including this one. With more than 1, the others start at the first call with many images
        and are kept for the next.

    Raises
    ------
    InputError
        If `workers` is less than 1, or the engine is not installed.
    """

    name = "hog"
    device = "cpu"
    batch = 512

    def __init__(self, settings: HogSettings, workers: int = 1) -> None:
        if workers < 1:
            raise InputError(f"workers is {workers}", "give a whole number of at least 1")
        if settings.engine == "skimage" and find_spec("skimage") is None:
            raise NotInstalled(
                "hog.engine is 'skimage', and scikit-image is not installed",
                "python -m pip install 'shelfbench[skimage]', or omit hog.engine",
            )
        self.settings = settings
        self.workers = workers
        self._exchange: Exchange | None = None
        self.framework = "scikit-image" if settings.engine == "skimage" else "numpy"
        self.pixels = settings.pixels
        self.dimensions = settings.dimensions

    def describe(self) -> dict[str, Any]:
        """Return everything that changes the features: settings, colour rule, normalisation and library."""
        return {
            "features": self.name,
            **asdict(self.settings),
            "channels": "strongest",
            "block_norm": "L2-Hys",
            # sums are float64, rounded to float32: versions of NumPy differ in the last digit at most
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
            If the images have a different shape or type.
        """
        side = self.pixels
        if images.ndim != 4 or images.shape[1:] != (side, side, 3) or images.dtype != np.uint8:
            raise RunError(
                f"HOG takes uint8 images of shape (n, {side}, {side}, 3), not {images.dtype} of {images.shape}",
                "give images of the size hog.pixels",
            )
        if self.workers == 1 or len(images) <= CHUNK:
            features = np.empty((len(images), self.dimensions), np.float32)
            fill(features, images, self.settings)
            return features
        if self._exchange is None or self._exchange.rows < len(images):
            self._exchange = Exchange(max(self.batch, len(images)), self.workers, images.shape[1:], (self.dimensions,))
        return self._exchange.run(fill, self.settings, images)

    def __getstate__(self) -> dict[str, Any]:
        """Drop the files shared with worker processes."""
        return {**self.__dict__, "_exchange": None}


def fill(features: np.ndarray, images: np.ndarray, settings: HogSettings) -> None:
    """Compute the HOG of images with the engine of `settings`.

    Parameters
    ----------
    features : ndarray of float32, shape (n, dimensions)
        Where the result is written.
    images : ndarray of uint8, shape (n, pixels, pixels, 3)
    settings : HogSettings
    """
    if settings.engine == "numpy":
        if getattr(_OWN, "settings", None) != settings:
            _OWN.histograms = Histograms(settings.pixels, settings.cells, settings.blocks, settings.orientations)
            _OWN.settings = settings
        own = _OWN.histograms
        for start in range(0, len(images), CHUNK):  # a chunk's blocks stay in cache
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
