"""Rows that stay on disk read like an array of them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shelfbench.data import rows
from shelfbench.data.rows import Rows, as_float32, blocks_of, on_disk, rows_of

MATRIX = np.random.default_rng(0).standard_normal((20, 3)).astype(np.float32)
INDEX = np.array([4, 4, 19, 0, 7, 1])

keys = st.one_of(
    st.integers(-6, 5),
    st.slices(6),
    st.lists(st.integers(-6, 5), min_size=1, max_size=9).map(np.array),
    st.lists(st.booleans(), min_size=6, max_size=6).map(np.array),
)


@given(keys, st.sampled_from([np.float32, np.float16]))
def test_reading_some_of_some_rows_is_reading_them_from_a_copy(key, kind):
    stored = MATRIX.astype(kind)
    found, expected = Rows(stored, INDEX)[key], stored[INDEX].astype(np.float32)[key]
    assert found.dtype == np.float32
    assert np.array_equal(found, expected)
    assert np.array_equal(Rows(stored)[2:8][key], stored[2:8].astype(np.float32)[key])


@given(st.slices(6), st.lists(st.integers(-6, 5), max_size=9).map(lambda values: np.array(values, int)))
def test_rows_of_rows_are_rows_of_the_matrix(part, numbers):
    some = Rows(MATRIX, INDEX)
    assert np.array_equal(np.asarray(some.only(part)), MATRIX[INDEX][part])
    assert np.array_equal(np.asarray(some.only(numbers)), MATRIX[INDEX][numbers])
    assert np.array_equal(np.asarray(Rows(MATRIX, slice(2, 17)).only(part)), MATRIX[2:17][part])


def test_functions_and_operators_read_all_of_them():
    some, copy = Rows(MATRIX.astype(np.float16), INDEX), MATRIX.astype(np.float16)[INDEX].astype(np.float32)
    assert np.array_equal(some - copy.mean(axis=0), copy - copy.mean(axis=0))
    assert np.array_equal(some @ np.eye(3, dtype=np.float32), copy)
    assert np.array_equal(np.concatenate([some, some]), np.concatenate([copy, copy]))
    assert np.array_equal(np.stack(list(some)), copy)
    assert np.array_equal(np.add.reduce(some), np.add.reduce(copy))
    assert (some.shape, some.size, some.nbytes, len(some)) == (copy.shape, copy.size, copy.nbytes, len(copy))
    with pytest.raises(ValueError, match="without a copy"):
        np.array(some, copy=False)


@pytest.mark.parametrize("matrix", [MATRIX, Rows(MATRIX)])
def test_few_rows_are_copied_and_many_are_not(matrix, monkeypatch):
    mask = np.arange(20) % 3 > 0
    few = rows_of(matrix, mask)
    assert isinstance(few, np.ndarray)
    monkeypatch.setattr(rows, "IN_MEMORY", 12 * 12)
    many = rows_of(matrix, mask)
    assert isinstance(many, Rows)
    assert np.shares_memory(many.matrix, MATRIX)
    assert np.array_equal(np.asarray(many), few)
    part = rows_of(matrix, slice(3, 9))
    assert np.shares_memory(part.matrix if isinstance(part, Rows) else part, MATRIX)
    assert as_float32(many) is many
    assert np.shares_memory(as_float32(MATRIX), MATRIX)


def test_blocks_cover_all_rows_and_are_no_larger_than_asked():
    blocks = list(blocks_of(MATRIX, 12 * 7))
    assert [block.stop - block.start for block in blocks] == [7, 7, 6]
    assert np.array_equal(np.concatenate([MATRIX[block] for block in blocks]), MATRIX)
    assert list(blocks_of(MATRIX[:0])) == []
    assert len(list(blocks_of(MATRIX, 1))) == 20


def test_what_is_mapped_is_told_from_what_is_in_memory(tmp_path):
    np.save(tmp_path / "m.npy", MATRIX)
    mapped = np.load(tmp_path / "m.npy", mmap_mode="r")
    for matrix in (mapped, np.asarray(mapped), np.asarray(mapped)[3:], Rows(mapped, INDEX), Rows(np.asarray(mapped))):
        assert on_disk(matrix)
    for matrix in (MATRIX, MATRIX[2:], Rows(MATRIX), mapped[INDEX]):
        assert not on_disk(matrix)
