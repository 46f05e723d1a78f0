"""Features before a run: parts in any order, by several processes at once, and a run that computes none."""

import json
import subprocess
import sys

import numpy as np
import pytest

import shelfbench
from shelfbench.base.errors import InputError

SETTINGS = {"hog.pixels": 48, "hog.cells": 8, "svm.C": [0.01], "report.pictures": False}
BACKENDS = ["hog-svm"]


def part(folder, text=None, **given):
    return shelfbench.features(
        dataset=folder, backends=BACKENDS, settings=SETTINGS, shard=text, quiet=True, workers=1, **given
    )


def held(cache, name):
    """Every photo in the stores of one kind of features, as often as it is there."""
    return np.concatenate([np.load(path) for path in (cache / "features").glob(f"{name}-*/*.digests.npy")])


def test_parts_in_any_order_leave_a_run_nothing_to_compute(fresh_cache, image_folder, tmp_path, monkeypatch):
    found = [part(image_folder, text) for text in ("3/3", "1/3", "2/3", "1/3")]
    assert [one[0].name for one in found] == ["hog"] * 4
    assert found[-1][0].computed == 0
    whole = part(image_folder)
    assert whole[0].computed == 0
    assert whole[0].images == sum(one[0].images for one in found[:3])
    assert [one.backends for one in whole] == [("hog-svm",), ("near-duplicates",)]
    for name in ("hog", "fingerprint"):
        assert len(held(fresh_cache, name)) == len(np.unique(held(fresh_cache, name))) == whole[0].images

    def refuse(*given):
        raise AssertionError("a photo is computed again")

    monkeypatch.setattr("shelfbench_baselines.hog.HogExtractor.extract", refuse)
    monkeypatch.setattr("shelfbench.data.fingerprint.Fingerprint.extract", refuse)
    run = shelfbench.run(dataset=image_folder, backends=BACKENDS, settings=SETTINGS, out=tmp_path / "run", quiet=True)
    timings = json.loads((tmp_path / "run" / "run.json").read_text())
    assert timings["backends"]["hog-svm"]["status"] == "done"
    assert run.table4["cached"].all()


@pytest.mark.slow
def test_parts_at_the_same_time(fresh_cache, image_folder):
    words = ["--dataset", str(image_folder), "--backend", "hog-svm"]
    words += [word for name, value in SETTINGS.items() for word in ("--set", f"{name}={json.dumps(value)}")]
    command = [sys.executable, "-m", "shelfbench.cli.start", "features", *words]
    at_once = [subprocess.Popen([*command, "--shard", text], stderr=subprocess.PIPE) for text in ("1/2", "2/2", "1/2")]
    assert [process.communicate()[0] or process.returncode for process in at_once] == [0, 0, 0]
    found = part(image_folder)
    assert [one.computed for one in found] == [0, 0]
    assert len(held(fresh_cache, "hog")) == found[0].images


def test_what_cannot_be_done_is_said(fresh_cache, tmp_path):
    with pytest.raises(InputError, match="do not know of each other"):
        part(tmp_path, "1/2", dask="local:2")
    with pytest.raises(InputError, match="like 3/64"):
        part(tmp_path, "0/2")
    with pytest.raises(InputError, match="others compute what they need"):
        shelfbench.features("timing", quiet=True)
