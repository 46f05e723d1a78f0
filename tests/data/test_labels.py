"""What a cell says of a category or a product: none, the same as another, or one that looks alike."""

import unicodedata

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shelfbench.base.errors import InputError
from shelfbench.data.sources.files import FileImages
from shelfbench.data.sources.labels import category_keys, clean, near_misses, product_keys
from shelfbench.data.sources.tables import catalogue_from_rows


def where(count):
    return pd.Series([f"row {number}" for number in range(count)], dtype=object)


def catalogue(**columns):
    """Build a catalogue from columns of equal length."""
    count = len(next(iter(columns.values())))
    rows = pd.DataFrame(
        {"where": where(count), **{name: pd.Series(cells, dtype=object) for name, cells in columns.items()}}
    )
    return catalogue_from_rows("shop", rows, lambda numbers, names: FileImages(None, names))


@pytest.mark.parametrize(
    "cell", [None, float("nan"), np.nan, pd.NA, pd.NaT, "", " ", "\t\u00a0\n", "\ufeff", [], np.array([])]
)
def test_these_cells_are_no_category(cell):
    found = category_keys(pd.Series(["a", cell, "b"], dtype=object), where(3))
    assert found.code.tolist() == [0, -1, 1]
    made = catalogue(category=["a", cell, "b"])
    assert (made.product_id.tolist(), made.unlabelled) == (["row 0", "row 2"], 1)


@pytest.mark.parametrize("cell", [["a"], {"name": "a"}, ("a", "b"), np.array(["a"])])
def test_these_cells_are_no_plain_value(cell):
    with pytest.raises(InputError, match=r"row 1: the category .* is not a plain value"):
        category_keys(pd.Series(["a", cell, []], dtype=object), where(3))


@given(st.lists(st.text("Éa\u0301e sS\u00a0-", max_size=4), min_size=1, max_size=8))
def test_keys_are_one_if_and_only_if_their_composed_texts_are(texts):
    found = category_keys(pd.Series(texts, dtype=object), where(len(texts)))
    expected = [unicodedata.normalize("NFC", text).strip() for text in texts]
    assert [found.names[code] if code >= 0 else "" for code in found.code] == expected
    assert sorted(set(found.names)) == list(found.names)
    told = sum("spellings" in note for note in found.notes)
    merged = {key for key in set(expected) - {""} if len({text for text in texts if clean(text) == key}) > 1}
    assert told == min(len(merged), 4)


def test_numbers_and_texts_that_read_the_same_are_one():
    assert category_keys(pd.Series([7, "7", 7.0, b"7", np.int8(7)], dtype=object), where(5)).names == ("7",)
    assert category_keys(pd.Series([1.0, 2.5, np.nan]), where(3)).names == ("1", "2.5")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Bars", "bars"),
        ("T-Shirt", "T shirt"),
        ("Café", "Cafe"),
        ("Watch", "Watchs"),
        ("Home & Garden", "home garden"),
        ("ﬁn", "fin"),
        ("T&amp;C", "T and C"),
        ("Hemden und Hosen", "Hemden & Hosen"),
        ("7", "7.0"),
        ("07", "7"),
    ],
)
def test_near_misses_are_told(one, other):
    [note] = near_misses({one: 12, other: 1, "else": 3})
    assert f"{one!r} (12 photos)" in note
    assert f"{other!r} (1 photo)" in note


@pytest.mark.parametrize(
    "keys",
    [
        ("Pants", "Shirts"),
        ("1.0", "10"),
        ("size 1.0", "size 10"),
        ("7.5", "7"),
        ("10", "100"),
        ("Land", "L"),
        ("3-5 years", "35 years"),
        ("カ", "ガ"),
        ("bus", "bu"),
        ("-", "+"),
    ],
)
def test_names_that_differ_are_not_told(keys):
    assert near_misses(dict.fromkeys(keys, 5)) == []


def test_many_near_misses_are_few_notes():
    notes = near_misses({form(f"kind{chr(97 + i)}"): 1 for i in range(10) for form in (str.upper, str.lower)})
    assert len(notes) == 4
    assert "7 more" in notes[-1]


def test_texts_that_may_mean_none_stay_and_are_told():
    made = catalogue(category=["NA", "a", "None", "None"])
    assert [category.key for category in made.categories] == ["NA", "None", "a"]
    assert [note.split(",")[0] for note in made.notes] == [
        "1 photo has the category 'NA'",
        "2 photos have the category 'None'",
    ]


def test_minus_one_among_codes_is_none():
    made = catalogue(category=[0, 1, -1, "-1", "12"])
    assert [category.key for category in made.categories] == ["0", "1", "12"]
    assert made.unlabelled == 2
    assert made.notes == ("2 photos have the category -1 among numbers from 0, which was taken as none",)
    assert "'-1'" in catalogue(category=["a", "-1"]).notes[0], "among names it is one, and told"
    assert [category.key for category in catalogue(category=[-1, -2, 3]).categories] == ["-1", "-2", "3"]


