"""The opponent of the whole study, on a few real products: an opponent that fails would be a won race."""

import json

import pandas as pd
import pytest

from tests.benchmarks import plain_script


@pytest.mark.slow
def test_it_runs_to_its_table_and_does_nothing_twice(real_data, tmp_path, monkeypatch):
    monkeypatch.setattr(plain_script, "EPOCHS", 3)
    monkeypatch.setattr(plain_script, "BATCH", 64)
    monkeypatch.setattr(plain_script, "UNITS", (64,))
    data = real_data / "fashion"
    frame = pd.concat([pd.read_parquet(path, columns=["id", "articleType"]) for path in sorted(data.glob("*.parquet"))])
    frame = frame[frame["articleType"].isin(["Watches", "Shirts", "Handbags"])].sample(400, random_state=0)
    roles = ["train"] * 250 + ["tune"] * 70 + ["test"] * 80
    manifest = pd.DataFrame({"product_id": frame["id"].astype(str), "category": frame["articleType"], "role": roles})
    manifest.to_parquet(tmp_path / "split.parquet")

    plain_script.main(data, tmp_path / "split.parquet", tmp_path / "out")
    table = pd.read_csv(tmp_path / "out" / "table.csv").set_index("backend")["precision"]
    assert set(table.index) == {"bottleneck-2nn-64", "bottleneck-svm", "hog-svm"}
    assert (table > 0.9).all()
    assert json.loads((tmp_path / "out" / "precision.json").read_text()) == pytest.approx(table.to_dict())
    assert (tmp_path / "out" / "acceptance.png").exists()
    taken = json.loads((tmp_path / "out" / "stages.json").read_text())
    assert all(stage["cpu_seconds"] > 0 for stage in taken.values())

    plain_script.main(data, tmp_path / "split.parquet", tmp_path / "out")
    assert json.loads((tmp_path / "out" / "stages.json").read_text()) == taken
