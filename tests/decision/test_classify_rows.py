"""classify gives a row for every product, whatever is wrong with its photo."""

import csv
import io
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shelfbench.base.console import Console
from shelfbench.data.catalogue import Absent
from shelfbench.data.sources.settings import DatasetSettings
from shelfbench.data.to_classify import products_of
from tests.helpers.decisions import classified, make_decision, png, striped
from tests.helpers.photos import noise_picture

QUIET = Console(quiet=True)
PHOTO = noise_picture(1)


class Said(Console):
    """A console that keeps what it is told."""

    def __init__(self):
        super().__init__(quiet=True)
        self.lines = []

    def warn(self, message):
        self.lines.append(message)


def products(*paths, console=QUIET, **names):
    return list(products_of(paths, DatasetSettings(**names), console))


def reason(product):
    [data] = product.photos
    return data.reason if isinstance(data, Absent) else ""


WRONG = {
    "gone.png": "the file does not exist",
    "empty.png": "the file is empty",
    "folder.png": "a folder, not a photo",
    "link.png": "a link to a file that does not exist",
    "../outside.png": "its path leads out of the folder",
    "": "the table names no file",
    "file:///tmp/outside.png": "a link of the kind file://, which is not followed",
    "https://a.example/1.png, https://a.example/2.png": "several links in one cell",
}


def shop(root):
    """Photos, and each way of having none."""
    root.mkdir(parents=True)
    (root / "good.png").write_bytes(PHOTO)
    (root / "text.png").write_text("not an image")
    (root / "empty.png").write_bytes(b"")
    (root / "folder.png").mkdir()
    (root / "link.png").symlink_to("nowhere")
    (root.parent / "outside.png").write_bytes(PHOTO)
    return ["good.png", *WRONG, "text.png"]


def write_table(path, names, column="file_name"):
    frame = pd.DataFrame({column: names, "price": range(len(names))})
    match path.suffix:
        case ".csv":
            frame.to_csv(path, index=False)
        case ".tsv":
            frame.to_csv(path, index=False, sep="\t")
        case ".jsonl":
            frame.to_json(path, orient="records", lines=True)
        case ".parquet":
            frame.to_parquet(path)
        case ".xlsx":
            frame.to_excel(path, index=False)


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet", ".xlsx"])
@pytest.mark.parametrize("by_itself", [True, False])
def test_a_table_gives_a_row_for_every_product(tmp_path, suffix, by_itself):
    root = tmp_path / "shop"
    names = shop(root)
    table = root / ("new" if by_itself else "metadata").__add__(suffix)
    write_table(table, names)
    found = products(table if by_itself else root)
    assert len(found) == len(names)
    assert dict(zip(names, map(reason, found), strict=True)) == {"good.png": "", **WRONG, "text.png": ""}
    assert [product.key for product in found][:2] == ["good.png", "gone.png"]
    write_table(table, names, "Photo File")
    assert len(products(table if by_itself else root, file_name="Photo File")) == len(names)


def test_a_table_of_nothing_but_missing_photos_gives_rows(tmp_path):
    write_table(tmp_path / "new.csv", ["a.png", "b/c.png"])
    assert [reason(product) for product in products(tmp_path / "new.csv")] == ["the file does not exist"] * 2


def test_the_reasons_are_in_the_answers(tmp_path, capsys):
    folder = make_decision(tmp_path / "decision")
    names = shop(tmp_path / "shop")
    (tmp_path / "shop" / "good.png").write_bytes(png(striped("lying", 7)))
    (tmp_path / "shop" / "page.jpg").write_text("<!DOCTYPE html>")
    write_table(tmp_path / "shop" / "new.csv", [*names, "page.jpg"])
    rows, said = classified(capsys, folder, tmp_path / "shop" / "new.csv")
    assert len(rows) == len(names) + 1
    assert rows[0]["suggestion"] == "lying"
    reasons = {row["product"]: row["reason"].removeprefix("no readable image: ") for row in rows[1:]}
    assert {name: reasons[name] for name in WRONG if name in reasons} == {
        name: why for name, why in WRONG.items() if name in reasons
    }
    assert list(reasons.values())[-2:] == ["not in a known image format", "HTML, not a photo"]
    assert {row["category"] for row in rows[1:]} == {"review"}
    assert f"{len(rows)} products" in said
    assert f"warning: {len(rows) - 1} products have no readable photo: 2 missing, 1 empty, 1 folder, " in said


