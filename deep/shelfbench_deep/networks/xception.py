"""Xception as its paper describes it (X, Figure 5), with the ablations of X, §4.5 to §5.

Layers with weights have the names that ``keras.applications`` gives them in a fresh process, so that a file of weights
fits both.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING

from shelfbench.base.errors import InputError

if TYPE_CHECKING:
    from shelfbench_deep.engines.keras import keras

FC_UNITS = 4096
LEAST_PIXELS = 71
_ENTRY, _MIDDLE, _MIDDLE_BLOCKS, _EXIT = (128, 256, 728), 728, 8, (1024, 1536, 2048)
# VGG-16's convolutions (Simonyan and Zisserman, 2015, Table 1, D), one row between two poolings.
_VGG = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


class Width:
    """Settings with a `width`, which multiplies every number of channels."""

    width: float

    def channels(self, number: int) -> int:
        """Scale a number of channels by `width`; at least 1."""
        return max(1, math.floor(number * self.width + 0.5))


def check_numbers(section: str, width: float, dropout: float) -> None:
    """Raise `InputError` for a `width` that is not positive or a `dropout` outside [0, 1)."""
    if not _is_number(width) or not 0 < width < math.inf:
        raise InputError(f"{section}.width is {width!r}", "give a positive number; 1 is the paper's network")
    if not _is_number(dropout) or not 0 <= dropout < 1:
        raise InputError(f"{section}.dropout is {dropout!r}", "give a number from 0 to below 1")


def check_flag(section: str, name: str, value: object) -> None:
    """Raise `InputError` for a value that is neither true nor false."""
    if not isinstance(value, bool):
        raise InputError(f"{section}.{name} is {value!r}", "give true or false")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


@dataclass(frozen=True, kw_only=True)
class XceptionSettings(Width):
    """Section ``xception`` of a study: the plain network by default, and each of its ablations.

    Attributes
    ----------
    width : float
        Multiplies every number of channels, including those of the FC layers; rounded.
    residuals : bool
        The 12 additions and the four 1x1 convolutions on their shortcuts (§4.6, Figure 9).
    intermediate : {"none", "relu", "elu"}
        Activation between the depthwise and the pointwise part of a separable convolution (§4.7, Figure 10).
    order : {"spatial", "pointwise"}
        Which part of a separable convolution comes first; Inception modules have the pointwise one first (§1.2).
    between : bool
        Batch normalisation and ReLU between the two parts, as in Inception modules; only with the pointwise part first.
    fc : bool
        Two dense layers of 4096 units with ReLU before the logits (§4.5.1).
    dropout : float
        Share of the inputs of the logits that each update drops; the paper has 0.5 on ImageNet (§4.3).
    segments : {0, 1, 2, 4, 8}
        Number of segments of the channels; a 3x3 convolution mixes only the channels of its own segment (§1.2, §5). 0
        gives each channel its own segment, which is the depthwise convolution. If the channels cannot be divided
        equally, segments differ by one channel.
    stack : bool
        Whether to build, in place of Xception, a VGG-16 whose 13 convolutions are separable, with batch normalisation
        (§4.6). It has no residual connections, whatever `residuals` says.

    Raises
    ------
    InputError
        If a value is not valid.
    """

    width: float = 1.0
    residuals: bool = True
    intermediate: str = "none"
    order: str = "spatial"
    between: bool = False
    fc: bool = False
    dropout: float = 0.0
    segments: int = 0
    stack: bool = False

    def __post_init__(self) -> None:
        check_numbers("xception", self.width, self.dropout)
        for name in ("residuals", "between", "fc", "stack"):
            check_flag("xception", name, getattr(self, name))
        for name, allowed in {"intermediate": ("none", "relu", "elu"), "order": ("spatial", "pointwise")}.items():
            if getattr(self, name) not in allowed:
                raise InputError(f"xception.{name} is {getattr(self, name)!r}", f"choose from: {', '.join(allowed)}")
        if type(self.segments) is not int or self.segments not in (0, 1, 2, 4, 8):
            raise InputError(f"xception.segments is {self.segments!r}", "choose from: 0, 1, 2, 4, 8")
        if self.between and self.order != "pointwise":
            raise InputError(f"xception.between is true with xception.order {self.order!r}", "set order to 'pointwise'")
        if self.between and self.intermediate != "none":
            raise InputError(
                f"xception.between is true with xception.intermediate {self.intermediate!r}",
                "it brings its own ReLU: set intermediate to 'none'",
            )

    def sizes(self, channels: int) -> list[int]:
        """Channels of each segment, as equal as possible; one each if there are fewer channels than segments."""
        cuts = sorted({channels * i // self.segments for i in range(self.segments + 1)})
        return [end - start for start, end in pairwise(cuts)]


PLAIN = XceptionSettings()


def xception(pixels: int = 299, classes: int | None = 1000, settings: XceptionSettings = PLAIN) -> keras.Model:
    """Build Xception with random weights.

    Parameters
    ----------
    pixels : int
        Side of the images, at least 71.
    classes : int or None
        Outputs; None ends at the globally averaged features, and the settings of the top then have no effect.
    settings : XceptionSettings

    Returns
    -------
    keras.Model
        From float images of shape (n, pixels, pixels, 3), already preprocessed (x / 127.5 - 1), to float32 logits of
        shape (n, classes) or features of shape (n, 2048 x width), of the stack (n, 512 x width); not compiled. The 12
        additions, which end modules 2 to 13, are named ``add``, ``add_1`` to ``add_11``; the features ``avg_pool``.

    Raises
    ------
    InputError
        If the images are too small.
    """
    from shelfbench_deep.engines.keras import keras

    if pixels < LEAST_PIXELS:
        raise InputError(f"xception cannot take images of {pixels} pixels", f"set pixels={LEAST_PIXELS} or more")
    images = keras.Input((pixels, pixels, 3), name="images")
    make = _Layers(settings)
    x = _vgg_stack(images, make) if settings.stack else _flows(images, make)
    units = settings.channels(FC_UNITS) if settings.fc else 0
    return keras.Model(images, top(x, classes, units, settings.dropout), name="xception")


def _flows(images: keras.KerasTensor, make: _Layers) -> keras.KerasTensor:
    """Entry, middle and exit flow: 36 convolutions in 14 modules (Figure 5)."""
    x = make.convolution(images, 32, "block1_conv1", stride=2)
    x = make.convolution(x, 64, "block1_conv2", stride=1)
    for block, filters in enumerate(_ENTRY, 2):
        shortcut = make.shortcut(x, filters)
        if block > 2:
            x = make.relu(x, f"block{block}_sepconv1_act")
        x = make.separable(x, filters, f"block{block}_sepconv1")
        x = make.relu(x, f"block{block}_sepconv2_act")
        x = make.separable(x, filters, f"block{block}_sepconv2")
        x = make.pool(x, f"block{block}_pool")
        x = make.add(x, shortcut)

    for block in range(5, 5 + _MIDDLE_BLOCKS):
        shortcut = x
        for i in (1, 2, 3):
            x = make.relu(x, f"block{block}_sepconv{i}_act")
            x = make.separable(x, _MIDDLE, f"block{block}_sepconv{i}")
        x = make.add(x, shortcut)

    first, second, third = _EXIT
    shortcut = make.shortcut(x, first)
    x = make.relu(x, "block13_sepconv1_act")
    x = make.separable(x, _MIDDLE, "block13_sepconv1")
    x = make.relu(x, "block13_sepconv2_act")
    x = make.separable(x, first, "block13_sepconv2")
    x = make.pool(x, "block13_pool")
    x = make.add(x, shortcut)
    x = make.separable(x, second, "block14_sepconv1")
    x = make.relu(x, "block14_sepconv1_act")
    x = make.separable(x, third, "block14_sepconv2")
    return make.relu(x, "block14_sepconv2_act")


def _vgg_stack(images: keras.KerasTensor, make: _Layers) -> keras.KerasTensor:
    x = images
    for block, row in enumerate(_VGG, 1):
        for i, filters in enumerate(row, 1):
            x = make.separable(x, filters, f"block{block}_sepconv{i}")
            x = make.relu(x, f"block{block}_sepconv{i}_act")
        x = make.pool(x, f"block{block}_pool")
    return x


class _Layers:
    """Makes the layers of the flows, according to the settings; every convolution has its batch normalisation."""

    def __init__(self, settings: XceptionSettings) -> None:
        from shelfbench_deep.engines.keras import keras

        self.keras = keras
        self.layers = keras.layers
        self.settings = settings
        self.shortcuts = self.additions = 0

    def convolution(self, x: keras.KerasTensor, filters: int, name: str, *, stride: int) -> keras.KerasTensor:
        filters = self.settings.channels(filters)
        x = self.layers.Conv2D(filters, 3, strides=stride, use_bias=False, name=name)(x)
        x = self.layers.BatchNormalization(name=f"{name}_bn")(x)
        return self.relu(x, f"{name}_act")

    def separable(self, x: keras.KerasTensor, filters: int, name: str) -> keras.KerasTensor:
        settings, layers = self.settings, self.layers
        filters = settings.channels(filters)
        if (settings.order, settings.segments, settings.intermediate) == ("spatial", 0, "none"):
            x = layers.SeparableConv2D(filters, 3, padding="same", use_bias=False, name=name)(x)
        elif settings.order == "spatial":
            x = self._between(self._spatial(x, name), name)
            x = layers.Conv2D(filters, 1, use_bias=False, name=f"{name}_pointwise")(x)
        else:
            x = layers.Conv2D(filters, 1, use_bias=False, name=f"{name}_pointwise")(x)
            x = self._spatial(self._between(x, name), name)
        return layers.BatchNormalization(name=f"{name}_bn")(x)

    def _spatial(self, x: keras.KerasTensor, name: str) -> keras.KerasTensor:
        """3x3 within each segment, as Keras' grouped convolution has no gradient on a CPU with TensorFlow."""
        layers = self.layers
        if self.settings.segments == 0:
            return layers.DepthwiseConv2D(3, padding="same", use_bias=False, name=f"{name}_depthwise")(x)
        sizes = self.settings.sizes(x.shape[-1])
        ends = [sum(sizes[: i + 1]) for i in range(len(sizes))]
        outputs = [
            layers.Conv2D(size, 3, padding="same", use_bias=False, name=f"{name}_segment{i}")(x[..., end - size : end])
            for i, (size, end) in enumerate(zip(sizes, ends, strict=True))
        ]
        return layers.Concatenate(name=f"{name}_segments")(outputs) if len(outputs) > 1 else outputs[0]

    def _between(self, x: keras.KerasTensor, name: str) -> keras.KerasTensor:
        if self.settings.between:
            return self.relu(self.layers.BatchNormalization(name=f"{name}_between_bn")(x), f"{name}_between_act")
        if self.settings.intermediate != "none":
            return self.layers.Activation(self.settings.intermediate, name=f"{name}_intermediate")(x)
        return x

    def relu(self, x: keras.KerasTensor, name: str) -> keras.KerasTensor:
        return self.layers.Activation("relu", name=name)(x)

    def pool(self, x: keras.KerasTensor, name: str) -> keras.KerasTensor:
        return self.layers.MaxPooling2D(3, strides=2, padding="same", name=name)(x)

    def shortcut(self, x: keras.KerasTensor, filters: int) -> keras.KerasTensor:
        if not self.settings.residuals:
            return x
        filters, number = self.settings.channels(filters), numbered(self.shortcuts)
        self.shortcuts += 1
        x = self.layers.Conv2D(filters, 1, strides=2, padding="same", use_bias=False, name=f"conv2d{number}")(x)
        return self.layers.BatchNormalization(name=f"batch_normalization{number}")(x)

    def add(self, x: keras.KerasTensor, shortcut: keras.KerasTensor) -> keras.KerasTensor:
        if not self.settings.residuals:
            return x
        self.additions += 1
        return self.layers.Add(name=f"add{numbered(self.additions - 1)}")([x, shortcut])


