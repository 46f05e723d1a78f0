"""A million generated products, in as many categories as Cdiscount has, from drawing them to the report.

    SHELFBENCH_DATA=DIR SHELFBENCH_CACHE=DIR python -m tests.benchmarks.million RECORD --out DIR

The categories are those of `$SHELFBENCH_DATA/cdiscount/category_counts.csv`, 5,263 of them, scaled to a million
products (``--products``) with one photo of 32 px each; ``million.toml`` beside this script has the settings. Each stage
is a process of its own, and a row that is written when it is done: wall seconds, seconds of the processors (on a busy
machine these are the ones to compare) and peak memory of the process with its children. Below a run stand the stages
that it timed itself, in wall seconds.

The SVM fits each category against all others, which for 5,263 of them takes days on two cores: it is given a sample of
``--svm-categories``, whose HOG is read from the features that an earlier stage computed for all photos. The 2NN has an
output for every category. With ``--dask local:4`` workers of Dask compute all features. The cache (some 9 GB) is the
caller's to delete. Seconds depend on what else the machine did; the row ``machine`` says how many cores it has.
"""

from __future__ import annotations

import argparse
import csv
import os
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd

from shelfbench.base.console import Console
from shelfbench.base.processor import cores
from shelfbench.base.storage import cache_dir
from shelfbench.cost.timing import PeakMemory, Stopwatch
from shelfbench.data.datasets import open_dataset
from shelfbench.data.feature_store import FeatureStore, image_digests
from shelfbench.data.split import make_split
from shelfbench.plugins.planned import PlannedJob
from shelfbench.study.model import Study
from shelfbench.study.read import read_study

COLUMNS = ("products", "stage", "seconds", "cpu_seconds", "peak_mib", "images", "note")
STUDY = Path(__file__).with_suffix(".toml")


def main() -> None:
    """Go through all stages, each in a process."""
    options = _options()
    if options.only:
        _inside(options)
        return
    shelfbench = str(Path(sys.executable).with_name("shelfbench"))
    spread = ["--dask", options.dask] if options.dask else []
    run = [shelfbench, "run", str(STUDY), *_settings(options.products), *spread]
    own = [sys.executable, "-m", "tests.benchmarks.million", str(options.record), f"--products={options.products}"]
    svm, two_layer = options.out / "svm", options.out / "2nn"
    sample = f"split.categories={options.svm_categories}"
    stages = {
        "draw the catalogue": [*own, "--only=draw"],
        "index": [*own, "--only=index"],
        **(
            {"HOG of all": [shelfbench, "features", *run[2:], "--backend=hog-svm"]}
            if options.dask
            else {"hash, split, HOG of all": [*own, "--only=hog"]}
        ),
        f"run: SVM on HOG, {options.svm_categories} categories": [
            *run,
            "--backend=hog-svm",
            "--set",
            sample,
            "--out",
            str(svm),
        ],
        "run: 2NN of 512 units on bottlenecks": [*run, "--backend=bottleneck-2nn-512", "--out", str(two_layer)],
        "report of the 2NN again": [shelfbench, "report", str(two_layer)],
    }
    workers = f", features by --dask {options.dask}" if options.dask else ""
    _write(options, "machine", note=f"{cores()} cores, other work beside it{workers}")
    for name, command in stages.items():
        before, begun = _processor(), time.perf_counter()
        with PeakMemory().watch() as memory:
            done = subprocess.run(command, check=False)
        seconds = time.perf_counter() - begun
        note = "" if done.returncode == 0 else f"ended with {done.returncode}"
        _write(options, name, (seconds, _processor() - before, memory.mib), note=note)
        if done.returncode:
            sys.exit(f"{name}: {note}")
        if name.startswith("run"):
            _timed(options, two_layer if "2NN" in name else svm)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="A million generated products, from drawing them to the report.")
    parser.add_argument("record", type=Path)
    parser.add_argument("--out", type=Path, default=Path("million"))
    parser.add_argument("--products", type=int, default=1_000_000)
    parser.add_argument("--dask", metavar="local:N", default="", help="compute features on workers of Dask")
    parser.add_argument("--svm-categories", type=int, default=500)
    parser.add_argument("--only", choices=("draw", "index", "hog"), default="")
    return parser.parse_args()


def _settings(products: int) -> list[str]:
    counts = Path(os.environ["SHELFBENCH_DATA"]) / "cdiscount" / "category_counts.csv"
    return ["--set", f"generated.counts={counts}", "--set", f"generated.products={products}"]


def _inside(options: argparse.Namespace) -> None:
    """Do one stage in this process."""
    given = [setting.split("=", 1) for setting in _settings(options.products)[1::2]]
    study = read_study(str(STUDY), [(name.split("."), int(v) if v.isdigit() else v) for name, v in given])
    console = Console()
    if options.only == "index":  # drawing the catalogue has opened it, too
        shutil.rmtree(cache_dir() / "indexes")
    with Stopwatch() as opening:
        catalogue, _ = open_dataset(study.dataset, study.generated, None, cores(), console)
    count = len(catalogue.images)
    if options.only != "hog":
        _write(options, f"  {options.only}", (opening.seconds,), images=count)
        return
    with Stopwatch() as hashing:
        digests = image_digests(catalogue, console)
    _write(options, "  hash", (hashing.seconds,), images=count)
    with Stopwatch() as splitting:
        split = make_split(catalogue, study.split, study.seed, digests)
    _write(options, "  split", (splitting.seconds,), images=count, note=f"{len(split.product):,} products kept")
    with Stopwatch() as computing:
        _hog(study).features(catalogue, np.arange(count), digests)
    _write(options, "  HOG", (computing.seconds,), images=count)


def _hog(study: Study) -> FeatureStore:
    backend = PlannedJob.of_backend("hog-svm", study.sections, study.backbone, cores(), study.heads).backend
    assert backend is not None
    return FeatureStore(backend().features, study.images, Console(), cores())


def _timed(options: argparse.Namespace, run: Path) -> None:
    """Add the stages that a run timed."""
    frame = pd.read_parquet(run / "timings.parquet")
    for row in frame[frame["epoch"] == 0].itertuples():
        there = "features were there" if row.cached else ""
        _write(options, f"  {row.stage}", (row.seconds,), images=row.images, note=there)


def _processor() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _write(
    options: argparse.Namespace,
    stage: str,
    taken: tuple[float, ...] = (),
    *,
    images: int | None = None,
    note: str = "",
) -> None:
    """Add a row to the record; `taken` is wall seconds, seconds of the processors and MiB, as far as they are known."""
    given = [round(value, 1) for value in taken] + [None] * (3 - len(taken))
    values = (options.products, stage, *given, images, note)
    new = not options.record.exists()
    options.record.parent.mkdir(parents=True, exist_ok=True)
    with open(options.record, "a", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        if new:
            writer.writerow(COLUMNS)
        writer.writerow(values)
    print(*values, flush=True)


if __name__ == "__main__":
    main()
