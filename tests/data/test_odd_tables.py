"""Tables with titles, headers, splits and rows in unusual places: read as a person would, and told."""

import json
from collections import Counter

import pandas as pd
import pytest

from shelfbench.base.errors import InputError
from tests.helpers.catalogues import opened
from tests.helpers.photos import noise_picture

HEADER = "file_name,category"


@pytest.fixture
def shop(tmp_path):
    """Make eight photos in images/, without a table."""
    (tmp_path / "images").mkdir()
    for number in range(8):
        (tmp_path / "images" / f"p{number}.png").write_bytes(noise_picture(number))
    return tmp_path


def lines(*more, start=0, stop=8):
    """Write a line for each photo, half of them hats, with further cells."""
    return [
        ",".join([f"images/p{n}.png", ("hats", "boots")[n % 2], *(cell[n % len(cell)] for cell in more)])
        for n in range(start, stop)
    ]


def table(folder, *text, name="metadata.csv"):
    (folder / name).write_text("\n".join(text), encoding="utf-8")
    return folder / name


def kinds(catalogue):
    return Counter(catalogue.categories[code].key for code in catalogue.product_category)


@pytest.mark.parametrize("above", [["Products 2024", ""], ["# exported", ",", ",,"], ["a;b", "Total,8"]])
def test_titles_above_the_column_names_are_told_and_not_read(shop, above):
    table(shop, *above, HEADER, *lines())
    catalogue = opened(shop)
    assert kinds(catalogue) == {"hats": 4, "boots": 4}
    assert any(f"in line {len(above) + 1} of metadata.csv" in note for note in catalogue.notes)


def test_the_line_of_a_fault_is_counted_from_the_top_of_the_file(shop):
    path = table(shop, "Products", "", HEADER, *lines(), "only one cell")
    with pytest.raises(InputError, match=r"metadata\.csv, line 12 has only 1 cells"):
        opened(path)


def test_a_first_line_with_one_of_the_columns_is_the_header(shop):
    path = table(shop, "file_name,kind", HEADER, *lines())
    with pytest.raises(InputError, match=r"no column 'category' \(it has file_name, kind\)"):
        opened(path)


@pytest.mark.parametrize("suffix", ["csv", "xlsx"])
def test_column_names_that_occur_again_are_not_a_photo(shop, suffix):
    rows = [HEADER, *lines(stop=4), HEADER, *lines(start=4), "\ufeffFile Name,CATEGORY"]
    path = table(shop, *rows, name="products.csv")
    if suffix == "xlsx":
        path = shop / "products.xlsx"
        pd.DataFrame([row.split(",") for row in rows]).to_excel(path, index=False, header=False)
    catalogue = opened(path)
    assert kinds(catalogue) == {"hats": 4, "boots": 4}
    assert any("repeats its column names in line 6 and 1 more" in note for note in catalogue.notes)


def test_titles_in_a_workbook_are_told_and_not_read(shop):
    rows = [["Products", None], [None, None], *(row.split(",") for row in [HEADER, *lines()])]
    pd.DataFrame(rows).to_excel(shop / "metadata.xlsx", index=False, header=False)
    catalogue = opened(shop)
    assert kinds(catalogue) == {"hats": 4, "boots": 4}
    assert any("in row 3 of metadata.xlsx" in note for note in catalogue.notes)


PARTS = ("train", "Train ", "VAL", "test")


@pytest.mark.parametrize("name", ["set", "Subset", "usage"])
@pytest.mark.parametrize("form", ["csv", "parquet", "jsonl"])
def test_a_split_in_a_column_of_another_name_is_read_and_told(shop, name, form):
    rows = [dict(zip(("file_name", "category", name), row.split(","), strict=True)) for row in lines(PARTS)]
    path = shop / f"products.{form}"
    if form == "csv":
        pd.DataFrame(rows).to_csv(path, index=False)
    elif form == "parquet":
        pd.DataFrame(rows).to_parquet(path)
    else:
        path.write_text("\n".join(map(json.dumps, rows)))
    catalogue = opened(path)
    assert Counter(catalogue.split) == {"train": 4, "validation": 2, "test": 2}
    assert any(f"the split is that of the column {name!r}" in note for note in catalogue.notes)


@pytest.mark.parametrize(
    ("name", "cells", "said"),
    [
        ("set", ("train", "test", "spare"), "but also 'spare'"),
        ("is_train", ("True", "False"), "'is_train' may say the split"),
        ("is_valid", ("0", "1"), "'is_valid' may say the split"),
        ("set", ("red", "green"), ""),
        ("usage", ("train", "casual"), ""),
        ("is_train", ("steam", "diesel"), ""),
    ],
)
def test_what_may_be_a_split_is_told_and_nothing_else(shop, name, cells, said):
    catalogue = opened(table(shop, f"{HEADER},{name}", *lines(cells)))
    assert catalogue.split is None
    assert [note for note in catalogue.notes if "split" in note] == [
        note for note in catalogue.notes if said and said in note
    ]
    assert bool(said) == any(said in note for note in catalogue.notes if said)


