"""Networks on OpenVINO, which computes on the CPU several times as fast as the engines under Keras do."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.errors import RunError

if TYPE_CHECKING:
    from deep.engines import keras

# Images of a request. Each stream computes one request on one core, so that no core waits for another.
REQUEST = 4


@functools.cache
def _openvino() -> Any:
    """Import OpenVINO; without its telemetry, which would tell Google Analytics of every import and conversion."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    return openvino


class CompiledNetwork:
    """A network compiled for the CPU, from bytes to features.

    Parameters
    ----------
    model : keras.Model
        From preprocessed float32 images to features; on TensorFlow. Its weights are copied.
    preprocess : callable
        From float32 RGB of 0 to 255 to what `model` takes.
    pixels, dimensions : int
        Side of an image, and length of its features.
    precision : {"float32", "bfloat16"}

    Raises
    ------
    RunError
        If OpenVINO cannot take the network.
    """

    def __init__(
        self, model: keras.Model, preprocess: Callable[[Any], Any], pixels: int, dimensions: int, precision: str
    ) -> None:
        import tensorflow as tf

        ov = _openvino()
        self._dimensions, self._shape = dimensions, (REQUEST, pixels, pixels, 3)

        @tf.function
        def whole(images: Any) -> Any:
            return model(preprocess(tf.cast(images, "float32")), training=False)

        try:
            converted = ov.convert_model(whole.get_concrete_function(tf.TensorSpec(self._shape, "uint8")))
            hints = {"PERFORMANCE_HINT": "THROUGHPUT", "INFERENCE_PRECISION_HINT": _TYPES[precision]}
            self._compiled = ov.Core().compile_model(converted, "CPU", hints)
        except Exception as error:  # its errors have no class of their own
            first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise RunError(
                f"OpenVINO cannot take the network {model.name} ({first[:200]})", "set bottleneck.engine=keras"
            ) from error

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Compute features.

        Every request is filled up to the same number of images, so that an image's features do not depend on how many
        others came with it.

        Parameters
        ----------
        images : ndarray of uint8, shape (n, pixels, pixels, 3)

        Returns
        -------
        ndarray of float32, shape (n, dimensions)
        """
        ov = _openvino()
        images = np.ascontiguousarray(images)
        features = np.empty((len(images), self._dimensions), np.float32)

        def keep(request: Any, start: int) -> None:
            part = features[start : start + REQUEST]
            part[:] = request.get_output_tensor().data[: len(part)]

        queue = ov.AsyncInferQueue(self._compiled)  # as many requests as suit the streams
        queue.set_callback(keep)
        try:
            for start in range(0, len(images), REQUEST):
                part = images[start : start + REQUEST]
                if len(part) < REQUEST:
                    part = np.concatenate([part, np.zeros((REQUEST - len(part), *part.shape[1:]), np.uint8)])
                queue.start_async({0: ov.Tensor(part, shared_memory=True)}, start)
        finally:
            queue.wait_all()
        return features


_TYPES = {"float32": "f32", "bfloat16": "bf16"}