def count_parameters(settings: XceptionSettings, classes: int | None) -> int:
    """Count the parameters of `xception`, including untrained ones of batch normalisation, without building it."""
    channels = settings.channels

    def separable(inputs: int, outputs: int) -> int:
        convolved = inputs if settings.order == "spatial" else outputs
        pairs = sum(size**2 for size in settings.sizes(convolved)) if settings.segments else convolved
        return 9 * pairs + inputs * outputs + (8 if settings.between else 4) * outputs

    if settings.stack:
        total, chain = 0, [3, *(channels(filters) for row in _VGG for filters in row)]
    else:
        stem, first = channels(32), channels(64)
        total = 9 * 3 * stem + 9 * stem * first + 4 * (stem + first)
        numbers = (*(n for n in _ENTRY for _ in range(2)), *[_MIDDLE] * (3 * _MIDDLE_BLOCKS + 1), *_EXIT)
        chain = [first, *(channels(n) for n in numbers)]
        ends = [channels(n) for n in (64, *_ENTRY, _EXIT[0])]
        if settings.residuals:
            total += sum(inputs * outputs + 4 * outputs for inputs, outputs in pairwise(ends))
    total += sum(separable(inputs, outputs) for inputs, outputs in pairwise(chain))
    if classes is None:
        return total
    dense = [chain[-1], *([channels(FC_UNITS)] * 2 if settings.fc else []), classes]
    return total + sum((inputs + 1) * outputs for inputs, outputs in pairwise(dense))


