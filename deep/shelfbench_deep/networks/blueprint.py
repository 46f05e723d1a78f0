"""How a trained network is rebuilt, before its weights are loaded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from shelfbench_deep.networks.backbones import Backbone
from shelfbench_deep.networks.known import KNOWN, PREFIX
from shelfbench_deep.networks.network import Network

if TYPE_CHECKING:
    from shelfbench_deep.engines.keras import keras
    from shelfbench_deep.networks.inception import InceptionSettings
    from shelfbench_deep.networks.xception import XceptionSettings

MAX_SIDE, MAX_CLASSES = 4096, 1_000_000


@dataclass(frozen=True, kw_only=True)
class Blueprint:
    """How to build a network with its head; the weights come later.

    Attributes
    ----------
    network : str
        A key of `shelfbench_deep.networks.known.KNOWN`.
    pixels : int
    classes : int
        Logits; 0 for a backbone that ends at its pooled features.
    settings : dict
        Of `shelfbench_deep.networks.xception` or `shelfbench_deep.networks.inception`, if the network is built there;
        empty for a backbone with a dense layer of logits on its pooled features.
    dropout : float
        Before the logits of a backbone.
    """

    network: str
    pixels: int
    classes: int
    settings: dict[str, Any] = field(default_factory=dict)
    dropout: float = 0.0

    def __post_init__(self) -> None:
        """Raise `ValueError` if it cannot be built: a record may come from anyone."""
        if not isinstance(self.network, str) or self.network not in KNOWN:
            raise ValueError(f"unknown network {str(self.network)[:40]!r}")
        bounds = {"pixels": (self.known.least, MAX_SIDE), "classes": (0, MAX_CLASSES)}
        for name, (least, most) in bounds.items():
            value = getattr(self, name)
            if type(value) is not int or not least <= value <= most:
                raise ValueError(f"{name} is {str(value)[:40]}, not a whole number from {least} to {most}")
        if type(self.dropout) not in (int, float) or not 0 <= self.dropout < 1:
            raise ValueError(f"dropout is {str(self.dropout)[:40]}")
        if not isinstance(self.settings, dict):
            raise ValueError("the settings do not belong to a network")
        if self.settings:
            self._own()

    @property
    def known(self) -> Network:
        """The fixed properties of the network."""
        return KNOWN[self.network]

    def _own(self) -> XceptionSettings | InceptionSettings:
        """Return `settings` as the dataclass that checks them."""
        from shelfbench_deep.networks.inception import InceptionSettings
        from shelfbench_deep.networks.xception import XceptionSettings

        kinds = {"xception": XceptionSettings, "inception_v3": InceptionSettings}
        if self.network not in kinds or not self.classes:
            raise ValueError("the settings do not belong to a network")
        found: XceptionSettings | InceptionSettings = kinds[self.network](**self.settings)
        return found

    def build(self) -> keras.Model:
        """Build the network with new weights.

        Returns
        -------
        keras.Model
            From preprocessed float32 images to logits of float32; not compiled.
        """
        from shelfbench_deep.engines.keras import keras

        if self.settings:
            from shelfbench_deep.networks.inception import inception_v3
            from shelfbench_deep.networks.xception import XceptionSettings, xception

            own = self._own()
            if isinstance(own, XceptionSettings):
                return xception(self.pixels, self.classes, own)
            return inception_v3(self.pixels, self.classes, own)
        base = Backbone(self.network, "none", self.pixels).model()
        features = base.output
        if not self.classes:
            return base
        # these names are part of the files of weights
        if self.dropout:
            features = keras.layers.Dropout(self.dropout, name="tuned_dropout")(features)
        logits = keras.layers.Dense(self.classes, dtype="float32", name="tuned_logits")(features)
        return keras.Model(base.input, logits, name=f"tuned_{self.network.removeprefix(PREFIX)}")

    def least_parameters(self) -> float:
        """Lower bound of the number of parameters, found without building the network."""
        if not self.settings:
            return self.known.parameters + self.known.dimensions * self.classes
        from shelfbench_deep.networks.xception import XceptionSettings, count_parameters

        own = self._own()
        if isinstance(own, XceptionSettings):
            return count_parameters(own, self.classes)
        # 21.5 million in the kernels at a width of 1
        return 15e6 * own.width**2 + 2000 * own.width * self.classes

    @property
    def preprocess(self) -> Callable[[np.ndarray], np.ndarray]:
        """Turn float32 RGB of 0 to 255 into the network's input."""
        return self.known.preprocess


def features_of(model: keras.Model) -> keras.Model:
    """Cut a network off before its layer of logits."""
    from shelfbench_deep.engines.keras import keras

    return keras.Model(model.input, model.layers[-1].input)
