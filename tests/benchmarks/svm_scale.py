"""The linear SVM on features in a mapped file: an earlier commit against this one, each in a process of its own.

    python tests/benchmarks/svm_scale.py results/scale/svm.csv --base fc91a35

The features are drawn (seed 0): categories in groups, away from each other in few directions, noise in all, rectified,
and one label in eight is that of another category of the group. The earlier commit is solved as it would be at 1.9
million rows in the memory named in the column `memory`: with so many categories in a block, `before` being what every
machine took once. Columns: `swept` are sweeps over all categories (of one at one C, summed over C, their mean over
categories), `counted` bytes of features gone through, `read` what the system says it read for the process from the disk
(nothing where the file is in its cache), `seconds` and `cpu` of the whole fit and of the fit only, `peak` of the
resident memory (pages of the file included), `above` how far the mean objective is above the other's least at the
largest C. `--grow` adds rows with more and more images for the memory; `at` says what one pass over 1.9 million x 2,048
x 1,000 costs at these rates, and the whole path with as many sweeps.
"""

import argparse
import csv
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[2]
GRID = (3e-4, 1e-3, 3e-3, 1e-2, 3e-2)
SIZES = ((100_000, 512, 200), (200_000, 1024, 400))
GROWING = ((10_000, 256, 200), (100_000, 256, 200), (1_000_000, 256, 200))
GOAL = (1_900_000, 2048, 1000)
# Categories in a block of the earlier commit, by the memory that is free at 1.9 million rows.
WIDTHS = {"before": 16, "4 GiB": 64, "20 GiB": 336}
FIELDS = ["code", "memory", "rows", "dimensions", "categories", "width", "swept", "counted", "read", "seconds", "cpu"]
FIELDS += ["peak", "above", "at_bytes", "at_cpu"]


