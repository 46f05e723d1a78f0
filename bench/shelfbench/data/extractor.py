"""What computes features: the part of a backend that the feature store calls."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np


class FeatureExtractor(Protocol):
    """Turns pixels into features. Must be picklable before its first use.

    Attributes
    ----------
    name : str
        Short name for logs and timings (``hog``, ``efficientnet_lite0``).
    pixels : int
        Side of the square images that it takes.
    dimensions : int
        Length of one feature vector.
    batch : int
        A suitable number of images per call of `extract`.
    framework : str
        The library that computes, for the record (``scikit-image``, ``tensorflow``).
    device : str
        Where it computes, for the record: ``cpu`` or the accelerator's name; empty before the first call.
    fixed_size : bool, optional
        Whether its network takes images of this size only, so that ``pixels = "auto"`` leaves it alone.
    notes : tuple of str, optional
        What was found out or chosen about the network; said once, when a run begins.
    address : str, optional
        The name of the backbone, if not the user's own words, so that it is found from any folder.
    calibration : int, optional
        How many training photos it has to see before it computes (a network in int8); 0 for none. Then
        ``calibrated(photos)``, with photos of uint8 and shape (n, pixels, pixels, 3), returns the extractor to use
        instead. That one has ``save(folder)``, which writes all files that it needs, as `save_features` of
        `shelfbench.plugins.backend.Backend` does.
    view : View or None, optional
        How its network was trained to see photos; None, or without this attribute, as ``images.fit`` of the study says.
    """

    name: str
    pixels: int
    dimensions: int
    batch: int
    framework: str
    device: str

    def describe(self) -> dict[str, Any]:
        """Return everything that changes the features, as JSON: settings, network, hash of the weights, versions."""

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
