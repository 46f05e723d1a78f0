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


@pytest.mark.parametrize(
    "names",
    [
        ("images", "masks"),
        ("original", "thumbnails"),
        ("100APPLE", "101APPLE"),
        ("2024-01-05", "2024-02-11"),
        ("batch_1", "batch_2", "batch (3)"),
        ("New folder", "New folder (2)"),
    ],
)
def test_folders_that_are_hardly_categories_are_a_question(tmp_path, names):
    for name in names:
        put(tmp_path / name / "1.png", noise_picture(1))
    with pytest.raises(InputError, match="do not look like categories") as caught:
        opened(tmp_path)
    assert "dataset.folders=category" in caught.value.remedy
    assert len(opened(tmp_path, folders="category").categories) == len(names)


@pytest.mark.parametrize(
    "names", [("images", "shoes"), ("101boots", "102boots"), ("202401", "202402"), ("1", "2"), ("party", "photography")]
)
def test_folders_with_other_names_are_categories(tmp_path, names):
    for name in names:
        put(tmp_path / name / "1.png", noise_picture(1))
    assert sorted(category.key for category in opened(tmp_path).categories) == sorted(names)


def test_tables_of_the_parts_of_a_split_are_named(tmp_path):
    for number in range(4):
        put(tmp_path / "images" / f"{number}.png", noise_picture(number))
    for name, numbers in (("shop_train.csv", (0, 1)), ("shop_test.csv", (2, 3))):
        write_rows(tmp_path / name, [[f"images/{number}.png", f"kind{number % 2}"] for number in numbers])
    with pytest.raises(InputError, match=r"but shop_test\.csv, shop_train\.csv") as caught:
        opened(tmp_path)
    assert f"--dataset {tmp_path / 'shop_train.csv'}" in caught.value.remedy
    assert "put all rows into one, with a column split" in caught.value.remedy


def test_what_is_not_on_this_machine_is_told(tmp_path):
    for name in "ab":
        put(tmp_path / name / "1.png", noise_picture(1))
    put(tmp_path / "a" / ".2.png.icloud", b"bplist00")
    assert opened(tmp_path).notes == ("skipped 1 file that is not an image: .2.png.icloud",)
    put(tmp_path / "products.csv", b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n")
    with pytest.raises(InputError, match="but a Git LFS pointer") as caught:
        opened(tmp_path / "products.csv")
    assert "git lfs pull" in caught.value.remedy
