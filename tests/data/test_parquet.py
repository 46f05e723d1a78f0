"""Parquet in the Hugging Face layout: shards, columns, splits and faulty files."""

import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from shelfbench.base.errors import InputError
from tests.helpers.catalogues import opened, write_shards
from tests.helpers.photos import noise_picture


def test_parquet_shards_are_one_catalogue(tmp_path):
    catalogue = opened(write_shards(tmp_path / "p"))
    assert len(catalogue.product_id) == 16
    assert catalogue.split is None, "shards that are all named train are not a split"
    order = [15, 0, 7, 8, 3]
    assert catalogue.images.read(order) == [noise_picture(100 * (i // 8) + i % 8) for i in order]
    assert catalogue.images.where(9) == "train-00001-of-00002.parquet, row 1"


def test_parquet_products_of_several_images_and_levels(tmp_path):
    folder = write_shards(
        tmp_path / "p",
        product_id=lambda shard: [i // 2 * 2 for i in range(8)],
        category=["a", "a", "b", "b", "a", "a", "b", "b"],
        level1=["X", "X", "Y", "Y", "X", "X", "X", "Y"],
    )
    catalogue = opened(folder)
    assert catalogue.product_id.tolist() == [0, 2, 4, 6]
    assert np.bincount(catalogue.image_product).tolist() == [4, 4, 4, 4]
    assert catalogue.images.read([0, 1, 2, 3]) == [noise_picture(i) for i in (0, 1, 100, 101)]
    assert [category.levels for category in catalogue.categories] == [("X",), ("Y",)]


def test_parquet_contradictions_are_named(tmp_path):
    with pytest.raises(
        InputError, match=r"train-00000-of-00002.parquet, row 1: product 5 has the category 'c1' here but 'c0'"
    ):
        opened(write_shards(tmp_path / "a", product_id=[5, 5, 1, 2, 3, 4, 6, 7]))
    folder = write_shards(
        tmp_path / "b", ("train-0.parquet", "test-0.parquet"), category=["a"] * 8, product_id=list(range(8))
    )
    with pytest.raises(InputError, match="product 0 has the split 'train' here but 'test'"):
        opened(folder)


def test_parquet_split_by_file_and_by_column(tmp_path):
    catalogue = opened(write_shards(tmp_path / "a", ("train-0.parquet", "val-0.parquet", "test-0.parquet")))
    assert pd.Series(catalogue.split).value_counts().to_dict() == {"train": 8, "validation": 8, "test": 8}
    column = ["train"] * 4 + ["dev", "dev", "test", "test"]
    catalogue = opened(write_shards(tmp_path / "b", part=column), split="part")
    assert catalogue.split.tolist() == 2 * (["train"] * 4 + ["validation"] * 2 + ["test"] * 2)
    with pytest.raises(InputError, match="row 4 has the split 'holdout'"):
        opened(write_shards(tmp_path / "c", split=["train"] * 4 + ["holdout"] * 4))


def test_a_column_of_splits_may_not_contradict_the_names_of_the_shards(tmp_path):
    shards = ("train-0.parquet", "test-0.parquet")
    agreeing = write_shards(tmp_path / "a", shards, split=lambda number: [("train", "test")[number]] * 8)
    assert set(opened(agreeing).split) == {"train", "test"}
    with pytest.raises(
        InputError, match=r"test-0\.parquet, row 3 has the split 'train' in the table, but lies in a part"
    ):
        opened(
            write_shards(
                tmp_path / "b", shards, split=lambda number: ["test"] * 3 * number + ["train"] * (8 - 3 * number)
            )
        )


def test_parquet_columns_are_checked(tmp_path):
    folder = write_shards(tmp_path / "p", category=None, kind=["x", "y"] * 4)
    with pytest.raises(InputError, match=r"no column 'category' \(it has image, kind\).*dataset.category=COLUMN"):
        opened(folder)
    assert [category.key for category in opened(folder, category="kind").categories] == ["x", "y"]
    with pytest.raises(InputError, match=r"no column 'nope'.*dataset.product_id"):
        opened(folder, category="kind", product_id="nope")
    with pytest.raises(InputError, match=r"column 'kind' is .*not a struct"):
        opened(folder, category="kind", image="kind")
    (folder / "train-00001-of-00002.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(InputError, match=r"train-00001-of-00002.parquet is not a readable Parquet"):
        opened(folder, category="kind")


def test_parquet_missing_categories_and_class_labels(tmp_path):
    names = {"info": {"features": {"category": {"names": ["Shoes", "Bags"], "_type": "ClassLabel"}}}}
    folder = write_shards(
        tmp_path / "p", category=[0, 1, None, 1, 0, 1, 0, 1], metadata={"huggingface": json.dumps(names)}
    )
    catalogue = opened(folder)
    assert [(category.key, category.name) for category in catalogue.categories] == [
        ("Bags", "Bags"),
        ("Shoes", "Shoes"),
    ]
    assert catalogue.unlabelled == 2
    assert catalogue.images.read([2]) == [noise_picture(3)]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"category": [["a"]] * 4 + [["b"]] * 4}, "not a plain value"),
        ({"product_id": [[i] for i in range(8)]}, "not a plain value"),
        ({"split": ["train"] * 7 + [None]}, "has no split"),
        ({"image": [{"bytes": "text", "path": ""}] * 8}, "not a struct of bytes"),
    ],
)
def test_parquet_values_of_wrong_types_are_refused(tmp_path, columns, message):
    with pytest.raises(InputError, match=message):
        opened(write_shards(tmp_path / "p", **columns))


def test_parquet_ids_of_mixed_types_and_categorical_levels(tmp_path):
    def ids(shard):
        return [i // 2 for i in range(8)] if shard == 0 else [str(i // 2) for i in range(8)]

    level = pa.array(["x", None] * 4).dictionary_encode()
    catalogue = opened(write_shards(tmp_path / "p", product_id=ids, category=["c"] * 8, level1=level))
    assert sorted(catalogue.product_id) == ["0", "1", "2", "3"]
    assert np.bincount(catalogue.image_product).tolist() == [4, 4, 4, 4]
    binary = opened(write_shards(tmp_path / "b", category=[b"shoe"] * 8))
    assert [category.key for category in binary.categories] == ["shoe"]
