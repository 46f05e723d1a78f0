"""What 20 million products take through split, manifest, predictions, metrics and report: seconds and memory by stage.

    SHELFBENCH_DATA=DIR python -m tests.benchmarks.twenty_million results/scale/twenty_million.csv --products 20000000

draws a catalogue of products with 1 to 4 photos each (1.75 in the mean, as Cdiscount has), of which only numbers
exist: ids, categories, and a digest for every photo. Sizes of categories are in proportion to the images that each of
the 5,270 categories of `$SHELFBENCH_DATA/cdiscount` has, or follow a law like them without that folder. The catalogue
is split by the paper's rule. Then backends are drawn whose claims are true: a prediction is right with the probability
that it claims. Their predictions and aggregations, and of the first one the scores of the 100 best categories of every
photo of validation and test, are written as those of any backend, and the report is made of them, all in one process.

What computes scores is not measured by that: a classifier gives all 5,000 scores of every photo, 20 million of them
are a terabyte, and it takes as long as it takes. ``scoring`` scores a few thousand photos with a classifier that costs
nothing, and says how many seconds of the processor each of them takes from its scores to the rows of all tables.

Each row is one stage, written when it is done: wall seconds, seconds of the processor (on a busy machine these are the
ones to compare), and the peak of the process' resident memory while it ran. ``total`` is everything but the drawing of
the catalogue and ``scoring``. ``--ids text`` gives products names instead of numbers. Results stay in ``--out``.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import os
import resource
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from shelfbench.base.console import Console
from shelfbench.base.storage import write_parquet
from shelfbench.cost.timing import PeakMemory, Timing, timings_frame
from shelfbench.data.catalogue import Catalogue, Category
from shelfbench.data.feature_store import Features
from shelfbench.data.material import Material, dataset_record, gather
from shelfbench.data.split import make_split
from shelfbench.report.data import open_data
from shelfbench.report.page import header, title_of
from shelfbench.report.render import write_page, write_report
from shelfbench.report.sections import SECTIONS
from shelfbench.runs.directory import open_run
from shelfbench.runs.entries import BackendEntry
from shelfbench.runs.recorder import Recorder
from shelfbench.runs.scored import Scored, ScoredBlock, scored_files
from shelfbench.runs.scoring import score_blocks
from shelfbench.study.model import Study
from shelfbench.study.read import read_study
from shelfbench.verdict.predictions import BEST, TOP, ImageScores, ProductRule, _row_lists, rejected_rows
from shelfbench.verdict.settings import AGGREGATIONS

COLUMNS = ("products", "ids", "images", "categories", "backends", "stage", "seconds", "cpu_seconds", "peak_mib", "note")
PHOTOS = (0.58, 0.2, 0.11, 0.11)  # shares of products with 1, 2, 3 and 4 photos
COPIES = 0.001  # share of photos that are there twice
REJECTED = 0.0005  # share of products of which no photo can be read
BLOCK = 1 << 15  # products drawn at a time
QUIET = Console(quiet=True)


class NoPhotos:
    """As many images as are asked for, which nobody opens."""

    files = ()

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count


class Stages:
    """Times stages, and writes a row for each."""

    def __init__(self, record: Path, about: dict[str, object]) -> None:
        self.record, self.about = record, about
        self.total, self.cpu, self.peak = 0.0, 0.0, 0.0

    @contextmanager
    def stage(self, name: str, *, counts: bool = True) -> Iterator[dict[str, object]]:
        """Time a block; what it puts into ``note`` goes into the row."""
        notes: dict[str, object] = {}
        begun, used = time.perf_counter(), processor()
        with PeakMemory().watch() as memory:
            yield notes
        seconds, cpu = time.perf_counter() - begun, processor() - used
        self.peak = max(self.peak, memory.mib)
        if counts:
            self.total, self.cpu = self.total + seconds, self.cpu + cpu
        self.write(name, seconds, cpu, memory.mib, notes)

    def write(self, name: str, seconds: float, cpu: float, mib: float, notes: dict[str, object]) -> None:
        """Add a row to the record."""
        row = self.about | {
            "stage": name,
            "seconds": round(seconds, 1),
            "cpu_seconds": round(cpu, 1),
            "peak_mib": round(mib),
            "note": "; ".join(f"{key} {value}" for key, value in notes.items()),
        }
        new = not self.record.exists()
        self.record.parent.mkdir(parents=True, exist_ok=True)
        with open(self.record, "a", newline="", encoding="utf-8") as handle:
            writer = csv.DictWriter(handle, COLUMNS, lineterminator="\n")
            if new:
                writer.writeheader()
            writer.writerow(row)
        print(f"{name:32} {seconds:8.1f} s {cpu:8.1f} s of the processor {mib:8,.0f} MiB  {row['note']}", flush=True)


def processor() -> float:
    """Seconds of the processor that this process has used."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def taxonomy() -> tuple[tuple[Category, ...], np.ndarray]:
    """Categories, and how large each is beside the others."""
    folder = Path(os.environ.get("SHELFBENCH_DATA", "")) / "cdiscount"
    if not (folder / "category_counts.csv").is_file():
        keys = [f"{1_000_000_000 + 37 * code}" for code in range(5_263)]
        size = (np.arange(len(keys)) + 12.0) ** -1.1
        return tuple(Category(key, f"Category {key}", (f"Level {int(key) % 49}",)) for key in keys), size
    names = pd.read_csv(folder / "category_names.csv", dtype=str, keep_default_na=False)
    counts = dict(
        zip(*pd.read_csv(folder / "category_counts.csv", header=None, keep_default_na=False).T.values, strict=True)
    )
    size = [float(counts.pop(name, 0)) for name in names["category_level3"]]
    levels = names[["category_level1", "category_level2"]].itertuples(index=False, name=None)
    found = zip(names["category_id"], names["category_level3"], levels, strict=True)
    return tuple(Category(*item) for item in found), np.array(size)


