"""Decide on a small run of HOG + SVM, then classify: the same products, other layouts, broken and hostile input."""

import argparse
import csv
import io
import json
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
from decisions import STRIPES, make_decision, png, striped

from bench.classifying import columns
from bench.cli import main
from bench.console import Console
from bench.data.sources.tables import DatasetSettings
from bench.data.stream import products_of
from bench.deciding import choice
from bench.errors import InputError
from bench.harness import run_study
from bench.study import parse_setting, read_study

COLUMNS = ["product", "category", "name", "confidence", "suggestion", "reason"]
QUIET = Console(quiet=True)


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """Three kinds of stripes, 70 products of 1 to 3 photos each; some photos broken."""
    root = tmp_path_factory.mktemp("shop")
    rows = []
    for number, name in enumerate(STRIPES):
        for product in range(70):
            for photo in range(1 + product % 3):
                file = f"{name}-{product:02}-{photo}.png"
                data = png(striped(name, 10_000 * number + 10 * product + photo))
                if product in (20, 21) or (product == 23 and photo == 1):
                    data = data[:80]
                (root / file).write_bytes(data)
                rows.append({"file_name": file, "category": name, "product_id": f"{name}-{product:02}"})
    pd.DataFrame(rows).to_csv(root / "metadata.csv", index=False)
    return root


@pytest.fixture(scope="module")
def done(shop, tmp_path_factory):
    """A run on it."""
    out = tmp_path_factory.mktemp("runs") / "run"
    settings = ["hog.pixels=32", "hog.cells=8", "svm.C=[0.01]", "report.pictures=false", "split.min_products=10"]
    overrides = [parse_setting(text) for text in settings]
    study = read_study("default", [*overrides, (["dataset", "name"], str(shop)), (["backends"], ["hog-svm"])])
    run_study(study, None, out, 1, QUIET, "shelfbench run test")
    return out


@pytest.fixture(scope="module")
def passed(done, tmp_path_factory):
    out = tmp_path_factory.mktemp("decision") / "passed"
    assert main(["decide", str(done), "hog-svm", "--precision", "0.7", "--out", str(out), "--quiet"]) == 0
    return out


def classified(capsys, *words):
    """Rows that classify prints, and what it says on stderr."""
    capsys.readouterr()
    assert main(["classify", *map(str, words), "--workers", "1"]) == 0
    said = capsys.readouterr()
    rows = list(csv.DictReader(io.StringIO(said.out)))
    assert not rows or list(rows[0]) == COLUMNS
    return rows, said.err


def test_the_folder_holds_what_is_promised(passed, done):
    names = sorted(path.name for path in passed.iterdir())
    assert names == ["classifier.json", "decision.json", "decision.sha256", "weights.safetensors"]
    values = json.loads((passed / "decision.json").read_text())
    record = json.loads((done / "run.json").read_text())
    assert values["verdict"] == "PASS"
    assert values["rests_on"]["dataset"]["hash"] == record["dataset"]["hash"]
    assert values["rests_on"]["split"]["hash"] == record["split"]["hash"]
    assert values["rests_on"]["run_command"] == "shelfbench run test"
    assert [part["role"] for part in values["evidence"]] == ["tune", "certify", "test"]
    assert set(values["files"]) == {"classifier.json", "weights.safetensors"}
    saved = json.loads((done / "models" / "hog-svm" / "backend.json").read_text())
    assert (values["aggregation"], values["temperature"]) == (saved["aggregation"], saved["temperature"])
    assert not list(passed.parent.glob(".partial-*"))


