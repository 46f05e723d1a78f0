"""What the columns of Parquet files mean: where the photos are, and what the codes of labels say."""

import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shelfbench.base.errors import InputError
from shelfbench.data.catalogue import Absent
from shelfbench.data.sources.parquet import read_parquet
from shelfbench.data.sources.settings import DatasetSettings
from tests.helpers.catalogues import opened, write_shards
from tests.helpers.photos import noise_picture

PHOTOS = [noise_picture(number) for number in range(8)]
ALL = np.arange(8)


def labels(**columns):
    """Make the metadata that Hugging Face writes for columns of labels."""
    features = {column: {"names": names, "_type": "ClassLabel"} for column, names in columns.items()}
    return {"huggingface": json.dumps({"info": {"features": features}})}


def shard(folder, name="train.parquet", metadata=None, **columns):
    folder.mkdir(exist_ok=True)
    table = pa.table({"category": ["a", "b"] * 4, **columns})
    pq.write_table(table.replace_schema_metadata(metadata), folder / name, row_group_size=3)
    return folder


def structs(photos, paths=(None,) * 8, kind=pa.binary):
    fields = pa.struct([("bytes", kind()), ("path", pa.string())])
    return pa.array([{"bytes": data, "path": path} for data, path in zip(photos, paths, strict=True)], fields)


@pytest.mark.parametrize("kind", [pa.binary, pa.large_binary])
def test_photos_as_plain_bytes_or_in_structs(tmp_path, kind):
    for column in (pa.array(PHOTOS, kind()), structs(PHOTOS, kind=kind)):
        assert opened(shard(tmp_path / "p", image=column)).images.read(ALL) == PHOTOS


def test_the_only_column_of_photos_is_taken_whatever_its_name(tmp_path):
    catalogue = opened(shard(tmp_path / "p", img=structs(PHOTOS)))
    assert catalogue.images.read(ALL) == PHOTOS
    assert catalogue.notes == ("the photos are those of the column 'img'",)
    folder = shard(tmp_path / "p", front=structs(PHOTOS), back=structs(PHOTOS[::-1]))
    with pytest.raises(InputError, match=r"the columns of images front, back; choose one with --set dataset\.image"):
        opened(folder)
    assert opened(folder, image="back").images.read(ALL) == PHOTOS[::-1]


def test_a_row_without_a_photo_says_so(tmp_path):
    column = structs([None, *PHOTOS[1:]])
    [photo, other] = opened(shard(tmp_path / "p", image=column)).images.read([0, 1])
    assert isinstance(photo, Absent)
    assert (photo, photo.reason, other) == (b"", "null in the Parquet file", PHOTOS[1])


@pytest.mark.parametrize("statistics", [True, False])
@pytest.mark.parametrize("form", ["nulls", "no field"])
def test_paths_without_bytes_are_followed_or_said(tmp_path, form, statistics):
    names = [f"images/p{number}.png" for number in range(8)]
    column = structs([None] * 8, names) if form == "nulls" else pa.array([{"path": name} for name in names])
    folder = tmp_path / "p"
    (folder / "images").mkdir(parents=True)
    table = pa.table({"category": ["a", "b"] * 4, "image": column})
    pq.write_table(table, folder / "train.parquet", row_group_size=3, write_statistics=statistics)
    with pytest.raises(InputError, match=r"column 'image' of .*train\.parquet holds paths, not photos"):
        opened(folder / "train.parquet")
    for name, photo in zip(names, PHOTOS, strict=True):
        (folder / name).write_bytes(photo)
    assert opened(folder / "train.parquet").images.read(ALL) == PHOTOS


def test_names_in_shards_with_their_split(tmp_path):
    folder = tmp_path / "p"
    names = [f"images/p{number}.png" for number in range(8)]
    (folder / "images").mkdir(parents=True)
    for name, photo in zip(names, PHOTOS, strict=True):
        (folder / name).write_bytes(photo)
    for part in ("train", "test"):
        half = slice(0, 4) if part == "train" else slice(4, 8)
        pq.write_table(pa.table({"category": ["a", "b"] * 2, "file_name": names[half]}), folder / f"{part}.parquet")
    files = [folder / "train.parquet", folder / "test.parquet"]
    catalogue = read_parquet(files, "shards", DatasetSettings())
    assert catalogue.images.read(ALL) == PHOTOS
    assert pd.Series(catalogue.split).value_counts().to_dict() == {"train": 4, "test": 4}