@pytest.mark.parametrize(
    ("codes", "said"),
    [
        ([0, 1, 2, 255], ["255"]),
        ([1, 2, 3, 99], ["99"]),
        ([0, 1, 2, -100], ["-100"]),
        ([*range(100)], []),
        ([1, 2, 4, 99], []),
        ([0, 255], []),
        ([97, 98, 99], []),
        (["a", "b", "c", "255"], []),
    ],
)
def test_a_code_that_may_mean_none_is_told(codes, said):
    made = catalogue(category=codes)
    assert len(made.categories) == len(codes)
    assert [note.split("'")[1] for note in made.notes] == said


def test_garbled_names_are_told():
    made = catalogue(
        category=["Hüte", "Größe".encode().decode("cp1252"), "Été", "für".encode().decode("cp1252"), "帽子"]
    )
    [note] = made.notes
    assert note.startswith("2 categories have names that another program may have garbled, such as 'GrÃ¶ÃŸe'")
    assert "may mean 'Größe'" in note


def test_ids_that_a_spreadsheet_rounded_are_refused():
    with pytest.raises(InputError, match=r"row 0: the product_id '4,00638E\+12' was rounded by a spreadsheet"):
        product_keys(pd.Series(["4,00638E+12", "A", "4,00638E+12"], dtype=object), where(3))
    assert product_keys(pd.Series(["4E+12", "1.5E+12"], dtype=object), where(2))[1] == [], "each has its own"


@pytest.mark.parametrize("pair", [("00123", "123"), ("7.0", "7"), ("0", "0.0")])
def test_ids_that_are_one_number_are_told(pair):
    keys, [note] = product_keys(pd.Series([*pair, "8", "08x"], dtype=object), where(4))
    assert keys.tolist()[:2] == list(pair)
    assert all(repr(text) in note for text in pair)
    assert product_keys(pd.Series(["00123", "00124", "125"], dtype=object), where(3))[1] == []


def test_ids_are_cleaned_unless_that_makes_two_of_them_one():
    keys, notes = product_keys(pd.Series(["A1 ", "A1 ", "e\u0301"], dtype=object), where(3))
    assert (keys.tolist(), notes) == (["A1", "A1", "é"], [])
    keys, notes = product_keys(pd.Series(["A1 ", "A1", "B "], dtype=object), where(3))
    assert keys.tolist() == ["A1 ", "A1", "B "]
    assert "'A1 ' and 'A1' are two products" in notes[0]
    assert product_keys(pd.Series([7, "7"], dtype=object), where(2))[0].tolist() == ["7", "7"]
    with pytest.raises(InputError, match="row 1 has no product_id"):
        product_keys(pd.Series(["A", " "], dtype=object), where(2))


def test_a_photo_without_a_category_has_that_of_its_product():
    made = catalogue(category=["a", None, "b", " ", None], product_id=["1", "1", "2", "3", "3"])
    assert np.bincount(made.image_product).tolist() == [2, 1]
    assert made.unlabelled == 1, "one product, though of two photos"
    assert made.notes == ("1 photo without a category has that of another photo of the same product",)
    with pytest.raises(InputError, match=r"row 2: product 1 has the category 'b' here but 'a' at row 0"):
        catalogue(category=["a", None, "b"], product_id=["1", "1", "1"])


def test_rows_without_a_category_need_no_id():
    made = catalogue(category=["a", "b", None, None], product_id=["1", "2", None, None])
    assert (made.product_id.tolist(), made.unlabelled) == (["1", "2"], 2)
    with pytest.raises(InputError, match="row 1 has no product_id"):
        catalogue(category=["a", "b"], product_id=["1", None])


def test_levels_and_further_labels_are_compared_in_the_same_way():
    made = catalogue(
        category=["a", "b", "b", "b"],
        level1=["Été", "E\u0301te\u0301 ", None, "Été"],
        **{"label:style": [["bold", "bold "], "bold", "", "ple\u0301n"]},
    )
    assert [category.levels for category in made.categories] == [("Été",), ("Été",)]
    assert made.labels.names == ("style=bold", "style=plén")
    assert np.diff(made.labels.start).tolist() == [1, 1, 0, 1]


def test_a_part_without_labels_is_told_and_the_words_of_splits_are_forgiven():
    made = catalogue(category=["a", "b", "a", None], split=["Train", " train ", "VAL", "test"])
    assert made.split.tolist() == ["train", "train", "validation"]
    assert made.notes == ("the only photo of the part 'test' has no category, so that part is not used",)
    assert "none of the 2 photos" in catalogue(category=["a", None, None], split=["train", "test", "test"]).notes[0]
