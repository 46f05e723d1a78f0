"""How a network of timm sees product photos: its own transform against the study's, on real products.

``SHELFBENCH_DATA=... python -m tests.benchmarks.transforms [--train 4000] [--test 1500] [--pixels 128]`` computes
features of EfficientNet-Lite0 (its real weights, filled into timm's network) on the same photos of `fashion` seen in
each way, fits the same linear SVM, and prints precision on test photos, with the photos on which the ways differ.
"""

from __future__ import annotations

import argparse
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from shelfbench.base.console import Console
from shelfbench.base.processor import cores
from shelfbench.data.datasets import open_dataset
from shelfbench.data.feature_store import image_digests
from shelfbench.data.images import decode_batch
from shelfbench.data.material import gather
from shelfbench.data.split import make_split
from shelfbench.data.view import View
from shelfbench.plugins.backend import BackboneChoice, TrainingData
from shelfbench.study.read import read_study
from shelfbench_baselines.linear_svm import LinearSVM, SVMSettings
from shelfbench_deep.features.choosing import network_features
from shelfbench_deep.features.settings import BottleneckSettings
from tests.helpers.timm_weights import lite_folder


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("train", 4000), ("test", 1500), ("pixels", 128), ("seed", 0)):
        parser.add_argument(f"--{name}", type=int, default=default)
    given = parser.parse_args()
    console = Console(quiet=True)
    study = read_study("fashion")
    catalogue, _ = open_dataset(study.dataset, study.generated, None, cores(), console)
    material = gather(catalogue, make_split(catalogue, study.split, given.seed, image_digests(catalogue, console)))
    rng = np.random.default_rng(given.seed)
    label = material.label[material.owner]
    rows = {}
    for role, count in (("train", given.train), ("tune", given.test // 2), ("test", given.test)):
        part = material.images_of(role)
        rows[role] = np.sort(rng.choice(np.arange(part.start, part.stop), count, replace=False))
    with tempfile.TemporaryDirectory() as folder:
        weights = lite_folder(Path(folder))
        choice = BackboneChoice("timm:tf_efficientnet_lite0", str(weights), given.pixels)
        extractor = network_features(choice, {"bottleneck": BottleneckSettings()}).features
        ways = {
            "study: pad": View(fit="pad"),
            "study: crop": View(fit="crop"),
            "own: center, 0.875": extractor.view,
            "center, 1.0": View(fit="center", resample="bicubic", crop=1.0, background=(0, 0, 0)),
            "squash, 1.0": View(fit="squash", resample="bicubic", crop=1.0, background=(0, 0, 0)),
        }
        right = {name: _right(extractor, view, catalogue, material, rows, label) for name, view in ways.items()}
    first = right["study: pad"]
    for name, found in right.items():
        better, worse = int((found & ~first).sum()), int((first & ~found).sum())
        print(f"{name:20s} precision {found.mean():.4f}   against pad: {better} right, {worse} wrong", flush=True)


def _right(extractor, view, catalogue, material, rows, label) -> np.ndarray:
    parts = {}
    with ThreadPoolExecutor(cores()) as pool:
        for role, chosen in rows.items():
            blocks = []
            for start in range(0, len(chosen), 256):
                photos = catalogue.images.read(material.image[chosen[start : start + 256]])
                squares, reasons = decode_batch(photos, extractor.pixels, view, pool)
                assert not reasons
                blocks.append(extractor.extract(squares))
            parts[role] = np.concatenate(blocks)
    svm = LinearSVM(SVMSettings())
    data = TrainingData(
        features=parts["train"],
        labels=label[rows["train"]],
        classes=len(material.classes),
        tune_features=parts["tune"],
        tune_labels=label[rows["tune"]],
    )
    svm.fit(data, seed=0, console=Console(quiet=True))
    return svm.log_probabilities(parts["test"]).argmax(axis=1) == label[rows["test"]]


if __name__ == "__main__":
    main()
