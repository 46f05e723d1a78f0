"""Whole networks on several labels (X, Table 2, Figures 7 and 8)."""

import csv
import json

import numpy as np
import pandas as pd
import pytest

from shelfbench.cli.main import main
from shelfbench.study.read import read_study
from shelfbench.verdict.ranking import average_precisions, best_per_image, weighted_mean
from shelfbench_deep.experiments.multilabel_networks import trainer_of
from shelfbench_deep.training.many_labels import ManyLabels
from tests.helpers.catalogues import write_shards

SMALL = (
    "multilabel.networks=['xception']",
    "full.epochs=2",
    "full.batch=16",
    "full.ema=0.5",
    "full.recipe=x-jft",
    "xception.width=0.03",
    "inception.width=0.03",
    "full.inception_v3_pixels=75",
    "full.xception_pixels=71",
    "training.statistics=0.9",
    "bottleneck.engine=keras",
)


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    rows = 80
    return write_shards(
        tmp_path_factory.mktemp("labels") / "shop",
        ("a.parquet",),
        rows=rows,
        colour=["red" if i % 3 else "blue" for i in range(rows)],
        season=["Summer" if i % 2 else None for i in range(rows)],
    )


def command(shop, out, *more):
    words = ["run", "jft", "--dataset", str(shop), "--out", str(out), "--quiet", "--workers", "1"]
    for text in ("dataset.labels=['colour', 'season']", "multilabel.products=0", *SMALL, *more):
        words += ["--set", text]
    return main(words)


@pytest.fixture(scope="module")
def trained(shop, tmp_path_factory):
    out = tmp_path_factory.mktemp("labels") / "out"
    assert command(shop, out) == 0
    return out


@pytest.mark.slow
def test_table_2_and_figures_7_and_8_are_of_whole_networks(trained):
    record = json.loads((trained / "run.json").read_text())
    names = ["full-xception", "full-xception-fc"]
    assert list(record["backends"]) == names
    with open(trained / "tables" / "table2x.csv", newline="") as handle:
        rows = {(row["backbone"], row["fully_connected"]): row for row in csv.DictReader(handle)}
    assert {row["trained"] for row in rows.values()} == {"whole network"}
    assert [key for key, row in rows.items() if row["map_100"]] == [("xception", "no"), ("xception", "yes")]
    assert {key: row["paper_map_100"] for key, row in rows.items()} == {
        ("xception", "no"): "6.7",
        ("inception_v3", "no"): "6.36",
        ("xception", "yes"): "6.78",
        ("inception_v3", "yes"): "6.5",
    }
    for name in names:
        entry = record["backends"][name]
        history = pd.read_parquet(trained / "history" / f"{name}.parquet")
        assert history["epoch"].tolist() == [1, 2]
        # the network that is scored is that of the best epoch
        kept = history["val_map_100"][entry["chosen"]["epoch"] - 1]
        assert kept == history["val_map_100"].max()
        assert entry["scores"]["tune"]["map_100"] == pytest.approx(kept, abs=1e-6)
        assert entry["labels"] == 3
        assert entry["settings"]["weight_decay"] == 1e-5
        assert entry["settings"]["dropout"] == 0
    more = [record["backends"][name]["chosen"]["parameters"] for name in ("full-xception", "full-xception-fc")]
    assert more[1] > more[0]
    assert {"figure7.png", "figure8.svg"} <= {path.name for path in (trained / "figures").iterdir()}
    assert not (trained / "figures" / "map.png").exists()
    assert "several labels" in (trained / "report.html").read_text()


@pytest.mark.slow
def test_a_network_trained_before_is_found_again(shop, trained, tmp_path):
    assert command(shop, tmp_path / "again") == 0
    before, now = (json.loads((out / "run.json").read_text())["backends"] for out in (trained, tmp_path / "again"))
    for name, entry in before.items():
        assert now[name]["seconds"] == entry["seconds"]
        assert now[name]["scores"] == entry["scores"]


def test_other_labels_are_another_training():
    study = read_study("jft")
    targets, shares = np.eye(4, 3, dtype=bool), np.ones(3)
    designs = []
    for train, tune in ((targets, targets), (targets[::-1], targets), (targets, targets[:2])):
        trainer = trainer_of(study, "xception", False, ManyLabels(train, tune, shares))
        designs.append(json.dumps(trainer.describe()))
    designs.append(json.dumps(trainer_of(study, "xception", True, ManyLabels(targets, targets, shares)).describe()))
    designs.append(json.dumps(trainer_of(study, "xception", False, None).describe()))
    assert len(set(designs)) == 5


def test_wrong_settings_are_one_line(shop, tmp_path, capsys):
    for number, (setting, words) in enumerate(
        (
            ("multilabel.networks=['vgg16']", "multilabel.networks names 'vgg16'; choose from: inception_v3, xception"),
            ("multilabel.products=100000", "products=100000"),
            ("training.class_weights=true", "training.class_weights is true"),
        )
    ):
        assert command(shop, tmp_path / str(number), setting) == 2
        said = capsys.readouterr().err
        assert words in said
        assert said.count("\n") == 1


def test_the_judge_scores_unreadable_images_as_predicting_nothing():
    rng = np.random.default_rng(0)
    targets = rng.random((40, 5)) < 0.4
    logits = rng.normal(size=(40, 5)).astype(np.float32)
    shares = rng.random(5)
    judge = ManyLabels(targets, targets, shares).judge()
    for part in (np.arange(0, 16), np.arange(16, 40)):
        judge.add(part, logits[part])
    _, found = judge.result()
    assert found == pytest.approx(weighted_mean(average_precisions(best_per_image(logits), targets), shares))
    fewer = ManyLabels(targets, targets, shares).judge()
    fewer.add(np.arange(1, 40), logits[1:])
    assert fewer.result()[1] <= found + 1e-12
    assert all(np.isnan(ManyLabels(targets, targets[:0], shares).judge().result()))
