"""Histograms of oriented gradients (Dalal and Triggs, CVPR 2005): the features of paper C's weakest row."""

from __future__ import annotations

import signal
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any

import numpy as np

from bench.errors import InputError, RunError

ENGINES = ("skimage",)
# Images per task of a worker process: about 60 ms of work against well under 1 ms of pickling.
CHUNK = 16


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
    engine : str
        What computes them: ``skimage``.

    Raises
    ------
    InputError
        If a value is not possible, or no block fits into the image.
    """

    pixels: int = 180
    orientations: int = 9
    cells: int = 16
    blocks: int = 2
    engine: str = "skimage"

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
    """HOG of colour images by ``skimage.feature.hog``, over worker processes.

    As Dalal and Triggs do, each pixel takes the gradient of the colour channel in which it is strongest
    (``channel_axis``); nothing is turned to grey. There is no Gaussian window and no interpolation between
    cells.

    Parameters
    ----------
    settings : HogSettings
    workers : int
        Processes. With 1 everything stays in this one; otherwise joblib starts them at the first call of many
        images (a second or two) and keeps them for the next.
    """

    name = "hog"
    framework = "scikit-image"
    device = "cpu"
    batch = 512

    def __init__(self, settings: HogSettings, workers: int = 1) -> None:
        if workers < 1:
            raise InputError(f"workers is {workers}", "give a whole number of at least 1")
        self.settings = settings
        self.workers = workers
        self.pixels = settings.pixels
        self.dimensions = settings.dimensions

    def describe(self) -> dict[str, Any]:
        """Settings, colour rule, normalisation and library: all that changes the features."""
        return {
            "features": self.name,
            **asdict(self.settings),
            "channels": "strongest",
            "block_norm": "L2-Hys",
            "library": f"scikit-image {version('scikit-image')}",
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
        features = np.empty((len(images), self.dimensions), np.float32)
        if self.workers == 1 or len(images) <= CHUNK:
            return _fill(features, images, self.settings)
        from joblib import Parallel, delayed

        starts = range(0, len(images), CHUNK)
        # Loky keeps its processes between calls. A chunk goes through a pipe, not through a file.
        parts = Parallel(n_jobs=self.workers, max_nbytes=None, return_as="generator")(
            delayed(_hog_of)(images[start : start + CHUNK], self.settings) for start in starts
        )
        for start, part in zip(starts, parts, strict=True):
            features[start : start + CHUNK] = part
        return features


def _hog_of(images: np.ndarray, settings: HogSettings) -> np.ndarray:
    """HOG of a chunk of images, float32 (n, dimensions); runs in a worker."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that waits, which ends its workers
    return _fill(np.empty((len(images), settings.dimensions), np.float32), images, settings)


def _fill(features: np.ndarray, images: np.ndarray, settings: HogSettings) -> np.ndarray:
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
    return features
