"""EfficientNet-Lite0 as OpenVINO computes it, built from its weights without Keras.

It is the graph that OpenVINO makes of the network of Keras: batch normalisation is part of the kernels and of one
addition after each convolution, and the division of pixels part of the first kernel.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from shelfbench_deep.engines.openvino import REQUEST, library
from shelfbench_deep.networks.efficientnet_lite_layers import EPSILON, Block, blocks


def efficientnet_lite0(arrays: Mapping[str, np.ndarray], pixels: int) -> Any:
    """Build the network.

    Parameters
    ----------
    arrays : mapping of str to ndarray of float32
        Weights by path, as `shelfbench_deep.networks.efficientnet_lite_layers.shapes` lists them.
    pixels : int
        Side of an image.

    Returns
    -------
    openvino.Model
        From images of uint8, shape (`REQUEST`, pixels, pixels, 3), to features of float32, shape (`REQUEST`, 1280).
    """
    ov = library()
    from openvino import opset13 as op  # without telemetry since `library`

    images = op.parameter([REQUEST, pixels, pixels, 3], ov.Type.u8, name="images")
    turned = op.transpose(op.convert(images, "f32"), np.array([0, 3, 1, 2]))
    layers = _Layers(arrays, op)
    # preprocessing is (x - 127) / 128
    x = layers.convolution(op.add(turned, np.full((1, 1, 1, 1), -127, np.float32)), "stem", stride=2, divided=128)
    for block in blocks():
        x = layers.block(x, block)
    features = op.reduce_mean(layers.convolution(x, "head"), np.array([2, 3]), False)
    return ov.Model([op.result(features)], [images], "efficientnet_lite0")


class _Layers:
    """Adds layers to the graph."""

    def __init__(self, arrays: Mapping[str, np.ndarray], op: Any) -> None:
        self._arrays, self._op = arrays, op

    def convolution(self, x: Any, name: str, *, stride: int = 1, divided: float = 1, activate: bool = True) -> Any:
        """Convolve, normalise and rectify; what is convolved counts as divided by a number."""
        kernel, shift = self._folded(name)
        kernel = np.ascontiguousarray(kernel.transpose(3, 2, 0, 1)) / np.float32(divided)
        return self._finished(self._op.convolution(x, kernel, **_same(stride)), shift, activate)

    def block(self, x: Any, block: Block) -> Any:
        """Add an inverted residual block."""
        entry = x
        if block.expands:
            x = self.convolution(x, f"{block.name}_expand")
        kernel, shift = self._folded(f"{block.name}_depthwise")
        kernel = np.ascontiguousarray(kernel.transpose(2, 3, 0, 1)[:, np.newaxis])
        x = self._finished(self._op.group_convolution(x, kernel, **_same(block.stride)), shift)
        x = self.convolution(x, f"{block.name}_project", activate=False)
        return self._op.add(x, entry) if block.adds else x

    def _finished(self, x: Any, shift: np.ndarray, activate: bool = True) -> Any:
        x = self._op.add(x, shift.reshape(1, -1, 1, 1))
        return self._op.clamp(x, 0.0, 6.0) if activate else x

    def _folded(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Return a kernel that normalises, and what is to be added to what it makes."""
        gamma, beta, mean, variance = (
            self._arrays[f"{name}_bn/{part}"] for part in ("gamma", "beta", "moving_mean", "moving_variance")
        )
        scale = self._power(variance + np.float32(EPSILON), -0.5) * gamma
        kernel = self._arrays[f"{name}_conv/kernel"]
        by_filter = scale[:, np.newaxis] if kernel.shape[3] == 1 else scale
        return kernel * by_filter, beta - mean * scale

    def _power(self, values: np.ndarray, exponent: float) -> np.ndarray:
        """Raise to a power as OpenVINO does, to the last bit."""
        ov, power = library(), np.array(exponent, np.float32)
        result = ov.Tensor(ov.Type.f32, ov.Shape(values.shape))
        node = self._op.power(self._op.constant(values), self._op.constant(power))
        node.evaluate([result], [ov.Tensor(values), ov.Tensor(power)])
        return np.array(result.data)


def _same(stride: int) -> dict[str, Any]:
    """TensorFlow's padding ``same``."""
    padding = {"pads_begin": [0, 0], "pads_end": [0, 0], "auto_pad": "same_upper"}
    return {"strides": [stride] * 2, "dilations": [1, 1], **padding}
