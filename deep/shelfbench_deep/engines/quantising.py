"""Networks in int8: NNCF measures on photos how large the values inside become, and OpenVINO multiplies 8 bits.

NNCF is loaded for quantising only: what comes out is a network of OpenVINO like any other.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import tempfile
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any
from xml.parsers import expat

import numpy as np

from shelfbench.base.errors import InputError
from shelfbench_deep.engines.openvino import library, taking
from shelfbench_deep.engines.quiet import muted

NEEDS_NNCF = "python -m pip install 'shelfbench[int8]'"
# Images per request: int8 leaves each so little time that fewer cost a tenth (EfficientNet-Lite0, measured).
REQUEST = 16
# Bounds of a network that a stranger may have written: nesting of its description, values between two layers, images
# per request.
_DEPTH, _VALUES, _IMAGES = 32, 1 << 28, 64
# Operations whose work is in a graph of their own, that may never end, or whose result depends on earlier photos.
_REFUSED = {"Loop", "TensorIterator", "If", "ReadValue", "Assign"}


def _nncf() -> Any:
    """Import NNCF without telemetry (`library` takes away the package that would report) and without its remarks."""
    library()
    try:
        with muted():  # it loads PyTorch, which looks for CUDA's compiler and says so
            import nncf
    except ImportError as error:
        raise InputError("bottlenecks in int8 need the package nncf, which is not installed", NEEDS_NNCF) from error
    nncf.set_log_level(logging.ERROR)
    return nncf


def quantised(network: Any, photos: np.ndarray, name: str) -> Any:
    """Turn a network into one that multiplies in int8.

    The ranges of values are symmetric (NNCF's preset ``performance``): on convolutional networks a sixth faster than
    lopsided ones, and no less precise. Networks with attention, whose values are lopsided, get ``mixed``.

    Parameters
    ----------
    network : openvino.Model
        From images of uint8, shape (n, pixels, pixels, 3), to features. It is not changed.
    photos : ndarray of uint8, shape (photos, pixels, pixels, 3)
        Those on which the range of every value is measured. A last part that does not fill the network's input is left
        out; if there are fewer photos than that, they are repeated.
    name : str
        For messages.

    Returns
    -------
    openvino.Model

    Raises
    ------
    InputError
        If NNCF is not installed.
    RunError
        If the network cannot be quantised.
    """
    nncf = _nncf()
    at_once = int(network.input(0).get_partial_shape()[0].get_length())
    if len(photos) < at_once:
        photos = np.resize(photos, (at_once, *photos.shape[1:]))
    parts = [photos[start : start + at_once] for start in range(0, len(photos) - at_once + 1, at_once)]
    attention = any(node.get_type_name() in ("Softmax", "ScaledDotProductAttention") for node in network.get_ops())
    with taking(name), redirect_stdout(io.StringIO()), muted():  # its progress bars
        found = nncf.quantize(
            network.clone(),
            nncf.Dataset(parts),
            preset=nncf.QuantizationPreset("mixed" if attention else "performance"),
            subset_size=len(parts),
            model_type=nncf.ModelType.TRANSFORMER if attention else None,
        )
    return _at_once(found)


def _at_once(network: Any) -> Any:
    """Let a network take `REQUEST` images at once, if it can: the same features."""
    given, returned = (list(port.get_shape()) for port in (network.input(0), network.output(0)))
    larger = network.clone()
    with contextlib.suppress(RuntimeError):  # what insists on its number of images keeps it
        larger.reshape([REQUEST, *given[1:]])
        if list(larger.output(0).get_shape()) == [REQUEST, *returned[1:]]:
            return larger
    return network


def to_arrays(network: Any) -> dict[str, np.ndarray]:
    """Write a network as two arrays of bytes: OpenVINO's description of the graph, and its numbers.

    Parameters
    ----------
    network : openvino.Model

    Returns
    -------
    dict of str to ndarray of uint8
        ``graph`` and ``numbers``.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "network.xml")
        library().save_model(network, os.fspath(path), compress_to_fp16=False)
        return {
            "graph": np.frombuffer(path.read_bytes(), np.uint8),
            "numbers": np.frombuffer(path.with_suffix(".bin").read_bytes(), np.uint8),
        }


def from_arrays(arrays: dict[str, np.ndarray], pixels: int, dimensions: int) -> Any:
    """Read what `to_arrays` wrote, or a stranger. It describes operations of OpenVINO alone: nothing in it is run.

    Parameters
    ----------
    arrays : dict of str to ndarray
    pixels : int
        Side of the images that the network must take.
    dimensions : int
        Length of the features that it must return.

    Returns
    -------
    openvino.Model

    Raises
    ------
    ValueError
        If it is not a network from such images to such features.
    """
    graph, numbers = arrays["graph"], arrays["numbers"]
    if len(arrays) != 2 or any(array.dtype != np.uint8 or array.ndim != 1 for array in (graph, numbers)):
        raise ValueError("its arrays are not a graph and its numbers")
    _check(graph.tobytes())
    ov = library()
    network = ov.Core().read_model(graph.tobytes(), ov.Tensor(np.ascontiguousarray(numbers)))
    if len(network.inputs) != 1 or len(network.outputs) != 1:
        raise ValueError("it does not have one input and one output")
    shapes = [list(port.get_shape()) for port in (network.input(0), network.output(0))]
    images = shapes[0][0] if shapes[0] else 0
    kinds = [port.get_element_type().get_type_name() for port in (network.input(0), network.output(0))]
    wanted = [[images, pixels, pixels, 3], [images, dimensions]]
    if shapes != wanted or kinds != ["u8", "f32"] or not 0 < images <= _IMAGES:
        raise ValueError(f"it goes from {kinds[0]} {shapes[0]} to {kinds[1]} {shapes[1]}")
    for node in network.get_ops():
        if node.get_type_name() in _REFUSED:
            raise ValueError(f"it contains {node.get_type_name()}")
        for port in node.outputs():
            if not port.get_partial_shape().is_static or np.prod([float(n) for n in port.get_shape()]) > _VALUES:
                raise ValueError(f"{node.get_friendly_name()[:40]!r} has too many values")
    return network


def _check(graph: bytes) -> None:
    """Refuse a description that another reader of OpenVINO's would take, or that would take forever to read."""
    if not graph.startswith(b"<?xml"):
        raise ValueError("its graph is not a description in XML")
    depth = 0

    def begins(*_: Any) -> None:
        nonlocal depth
        depth += 1
        if depth > _DEPTH:
            raise ValueError("its graph is nested too deeply")

    def ends(*_: Any) -> None:
        nonlocal depth
        depth -= 1

    def refuse(*_: Any) -> None:
        raise ValueError("its graph declares a document type")

    parser = expat.ParserCreate()
    parser.StartElementHandler, parser.EndElementHandler = begins, ends
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(graph, True)
    except expat.ExpatError as error:
        raise ValueError(f"its graph is not valid XML ({error})") from error
