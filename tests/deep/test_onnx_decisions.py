"""Decisions on networks from ONNX files: the network goes along, and a stranger's is looked at before it is used."""

import csv
import hashlib
import json
import re
import shutil

import numpy as np
import onnx
import pandas as pd
import pytest
from onnx import TensorProto, helper, numpy_helper

from shelfbench.cli.main import main
from tests.helpers.decisions import STRIPES, edit, png, seal, striped
from tests.helpers.onnx_graphs import graph
from tests.helpers.photos import noise_picture

SETTINGS = ["onnx.mean=127.5", "onnx.std=127.5", "split.min_products=10", "report.pictures=false", "svm.C=[0.01]"]
WORDS = [*(word for setting in SETTINGS for word in ("--set", setting)), "--quiet"]
BACKEND = "bottleneck-svm@nets/my net.onnx"


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """Photos, a network with its weights beside it, and a run on both, started in their folder."""
    folder = tmp_path_factory.mktemp("shop")
    for name in STRIPES:
        (folder / "photos" / name).mkdir(parents=True)
        for seed in range(40):
            (folder / "photos" / name / f"{seed}.png").write_bytes(png(striped(name, seed)))
    (folder / "nets").mkdir()
    graph(folder / "nets" / "my net.onnx", external=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SHELFBENCH_CACHE", str(folder / "cache"))
        patch.chdir(folder)
        assert main(["run", "--dataset", "photos", "--backend", BACKEND, "--out", "run", *WORDS]) == 0
        yield folder


def decide(shop, out, *more):
    words = ["--precision", "0.3", "--confidence", "0.5", "--out", str(out), "--quiet"]
    return main(["decide", str(shop / "run"), BACKEND, *words, *more])


@pytest.fixture(scope="module")
def decision(shop):
    assert decide(shop, shop / "decision") in (0, 3, 4)
    return shop / "decision"


def test_a_run_says_on_the_page_how_the_network_was_read(shop):
    page = (shop / "run" / "report.html").read_text()
    assert "Bottlenecks (my net.onnx)" in page
    assert "16 px, RGB as (x - 127.5) / 127.5 (the section [onnx])" in page
    assert (shop / "run" / "predictions" / "bottleneck-svm@nets%2Fmy%20net.onnx.parquet").is_file()


def test_a_decision_takes_the_network_along(shop, decision, tmp_path, monkeypatch):
    """Elsewhere: no cache, no network beside, another current folder."""
    names = {path.name for path in decision.iterdir()}
    assert names == {
        *("classifier.json", "decision.json", "decision.sha256"),
        *("guard.safetensors", "network.json", "network.onnx", "weights.safetensors"),
    }
    assert not [tensor for tensor in onnx.load(decision / "network.onnx").graph.initializer if tensor.external_data]
    assert str(shop) not in (decision / "network.json").read_text()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SHELFBENCH_CACHE", str(tmp_path / "cache"))
    (shop / "nets").rename(shop / "away")
    try:
        words = ["--out", str(tmp_path / "answers.csv"), "--workers", "1", "--quiet"]
        assert main(["classify", str(decision), *map(str, (shop / "photos").iterdir()), *words]) == 0
    finally:
        (shop / "away").rename(shop / "nets")
    known = pd.read_parquet(next((shop / "run" / "predictions").glob("*.parquet"))).set_index("product_id")
    with open(tmp_path / "answers.csv", newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert len(rows) == 120
    # a folder's products are known by their path in it, and in the run by category and path
    told = {(row["suggestion"], round(float(row["confidence"]), 5)) for row in rows}
    for _, product in known.iterrows():
        assert (product["predicted"], round(float(np.exp(product["confidence"])), 5)) in told


def test_a_decision_can_be_made_from_another_folder(shop, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert decide(shop, tmp_path / "decision") in (0, 3, 4)


def test_a_network_that_is_gone_or_has_changed_is_named(shop, tmp_path, capsys):
    data = shop / "nets" / "my net.onnx.data"
    whole = data.read_bytes()
    try:
        data.write_bytes(bytes(reversed(whole)))
        again = ["run", "--dataset", "photos", "--backend", BACKEND, "--out", "copy", *WORDS]
        shutil.copytree(shop / "run", shop / "copy")
        assert main(again) == 2
        assert "nets/my net.onnx is no longer the network that this run used; restore it" in capsys.readouterr().err
        assert decide(shop, tmp_path / "changed") == 2
        assert "the network or its weights are no longer those of the run; restore them" in capsys.readouterr().err
    finally:
        data.write_bytes(whole)
    (shop / "nets").rename(shop / "away")
    try:
        assert decide(shop, tmp_path / "gone") == 2
        assert f"there is no network at {shop}/nets/my net.onnx; " in capsys.readouterr().err
    finally:
        (shop / "away").rename(shop / "nets")


def copied(decision, folder):
    folder.mkdir()
    for path in decision.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


def replaced(folder, path):
    """Put another network in place of a decision's, with every hash made right."""
    content = path.read_bytes()
    (folder / "network.onnx").write_bytes(content)
    record = json.loads((folder / "network.json").read_text())
    record["sha256"] = hashlib.sha256(content).hexdigest()
    (folder / "network.json").write_text(json.dumps(record))


def refusal(folder, capsys):
    """Seal a folder, load it, and return the line; nothing else may be printed."""
    seal(folder)
    capsys.readouterr()
    photo = folder.parent / "photo.png"
    photo.write_bytes(noise_picture(0))
    assert main(["classify", str(folder), str(photo), "--quiet"]) == 2
    out, err = capsys.readouterr()
    assert not out
    assert err.count("\n") == 1
    assert str(folder) in err
    return err


def changed_record(name, value, plan=False):
    def change(folder):
        record = json.loads((folder / "network.json").read_text())
        (record["plan"] if plan else record)[name] = value
        (folder / "network.json").write_text(json.dumps(record))

    return change


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda folder: (folder / "network.onnx").unlink(), "do not fit the backend"),
        (lambda folder: (folder / "network.safetensors").write_bytes(b"\2\0\0\0\0\0\0\0{}"), "do not fit the backend"),
        (lambda folder: (folder / "network.onnx").write_bytes(b""), "is empty"),
        (lambda folder: (folder / "network.onnx").write_bytes(b"\x08\x08"), "contains no graph"),
        (changed_record("sha256", "0" * 64), "does not have the hash given in network.json"),
        (changed_record("kind", "torch"), "network.json"),
        (changed_record("name", "x" * 2000), "network.json cannot be read"),
        (changed_record("engine", "keras"), "network.json cannot be read"),
        (changed_record("dimensions", 10**9), "network.json cannot be read"),
        (changed_record("dimensions", 7), r"returns values of shape \(4, 6\), not 7"),
        (changed_record("batch", 10**6, plan=True), "network.json cannot be read"),
        (changed_record("std", [0, 0, 0], plan=True), "network.json cannot be read"),
        (changed_record("pool", "max", plan=True), "network.json cannot be read"),
        (changed_record("output", "nothing", plan=True), "cannot take"),
        (changed_record("input", "nothing", plan=True), "cannot take"),
        (changed_record("pixels", 4000, plan=True), "cannot be used|cannot take|pixels"),
        (
            changed_record("view", {"fit": "../x", "resample": "a", "crop": 1.0, "background": [0, 0, 0]}),
            "network.json",
        ),
    ],
)
def test_damaged_decisions(decision, tmp_path, capsys, change, says):
    folder = copied(decision, tmp_path / "decision")
    change(folder)
    assert re.search(says, refusal(folder, capsys))


