"""Networks from ONNX files on OpenVINO or ONNX Runtime, from bytes to features.

Both are given the same `OnnxPlan` and compute the same: squares of bytes are normalised, put into the network's layout,
and what comes out is pooled to one row per image.
"""

from __future__ import annotations

import io
import math
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from shelfbench.base.processor import cores, has_accelerator
from shelfbench_deep.engines.openvino import REQUEST, library
from shelfbench_deep.engines.versions import installed_version

# Images per call of ONNX Runtime.
_BATCH_CPU, _BATCH_GPU = 8, 64
# The most numbers of one value between two layers: those of four images of 1,024 pixels with 256 channels, 4 GiB.
LARGEST_VALUE = 1 << 30
_GPUS = ("CUDAExecutionProvider", "ROCMExecutionProvider")


@dataclass(frozen=True, kw_only=True)
class OnnxPlan:
    """How a network from an ONNX file is fed, and what is taken from it.

    Attributes
    ----------
    input, output : str
        Names in the graph.
    inside : bool
        Whether `output` is a value inside the graph, not one of its outputs.
    kind : {"float32", "float16", "uint8"}
        Type of the input.
    layout : {"NCHW", "NHWC"}
    batch : int or None
        Number of images that it insists on.
    pixels : int
    mean, std : tuple of float
        Per channel in the network's order.
    channels : {"rgb", "bgr"}
    pool : {"", "cls", "mean", "mean_nchw", "mean_nhwc"}
        Rows as they are, the first token, the mean of tokens, the mean of a map in either layout.
    """

    input: str
    output: str
    kind: str
    layout: str
    batch: int | None
    pixels: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    channels: str
    inside: bool = False
    pool: str = ""

    def shape(self, images: int) -> tuple[int, int, int, int]:
        """Shape of the network's input for a number of images."""
        side = self.pixels
        return (images, 3, side, side) if self.layout == "NCHW" else (images, side, side, 3)


def onnxruntime_version() -> str | None:
    """Version of the installed ONNX Runtime, found out without loading it; None if it is not installed."""
    return installed_version("onnxruntime", "onnxruntime-gpu", "onnxruntime-rocm")


def onnxruntime_on_gpu() -> bool:
    """Tell whether there is a GPU, and an ONNX Runtime that uses it."""
    if not has_accelerator() or onnxruntime_version() is None:
        return False
    return any(name in _GPUS for name in _runtime().get_available_providers())


class OpenVINOGraph:
    """A graph that OpenVINO has read.

    Parameters
    ----------
    path : Path
    plan : OnnxPlan
        Its pool is not yet known.

    Attributes
    ----------
    shape : tuple of int
        Of the output for some images.
    bounded : bool
        Whether the size of every value is known before anything is computed; each is then within `LARGEST_VALUE`.

    Raises
    ------
    Exception
        Whatever OpenVINO raises if it cannot take the graph, or not in this shape.
    """

    def __init__(self, path: Path, plan: OnnxPlan) -> None:
        self._model = library().Core().read_model(path)
        model = self._model
        named = [output for output in model.outputs if plan.output in output.get_names()]
        kept = named[0] if named else model.add_outputs(plan.output)[0]
        for output in [output for output in model.outputs if output != kept]:
            model.remove_result(output.get_node())
        model.reshape({plan.input: plan.shape(plan.batch or REQUEST)})
        found = model.output(0).get_partial_shape()
        if found.is_dynamic:
            raise ValueError(f"its output has the shape {found}, which depends on what is in the photo")
        self.shape = tuple(int(length) for length in found.to_shape())
        shapes = [output.get_partial_shape() for node in model.get_ops() for output in node.outputs()]
        self.bounded = not any(shape.is_dynamic for shape in shapes)
        largest = max(math.prod(shape.to_shape()) for shape in shapes if shape.is_static)
        if largest > LARGEST_VALUE:
            raise ValueError(f"one of its values has {largest:,} numbers, more than {LARGEST_VALUE:,}")

    def network(self, plan: OnnxPlan) -> Any:
        """Add the preprocessing before and the pooling after the graph, which can be done once.

        Parameters
        ----------
        plan : OnnxPlan

        Returns
        -------
        openvino.Model
            From images of uint8, shape (n, pixels, pixels, 3), to features of float32.
        """
        ov, model = library(), self._model
        from openvino import opset13 as op  # without telemetry since `library`

        result = model.output(0).get_node()
        value = op.convert(result.input_value(0), "f32")
        if plan.pool == "cls":
            value = op.gather(value, op.constant(0, np.int64), op.constant(1, np.int64))
        elif plan.pool:
            axes = {"mean": [1], "mean_nchw": [2, 3], "mean_nhwc": [1, 2]}[plan.pool]
            value = op.reduce_mean(value, op.constant(axes, np.int64), keep_dims=False)
        rows = self.shape[0]
        value = op.reshape(value, op.constant([rows, -1], np.int64), special_zero=False)
        model = ov.Model([op.result(value)], model.get_parameters(), "onnx")
        steps = ov.preprocess.PrePostProcessor(model)
        steps.input().tensor().set_element_type(ov.Type.u8).set_layout(ov.Layout("NHWC"))
        steps.input().model().set_layout(ov.Layout(plan.layout))
        if plan.kind != "uint8":
            steps.input().preprocess().convert_element_type(ov.Type.f32)
        if plan.channels == "bgr":
            steps.input().preprocess().reverse_channels()
        if plan.kind != "uint8":
            steps.input().preprocess().mean(list(plan.mean)).scale(list(plan.std))
        return steps.build()


