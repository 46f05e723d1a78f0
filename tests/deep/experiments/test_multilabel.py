"""Labels of a catalogue, and the experiment that learns them (X, Table 2)."""

import csv
import json
import re

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from shelfbench.base.errors import InputError, RunError
from shelfbench.cli.main import main
from shelfbench.data.feature_store import image_digests
from shelfbench.data.material import dataset_hash
from shelfbench_deep.experiments.multilabel_head import (
    LabelledImages,
    MultilabelHead,
    MultilabelSettings,
    cross_entropy,
    multilabel_head,
    score,
)
from tests.helpers.catalogues import QUIET, opened, write_shards


def carried(catalogue):
    """Labels of each product by its id."""
    targets = catalogue.labels.targets(np.arange(len(catalogue.product_id)))
    return {
        product: [name for name, has in zip(catalogue.labels.names, row, strict=True) if has]
        for product, row in zip(catalogue.product_id.tolist(), targets, strict=True)
    }


def test_labels_are_the_values_of_all_named_columns(tmp_path):
    shards = write_shards(
        tmp_path / "shop",
        ("a.parquet",),
        rows=4,
        product_id=[7, 7, 8, 9],
        colour=["red", None, " ", "blue"],
        size=[3, 4, None, 3],
        tags=[["new", "sale", "new"], [], None, ["sale", None]],
    )
    # a product has one category, and the labels of all its rows
    import pyarrow.parquet as pq

    table = pq.read_table(shards / "a.parquet").drop_columns(["category"]).append_column("category", [["c"] * 4])
    pq.write_table(table, shards / "a.parquet")
    catalogue = opened(shards, labels=("colour", "size", "tags"))
    assert carried(catalogue) == {
        7: ["colour=red", "size=3", "size=4", "tags=new", "tags=sale"],
        8: [],
        9: ["colour=blue", "size=3", "tags=sale"],
    }
    order = np.array([2, 0, 2])
    assert catalogue.labels.targets(order).tolist() == [
        catalogue.labels.targets(np.arange(3))[product].tolist() for product in order
    ]
    plain = opened(shards)
    assert plain.labels is None
    digests = image_digests(plain, QUIET)
    assert dataset_hash(plain, digests) == dataset_hash(opened(shards), digests)


def test_labels_of_a_metadata_table(tmp_path):
    from tests.helpers.photos import noise_picture

    for i in range(2):
        (tmp_path / f"{i}.png").write_bytes(noise_picture(i))
    (tmp_path / "metadata.csv").write_text("file_name,category,season\n0.png,a,Summer\n1.png,b,\n")
    assert carried(opened(tmp_path, labels=("season",))) == {"0.png": ["season=Summer"], "1.png": []}


def test_wrong_columns_of_labels(tmp_path):
    shards = write_shards(tmp_path / "shop", nested=[[["a"]]] * 8)
    with pytest.raises(InputError, match=r"no column 'colour' \(it has category, image.*dataset.labels"):
        opened(shards, labels=("colour",))
    with pytest.raises(InputError, match=r"row 0: the nested .* is not a plain value"):
        opened(shards, labels=("nested",))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"units": 0}, "multilabel.units is 0"),
        ({"epochs": 0}, "multilabel.epochs"),
        ({"patience": -1}, "multilabel.patience"),
        ({"learning_rate": 0.0}, "multilabel.learning_rate"),
        ({"learning_rate": float("nan")}, "multilabel.learning_rate"),
        ({"ema": 1.0}, "multilabel.ema"),
        ({"backbones": ("vgg16", "vgg16")}, "name each only once"),
    ],
)
def test_wrong_settings(values, message):
    with pytest.raises(InputError, match=message):
        MultilabelSettings(**values)


def test_the_papers_head_has_two_layers_of_equal_size():
    assert multilabel_head(20, 30, 0).count_params() == 21 * 30
    assert multilabel_head(20, 30, 40).count_params() == 21 * 40 + 41 * 40 + 41 * 30


def test_cross_entropy_is_its_definition():
    logits, targets = np.array([[2.0, -1.0], [0.5, 800.0]]), np.array([[True, False], [False, True]])
    p = 1 / (1 + np.exp(-np.minimum(logits, 500)))
    expected = -np.where(targets, np.log(p), np.log1p(-np.where(targets, 0, p))).mean()
    assert cross_entropy(logits, targets) == pytest.approx(expected, abs=1e-12)


@pytest.fixture(scope="module")
def problem():
    """Labels assigned to noise by a linear rule; three of them, one rare."""
    rng = np.random.default_rng(0)
    rule = rng.normal(size=(16, 3))

    def part(n, unreadable=()):
        features = rng.normal(size=(n, 16)).astype(np.float32)
        readable = ~np.isin(np.arange(n), unreadable)
        return LabelledImages(features[readable], readable, features @ rule > np.array([0, 0, 4]))

    return part(600), part(200, (3, 17))


QUICK = MultilabelSettings(epochs=6, patience=0, batch=32, learning_rate=0.003, ema=0.9)


