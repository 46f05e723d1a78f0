"""Images a second of what could compute bottlenecks on a CPU: the engines tried before one was chosen.

python tests/benchmarks/engines.py results/performance/engines.json

Needs the packages of the extra `test`; takes some minutes. Every engine gets the same network with the same random
weights; they are measured in turn, medians of `ROUNDS`, after a warm-up. ``apart`` is how far the features are from
those of Keras in float32, as a share of their norm.
"""

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

import numpy as np

from shelfbench.base.storage import write_json
from shelfbench.plugins.backend import BackboneChoice
from shelfbench_deep.engines.keras import keras
from shelfbench_deep.engines.openvino import CompiledNetwork, from_keras
from shelfbench_deep.networks.backbones import load_backbone

PIXELS, ROUNDS = 180, 3
IMAGES = {"inception_v3": 128, "xception": 64, "efficientnet_lite0": 256}

Engine = Callable[[np.ndarray], np.ndarray]


def on_keras(model: keras.Model, preprocess: Callable) -> Engine:
    model.compile(jit_compile=False)
    return lambda images: model.predict(preprocess(images.astype(np.float32)), batch_size=32, verbose=0)


def on_keras_in_bfloat16(model: keras.Model, preprocess: Callable) -> Engine:
    """TensorFlow hands products of bfloat16 to oneDNN."""

    def half(layer: keras.Layer) -> keras.Layer:
        return layer.__class__.from_config({**layer.get_config(), "dtype": "mixed_bfloat16"})

    lower = keras.models.clone_model(model, clone_function=half)
    lower.set_weights(model.get_weights())
    return on_keras(lower, preprocess)


def on_openvino(precision: str) -> Callable[[keras.Model, Callable], Engine]:
    def compiled(model: keras.Model, preprocess: Callable) -> Engine:
        return CompiledNetwork(from_keras(model, preprocess, PIXELS), precision, model.name)

    return compiled


def on_onnx_runtime(model: keras.Model, preprocess: Callable) -> Engine:
    import onnxruntime

    model(np.zeros((1, PIXELS, PIXELS, 3), np.float32))  # an export traces a model that has computed
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "network.onnx")
        model.export(str(path), format="onnx", verbose=False)
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def extract(images: np.ndarray) -> np.ndarray:
        given = np.asarray(preprocess(images.astype(np.float32)))
        return np.concatenate([session.run(None, {name: part})[0] for part in np.array_split(given, len(given) // 32)])

    return extract


ENGINES = {
    "Keras on TensorFlow, float32": on_keras,
    "Keras on TensorFlow, mixed_bfloat16": on_keras_in_bfloat16,
    "ONNX Runtime, float32": on_onnx_runtime,
    "OpenVINO, float32": on_openvino("float32"),
    "OpenVINO, bfloat16": on_openvino("bfloat16"),
}


def seconds(engine: Engine, images: np.ndarray) -> float:
    begun = perf_counter()
    engine(images)
    return perf_counter() - begun


def main(record: Path) -> None:
    found = []
    for name, count in IMAGES.items():
        backbone = load_backbone(BackboneChoice(name, "none", PIXELS))
        model, preprocess = backbone.model(), backbone.network.preprocess
        engines = {engine: make(model, preprocess) for engine, make in ENGINES.items()}
        images = np.random.default_rng(0).integers(0, 256, (count, PIXELS, PIXELS, 3), np.uint8)
        features = {engine: np.asarray(compute(images), np.float32) for engine, compute in engines.items()}  # warm-up
        expected = features["Keras on TensorFlow, float32"]
        times = np.array([[seconds(engine, images) for engine in engines.values()] for _ in range(ROUNDS)])
        for engine, median in zip(engines, np.median(times, axis=0), strict=True):
            apart = float(np.linalg.norm(features[engine] - expected) / np.linalg.norm(expected))
            found.append({"network": name, "engine": engine, "images_s": count / median, "apart": apart})
            print(f"{name:20} {engine:36} {count / median:6.1f} images/s, apart {apart:.1e}", flush=True)
    write_json(record, found)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
