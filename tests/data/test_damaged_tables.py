"""Tables damaged at random: they are read, or one line says why not; nothing else happens."""

import csv
import io
import json
import random

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shelfbench.base.console import Console
from shelfbench.base.errors import InputError
from shelfbench.data.sources.settings import DatasetSettings
from shelfbench.data.to_classify import products_of
from tests.helpers.catalogues import opened

HEADER = ("file_name", "category", "product_id")
ROWS = [(f"images/p{number}.png", 'b, "x"' if number % 2 else "Café", f"0{number}") for number in range(6)]
INSERTED = (
    b'"',
    b",",
    b";",
    b"\n",
    b"\r",
    b"\0",
    b"\xff\xfe",
    b"\x81",
    b"'",
    b"{",
    b"[",
    b"NaN",
    b"\\",
    b"../",
    b"\\ud83d",
)


def text(encoding, delimiter):
    made = io.StringIO()
    csv.writer(made, delimiter=delimiter).writerows([HEADER, *ROWS])
    return made.getvalue().encode(encoding)


def workbook():
    book, made = openpyxl.Workbook(), io.BytesIO()
    for row in (HEADER, *ROWS):
        book.active.append(row)
    book.save(made)
    return made.getvalue()


def parquet(**columns):
    made = io.BytesIO()
    pq.write_table(pa.table(columns), made)
    return made.getvalue()


OBJECTS = [dict(zip(HEADER, row, strict=True)) for row in ROWS]
PHOTOS = [{"bytes": b"abc", "path": name} for name, *_ in ROWS]
WHOLE = {
    "csv": lambda: text("utf-8", ";"),
    "tsv": lambda: text("utf-16", "\t"),
    "txt": lambda: text("cp1252", ","),
    "jsonl": lambda: "\n".join(map(json.dumps, OBJECTS)).encode(),
    "json": lambda: json.dumps(OBJECTS, ensure_ascii=False).encode(),
    "xlsx": workbook,
    "parquet": lambda: parquet(**{name: [row[i] for row in ROWS] for i, name in enumerate(HEADER)}),
    "photos.parquet": lambda: parquet(image=PHOTOS, category=["a", "b"] * 3, product_id=[row[2] for row in ROWS]),
}


def damaged(data, rng):
    """Delete, insert, change or repeat some bytes in one to five places."""
    data = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 5])):
        at = rng.randrange(len(data) + 1)
        kind = rng.randrange(5)
        if kind == 0:
            del data[at : at + rng.choice([1, 2, 10, 100])]
        elif kind == 1:
            data[at:at] = rng.choice(INSERTED)
        elif kind == 2:
            data[at : at + 1] = bytes([rng.randrange(256)])
        elif kind == 3:
            del data[at:]
        else:
            data[at:at] = data[: rng.randrange(200)]
    return bytes(data)


@pytest.mark.parametrize("form", WHOLE)
def test_a_damaged_table_is_read_or_refused_in_one_line(tmp_path, form):
    (tmp_path / "images").mkdir()
    for name, *_ in ROWS:
        (tmp_path / name).write_bytes(b"abc")
    path, whole = tmp_path / f"table.{form}", WHOLE[form]()
    path.write_bytes(whole)
    assert len(opened(path).product_id) == len(list(products_of([path], DatasetSettings(), Console(quiet=True)))) == 6
    rng = random.Random(7)
    refused = 0
    for _ in range(30):
        path.write_bytes(damaged(whole, rng))
        for read in (opened, lambda path: list(products_of([path], DatasetSettings(), Console(quiet=True)))):
            try:
                read(path)
            except InputError as error:
                refused += 1
                assert str(path) in str(error) or "images" in str(error)
                assert "\n" not in str(error)
    assert refused > 15


def test_parquet_whose_columns_are_damaged_in_one_place_is_one_line(tmp_path):
    whole = WHOLE["photos.parquet"]()
    path, said = tmp_path / "photos.parquet", set()
    for start in range(len(whole) - 5):
        if whole[start : start + 5] == b"image":
            path.write_bytes(whole[: start + 4] + b"\x9f" + whole[start + 5 :])
            for read in (opened, lambda path: list(products_of([path], DatasetSettings(), Console(quiet=True)))):
                try:
                    read(path)
                except InputError as error:
                    said.add(str(error))
    assert any("not UTF-8" in text for text in said)
    assert not any("\n" in text for text in said)
