"""The five best classes of the networks in X's Table 1, with the top that Keras publishes."""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from shelfbench.base.errors import InputError
from shelfbench.verdict.ranking import best_per_image
from shelfbench_deep.engines.versions import framework, keras_home
from shelfbench_deep.heads.softmax import log_softmax
from shelfbench_deep.networks.backbones import RANDOM_SEED
from shelfbench_deep.networks.known import NETWORKS
from shelfbench_deep.networks.network import Network
from shelfbench_deep.networks.weights import fetch_weights

if TYPE_CHECKING:
    from shelfbench_deep.engines.keras import keras

CLASSES, TOP = 1000, 5
# Side of the central crop as a share of the short side of the resized photo: 224 of 256, 299 of 342.
CROP = 0.875


def _with_top(name: str, pixels: int, file: str, md5: str) -> Network:
    return dataclasses.replace(NETWORKS[name], dimensions=CLASSES, pixels=pixels, file=file, digest=md5)


# The networks of Table 1 at their own sizes, with the weights that ``keras.applications`` publishes including the top.
NETWORKS_WITH_TOP = {
    "vgg16": _with_top("vgg16", 224, "vgg16_weights_tf_dim_ordering_tf_kernels.h5", "64373286793e3c8b2b4e3219cbf3544b"),
    "resnet152": _with_top(
        "resnet152", 224, "resnet152_weights_tf_dim_ordering_tf_kernels.h5", "100835be76be38e30d865e96f2aaae62"
    ),
    "inception_v3": _with_top(
        "inception_v3", 299, "inception_v3_weights_tf_dim_ordering_tf_kernels.h5", "9a0d58056eeedaa3f26cb7ebd46da564"
    ),
    "xception": _with_top(
        "xception", 299, "xception_weights_tf_dim_ordering_tf_kernels.h5", "0a58e3b7378bc2990ea3b43d5981f1f6"
    ),
}


class TopFive:
    """The five best classes of a network with its top, as a `shelfbench.plugins.backend.FeatureExtractor`.

    Images come as squares of `pixels`, to which the short side of the photo is resized (bicubic); the network sees the
    central square of `crop`. A row of "features" consists of the five codes and their log-probabilities, so that the
    feature store keeps what an interrupted run has computed.

    Parameters
    ----------
    name : str
        A key of `NETWORKS_WITH_TOP`.
    weights : {"imagenet", "none"}
    pixels : int or None
        Side of the crop; the network's own by default.

    Raises
    ------
    InputError
        If the weights are neither, or the crop is too small for the network or does not fit its weights.
    """

    def __init__(self, name: str, weights: str, pixels: int | None) -> None:
        if weights not in ("imagenet", "none"):
            raise InputError(
                f"weights={weights} with the study imagenet is not possible",
                "set weights=imagenet, or none to rehearse",
            )
        self.network = NETWORKS_WITH_TOP[name]
        self.crop = self.network.pixels if pixels is None else pixels
        if self.crop < self.network.least:
            raise InputError(f"{name} cannot take images of {self.crop} pixels", f"give at least {self.network.least}")
        if name == "vgg16" and weights == "imagenet" and self.crop != self.network.pixels:
            raise InputError(f"vgg16's weights need {self.network.pixels} pixels", "leave pixels out")
        self.base, self.weights = name, weights
        self.name = f"{name}-top{TOP}"
        self.pixels = round(self.crop / CROP)
        self.dimensions = 2 * TOP
        self.batch = self.network.batch
        self.framework, self.device = framework().engine, ""
        self._model: keras.Model | None = None

    def describe(self) -> dict[str, Any]:
        """Describe everything that changes the numbers (JSON)."""
        weights = (
            {"source": "none", "seed": RANDOM_SEED}
            if self.weights == "none"
            else {"source": "imagenet", "md5": self.network.digest}
        )
        return {
            "kind": f"top {TOP}",
            "network": self.base,
            "crop": self.crop,
            "preprocessing": self.network.preprocessing,
            "weights": weights,
            "batch": self.batch,
            "precision": "float32",
            "framework": asdict(framework()),
        }

    def extract(self, images: np.ndarray) -> np.ndarray:
        """Find the five best classes.

        Parameters
        ----------
        images : ndarray of uint8, shape (n, pixels, pixels, 3)

        Returns
        -------
        ndarray of float32, shape (n, 10)
            Five codes, the best first, then their log-probabilities.
        """
        edge = (self.pixels - self.crop) // 2
        result = np.empty((len(images), self.dimensions), np.float32)
        filled = np.zeros((self.batch, self.crop, self.crop, 3), np.float32)
        for start in range(0, len(images), self.batch):
            part = images[start : start + self.batch, edge : edge + self.crop, edge : edge + self.crop]
            filled[: len(part)] = part
            filled[len(part) :] = 0
            logits = self.model().predict_on_batch(self.network.preprocess(filled))
            best = best_per_image(log_softmax(np.asarray(logits)[: len(part)]), TOP)
            result[start : start + len(part)] = np.hstack([best.code, best.score])
        return result

    def model(self) -> keras.Model:
        """Return the network with its top; built once.

        Returns
        -------
        keras.Model
            From preprocessed images to logits.

        Raises
        ------
        InputError
            If the file of weights is not the published one.
        RunError
            If the file cannot be fetched.
        """
        if self._model is None:
            from shelfbench_deep.engines.keras import keras
            from shelfbench_deep.engines.native import device_name, jit_compile

            self.device = device_name()
            path = None if self.weights == "none" else weights_with_top(self.base)
            keras.utils.set_random_seed(RANDOM_SEED)
            build = getattr(keras.applications, self.network.application)
            model = build(
                weights=None, classes=CLASSES, input_shape=(self.crop, self.crop, 3), classifier_activation=None
            )
            if path is not None:
                model.load_weights(path)
            model.compile(jit_compile=jit_compile())
            self._model = model
        return self._model


def weights_with_top(name: str) -> Path:
    """Find or fetch the ImageNet weights of a network with its top.

    Parameters
    ----------
    name : str
        A key of `NETWORKS_WITH_TOP`.

    Returns
    -------
    Path

    Raises
    ------
    InputError
        If a file of that name exists but is not the published one.
    RunError
        If the file cannot be fetched; the message says which file to put where.
    """
    network = NETWORKS_WITH_TOP[name]
    path = keras_home() / "models" / network.file
    if path.is_file():
        with path.open("rb") as handle:
            found = hashlib.file_digest(handle, "md5").hexdigest()
        if found != network.digest:
            raise InputError(f"{path} is not what Keras publishes under that name (md5 {found})", "delete it")
        return path
    fetch_weights(f"{name} with its top", network, path, "--set weights=none to rehearse without")
    return path
