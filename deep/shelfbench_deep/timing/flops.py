"""Multiply-accumulates of a network, layer by layer; it has twice as many FLOPs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shelfbench_deep.engines.keras import keras


def multiply_accumulates(model: keras.Model) -> int:
    """Count the multiply-accumulates of convolutions and dense layers for one image.

    Biases, normalisation, activations and pooling are not counted, as is usual; a layer that is used twice counts once.

    Parameters
    ----------
    model : keras.Model
        Built at a fixed input size; layers in the order of channels last.

    Returns
    -------
    int
    """
    from shelfbench_deep.engines.keras import keras

    total = 0
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            total += multiply_accumulates(layer)
        elif isinstance(layer, keras.layers.SeparableConv2D):
            # the depthwise half computes one value per channel, and the pointwise half the output from these
            kernels = math.prod(layer.depthwise_kernel.shape) + math.prod(layer.pointwise_kernel.shape)
            total += math.prod(layer.output.shape[1:3]) * kernels
        elif isinstance(layer, keras.layers.Conv2D | keras.layers.DepthwiseConv2D):
            # the kernel of a grouped convolution only has the input channels of its group
            total += math.prod(layer.output.shape[1:3]) * math.prod(layer.kernel.shape)
        elif isinstance(layer, keras.layers.Dense):
            total += math.prod(layer.output.shape[1:-1]) * math.prod(layer.kernel.shape)
    return int(total)
