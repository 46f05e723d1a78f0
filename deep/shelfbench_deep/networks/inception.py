"""Inception V3 (Szegedy et al., CVPR 2016): today's version in ``keras.applications``, and the port of 2016.

X, Table 3, counts 23,626,728 parameters: those of the port that came with Keras in 2016, which `port_2016` rebuilds.
Layers with weights have the names that ``keras.applications`` gives them in a fresh process.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from shelfbench.base.errors import InputError
from shelfbench_deep.networks.xception import FC_UNITS, Width, check_flag, check_numbers, numbered, top

if TYPE_CHECKING:
    from shelfbench_deep.engines.keras import keras

LEAST_PIXELS = 75


@dataclass(frozen=True)
class InceptionSettings(Width):
    """Section ``inception`` of a study.

    Attributes
    ----------
    width : float
        Multiplies every number of channels, including those of the FC layers; rounded.
    fc : bool
        Two dense layers of 4096 units with ReLU before the logits (X, §4.5.1).
    dropout : float
        Share of the inputs of the logits that each update drops; X has 0.5 on ImageNet (§4.3).
    port_2016 : bool
        Whether to build the Keras port of 2016. It differs from today's in four ways: convolution with bias, then
        ReLU, then batch normalisation with scale; 32 filters on the pooling of all three 35x35 modules (today 32, 64,
        64); 160 filters in the first 1x1 convolution of the longest branch of ``mixed7`` (today 192); ``mixed8`` pools
        by average (today by maximum).

    Raises
    ------
    InputError
        If a value is not valid.
    """

    width: float = 1.0
    fc: bool = False
    dropout: float = 0.0
    port_2016: bool = False

    def __post_init__(self) -> None:
        check_numbers("inception", self.width, self.dropout)
        check_flag("inception", "fc", self.fc)
        check_flag("inception", "port_2016", self.port_2016)


PLAIN = InceptionSettings()


def inception_v3(pixels: int = 299, classes: int | None = 1000, settings: InceptionSettings = PLAIN) -> keras.Model:
    """Build Inception V3 with random weights and without the auxiliary tower (X, §4.3).

    Parameters
    ----------
    pixels : int
        Side of the images, at least 75.
    classes : int or None
        Outputs; None ends at the globally averaged features, and the settings of the top then have no effect.
    settings : InceptionSettings

    Returns
    -------
    keras.Model
        From float images of shape (n, pixels, pixels, 3), already preprocessed (x / 127.5 - 1), to float32 logits of
        shape (n, classes) or features of shape (n, 2048 x width); not compiled. Modules end at ``mixed0`` to
        ``mixed10``; the features are named ``avg_pool``.

    Raises
    ------
    InputError
        If the images are too small.
    """
    from shelfbench_deep.engines.keras import keras

    if pixels < LEAST_PIXELS:
        raise InputError(f"inception_v3 cannot take images of {pixels} pixels", f"set pixels={LEAST_PIXELS} or more")
    port, layers, unit = settings.port_2016, keras.layers, _Unit(settings)
    images = keras.Input((pixels, pixels, 3), name="images")
    x = unit(images, 32, 3, stride=2, padding="valid")
    x = unit(x, 32, 3, padding="valid")
    x = unit(x, 64, 3)
    x = layers.MaxPooling2D(3, strides=2)(x)
    x = unit(x, 80, 1, padding="valid")
    x = unit(x, 192, 3, padding="valid")
    x = layers.MaxPooling2D(3, strides=2)(x)

    x = _module_35(x, unit, "mixed0", projection=32)
    x = _module_35(x, unit, "mixed1", projection=32 if port else 64)
    x = _module_35(x, unit, "mixed2", projection=32 if port else 64)
    x = _reduction_35(x, unit, "mixed3")
    x = _module_17(x, unit, "mixed4", first=128, middle=128)
    x = _module_17(x, unit, "mixed5", first=160, middle=160)
    x = _module_17(x, unit, "mixed6", first=160, middle=160)
    x = _module_17(x, unit, "mixed7", first=160 if port else 192, middle=192)
    x = _reduction_17(x, unit, "mixed8", layers.AveragePooling2D if port else layers.MaxPooling2D)
    x = _module_8(x, unit, "mixed9", "mixed9_0")
    x = _module_8(x, unit, "mixed10", "mixed9_1")

    units = settings.channels(FC_UNITS) if settings.fc else 0
    name = "inception_v3_2016" if port else "inception_v3"
    return keras.Model(images, top(x, classes, units, settings.dropout), name=name)


class _Unit:
    """Makes convolutions with batch normalisation and ReLU, numbered in the order in which they are made."""

    def __init__(self, settings: InceptionSettings) -> None:
        from shelfbench_deep.engines.keras import keras

        self.layers = keras.layers
        self.settings = settings
        self.made = 0

    def __call__(
        self,
        x: keras.KerasTensor,
        filters: int,
        kernel: int | tuple[int, int],
        *,
        stride: int = 1,
        padding: str = "same",
    ) -> keras.KerasTensor:
        layers, port, number = self.layers, self.settings.port_2016, numbered(self.made)
        self.made += 1
        convolution = layers.Conv2D(
            self.settings.channels(filters),
            kernel,
            strides=stride,
            padding=padding,
            use_bias=port,
            name=f"conv2d{number}",
        )
        normalisation = layers.BatchNormalization(scale=port, name=f"batch_normalization{number}")
        relu = layers.Activation("relu", name=f"activation{number}")
        return normalisation(relu(convolution(x))) if port else relu(normalisation(convolution(x)))

    def pooled(self, x: keras.KerasTensor, filters: int) -> keras.KerasTensor:
        return self(self.layers.AveragePooling2D(3, strides=1, padding="same")(x), filters, 1)

    def join(self, branches: list[keras.KerasTensor], name: str | None = None) -> keras.KerasTensor:
        return self.layers.Concatenate(name=name)(branches)


def _module_35(x: keras.KerasTensor, unit: _Unit, name: str, *, projection: int) -> keras.KerasTensor:
    single = unit(x, 64, 1)
    five = unit(unit(x, 48, 1), 64, 5)
    double = unit(unit(unit(x, 64, 1), 96, 3), 96, 3)
    return unit.join([single, five, double, unit.pooled(x, projection)], name)


def _reduction_35(x: keras.KerasTensor, unit: _Unit, name: str) -> keras.KerasTensor:
    three = unit(x, 384, 3, stride=2, padding="valid")
    double = unit(unit(unit(x, 64, 1), 96, 3), 96, 3, stride=2, padding="valid")
    return unit.join([three, double, unit.layers.MaxPooling2D(3, strides=2)(x)], name)


def _module_17(x: keras.KerasTensor, unit: _Unit, name: str, *, first: int, middle: int) -> keras.KerasTensor:
    """7x7 convolutions factored into 1x7 and 7x1; `first` sets the 1x1 before the longest branch, for the port."""
    single = unit(x, 192, 1)
    seven = unit(unit(unit(x, middle, 1), middle, (1, 7)), 192, (7, 1))
    double = unit(x, first, 1)
    for kernel in ((7, 1), (1, 7), (7, 1)):
        double = unit(double, middle, kernel)
    double = unit(double, 192, (1, 7))
    return unit.join([single, seven, double, unit.pooled(x, 192)], name)


def _reduction_17(x: keras.KerasTensor, unit: _Unit, name: str, pooling: type) -> keras.KerasTensor:
    three = unit(unit(x, 192, 1), 320, 3, stride=2, padding="valid")
    seven = unit(unit(unit(x, 192, 1), 192, (1, 7)), 192, (7, 1))
    seven = unit(seven, 192, 3, stride=2, padding="valid")
    return unit.join([three, seven, pooling(3, strides=2)(x)], name)


def _module_8(x: keras.KerasTensor, unit: _Unit, name: str, fork: str) -> keras.KerasTensor:
    """1x3 and 3x1 side by side; `fork` names the first such pair."""
    single = unit(x, 320, 1)
    three = unit(x, 384, 1)
    three = unit.join([unit(three, 384, (1, 3)), unit(three, 384, (3, 1))], fork)
    double = unit(unit(x, 448, 1), 384, 3)
    double = unit.join([unit(double, 384, (1, 3)), unit(double, 384, (3, 1))])
    return unit.join([single, three, double, unit.pooled(x, 192)], name)