def draw(folder: Path, rows: int, dimensions: int, categories: int) -> None:
    """Write ``features.npy`` and ``labels.npy``."""
    rng = np.random.default_rng(0)
    share = np.arange(1, categories + 1) ** -0.8
    rank, groups = min(dimensions // 4, 128), max(2, categories // 10)
    basis = rng.standard_normal((rank, dimensions), np.float32) / np.float32(np.sqrt(rank))
    group = rng.integers(groups, size=categories)
    centres = 0.9 * rng.standard_normal((groups, rank))[group] + 0.55 * rng.standard_normal((categories, rank))
    deviation = (1.6 * np.arange(1, dimensions + 1) ** -0.35).astype(np.float32)
    turn = np.linalg.qr(rng.standard_normal((dimensions, dimensions), np.float32))[0]
    siblings = [np.flatnonzero(group == own) for own in group]
    features = np.lib.format.open_memmap(folder / "features.npy", "w+", np.float32, (rows, dimensions))
    labels = np.empty(rows, np.int64)
    for start in range(0, rows, 8192):
        stop = min(start + 8192, rows)
        true = rng.choice(categories, stop - start, p=share / share.sum())
        hidden = centres[true].astype(np.float32) + 0.8 * rng.standard_normal((stop - start, rank), np.float32)
        noise = rng.standard_normal((stop - start, dimensions), np.float32) * deviation
        features[start:stop] = np.maximum(noise @ turn + hidden @ basis + 0.5, 0)
        labels[start:stop] = true
        for row in np.flatnonzero(rng.random(stop - start) < 0.125):
            labels[start + row] = rng.choice(siblings[true[row]])
    labels[:categories] = np.arange(categories)
    features.flush()
    np.save(folder / "labels.npy", labels)


def fit(folder: Path, width: int) -> dict[str, float]:
    """Fit with the code that this process imports, and say what it took; `width` is of the earlier code only."""
    import shelfbench_baselines.squared_hinge as module
    from shelfbench_baselines.descent import regularisation_path

    features, labels = np.load(folder / "features.npy", mmap_mode="r"), np.load(folder / "labels.npy")
    classes, counted = int(labels.max()) + 1, [0]
    began = time.perf_counter()
    if width:
        from shelfbench_baselines.margins import Margins

        class Blocks:
            widest = staticmethod(lambda problem: width)

            def __new__(cls, problem, live):
                return Margins(problem, live)

        def count(name):
            inner = getattr(module.SquaredHinge, name)

            def noted(self, *given):
                counted[0] += self.features.nbytes
                return inner(self, *given)

            setattr(module.SquaredHinge, name, noted)

        problem = module.SquaredHinge(np.asarray(features), labels, classes, True)
        tiles = -(-features.shape[1] // module.TILE)
        counted[0] = features.nbytes * (1 + (tiles + 1) // 2)  # moments, and tiles of the Gram matrix
        count("forward"), count("back")
        margins = Blocks
    else:
        from shelfbench_baselines.streamed import Streamed, StreamedHinge

        problem = StreamedHinge(features, labels, classes, True)
        margins = Streamed(problem.sweep)
        width = margins.widest(problem)
    path = regularisation_path(problem, GRID, 1e-4, 100, margins=margins)
    seconds = time.perf_counter() - began
    usage = resource.getrusage(resource.RUSAGE_SELF)
    told = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return {
        "width": min(width, classes),
        "swept": float(sum(one.sweeps.mean() for one in path)),
        "counted": counted[0] or problem.blocks.read,
        "read": int(told["read_bytes"]),
        "seconds": seconds,
        "cpu": usage.ru_utime + usage.ru_stime,
        "peak": 1024 * int(status["VmHWM"].split()[0]),  # the peak in rusage is the parent's, if that was larger
        "objective": float(path[-1].objective.sum()),
    }


def measured(tree: Path, folder: Path, width: int) -> dict[str, float]:
    """Run `fit` in a process that imports from `tree`."""
    paths = os.pathsep.join(str(tree / part) for part in ("bench", "baselines", "deep"))
    command = [sys.executable, __file__, "--fit", str(folder), str(width)]
    done = subprocess.run(command, env=os.environ | {"PYTHONPATH": paths}, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def scaled(row: dict, shape: tuple[int, int, int]) -> dict[str, float]:
    """Say what the goal's size takes with as many sweeps, at the rate of this one."""
    rows, dimensions, categories = shape
    sweeps = row["counted"] / (4.0 * rows * dimensions)
    # as many blocks as there, of which each takes as many sweeps as these did on average
    blocks = -(-GOAL[2] // row["width"]) if row["code"] != "this" else 1
    here = -(-categories // row["width"])
    work = np.prod(np.array(GOAL, float)) / np.prod(np.array(shape, float))
    return {"at_bytes": sweeps * blocks / here * 4.0 * GOAL[0] * GOAL[1], "at_cpu": row["cpu"] * work}


def _short(value: object) -> object:
    return f"{value:.6g}" if isinstance(value, float) else value


def main() -> None:
    """Draw, fit with both codes in turn, and write a row for each as it comes."""
    parser = argparse.ArgumentParser()
    parser.add_argument("table", type=Path)
    parser.add_argument("--base", default="main")
    parser.add_argument("--grow", action="store_true", help="only the memory of this code by number of images")
    parser.add_argument("--size", type=int, choices=range(len(SIZES)), action="append")
    given = parser.parse_args()
    new = not given.table.exists()
    given.table.parent.mkdir(parents=True, exist_ok=True)
    with given.table.open("a", newline="") as file, tempfile.TemporaryDirectory() as name:
        table = csv.DictWriter(file, FIELDS)
        if new:
            table.writeheader()
        folder, tree = Path(name) / "data", Path(name) / "base"
        folder.mkdir(), tree.mkdir()
        if not given.grow:
            archive = subprocess.run(["git", "-C", str(ROOT), "archive", given.base], check=True, capture_output=True)
            subprocess.run(["tar", "-x", "-C", str(tree)], input=archive.stdout, check=True)
        chosen = GROWING if given.grow else [SIZES[index] for index in given.size or range(len(SIZES))]
        for shape in chosen:
            draw(folder, *shape)
            runs = [("this", "any", ROOT, 0)]
            runs += [] if given.grow else [(given.base, memory, tree, width) for memory, width in WIDTHS.items()]
            found = [
                {"code": code, "memory": memory}
                | dict(zip(("rows", "dimensions", "categories"), shape, strict=True))
                | measured(where, folder, width)
                for code, memory, where, width in runs
            ]
            least = min(row["objective"] for row in found)
            for row in found:
                row |= {"above": row.pop("objective") / least - 1} | scaled(row, shape)
                table.writerow(
                    {key: f"{value:.6g}" if isinstance(value, float) else value for key, value in row.items()}
                )
                file.flush()
                print(row, flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--fit"]:
        print(json.dumps(fit(Path(sys.argv[2]), int(sys.argv[3]))))
    else:
        main()