def test_a_column_split_comes_first(shop):
    catalogue = opened(table(shop, f"{HEADER},set,split", *lines(("train", "test"), ("test", "train"))))
    assert catalogue.split is not None
    assert catalogue.split[0] == "test"
    assert not any("'set'" in note for note in catalogue.notes)


def test_rows_without_photo_and_category_are_told_and_skipped(shop):
    catalogue = opened(table(shop, HEADER, *lines(), ",", " ,", ", ", "\t, "))
    assert kinds(catalogue) == {"hats": 4, "boots": 4}
    catalogue = opened(table(shop, f"{HEADER},count", *lines("1"), ",,8", ",,9"))
    assert kinds(catalogue) == {"hats": 4, "boots": 4}
    assert "2 rows of metadata.csv name no photo and were skipped (the first is line 10)" in catalogue.notes


def test_a_product_without_a_photo_stays_a_product(shop):
    catalogue = opened(table(shop, HEADER, *lines(), ",hats", ",boots"))
    assert kinds(catalogue) == {"hats": 5, "boots": 5}
    photos = catalogue.images.read(range(10))
    assert [getattr(data, "reason", "") for data in photos] == [""] * 8 + ["no photo is named"] * 2
    assert catalogue.images.where(8) == "metadata.csv, line 10, which names no photo"
    assert any("2 rows of metadata.csv name no photo, so their products have none" in note for note in catalogue.notes)


def test_variants_of_a_product_need_no_photo(shop):
    """As Shopify exports: the first row of a product says all, the next ones further photos and variants."""
    rows = [f"images/p{n}.png,{('hats', 'boots')[n % 2] if n < 4 else ''},{n % 4}" for n in range(8)]
    variants = [f",,{n}" for n in range(4)] + [",hats,0", ",hats,9"]
    catalogue = opened(table(shop, f"{HEADER},product_id", *rows, *variants))
    assert kinds(catalogue) == {"hats": 3, "boots": 2}
    assert len(catalogue.images) == 9
    assert any(
        "5 rows of metadata.csv name no photo and were skipped (the first is line 10)" in n for n in catalogue.notes
    )
    assert any("1 row of metadata.csv names no photo, so its product has none (line 15)" in n for n in catalogue.notes)


def test_a_category_below_several_levels_is_told(shop):
    catalogue = opened(table(shop, f"{HEADER},level1,level2", *lines(("men", "women", "women"), "a")))
    assert [category.levels for category in catalogue.categories] == [("women", "a"), ("men", "a")]
    [note] = catalogue.notes
    assert note.startswith(
        "2 categories have several levels above, such as 'boots', which is in 'women/a' and in 'men/a'"
    )
    assert opened(table(shop, f"{HEADER},level1", *lines(("men", "women")))).notes == ()


@pytest.mark.parametrize("wrap", ['"{}"', "{}^", "{}::"])
def test_whole_lines_in_one_cell_are_told(shop, wrap):
    rows = [HEADER, *lines()]
    if wrap != '"{}"':
        rows = [row.replace(",", wrap[2:]) for row in rows]
        wrap = "{}"
    with pytest.raises(InputError, match="has no column 'file_name'") as caught:
        opened(table(shop, *map(wrap.format, rows)))
    assert "without quotation marks around whole lines" in caught.value.remedy


def test_the_only_column_of_bytes_is_offered(tmp_path):
    pd.DataFrame({"jpg": [noise_picture(0)], "category": ["a"]}).to_parquet(tmp_path / "a.parquet")
    with pytest.raises(InputError, match="no column 'image'") as caught:
        opened(tmp_path)
    assert "perhaps with --set dataset.image=jpg" in caught.value.remedy


def test_a_partitioned_table_is_told(tmp_path):
    for name in "ab":
        (tmp_path / f"category={name}").mkdir()
        pd.DataFrame({"image": [noise_picture(0)]}).to_parquet(tmp_path / f"category={name}" / "part-0.parquet")
    with pytest.raises(InputError, match=r"folders \(category=a, category=b\) hold one of its columns"):
        opened(tmp_path)


def test_half_a_character_in_json_is_one_line(shop):
    rows = [json.dumps({"file_name": f"images/p{n}.png", "category": "ab"[n % 2]}) for n in range(8)]
    path = table(shop, *rows[:-1], rows[-1].replace('"b"', r'"b\ud83d"'), name="products.jsonl")
    with pytest.raises(InputError, match=r"products\.jsonl, line 8 is not JSON"):
        opened(path)


def test_a_cell_without_end_is_one_line(shop):
    path = table(shop, f"{HEADER},text", *lines("a"), f'images/p0.png,hats,"{"x" * (1 << 24)}x"')
    with pytest.raises(InputError, match=r"line 10: a cell has more than 16,777,216 characters"):
        opened(path)


def test_what_is_hardly_a_table_is_a_short_line(shop):
    with pytest.raises(InputError, match="has no column 'file_name'") as caught:
        opened(table(shop, "<p>" + "x" * 10_000, "y", name="products.csv"))
    assert len(caught.value.message) < 400
