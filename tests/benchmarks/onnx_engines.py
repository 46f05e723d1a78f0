"""OpenVINO and ONNX Runtime on the same ONNX files, in turn: images a second from bytes, medians.

    python tests/benchmarks/onnx_engines.py net.onnx ... [--images 256] [--rounds 5]
    python tests/benchmarks/onnx_engines.py --timm mobilenetv3_large_100 resnet50 vit_small_patch16_224 convnext_tiny

With ``--timm``, networks are exported first (random weights; needs timm, torch and onnxscript).
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from shelfbench.plugins.backend import BackboneChoice
from shelfbench_deep.features.onnx_network import OnnxExtractor, onnx_extractor
from shelfbench_deep.features.settings import BottleneckSettings
from shelfbench_deep.networks.onnx_settings import OnnxSettings

WAYS = {
    "openvino float32": ("openvino", "float32"),
    "openvino bfloat16": ("openvino", "bfloat16"),
    "onnxruntime float32": ("onnxruntime", "float32"),
}


def exported(name: str, folder: Path) -> Path:
    """Export a network of timm as strangers do."""
    import timm
    import torch

    model = timm.create_model(name, pretrained=False, num_classes=0).eval()
    side = model.pretrained_cfg["input_size"][1]
    path = folder / f"{name}.onnx"
    torch.onnx.export(
        model,
        (torch.zeros(2, 3, side, side),),
        str(path),
        input_names=["input"],
        dynamic_axes={"input": {0: "batch"}},
        dynamo=False,
    )
    return path


def opened(path: Path, way: str) -> OnnxExtractor:
    """Open a network for one engine."""
    engine, precision = WAYS[way]
    settings = OnnxSettings(mean=(127.5,), std=(127.5,), engine=engine, output="")
    return onnx_extractor(BackboneChoice(str(path)), BottleneckSettings(precision=precision), settings)


def main() -> None:
    """Measure, and print one line per network and engine."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", nargs="*", type=Path)
    parser.add_argument("--timm", nargs="*", default=[])
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=5)
    words = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for path in [*words.paths, *(exported(name, Path(folder)) for name in words.timm)]:
            ways = {way: opened(path, way) for way in WAYS}
            side = next(iter(ways.values())).pixels
            images = np.random.default_rng(0).integers(0, 256, (words.images, side, side, 3), np.uint8)
            seconds: dict[str, list[float]] = {way: [] for way in ways}
            for extractor in ways.values():
                extractor.extract(images[:8])
            for _ in range(words.rounds):
                for way, extractor in ways.items():
                    start = time.perf_counter()
                    extractor.extract(images)
                    seconds[way].append(time.perf_counter() - start)
            base = statistics.median(seconds["onnxruntime float32"])
            for way, taken in seconds.items():
                median = statistics.median(taken)
                print(f"{path.stem:36} {way:20} {words.images / median:8.1f}/s  {base / median:5.2f} x ONNX Runtime")


if __name__ == "__main__":
    main()
