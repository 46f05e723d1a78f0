"""Inputs and outputs of `classify`: layouts of products, names, formats, places."""

import csv
import os
import shlex
import subprocess
import sys
import tracemalloc
from pathlib import Path

import bson
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shelfbench.base.console import Console
from shelfbench.cli.main import main
from shelfbench.data.sources.settings import DatasetSettings
from shelfbench.data.to_classify import products_of
from tests.helpers.decisions import COLUMNS, STRIPES, classified, make_decision, png, striped

QUIET = Console(quiet=True)


def layouts(root):
    """The same five products, one of them broken, in every layout; two photos each."""
    photos = {f"p{i}": [png(striped(name, 100 + 2 * i + j)) for j in (0, 1)] for i, name in enumerate([*STRIPES] * 2)}
    photos["p3"][0] = b"no photo"
    photos["p4"] = [b"", photos["p4"][1][:50]]
    rows = [(key, data) for key, pair in photos.items() for data in pair]
    folder = root / "folder"
    folder.mkdir()
    for number, (_, data) in enumerate(rows):
        (folder / f"{number:02}.png").write_bytes(data)
    names = [f"{number:02}.png" for number in range(len(rows))]
    pd.DataFrame({"file_name": names, "product_id": [key for key, _ in rows]}).to_csv(
        folder / "metadata.csv", index=False
    )
    table = pa.table(
        {"product_id": [key for key, _ in rows], "image": [{"bytes": data, "path": ""} for _, data in rows]}
    )
    pq.write_table(table, root / "ordered.parquet", row_group_size=3)
    pq.write_table(table.take(np.arange(len(rows)).reshape(-1, 2).T.ravel()), root / "mixed.parquet", row_group_size=3)
    documents = [{"_id": int(key[1:]), "imgs": [{"picture": data} for data in pair]} for key, pair in photos.items()]
    (root / "test.bson").write_bytes(b"".join(map(bson.encode, documents)))
    return folder, root / "ordered.parquet", root / "mixed.parquet", root / "test.bson"


def test_every_layout_gives_the_same_without_labels(tmp_path, capsys):
    folder = make_decision(tmp_path / "decision")
    found = []
    for path in layouts(tmp_path):
        rows, _ = classified(capsys, folder, path)
        found.append([{**row, "product": row["product"].removeprefix("p")} for row in rows])
    assert [row["product"] for row in found[0]] == list("012345")
    empty = [rows[4].pop("reason") for rows in found]
    assert empty == [
        f"no readable image: {why}"
        for why in (
            "the file is empty",
            "no bytes in the Parquet file",
            "no bytes in the Parquet file",
            "an empty picture in the BSON file",
        )
    ]
    assert found[0] == found[1] == found[2] == found[3]
    assert [row["suggestion"] for row in found[0]] == ["lying", "standing", "slanting", "lying", "", "slanting"]
    assert found[0][4]["category"] == "review"


def test_photos_of_a_product_count_together(tmp_path, capsys):
    folder = make_decision(tmp_path / "decision", threshold=-9.0)
    pair = [png(striped("lying", 7)), png(striped("standing", 7))]
    alone = []
    for number, data in enumerate(pair):
        (tmp_path / f"{number}.png").write_bytes(data)
        alone.append(float(classified(capsys, folder, tmp_path / f"{number}.png")[0][0]["confidence"]))
    (tmp_path / "one.bson").write_bytes(bson.encode({"_id": 1, "imgs": [{"picture": data} for data in pair]}))
    [row] = classified(capsys, folder, tmp_path / "one.bson")[0]
    assert float(row["confidence"]) < max(alone)
    assert float(row["confidence"]) > max(alone) / 2 - 1e-9


def test_a_folder_of_images_is_a_product_a_file(tmp_path, capsys):
    folder = make_decision(tmp_path / "decision")
    photos = tmp_path / "photos"
    (photos / "deep" / "er").mkdir(parents=True)
    (photos / "a.png").write_bytes(png(striped("lying", 1)))
    (photos / "deep" / "er" / "b.png").write_bytes(png(striped("standing", 1)))
    (photos / "notes.txt").write_text("left alone")
    rows, said = classified(capsys, folder, photos)
    assert [row["product"] for row in rows] == ["a.png", "deep/er/b.png"]
    assert "skipped 1 file that is not an image: notes.txt" in said
    rows, _ = classified(capsys, folder, photos, photos / "notes.txt")
    assert [row["product"] for row in rows] == [str(photos / name) for name in ("a.png", "deep/er/b.png", "notes.txt")]
    assert rows[2]["reason"].startswith("no readable image: ")


