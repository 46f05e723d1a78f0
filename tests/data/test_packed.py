"""Folders and files in which photos are packed in a way that is not read, and tables that repeat what folders say."""

import pytest

from shelfbench.base.errors import InputError
from tests.helpers.cases import put, write_rows
from tests.helpers.catalogues import opened
from tests.helpers.photos import noise_picture


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("shoes.zip", "unpack"),
        ("photos.tar.gz", "unpack"),
        ("data-00000-of-00001.arrow", "to_parquet"),
        ("train.tfrecord", "files in a folder per category"),
        ("train.h5", "files in a folder per category"),
        ("products.xls", "CSV UTF-8"),
        ("products.ods", "CSV UTF-8"),
    ],
)
def test_what_photos_are_packed_in_is_named(tmp_path, name, remedy):
    put(tmp_path / "shop" / "train" / name, b"\0" * 100)
    with pytest.raises(InputError, match=f"contains no product images, but train/{name}") as caught:
        opened(tmp_path / "shop")
    assert remedy in caught.value.remedy
    with pytest.raises(InputError, match="is not a catalogue") as caught:
        opened(tmp_path / "shop" / "train" / name)
    assert remedy in caught.value.remedy


def shop(root):
    """Draw photos in folders of categories below parts of a split, and return a row for each."""
    rows = []
    for part in ("train", "test"):
        for number in range(6):
            name = f"{part}/{('hats', 'boots')[number % 2]}/{number}.png"
            put(root / name, noise_picture(number))
            rows.append([name, ("hats", "boots")[number % 2]])
    return rows


def test_tables_that_say_what_the_folders_say_are_no_question(tmp_path):
    rows = shop(tmp_path)
    write_rows(tmp_path / "train.csv", rows[:6])
    write_rows(tmp_path / "test.csv", rows[6:])
    catalogue = opened(tmp_path)
    assert catalogue.split.tolist() == ["test"] * 6 + ["train"] * 6
    assert "not read, beside the folders: test.csv, train.csv" in catalogue.notes


@pytest.mark.parametrize("changed", [0, 5, 11])
def test_a_table_that_says_something_else_is_one(tmp_path, changed):
    rows = shop(tmp_path)
    rows[changed][1] = "caps"
    write_rows(tmp_path / "all.csv", rows)
    with pytest.raises(InputError, match=r"folders of categories, but also all\.csv, which says the category of 12"):
        opened(tmp_path)
