"""Decisions on networks: the same answers as the run gave, from the decision's folder alone, in Keras and in ONNX."""

import csv
import json
import shutil
import sys

import numpy as np
import pandas as pd
import pytest

import shelfbench
from shelfbench.base.console import Console
from shelfbench.base.errors import InputError
from shelfbench.cli.main import main
from shelfbench.data.images import decode
from shelfbench.data.sources.settings import DatasetSettings
from shelfbench.data.to_classify import products_of
from shelfbench.decision.bundle import load_model
from shelfbench.experiments import run_study
from shelfbench.study.overrides import parse_setting
from shelfbench.study.read import read_study
from shelfbench.verdict.guard import UNLIKE
from shelfbench_deep.engines.versions import nncf_version
from shelfbench_deep.features.settings import Engine
from shelfbench_deep.onnx_export import export_onnx
from tests.documents.commands import FENCE
from tests.helpers.sources import ROOT

SETTINGS = [
    "generated.products=160",
    "generated.categories=8",
    "generated.pixels=48",
    "generated.max_photos=2",
    "split.min_products=10",
    "pixels=32",
    "svm.C=[0.001]",
    "two_layer.epochs=3",
    "finetuning.epochs=1",
    "finetuning.share=0.3",
    "finetuning.learning_rate=0.005",
    "full.xception_pixels=71",
    "full.epochs=1",
    "xception.width=0.05",
    "report.pictures=false",
]
NAMES = ["bottleneck-svm", "bottleneck-2nn-512"]
INT8 = "int8"
needs_nncf = pytest.mark.skipif(nncf_version() is None, reason="pip install 'shelfbench[int8]'")
TUNED = ["finetuned-svm", "full-xception"]


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """A cache with this catalogue only."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        patch.setenv("SHELFBENCH_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="module")
def run(tmp_path_factory, cache):
    """Give the run directory of one backend, made when first asked for."""
    root, made = tmp_path_factory.mktemp("runs"), {}

    def of(name, precision="float32"):
        names = NAMES if name in NAMES else [name]
        folder = root / f"{names[0]}-{precision}"
        if folder not in made:
            overrides = [parse_setting(text) for text in (*SETTINGS, f"bottleneck.precision={precision}")]
            study = read_study("default", [*overrides, (["backends"], names)])
            made[folder] = run_study(study, out=folder, command="shelfbench run test")
        return folder

    return of


@pytest.fixture(scope="module")
def catalogue(cache, run):
    """The BSON of the generated catalogue."""
    run(NAMES[0])
    [path] = cache.glob("generated/*/*.bson")
    return path


@pytest.mark.parametrize(
    ("name", "precision"),
    [
        *[(name, "float32") for name in NAMES],  # as ONNX computes
        pytest.param(NAMES[0], INT8, marks=[pytest.mark.slow, needs_nncf]),
        *[pytest.param(name, "float32", marks=pytest.mark.slow) for name in TUNED],
        pytest.param(TUNED[0], INT8, marks=[pytest.mark.slow, needs_nncf]),
    ],
)
def test_the_same_products_get_the_same_answers(run, catalogue, name, precision, tmp_path, monkeypatch):
    out, folder, answers = run(name, precision), tmp_path / "decision", tmp_path / "answers.csv"
    words = ["--precision", "0.2", "--confidence", "0.5", "--out", str(folder), "--quiet"]
    assert main(["decide", str(out), name, *words]) in (0, 3, 4)
    weights = "network-int8.safetensors" if precision == INT8 else "network.safetensors"
    assert {path.name for path in folder.iterdir() if path.name.startswith("network")} == {"network.json", weights}
    # another machine: no cache, no weights of any backbone, no NNCF
    monkeypatch.setitem(sys.modules, "nncf", None)
    monkeypatch.setenv("SHELFBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(
        "shelfbench_deep.networks.backbones.packaged_weights", lambda: pytest.fail("weights from outside the folder")
    )
    monkeypatch.setattr(
        "shelfbench_deep.networks.weights.fetch_weights", lambda *_: pytest.fail("weights from outside the folder")
    )
    assert main(["classify", str(folder), str(catalogue), "--out", str(answers), "--workers", "1", "--quiet"]) == 0
    predictions = pd.read_parquet(out / "predictions" / f"{name}.parquet").set_index("product_id")
    values = json.loads((folder / "decision.json").read_text())
    with open(answers, newline="") as handle:
        rows = {int(row["product"]): row for row in csv.DictReader(handle)}
    assert set(predictions.index) <= set(rows)
    for product, known in predictions.iterrows():
        row = rows[product]
        assert row["suggestion"] == known["predicted"]
        assert np.log(float(row["confidence"])) == pytest.approx(known["confidence"], abs=1e-5)
        sure = values["threshold"] is not None and known["confidence"] >= values["threshold"]
        accepted = sure and known["predicted"] not in values["off"] and row["reason"] != UNLIKE
        assert (row["category"] != "review") == accepted
    strangers = [row for row in rows.values() if row["reason"] == UNLIKE]
    assert len(strangers) < len(rows) / 4


def crops(side, count=60):
    """Crops of the photographs that come with scikit-image, squares of `side`."""
    from PIL import Image
    from skimage import data

    photos = [data.astronaut(), data.coffee(), data.chelsea(), data.immunohistochemistry()]
    rng, squares = np.random.default_rng(0), []
    for photo in [photos[number % len(photos)] for number in range(count)]:
        size = int(rng.integers(48, 200))
        row, column = (int(rng.integers(0, length - size)) for length in photo.shape[:2])
        square = Image.fromarray(photo[row : row + size, column : column + size])
        squares.append(np.asarray(square.resize((side, side), Image.Resampling.BICUBIC)))
    return np.stack(squares)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*NAMES, *TUNED])
def test_onnx_makes_the_same_first_choice(run, catalogue, name, tmp_path, capsys):
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("tf2onnx", reason="pip install 'shelfbench[onnx]'")
    folder, source = tmp_path / "decision", str(run(name))
    capsys.readouterr()
    main(["decide", source, name, "--precision", "0.2", "--onnx", "--out", str(folder), "--quiet"])
    assert "computes in float32, and the run's" not in capsys.readouterr().err
    model = load_model(folder, 1)
    assert model.warning == ""
    assert json.loads((folder / "decision.json").read_text())["model"]["onnx"]["input"] == "pixels"
    side = model.spec.pixels
    products = products_of([catalogue], DatasetSettings(), Console(quiet=True))
    own = [decode(photo, side) for product in products for photo in product.photos]
    images = np.concatenate([np.stack(own), crops(side)])
    expected = model.classifier.log_probabilities(model.features.extract(images))
    session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    [scores] = session.run(["log_probabilities"], {"pixels": images})
    assert scores.shape == expected.shape
    assert (scores.argmax(axis=1) == expected.argmax(axis=1)).mean() >= 0.999
    assert np.abs(np.maximum(scores, -20) - np.maximum(expected, -20)).max() < 0.01


@pytest.mark.slow
def test_the_example_of_the_document_answers_as_the_decision_does(run, catalogue, tmp_path, monkeypatch):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("tf2onnx", reason="pip install 'shelfbench[onnx]'")
    monkeypatch.chdir(tmp_path)
    shutil.copytree(run(NAMES[0]), "run", ignore=shutil.ignore_patterns("tries.jsonl"))
    words = ["--precision", "0.2", "--confidence", "0.5", "--onnx", "--out", "decision", "--quiet"]
    assert main(["decide", "run", NAMES[0], *words]) == 0
    text = (ROOT / "docs" / "deciding.md").read_text(encoding="utf-8")
    [example] = [body for _, language, body in FENCE.findall(text) if language == "python" and "onnxruntime" in body]
    names = {}
    exec(example, names)
    decision = shelfbench.load_decision("decision")
    side, known = decision.model.spec.pixels, decision.classify(catalogue).set_index("product")
    met = set()
    for product in products_of([catalogue], DatasetSettings(), Console(quiet=True)):
        row = known.loc[product.key]
        if row["reason"] != UNLIKE:  # which the graph cannot tell
            given = names["category_of"](np.stack([decode(photo, side) for photo in product.photos]))
            assert given == row["category"]
            met.add(given)
    assert len(met) > 2


@pytest.mark.slow
def test_onnx_says_where_the_run_computed_in_bfloat16(run, tmp_path, monkeypatch, capsys):
    pytest.importorskip("tf2onnx", reason="pip install 'shelfbench[onnx]'")
    main(["decide", str(run(NAMES[1])), NAMES[1], "--out", str(tmp_path / "decision"), "--quiet"])
    model = load_model(tmp_path / "decision", 1)
    capsys.readouterr()
    monkeypatch.setattr(model.features, "engine", Engine("openvino", "bfloat16"))
    export_onnx(model.features, model.classifier, tmp_path / "model.onnx")
    assert "model.onnx computes in float32, and the run's features" in capsys.readouterr().err
    assert (tmp_path / "model.onnx").exists()


@pytest.mark.slow
@needs_nncf
def test_int8_is_not_written_as_onnx(run, tmp_path, capsys):
    words = ["decide", str(run(NAMES[0], INT8)), NAMES[0], "--onnx", "--out", str(tmp_path / "decision"), "--quiet"]
    assert main(words) == 2
    assert "in int8 cannot be saved as ONNX" in capsys.readouterr().err
    assert not (tmp_path / "decision").exists()


def test_a_network_is_checked_before_it_is_built(tmp_path):
    from shelfbench.base.errors import InputError
    from shelfbench_deep.features.trained import TrainedExtractor
    from shelfbench_deep.networks.blueprint import Blueprint

    wide = {"width": 1e4}
    for network in ("xception", "inception_v3"):
        assert Blueprint(network=network, pixels=299, classes=10, settings=wide).least_parameters() > 1e15
    small = Blueprint(network="xception", pixels=71, classes=3, settings={"width": 0.05})
    assert 10_000 < small.least_parameters() < 200_000
    for wrong in (
        {"network": "../evil.h5"},
        {"network": ["xception"]},
        {"pixels": 10**9},
        {"classes": -1},
        {"settings": {"class_name": "Lambda"}},
        {"settings": {"width": float("nan")}},
        {"dropout": "0"},
    ):
        with pytest.raises((ValueError, TypeError, InputError)):
            Blueprint(**{"network": "xception", "pixels": 71, "classes": 3, **wrong})
    with pytest.raises(InputError, match="contains no readable network"):
        TrainedExtractor(tmp_path)


def test_without_the_converter_the_remedy_is_said_and_nothing_is_left(run, tmp_path, monkeypatch):
    folder = tmp_path / "decision"
    assert main(["decide", str(run(NAMES[0])), NAMES[0], "--out", str(folder), "--quiet"]) in (0, 3, 4)
    model = load_model(folder, 1)
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(InputError, match="needs the package onnx") as error:
        export_onnx(model.features, model.classifier, tmp_path / "model.onnx")
    assert "shelfbench[onnx]" in error.value.remedy
    assert [path.name for path in tmp_path.iterdir()] == ["decision"]