def test_the_same_products_get_the_same_answers(passed, done, shop, capsys):
    rows, said = classified(capsys, passed, shop)
    predictions = pd.read_parquet(done / "predictions" / "hog-svm.parquet").set_index("product_id")
    values = json.loads((passed / "decision.json").read_text())
    assert len(rows) == len(predictions) == 210
    for row in rows:
        known = predictions.loc[row["product"]]
        if pd.notna(known["rejected"]):
            assert row["category"] == "review"
            assert row["reason"] == known["rejected"]
            assert row["confidence"] == row["suggestion"] == ""
            continue
        assert row["suggestion"] == known["predicted"]
        assert np.log(float(row["confidence"])) == pytest.approx(known["confidence"], abs=1e-9)
        accepted = known["confidence"] >= values["threshold"] and known["predicted"] not in values["off"]
        assert row["category"] == (known["predicted"] if accepted else "review")
        assert bool(row["reason"]) != accepted
    test = predictions[predictions["role"] == "test"].index
    taken = [row for row in rows if row["product"] in test and row["category"] != "review"]
    assert len(taken) == values["evidence"][2]["accepted"]
    assert "210 products" in said
    assert "photos/s" in said


@pytest.mark.parametrize(("precision", "code", "verdict"), [("0.999", 4, "INCONCLUSIVE"), ("0.3", 0, "PASS")])
def test_exit_codes_and_what_did_not_pass_goes_to_review(done, shop, tmp_path, capsys, precision, code, verdict):
    out = tmp_path / "decision"
    assert main(["decide", str(done), "hog-svm", "--precision", precision, "--out", str(out), "--quiet"]) == code
    printed = capsys.readouterr().out
    assert printed.startswith(f"{verdict}: hog-svm\n")
    assert (out / "decision.json").exists()
    assert ("what would change it" in printed) == (code != 0)
    rows, said = classified(capsys, out, shop / "lying-30-0.png", shop / "standing-30-0.png")
    if code:
        assert [row["category"] for row in rows] == ["review", "review"]
        assert {row["reason"] for row in rows} == {f"the decision did not pass ({verdict})"}
        assert [row["suggestion"] for row in rows] == ["lying", "standing"]
    assert said.count("did not pass") == (1 if code else 0)


def test_a_failed_decision(tmp_path, capsys):
    folder = make_decision(tmp_path / "decision", verdict="FAIL", threshold=None)
    photo = tmp_path / "photo.png"
    photo.write_bytes(png(striped("lying", 7)))
    rows, said = classified(capsys, folder, photo)
    assert rows[0]["category"] == "review"
    assert rows[0]["suggestion"] == "lying"
    assert said.count("warning") == 1


def test_a_category_that_is_off_goes_to_review(tmp_path, capsys):
    folder = make_decision(tmp_path / "decision", off=("lying",))
    for name in STRIPES:
        (tmp_path / f"{name}.png").write_bytes(png(striped(name, 7)))
    rows, _ = classified(capsys, folder, *(tmp_path / f"{name}.png" for name in STRIPES))
    assert [row["category"] for row in rows] == ["review", "standing", "slanting"]
    assert [row["reason"] for row in rows] == ["category switched off", "", ""]
    assert [row["name"] for row in rows] == ["", "Standing", "Slanting"]


@pytest.mark.parametrize(
    ("measure", "threshold", "accepted"), [("margin", 0.0, True), ("margin", 99.0, False), ("entropy", -9.0, True)]
)
def test_measures_of_confidence(tmp_path, capsys, measure, threshold, accepted):
    folder = make_decision(tmp_path / "decision", measure=measure, threshold=threshold)
    (tmp_path / "photo.png").write_bytes(png(striped("lying", 7)))
    rows, _ = classified(capsys, folder, tmp_path / "photo.png")
    assert rows[0]["category"] == ("lying" if accepted else "review")
    assert 0 < float(rows[0]["confidence"]) <= 1


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
    assert found[0] == found[1] == found[2] == found[3]
    assert [row["suggestion"] for row in found[0]] == ["lying", "standing", "slanting", "lying", "", "slanting"]
    assert found[0][4]["reason"] == "no readable image: empty or missing file"
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
    assert "1 files that are no images" in said
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
    """40 MiB of photos pass by in a few."""
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


