"""Embeddings in tables and files of arrays: what is read, whose it is, and what is refused."""

import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from shelfbench.base.console import Console
from shelfbench.base.errors import InputError
from shelfbench.data.datasets import open_path
from shelfbench.data.embedding_names import source_of
from shelfbench.data.embeddings import Embeddings
from shelfbench.data.sources.keyed_vectors import split_source
from shelfbench.data.sources.settings import DatasetSettings
from shelfbench.data.sources.vectors import Vectors

QUIET = Console(quiet=True)
WITHOUT = DatasetSettings(photos=False)
IDS = [f"p{number}" for number in range(12)]
VALUES = np.random.default_rng(3).normal(size=(12, 5)).astype(np.float32)


def table(values=VALUES, kind=None, **columns):
    """A catalogue of two categories as an Arrow table."""
    cells = values if isinstance(values, pa.Array | pa.ChunkedArray) else pa.array(list(values), kind)
    names = {"product_id": IDS, "category": ["red", "blue"] * 6, "embedding": cells, **columns}
    return pa.table(names)


def written(folder, content, name="shop.parquet"):
    path = folder / name
    if name.endswith(".parquet"):
        pq.write_table(content, path, row_group_size=5)
    elif name.endswith(".jsonl"):
        path.write_text("\n".join(json.dumps(row) for row in content.to_pylist()))
    else:
        rows = [{**row, "embedding": json.dumps(row["embedding"])} for row in content.to_pylist()]
        pd.DataFrame(rows).to_csv(path, index=False)
    return path


def embeddings(path, source="embedding"):
    catalogue = open_path(path, "shop", WITHOUT, QUIET)
    return catalogue, Embeddings(source, catalogue, WITHOUT, QUIET)


def by_product(path, source="embedding"):
    """Return the embedding of each product that has one."""
    catalogue, found = embeddings(path, source)
    features = found.features(np.arange(len(catalogue.images)))
    rows = zip(catalogue.product_id[catalogue.image_product], features.matrix, features.readable, strict=True)
    return {str(key): row for key, row, readable in rows if readable}


def same(found, expected=VALUES):
    assert list(found) == IDS
    np.testing.assert_array_equal(np.stack([found[key] for key in IDS]), expected)


@pytest.mark.parametrize("name", ["shop.parquet", "shop.jsonl", "shop.csv"])
def test_a_column_is_read_from_any_table(name, tmp_path):
    same(by_product(written(tmp_path, table(), name)))


@pytest.mark.parametrize(
    "kind",
    [
        pa.list_(pa.float16()),
        pa.list_(pa.float32()),
        pa.large_list(pa.float64()),
        pa.list_(pa.float32(), 5),
        pa.fixed_shape_tensor(pa.float32(), [5]),
    ],
    ids=str,
)
def test_every_type_of_lists_is_read(kind, tmp_path):
    rounded = VALUES.astype(np.float16) if "half" in str(kind) else VALUES
    storage = getattr(kind, "storage_type", kind)
    cells = pa.array(list(rounded), storage)
    if storage is not kind:
        cells = pa.ExtensionArray.from_storage(kind, cells)
    same(by_product(written(tmp_path, table(cells))), rounded.astype(np.float32))


