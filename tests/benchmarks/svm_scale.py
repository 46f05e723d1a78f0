"""The linear SVM of a whole catalogue: an earlier commit and this one in turn, each in a process of its own.

    python -m tests.benchmarks.svm_scale results/scale/svm.csv --rows 100000 --width 16 --width 256
    python -m tests.benchmarks.svm_scale results/scale/svm.csv --estimate results/scale/svm-estimate.csv
    python -m tests.benchmarks.svm_scale results/scale/svm-sweep.json --sweep

The features are drawn (seed 0): categories in groups, away from each other in few directions, noise in all, rectified,
and one label in eight is that of another category of the group. They lie in a file, of which this code maps what it
needs. The earlier commit (`--base`) solves so many categories in a block as `--width` says: 16 is what every machine
took at 1.9 million rows. Columns: `steps` over all categories (of one, summed over five values of C, the mean over
categories); `passes` and `bytes` of features gone through, counted; `read`, what the system says that it read for the
process from the disk (nothing where the file is in its cache); `seconds` of the fit and `cpu`, those of all cores; peak
of resident memory, with pages of the file; `ns_each` and `bytes_each` for each row, category and step; `gflops` of the
products that the steps need, by the seconds, and `products`, what the cores multiply just before the fit; `gap` as
the solver estimates it, and `above`, how far the mean objective at the largest C is above the least of the codes.
Of rows with a `nice` of 19, made beside other work, `cpu` counts and `seconds` do not.

`--estimate` says what 1.9 million x 2,048 x 1,000 takes: a model, not a measurement. Steps, and passes of a block, grow
with the rows by the power law that fits the measured ones of the code best. `core_hours` are what so many steps take of
the processor, at the rate of the code's row with the most rows; `hours` are these on two cores that do nothing else,
plus the reading of all bytes at the rate at which the disk gives a file (`--disk`, in GB/s; `dd` with `iflag=direct`),
as if nothing were read ahead and the system held nothing.

`--sweep` compares a sweep with the products that it consists of, on one core, in seconds of the processor.
"""

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

ROOT = Path(__file__).parents[2]
GRID = (3e-4, 1e-3, 3e-3, 1e-2, 3e-2)
GOAL = (1_900_000, 2048, 1000)
FIELDS = ["code", "rows", "dimensions", "categories", "width", "steps", "passes", "bytes", "read", "seconds", "cpu"]
FIELDS += ["peak_mib", "ns_each", "bytes_each", "gflops", "products", "gap", "above", "nice"]
THIS, CORES = "this", 2


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


def products() -> float:
    """Measure the products that sweeps are made of, of a block on each core, in operations a second."""
    from shelfbench.base.processor import cores

    rng = np.random.default_rng(0)
    blocks = rng.standard_normal((cores(), 2048, 2048), np.float32)
    weights, best = rng.standard_normal((2048, 512), np.float32), 0.0

    def work(block: np.ndarray) -> None:
        for _ in range(4):
            block.T @ (block @ weights)

    with threadpool_limits(1), ThreadPoolExecutor(len(blocks)) as pool:
        for _ in range(5):
            began = time.perf_counter()
            list(pool.map(work, blocks))
            best = max(best, len(blocks) * 4 * 4.0 * 2048 * 2048 * 512 / (time.perf_counter() - began))
    return best


def fit(folder: Path, width: int) -> dict[str, float]:
    """Fit with the code that this process imports, and say what it took; `width` is of the earlier code only."""
    import shelfbench_baselines.squared_hinge as module
    from shelfbench_baselines.descent import regularisation_path

    features, labels = np.load(folder / "features.npy", mmap_mode="r"), np.load(folder / "labels.npy")
    classes, counted = int(labels.max()) + 1, [0]
    fastest = products()
    spent, began = time.process_time(), time.perf_counter()
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
    spent = time.process_time() - spent
    told = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    steps = float(sum(one.sweeps.mean() for one in path))
    work = len(features) * classes * steps
    return {
        "width": min(width, classes),
        "steps": steps,
        "passes": (counted[0] or problem.blocks.read) / features.nbytes,
        "bytes": counted[0] or problem.blocks.read,
        "read": int(told["read_bytes"]),
        "seconds": seconds,
        "cpu": spent,
        "peak_mib": int(status["VmHWM"].split()[0]) / 1024,
        "ns_each": 1e9 * seconds / work,
        "bytes_each": (counted[0] or problem.blocks.read) / work,
        "gflops": 4e-9 * work * features.shape[1] / seconds,
        "products": fastest / 1e9,
        "gap": max(float(one.gap.max()) for one in path),
        "objective": float(path[-1].objective.sum()),
    }


def sweep(out: Path) -> None:
    """Compare a sweep in memory on one core with the two products that it consists of, in seconds of the processor."""
    from shelfbench_baselines.margins import Columns
    from shelfbench_baselines.squared_hinge import row_blocks
    from shelfbench_baselines.streamed import StreamedHinge

    rng, found = np.random.default_rng(0), []
    features = rng.standard_normal((16_384, 2048), np.float32)
    with threadpool_limits(1):
        for categories in (256, 1008):
            problem = StreamedHinge(features, rng.integers(0, categories, len(features)), categories, True)
            weights = 1e-3 * rng.standard_normal((2049, categories))
            folded, columns = weights[:-1].astype(np.float32), Columns(categories, np.arange(categories))
            spent = []
            for _ in range(5):
                began = time.process_time()
                problem.sweep(weights, columns)
                swept = time.process_time()
                for rows in row_blocks(len(features)):
                    features[rows].T @ (features[rows] @ folded)
                spent.append((swept - began, time.process_time() - swept))
            whole, products = np.min(spent, axis=0).tolist()
            found.append({"categories": categories, "sweep": whole, "products": products, "share": products / whole})
    out.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    print(found)


