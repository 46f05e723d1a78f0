"""The order of a 2NN's images: today's if features fit in memory, shuffled blocks otherwise."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shelfbench.data.rows import Rows
from shelfbench.plugins.backend import TrainingData
from shelfbench_deep.heads import order
from shelfbench_deep.heads.order import passes, window_of


def data(count, dimensions=4):
    """Images whose only feature is their number, and whose label is its remainder by 5."""
    features = np.repeat(np.arange(count, dtype=np.float32)[:, None], dimensions, axis=1)
    return TrainingData(
        features=features,
        labels=np.arange(count) % 5,
        classes=5,
        tune_features=features[:0],
        tune_labels=np.zeros(0, int),
    )


def seen(data, batch, window, seed=0):
    """Return the numbers of the images in each batch, and make sure that labels go with them."""
    found = []
    for part, rows in passes(data, batch, window, np.random.default_rng(seed)):
        assert rows.shape[1] == batch
        assert np.array_equal(part.features[rows][..., 0].astype(int) % 5, part.labels[rows])
        found += part.features[rows][..., 0].astype(int).tolist()
    return np.array(found)


def test_without_windows_the_order_is_one_permutation_filled_up_with_its_start():
    drawn = np.random.default_rng(7).permutation(10)
    assert np.array_equal(seen(data(10), 4, 0, 7).ravel(), [*drawn, *drawn[:2]])


@given(st.integers(1, 200), st.integers(1, 16), st.integers(1, 6), st.integers(1, 300))
def test_every_image_is_seen_in_a_pass_and_the_number_of_steps_is_the_same(count, batch, batches, block):
    batch = min(batch, count)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(order, "BLOCK", block)
        patch.setattr(order, "BLOCKS", 1)
        found = seen(data(count), batch, batch * batches)
    assert len(found) == -(-count // batch)
    times = np.bincount(found.ravel(), minlength=count)
    assert times.min() >= 1
    assert times.sum() - count == -count % batch


def test_a_window_holds_blocks_from_anywhere_and_another_pass_holds_others(monkeypatch):
    monkeypatch.setattr(order, "BLOCK", 16 * 10)
    window = 640
    first, second = (seen(data(64_000), 10, window, seed) for seed in (0, 1))
    inside = first[:64].ravel()
    assert len(np.unique(inside // 10)) == window // 10  # whole blocks
    assert len(np.unique(inside // 3200)) > 15
    assert (np.diff(inside) == 1).mean() < 0.1  # in any order
    assert not np.array_equal(first, second)


def test_the_memory_decides_whether_there_are_windows(tmp_path, monkeypatch):
    features = data(1000).features  # 16 kB
    np.save(tmp_path / "m.npy", features)
    mapped = np.load(tmp_path / "m.npy", mmap_mode="r")
    monkeypatch.setattr(order, "WINDOW", 16 * 300)
    for free, expected in ((32_000, 0), (31_999, 256)):
        monkeypatch.setattr(order, "free_memory", lambda free=free: free)
        assert window_of(mapped, 128, 0) == expected
        assert window_of(Rows(mapped), 128, 0) == expected
        assert window_of(features, 128, 0) == 0  # it is in memory already
        assert window_of(mapped, 128, 1000) == 0
        assert window_of(mapped, 128, 999) == window_of(features, 128, 999) == 896
        assert window_of(mapped, 128, 1) == 128
