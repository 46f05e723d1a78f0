"""Fetching named datasets: once, checked, with a note of what came."""

import json
import shutil
from types import SimpleNamespace

import pytest

from shelfbench.base.console import Console
from shelfbench.base.errors import InputError, RunError
from shelfbench.data import fetch as fetching
from shelfbench.data.fetch import fetch
from shelfbench.data.named import named_datasets
from tests.helpers.catalogues import documents, write_bson, write_shards
from tests.helpers.hubs import huggingface, kaggle

QUIET = Console(quiet=True)


@pytest.fixture
def lines(monkeypatch):
    """What the console says."""
    said = []
    monkeypatch.setattr(Console, "log", lambda self, message: said.append(message))
    monkeypatch.setattr(Console, "warn", lambda self, message: said.append(f"warning: {message}"))
    monkeypatch.delenv("SHELFBENCH_DATA", raising=False)
    return said


def test_the_revision_that_the_hub_gives_is_fetched_noted_and_kept(tmp_path, fresh_cache, monkeypatch, lines):
    (tmp_path / "hub").mkdir()
    write_shards(tmp_path / "hub" / "data")
    (tmp_path / "hub" / "README.md").write_text("not wanted")
    calls = huggingface(monkeypatch, tmp_path / "hub", "c0ffee")
    found = fetch("fashion", QUIET)
    assert found == fresh_cache / "datasets" / "fashion" / "data"
    assert [call[0] for call in calls] == ["info", "download"]
    assert calls[1][2] == "c0ffee"
    note = json.loads((found.parent / "fetched.json").read_text())
    assert note["revision"] == "c0ffee"
    assert sorted(note["files"]) == [f"data/train-0000{i}-of-00002.parquet" for i in (0, 1)]
    assert any("revision c0ffee has 16 products, not 44,441" in line for line in lines)
    assert fetch("fashion", QUIET) == found
    assert len(calls) == 2


def test_cdiscount_is_kept_once(tmp_path, fresh_cache, monkeypatch, lines):
    write_bson(tmp_path / "source", documents())
    hub = tmp_path / "kaggle"
    calls = kaggle(monkeypatch, tmp_path / "source", hub)
    monkeypatch.setattr(fetching, "enough_disk", lambda *args: None)
    found = fetch("cdiscount", QUIET)
    assert (found / "train.bson").read_bytes() == (tmp_path / "source" / "train.bson").read_bytes()
    assert not list(hub.rglob("*.bson"))
    assert len(calls) == 2
    shutil.rmtree(found)
    fetch("cdiscount", QUIET)  # Kaggle's package still believes that it has the files
    assert (found / "train.bson").exists()
    assert not any("another disk" in line for line in lines)


def test_a_cache_on_another_disk_is_told(tmp_path, fresh_cache, monkeypatch, lines):
    write_bson(tmp_path / "source", documents())
    kaggle(monkeypatch, tmp_path / "source", tmp_path / "kaggle")
    monkeypatch.setattr(fetching, "enough_disk", lambda *args: None)
    monkeypatch.setattr(fetching, "device", lambda path: str(path).startswith(str(fresh_cache)))
    found = fetch("cdiscount", QUIET)
    assert any("is on another disk" in line and "train.bson" in line for line in lines)
    assert (found / "train.bson").exists()
    assert not list((tmp_path / "kaggle").rglob("*.bson"))


def test_a_disk_without_room_is_told_before_the_download(fresh_cache, monkeypatch, lines):
    monkeypatch.setattr(fetching.shutil, "disk_usage", lambda path: SimpleNamespace(free=5_000_000_000))
    with pytest.raises(InputError, match=r"cdiscount .* takes 58\.2 GB, and 5\.0 GB are free"):
        fetch("cdiscount", QUIET)


def test_what_a_hub_refuses_is_one_line(tmp_path, fresh_cache, monkeypatch, lines):
    calls = huggingface(monkeypatch, tmp_path)
    with pytest.raises(RunError, match=r"is incomplete; download data/\*\.parquet from https"):
        fetch("fashion", QUIET)
    assert calls


def test_every_dataset_that_is_fetched_declares_its_size():
    for name, dataset in named_datasets().items():
        assert (dataset.method == "generate") == (dataset.bytes == 0), name
