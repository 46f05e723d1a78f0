"""Everything that is to be measured on a machine with a GPU, the most important first, within a number of minutes.

PYTHONPATH=bench:baselines:deep KERAS_BACKEND=jax python tests/benchmarks/on_gpu.py OUT --minutes 12

Runs from a checkout without installation, where there are Pillow and Keras with JAX, PyTorch or TensorFlow; the linear
SVM needs SciPy, threadpoolctl and array-api-compat besides, and is left out without them. Writes ``OUT/DEVICE.json``
(Table 3 of both papers, epochs of the 2NN, bottlenecks: `python -m shelfbench_deep.measure`) and ``OUT/svm.json`` after
each of its parts; repeat the command for what the time did not suffice for. Tried on a CPU by
``--minutes 3 --rows 20000 --classes 64 --quick --pixels 75 --batch 2 --units 512``.
"""

import argparse
import copy
import importlib
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from shelfbench.base.storage import write_json

# Of the minutes, those that the networks and the 2NN may take.
SHARE = 0.75
NETWORKS = ("inception_v3", "xception", "efficientnet_lite0")
DIMENSIONS, C, TOLERANCE, SWEEPS = 2048, 1e-3, 1e-3, 40


def networks(out: Path, minutes: float, more: list[str]) -> int:
    """Measure networks and the 2NN in processes of their own; return the exit code."""
    words = [sys.executable, "-m", "shelfbench_deep.measure", "--out", str(out), "--minutes", f"{minutes:g}"]
    return subprocess.run([*words, "--networks", *NETWORKS, *more], check=False).returncode


def bottlenecks(rows: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw rectified features of overlapping categories."""
    random = np.random.default_rng(0)
    labels = random.integers(0, classes, rows)
    features = random.standard_normal((rows, DIMENSIONS), np.float32)
    centres = random.standard_normal((classes, DIMENSIONS), np.float32)
    for start in range(0, rows, 65_536):
        part = features[start : start + 65_536]
        part += 0.3 * centres[labels[start : start + 65_536]]
        np.maximum(part, 0, out=part)
    return features, labels


def svm(out: Path, rows: int, classes: int, until: float) -> None:
    """Solve for all categories at one C: on the device in blocks of its memory, in blocks of 16, and in NumPy."""
    descent = importlib.import_module("shelfbench_baselines.descent")
    devices = importlib.import_module("shelfbench_baselines.device")
    hinge = importlib.import_module("shelfbench_baselines.squared_hinge")
    margins = importlib.import_module("shelfbench_baselines.margins")
    found: dict[str, Any] = {"rows": rows, "dimensions": DIMENSIONS, "classes": classes, "C": C, "measured": []}
    features, labels = bottlenecks(rows, classes)
    begun = time.perf_counter()
    problem = hinge.SquaredHinge(features, labels, classes, True)
    found["preparing_s"] = time.perf_counter() - begun
    # without an accelerator, the library that Keras runs on, on the CPU
    from shelfbench_deep.engines.versions import framework

    library = framework().engine
    device = devices.find_device("auto") or devices.find_device(library if library in devices.LIBRARIES else "numpy")
    ways: list[tuple[str, Any, int]] = []
    if device is not None:
        free = device.free()
        on_device = device.margins(problem)
        found |= {"device": device.name, "library": device.library, "free_bytes": free}
        ways += [("device", on_device, on_device.widest(problem)), ("device", on_device, margins.LANES)]
    ways.append(("numpy", margins.Margins, margins.Margins.widest(problem)))
    for name, make, width in ways:
        if time.monotonic() > until:
            print(f"the time was up before the SVM of {name} in blocks of {width}")
            break
        # one block is enough: all take about as long
        some = copy.copy(problem)
        some.classes = min(classes, width)
        some.labels = np.where(labels < some.classes, labels, -1)
        begun = time.perf_counter()
        [solution] = descent.regularisation_path(some, (C,), TOLERANCE, SWEEPS, margins=make)
        seconds = time.perf_counter() - begun
        row = {
            "where": name,
            "block": some.classes,
            "seconds": seconds,
            "sweeps": float(solution.sweeps.mean()),
            "all_categories_s": seconds * classes / some.classes,
        }
        found["measured"].append(row)
        write_json(out / "svm.json", found)
        print(
            f"SVM, {name}, a block of {row['block']}: {seconds:.1f} s; all {classes}: {row['all_categories_s']:.1f} s"
        )


def main() -> int:
    parser = argparse.ArgumentParser("python tests/benchmarks/on_gpu.py", description=__doc__.split("\n")[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--minutes", type=float, default=12.0)
    parser.add_argument("--rows", type=int, default=500_000, help="images of the SVM")
    parser.add_argument("--classes", type=int, default=1000, help="categories of the SVM")
    options, more = parser.parse_known_args()
    until = time.monotonic() + 60 * options.minutes
    code = networks(options.out, SHARE * options.minutes, more)
    try:
        svm(options.out, options.rows, options.classes, until)
    except ModuleNotFoundError as error:
        print(f"no SVM: {error}")
    return code


if __name__ == "__main__":
    sys.exit(main())
