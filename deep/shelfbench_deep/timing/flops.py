"""Multiply-accumulates of a network, layer by layer; FLOPs are twice that."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shelfbench_deep.engines.loading import keras

# A training step goes through the network once forward and, at twice the cost, once backward.
TRAINING = 3


def multiply_accumulates(model: keras.Model) -> int:
    """Count the multiply-accumulates of convolutions and dense layers for one image.

    Biases, normalisation, activations and pooling are left out, as is usual; a layer that is used twice counts once.

    Parameters
    ----------
    model : keras.Model
        Built at a fixed input size; layers in the order of channels last.

    Returns
    -------
    int
    """
    from shelfbench_deep.engines.loading import keras

    total = 0
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            total += multiply_accumulates(layer)
        elif isinstance(layer, keras.layers.SeparableConv2D):
            # the depthwise half makes a value a channel, from which the pointwise half makes the output
            kernels = math.prod(layer.depthwise_kernel.shape) + math.prod(layer.pointwise_kernel.shape)
            total += math.prod(layer.output.shape[1:3]) * kernels
        elif isinstance(layer, keras.layers.Conv2D | keras.layers.DepthwiseConv2D):
            # the kernel of a grouped convolution already holds but its group's input channels
            total += math.prod(layer.output.shape[1:3]) * math.prod(layer.kernel.shape)
        elif isinstance(layer, keras.layers.Dense):
            total += math.prod(layer.output.shape[1:-1]) * math.prod(layer.kernel.shape)
    return int(total)
