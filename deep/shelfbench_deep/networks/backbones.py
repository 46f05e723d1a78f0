"""A backbone: a network that Keras builds, at an input size and with its weights."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from shelfbench.base.errors import InputError
from shelfbench.plugins.backend import BackboneChoice
from shelfbench_deep.networks.efficientnet_lite_layers import arrays_by_path, shapes
from shelfbench_deep.networks.known import KNOWN, find_network
from shelfbench_deep.networks.network import Network
from shelfbench_deep.networks.weights import (
    hash_of_arrays,
    misfit,
    packaged_weights,
    published_weights,
    read_arrays,
    set_weights,
)

if TYPE_CHECKING:
    from shelfbench_deep.engines.keras import keras

# Seed of the random weights of --set weights=none.
RANDOM_SEED = 0


@dataclass(frozen=True)
class Backbone:
    """A network at an input size; its weights are chosen but not loaded.

    Attributes
    ----------
    name : str
        A key of `shelfbench_deep.networks.known.KNOWN`.
    weights : str
        ``imagenet``, ``none`` (random, seeded), or the path of a file.
    pixels : int
        Side of its images.
    """

    name: str
    weights: str
    pixels: int

    @property
    def network(self) -> Network:
        """The fixed properties of the network."""
        return KNOWN[self.name]

    def describe(self) -> dict[str, Any]:
        """Describe what determines the features: network, size, preprocessing and the hash of the weights (JSON).

        Reads the weights (and fetches them if need be) without building the network.
        """
        if self.weights == "none":
            weights = {"source": "none", "seed": RANDOM_SEED}
        else:
            source = "imagenet" if self.weights == "imagenet" else "file"
            weights = {"source": source, "sha256": hash_of_arrays(read_arrays(self._file()))}
        return {
            "network": self.name,
            "pixels": self.pixels,
            "pooling": "global average",
            "preprocessing": self.network.preprocessing,
            "weights": weights,
        }

    @property
    def needs_keras(self) -> bool:
        """Whether only Keras builds the network or reads its weights; OpenVINO computes the others by itself."""
        return bool(self.network.application) or self.weights == "none" or self.weights.endswith(".h5")

    def arrays(self) -> dict[str, np.ndarray]:
        """Read the weights of a network that does not need Keras.

        Returns
        -------
        dict of str to ndarray
            By path, in the order of Keras (`shelfbench_deep.networks.efficientnet_lite_layers.shapes`).

        Raises
        ------
        InputError
            If the file of weights cannot be read or does not fit the network.
        """
        path = self._file()
        if path.suffix == ".pth":
            return arrays_by_path(dict(read_arrays(path)))
        found, expected = dict(read_arrays(path)), shapes()
        if {name: array.shape for name, array in found.items()} != expected:
            raise misfit(path, self.name)
        return {name: np.asarray(found[name], np.float32) for name in expected}

    def model(self) -> keras.Model:
        """Build the network with its weights.

        Returns
        -------
        keras.Model
            From preprocessed float32 images of shape (n, pixels, pixels, 3) to pooled features of shape
            (n, dimensions), float32.

        Raises
        ------
        InputError
            If the file of weights cannot be read or does not fit the network.
        RunError
            If the ImageNet weights cannot be fetched.
        """
        from shelfbench_deep.engines.keras import keras

        path = None if self.weights == "none" else self._file()
        keras.utils.set_random_seed(RANDOM_SEED)
        if self.network.application:
            build = getattr(keras.applications, self.network.application)
            shape = (self.pixels, self.pixels, 3)
            model = build(weights=None, include_top=False, pooling="avg", input_shape=shape)
        else:
            from shelfbench_deep.networks.efficientnet_lite import efficientnet_lite0

            model = efficientnet_lite0(self.pixels)
        if path is not None:
            set_weights(model, path)
        return model

    def _file(self) -> Path:
        if self.weights != "imagenet":
            return Path(self.weights).expanduser()
        if not self.network.application:
            return packaged_weights()
        return published_weights(self.name, self.network.at(self.pixels))


def load_backbone(choice: BackboneChoice) -> Backbone:
    """Check a choice of backbone, without building or fetching anything.

    Parameters
    ----------
    choice : BackboneChoice
        Weights are ``imagenet``, ``none``, or a path: ``.weights.h5`` or ``.h5`` as Keras saves a network
        without its top, ``.safetensors`` with one array per variable, named by its Keras path
        (``stem_conv/kernel``), or ``.pth`` for EfficientNet-Lite0. None of them can execute code.

    Returns
    -------
    Backbone

    Raises
    ------
    InputError
        If the network is unknown, the images are too small for it, or the file is missing or of another kind.
    """
    name, network = find_network(choice.name)
    pixels = network.pixels if choice.pixels is None else choice.pixels
    if pixels < network.least:
        raise InputError(
            f"{choice.name} cannot take images of {pixels} pixels", f"--set pixels={network.least} is the smallest size"
        )
    if choice.weights not in ("imagenet", "none"):
        path = Path(choice.weights).expanduser()
        kinds = (".h5", ".safetensors") if network.application else (".h5", ".safetensors", ".pth")
        if not path.is_file():
            raise InputError(f"there is no file of weights at {choice.weights}", "set weights=imagenet|none|PATH")
        if path.suffix not in kinds:
            raise InputError(
                f"weights of kind {path.suffix or path.name!r} cannot be read for {choice.name}",
                f"give one of *{', *'.join(kinds)}",
            )
        if network.only_published:
            _check_published(choice.name, network, path)
    return Backbone(name, choice.weights, pixels)


def _check_published(name: str, network: Network, path: Path) -> None:
    with path.open("rb") as handle:
        found = hashlib.file_digest(handle, "md5").hexdigest()
    if found != network.digest:
        raise InputError(
            f"{path} is not the file that Keras publishes for {name}, and Keras scales pixels differently for others, "
            "without a note in the file",
            "save the whole network (model.save('network.keras')) and set backbone=network.keras",
        )