def test_a_carriage_return_in_a_name_is_quoted(tmp_path, capsys):
    folder = make_decision(tmp_path / "decision")
    names = ["a\rb.png", "c\r\nd.png", "e,f.png\r"]
    image = {"bytes": png(striped("lying", 1)), "path": ""}
    pq.write_table(pa.table({"product_id": names, "image": [image] * 3}), tmp_path / "odd.parquet")
    main(["classify", str(folder), str(tmp_path / "odd.parquet"), "--out", str(tmp_path / "out.csv"), "--quiet"])
    with open(tmp_path / "out.csv", newline="", encoding="utf-8") as handle:
        assert [row["product"] for row in csv.DictReader(handle)] == names
    assert pd.read_csv(tmp_path / "out.csv")["product"].tolist() == names
    assert (tmp_path / "out.csv").read_bytes().startswith(b"product,category,name,confidence,suggestion,reason\n")


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_a_name_that_a_spreadsheet_would_run_is_inert_in_csv_and_itself_elsewhere(tmp_path, capsys, suffix):
    folder = make_decision(tmp_path / "decision")
    names = ["=cmd|' /C calc'!A1", "@SUM(A1)", "-3", "\t=1+1", "shoe"]
    image = {"bytes": png(striped("lying", 1)), "path": ""}
    pq.write_table(pa.table({"product_id": names, "image": [image] * 5}), tmp_path / "odd.parquet")
    out = tmp_path / f"out.{suffix}"
    main(["classify", str(folder), str(tmp_path / "odd.parquet"), "--out", str(out), "--quiet"])
    if suffix == "csv":
        with open(out, newline="", encoding="utf-8") as handle:
            found = [row["product"] for row in csv.DictReader(handle)]
        assert found == ["'=cmd|' /C calc'!A1", "'@SUM(A1)", "-3", "'\t=1+1", "shoe"]
        return
    table = pd.read_json(out, lines=True, dtype=False) if suffix == "jsonl" else pd.read_parquet(out)
    assert table["product"].tolist() == names


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_formats(tmp_path, capsys, suffix):
    folder = make_decision(tmp_path / "decision")
    (tmp_path / "a,b\n.png").write_bytes(png(striped("lying", 1)))
    (tmp_path / "c.png").write_bytes(b"")
    out = tmp_path / f"out.{suffix}"
    words = [folder, tmp_path / "a,b\n.png", tmp_path / "c.png"]
    assert classified(capsys, *words, "--out", out)[0] == []
    found = {
        "csv": lambda: pd.read_csv(out),
        "jsonl": lambda: pd.read_json(out, lines=True),
        "parquet": lambda: pd.read_parquet(out),
    }[suffix]()
    assert list(found.columns) == COLUMNS
    assert found["product"].tolist() == [str(tmp_path / "a,b\n.png"), str(tmp_path / "c.png")]
    assert found["category"].tolist() == ["lying", "review"]
    assert found["reason"].isna().tolist() == [True, False]
    assert 0.3 < found["confidence"][0] <= 1
    assert np.isnan(found["confidence"][1])


def test_the_output_is_whole_or_not_there(tmp_path, capsys):
    folder = make_decision(tmp_path / "decision")
    document = bson.encode({"_id": 1, "imgs": [{"picture": png(striped("lying", 1))}]})
    path, out = tmp_path / "cut.bson", tmp_path / "out.csv"
    path.write_bytes(document * 200 + document[:-20])
    out.write_text("what was there before")
    assert main(["classify", str(folder), str(path), "--out", str(out), "--quiet"]) == 2
    said = capsys.readouterr().err
    assert f"bad document at byte {200 * len(document)}" in said
    assert said.count("\n") == 1
    assert out.read_text() == "what was there before"
    assert not list(tmp_path.glob(".partial-*"))


def test_a_stream_does_not_gather(tmp_path):
    """40 MiB of photos pass through a few MiB of memory."""
    rng = np.random.default_rng(0)
    with open(tmp_path / "big.bson", "wb") as handle:
        for number in range(400):
            handle.write(bson.encode({"_id": number, "imgs": [{"picture": rng.bytes(100_000)}]}))
    table = pa.table({"image": [{"bytes": rng.bytes(100_000), "path": ""} for _ in range(400)]})
    pq.write_table(table, tmp_path / "big.parquet", row_group_size=10, compression="none")
    del table
    for path in (tmp_path / "big.bson", tmp_path / "big.parquet"):
        tracemalloc.start()
        count = sum(len(product.photos) for product in products_of([path], DatasetSettings(), QUIET))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert count == 400
        assert peak < 8 << 20, f"{path.name}: {peak >> 20} MiB"


