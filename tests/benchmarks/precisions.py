"""Images a second of bottlenecks by precision, against Keras in float32; resident, and from JPEG.

python -m tests.benchmarks.precisions results/performance/int8/rates.json [--quick]

Needs the extras `test` and `int8`. Everything is measured in turn, medians of `ROUNDS`, after a warm-up; weights are
random, except those of EfficientNet-Lite0 where its package is installed: they take as long. ``cpu`` is images per
second of the processor's time, times the cores: what the machine would do if nothing else ran on it. ``apart`` is how
far the features are from those of Keras, as a share of their norm, and ``cosine`` the mean of each photo's. ``peak`` is
what the cores multiply at most in OpenVINO in each precision (a product of two large matrices).
"""

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter, process_time

import numpy as np

from shelfbench.base.console import Console
from shelfbench.base.processor import cores
from shelfbench.base.storage import write_json
from shelfbench.cost.timing import machine, versions
from shelfbench.data.feature_store import FeatureStore
from shelfbench.data.images import ImageSettings
from shelfbench.data.sources.folder import read_folder
from shelfbench.data.sources.settings import DatasetSettings
from shelfbench.plugins.backend import BackboneChoice
from shelfbench_deep.engines.openvino import library
from shelfbench_deep.features.bottleneck import BottleneckExtractor
from shelfbench_deep.features.settings import BottleneckSettings
from tests.benchmarks import inputs

ROUNDS = 5
PRECISIONS = ("float32", "bfloat16", "int8")
# Network, side, images.
CASES = (
    ("efficientnet_lite0", 128, 2048),
    ("efficientnet_lite0", 224, 768),
    ("inception_v3", 180, 512),
    ("xception", 180, 256),
)
SIDE = 4096


def extractor(name: str, pixels: int, precision: str):
    weights = "imagenet" if name == "efficientnet_lite0" else "none"
    settings = BottleneckSettings("keras") if precision == "keras" else BottleneckSettings("openvino", precision)
    return BottleneckExtractor(BackboneChoice(name, weights, pixels), settings)


def in_turn(work: dict[str, Callable[[], object]], count: int) -> dict[str, dict[str, float]]:
    """Images a second of each, medians."""
    for run in work.values():
        run()
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in work}
    for _ in range(ROUNDS):
        for name, run in work.items():
            begun, used = perf_counter(), process_time()
            run()
            taken[name].append((perf_counter() - begun, process_time() - used))
    found = {name: np.median(np.array(pairs), axis=0) for name, pairs in taken.items()}
    return {name: {"images_s": count / wall, "cpu": cores() * count / cpu} for name, (wall, cpu) in found.items()}


def measured(name: str, pixels: int, count: int, folder: Path) -> list[dict]:
    images = inputs.squares(count, pixels)
    sources = {precision: extractor(name, pixels, precision) for precision in ("keras", *PRECISIONS)}
    sources["int8"] = sources["int8"].calibrated(images[:600])
    model, preprocess = sources["keras"].model(), sources["keras"].preprocess
    prepared = preprocess(images.astype(np.float32))
    exact = sources["keras"].extract(images)
    work = {precision: lambda source=sources[precision]: source.extract(images) for precision in PRECISIONS}
    work["keras"] = lambda: model.predict(prepared, batch_size=32, verbose=0)
    rates = in_turn(work, count)
    inputs.write_jpegs(folder, images)
    catalogue = read_folder(folder, "jpeg", DatasetSettings(name=str(folder)))
    rows = np.arange(count)
    digests = np.array([number.to_bytes(16, "big") for number in rows.tolist()], "V16")

    def stored(source):
        with tempfile.TemporaryDirectory() as root:
            FeatureStore(source, ImageSettings(), Console(quiet=True), cores(), Path(root)).features(
                catalogue, rows, digests
            )

    fed = in_turn({one: lambda source=sources[one]: stored(source) for one in PRECISIONS}, count)
    found = []
    for precision in ("keras", *PRECISIONS):
        features = exact if precision == "keras" else sources[precision].extract(images)
        norms = np.linalg.norm(features, axis=1) * np.linalg.norm(exact, axis=1)
        row = {
            "network": name,
            "pixels": pixels,
            "precision": precision,
            **rates[precision],
            "times_keras": rates[precision]["images_s"] / rates["keras"]["images_s"],
            "times_keras_cpu": rates[precision]["cpu"] / rates["keras"]["cpu"],
            "apart": float(np.linalg.norm(features - exact) / np.linalg.norm(exact)),
            "cosine": float(((features * exact).sum(axis=1) / norms).mean()),
        }
        if precision in fed:
            row["from_jpeg"] = fed[precision]["images_s"] / rates[precision]["images_s"]
        found.append(row)
        print({key: round(value, 4) if isinstance(value, float) else value for key, value in row.items()}, flush=True)
    return found


def peaks() -> dict[str, float]:
    """GFLOP/s of a product of two large matrices in OpenVINO (int8: operations)."""
    ov = library()
    import openvino.opset13 as ops

    found = {}
    square = np.random.default_rng(0).standard_normal((SIDE, SIDE), np.float32)
    for precision, hint in (("float32", "f32"), ("bfloat16", "bf16"), ("int8", "f32")):
        given = ops.parameter([SIDE, SIDE], np.float32)
        left, right = given, ops.constant(square)
        if precision == "int8":
            left = ops.fake_quantize(left, np.float32(-4), np.float32(4), np.float32(-4), np.float32(4), 256)
            right = ops.fake_quantize(right, np.float32(-4), np.float32(4), np.float32(-4), np.float32(4), 255)
        network = ov.Model([ops.matmul(left, right, False, True)], [given])
        options = {"INFERENCE_PRECISION_HINT": hint, "PERFORMANCE_HINT": "LATENCY"}
        request = ov.Core().compile_model(network, "CPU", options).create_infer_request()
        request.get_input_tensor().data[:] = square
        request.infer()
        rates = []
        for _ in range(10):
            begun = perf_counter()
            request.infer()
            rates.append(2e-9 * SIDE**3 / (perf_counter() - begun))
        found[precision] = max(rates)
    return found


def main(record: Path, quick: bool) -> None:
    found = []
    for name, pixels, count in CASES:
        with tempfile.TemporaryDirectory() as folder:
            found += measured(name, pixels, count // 8 if quick else count, Path(folder))
    record.parent.mkdir(parents=True, exist_ok=True)
    write_json(record, {"machine": machine(), "versions": versions(), "peak": peaks(), "rows": found})


if __name__ == "__main__":
    main(Path(sys.argv[1]), "--quick" in sys.argv)
