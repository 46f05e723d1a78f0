"""One line says how much of the data cannot be used, in plain English and only where it is not zero."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shelfbench.data.images import NEEDS_HEIF
from shelfbench.runs.data_line import data_line, grouped
from shelfbench.runs.data_record import DatasetRecord, UnreadableImage
from shelfbench.runs.record import RunRecord, SplitRecord, Untrained


def line(reasons=(), unlabelled=0, untrained=(0, 0, 0), names=()):
    unreadable = [UnreadableImage(record=str(number), reason=reason) for number, reason in enumerate(reasons)]
    dataset = DatasetRecord(unreadable_images=len(unreadable), unreadable=unreadable, unlabelled=unlabelled)
    categories, validation, test = untrained
    found = Untrained(categories=categories, names=list(names), validation=validation, test=test)
    return data_line(dataset, SplitRecord(untrained=found))


def test_nothing_is_said_about_nothing():
    assert line() == ""
    assert data_line(DatasetRecord(), SplitRecord()) == ""


def test_photos_in_two_categories_are_named():
    found = {"products_with_a_photo_in_another_category": 4, "such_as": "1165 in T-shirts and 5062 in Watches"}
    assert data_line(DatasetRecord(duplicates=found), SplitRecord()) == (
        "4 products share a photo with one of another category (1165 in T-shirts and 5062 in Watches): a wrong label, "
        "categories that overlap, or a picture that stands for a missing photo"
    )


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"reasons": ["the file is empty"]}, "1 photo could not be read: 1 empty"),
        (
            {"reasons": [NEEDS_HEIF] * 10 + ["image file is truncated (7 bytes not processed)"] * 2},
            "12 photos could not be read: 10 HEIC needs pillow-heif: python -m pip install 'shelfbench[heic]', "
            "2 truncated; once it is installed, choose another --out, since this run keeps what it has",
        ),
        (
            {"reasons": ["image file is truncated (7 bytes not processed)", "Truncated File Read"]},
            "2 photos could not be read: 2 truncated",
        ),
        (
            {"reasons": ["a folder, not a photo"] * 2 + ["HTML, not a photo"]},
            "3 photos could not be read: 2 folders, 1 HTML",
        ),
        ({"reasons": ["a damaged HEIC image"]}, "1 photo could not be read: 1 damaged HEIC image"),
        (
            {"reasons": ["a raw photo, which is not read: save it as JPEG", "an archive, not a photo"] * 2},
            "4 photos could not be read: 2 raw photos, 2 archives",
        ),
        (
            {"reasons": ["no photo is named", "the table names no file"]},
            "2 photos could not be read: 2 not named in the table",
        ),
        ({"unlabelled": 1}, "1 product has no label"),
        ({"unlabelled": 1200}, "1,200 products have no label"),
        ({"untrained": (2, 0, 16)}, "2 categories have no training product, so 16 test products cannot be right"),
        (
            {"untrained": (3, 0, 16), "names": ["bars", "cross"]},
            "3 categories (bars, cross, ...) have no training product, so 16 test products cannot be right",
        ),
        ({"untrained": (1, 0, 1)}, "1 category has no training product, so 1 test product cannot be right"),
        (
            {"untrained": (1, 3, 16), "unlabelled": 3, "reasons": ["the file does not exist"]},
            "1 photo could not be read: 1 missing; 3 products have no label; 1 category has no training product, so "
            "3 validation and 16 test products cannot be right",
        ),
    ],
)
def test_what_is_said(given, said):
    assert line(**given) == said


@given(st.lists(st.text(min_size=1, max_size=30), min_size=1, max_size=40))
def test_every_photo_is_counted_once(reasons):
    said = grouped(f"{reason.replace(',', ';')}" for reason in reasons)
    counts = [int(part.split()[0].replace(",", "")) for part in said.split(", ")]
    assert sum(counts) == len(reasons)


def test_a_record_of_an_earlier_version_is_read():
    old = msgspec.convert({"split": {"hash": "a", "train": {"products": 3}}}, RunRecord)
    assert old.split.untrained == Untrained()
    assert data_line(old.dataset, old.split) == ""