def test_other_names_of_columns(tmp_path, capsys):
    folder = make_decision(tmp_path / "decision")
    table = pa.table({"sku": [7, 7], "photo": [{"bytes": png(striped("lying", i)), "path": ""} for i in (1, 2)]})
    pq.write_table(table, tmp_path / "odd.parquet")
    names = ["--set", "dataset.product_id=sku", "--set", "dataset.image=photo"]
    rows, _ = classified(capsys, folder, tmp_path / "odd.parquet", *names)
    assert [row["product"] for row in rows] == ["7"]
    rows, _ = classified(capsys, folder, tmp_path / "odd.parquet", *names[2:])
    assert [row["product"] for row in rows] == ["odd.parquet, row 0", "odd.parquet, row 1"]


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("photos/a.png", "is one of the inputs"),
        ("rows.parquet", "is one of the inputs"),
        ("photos/deep/out.parquet", "would be read as an input"),
        ("photos/metadata.csv", "would be read as an input"),
        ("decision/out.csv", "is inside the decision"),
        ("decision/decision.json", "is inside the decision"),
        ("pipe", "is not a regular file"),
        ("link.csv", "is not a regular file"),
        ("photos", "is not a regular file"),
    ],
)
def test_the_output_takes_no_others_place(tmp_path, capsys, out, message):
    folder = make_decision(tmp_path / "decision")
    (tmp_path / "photos" / "deep").mkdir(parents=True)
    (tmp_path / "photos" / "a.png").write_bytes(png(striped("lying", 1)))
    pq.write_table(pa.table({"image": [{"bytes": png(striped("lying", 1)), "path": ""}]}), tmp_path / "rows.parquet")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link.csv").symlink_to("photos/a.png")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    paths = [tmp_path / "photos", tmp_path / "photos" / "a.png", tmp_path / "rows.parquet"]
    words = ["classify", folder, *paths, "--out", tmp_path / out, "--format", "csv", "--quiet"]
    assert main(list(map(str, words))) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    beside = ["classify", folder, tmp_path / "photos", "--out", tmp_path / "photos" / "out.csv", "--quiet"]
    assert main(list(map(str, beside))) == 0


@pytest.mark.parametrize(
    ("redirection", "code", "message"),
    [(">&-", 2, "stdout is closed"), ("> /dev/full", 1, "no space left"), ("", 0, "")],
)
def test_stdout_of_every_kind(tmp_path, redirection, code, message):
    if "full" in redirection and not Path("/dev/full").is_char_device():
        pytest.skip("no /dev/full here")
    folder = make_decision(tmp_path / "decision")
    (tmp_path / "Hemd über.png").write_bytes(png(striped("lying", 1)))
    words = [sys.executable, "-m", "shelfbench.cli.main", "classify", folder, tmp_path / "Hemd über.png", "--quiet"]
    found = subprocess.run(
        f"{shlex.join(map(str, words))} {redirection}",
        shell=True,
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
    )
    said = found.stderr.decode()
    assert found.returncode == code
    assert message in said
    assert "defect" not in said
    assert said.count("\n") == bool(message)
    assert ("Hemd über.png,lying" in found.stdout.decode()) == (code == 0)


def test_products_without_an_id_are_told_apart(tmp_path, capsys):
    folder = make_decision(tmp_path / "decision")
    for number, part in enumerate(("train", "test")):
        for data in (tmp_path / "tables" / part, tmp_path / "shards" / part):
            data.mkdir(parents=True)
        (tmp_path / "tables" / part / "a.png").write_bytes(png(striped("lying", number)))
        (tmp_path / "tables" / part / "metadata.csv").write_text("file_name\na.png\n")
        image = {"bytes": png(striped("lying", number)), "path": ""}
        pq.write_table(pa.table({"image": [image]}), tmp_path / "shards" / part / "0.parquet")
    names = [row["product"] for row in classified(capsys, folder, tmp_path / "tables")[0]]
    assert sorted(names) == ["test/a.png", "train/a.png"]
    for kind in ("tables", "shards"):
        paths = [tmp_path / kind / part for part in ("train", "test")]
        names = [row["product"] for row in classified(capsys, folder, *paths)[0]]
        ends = {"tables": "a.png", "shards": "0.parquet, row 0"}[kind]
        assert names == [f"{path}{os.sep}{ends}" for path in paths]


def test_one_product_in_two_shards_is_one_though_the_other_lacks_an_id(tmp_path, capsys):
    folder = make_decision(tmp_path / "decision")
    shards = tmp_path / "shards"
    shards.mkdir()
    image = {"bytes": png(striped("lying", 1)), "path": ""}
    pq.write_table(pa.table({"product_id": [7, 8], "image": [image, image]}), shards / "0.parquet")
    pq.write_table(pa.table({"product_id": [7, None], "image": [image, image]}), shards / "1.parquet")
    rows, _ = classified(capsys, folder, shards)
    assert [row["product"] for row in rows] == ["7", "8", "1.parquet, row 1"]


def test_a_name_that_no_format_holds_is_refused(tmp_path, capsys):
    folder = make_decision(tmp_path / "decision")
    odd = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.png")
    try:
        Path(odd).write_bytes(png(striped("lying", 1)))
    except OSError:
        pytest.skip("this file system accepts UTF-8 only")
    assert main(["classify", str(folder), odd, "--out", str(tmp_path / "out.csv"), "--quiet"]) == 2
    said = capsys.readouterr().err
    assert "is not UTF-8; rename it" in said
    assert said.count("\n") == 1
