"""Features of a model that Keras saved (``backbone = "PATH.keras"``)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from shelfbench.base.console import Console
from shelfbench.base.errors import InputError, RunError
from shelfbench.plugins.backend import BackboneChoice
from shelfbench_deep.engines.versions import check_keras
from shelfbench_deep.features.bottleneck import BottleneckExtractor
from shelfbench_deep.features.settings import BottleneckSettings, Engine
from shelfbench_deep.networks.keras_file import KerasFile, input_side, open_keras, scales_itself
from shelfbench_deep.networks.onnx_pooling import pooling
from shelfbench_deep.networks.onnx_settings import IMAGENET, SYMMETRIC, OnnxSettings

if TYPE_CHECKING:
    from shelfbench_deep.engines.keras import keras

Three = tuple[float, float, float]
BATCH = 16
_CAFFE = "--set 'onnx.mean=[103.939, 116.779, 123.68]' --set onnx.std=1 --set onnx.channels=bgr"
_HEADS = ("softmax", "sigmoid")


@dataclass(frozen=True, kw_only=True)
class KerasPlan:
    """How photos become features.

    Attributes
    ----------
    pixels : int
        Side of the images.
    mean, std : tuple of float
        Of pixels from 0 to 255, per channel in the network's order: it is given ``(x - mean) / std``.
    channels : {"rgb", "bgr"}
    output : str
        Name of the layer whose output, or in front of which, the features are; empty for the model's own output.
    before : bool
        Whether the features are what that layer is given: a layer of categories, say.
    pool : {"", "cls", "mean", "mean_nhwc"}
        How a map or tokens become one row.
    """

    pixels: int
    mean: Three = (0.0, 0.0, 0.0)
    std: Three = (1.0, 1.0, 1.0)
    channels: str = "rgb"
    output: str = ""
    before: bool = False
    pool: str = ""

    def describe(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {**asdict(self), "mean": list(self.mean), "std": list(self.std)}

    def preprocess(self, images: Any) -> Any:
        """Turn float32 RGB of 0 to 255 (an array, or a symbolic tensor) into what the model takes."""
        ordered = images[..., ::-1] if self.channels == "bgr" else images
        if (self.mean, self.std) == ((0, 0, 0), (1, 1, 1)):
            return ordered
        return (ordered - np.array(self.mean, np.float32)) / np.array(self.std, np.float32)

    def network(self, model: keras.Model) -> keras.Model:
        """Cut a model to its features.

        Parameters
        ----------
        model : keras.Model

        Returns
        -------
        keras.Model
            From preprocessed images of `pixels` to features of shape (n, dimensions), float32.

        Raises
        ------
        ValueError
            If it has no layer called `output`.
        """
        from shelfbench_deep.engines.keras import keras

        images = keras.Input((self.pixels, self.pixels, 3), dtype=model.inputs[0].dtype)
        layer = model.get_layer(self.output) if self.output else None
        inner = model.outputs[0] if layer is None else layer.input if self.before else layer.output
        values = keras.Model(model.inputs, inner)(images)
        if self.pool == "mean_nhwc":
            values = keras.layers.GlobalAveragePooling2D()(values)
        elif self.pool == "mean":
            values = keras.layers.GlobalAveragePooling1D()(values)
        elif self.pool == "cls":
            values = values[:, 0]
        return keras.Model(images, values, name="features")


@dataclass(frozen=True, kw_only=True)
class KerasNetwork:
    """A model in a file, with everything decided.

    Attributes
    ----------
    file : KerasFile
    plan : KerasPlan
    dimensions : int
    fixed : bool
        Whether the model takes images of one size only.
    engine : Engine
    notes : tuple of str
        What was found, and what was chosen that could have been otherwise.
    """

    file: KerasFile
    plan: KerasPlan
    dimensions: int
    fixed: bool
    engine: Engine
    notes: tuple[str, ...]


class KerasFileExtractor(BottleneckExtractor):
    """Features of a model that Keras saved, as a `shelfbench.plugins.backend.FeatureExtractor`.

    Parameters
    ----------
    choice : BackboneChoice
        Its name is the path; its weights are the file's.
    bottleneck : BottleneckSettings
        Engine and precision of the features.
    keys : OnnxSettings
        What the file does not say: mean, std, channels, pool, and the layer whose output is meant.

    Raises
    ------
    InputError
        If there is no such model, it cannot be used, or something about it is unclear.
    """

    def __init__(self, choice: BackboneChoice, bottleneck: BottleneckSettings, keys: OnnxSettings) -> None:
        if choice.weights != "imagenet":
            raise InputError(f"weights is {choice.weights!r}, and {choice.name} holds its own", "omit weights")
        check_keras(f"the network {choice.name}")
        path = Path(choice.name).expanduser()
        if not path.is_file():
            raise InputError(f"there is no file {choice.name}", "name a model that Keras saved")
        state = f"{path.stat().st_size} {path.stat().st_mtime_ns}"
        # several backends of a study use the same model, which is opened once unless something about it changes
        self.network = _decided(str(path.absolute()), state, choice.pixels, bottleneck, keys)
        self.name, self.address = choice.name, str(self.network.file.path)
        self.pixels, self.dimensions = self.network.plan.pixels, self.network.dimensions
        self.fixed_size, self.notes = self.network.fixed, self.network.notes
        self._preprocess = self.network.plan.preprocess
        self._runs_on(self.network.engine, BATCH)

    def describe(self) -> dict[str, Any]:
        """Describe everything that changes the features (JSON): the model by its hash, not by its place."""
        return {
            "kind": "keras-file",
            "sha256": self.network.file.sha256,
            **self.network.plan.describe(),
            **self._computing(),
        }

    def arrays(self) -> None:
        """Nothing: a model in a file needs Keras."""
        return None

    def _build(self) -> keras.Model:
        return self.network.plan.network(self.network.file.model())


@lru_cache(maxsize=8)
def _decided(
    place: str, _state: str, pixels: int | None, bottleneck: BottleneckSettings, keys: OnnxSettings
) -> KerasNetwork:
    path = Path(place)
    file = open_keras(path)
    model = file.model()
    try:
        side = input_side(model)
    except ValueError as error:
        raise InputError(f"{path} cannot be used: {error}", "give a model of square images") from None
    if side is not None and pixels not in (None, side):
        raise InputError(f"{path} takes images of {side} pixels, and pixels is {pixels}", "omit pixels")
    if side is None and pixels is None:
        raise InputError(
            f"{path} takes images of any size, and does not say which it was made for",
            "set it, such as --set pixels=224",
        )
    prepared, says = _preparation(path, model, keys)
    output, before, features = _output(path, model, keys)
    plan = KerasPlan(pixels=side or pixels or 0, output=output, before=before, **prepared)
    shape = tuple(int(one) for one in (1, *plan.network(model).outputs[0].shape[1:]))
    pool, pooled = pooling(shape, keys.pool, "NHWC", path)
    if pool == "mean_nchw":
        raise InputError(f"{path} returns maps of shape {shape}", "choose another layer with onnx.output")
    plan = replace(plan, pool=pool)
    network = plan.network(model)
    engine = _engine(path, plan, network, bottleneck)
    dimensions = int(network.outputs[0].shape[-1])
    notes = f"{path.name}: images of {plan.pixels} pixels; {says}; {dimensions} features: {features}"
    return KerasNetwork(
        file=file,
        plan=plan,
        dimensions=dimensions,
        fixed=side is not None,
        engine=engine,
        notes=(notes + (f", {pooled}" if pooled else ""),),
    )


def _preparation(path: Path, model: keras.Model, keys: OnnxSettings) -> tuple[Mapping[str, Any], str]:
    """Find out what the model expects of its pixels."""
    if found := scales_itself(model):
        return {}, f"it scales pixels itself ({found})"
    if not keys.mean:
        raise InputError(
            f"{path} does not say what its pixels are to be: its first layer does not scale them",
            f"for pixels from -1 to 1 (keras.applications' Inception, MobileNet, ResNetV2, Xception) {SYMMETRIC}; for "
            f"its ResNet and VGG {_CAFFE}; for its DenseNet {IMAGENET}; for pixels as they are onnx.mean=0 onnx.std=1",
        )
    mean, std = ((values * 3)[:3] if len(values) == 1 else values for values in (keys.mean, keys.std))
    channels = keys.channels or "rgb"
    return {"mean": mean, "std": std, "channels": channels}, f"{channels} pixels as the section [onnx] says"


def _output(path: Path, model: keras.Model, keys: OnnxSettings) -> tuple[str, bool, str]:
    """Choose the layer whose values are the features."""
    layers = model.layers
    if keys.output:
        names = [layer.name for layer in layers]
        if keys.output not in names:
            raise InputError(f"{path} has no layer {keys.output!r}", f"its last ones are: {', '.join(names[-8:])}")
        return keys.output, False, f"the output of {keys.output}, as onnx.output says"
    last = layers[-1]
    activation = getattr(getattr(last, "activation", None), "__name__", "")
    head = type(last).__name__ == "Dense" and activation in _HEADS
    if type(last).__name__ in ("Softmax", "Activation") and len(layers) > 1 and activation in ("", *_HEADS):
        last, head = layers[-2], type(layers[-2]).__name__ == "Dense"
    if head:
        return last.name, True, f"what {last.name}, its layer of categories, is given (onnx.output takes another layer)"
    return "", False, f"the output of its last layer, {last.name} (onnx.output takes another layer)"


def _engine(path: Path, plan: KerasPlan, network: keras.Model, bottleneck: BottleneckSettings) -> Engine:
    """Settle the engine; Keras computes what OpenVINO cannot take."""
    engine = bottleneck.settle()
    if engine.name != "openvino":
        return engine
    from shelfbench_deep.engines.openvino import from_keras

    try:
        from_keras(network, plan.preprocess, plan.pixels)
    except RunError as error:
        Console().warn(f"bottlenecks of {path} are computed by Keras in float32: {error.message}")
        return Engine()
    return engine
