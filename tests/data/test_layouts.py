"""Each row of the tables in docs/data.md: the layout is drawn, opened, and held against what the row says."""

import os
import re

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shelfbench.base.errors import InputError
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
        if item.endswith("*.jpg"):
            for number in range(4):
                photos.append(item.replace("*", f"{item.count('/')}{number}"))
                put(root / photos[-1], noise_picture(seed := seed + 1))
    for item, kind in items:
        folder, name = os.path.split(item)
        inside = [photo for photo in photos if not folder or photo.startswith(folder + "/")]
        if name == "metadata.parquet":
            pd.DataFrame(rows_of(kind, inside, folder), columns=["file_name", "category"]).to_parquet(root / item)
        elif name.endswith(".parquet"):
            cells = [{"bytes": noise_picture(seed := seed + 1), "path": f"{i}.jpg"} for i in range(4)]
            put(root / item, b"")
            pq.write_table(pa.table({"image": cells, "category": ["blue", "red"] * 2}), root / item)
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
