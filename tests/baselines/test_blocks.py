"""Blocks of rows: the same numbers, and pages of files that do not stay in memory."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shelfbench.data.rows import Rows
from shelfbench_baselines.blocks import Blocks

MATRIX = np.random.default_rng(0).standard_normal((500, 300)).astype(np.float32)
INDEX = np.random.default_rng(1).permutation(500)[:300]


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("blocks") / "features.npy"
    np.save(path, MATRIX)
    return path


@given(start=st.integers(0, 299), size=st.integers(1, 300), what=st.sampled_from(["r", "c", "view", "rows", "memory"]))
def test_blocks_are_what_the_matrix_holds(file, start, size, what):
    whole = np.load(file, mmap_mode="c" if what == "c" else "r")
    given, expected = {
        "view": (np.asarray(whole)[100:400], MATRIX[100:400]),
        "rows": (Rows(whole, INDEX), MATRIX[INDEX]),
        "memory": (MATRIX, MATRIX),
    }.get(what, (whole, MATRIX))
    blocks, rows = Blocks(given, np.ones(300, np.float32)), slice(start, min(start + size, len(expected)))
    for _ in range(2):  # again, after the pages were given back
        with blocks.block(rows) as block:
            np.testing.assert_array_equal(block, expected[rows] - 1)
    some = np.arange(rows.start, rows.stop, 3)
    np.testing.assert_array_equal(blocks.take(some), expected[some] - 1)
    assert blocks.read == (2 * (rows.stop - rows.start) + len(some)) * 300 * 4
    assert blocks.mapped == (what in ("r", "view", "rows"))


def test_changes_of_a_private_mapping_are_kept(file):
    private = np.load(file, mmap_mode="c")
    private[:] = 7
    with Blocks(private).block(slice(0, 500)) as block:
        assert (block == 7).all()
    assert (private == 7).all()


def test_the_matrix_is_not_copied():
    with Blocks(MATRIX).block(slice(3, 9)) as block:
        assert np.shares_memory(block, MATRIX)
