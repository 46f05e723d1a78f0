"""Bottlenecks: the globally averaged last feature maps of a backbone (C, §4.2)."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.backend import BackboneChoice
from deep.backbones import Backbone, load_backbone
from deep.versions import framework

if TYPE_CHECKING:
    from deep.engines import keras


class BottleneckExtractor:
    """Pooled features of a backbone, as a `bench.backend.FeatureExtractor`.

    Keras is loaded and the network built at the first `extract`; until then it is light and can be pickled.

    Parameters
    ----------
    choice : BackboneChoice
        Network, weights and input size.

    Raises
    ------
    InputError
        If there is no such backbone (see `deep.backbones.load_backbone`).
    """

    def __init__(self, choice: BackboneChoice) -> None:
        self.backbone: Backbone = load_backbone(choice)
        self.name = choice.name
        self.pixels = self.backbone.pixels
        self.dimensions = self.backbone.network.dimensions
        self.batch = self.backbone.network.batch
        self.framework, self.device = framework().engine, ""
        self._preprocess = self.backbone.network.preprocess
        self._model: keras.Model | None = None
        self._description: dict[str, Any] | None = None

    def describe(self) -> dict[str, Any]:
        """Everything that changes the features (JSON); reads the weights once, without loading Keras."""
        if self._description is None:
            self._description = {
                "kind": "bottleneck",
                **self.backbone.describe(),
                "batch": self.batch,
                "precision": "float32",
                "framework": asdict(framework()),
            }
        return dict(self._description)

    def extract(self, images: np.ndarray) -> np.ndarray:
        """Compute features.

        Every batch is filled up to `batch` images, so that the network is compiled for one shape only and an
        image's features do not depend on how many others came with it.

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
        """
        if images.shape[1:] != (self.pixels, self.pixels, 3) or images.dtype != np.uint8:
            raise ValueError(
                f"images of uint8 and shape (n, {self.pixels}, {self.pixels}, 3) are needed, "
                f"not {images.dtype} {images.shape}"
            )
        features = np.empty((len(images), self.dimensions), np.float32)
        if len(images) == 0:
            return features
        model = self.model()
        filled = np.zeros((self.batch, self.pixels, self.pixels, 3), np.float32)
        for start in range(0, len(images), self.batch):
            part = images[start : start + self.batch]
            filled[: len(part)] = part
            filled[len(part) :] = 0
            computed = model.predict_on_batch(self.preprocess(filled))
            features[start : start + len(part)] = np.asarray(computed)[: len(part)]
        return features

    def preprocess(self, images: Any) -> Any:
        """Turn float32 RGB of 0 to 255 (an array, or a symbolic tensor) into what the network takes."""
        return self._preprocess(images)

    def model(self) -> keras.Model:
        """Give the network, from preprocessed images to features; built at the first call."""
        if self._model is None:
            from deep.engines import device_name, jit_compile

            self.device = device_name()
            model = self._build()
            model.compile(jit_compile=jit_compile())
            self._model = model
        return self._model

    def _build(self) -> keras.Model:
        return self.backbone.model()