def bomb(path, kind):
    """Write a small file that asks for more memory than there is."""
    pixels = helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["n", 3, 16, 16])
    rows = helper.make_tensor_value_info("row", TensorProto.FLOAT, ["n", 6])
    if kind == "resize":
        nodes = [helper.make_node("Resize", ["pixels", "", "large"], ["x"])]
        weights = {"large": np.float32([1, 1, 5000, 5000])}
    else:
        nodes = [
            helper.make_node("Cast", ["pixels"], ["whole"], to=TensorProto.INT64),
            helper.make_node("ReduceSum", ["whole"], ["sum"], keepdims=0),
            helper.make_node("Reshape", ["sum", "one"], ["length"]),
            helper.make_node("Concat", ["fixed", "length", "one"], ["shape"], axis=0),
            helper.make_node("GlobalAveragePool", ["pixels"], ["small"]),
            helper.make_node("Expand", ["small", "shape"], ["x"]),
        ]
        weights = {"one": np.int64([1]), "fixed": np.int64([1, 3])}
    nodes += [helper.make_node("GlobalAveragePool", ["x"], ["p"]), helper.make_node("Flatten", ["p"], ["f"])]
    nodes += [helper.make_node("Concat", ["f", "f"], ["row"], axis=1)]
    model = helper.make_model(
        helper.make_graph(nodes, "g", [pixels], [rows], [numpy_helper.from_array(v, k) for k, v in weights.items()]),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    onnx.save_model(model, path)


@pytest.mark.parametrize("kind", ["resize", "expand"])
def test_a_network_that_asks_for_all_memory(decision, tmp_path, capsys, kind):
    folder = copied(decision, tmp_path / "decision")
    bomb(tmp_path / "bomb.onnx", kind)
    replaced(folder, tmp_path / "bomb.onnx")
    assert "one of its values has" in (line := refusal(folder, capsys)) or "size depends on the photo" in line


@pytest.mark.parametrize("extra", ["org.example:Magic", "com.microsoft:Inverse", ":Loop", ":Scan"])
def test_operators_that_a_decision_may_not_contain(decision, tmp_path, capsys, extra):
    folder = copied(decision, tmp_path / "decision")
    replaced(folder, graph(tmp_path / "net.onnx", extra=[extra]))
    assert "which a decision may not contain" in refusal(folder, capsys)


def test_weights_outside_a_decision(decision, tmp_path, capsys):
    folder = copied(decision, tmp_path / "decision")
    replaced(folder, graph(tmp_path / "net.onnx", external=True))
    assert "is missing, and holds weights" in refusal(folder, capsys)


def test_fuzzed_networks_are_refused_or_compute(decision, tmp_path, capsys):
    rng = np.random.default_rng(0)
    whole = (decision / "network.onnx").read_bytes()
    for number in range(40):
        damaged = bytearray(whole[: rng.integers(1, len(whole))] if number % 4 == 0 else whole)
        for place in rng.integers(0, len(damaged), rng.integers(1, 6)):
            damaged[place] = rng.integers(0, 256)
        path = tmp_path / "damaged.onnx"
        path.write_bytes(damaged)
        folder = copied(decision, tmp_path / f"decision{number}")
        replaced(folder, path)
        seal(folder)
        capsys.readouterr()
        (tmp_path / "photo.png").write_bytes(png(striped("lying", 1)))
        code = main(["classify", str(folder), str(tmp_path / "photo.png"), "--quiet"])
        _, err = capsys.readouterr()
        assert code in (0, 2)
        assert err.count("\n") <= 3, err


def test_a_backend_of_another_kind_cannot_bring_a_network(decision, tmp_path, capsys):
    folder = copied(decision, tmp_path / "decision")
    edit(folder, lambda values: values["model"].update(backend="hog-svm"))
    assert "do not fit the backend hog-svm" in refusal(folder, capsys)