def measured(tree: Path, folder: Path, width: int) -> dict[str, float]:
    """Run `fit` in a process that imports from `tree`."""
    paths = os.pathsep.join(str(tree / part) for part in ("bench", "baselines", "deep"))
    command = [sys.executable, __file__, "--fit", str(folder), str(width)]
    done = subprocess.run(command, env=os.environ | {"PYTHONPATH": paths}, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def measure(given: argparse.Namespace) -> None:
    """Draw, fit with both codes in turn, and write a row for each."""
    new, shape = not given.table.exists(), (given.rows, given.dimensions, given.categories)
    given.table.parent.mkdir(parents=True, exist_ok=True)
    with given.table.open("a", newline="") as file, tempfile.TemporaryDirectory() as name:
        table = csv.DictWriter(file, FIELDS, lineterminator="\n")
        if new:
            table.writeheader()
        folder, tree = Path(name) / "data", Path(name) / "base"
        folder.mkdir(), tree.mkdir()
        if given.width:
            archive = subprocess.run(["git", "-C", str(ROOT), "archive", given.base], check=True, capture_output=True)
            subprocess.run(["tar", "-x", "-C", str(tree)], input=archive.stdout, check=True)
        draw(folder, *shape)
        runs = [(THIS, ROOT, 0), *((given.base, tree, width) for width in given.width)]
        found = [
            {"code": code} | dict(zip(FIELDS[1:4], shape, strict=True)) | measured(where, folder, width)
            for code, where, width in runs
        ]
        least = min(row["objective"] for row in found)
        for row in found:
            row |= {"above": row.pop("objective") / least - 1, "nice": os.nice(0)}
            table.writerow({key: _short(value) for key, value in row.items()})
            print(row, flush=True)


def estimate(table: Path, out: Path, disk: float) -> None:
    """Say what the goal's size takes, from the rows of a table."""
    with table.open() as file:
        rows = [
            {key: value if key == "code" else float(value) for key, value in row.items()}
            for row in csv.DictReader(file)
        ]
    goal, dimensions, categories = GOAL
    found = []
    for code, width in sorted({(row["code"], row["width"] < row["categories"]) for row in rows}, key=str):
        own = [row for row in rows if (row["code"], row["width"] < row["categories"]) == (code, width)]
        same = max({row["categories"] for row in own}, key=lambda k: sum(row["categories"] == k for row in own))
        own = sorted((row for row in own if row["categories"] == same), key=lambda row: row["rows"])
        # of a code that cannot have them all at once, as many as in the measurement
        block = categories if code == THIS else int(own[-1]["width"])
        log_rows = np.log([row["rows"] for row in own])
        grown = {}
        for name in ("steps", "passes"):
            values = [row[name] / (-(-row["categories"] // row["width"]) if name == "passes" else 1) for row in own]
            power, at_one = np.polyfit(log_rows, np.log(values), 1)
            grown[name], grown[name + "_power"] = float(np.exp(at_one + power * np.log(goal))), float(power)
        bytes_read = -(-categories // block) * grown["passes"] * 4.0 * goal * dimensions
        last, work = own[-1], float(goal) * dimensions * categories * grown["steps"]
        computing = work * last["cpu"] / (last["rows"] * last["dimensions"] * last["categories"] * last["steps"])
        found.append(
            {"code": code, "width": block, "from_rows": own[-1]["rows"]}
            | grown
            | {"terabytes": bytes_read / 1e12, "core_hours": computing / 3600, "disk_gb_s": disk}
            | {"hours_reading": bytes_read / disk / 1e9 / 3600}
            | {"hours": computing / CORES / 3600 + bytes_read / disk / 1e9 / 3600}
        )
    with out.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(found[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows({key: _short(value) for key, value in row.items()} for row in found)
    for row in found:
        print({key: _short(value) for key, value in row.items()})


def _short(value: object) -> object:
    return f"{value:.6g}" if isinstance(value, float) else value


def main() -> None:
    """Measure, or estimate from what was measured."""
    parser = argparse.ArgumentParser()
    parser.add_argument("table", type=Path)
    parser.add_argument("--base", default="fc91a35")
    parser.add_argument("--rows", type=int, default=25_000)
    parser.add_argument("--dimensions", type=int, default=2048)
    parser.add_argument("--categories", type=int, default=250)
    parser.add_argument("--width", type=int, action="append", default=[])
    parser.add_argument("--estimate", type=Path)
    parser.add_argument("--sweep", action="store_true", help="only a sweep against its products, as JSON")
    parser.add_argument("--disk", type=float, default=1.3)
    given = parser.parse_args()
    if given.sweep:
        sweep(given.table)
    elif given.estimate:
        estimate(given.table, given.estimate, given.disk)
    else:
        measure(given)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--fit"]:
        print(json.dumps(fit(Path(sys.argv[2]), int(sys.argv[3]))))
    else:
        main()
