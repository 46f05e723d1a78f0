"""A file written in parts is the file written at once, and appears whole or not at all."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shelfbench.base.errors import InputError
from shelfbench.base.parquet_parts import parquet_in_parts
from shelfbench.base.storage import write_parquet
from shelfbench.runs.reading import read_frame


def table_of(rows):
    keys = pa.DictionaryArray.from_arrays(pa.array([row % 3 for row in rows], pa.int32()), pa.array(["a", "b", "c"]))
    lists = pa.ListArray.from_arrays(pa.array(range(len(rows) + 1), pa.int32()), keys)
    names = pa.array([f"n{row}" for row in rows], pa.string())
    return pa.table({"row": pa.array(rows, pa.int64()), "name": names, "lists": lists})


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 3000), min_size=1, max_size=6))
def test_bytes_are_those_of_a_file_written_at_once(tmp_path_factory, sizes):
    folder = tmp_path_factory.mktemp("parts")
    whole, starts = table_of(range(sum(sizes))), [sum(sizes[:number]) for number in range(len(sizes))]
    write_parquet(folder / "whole.parquet", whole)
    with parquet_in_parts(folder / "parts.parquet") as parts:
        for start, size in zip(starts, sizes, strict=True):
            parts.add(table_of(range(start, start + size)))
    assert (folder / "parts.parquet").read_bytes() == (folder / "whole.parquet").read_bytes()


def test_a_row_group_is_written_as_soon_as_it_is_full(tmp_path):
    with parquet_in_parts(tmp_path / "a.parquet", 10) as parts:
        for start in range(0, 35, 7):
            parts.add(table_of(range(start, start + 7)))
    found = pq.ParquetFile(tmp_path / "a.parquet")
    assert [found.metadata.row_group(group).num_rows for group in range(found.num_row_groups)] == [10, 10, 10, 5]
    assert read_frame(tmp_path / "a.parquet")["row"].tolist() == list(range(35))


def fail(path):
    with parquet_in_parts(path, 10) as parts:
        parts.add(table_of(range(25)))
        assert any(found.name.startswith(".partial") for found in path.parent.iterdir())
        raise KeyError


def test_a_block_that_fails_leaves_what_was_there(tmp_path):
    path = tmp_path / "a.parquet"
    with pytest.raises(KeyError):
        fail(path)
    assert list(tmp_path.iterdir()) == []
    write_parquet(path, table_of(range(3)))
    with pytest.raises(KeyError):
        fail(path)
    assert list(tmp_path.iterdir()) == [path]
    assert pq.read_table(path).num_rows == 3


def test_a_file_in_the_way_of_the_folder_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="in the way"), parquet_in_parts(tmp_path / "file" / "a.parquet"):
        pass
