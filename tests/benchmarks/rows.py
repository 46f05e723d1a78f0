"""The rows of the speed gate: each prepares the work of a stage, which is then timed as often as is asked.

    python -m tests.benchmarks.rows ROW FOLDER SIDE SLOW_DOWN

`gate.py` runs one such process for the working tree and one for the base commit, by the same rows: only what `found`
names is taken from the side that is measured. `FOLDER` is the process' own, `SIDE` the root of the checkout, and
`SLOW_DOWN` the share of its own time by which it is made slower. The process reads numbers of repetitions from stdin
and answers each with seconds.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import shutil
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from tests.benchmarks import inputs

# Prepares a row in a folder, and gives what is timed.
Prepare = Callable[[Path], Callable[[], object]]
PIXELS = 180
MIB = 1 << 20


class LacksError(Exception):
    """The side that is measured has none of the places that a name is looked for in."""


class Place:
    """Where the code that is measured lies: what else is installed is not it."""

    side = Path()


def found(*places: str) -> SimpleNamespace:
    """Names of a module, from the first place that has them all: the present one, then where older commits have it.

    Parameters
    ----------
    *places : str
        ``module:name,name``.

    Returns
    -------
    SimpleNamespace
        By the names of the first place.

    Raises
    ------
    LacksError
        If no place has them.
    """
    names = places[0].partition(":")[2].split(",")
    for place in places:
        module, _, theirs = place.partition(":")
        try:
            loaded = importlib.import_module(module)
            values = [getattr(loaded, name) for name in theirs.split(",")]
        except (ModuleNotFoundError, AttributeError):
            continue
        if Path(str(loaded.__file__)).resolve().is_relative_to(Place.side):
            return SimpleNamespace(**dict(zip(names, values, strict=True)))
    raise LacksError(" or ".join(place.replace(":", ".") for place in places))


def console() -> object:
    """One that prints nothing."""
    return found("shelfbench.base.console:Console", "bench.console:Console").Console(quiet=True)


def bootstrap(folder: Path) -> Callable[[], object]:
    """The bootstrap interval of acceptance, 50,000 products, 100 resamples."""
    verdict = found("shelfbench.verdict.intervals:bootstrap_intervals", "bench.verdict.intervals:bootstrap_intervals")
    products = inputs.beta_confidences(50_000)
    return lambda: verdict.bootstrap_intervals(*products, "0.9", resamples=100)


def curve(folder: Path) -> Callable[[], object]:
    """The acceptance curve of a million products."""
    verdict = found("shelfbench.verdict.metrics:acceptance_curve", "bench.verdict.metrics:acceptance_curve")
    products = inputs.beta_confidences(1_000_000)
    return lambda: verdict.acceptance_curve(*products)


def bson_index(folder: Path) -> Callable[[], object]:
    """The index of a Cdiscount BSON of 256 MiB."""
    data = found("shelfbench.data.sources.bson_index:scan", "bench.data.sources.bson_index:scan")
    path, quiet = folder.parent / "shared.bson", console()
    return lambda: data.scan(path, "refuse", quiet)


def decode(folder: Path) -> Callable[[], object]:
    """300 JPEGs of 180 px to 128 px, on one core."""
    from concurrent.futures import ThreadPoolExecutor

    data = found("shelfbench.data.images:decode_batch", "bench.data.images:decode_batch")
    photos, pool = inputs.jpegs(300), ThreadPoolExecutor(1)
    return lambda: data.decode_batch(photos, 128, "pad", pool)


def hog(folder: Path, *, cells: int, workers: int) -> Callable[[], object]:
    """HOG at 180 px, BLAS in one thread."""
    from threadpoolctl import threadpool_limits

    ours = found("shelfbench_baselines.hog:HogExtractor,HogSettings", "baselines.hog:HogExtractor,HogSettings")
    threadpool_limits(1)
    images = inputs.crops_and_noise(16)
    if workers > 1:
        images = np.resize(images, (ours.HogExtractor.batch, *images.shape[1:]))
    extractor = ours.HogExtractor(ours.HogSettings(cells=cells), workers=workers)
    return lambda: extractor.extract(images)


def svm(folder: Path, *, rows: int, classes: int) -> Callable[[], object]:
    """A linear SVM at one C, on 320 standardised features."""
    from sklearn.preprocessing import StandardScaler

    solver = found(
        "shelfbench_baselines.descent:regularisation_path,SquaredHinge",
        "baselines.descent:regularisation_path,SquaredHinge",
    )
    settings = found("shelfbench_baselines.linear_svm:SVMSettings", "baselines.linear_svm:SVMSettings")
    features, labels = inputs.correlated(rows, 320, classes)
    features, tolerance = StandardScaler().fit_transform(features), settings.SVMSettings().tol

    def fit() -> None:
        problem = solver.SquaredHinge(features, labels, classes, standardise=False)
        solver.regularisation_path(problem, (1e-3,), tolerance, 1000)

    return fit


def bottleneck(name: str) -> object:
    """Our extractor of a network with random weights, which take as long as any."""
    choice = found("shelfbench.plugins.backend:BackboneChoice", "bench.backend:BackboneChoice")
    ours = found("shelfbench_deep.features.bottleneck:BottleneckExtractor", "deep.bottleneck:BottleneckExtractor")
    return ours.BottleneckExtractor(choice.BackboneChoice(name, "none", PIXELS))


def bottlenecks(folder: Path, *, name: str, images: int) -> Callable[[], object]:
    """Bottlenecks of a network at 180 px, pixels ready."""
    extractor, shown = bottleneck(name), inputs.squares(images, PIXELS)
    return lambda: extractor.extract(shown)


def stored(folder: Path, *, name: str, images: int) -> Callable[[], object]:
    """From JPEG to stored features."""
    data = found("shelfbench.data.feature_store:FeatureStore", "bench.data.features:FeatureStore")
    settings = found("shelfbench.data.images:ImageSettings", "bench.data.images:ImageSettings")
    source = found("shelfbench.data.sources.folder:read_folder", "bench.data.sources.folder:read_folder")
    dataset = found(
        "shelfbench.data.sources.tables:DatasetSettings",
        "bench.data.sources.tables:DatasetSettings",
    )
    extractor, quiet = bottleneck(name), console()
    inputs.write_jpegs(folder / "jpeg", inputs.squares(images, PIXELS))
    catalogue = source.read_folder(folder / "jpeg", "jpeg", dataset.DatasetSettings(name="jpeg"))
    rows = np.arange(images)
    digests = np.array([number.to_bytes(16, "big") for number in rows.tolist()], "V16")

    def compute() -> None:
        place = folder / "store"
        shutil.rmtree(place, ignore_errors=True)
        store = data.FeatureStore(extractor, settings.ImageSettings(), quiet, 2, place)
        assert store.features(catalogue, rows, digests).computed == len(rows)

    return compute


def two_layer(folder: Path) -> Callable[[], object]:
    """An epoch of a 2NN of 512 units on the CPU, 3,000 x 320."""
    heads = found("shelfbench_deep.heads.two_layer:two_layer", "deep.two_layer:two_layer")
    settings = found(
        "shelfbench_deep.heads.two_layer_settings:TwoLayerSettings", "deep.two_layer_settings:TwoLayerSettings"
    )
    cpu = found("shelfbench_deep.heads.two_layer_cpu:CPUTraining", "deep.two_layer_cpu:CPUTraining")
    chosen, random = settings.TwoLayerSettings(), np.random.default_rng(0)
    features, labels = inputs.overlapping(3_000, 320, 20)
    model = heads.two_layer(320, 512, 20, chosen)
    arrays = {variable.path: np.asarray(variable.numpy()) for variable in model.weights}
    training = cpu.CPUTraining(arrays, chosen, statistics=0.9, seed=0)

    def epoch() -> None:
        order = np.resize(random.permutation(len(labels)), (-(-len(labels) // chosen.batch), chosen.batch))
        training.epoch(features.__getitem__, labels, order, lambda: None)

    return epoch


def report(folder: Path) -> Callable[[], object]:
    """Tables, figures and page of a run with 3 backends and 2,000 products of test."""
    ours = found("shelfbench.report.build:build_report", "bench.report.build:build_report")
    run_dir, quiet = folder / "run", console()
    shutil.copytree(folder.parent / "shared-run", run_dir)
    return lambda: ours.build_report(run_dir, None, quiet)


NETWORKS = {"inception_v3": 16, "xception": 16, "efficientnet_lite0": 32}
ROWS: dict[str, Prepare] = {
    "acceptance curve": curve,
    "bootstrap": bootstrap,
    "bson index": bson_index,
    "decode": decode,
    **{
        f"hog-{cells}, {workers} {'core' if workers == 1 else 'cores'}": partial(hog, cells=cells, workers=workers)
        for workers in (1, 2)
        for cells in (16, 8)
    },
    "svm, 20 categories": partial(svm, rows=4_000, classes=20),
    "svm, 100 categories": partial(svm, rows=3_000, classes=100),
    "2nn epoch": two_layer,
    **{f"bottlenecks, {name}": partial(bottlenecks, name=name, images=count) for name, count in NETWORKS.items()},
    **{f"from jpeg, {name}": partial(stored, name=name, images=count) for name, count in NETWORKS.items()},
    "report": report,
}


def write_shared(row: str, folder: Path) -> None:
    """Write the files that both sides read, in the parent of their folders."""
    if row == "bson index":
        inputs.write_bson(folder / "shared.bson", 256 * MIB)
    elif row == "report":
        from tests.helpers.large_run import make_large_run

        make_large_run(folder / "shared-run", backends=3, test=2_000, categories=50)


def main(row: str, folder: Path, side: Path, slow_down: float) -> None:
    """Prepare, say ``ready``, and time: a line of JSON each. What else is printed goes to stderr."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    Place.side = side.resolve()
    try:
        work = ROWS[row](folder)
    except LacksError as error:
        print(json.dumps({"lacks": str(error)}), file=answers)
        return

    def seconds(times: int) -> float:
        gc.collect()
        begun = time.perf_counter()
        for _ in range(times):
            work()
        if slow_down:
            time.sleep(slow_down * (time.perf_counter() - begun))
        return time.perf_counter() - begun

    seconds(1)  # the warm-up
    print(json.dumps({"ready": seconds(1)}), file=answers)
    for line in sys.stdin:
        print(json.dumps({"seconds": seconds(int(line))}), file=answers)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), float(sys.argv[4]))
