"""The engines that were tried for bottlenecks compute the network they are given, each in its own precision."""

import numpy as np
import pytest

from shelfbench_deep.engines.keras import keras
from tests.benchmarks import engines

# Least and most of the distance from float32, as a share of the norm.
APART = {"float32": (0, 1e-4), "bfloat16": (1e-5, 5e-2)}


@pytest.fixture(scope="module")
def network():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((engines.PIXELS, engines.PIXELS, 3))
    outputs = keras.layers.Conv2D(16, 3, strides=8, activation="relu")(inputs)
    outputs = keras.layers.GlobalAveragePooling2D()(keras.layers.BatchNormalization()(outputs))
    return keras.Model(inputs, outputs)


@pytest.mark.parametrize("name", engines.ENGINES)
def test_same_network(name, network):
    if name.startswith("ONNX"):
        pytest.importorskip("tf2onnx", reason="the package that converts is not installed")
    images = np.random.default_rng(0).integers(0, 256, (40, engines.PIXELS, engines.PIXELS, 3), np.uint8)

    def preprocess(pixels):
        return pixels / 255.0

    expected = network(preprocess(images.astype(np.float32))).numpy()
    found = np.asarray(engines.ENGINES[name](network, preprocess)(images), np.float32)
    apart = np.linalg.norm(found - expected) / np.linalg.norm(expected)
    least, most = APART["bfloat16" if name.endswith("bfloat16") else "float32"]
    assert least <= apart <= most