@settings(max_examples=30, deadline=None)
@given(
    st.integers(1, 20).flatmap(
        lambda count: st.tuples(
            arrays.arrays(np.float32, (count, 3), elements=st.floats(-1e6, 1e6, width=32)),
            st.lists(st.booleans(), min_size=count, max_size=count),
            st.lists(st.integers(0, count - 1), unique=True).map(sorted),
        )
    )
)
def test_any_rows_of_a_file_are_what_was_written(drawn):
    import tempfile
    from pathlib import Path

    values, there, asked = drawn
    cells = [list(map(float, row)) if kept else None for row, kept in zip(values, there, strict=True)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.parquet"
        pq.write_table(pa.table({"e": pa.array(cells, pa.list_(pa.float32()))}), path, row_group_size=4)
        found = {}
        for block in Vectors("e").blocks(path, np.array(asked, np.int64)):
            found.update(zip([asked[position] for position in block.asked], block.values.tolist(), strict=True))
    assert found == {row: values[row].tolist() for row in asked if there[row]}


def test_what_is_not_there_has_no_zeros_in_its_place(tmp_path):
    cells = [None if number in (0, 7) else list(row) for number, row in enumerate(VALUES)]
    cells[3] = []
    _, found = embeddings(written(tmp_path, table(pa.array(cells, pa.list_(pa.float32())))))
    features = found.features(np.arange(12))
    assert np.flatnonzero(~features.readable).tolist() == [0, 3, 7]
    assert features.reasons == dict.fromkeys([0, 3, 7], "no embedding is given")
    np.testing.assert_array_equal(features.matrix[features.readable], VALUES[features.readable])


def test_the_hash_is_that_of_the_contents(tmp_path):
    other = VALUES.copy()
    other[11, 4] += 1
    hashes = [
        embeddings(written(tmp_path, content, name))[1].given.sha256
        for content, name in ((table(), "a.parquet"), (table(), "b.jsonl"), (table(other), "c.parquet"))
    ]
    assert hashes[0] == hashes[1] != hashes[2]


def test_rows_in_any_order_are_those_of_their_images(tmp_path):
    _, found = embeddings(written(tmp_path, table()))
    order = np.array([7, 2, 2, 11, 0])
    np.testing.assert_array_equal(found.features(order).matrix, VALUES[order])


REFUSED = {
    "ragged": ([[1.0, 2.0]] * 11 + [[1.0]], None, "row 11: the embedding has 1 numbers, but .*row 0 has 2"),
    "nan": ([[1.0, 2.0]] * 3 + [[float("nan"), 1.0]] + [[1.0, 2.0]] * 8, None, "row 3: the embedding contains NaN"),
    "inf": ([[1.0, float("inf")]] * 12, None, "row 0: the embedding contains infinity"),
    "large": ([[1e300]] * 12, pa.list_(pa.float64()), "row 0: the embedding contains a number above 1e38"),
    "null within": ([[1.0, None]] * 12, pa.list_(pa.float32()), "row 0: a number of the embedding is null"),
    "whole numbers": ([[1, 2]] * 12, None, "holds whole numbers"),
    "nested": ([[[1.0]]] * 12, None, "holds tables of numbers .*pool them"),
    "text": (["a"] * 12, None, "holds string, not lists of numbers"),
    "one number": ([1.0] * 12, None, "holds double, not lists of numbers"),
    "nothing": ([None] * 12, pa.list_(pa.float32()), "no image of shop has an embedding"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_an_embedding_is_one_line(name, tmp_path):
    cells, kind, message = REFUSED[name]
    with pytest.raises(InputError, match=message):
        embeddings(written(tmp_path, table(pa.array(cells, kind))))


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("[0.1 0.2]", "line 2: the embedding is the text '\\[0.1 0.2\\]', not a list"),
        ('["a", "b"]', "line 2: the embedding is not a list of numbers"),
        ("[true, 1]", "line 2: the embedding is not a list of numbers"),
        ("[1, null]", "line 2: the embedding is not a list of numbers"),
        ("{}", "line 2: the embedding is dict, not a list"),
    ],
)
def test_cells_of_text_that_are_no_lists_are_named(cell, message, tmp_path):
    path = tmp_path / "shop.csv"
    pd.DataFrame({"category": ["a", "b"], "embedding": [cell, "[1, 2]"]}).to_csv(path, index=False)
    with pytest.raises(InputError, match=message):
        embeddings(path)


def test_a_missing_column_lists_those_that_are_there(tmp_path):
    with pytest.raises(InputError, match=r"no column 'vector' of embeddings .it has product_id, category, embedding"):
        embeddings(written(tmp_path, table()), "vector")


def test_a_folder_of_photos_has_no_column(tmp_path):
    for name in ("a/1.jpg", "b/2.jpg"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(b"photo")
    with pytest.raises(InputError, match=r"features:embedding is a column, but shop is not read from a table"):
        embeddings(tmp_path)


def test_zeros_are_told(tmp_path, capsys):
    zeros = VALUES.copy()
    zeros[4] = 0
    embeddings(written(tmp_path, table(zeros)))
    assert "1 embedding is nothing but zeros" in capsys.readouterr().err


def test_a_name_says_where_embeddings_are():
    assert source_of("features:clip") == "clip"
    assert source_of("inception_v3") == source_of("timm:resnet18") == ""
    assert split_source("clip") == (None, "clip")
    path, column = split_source("folder/a.parquet:clip")
    assert (str(path), column) == ("folder/a.parquet", "clip")
    assert str(split_source("a.npy")[0]) == "a.npy"
    with pytest.raises(InputError, match="names no embeddings"):
        source_of("features:")
