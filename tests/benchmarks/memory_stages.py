"""The stages that `tests.benchmarks.memory_scale` measures: each prepares, and returns what is to be measured."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from shelfbench.base.console import Console

if TYPE_CHECKING:
    from tests.benchmarks.memory_scale import Work

QUIET = Console(quiet=True)
NAME = "hog-svm"
Body = Callable[[], object]


def _fresh(work: Work) -> Work:
    """The same folder, of which nothing is in memory."""
    return dataclasses.replace(work)


def index(work: Work) -> Body:
    """The scan of the file, and the hashes of all photos."""

    def body() -> None:
        for name in ("indexes", "digests"):
            shutil.rmtree(work.cache / name, ignore_errors=True)
        assert len(_fresh(work).digests)

    return body


def split(work: Work) -> Body:
    """Split, and products by role."""
    assert len(work.digests)

    def body() -> None:
        other = _fresh(work)
        other.__dict__.update(catalogue=work.catalogue, digests=work.digests)
        assert len(other.material.image)

    return body


def near_duplicates(work: Work) -> Body:
    """Fingerprints of all photos, and the products of one part that another part has too."""
    from shelfbench.data.near_duplicates import find_twins

    assert len(work.material.image)

    def body() -> None:
        for folder in (work.cache / "features").glob("fingerprint-*"):
            shutil.rmtree(folder)
        find_twins(work.material, work.digests, work.workers, QUIET)

    return body


def hog(work: Work) -> Body:
    """HOG from photos to the store, and the selection."""
    assert len(work.material.image)

    def body() -> None:
        shutil.rmtree(work.hog.folder, ignore_errors=True)
        assert work.features().readable.all()

    return body


def selection_made(work: Work) -> Body:
    """Features of the store put into the order of the run; read from it into memory where they are few."""
    assert len(work.material.image)

    def body() -> None:
        shutil.rmtree(work.hog.folder / "selections", ignore_errors=True)
        assert not work.features().computed

    return body


def selection_found(work: Work) -> Body:
    """The same once it is there: every byte is verified; where they are few, they are put together again."""
    assert len(work.material.image)
    return lambda: work.features()


def network(work: Work) -> Body:
    """Features of a small network, from photos to the store, and the selection."""
    from shelfbench.data.feature_store import FeatureStore
    from shelfbench.data.images import ImageSettings
    from shelfbench.plugins.backend import BackboneChoice
    from shelfbench_deep.features.choosing import network_features
    from shelfbench_deep.features.settings import BottleneckSettings
    from shelfbench_deep.networks.onnx_settings import OnnxSettings

    path = work.folder / "network.keras"
    if not path.exists():
        _save_network(path, work.seed)
    sections = {"bottleneck": BottleneckSettings(), "onnx": OnnxSettings()}
    parts = network_features(BackboneChoice(str(path), pixels=32), sections)
    store = FeatureStore(parts.features, ImageSettings(), QUIET, work.workers)
    parts.features.extract(np.zeros((parts.features.batch, 32, 32, 3), np.uint8))  # loads and compiles it
    assert len(work.material.image)

    def body() -> None:
        shutil.rmtree(store.folder, ignore_errors=True)
        work.features(store)

    return body


def _save_network(path: Path, seed: int) -> None:
    from shelfbench_deep.engines.keras import keras

    keras.utils.set_random_seed(seed)
    layers = [keras.layers.Conv2D(width, 3, 2, activation="relu") for width in (16, 32, 64)]
    images = keras.layers.Rescaling(1 / 255)
    keras.Sequential([keras.Input((32, 32, 3)), images, *layers, keras.layers.GlobalAveragePooling2D()]).save(path)


def guard(work: Work) -> Body:
    """What the photos of train look like, and how far all others are from them."""
    from shelfbench.runs.guarding import make_guard

    features = work.features()
    return lambda: make_guard(features, work.material, work.seed)


def standardising(work: Work) -> Body:
    """Whether all features are finite, their means and their deviations."""
    from shelfbench_deep.heads.standardising import check_finite, moments

    features = work.data.features

    def body() -> None:
        check_finite(features, "training")
        moments(features)

    return body


def svm(work: Work) -> Body:
    """The linear SVM at one C, six sweeps, and its choice of a temperature."""
    from shelfbench_baselines.linear_svm import LinearSVM, SVMSettings

    data, kept = work.data, work.folder / "svm"
    kept.mkdir(exist_ok=True)

    def body() -> None:
        classifier = LinearSVM(SVMSettings(C=(1e-3,), max_iter=6, tol=1e-12, extend=False, engine="numpy"))
        classifier.fit(data, seed=work.seed, console=QUIET)
        classifier.save(kept)

    return body


def two_layer(work: Work) -> Body:
    """One epoch of a 2NN of 512 units, and the scores of tune after it."""
    from shelfbench_deep.engines.keras import keras  # noqa: F401  (which takes seconds to load)
    from shelfbench_deep.heads.two_layer import TwoLayer
    from shelfbench_deep.heads.two_layer_settings import TwoLayerSettings

    data = work.data
    return lambda: TwoLayer(512, TwoLayerSettings(epochs=1)).fit(data, seed=work.seed, console=QUIET)


def _study(work: Work):
    from shelfbench.study.read import read_study

    study = read_study("default")
    dataset = dataclasses.replace(study.dataset, name="drawn")
    return dataclasses.replace(study, seed=work.seed, backends=(NAME,), dataset=dataset)


def scoring(work: Work) -> Body:
    """All scores of the linear SVM, and the predictions of all products, written."""
    from shelfbench.base.storage import write_parquet
    from shelfbench.data.material import dataset_record
    from shelfbench.runs.entries import BackendEntry
    from shelfbench.runs.recorder import Recorder
    from shelfbench.runs.scored import scored_files
    from shelfbench.runs.scoring import choose_rule, score_blocks
    from shelfbench_baselines.linear_svm import LinearSVM

    classifier, features, study = LinearSVM.load(work.folder / "svm"), work.features(), _study(work)
    material, verdict = work.material, _study(work).verdict

    def body() -> None:
        shutil.rmtree(work.run, ignore_errors=True)
        recorder = Recorder.open(work.run, study, "python -m tests.benchmarks.memory_scale")
        recorder.begin(dataset_record(material, None, work.digests), material.split_record())
        write_parquet(work.run / "split.parquet", material.frame)
        rule = choose_rule(classifier, features, material, settings=verdict, seed=work.seed, console=QUIET)
        with scored_files(work.run, NAME) as files, QUIET.progress(len(material.image), "scores") as bar:
            for rows in score_blocks(classifier, features, material, rule, bar):
                files.add(rows)
        recorder.finished(NAME, BackendEntry(columns={"Feature": "HOG", "Classifier": "SVM"}))
        recorder.finish("complete")

    return body


def suspects(work: Work) -> Body:
    """The labels that the scores contradict."""
    from shelfbench.runs.directory import open_run
    from shelfbench.runs.filed_scores import open_scores
    from shelfbench.verdict.suspects import suspect_labels

    return lambda: suspect_labels(open_scores(open_run(work.run), NAME))


def metrics(work: Work) -> Body:
    """Table 4, and certified thresholds."""
    from shelfbench.runs.directory import open_run

    def body() -> None:
        run = open_run(work.run)
        run.evaluate(run.targets)
        assert run.certified is not None

    return body


def report(work: Work) -> Body:
    """Tables, figures and page."""
    import matplotlib.pyplot  # noqa: F401  (which takes seconds to load)

    from shelfbench.report.data import open_data
    from shelfbench.report.page import header, title_of
    from shelfbench.report.render import write_page, write_report
    from shelfbench.report.sections import SECTIONS
    from shelfbench.runs.directory import open_run

    def body() -> None:
        run = open_run(work.run)
        data = open_data(run, console=QUIET)
        pieces = write_report(run.path, SECTIONS, data, tables=data.tables, console=QUIET)
        write_page(run.path, title_of(data), pieces, header=header(data), console=QUIET)

    return body


STAGES: dict[str, Callable[[Work], Body]] = {
    "index": index,
    "split": split,
    "near-duplicates": near_duplicates,
    "HOG": hog,
    "selection made": selection_made,
    "selection found": selection_found,
    "network": network,
    "guard": guard,
    "standardising": standardising,
    "linear SVM": svm,
    "2NN-512": two_layer,
    "scoring": scoring,
    "suspects": suspects,
    "metrics": metrics,
    "report": report,
}