WRONG = [
    (["classify", "{decision}", "{tmp}/nothing.png"], "does not exist"),
    (["classify", "{decision}", "{tmp}/empty"], "holds no image"),
    (["classify", "{decision}", "{tmp}/text.parquet"], "no readable Parquet"),
    (["classify", "{decision}", "{tmp}/odd.parquet"], "no column 'image'"),
    (["classify", "{decision}", "{tmp}/latin.parquet"], "column 'product_id' holds text that is not UTF-8"),
    (["classify", "{decision}", "{tmp}/text.bson"], "bad document at byte 0"),
    (["classify", "{decision}", "{tmp}/odd.parquet", "--set", "dataset.product_id=id"], "no column"),
    (["classify", "{decision}", "{tmp}/odd.parquet", "--set", "seed=1"], "means nothing here"),
    (["classify", "{decision}", "{tmp}/p.png", "--format", "parquet"], "Parquet is not written to stdout"),
    (["classify", "{decision}", "{tmp}/p.png", "--out", "{tmp}/out.xls"], "tells no format"),
    (["classify", "{tmp}/nothing", "{tmp}/p.png"], "does not exist"),
    (["classify", "{tmp}/empty", "{tmp}/p.png"], "is missing"),
    (["decide", "{tmp}/empty", "hog-svm", "--out", "{tmp}/new"], "no run directory"),
    (["decide", "{run}", "hog", "--out", "{tmp}/new"], "choose from: hog-svm"),
    (["decide", "{run}", "../../hog-svm", "--out", "{tmp}/new"], "choose from: hog-svm"),
    (["decide", "{run}", "hog-svm", "--out", "{tmp}/taken"], "something other than a decision"),
    (["decide", "{run}", "hog-svm", "--precision", "2", "--out", "{tmp}/new"], "outside 0 to 1"),
    (["decide", "{run}", "hog-svm", "--confidence", "sure", "--out", "{tmp}/new"], "is no number"),
    (["decide", "{run}", "hog-svm", "--confidence", "nan", "--out", "{tmp}/new"], "between 0 and 1"),
    (["decide", "{run}", "hog-svm", "--measure", "luck", "--out", "{tmp}/new"], "unknown measure"),
    (["decide", "{run}", "hog-svm", "--onnx", "--out", "{tmp}/new"], "no network that ONNX can hold"),
    (["decide", "{run}", "hog-svm"], "--out"),
]


def test_the_names_of_columns_come_from_set():
    assert columns([]) == DatasetSettings()
    named = columns(["dataset.product_id=sku", "dataset.image=photo", "dataset.product_id=7"])
    assert (named.product_id, named.image) == ("7", "photo")  # the last word counts, and a name is text
    for text in ("dataset.name=fashion", "dataset=1", "product_id=sku", "dataset.product_id.x=1"):
        with pytest.raises(InputError, match="means nothing here"):
            columns([text])


def test_what_a_decision_is_asked_for():
    given = {"precision": "0.95", "confidence": "0.9", "measure": "margin", "all_categories": True, "onnx": False}
    asked = choice(argparse.Namespace(**given))
    assert (asked.precision, asked.confidence, asked.measure) == ("0.95", 0.9, "margin")
    for name, value in (("measure", "Margin"), ("confidence", "95%"), ("confidence", "")):
        with pytest.raises(InputError):
            choice(argparse.Namespace(**{**given, name: value}))


