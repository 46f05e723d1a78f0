"""Tables as shops export them: all that is missing is asked at once, and rows that share a product are noticed."""

import csv

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shelfbench.base.errors import InputError
from shelfbench.data.sources.columns import suggestion
from shelfbench.data.sources.settings import DatasetSettings
from shelfbench.data.sources.table_files import named_images
from shelfbench.data.sources.table_products import PERHAPS_PRODUCT, shared_products
from tests.helpers.catalogues import opened
from tests.helpers.photos import noise_picture

GERMAN = ("Artikelnr.", "Bezeichnung", "Warengruppe", "Bild-URL")


def write(path, header, rows):
    with open(path, "w", encoding="utf-8", newline="") as handle:
        csv.writer(handle, delimiter=";").writerows([header, *rows])
    return path


def test_all_that_is_missing_is_asked_at_once(tmp_path):
    table = write(tmp_path / "Artikel.csv", GERMAN, [("1", "x", "Schuhe", "https://shop.example/1.jpg")])
    expected = (
        r"no column 'file_name' and none 'category' \(it has .*\); name the right ones, perhaps with "
        r"--set dataset\.file_name=Bild-URL --set dataset\.category=Warengruppe, "
        r"and --set dataset\.product_id=Artikelnr\. if that names the products"
    )
    with pytest.raises(InputError, match=expected):
        opened(table)
    with pytest.raises(InputError, match=r"no column 'file_name' \(.*perhaps with --set dataset\.file_name=Bild-URL"):
        named_images(table, tmp_path, DatasetSettings(), labelled=False)
    with pytest.raises(InputError, match=r"no column 'file_name' \(.*Bild-URL$") as error:
        opened(table, category="Warengruppe", product_id="Artikelnr.")
    assert "product_id" not in str(error.value)


def test_what_is_not_known_is_left_to_the_reader():
    assert suggestion(["file_name", "category"], ["a", "Kategorie"]) == (
        "name the right ones, perhaps with --set dataset.file_name=COLUMN --set dataset.category=Kategorie"
    )
    assert suggestion("category", ["a", "b"]) == "name the right one with --set dataset.category=COLUMN"


def photos(tmp_path, count):
    for number in range(count):
        (tmp_path / f"{number}.png").write_bytes(noise_picture(number))


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_rows_that_share_an_article_are_noticed(tmp_path, suffix):
    photos(tmp_path, 6)
    rows = [(f"{number // 2:03}", "x", "ab"[number // 4], f"{number}.png") for number in range(6)]
    table = tmp_path / f"shop{suffix}"
    if suffix == ".csv":
        write(table, GERMAN, rows)
    else:
        pd.DataFrame(rows, columns=GERMAN).to_parquet(table)
    names = {"file_name": "Bild-URL", "category": "Warengruppe"}
    catalogue = opened(table, **names)
    assert len(catalogue.product_id) == 6
    [note] = catalogue.notes
    assert "6 rows share their 'Artikelnr.' with another" in note
    assert note.endswith("add --set dataset.product_id=Artikelnr.")
    catalogue = opened(table, **names, product_id="Artikelnr.")
    assert len(catalogue.product_id) == 3
    assert not catalogue.notes


def test_classify_notices_them_too(tmp_path):
    photos(tmp_path, 2)
    table = write(tmp_path / "new.csv", ("sku", "file_name"), [("1", "0.png"), ("1", "1.png")])
    found = named_images(table, tmp_path, DatasetSettings(), labelled=False)
    assert "2 rows share their 'sku'" in found.notes[0]
    assert list(found.rows.columns) == ["where"]


def test_a_category_in_the_first_row_of_a_product_is_enough():
    """As Shopify exports products."""
    role = f"{PERHAPS_PRODUCT}Handle"
    for empty in ("", None, float("nan")):
        rows = pd.DataFrame({"category": ["a", empty, "b", "b"], role: list("xxyz")})
        assert "2 rows share their 'Handle'" in shared_products(rows, "shop.csv")[1][0]


@pytest.mark.parametrize(
    ("ids", "categories"),
    [
        ("1234", "aabb"),  # nothing is shared
        ("1123", "abbb"),  # an article in two categories
        ("1122", "aabb"),  # the column says the categories in other words
        (["", "", None, float("nan")], "aabb"),  # empty cells are not one product
    ],
)
def test_other_columns_are_not_taken_for_products(ids, categories):
    rows = pd.DataFrame({"category": list(categories), "where": list("wxyz"), f"{PERHAPS_PRODUCT}sku": list(ids)})
    left, notes = shared_products(rows, "shop.csv")
    assert not notes
    assert list(left.columns) == ["category", "where"]


@given(st.lists(st.sampled_from(["Art. Nr.", "sku", "SKU", "Bild-URL", "Warengruppe", "x"]), max_size=6))
def test_a_suggested_column_is_in_the_table_once(present):
    for role in ("file_name", "category", "product_id"):
        said = suggestion(role, present)
        column = said.rpartition("=")[2].strip("'")
        assert column == "COLUMN" or present.count(column) == 1
