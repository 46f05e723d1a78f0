"""The study of Cdiscount rehearsed: the same file, on a generated catalogue in Kaggle's layout."""

import json

import pandas as pd
import pytest

from shelfbench.base.console import Console
from shelfbench.experiments import run_study
from shelfbench.generator import GeneratorSettings, generate
from shelfbench.study.overrides import parse_setting
from shelfbench.study.read import read_study

ROWS = {
    "hog-svm",
    "bottleneck-svm",
    "bottleneck-2nn-512",
    "bottleneck-2nn-2048",
    "bottleneck-2nn-4096",
    "finetuned-svm",
    "finetuned-2nn-512",
    "finetuned-2nn-2048",
    "finetuned-2nn-4096",
}


@pytest.mark.slow
def test_every_row_of_table_4_on_thirty_categories(tmp_path, monkeypatch):
    monkeypatch.setenv("SHELFBENCH_CACHE", str(tmp_path / "cache"))
    quiet = Console(quiet=True)
    generate(tmp_path / "cdiscount", GeneratorSettings(products=420, categories=30, skew=False, max_photos=2), quiet, 2)
    changes = [
        "weights=none",
        "pixels=75",
        "split.min_products=5",
        "split.categories=30",
        "finetuning.epochs=1",
        "finetuning.batch=16",
        "two_layer.epochs=1",
        "hog.pixels=64",
    ]
    study = read_study("cdiscount", [*map(parse_setting, changes), (["dataset", "name"], str(tmp_path / "cdiscount"))])
    assert set(study.backends) == ROWS
    assert read_study("cdiscount").split.categories == 1000
    assert study.backbone.name == "inception_v3"
    text = run_study(study, out=tmp_path / "out", workers=2, console=quiet, command="shelfbench run cdiscount")
    table = pd.read_csv(tmp_path / "out" / "tables" / "table4.csv")
    assert set(table["backend"]) == ROWS
    assert set(table["split"]) == {"train", "validation", "test"}
    assert table["precision"].between(0, 1).all()
    assert "bottleneck-svm" in text
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert record["status"] == "complete"
    # 5% of a category's products, at least one
    tuning = record["backends"]["finetuned-svm"]["chosen"]["tuning"]
    split = pd.read_parquet(tmp_path / "out" / "split.parquet")
    categories = split[split["split"] == "train"]["category"].nunique()
    assert tuning["images"] >= categories
    assert tuning["frozen_up_to"] == "mixed4"
    timings = pd.read_parquet(tmp_path / "out" / "timings.parquet")
    tune = timings[timings["stage"] == "tune"].set_index("backend")["cached"]
    assert not tune["finetuned-svm"]
    assert tune.drop("finetuned-svm").all()  # one network for four rows
    for name in ROWS:
        if name.startswith("finetuned"):
            assert (tmp_path / "out" / "models" / name / "network.safetensors").is_file()