@pytest.mark.parametrize(("words", "message"), WRONG)
def test_wrong_input_is_one_line(words, message, passed, done, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "mine.txt").write_text("mine")
    (tmp_path / "p.png").write_bytes(png(striped("lying", 1)))
    for name in ("text.parquet", "text.bson"):
        (tmp_path / name).write_text("text, and long enough to be read")
    pq.write_table(pa.table({"sku": [1]}), tmp_path / "odd.parquet")
    latin = pa.StringArray.from_buffers(1, pa.py_buffer(np.array([0, 2], np.int32)), pa.py_buffer(b"\xff\xfe"))
    pq.write_table(pa.table({"product_id": latin, "image": [{"bytes": b"", "path": ""}]}), tmp_path / "latin.parquet")
    before = sorted(tmp_path.rglob("*"))
    places = {"decision": passed, "run": done, "tmp": tmp_path}
    assert main([word.format(**places) for word in words] + ["--quiet"]) == 2
    said = capsys.readouterr()
    assert message in said.err
    assert said.err.count("\n") == 1
    assert said.out in ("", ",".join(COLUMNS) + "\n")
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("out", [".", "..", "../inside", "{decision}/inside"])
def test_a_decision_takes_no_folder_in_use(done, passed, tmp_path, capsys, monkeypatch, out):
    (tmp_path / "here" / "inside").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here" / "inside")
    before = sorted([*tmp_path.rglob("*"), *passed.rglob("*")])
    words = ["decide", str(done), "hog-svm", "--out", out.format(decision=passed), "--quiet"]
    assert main(words) == 2
    said = capsys.readouterr().err
    assert "name a new" in said
    assert said.count("\n") == 1
    assert sorted([*tmp_path.rglob("*"), *passed.rglob("*")]) == before


def test_deciding_again_replaces_the_decision(done, passed, tmp_path):
    import shutil

    out = tmp_path / "decision"
    shutil.copytree(passed, out)
    assert main(["decide", str(done), "hog-svm", "--precision", "0.999", "--out", str(out), "--quiet"]) == 4
    assert json.loads((out / "decision.json").read_text())["verdict"] == "INCONCLUSIVE"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["decision"]


def test_features_that_would_be_computed_otherwise_are_refused(done, tmp_path, capsys):
    import shutil

    run = tmp_path / "run"
    shutil.copytree(done, run)
    path = run / "models" / "hog-svm" / "backend.json"
    saved = json.loads(path.read_text())
    saved["features"]["images"]["pillow"] = "1.0"
    path.write_text(json.dumps(saved))
    assert main(["decide", str(run), "hog-svm", "--precision", "0.3", "--out", str(tmp_path / "new")]) == 0
    assert "other software than in the run (images.pillow)" in capsys.readouterr().err
    saved["features"]["settings"]["orientations"] = 12
    path.write_text(json.dumps(saved))
    assert main(["decide", str(run), "hog-svm", "--out", str(tmp_path / "other")]) == 2
    assert "computed otherwise now than in the run (settings.orientations)" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()


def test_another_machine_that_computes_otherwise_is_noticed(tmp_path, capsys):
    from decisions import edit

    folder = make_decision(tmp_path / "decision")

    def change(values):
        values["model"]["probe"][1]["log_probability"] -= 0.5

    edit(folder, change)
    (tmp_path / "p.png").write_bytes(png(striped("lying", 1)))
    _, said = classified(capsys, folder, tmp_path / "p.png")
    assert "computes other numbers here" in said


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("photos/a.png", "is what is to be classified"),
        ("rows.parquet", "is what is to be classified"),
        ("photos/deep/out.parquet", "would be taken for an input"),
        ("photos/metadata.csv", "would be taken for an input"),
        ("decision/out.csv", "lies in the decision"),
        ("decision/decision.json", "lies in the decision"),
        ("pipe", "is no regular file"),
        ("link.csv", "is no regular file"),
        ("photos", "is no regular file"),
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
    words = [sys.executable, "-m", "bench.cli", "classify", folder, tmp_path / "Hemd über.png", "--quiet"]
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
        pytest.skip("this file system takes UTF-8 alone")
    assert main(["classify", str(folder), odd, "--out", str(tmp_path / "out.csv"), "--quiet"]) == 2
    said = capsys.readouterr().err
    assert "is not UTF-8; rename it" in said
    assert said.count("\n") == 1
