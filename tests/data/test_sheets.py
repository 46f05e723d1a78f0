"""Excel workbooks: cells as a person sees them, and one line where that cannot be known."""

import datetime
import sys

import openpyxl
import pytest

from shelfbench.base.errors import InputError
from tests.helpers.catalogues import opened
from tests.helpers.photos import noise_picture


@pytest.fixture
def shop(tmp_path):
    """Make two photos."""
    for number in range(2):
        (tmp_path / f"p{number}.png").write_bytes(noise_picture(number))
    return tmp_path


def workbook(path, *rows, header=("File Name", "Category", "Product ID")):
    book = openpyxl.Workbook()
    for row in (header, *rows):
        book.active.append(row)
    book.save(path)
    return book


@pytest.mark.parametrize(
    ("value", "form", "seen"),
    [
        ("00123", "General", "00123"),
        (123, "General", "123"),
        (123, "00000", "00123"),
        (7.0, "0.00", "7"),
        (2.5, "General", "2.5"),
        (0.25, "0%", "25%"),
        (True, "General", "TRUE"),
        (datetime.date(2024, 5, 1), "yyyy-mm-dd", "2024-05-01"),
        (datetime.datetime(2024, 5, 1, 8, 30), "yyyy-mm-dd hh:mm", "2024-05-01 08:30:00"),
        ("=1+1 ", "@", None),
    ],
)
def test_cells_are_read_as_they_are_seen(shop, value, form, seen):
    book = workbook(shop / "t.xlsx", ("p0.png", "a", value), (None, None, None), ("p1.png", "b", "last"))
    book.active["C2"].number_format = form
    if seen is None:
        book.active["C2"].data_type = "s"
        seen = value.strip()
    book.save(shop / "t.xlsx")
    assert opened(shop / "t.xlsx").product_id.tolist() == [seen, "last"]


def test_formulas_and_errors_stop(shop):
    workbook(shop / "t.xlsx", ("p0.png", "=A1", "1"), ("p1.png", "b", "2"))
    with pytest.raises(InputError, match="the cell B2 of 'Sheet' is a formula without a value"):
        opened(shop / "t.xlsx")
    workbook(shop / "t.xlsx", ("p0.png", "a", "1"), ("p1.png", "#N/A", "2"))
    with pytest.raises(InputError, match="the cell B3 of 'Sheet' holds the error #N/A"):
        opened(shop / "t.xlsx")
    workbook(
        shop / "t.xlsx",
        ("p0.png", "a", "1", "=A1"),
        ("p1.png", "b", "2", "#N/A"),
        header=("file_name", "category", "x", "y"),
    )
    assert len(opened(shop / "t.xlsx").product_id) == 2, "other columns do not matter"


def test_the_sheet_with_the_columns_is_the_one(shop):
    book = workbook(shop / "t.xlsx", ("about", "x", "y"), header=("Notes", "", ""))
    sheet = book.create_sheet("photos")
    for row in ((None, None), ("file_name", "category"), ("p0.png", "a"), ("p1.png", "b")):
        sheet.append(row)
    book.create_sheet("empty")
    book.save(shop / "t.xlsx")
    assert [category.key for category in opened(shop / "t.xlsx").categories] == ["a", "b"]
    other = book.copy_worksheet(sheet)
    book.save(shop / "t.xlsx")
    with pytest.raises(InputError, match=f"the sheets 'photos' and '{other.title}' may both be meant"):
        opened(shop / "t.xlsx")


def test_what_is_not_a_workbook_is_one_line(shop):
    (shop / "t.xlsx").write_bytes(b"file_name,category\n")
    with pytest.raises(InputError, match=r"t\.xlsx cannot be read \(it is not a workbook\)"):
        opened(shop / "t.xlsx")
    openpyxl.Workbook().save(shop / "t.xlsx")
    with pytest.raises(InputError, match="is empty"):
        opened(shop / "t.xlsx")
    workbook(shop / "t.xlsx", ("p0.png", "a", "1"), header=("image", "category", "id"))
    with pytest.raises(InputError, match=r"no column 'file_name'.*dataset\.file_name=image"):
        opened(shop / "t.xlsx")
    whole = (shop / "t.xlsx").read_bytes()
    for cut in range(100, len(whole), 997):
        (shop / "t.xlsx").write_bytes(whole[:cut] + b"\0" * 50 + whole[cut + 50 :])
        with pytest.raises(InputError, match=r"t\.xlsx"):
            opened(shop / "t.xlsx")


def test_without_openpyxl_the_message_names_the_extra(shop, monkeypatch):
    workbook(shop / "t.xlsx", ("p0.png", "a", "1"))
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    with pytest.raises(InputError, match=r"shelfbench\[excel\]"):
        opened(shop / "t.xlsx")