def equal_parameters(settings: XceptionSettings, classes: int | None, target: int) -> XceptionSettings:
    """Rescale the width so that the number of parameters is as near as possible to another network's.

    Parameters
    ----------
    settings : XceptionSettings
        Its `width` is replaced.
    classes : int or None
        As for `xception`. The number of parameters does not depend on the size of the images.
    target : int
        Desired number of parameters, counting all of them (``model.count_params()``).

    Returns
    -------
    XceptionSettings
    """

    def miss(width: float) -> int:
        return count_parameters(replace(settings, width=width), classes) - target

    low, high = 1e-4, 1.0
    while miss(high) < 0:
        low, high = high, 2 * high
    while high - low > 1e-7 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if miss(middle) < 0 else (low, middle)
    return replace(settings, width=min(low, high, key=lambda width: abs(miss(width))))


def top(features: keras.KerasTensor, classes: int | None, units: int, dropout: float) -> keras.KerasTensor:
    """Add a global average, two dense layers of `units` (if not 0), dropout, and logits (if there are classes).

    The average and the logits are float32 under any policy of mixed precision.
    """
    from shelfbench_deep.engines.keras import keras

    layers = keras.layers
    x = layers.GlobalAveragePooling2D(name="avg_pool", dtype="float32")(features)
    if classes is None:
        return x
    for i in (1, 2) if units else ():
        x = layers.Dense(units, activation="relu", name=f"fc{i}")(x)
    if dropout:
        x = layers.Dropout(dropout, name="dropout")(x)
    return layers.Dense(classes, name="predictions", dtype="float32")(x)


def numbered(index: int) -> str:
    """Suffix that Keras gives to the name of a layer, by its index among those of its kind."""
    return f"_{index}" if index else ""
