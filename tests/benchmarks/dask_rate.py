"""Features of a network by one worker of Dask and by two, each of them bound to a core of its own, in turn.

    python -m tests.benchmarks.dask_rate results/scale/dask.csv --pairs 3

The photos are those of a generated catalogue, already hashed, and the workers are there before the clock starts. Each
has one core (``taskset``), and so its decoding and its network have one thread. The network is Inception V3 at 299
pixels, the papers' own, with random weights, which take as long as others.

``seconds`` are those in which features are computed, from the first shard that is handed out to the last that is in the
store, with the time that each worker takes to load the network; ``command`` is all of ``shelfbench features``.
``longest`` is the largest number of seconds of the processor that any of the workers used: what it takes on cores that
do nothing else. ``--alone`` adds rows for one process without Dask on one core and on two.
"""

from __future__ import annotations

import argparse
import csv
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.helpers.dask_processes import Processes

COLUMNS = (
    "pair",
    "workers",
    "cores",
    "features",
    "photos",
    "seconds",
    "photos_per_second",
    "command",
    "longest",
    "load_before",
)


def command(options: argparse.Namespace, *more: str) -> list[str]:
    """Compute the features, from the command line."""
    settings = [f"generated.products={options.products}", "split.min_products=5", "report.near_duplicates=off"]
    settings += [f"backbone={options.backbone}", f"pixels={options.pixels}", "weights=none"]
    words = [word for setting in settings for word in ("--set", setting)]
    start = [sys.executable, "-m", "shelfbench.cli.start", "features", "default", "--backend", options.backend]
    return [*start, *words, "--verbose", *more]


def measured(options: argparse.Namespace, cache: Path, words: list[str], before: list[str]) -> dict[str, object]:
    """Compute all features from nothing, and read from the screen what that took."""
    shutil.rmtree(cache / "features", ignore_errors=True)
    load, started = os.getloadavg()[0], time.perf_counter()
    done = subprocess.run(
        [*before, *command(options, *words)],
        env={**os.environ, "SHELFBENCH_CACHE": str(cache)},
        capture_output=True,
        text=True,
    )
    took = time.perf_counter() - started
    if done.returncode:
        raise RuntimeError(done.stderr)
    [(name, count, seconds)] = re.findall(r"features of (\S+), ([\d,]+) images: ([\d.]+) s", done.stderr)
    photos = int(count.replace(",", ""))
    return {
        "features": name,
        "photos": photos,
        "seconds": seconds,
        "photos_per_second": round(photos / float(seconds), 2),
        "command": round(took, 1),
        "load_before": round(load, 1),
    }


def main() -> None:
    """Measure pairs, and write each row as it is there."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--products", type=int, default=1250)
    parser.add_argument("--backend", default="bottleneck-svm")
    parser.add_argument("--backbone", default="inception_v3")
    parser.add_argument("--pixels", type=int, default=299)
    parser.add_argument("--cache", type=Path, help="where the catalogue is drawn; default: a temporary folder")
    parser.add_argument("--alone", action="store_true")
    options = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))[:2]
    with tempfile.TemporaryDirectory() as place, open(options.out, "w", newline="", encoding="utf-8") as file:
        folder = Path(place)
        cache = options.cache or folder / "cache"
        table = csv.DictWriter(file, COLUMNS)
        table.writeheader()
        environment = {**os.environ, "SHELFBENCH_CACHE": str(cache)}
        subprocess.run(command(options, "--shard", "1/1000"), env=environment, check=True)  # draws and hashes photos
        for pair in range(options.pairs):
            for workers in (1, 2) if pair % 2 == 0 else (2, 1):
                with Processes(folder / "dask") as processes:
                    for core in cores[:workers]:
                        processes.start_worker(core=core)
                    processes.wait()
                    before = processes.seconds()
                    found = measured(options, cache, ["--dask", processes.address], [])
                    used = [after - idle for idle, after in zip(before, processes.seconds(), strict=True)]
                    found["longest"] = round(max(used), 1)
                table.writerow({"pair": pair, "workers": workers, "cores": workers, **found})
                file.flush()
            if options.alone:
                for count in (1, 2):
                    bound = ["taskset", "-c", ",".join(map(str, cores[:count]))]
                    found = measured(options, cache, [], bound)
                    table.writerow({"pair": pair, "workers": 0, "cores": count, **found})
                    file.flush()


if __name__ == "__main__":
    main()
