"""What computes features: the side of a backend that the feature store calls."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np


class FeatureExtractor(Protocol):
    """Pixels to features. Must be picklable until first used.

    Attributes
    ----------
    name : str
        Short name for logs and timings (``hog``, ``efficientnet_lite0``).
    pixels : int
        Side of the square images it takes.
    dimensions : int
        Length of one feature vector.
    batch : int
        Images per call of `extract` that suit it.
    framework : str
        What computes, for the record (``scikit-image``, ``tensorflow``).
    device : str
        Where, for the record: ``cpu`` or the accelerator's name; empty until it has computed.
    """

    name: str
    pixels: int
    dimensions: int
    batch: int
    framework: str
    device: str

    def describe(self) -> dict[str, Any]:
        """Everything that changes the features, as JSON: settings, network, hash of the weights, versions."""

    def extract(self, images: np.ndarray) -> np.ndarray:
        """Compute features.

        Parameters
        ----------
        images : ndarray of uint8, shape (n, pixels, pixels, 3)
            RGB images; `n` may be 0.

        Returns
        -------
        ndarray of float32, shape (n, dimensions)
        """
