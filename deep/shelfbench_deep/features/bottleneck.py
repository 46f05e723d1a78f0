"""Bottlenecks: the globally averaged last feature maps of a backbone (C, §4.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from shelfbench.plugins.backend import BackboneChoice
from shelfbench_deep.engines.versions import check_keras
from shelfbench_deep.features.quantised import Quantisable
from shelfbench_deep.features.settings import DEFAULT, BottleneckSettings, Engine
from shelfbench_deep.networks.backbones import Backbone, load_backbone

if TYPE_CHECKING:
    from shelfbench_deep.engines.keras import keras
    from shelfbench_deep.engines.openvino import CompiledNetwork


# Images per call of OpenVINO. Fewer are slower from JPEG; these keep some hundred MiB of pixels ready.
_AT_ONCE = 256


class BottleneckExtractor(Quantisable):
    """Pooled features of a backbone, as a `shelfbench.plugins.backend.FeatureExtractor`.

    The network is built at the first `extract`, which loads Keras if it needs it; until then the object is light and
    can be pickled.

    Parameters
    ----------
    choice : BackboneChoice
        Network, weights and input size.
    settings : BottleneckSettings
        Engine and precision of the features.

    Raises
    ------
    InputError
        If there is no such backbone (see `shelfbench_deep.networks.backbones.load_backbone`).
    """

    def __init__(self, choice: BackboneChoice, settings: BottleneckSettings = DEFAULT) -> None:
        self.backbone: Backbone = load_backbone(choice)
        self.name = self.backbone.name
        self.pixels = self.backbone.pixels
        self.dimensions = self.backbone.network.dimensions
        self._preprocess = self.backbone.network.preprocess
        self._runs_on(settings.settle(), self.backbone.network.batch)
        self._description: dict[str, Any] | None = None

    def _runs_on(self, engine: Engine, batch: int) -> None:
        self.engine = engine
        # OpenVINO cuts its input into small requests; the more it gets at once, the less often its cores run dry
        self.batch = _AT_ONCE if engine.name == "openvino" else batch
        self.framework, self.device = engine.framework, ""
        self._model: keras.Model | None = None
        self._compiled: CompiledNetwork | None = None

    def describe(self) -> dict[str, Any]:
        """Describe everything that changes the features (JSON); reads the weights once, without loading Keras.

        Returns
        -------
        dict

        Raises
        ------
        NotInstalled
            If Keras is needed and not installed: what cannot be computed here need not be described.
        InputError
            If the file of weights cannot be read.
        """
        if self._description is None:
            if self.engine.name == "keras" or self.backbone.needs_keras:
                check_keras(f"the network {self.name}")
            self._description = {
                "kind": "bottleneck",
                **self.backbone.describe(),
                **self._computing(),
            }
        return dict(self._description)

    def _computing(self) -> dict[str, Any]:
        """Describe whatever in the engine changes the features."""
        return {**({"batch": self.batch} if self.engine.name == "keras" else {}), **self.engine.describe()}

    def _features(self, images: np.ndarray) -> np.ndarray:
        """Pad every batch to the same number of images: the network is compiled for one shape only.

        An image's features do not depend on how many others are computed with it. OpenVINO's requests do the same.
        """
        if self.engine.name == "openvino":
            return self._on_openvino()(images)
        features = np.empty((len(images), self.dimensions), np.float32)
        model = self.model()
        filled = np.zeros((self.batch, self.pixels, self.pixels, 3), np.float32)
        for start in range(0, len(images), self.batch):
            part = images[start : start + self.batch]
            filled[: len(part)] = part
            filled[len(part) :] = 0
            computed = model.predict_on_batch(self.preprocess(filled))
            features[start : start + len(part)] = np.asarray(computed)[: len(part)]
        return features

    @property
    def precision(self) -> str:  # type: ignore[override]
        """Of products and of values between layers."""
        return self.engine.precision

    def arrays(self) -> dict[str, np.ndarray] | None:
        """Read the weights of a network that OpenVINO computes without Keras; None if it needs Keras."""
        return None if self.backbone.needs_keras else self.backbone.arrays()

    def to_openvino(self) -> Any:
        """Make the network, from bytes to features, as an `openvino.Model`."""
        if (arrays := self.arrays()) is not None:
            from shelfbench_deep.networks.efficientnet_lite_openvino import efficientnet_lite0

            self.device = "cpu"
            return efficientnet_lite0(arrays, self.pixels)
        from shelfbench_deep.engines.openvino import from_keras

        return from_keras(self.model(), self._preprocess, self.pixels)

    def _on_openvino(self) -> CompiledNetwork:
        if self._compiled is None:
            from shelfbench_deep.engines.openvino import CompiledNetwork

            self.check_calibrated()
            self._compiled = CompiledNetwork(self.to_openvino(), self.engine.precision, self.name)
        return self._compiled

    def preprocess(self, images: Any) -> Any:
        """Turn float32 RGB of 0 to 255 (an array, or a symbolic tensor) into what the network takes."""
        return self._preprocess(images)

    def model(self) -> keras.Model:
        """Return the network, from preprocessed images to features; built at the first call."""
        if self._model is None:
            from shelfbench_deep.engines.native import device_name, jit_compile

            self.device = device_name()
            model = self._build()
            model.compile(jit_compile=jit_compile())
            self._model = model
        return self._model

    def _build(self) -> keras.Model:
        return self.backbone.model()
