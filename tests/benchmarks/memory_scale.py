"""What each stage of a run takes as a catalogue grows: memory that is the process's own, and seconds for each image.

    python -m tests.benchmarks.memory_scale results/scale/memory.csv --images 10000 100000 1000000
    python -m tests.benchmarks.memory_scale results/scale/seconds.csv --images 10000 30000 100000 300000 --tries 5
    python -m tests.benchmarks.memory_chart results/scale/memory.csv results/scale/seconds.csv results/scale/memory.png

The first draws a catalogue of photos of 32 x 32 pixels, no two alike, in 100 categories, as a BSON file like
Cdiscount's, and goes through all stages of the comparison with it, each in a process of its own. Photos are small so
that a million of them fit anywhere; what a stage holds of an image is what it holds of any, but for the length of its
features, which is 324 for HOG (``hog.pixels = 32``, ``hog.cells = 8``) and 64 for the network (`network`: three
convolutions in a Keras file, computed by OpenVINO). The linear SVM takes six sweeps at one C, the 2NN one epoch.

A row has the images of the catalogue, the stage, its seconds (the median of `tries`, in one process, after what it
imports), those of the processor over all its processes (on a busy machine these are the ones to compare, and
``microseconds_per_image`` is made of them), and peaks of
memory over the whole process with its workers, which begins by opening the catalogue and its split: ``own_mib`` is what
belongs to the processes alone (RssAnon and RssShmem of ``/proc/PID/status``). Nothing but the stage gives it back, so
this is what must not grow. ``resident_mib`` has the pages of mapped files as well, which the system takes back when
anything else needs the memory, and ``before_mib`` is what of its own the process held when the stage began. Files that
are read are in the system's memory as long as the machine has room for them.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from shelfbench.base.console import Console
from shelfbench.base.processor import cores
from shelfbench.base.storage import write_json
from shelfbench.cost.timing import machine, versions
from shelfbench.generator.write import document
from tests.helpers.sources import PYTHONPATH

QUIET = Console(quiet=True)
COLUMNS = (
    *("images", "stage", "tries", "seconds", "cpu_seconds", "microseconds_per_image"),
    *("own_mib", "resident_mib", "before_mib"),
)
SIDE, CATEGORIES = 32, 100
PHOTOS = (0.58, 0.2, 0.11, 0.11)  # shares of products with 1, 2, 3 and 4 photos


def draw(folder: Path, images: int, seed: int) -> None:
    """Draw a catalogue: stripes that lean and repeat as the category does, in its colour, under noise."""
    from simplejpeg import encode_jpeg

    rng = np.random.default_rng(seed)
    lean, often = rng.uniform(0, np.pi, CATEGORIES), rng.uniform(0.3, 1.5, CATEGORIES)
    colour = rng.uniform(40, 110, (CATEGORIES, 3)).astype(np.float32)
    y, x = np.mgrid[:SIDE, :SIDE].astype(np.float32)
    rows = [f"{1000 + code},kind {code % 10},group {code},category {code}" for code in range(CATEGORIES)]
    head = "category_id,category_level1,category_level2,category_level3"
    (folder / "category_names.csv").write_text("\n".join([head, *rows, ""]), "utf-8")
    coming, done, product = _pictures(rng), 0, 0
    with open(folder / "train.bson", "wb") as handle:
        while done < images:
            count = int(min(1 + np.searchsorted(np.cumsum(PHOTOS), rng.random(), "right"), 4, images - done))
            code = int(rng.integers(CATEGORIES))
            found = []
            for _ in range(count):
                phase, noise = next(coming)
                wave = np.sin(often[code] * (np.cos(lean[code]) * x + np.sin(lean[code]) * y) + phase)
                pixels = (128 + wave[..., None] * colour[code] + noise).clip(0, 255).astype(np.uint8)
                found.append(encode_jpeg(pixels, quality=75, colorspace="RGB", colorsubsampling="420"))
            handle.write(document(product, 1000 + code, found))
            done, product = done + count, product + 1


def _pictures(rng: np.random.Generator) -> Iterator[tuple[float, np.ndarray]]:
    while True:
        phases = rng.uniform(0, 2 * np.pi, 256)
        yield from zip(phases, rng.normal(0, 25, (256, SIDE, SIDE, 1)).astype(np.float32), strict=True)


@dataclass(frozen=True)
class Work:
    """A folder with a catalogue, what has been computed of it, and the workers."""

    folder: Path
    workers: int
    seed: int = 0

    @property
    def cache(self) -> Path:
        """What the processes have as their cache."""
        return self.folder / "cache"

    @property
    def run(self) -> Path:
        """The run directory."""
        return self.folder / "run"

    @cached_property
    def catalogue(self):
        """The catalogue."""
        from shelfbench.data.datasets import open_path
        from shelfbench.data.sources.settings import DatasetSettings

        return open_path(self.folder / "train.bson", "drawn", DatasetSettings(), QUIET)

    @cached_property
    def digests(self) -> np.ndarray:
        """Hashes of the photos."""
        from shelfbench.data.digests import image_digests

        return image_digests(self.catalogue, QUIET)

    @cached_property
    def material(self):
        """The catalogue, split."""
        from shelfbench.data.material import gather
        from shelfbench.data.split import SplitSettings, make_split

        split = make_split(self.catalogue, SplitSettings(), self.seed, self.digests)
        return gather(self.catalogue, split)

    @cached_property
    def hog(self):
        """The store of HOG."""
        from shelfbench.data.feature_store import FeatureStore
        from shelfbench.data.images import ImageSettings
        from shelfbench_baselines.hog import HogExtractor, HogSettings

        extractor = HogExtractor(HogSettings(pixels=SIDE, cells=8), self.workers)
        return FeatureStore(extractor, ImageSettings(), QUIET, self.workers)

    def features(self, store=None):
        """Features of all photos, those of HOG by default."""
        return (store or self.hog).features(self.catalogue, self.material.image, self.digests)

    @cached_property
    def data(self):
        """Training data of a classifier on HOG."""
        from shelfbench.runs.building import training_data

        return training_data(self.features(), self.material)


@dataclass
class Memory:
    """Peaks of what processes hold, in MiB."""

    own: float = 0.0
    resident: float = 0.0

    def sample(self) -> float:
        """Look at this process and its children; return what is their own."""
        import psutil

        own = resident = 0
        for process in (psutil.Process(), *psutil.Process().children(recursive=True)):
            try:
                status = Path(f"/proc/{process.pid}/status").read_text()
            except OSError:
                continue
            held = {line.split(":")[0]: int(line.split()[1]) for line in status.splitlines() if line.startswith("Rss")}
            own += held.get("RssAnon", 0) + held.get("RssShmem", 0)
            resident += sum(held.values())
        self.own, self.resident = max(self.own, own / 1024), max(self.resident, resident / 1024)
        return own / 1024

    @contextmanager
    def watch(self) -> Iterator[None]:
        """Sample every 50 ms while the block runs."""
        stop = threading.Event()

        def loop() -> None:
            while not stop.wait(0.05):
                self.sample()

        thread = threading.Thread(target=loop, daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()
            self.sample()


def processor() -> float:
    """Seconds of the processor that this process and its workers have used."""
    import psutil

    workers = psutil.Process().children(recursive=True)
    return time.process_time() + sum(sum(process.cpu_times()[:4]) for process in workers)


def measure(stage: str, images: int, work: Work, tries: int) -> dict[str, object]:
    """Do one stage in this process, some times over."""
    from tests.benchmarks.memory_stages import STAGES

    memory, seconds, used = Memory(), [], []
    with memory.watch():
        body: Callable[[], object] = STAGES[stage](work)
        before = memory.sample()
        for _ in range(tries):
            begun, earlier = time.perf_counter(), processor()
            body()
            seconds.append(time.perf_counter() - begun)
            used.append(processor() - earlier)
            if sum(seconds) > 240:  # enough of it
                break
    middle = float(np.median(seconds))
    return {
        "images": images,
        "stage": stage,
        "tries": len(seconds),
        "seconds": f"{middle:.3f}",
        "cpu_seconds": f"{np.median(used):.3f}",
        "microseconds_per_image": f"{1e6 * np.median(used) / images:.2f}",
        "own_mib": round(memory.own),
        "resident_mib": round(memory.resident),
        "before_mib": round(before),
    }


def write(record: Path, row: dict[str, object]) -> None:
    """Add a row to a record."""
    new = not record.exists()
    record.parent.mkdir(parents=True, exist_ok=True)
    with open(record, "a", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, COLUMNS, lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerow(row)
    print(" ".join(f"{value!s:>12}" for value in row.values()), flush=True)


def go_through(record: Path, images: int, folder: Path, options: argparse.Namespace) -> None:
    """Do all stages with a catalogue of so many images, each in a process of its own."""
    if not (folder / "train.bson").exists():
        draw(folder, images, options.seed)
    command = [sys.executable, "-m", "tests.benchmarks.memory_scale", str(record), "--out", str(folder)]
    command += ["--images", str(images), "--tries", str(options.tries), "--seed", str(options.seed)]
    surroundings = os.environ | {"SHELFBENCH_CACHE": str(folder / "cache"), "PYTHONPATH": PYTHONPATH}
    surroundings |= {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3"}
    for stage in options.stages:
        answer = subprocess.run(
            [*command, "--only", stage], env=surroundings, capture_output=True, text=True, check=False
        )
        if answer.returncode:
            print(f"{stage} failed:\n{answer.stderr[-2000:]}", flush=True)
            continue
        write(record, json.loads(answer.stdout.splitlines()[-1]))


def main() -> None:
    """Read the command line and go."""
    from tests.benchmarks.memory_stages import STAGES

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("record", type=Path)
    parser.add_argument("--images", type=int, nargs="+", default=[10_000])
    parser.add_argument("--tries", type=int, default=1)
    parser.add_argument("--stages", nargs="+", choices=list(STAGES), default=list(STAGES))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="a folder that is kept, with the catalogue of one number of images")
    parser.add_argument("--only", choices=list(STAGES), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only:
        work = Work(options.out, cores(), options.seed)
        print(json.dumps(measure(options.only, options.images[0], work, options.tries)))
        return
    write_json(options.record.with_suffix(".json"), {"machine": machine(), "versions": versions()})
    for images in options.images:
        folder = options.out or Path(tempfile.mkdtemp(prefix=f"memory-{images}-"))
        folder.mkdir(parents=True, exist_ok=True)
        try:
            go_through(options.record, images, folder, options)
        finally:
            if options.out is None:
                shutil.rmtree(folder)


if __name__ == "__main__":
    main()
