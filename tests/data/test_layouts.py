"""Each row of the tables in docs/data.md: the layout is drawn, opened, and held against what the row says."""

import os
import re

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shelfbench.base.errors import InputError
from shelfbench.data.sources.settings import DatasetSettings
from shelfbench.data.sources.split_words import split_of, split_within
from tests.helpers.cases import put, write_rows
from tests.helpers.catalogues import documents, opened, write_bson
from tests.helpers.photos import noise_picture
from tests.helpers.sources import ROOT

TEXT = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")


def table_rows(columns):
    """Rows of the tables of so many columns whose first is a layout."""
    found = []
    for table in re.findall(r"^\| PATH contains.*?\n\n", TEXT + "\n\n", re.MULTILINE | re.DOTALL):
        rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.strip().splitlines()]
        if len(rows[0]) == columns:
            found += rows[2:]
    return found


READ, STOPPED = table_rows(4), table_rows(2)


def rows_of(kind, photos, folder):
    """The rows of a table of photos, half of them blue and half red, as a phrase of the documentation says."""
    rows = [[os.path.relpath(name, folder or "."), ("blue", "red")[i % 2]] for i, name in enumerate(photos)]
    if kind == "half of the photos":
        return rows[: len(rows) // 2]
    if kind == "names without folders":
        return [[os.path.basename(name), category] for name, category in rows]
    if kind == "other names":
        return [[f"other-{name}", category] for name, category in rows]
    if kind == "with a column split":
        return [[*row, ("train", "test")[i // 2 % 2]] for i, row in enumerate(rows)]
    assert not kind, kind
    return rows


def draw(layout, root):
    """Draw what a cell lists."""
    items = re.findall(r"`([^`]+)`(?: \(([^)]+)\))?", layout)
    assert items, layout
    root.mkdir()
    photos, seed = [], 0
    for item, _ in items:
        if item.endswith("/"):
            (root / item).mkdir()
        if item.endswith(".jpg"):
            for number in range(4 if "*" in item else 1):
                photos.append(item.replace("*", f"{item.count('/')}{number}"))
                put(root / photos[-1], noise_picture(seed := seed + 1))
    for item, kind in items:
        folder, name = os.path.split(item)
        inside = [photo for photo in photos if not folder or photo.startswith(folder + "/")]
        if name == "metadata.parquet":
            pd.DataFrame(rows_of(kind, inside, folder), columns=["file_name", "category"]).to_parquet(root / item)
        elif name.endswith(".parquet"):
            cells = [{"bytes": noise_picture(seed := seed + 1), "path": f"{i}.jpg"} for i in range(6)]
            put(root / item, b"")
            pq.write_table(pa.table({"image": cells, "category": ["blue", "red"] * 3}), root / item)
        elif name.endswith(".csv") and name != "category_names.csv":
            header = ["file_name", "category", *(["split"] if kind == "with a column split" else [])]
            write_rows(root / item, rows_of(kind, inside, folder), header)
        elif name == "train.bson":
            write_bson(root, [{**document, "category_id": 1000 + i % 2} for i, document in enumerate(documents())])
        elif name.endswith((".bson", ".db")):
            put(root / item, b"x")


@pytest.mark.parametrize(("layout", "categories", "split", "said"), READ, ids=[row[0] for row in READ])
def test_a_layout_is_read_as_the_table_says(tmp_path, layout, categories, split, said):
    draw(layout, tmp_path / "shop data")
    catalogue = opened(tmp_path / "shop data")
    assert [category.key for category in catalogue.categories] == categories.split(", ")
    parts = set() if catalogue.split is None else set(catalogue.split)
    assert parts == set(filter(None, split.split(", ")))
    assert all(catalogue.images.read(np.arange(len(catalogue.images)))), "each photo is there"
    assert len(catalogue.notes) == (1 if said else 0), catalogue.notes
    assert said in "".join(catalogue.notes).replace(os.sep, "/")


@pytest.mark.parametrize(("layout", "why"), STOPPED, ids=[row[0] for row in STOPPED])
def test_a_layout_of_two_readings_stops(tmp_path, layout, why):
    draw(layout, tmp_path / "shop data")
    with pytest.raises(InputError) as caught:
        opened(tmp_path / "shop data")
    assert why in str(caught.value).replace(os.sep, "/")
    assert "\n" not in str(caught.value)


def test_the_tables_are_long():
    assert len(READ) >= 30
    assert len(STOPPED) >= 25


def drawn(root, *files):
    """Draw photos at these paths."""
    for number, file in enumerate(files):
        put(root / file, noise_picture(number))
    return root


def shops(root):
    """Draw two departments of two categories each, one of which is in both, with two photos of each product."""
    names = ("men/shoes", "men/shirts", "women/shoes", "women/hats")
    return drawn(root, *(f"{name}/p{product}/{photo}.jpg" for name in names for product in range(3) for photo in "ab"))


def test_the_settings_say_what_folders_mean(tmp_path):
    root = shops(tmp_path / "shop")
    with pytest.raises(InputError, match=r"dataset\.folders=category for men, level1/category"):
        opened(root)
    catalogue = opened(root, folders="level1/category/product_id")
    assert [category.key for category in catalogue.categories] == [
        "men/shirts",
        "men/shoes",
        "women/hats",
        "women/shoes",
    ]
    assert [category.levels for category in catalogue.categories] == [("men",), ("men",), ("women",), ("women",)]
    assert len(catalogue.product_id) == 12
    assert np.bincount(catalogue.image_product).tolist() == [2] * 12
    catalogue = opened(root, folders="-/category/product_id")
    assert [category.key for category in catalogue.categories] == ["hats", "shirts", "shoes"]
    assert len(catalogue.product_id) == 12, "p0 of women's shoes is another product than p0 of men's"
    catalogue = opened(root, folders="category")
    assert [category.key for category in catalogue.categories] == ["men", "women"]
    assert len(catalogue.product_id) == 24


def test_the_settings_say_which_folders_are_a_split(tmp_path):
    root = drawn(tmp_path / "toys", *(f"{name}/{i}.jpg" for name in ("train", "test", "cars") for i in range(3)))
    assert [category.key for category in opened(root, folders="category").categories] == ["cars", "test", "train"]
    with pytest.raises(InputError, match="cars is not a part of a split"):
        opened(drawn(tmp_path / "cars", "cars/a/0.jpg", "train/a/0.jpg"), folders="split/category")
    root = drawn(tmp_path / "new", *(f"{part}/{i}.jpg" for part in ("train/a", "train/b", "test/c") for i in range(3)))
    with pytest.raises(InputError, match="train has none of the categories of test"):
        opened(root)
    assert set(opened(root, folders="split/category").split) == {"train", "test"}


@pytest.mark.parametrize("folders", ["split", "category/category", "kind", "category/", "level0/category", "-"])
def test_folders_that_mean_nothing_are_refused(folders):
    with pytest.raises(InputError, match=r"dataset\.folders is"):
        DatasetSettings(folders=folders)


def test_a_photo_above_the_folders_that_the_settings_name(tmp_path):
    root = drawn(tmp_path / "shop", "a/x/0.jpg", "a/y/1.jpg", "b/2.jpg")
    with pytest.raises(InputError, match=r"b/2\.jpg lies in 1 folder, but dataset\.folders \(level1/category\)"):
        opened(root, folders="level1/category")


def test_a_table_of_something_else_beside_categories(tmp_path):
    root = drawn(tmp_path / "shop", *(f"{name}/{i}.jpg" for name in "ab" for i in range(3)))
    write_rows(root / "metadata.csv", [["x", "1"]], ["title", "price"])
    with pytest.raises(InputError, match=r"if the folders are the categories: --set dataset\.folders=category"):
        opened(root)
    assert len(opened(root, folders="category").product_id) == 6


def test_a_table_that_contradicts_the_folders_is_read_and_told(tmp_path):
    root = drawn(tmp_path / "shop", *(f"{name}/{i}.jpg" for name in "ab" for i in range(3)))
    rows = [[f"{name}/{i}.jpg", "b" if (name, i) == ("a", 0) else name] for name in "ab" for i in range(3)]
    write_rows(root / "metadata.csv", rows)
    catalogue = opened(root)
    assert np.bincount(catalogue.product_category).tolist() == [2, 4]
    [note] = catalogue.notes
    assert "says another category than the folder for 1 of 6 photos" in note


def test_words_of_a_split():
    assert {name: split_of(name) for name in ("Train", "01_train", "test-2", "val.", "training shoes", "0", "")} == {
        "Train": "train",
        "01_train": "train",
        "test-2": "test",
        "val.": "validation",
        "training shoes": None,
        "0": None,
        "": None,
    }
    assert split_within("my_train-data 3") == "train"
    assert split_within("train_test") is None
    assert split_within("trainable") is None


def test_parquet_tables_and_photos_beside_paths(tmp_path):
    root = drawn(tmp_path / "shop", *(f"images/{i}.jpg" for i in range(4)))
    table = pd.DataFrame({"file_name": [f"images/{i}.jpg" for i in range(4)], "category": ["blue", "red"] * 2})
    table.to_parquet(root / "products.parquet")
    with pytest.raises(InputError, match=r"--dataset .*products\.parquet"):
        opened(root)
    catalogue = opened(root / "products.parquet")
    assert catalogue.images.read(range(4)) == [noise_picture(i) for i in range(4)]


@pytest.mark.parametrize("name", ["products.csv", "products.tsv", "products.txt", "products.jsonl", "products.xlsx"])
def test_a_table_by_itself(tmp_path, name):
    root = drawn(tmp_path / "shop", *(f"train/{i}.jpg" for i in range(4)), *(f"test/{i}.jpg" for i in range(2)))
    files = [*(f"train/{i}.jpg" for i in range(4)), *(f"test/{i}.jpg" for i in range(2))]
    table = pd.DataFrame({"file_name": files, "category": ["blue", "red"] * 3})
    if name.endswith("xlsx"):
        table.to_excel(root / name, index=False)
    elif name.endswith("jsonl"):
        table.to_json(root / name, orient="records", lines=True)
    else:
        table.to_csv(root / name, index=False, sep="\t" if name.endswith("tsv") else ",")
    catalogue = opened(root / name)
    assert catalogue.split.tolist() == ["train"] * 4 + ["test"] * 2
    assert all(catalogue.images.read(range(6)))
