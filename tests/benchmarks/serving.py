"""What a photo costs a service that has loaded a decision: ``python -m tests.benchmarks.serving results/serving.csv``.

A catalogue of 600 products whose photos have 500 pixels is drawn, the study ``own`` runs on it, and a decision on each
backend is loaded in a process of its own, which classifies 200 other photos one by one from memory. Columns: engines
that loading it brings in; seconds to load it; milliseconds of a photo as a watch shows them (the fastest tenth, the
median and the slowest tenth; other programs make the latter longer) and of the processor (mean, all threads); MiB that
the process holds afterwards; cores.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path

import numpy as np
import psutil

import shelfbench
from shelfbench.base.console import Console
from shelfbench.base.processor import cores
from shelfbench.data.sources.cdiscount import products_in_bson
from shelfbench.data.sources.settings import DatasetSettings

BACKENDS = ("hog-svm", "bottleneck-svm", "bottleneck-2nn-2048")
PHOTOS, WARM = 200, 10


def main() -> None:
    """Make the decisions, measure each, and write the rows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--decision", type=Path, help="measure this one here, and print it; for the script itself")
    parser.add_argument("--photos", type=Path, help="*.bson for it")
    parser.add_argument("--folder", type=Path, help="where what is made stays, for the next time")
    options = parser.parse_args()
    if options.decision:
        print(json.dumps(measured(options.decision, options.photos)))
        return
    with tempfile.TemporaryDirectory(prefix="serving-") as name:
        folder, rows = options.folder or Path(name), []
        for place, seed in (("labelled", 0), ("flow", 1)):
            if not (folder / place).exists():
                settings = {"products": 600, "pixels": 500, "seed": seed}
                shelfbench.generate(folder / place, settings=settings, quiet=True)
        run = shelfbench.run(dataset=folder / "labelled", backends=BACKENDS, out=folder / "run", quiet=True)
        for backend in BACKENDS:
            shelfbench.decide(run, backend, precision=0.5, confidence=0.9).save(folder / backend)
            words = [str(options.out), "--decision", str(folder / backend), "--photos", str(folder / "flow/train.bson")]
            command = [sys.executable, "-m", "tests.benchmarks.serving", *words]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            rows.append({"backend": backend, **json.loads(done.stdout.splitlines()[-1])})
            print(rows[-1])
    with options.out.open("w", newline="") as handle:
        writer = csv.DictWriter(handle, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def measured(folder: Path, photos: Path) -> dict[str, object]:
    """Load a decision and classify photos one by one."""
    started = time.perf_counter()
    decision = shelfbench.load_decision(folder)
    loaded = time.perf_counter() - started
    products = products_in_bson([photos], photos.parent, False, DatasetSettings(), Console(quiet=True))
    held = [product.photos[0] for product in islice(products, PHOTOS + WARM)]
    for photo in held[:WARM]:
        decision.classify_photos({"photo": photo})
    walls, before = [], time.process_time()
    for photo in held[WARM:]:
        began = time.perf_counter()
        decision.classify_photos({"photo": photo})
        walls.append(1000 * (time.perf_counter() - began))
    busy = 1000 * (time.process_time() - before) / len(walls)
    fast, usual, slow = np.percentile(walls, (10, 50, 90))
    return {
        "engines": " ".join(sorted({"openvino", "keras", "tensorflow"} & set(sys.modules))),
        "pixels": decision.model.spec.pixels,
        "load_s": f"{loaded:.1f}",
        **{"fast_ms": f"{fast:.1f}", "median_ms": f"{usual:.1f}", "slow_ms": f"{slow:.1f}", "cpu_ms": f"{busy:.1f}"},
        "held_mib": psutil.Process().memory_info().rss >> 20,
        "cores": cores(),
    }


if __name__ == "__main__":
    main()
