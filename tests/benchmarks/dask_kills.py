"""Kill workers and the scheduler while features are computed, and count the rows of the store.

HOG of a generated catalogue is computed by four workers of Dask, again and again from nothing. Meanwhile, at times that
the seed draws, a process gets SIGKILL: mostly one that is at a shard, or any worker, or one with its nanny, or the
scheduler; what is gone is started again after a moment. At the end of each round every row of the store is compared,
bit for bit, with what one process computes without Dask: none is lost, doubled or different, and no photo is blamed.

    python -m tests.benchmarks.dask_kills results/scale/dask_kills.csv --kills 50 --scheduler 5 --seed 0

It takes some minutes on two cores.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from tests.helpers.dask_processes import Processes, end

WORKERS = 4
# Seconds between two kills, at most.
LONGEST = 2.0
COLUMNS = (
    "round",
    "photos",
    "workers_killed",
    "in_a_shard",
    "with_nanny",
    "scheduler_killed",
    "exit_code",
    "lost",
    "doubled",
    "different",
    "set_aside",
    "left_over",
    "seconds",
)


def command(products: int, *more: str) -> list[str]:
    """Compute HOG of a generated catalogue, from the command line."""
    settings = [f"generated.products={products}", "split.min_products=8", "report.near_duplicates=off"]
    words = [word for setting in settings for word in ("--set", setting)]
    return [sys.executable, "-m", "shelfbench.cli.start", "features", "default", "--backend", "hog-svm", *words, *more]


def stored(cache: Path) -> tuple[dict[bytes, bytes], int, int]:
    """Return every row by the hash of its photo, how many rows there are, and how many photos have none."""
    rows, count, failures = {}, 0, 0
    for record in (cache / "features").glob("hog-*/*.json"):
        if record.name == "key.json":
            continue
        digests = np.load(record.with_suffix(".digests.npy"))
        values = np.load(record.with_suffix(".features.npy"))
        count += len(digests)
        failures += len(json.loads(record.read_text())["failures"])
        rows.update((one.tobytes(), row.tobytes()) for one, row in zip(digests, values, strict=True))
    return rows, count, failures


def in_a_shard(cache: Path) -> set[int]:
    """Return the numbers of processes that have said that they are at a shard."""
    found = set()
    for note in (cache / "features").glob("hog-*/going/*.note"):
        try:
            found.add(json.loads(note.read_text())["pid"])
        except (OSError, ValueError, LookupError):  # being written
            continue
    return found


class Killer:
    """Kills, and counts what it killed.

    Parameters
    ----------
    processes : Processes
    cache : Path
    draw : Random
    """

    def __init__(self, processes: Processes, cache: Path, draw: random.Random) -> None:
        self._processes, self._cache, self._draw = processes, cache, draw
        self.count = dict.fromkeys(("workers_killed", "in_a_shard", "with_nanny", "scheduler_killed"), 0)

    def worker(self) -> None:
        """Kill a process that computes, or one with its nanny."""
        patient = time.monotonic() + (20.0 if self._draw.random() < 0.7 else 0.0)
        while not (found := in_a_shard(self._cache) & (there := set(self._processes.computing()))):
            if time.monotonic() > patient:
                found = there
                break
        if not found:
            return
        number = self._draw.choice(sorted(found))
        inside = number in in_a_shard(self._cache)
        try:
            if self._draw.random() < 0.2:
                os.killpg(os.getpgid(number), signal.SIGKILL)
                self.count["with_nanny"] += 1
            else:
                os.kill(number, signal.SIGKILL)
        except ProcessLookupError:
            return
        self.count["workers_killed"] += 1
        self.count["in_a_shard"] += inside

    def scheduler(self) -> None:
        """Kill the scheduler, and start another one at its address after a moment."""
        assert self._processes.scheduler is not None
        end(self._processes.scheduler)
        self.count["scheduler_killed"] += 1
        time.sleep(self._draw.uniform(0.2, 3.0))
        self._processes.start_scheduler()


def play(folder: Path, options: argparse.Namespace, draw: random.Random, left: list[str]) -> dict[str, object]:
    """Compute everything once, killing what `left` names from its end."""
    cache, started = folder / "cache", time.monotonic()
    shutil.rmtree(cache / "features", ignore_errors=True)
    variables = {"SHELFBENCH_CACHE": str(cache)}
    with Processes(folder / "dask", DASK_DISTRIBUTED__DEPLOY__LOST_WORKER_TIMEOUT="1s") as processes:
        killer = Killer(processes, cache, draw)
        for _ in range(WORKERS):
            processes.start_worker()
        run = subprocess.Popen(
            command(options.products, "--dask", processes.address),
            env={**os.environ, **variables},
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
        )
        while run.poll() is None:
            time.sleep(draw.uniform(0.1, LONGEST))
            processes.revive()
            if left and run.poll() is None and processes.computing():
                getattr(killer, left.pop())()
        said = run.stderr.read() if run.stderr else ""
    if run.returncode:
        print(said, file=sys.stderr)
    rows, count, failures = stored(cache)
    expected, _, _ = stored(folder / "alone")
    return {
        "photos": len(expected),
        **killer.count,
        "exit_code": run.returncode,
        "lost": len(expected.keys() - rows.keys()),
        "doubled": count - len(rows),
        "different": sum(rows.get(name, row) != row for name, row in expected.items()),
        "set_aside": failures,
        "left_over": len([*(cache / "features").glob("hog-*/.partial-*"), *(cache / "spread").glob("*")]),
        "seconds": round(time.monotonic() - started, 1),
    }


def main() -> int:
    """Play rounds until everything is killed that was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--scheduler", type=int, default=5)
    parser.add_argument("--products", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    draw = random.Random(options.seed)
    left = ["worker"] * options.kills + ["scheduler"] * options.scheduler
    draw.shuffle(left)
    wrong, number, killed = 0, 0, dict.fromkeys(("workers_killed", "scheduler_killed"), 0)
    with tempfile.TemporaryDirectory() as place, open(options.out, "w", newline="", encoding="utf-8") as file:
        folder = Path(place)
        table = csv.DictWriter(file, COLUMNS)
        table.writeheader()
        environment = {**os.environ, "SHELFBENCH_CACHE": str(folder / "alone")}
        subprocess.run(command(options.products), env=environment, check=True)
        shutil.copytree(folder / "alone", folder / "cache", ignore=shutil.ignore_patterns("features"))
        while left:
            number += 1
            row = {"round": number, **play(folder, options, draw, left)}
            table.writerow(row)
            file.flush()
            print(row, flush=True)
            wrong += sum(int(str(row[name])) for name in ("exit_code", "lost", "doubled", "different", "set_aside"))
            for name in killed:
                killed[name] += int(str(row[name]))
            missed = options.kills - killed["workers_killed"] - left.count("worker")
            left += ["worker"] * missed  # whoever was to be killed was gone already
    print(f"{killed}: {wrong} wrong")
    return wrong > 0


if __name__ == "__main__":
    sys.exit(main())
