"""Scoring in blocks gives what scoring at once gives; stages and memory are measured."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench import scoring
from bench.console import Console
from bench.data.catalogue import Catalogue, Category
from bench.data.features import Features
from bench.data.split import SplitSettings, make_split
from bench.material import gather
from bench.scoring import score
from bench.timing import PeakMemory, Stopwatch, machine, versions


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 4), min_size=1, max_size=40), st.integers(1, 9))
def test_blocks_hold_whole_products_and_every_image(photos, size):
    owner = np.repeat(np.arange(len(photos)), photos)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scoring, "PREDICT_IMAGES", size)
        parts = list(scoring._blocks(owner, len(photos)))
    assert np.concatenate([np.arange(part.start, part.stop) for part in parts]).tolist() == list(range(len(owner)))
    for part in parts:
        inside = set(owner[part])
        assert not inside & (set(owner[: part.start]) | set(owner[part.stop :]))
        assert part.stop - part.start <= max(size, photos[owner[part.start]])


FLOATS = ["confidence", "margin", "top5_confidence", "log_probabilities", "log_rest"]


class Linear:
    """A classifier of fixed weights."""

    def __init__(self, dimensions, classes):
        self.weights = np.random.default_rng(0).normal(size=(dimensions, classes))

    def log_probabilities(self, features):
        values = features.astype(float) @ self.weights
        return values - np.logaddexp.reduce(values, axis=1, keepdims=True)


def test_the_size_of_blocks_changes_nothing(monkeypatch):
    class NoImages:
        files = ()

        def __len__(self):
            return 240

    owner = np.repeat(np.arange(120), 2).astype(np.int32)
    cat = Catalogue(
        "shop",
        (Category("a", "a"), Category("b", "b")),
        np.arange(120),
        (np.arange(120) % 2).astype(np.int32),
        owner,
        NoImages(),
    )
    material = gather(cat, make_split(cat, SplitSettings(), 0, np.arange(240).astype("V16")))
    rng = np.random.default_rng(1)
    readable = rng.random(240) > 0.4
    reasons = {int(row): "truncated" for row in np.flatnonzero(~readable)}
    features = Features(rng.normal(size=(240, 5)).astype(np.float32), readable, reasons, 1.0, 240, False)
    with Console(quiet=True).progress(240, "scores") as bar:
        whole = score(Linear(5, 2), features, material, bar)
        monkeypatch.setattr(scoring, "PREDICT_IMAGES", 7)
        parts = score(Linear(5, 2), features, material, bar)
    for one, other in zip(whole, parts, strict=True):
        left, right = one.to_pandas(), other.to_pandas()
        assert (
            left.drop(columns=FLOATS, errors="ignore")
            .astype(str)
            .equals(right.drop(columns=FLOATS, errors="ignore").astype(str))
        )
    assert (whole[0].to_pandas()["rejected"].notna()).sum() == sum(
        not readable[material.owner == product].any() for product in range(120)
    )


def test_stages_and_memory_are_measured():
    with PeakMemory().watch() as before, Stopwatch() as watch:
        time.sleep(0.05)
    assert 0.04 < watch.seconds < 1
    with PeakMemory().watch() as memory:
        held = np.ones(25_000_000)
        time.sleep(0.5)
    assert held.nbytes / 2**20 * 0.9 < memory.mib - before.mib < held.nbytes / 2**20 + 200
    assert machine()["cores"] >= 1
    assert "numpy" in versions()
