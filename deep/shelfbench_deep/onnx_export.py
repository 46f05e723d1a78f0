"""A network and the classifier on it as one ONNX graph, from pixels to log-probabilities."""

from __future__ import annotations

import contextlib
import logging
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from shelfbench.base.console import Console
from shelfbench.base.errors import InputError
from shelfbench.base.storage import write_whole
from shelfbench.data.extractor import FeatureExtractor
from shelfbench.plugins.backend import Classifier
from shelfbench_baselines.linear_svm import LinearSVM
from shelfbench_deep.features.bottleneck import BottleneckExtractor
from shelfbench_deep.features.quantised import QuantisedExtractor
from shelfbench_deep.heads.own_head import OwnHead
from shelfbench_deep.heads.two_layer import TwoLayer

if TYPE_CHECKING:
    from shelfbench_deep.engines.keras import keras

INPUT, OUTPUT = "pixels", "log_probabilities"


def export_onnx(features: FeatureExtractor, classifier: Classifier, path: Path) -> None:
    """Write one graph, from uint8 RGB squares to the log-probabilities of each image, including the preprocessing.

    Parameters
    ----------
    features : BottleneckExtractor
    classifier : LinearSVM, TwoLayer or OwnHead
        Fitted on those features.
    path : Path
        Of the ``*.onnx`` file. Input ``pixels``, uint8 of shape (n, side, side, 3); output ``log_probabilities``,
        float32 of shape (n, classes).

    Raises
    ------
    InputError
        If the package that converts is not installed, or the features or the classifier are of another kind.
    """
    if isinstance(features, QuantisedExtractor):
        raise InputError(
            f"{features.name} in int8 cannot be saved as ONNX",
            "omit --onnx, or run the study again with bottleneck.precision=float32",
        )
    if not isinstance(features, BottleneckExtractor) or not isinstance(classifier, LinearSVM | TwoLayer | OwnHead):
        raise InputError(
            f"{type(classifier).__name__} on {features.name} is not a network that can be saved as ONNX", "omit --onnx"
        )
    if features.engine.precision != "float32":
        Console().warn(
            f"{path.name} computes in float32, and the run's features were computed in {features.engine.precision}: "
            "confidences differ slightly from those that the threshold was chosen on (after a run with "
            "bottleneck.precision=float32 they are the same)"
        )
    from shelfbench_deep.engines.keras import keras

    pixels = keras.Input((features.pixels, features.pixels, 3), dtype="uint8", name=INPUT)
    values = features.preprocess(keras.ops.cast(pixels, "float32"))
    graph = keras.Model(pixels, keras.ops.log_softmax(_logits(features.model()(values), classifier)))
    # an export traces a model, which must have computed before
    graph(np.zeros((1, features.pixels, features.pixels, 3), np.uint8))
    try:
        # converters print, log and warn
        with contextlib.redirect_stdout(sys.stderr), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            logging.getLogger("tf2onnx").setLevel(logging.ERROR)
            write_whole(path, lambda aside: _write(graph, aside))
    except ImportError as error:
        raise InputError(
            f"writing ONNX needs the package {error.name or 'onnx'}", "python -m pip install 'shelfbench[onnx]'"
        ) from error


def _write(graph: keras.Model, path: Path) -> None:
    import onnx

    graph.export(str(path), format="onnx", verbose=False)
    model = onnx.load(path)
    old = model.graph.output[0].name
    for node in model.graph.node:
        node.output[:] = [OUTPUT if name == old else name for name in node.output]
    model.graph.output[0].name = OUTPUT
    for value in (model.graph.input[0], model.graph.output[0]):
        value.type.tensor_type.shape.dim[0].dim_param = "n"
    onnx.checker.check_model(model)
    onnx.save(model, path)


def _logits(features: keras.KerasTensor, classifier: LinearSVM | TwoLayer | OwnHead) -> keras.KerasTensor:
    """Apply the classifier to features, without the softmax."""
    from shelfbench_deep.engines.keras import keras

    if isinstance(classifier, OwnHead):
        return keras.ops.matmul(features, classifier.kernel) + classifier.bias
    if isinstance(classifier, TwoLayer):
        return classifier.network()(classifier.standardised(features))
    standardised = (features - classifier.mean) / classifier.scale
    margins = keras.ops.matmul(standardised, np.ascontiguousarray(classifier.coef.T))
    return (margins + classifier.intercept.astype(np.float32)) * np.float32(classifier.temperature)