def test_a_column_of_text_is_not_one_of_photos(tmp_path):
    folder = shard(tmp_path / "p", image=[f"p{number}.png" for number in range(8)])
    with pytest.raises(InputError, match=r"'image' is string.*--set dataset\.file_name=image"):
        opened(folder)
    with pytest.raises(InputError, match=r"no column 'image'.*perhaps with --set dataset\.file_name=image_url"):
        opened(shard(tmp_path / "p", image_url=["x"] * 8))
    for number in range(8):
        (folder / f"p{number}.png").write_bytes(PHOTOS[number])
    shard(folder, image=[f"p{number}.png" for number in range(8)])
    assert opened(folder / "train.parquet", file_name="image").images.read(ALL) == PHOTOS


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.dictionary(pa.int8(), pa.string())])
def test_text_of_every_kind(tmp_path, kind):
    folder = shard(tmp_path / "p", image=structs(PHOTOS), level1=pa.array(["X", None] * 4).cast(kind))
    pq.write_table(
        pq.read_table(folder / "train.parquet").set_column(0, "category", pa.array(["b", None] * 4, kind)),
        folder / "train.parquet",
    )
    catalogue = opened(folder)
    assert [(category.key, category.levels) for category in catalogue.categories] == [("b", ("X",))]
    assert catalogue.unlabelled == 4


def codes(folder, numbers, kind=pa.int64, **metadata):
    table = pa.table({"category": pa.array(numbers, kind()), "image": structs(PHOTOS)})
    folder.mkdir(exist_ok=True)
    pq.write_table(table.replace_schema_metadata(labels(**metadata)), folder / "train.parquet")
    return folder


def test_codes_outside_the_names_are_no_label(tmp_path):
    catalogue = opened(codes(tmp_path / "p", [0, 1, -1, 0, 1, 99, None, 0], category=["Shoes", "Bags"]))
    assert [category.key for category in catalogue.categories] == ["Bags", "Shoes"]
    assert [catalogue.categories[code].key for code in catalogue.product_category] == [
        "Shoes",
        "Bags",
        "Shoes",
        "Bags",
        "Shoes",
    ]
    assert catalogue.unlabelled == 3
    assert catalogue.notes == (
        "1 photo has a code that the file gives no name, such as 99, and count as without a category",
    )
    named = opened(codes(tmp_path / "p", [0, 1] * 4, pa.uint8, category={"0": "Shoes", "1": "Bags"}))
    assert [category.key for category in named.categories] == ["Bags", "Shoes"]


def test_names_that_are_not_unique_leave_the_codes(tmp_path):
    catalogue = opened(codes(tmp_path / "p", [0, 1, 2, -1] * 2, category=["crane", "crane", "bird"]))
    assert [(category.key, category.name) for category in catalogue.categories] == [
        ("0", "crane"),
        ("1", "crane"),
        ("2", "bird"),
    ]
    assert catalogue.unlabelled == 2


def test_texts_keep_their_words_whatever_the_schema_names(tmp_path):
    folder = shard(tmp_path / "p", image=structs(PHOTOS), metadata=labels(category=["x", "y"]))
    assert [category.key for category in opened(folder).categories] == ["a", "b"]


def test_shards_that_name_their_codes_differently_stop(tmp_path):
    folder = write_shards(tmp_path / "p", category=[0, 1] * 4, metadata=labels(category=["Shoes", "Bags"]))
    pq.write_table(
        pq.read_table(folder / "train-00001-of-00002.parquet").replace_schema_metadata(
            labels(category=["Bags", "Shoes"])
        ),
        folder / "train-00001-of-00002.parquet",
    )
    with pytest.raises(InputError, match=r"give the codes of the column 'category' different names"):
        opened(folder)


def test_levels_and_further_labels_have_their_names_too(tmp_path):
    folder = tmp_path / "p"
    folder.mkdir()
    table = pa.table({"category": [0, 1] * 4, "level1": [0, 0] * 4, "style": [1, -1] * 4, "image": structs(PHOTOS)})
    named = labels(category=["Shoes", "Bags"], level1=["Wear"], style=["plain", "gaudy"])
    pq.write_table(table.replace_schema_metadata(named), folder / "a.parquet")
    catalogue = opened(folder, labels=("style",))
    assert [category.levels for category in catalogue.categories] == [("Wear",), ("Wear",)]
    assert catalogue.labels.names == ("style=gaudy",)
    assert np.diff(catalogue.labels.start).tolist() == [1, 0] * 4