def draw_catalogue(products: int, seed: int, ids: str) -> tuple[Catalogue, np.ndarray]:
    """Draw products, their categories and the digests of their photos."""
    rng = np.random.default_rng([seed, 0])
    categories, size = taxonomy()
    drawn = np.searchsorted(np.cumsum(size / size.sum()), rng.random(products)).clip(max=len(size) - 1)
    photos = 1 + np.searchsorted(np.cumsum(PHOTOS), rng.random(products)).clip(max=len(PHOTOS) - 1)
    owner = np.repeat(np.arange(products, dtype=np.int32), photos)
    digests = rng.integers(0, 1 << 63, (len(owner), 2), dtype=np.uint64)
    copies = rng.integers(0, len(owner), (2, int(COPIES * len(owner))))
    digests[copies[0]] = digests[copies[1]]
    number = 7 * np.arange(products) + 1_000_003
    names = pa.array(number).cast(pa.string()).to_pandas().to_numpy(object) if ids == "text" else number
    catalogue = Catalogue(
        name="drawn",
        categories=categories,
        product_id=names,
        product_category=drawn.astype(np.int32),
        image_product=owner,
        images=NoPhotos(len(owner)),
    )
    return catalogue, digests.view("V16").ravel()


@dataclasses.dataclass(frozen=True)
class Drawn:
    """A backend that claims probabilities and is right as often as it claims; the stronger, the surer."""

    strength: float
    seed: int
    with_scores: bool

    def blocks(self, material: Material) -> Iterator[Scored]:
        """Draw what it says of all products, some at a time."""
        bounds = np.searchsorted(material.owner, np.arange(len(material.frame) + 1))
        for first in range(0, len(material.frame), BLOCK):
            products = slice(first, min(first + BLOCK, len(material.frame)))
            images = slice(int(bounds[products.start]), int(bounds[products.stop]))
            yield self._block(material, products, images).tables(material)

    def _block(self, material: Material, products: slice, images: slice) -> ScoredBlock:
        rng = np.random.default_rng([self.seed, products.start])
        truth, known = material.label[products], len(material.classes)
        count = len(truth)
        claimed = rng.beta(self.strength, 1, count)
        right = rng.random(count) < claimed
        near = (truth + rng.integers(1, min(20, known), count)) % known  # errors are among neighbours
        step = rng.integers(1, max(2, known // (BEST + 1)), count)
        first = np.where(right, truth, near)
        second = np.where(right | (rng.random(count) < 0.3), (first + step) % known, truth)
        share = np.concatenate([[0.6], 0.38 * 0.9 ** np.arange(BEST - 2) / np.sum(0.9 ** np.arange(BEST - 2))])
        seen = rng.random(count) >= REJECTED
        columns = rejected_rows(count)
        rest = np.log1p(-claimed)
        codes = (first[:, None] + step[:, None] * np.arange(TOP)) % known
        codes[:, 1] = second
        values = np.column_stack([np.log(claimed), rest[:, None] + np.log(share[: TOP - 1])])
        found = {
            "predicted": material.classes[first],
            "confidence": values[:, 0],
            "margin": values[:, 0] - values[:, 1],
            "entropy": -claimed * values[:, 0] - (1 - claimed) * (rest - 3),
            "raw_confidence": values[:, 0],
            "top5": _row_lists(material.classes[codes]),
            "top5_confidence": _row_lists(values),
        }
        for name, column in found.items():
            columns[name][seen] = column[seen]
        held = np.arange(images.start, images.stop)
        split = (material.frame["split"].iloc[products] != "train").to_numpy()
        own = material.owner[held] - products.start
        held = held[split[own] & seen[own]] if self.with_scores else held[:0]
        own = material.owner[held] - products.start
        best = (first[own, None] + step[own, None] * np.arange(BEST)) % known
        best[:, 1] = second[own]
        shown = claimed[own] * rng.uniform(0.98, 1, len(own))  # photos of a product differ a little
        left = np.log1p(-shown)
        scores = np.column_stack([np.log(shown), left[:, None] + np.log(share)])
        scores[:, 1:] *= rng.uniform(1, 1.01, (len(own), 1))
        return ScoredBlock(
            products=products,
            images=images,
            columns=columns,
            held_out=held,
            scores=ImageScores(best.astype(np.int32), scores.astype(np.float32), (left - 4).astype(np.float32)),
            correct=np.tile(right & seen, (len(AGGREGATIONS), 1)),
            confidence=np.tile(columns["raw_confidence"], (len(AGGREGATIONS), 1)),
            reasons={products.start + int(row): "truncated" for row in np.flatnonzero(~seen)},
        )


class Claims:
    """A classifier that costs next to nothing: one row of noise for all photos, and the code that a photo brings."""

    def __init__(self, classes: int) -> None:
        self.noise = np.random.default_rng(0).normal(size=classes)

    def log_probabilities(self, features: np.ndarray) -> np.ndarray:
        scores, code = np.tile(self.noise, (len(features), 1)), features[:, 0].astype(int)
        likely = np.exp(self.noise)
        scores[np.arange(len(scores)), code] += 10
        return scores - np.log(likely.sum() + likely[code] * np.expm1(10))[:, None]


def time_scoring(material: Material, products: int, stages: Stages) -> None:
    """Score the photos of some products, in proportion of all roles, with all categories."""
    rows = np.unique(np.linspace(0, len(material.frame) - 1, products).astype(np.int64))
    few = material.only(rows)
    count = len(few.image)
    features = Features(
        matrix=few.label[few.owner, None].astype(np.float32),
        readable=np.ones(count, bool),
        reasons={},
        seconds=0.0,
        computed=count,
        cached=False,
    )
    used = processor()
    with stages.stage("scoring", counts=False) as note, QUIET.progress(count, "scores") as bar:
        for _ in score_blocks(Claims(len(few.classes)), features, few, ProductRule("mean"), bar):
            pass
        each = (processor() - used) / count
        note |= {"photos": count, "microseconds of the processor for each": round(1e6 * each)}


def timed(make: Callable[..., object], seconds: dict[str, float]) -> Callable[..., object]:
    """Note how long a section takes."""

    def call(data: object) -> object:
        begun = time.perf_counter()
        try:
            return make(data)
        finally:
            seconds[make.__name__] = time.perf_counter() - begun

    return call


def report(run_dir: Path, stages: Stages) -> None:
    """Make tables, figures and page, in the steps in which a run makes them."""
    run = open_run(run_dir)
    with stages.stage("reading predictions"):
        for name in run.backends:
            run.products(name)
    with stages.stage("table 4 and metrics"):
        run.evaluate(run.targets)
    with stages.stage("certified thresholds"):
        assert len(run.certified)
    seconds: dict[str, float] = {}
    with stages.stage("tables, figures and page") as note:
        data = open_data(run, console=QUIET)
        sections = [dataclasses.replace(spec, make=timed(spec.make, seconds)) for spec in SECTIONS]
        pieces = write_report(run.path, sections, data, tables=data.tables, console=QUIET)
        write_page(run.path, title_of(data), pieces, header=header(data), console=QUIET)
        longest = sorted(seconds.items(), key=lambda item: -item[1])[:6]
        note |= {name: f"{took:.1f} s" for name, took in longest if took >= 1}
    pages = [path.stat().st_size for path in (run_dir / "figures").iterdir()]
    print(f"report.html {(run_dir / 'report.html').stat().st_size:,} bytes; largest figure {max(pages):,} bytes")


def study_of(backends: list[str], seed: int) -> Study:
    """The settings of a run of these backends."""
    study = read_study("default")
    return dataclasses.replace(
        study, seed=seed, backends=tuple(backends), dataset=dataclasses.replace(study.dataset, name="drawn")
    )


def run_all(options: argparse.Namespace, out: Path) -> None:
    """Go through all stages, in one process."""
    about: dict[str, object] = {"products": options.products, "ids": options.ids, "backends": options.backends}
    stages = Stages(options.record, about)
    with stages.stage("drawing the catalogue", counts=False):
        catalogue, digests = draw_catalogue(options.products, options.seed, options.ids)
    about |= {"images": len(catalogue.images), "categories": len(catalogue.categories)}
    names = [f"drawn-{number + 1}" for number in range(options.backends)]
    study = study_of(names, options.seed)
    with stages.stage("split"):
        split = make_split(catalogue, study.split, options.seed, digests)
    with stages.stage("products by role"):
        material = gather(catalogue, split)
    with stages.stage("manifest and record"):
        recorder = Recorder.open(out, study, "python -m tests.benchmarks.twenty_million")
        recorder.begin(dataset_record(material, None, digests), material.split_record())
        write_parquet(out / "split.parquet", material.frame)
    held_out = int((material.frame["split"] != "train").sum())
    for number, name in enumerate(names):
        with stages.stage(f"predictions of {name}") as note, scored_files(out, name) as files:
            for rows in Drawn(1.8 + 0.3 * number, options.seed + number, number == 0).blocks(material):
                files.add(rows)
        note["held out products"] = held_out
        common = {"images": len(material.image), "backbone": "", "pixels": 0, "batch": 0, "framework": "numpy"}
        row = Timing(backend=name, stage="fit", seconds=60.0 * (1 + number), precision="", device="cpu", **common)
        recorder.time(name, timings_frame([row]))
        recorder.finished(name, BackendEntry(columns={"Feature": "drawn", "Classifier": str(number + 1)}))
    recorder.finish("complete")
    if options.scored:
        time_scoring(material, options.scored, stages)
    report(out, stages)
    stages.write("total", stages.total, stages.cpu, stages.peak, {"files": f"{size(out) / 2**30:.2f} GiB"})


def size(folder: Path) -> int:
    """Bytes of all files of a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def main() -> None:
    """Read the command line and go."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("record", type=Path)
    parser.add_argument("--products", type=int, default=100_000)
    parser.add_argument("--ids", choices=("numbers", "text"), default="numbers")
    parser.add_argument("--backends", type=int, default=2)
    parser.add_argument("--scored", type=int, default=4_000, help="products that are scored with all categories")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="the run directory, which is kept")
    options = parser.parse_args()
    out = options.out or Path(tempfile.mkdtemp(prefix="twenty-million-"))
    try:
        run_all(options, out)
    finally:
        if options.out is None:
            shutil.rmtree(out)


if __name__ == "__main__":
    main()
