"""What every extractor does around its network: bytes of squares in, finite features out."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from shelfbench.base.errors import RunError


class FromPixels(ABC):
    """What extractors of networks have in common.

    Attributes
    ----------
    name : str
        For messages.
    pixels : int
        Side of an image.
    dimensions : int
        Of a feature vector.
    precision : str
        Of products.
    remedy : str
        What to do where features are not numbers.
    """

    name: str
    pixels: int
    dimensions: int
    precision: str
    remedy: str = "check its weights, or set bottleneck.precision=float32"

    @abstractmethod
    def _features(self, images: np.ndarray) -> np.ndarray:
        """Compute the features of at least one image."""

    def extract(self, images: np.ndarray) -> np.ndarray:
        """Compute features.

        Parameters
        ----------
        images : ndarray of uint8, shape (n, pixels, pixels, 3)
            RGB images; `n` may be 0.

        Returns
        -------
        ndarray of float32, shape (n, dimensions)

        Raises
        ------
        ValueError
            If the images are of another shape or type.
        InputError
            If a part that computes is not installed, or the network cannot be read.
        RunError
            If the network cannot be computed, or returns something that is not a number, or another count of numbers.
        """
        if images.shape[1:] != (self.pixels, self.pixels, 3) or images.dtype != np.uint8:
            raise ValueError(
                f"expected images of uint8 and shape (n, {self.pixels}, {self.pixels}, 3), "
                f"not {images.dtype} {images.shape}"
            )
        if len(images) == 0:
            return np.empty((0, self.dimensions), np.float32)
        features = self._features(images)
        if features.shape != (len(images), self.dimensions):
            raise RunError(
                f"{self.name} returns values of shape {features.shape}, not {self.dimensions} for each image"
            )
        if not np.isfinite(features).all():
            raise RunError(f"{self.name} returns values that are not numbers in {self.precision}", self.remedy)
        return features