class RuntimeGraph:
    """A graph that ONNX Runtime has read, from bytes to features.

    Parameters
    ----------
    path : Path
    plan : OnnxPlan
        Its pool may not yet be known.

    Attributes
    ----------
    shape : tuple of int
        Of the output for `batch` images.
    batch : int
    device : str

    Raises
    ------
    Exception
        Whatever ONNX Runtime raises if it cannot take the graph, or not in this shape.
    """

    def __init__(self, path: Path, plan: OnnxPlan) -> None:
        runtime = _runtime()
        options = runtime.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = cores()
        available = runtime.get_available_providers()
        gpu = [name for name in _GPUS if name in available and has_accelerator()]
        given: Any = str(path)
        if plan.inside:
            # messages of protocol buffers are joined by writing one after the other: this one adds an output
            given = path.read_bytes() + _one_more_output(plan.output)
            options.add_session_config_entry(
                "session.model_external_initializers_file_folder_path", str(path.absolute().parent)
            )
        with redirect_stdout(io.StringIO()):  # it prints what it could not do before it raises the error
            self._session = runtime.InferenceSession(given, options, providers=[*gpu, "CPUExecutionProvider"])
        self.device = "gpu" if self._session.get_providers()[0] in _GPUS else "cpu"
        self.batch = plan.batch or (_BATCH_GPU if self.device == "gpu" else _BATCH_CPU)
        self._plan = plan
        self.shape = tuple(map(int, self._run(np.zeros(plan.shape(self.batch), plan.kind)).shape))

    def __call__(self, images: np.ndarray, pool: str) -> np.ndarray:
        """Compute features; every call is padded to the same number of images.

        Parameters
        ----------
        images : ndarray of uint8, shape (n, pixels, pixels, 3)
        pool : str
            See `OnnxPlan`.

        Returns
        -------
        ndarray of float32, shape (n, dimensions)
        """
        parts = []
        for start in range(0, len(images), self.batch):
            part = images[start : start + self.batch]
            full = np.zeros((self.batch, *part.shape[1:]), np.uint8)
            full[: len(part)] = part
            parts.append(pooled(self._run(self._prepared(full)), pool)[: len(part)])
        return np.concatenate(parts)

    def _prepared(self, images: np.ndarray) -> np.ndarray:
        plan = self._plan
        values = images[..., ::-1] if plan.channels == "bgr" else images
        if plan.kind != "uint8":
            values = (values.astype(np.float32) - np.asarray(plan.mean, np.float32)) / np.asarray(plan.std, np.float32)
        if plan.layout == "NCHW":
            values = values.transpose(0, 3, 1, 2)
        with np.errstate(over="ignore"):  # what float16 cannot hold is refused when it comes out
            return np.ascontiguousarray(values, plan.kind)

    def _run(self, values: np.ndarray) -> np.ndarray:
        found: np.ndarray = self._session.run([self._plan.output], {self._plan.input: values})[0]
        return found


def pooled(values: np.ndarray, pool: str) -> np.ndarray:
    """Make one row per image of a network's output.

    Parameters
    ----------
    values : ndarray, shape (n, ...)
    pool : str
        See `OnnxPlan`.

    Returns
    -------
    ndarray of float32, shape (n, dimensions)
    """
    values = np.asarray(values, np.float32)
    if pool == "cls":
        values = values[:, 0]
    elif pool:
        values = values.mean(axis={"mean": (1,), "mean_nchw": (2, 3), "mean_nhwc": (1, 2)}[pool])
    return np.ascontiguousarray(values.reshape(len(values), -1))


def _runtime() -> Any:
    import onnxruntime

    onnxruntime.disable_telemetry_events()
    onnxruntime.set_default_logger_severity(4)
    return onnxruntime


def _one_more_output(name: str) -> bytes:
    text = name.encode()
    value = b"\x0a" + _length(text) + text
    output = b"\x62" + _length(value) + value
    return b"\x3a" + _length(output) + output


def _length(data: bytes) -> bytes:
    number, found = len(data), bytearray()
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    return bytes([*found, number])