@pytest.mark.parametrize("units", [0, 16])
def test_a_head_learns_and_keeps_its_best_epoch(problem, units):
    train, tune = problem
    shares = train.targets.mean(axis=0)
    heads = [MultilabelHead(units, QUICK) for _ in range(2)]
    for head in heads:
        head.fit(train, tune, shares, seed=1, console=QUIET)
    head = heads[0]
    np.testing.assert_array_equal(head.logits(tune.features), heads[1].logits(tune.features))
    found = score(head.logits(tune.features), tune, shares)
    assert found["map_100"] == head.history["val_map_100"].max() > 0.9
    assert head.history["val_map_100"].to_list().index(found["map_100"]) + 1 == head.chosen["epoch"]
    assert head.history["step"].to_list() == [19 * epoch for epoch in range(1, 7)]
    assert (head.history["lr"] == 0.003).all()
    kept = head.history.iloc[head.chosen["epoch"] - 1]
    logits = head.logits(tune.features)
    assert kept["val_loss"] == pytest.approx(cross_entropy(logits, tune.targets[tune.readable]))


def test_an_image_that_cannot_be_read_still_has_its_labels(problem):
    _, tune = problem
    logits = np.random.default_rng(2).normal(size=(len(tune.features), 3))
    padded = np.full((len(tune.readable), 3), -np.inf)
    padded[tune.readable] = logits
    found = score(logits, tune, np.ones(3))["map_100_unweighted"]
    expected = []
    for label in range(3):
        readable = tune.targets[tune.readable, label]
        precision = average_precision_score(readable, logits[:, label])
        expected.append(precision * readable.sum() / tune.targets[:, label].sum())
    assert found == pytest.approx(np.mean(expected))


def test_a_cost_that_is_not_finite_is_one_line(problem):
    train, tune = problem
    wild = MultilabelSettings(epochs=3, batch=32, learning_rate=1e30)
    with pytest.raises(RunError, match=r"the cost is .* lower multilabel.learning_rate"):
        MultilabelHead(8, wild).fit(train, tune, np.ones(3), seed=0, console=QUIET)


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    rows = 60
    return write_shards(
        tmp_path_factory.mktemp("multilabel") / "shop",
        ("a.parquet",),
        rows=rows,
        colour=["red" if i % 3 else "blue" for i in range(rows)],
        season=["Summer" if i % 2 else None for i in range(rows)],
    )


def command(shop, out, *more):
    settings = ["labels=['colour', 'season']"]
    words = ["run", "multilabel", "--dataset", str(shop), "--out", str(out), "--quiet", "--workers", "1"]
    words += [word for text in settings for word in ("--set", f"dataset.{text}")]
    for text in ("weights=none", "pixels=32", "multilabel.units=8", "multilabel.epochs=2", *more):
        words += ["--set", text]
    return main(words)


def test_the_study_gives_table_2_and_goes_on(shop, tmp_path, capsys):
    out = tmp_path / "out"
    both = "multilabel.backbones=['vgg11', 'efficientnet_lite0']"
    assert command(shop, out, both) == 2
    failed = capsys.readouterr()
    assert "2 of 4 heads failed (vgg11: unknown backbone 'vgg11')" in failed.err
    assert failed.err.count("\n") == 1
    record = json.loads((out / "run.json").read_text())
    assert {name: entry["status"] for name, entry in record["backends"].items()} == {
        "vgg11": "failed",
        "vgg11-fc": "failed",
        "efficientnet_lite0": "done",
        "efficientnet_lite0-fc": "done",
    }
    with open(out / "tables" / "table2x.csv", newline="") as handle:
        table = {(row["backbone"], row["fully_connected"]): row for row in csv.DictReader(handle)}
    for connected, name in (("no", "efficientnet_lite0"), ("yes", "efficientnet_lite0-fc")):
        row, entry = table["efficientnet_lite0", connected], record["backends"][name]
        assert float(row["map_100"]) == entry["scores"]["test"]["map_100"]
        assert row["paper_map_100"] == ""
        assert entry["labels"] == 3
        assert (out / "history" / f"{name}.parquet").is_file()
    printed = {key: row["paper_map_100"] for key, row in table.items() if row["paper_map_100"]}
    assert printed == {
        ("inception_v3", "no"): "6.36",
        ("xception", "no"): "6.7",
        ("inception_v3", "yes"): "6.5",
        ("xception", "yes"): "6.78",
    }
    before = (out / "history" / "efficientnet_lite0-fc.parquet").stat().st_mtime_ns
    assert command(shop, out, both) == 2
    assert (out / "history" / "efficientnet_lite0-fc.parquet").stat().st_mtime_ns == before
    assert "JFT" in (out / "tables" / "table2x.md").read_text()
    assert not re.search(r"(?<!xml,)<svg", (out / "report.html").read_text())
    assert (out / "figures" / "map.png").is_file()
    tables = {path.name: path.read_bytes() for path in (out / "tables").iterdir()}
    assert command(shop, tmp_path / "again") == 0
    assert "Table 2 of X" in capsys.readouterr().out
    assert {path.name: path.read_bytes() for path in (tmp_path / "again" / "tables").iterdir()}.keys() == tables.keys()


@pytest.mark.slow
def test_the_photos_can_decide_at_which_size_they_are_seen(shop, tmp_path):
    assert command(shop, tmp_path / "out", "pixels=auto") == 0
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert record["sizes"]["efficientnet_lite0"]["pixels"] == 96
    assert {entry["pixels"] for entry in record["backends"].values()} == {96}


def test_data_without_labels(shop, tmp_path, capsys):
    assert command(shop, tmp_path / "out", "dataset.labels=[]") == 2
    assert "is read without labels; name their columns" in capsys.readouterr().err
    assert command(shop, tmp_path / "other", "dataset.labels=['size']") == 2
    assert "no column 'size' (it has category, image, colour, season)" in capsys.readouterr().err
