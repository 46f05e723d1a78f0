"""Networks on OpenVINO, which computes faster on the CPU than the engines under Keras do."""

from __future__ import annotations

import functools
import io
import sys
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from shelfbench.base.errors import RunError, first_line

if TYPE_CHECKING:
    from shelfbench_deep.engines.keras import keras

# Images per request. Each stream computes one request on one core, so no core waits for another.
REQUEST = 4


@functools.cache
def library() -> Any:
    """Import OpenVINO without its telemetry, which would report every import and conversion to Google Analytics."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    return openvino


@contextmanager
def taking(name: str) -> Iterator[None]:
    """Turn whatever OpenVINO raises about a network into one line."""
    try:
        yield
    except Exception as error:  # OpenVINO has no class of errors of its own
        raise RunError(
            f"OpenVINO cannot take the network {name} ({first_line(error)})", "set bottleneck.engine=keras"
        ) from error


def from_keras(model: keras.Model, preprocess: Callable[[Any], Any], pixels: int) -> Any:
    """Convert a network of Keras on TensorFlow.

    Parameters
    ----------
    model : keras.Model
        From preprocessed float32 images to features. Its weights are copied.
    preprocess : callable
        From float32 RGB of 0 to 255 to what `model` takes.
    pixels : int
        Side of an image.

    Returns
    -------
    openvino.Model
        From images of uint8, shape (`REQUEST`, pixels, pixels, 3), to features of float32.

    Raises
    ------
    RunError
        If OpenVINO cannot take the network.
    """
    from shelfbench_deep.engines.native import traced

    with taking(model.name):
        shape = (REQUEST, pixels, pixels, 3)
        graph = traced(lambda images: model(preprocess(images), training=False), shape)
        _import_alone()
        with redirect_stdout(io.StringIO()):  # it prints where it finds --verbose among our own command's words
            network = library().convert_model(graph)
        # what is left of the gradient of an activation (swish) becomes an output of its own
        for result in network.get_results():
            if graph.outputs[0].name not in result.output(0).names:
                network.remove_result(result)
        return network


def _import_alone() -> None:
    """Let OpenVINO find out the version of TensorFlow on Python 3.13.

    It executes ``import tensorflow`` and ``del tensorflow`` within a function. From Python 3.13 on (PEP 667), the
    second does not see what the first has bound, and a network could not be converted.
    """
    if sys.version_info < (3, 13):
        return
    from openvino.frontend.tensorflow import utils

    def execute(line: str) -> None:
        with suppress(NameError):
            exec(line, {})

    utils.exec = execute


class CompiledNetwork:
    """A network compiled for the CPU, from bytes to features.

    Parameters
    ----------
    network : openvino.Model
        From images of uint8, shape (n, pixels, pixels, 3), to features of float32, one row per image; n is `REQUEST`,
        or what the network insists on.
    precision : {"float32", "bfloat16"}
        Of products and of values between layers.
    name : str
        For messages.

    Raises
    ------
    RunError
        If OpenVINO cannot take the network.
    """

    def __init__(self, network: Any, precision: str, name: str) -> None:
        with taking(name):
            self._dimensions = int(network.output(0).get_partial_shape()[1].get_length())
            self._at_once = int(network.input(0).get_partial_shape()[0].get_length())
            hints = {"PERFORMANCE_HINT": "THROUGHPUT", "INFERENCE_PRECISION_HINT": _TYPES[precision]}
            compiled = library().Core().compile_model(network, "CPU", hints)
            count = compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")
            # our own requests and no callbacks: OpenVINO's threads would need the GIL for those, and a network that is
            # being deleted waits for these threads while it holds the GIL
            self._requests = [compiled.create_infer_request() for _ in range(count)]

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Compute features.

        Every request is padded to the same number of images, so that an image's features do not depend on how many
        others are computed with it.

        Parameters
        ----------
        images : ndarray of uint8, shape (n, pixels, pixels, 3)

        Returns
        -------
        ndarray of float32, shape (n, dimensions)
        """
        features = np.empty((len(images), self._dimensions), np.float32)
        going: deque[tuple[Any, int]] = deque()
        at_once = self._at_once

        def keep() -> Any:
            request, start = going.popleft()
            request.wait()
            part = features[start : start + at_once]
            part[:] = request.get_output_tensor().data[: len(part)]
            return request

        try:
            for start in range(0, len(images), at_once):
                request = keep() if len(going) == len(self._requests) else self._requests[len(going)]
                part = images[start : start + at_once]
                given = request.get_input_tensor().data
                given[: len(part)] = part
                given[len(part) :] = 0
                request.start_async()
                going.append((request, start))
            while going:
                keep()
        finally:  # also after an interrupt by the user
            for request, _ in going:
                request.wait()
        return features


_TYPES = {"float32": "f32", "bfloat16": "bf16"}