def test_photos_are_chosen_by_content_and_the_others_are_named(tmp_path):
    root = tmp_path / "photos"
    for name, data in {
        "train/shoes/a.jpg": PHOTO,
        "train/shoes/without_suffix": PHOTO,
        "train/hats/b.JP2": b"\0\0\0\x0cjP  \r\n\x87\n",
        "test/hats/c.jpg": b"",
        "test/hats/Thumbs.db": b"x",
        "test/hats/notes.txt": b"notes",
        ".cache/d.jpg": PHOTO,
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    console = Said()
    found = products(root, console=console)
    names = ["test/hats/c.jpg", "train/hats/b.JP2", "train/shoes/a.jpg", "train/shoes/without_suffix"]
    assert [product.key for product in found] == names
    assert console.lines == [f"{root}: skipped 2 files that are not images: Thumbs.db, notes.txt"]
    assert {product.key for product in products(root, root / "test")} == {str(root / name) for name in names}


def test_what_a_table_leaves_out_is_told(tmp_path):
    root = tmp_path / "shop"
    shop(root)
    write_table(root / "metadata.csv", ["good.png"])
    console = Said()
    assert len(products(root, console=console)) == 1
    assert console.lines == [f"{root}: no table names 3 images that are there: empty.png, link.png, text.png"]


def test_tables_in_parts_are_one_after_the_other(tmp_path):
    for part in ("train", "test"):
        (tmp_path / part).mkdir()
        (tmp_path / part / "a.png").write_bytes(PHOTO)
        write_table(tmp_path / part / "metadata.csv", ["a.png", "b.png"])
    assert [product.key for product in products(tmp_path)] == ["test/a.png", "test/b.png", "train/a.png", "train/b.png"]


def test_parquet_of_paths_and_of_nulls(tmp_path):
    (tmp_path / "a.png").write_bytes(PHOTO)
    images = [{"bytes": None, "path": name} for name in ("a.png", "b.png", None)]
    pq.write_table(pa.table({"image": images}), tmp_path / "paths.parquet")
    found = products(tmp_path / "paths.parquet")
    assert [reason(product) for product in found] == ["", "the file does not exist", "the table names no file"]
    images[0]["bytes"] = PHOTO
    pq.write_table(pa.table({"image": [*images, {"bytes": b"", "path": "c"}]}), tmp_path / "nulls.parquet")
    found = products(tmp_path / "nulls.parquet")
    null = "null in the Parquet file"
    assert [reason(product) for product in found] == ["", null, null, "no bytes in the Parquet file"]


def test_samples_of_a_webdataset(tmp_path):
    import tarfile

    for shard in range(2):
        with tarfile.open(tmp_path / f"shard-{shard}.tar", "w") as archive:
            for name, data in (("a.jpg", PHOTO), ("a.json", b'{"product_id": 7}'), ("b.1.jpg", PHOTO), ("c.jpg", b"")):
                member = tarfile.TarInfo(name)
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
    found = products(tmp_path)
    assert [(product.key, len(product.photos)) for product in found] == [
        ("7", 2),
        ("shard-0.tar, b", 1),
        ("shard-0.tar, c", 1),
        ("shard-1.tar, b", 1),
        ("shard-1.tar, c", 1),
    ]
    assert found[0].photos == (PHOTO, PHOTO)
    assert not found[2].photos[0]
    assert len(products(tmp_path / "shard-1.tar")) == 3


def test_text_is_a_table_only_with_a_column_of_files(tmp_path):
    (tmp_path / "a.png").write_bytes(PHOTO)
    (tmp_path / "notes.txt").write_text("left alone")
    (tmp_path / "table.txt").write_text("file_name\tprice\na.png\t1\nb.png\t2\n")
    assert [product.key for product in products(tmp_path / "notes.txt")] == [str(tmp_path / "notes.txt")]
    assert [product.key for product in products(tmp_path / "table.txt")] == ["a.png", "b.png"]
    os.rename(tmp_path / "a.png", tmp_path / "photo.csv")  # a photo, whatever it is called
    assert products(tmp_path / "photo.csv")[0].photos == (PHOTO,)


NAMES = st.lists(st.sampled_from(["good.png", "text.png", "./x", *WRONG]), min_size=1, max_size=60)


@pytest.fixture(scope="module")
def stocked(tmp_path_factory):
    root = tmp_path_factory.mktemp("rows") / "shop"
    shop(root)
    return root


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=NAMES, data=st.data())
def test_as_many_rows_as_products_and_as_many_photos_as_rows(stocked, names, data):
    ids = data.draw(st.lists(st.integers(0, 9), min_size=len(names), max_size=len(names)))
    table = Path(stocked) / "new.csv"
    with open(table, "w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["product_id", "file_name"])
        writer.writerows(zip(ids, names, strict=True))
    found = products(table)
    assert [product.key for product in found] == [str(key) for key in dict.fromkeys(ids)]
    assert sum(len(product.photos) for product in found) == len(names)
    for product in found:
        rows = np.flatnonzero(np.array(ids) == int(product.key))
        whole = [names[row] in ("good.png", "text.png") for row in rows]
        assert [len(photo) > 0 for photo in product.photos] == whole
        assert all(photo or isinstance(photo, Absent) for photo in product.photos)
