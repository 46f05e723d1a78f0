"""Decide on a small run of HOG + SVM, then classify: the same products, other layouts, broken and hostile input."""

import json
from fractions import Fraction

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import shelfbench
from shelfbench.base.errors import InputError
from shelfbench.cli.main import main
from shelfbench.data.sources.settings import DatasetSettings
from shelfbench.decision.classifying import columns
from shelfbench.decision.rule import Requirement, Verdict
from tests.helpers.decisions import COLUMNS, STRIPES, classified, make_decision, make_shop, png, run_shop, striped
from tests.helpers.earlier import copied_without_hashes


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    return make_shop(tmp_path_factory.mktemp("shop"))


@pytest.fixture(scope="module")
def done(shop, tmp_path_factory):
    return run_shop(shop, tmp_path_factory.mktemp("runs") / "run")


@pytest.fixture(scope="module")
def passed(done, tmp_path_factory):
    out = tmp_path_factory.mktemp("decision") / "passed"
    assert main(["decide", str(done), "hog-svm", "--precision", "0.7", "--out", str(out), "--quiet"]) == 0
    return out


def test_whoever_may_read_files_may_read_the_decision(passed, tmp_path):
    (tmp_path / "ordinary").write_text("")
    modes = {path.stat().st_mode for path in passed.iterdir()}
    assert modes == {(tmp_path / "ordinary").stat().st_mode}


def test_the_folder_holds_what_is_promised(passed, done):
    names = sorted(path.name for path in passed.iterdir())
    assert names == ["classifier.json", "decision.json", "decision.sha256", "guard.safetensors", "weights.safetensors"]
    values = json.loads((passed / "decision.json").read_text())
    record = json.loads((done / "run.json").read_text())
    assert values["verdict"] == "PASS"
    assert values["rests_on"]["dataset"]["hash"] == record["dataset"]["hash"]
    assert values["rests_on"]["split"]["hash"] == record["split"]["hash"]
    assert values["rests_on"]["run_command"] == "shelfbench run test"
    assert [part["role"] for part in values["evidence"]] == ["tune", "certify", "test"]
    assert set(values["files"]) == {"classifier.json", "guard.safetensors", "weights.safetensors"}
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


def test_photos_in_memory_get_the_answers_of_files(passed, shop):
    decision = shelfbench.load_decision(passed)
    photos = [shop / "lying-30-0.png", shop / "standing-30-0.png"]
    first, second = (photo.read_bytes() for photo in photos)
    given = {"a": first, "b": (second, second), "none": (), "text": b"no photo"}
    found = decision.classify_photos(given).set_index("product")
    assert list(found.index) == list(given)
    known = decision.classify(photos)
    for key, row in zip("ab", known.to_dict("records"), strict=True):
        for name in ("category", "suggestion", "reason"):
            assert found.loc[key, name] == row[name] or pd.isna(row[name])
        assert found.loc[key, "confidence"] == pytest.approx(row["confidence"], abs=1e-9)
    assert list(found.loc[["none", "text"], "category"]) == ["review", "review"]
    with pytest.raises(InputError, match="the photos of 'a' are not bytes"):
        decision.classify_photos({"a": "photo.jpg"})


@pytest.mark.parametrize(("precision", "verdict"), [("0.999", "INCONCLUSIVE"), ("0.3", "PASS")])
def test_exit_codes_and_what_did_not_pass_goes_to_review(done, shop, tmp_path, capsys, precision, verdict):
    out, code = tmp_path / "decision", {"INCONCLUSIVE": 4, "PASS": 0}[verdict]
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
    folder = make_decision(tmp_path / "decision", verdict=Verdict.FAIL, threshold=None)
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
    assert [row["name"] for row in rows] == ["Lying", "Standing", "Slanting"]


@pytest.mark.parametrize(
    ("measure", "threshold", "accepted"), [("margin", 0.0, True), ("margin", 99.0, False), ("entropy", -9.0, True)]
)
def test_measures_of_confidence(tmp_path, capsys, measure, threshold, accepted):
    folder = make_decision(tmp_path / "decision", measure=measure, threshold=threshold)
    (tmp_path / "photo.png").write_bytes(png(striped("lying", 7)))
    rows, _ = classified(capsys, folder, tmp_path / "photo.png")
    assert rows[0]["category"] == ("lying" if accepted else "review")
    assert 0 < float(rows[0]["confidence"]) <= 1


WRONG = [
    (["classify", "{decision}", "{tmp}/nothing.png"], "does not exist"),
    (["classify", "{decision}", "{tmp}/empty"], "contains no image"),
    (["classify", "{decision}", "{tmp}/text.parquet"], "not a readable Parquet file"),
    (["classify", "{decision}", "{tmp}/odd.parquet"], "no column 'image'"),
    (["classify", "{decision}", "{tmp}/latin.parquet"], "column 'product_id' contains text that is not UTF-8"),
    (["classify", "{decision}", "{tmp}/text.bson"], "bad document at byte 0"),
    (["classify", "{decision}", "{tmp}/odd.parquet", "--set", "dataset.product_id=id"], "no column"),
    (["classify", "{decision}", "{tmp}/odd.parquet", "--set", "seed=1"], "classify has no setting"),
    (["classify", "{decision}", "{tmp}/p.png", "--format", "parquet"], "Parquet is not written to stdout"),
    (["classify", "{decision}", "{tmp}/p.png", "--out", "{tmp}/out.xls"], "does not determine the format"),
    (["classify", "{tmp}/nothing", "{tmp}/p.png"], "does not exist"),
    (["classify", "{tmp}/empty", "{tmp}/nothing.png"], "nothing.png does not exist"),  # before anything is loaded
    (["classify", "{tmp}/empty", "{tmp}/p.png"], "is missing"),
    (["decide", "{tmp}/empty", "hog-svm", "--out", "{tmp}/new"], "run directory"),
    (["decide", "{run}", "hog", "--out", "{tmp}/new"], "choose from: hog-svm"),
    (["decide", "{run}", "../../hog-svm", "--out", "{tmp}/new"], "choose from: hog-svm"),
    (["decide", "{run}", "hog-svm", "--out", "{tmp}/taken"], "something other than a decision"),
    (["decide", "{run}", "hog-svm", "--precision", "2", "--out", "{tmp}/new"], "not between 0 and 1"),
    (["decide", "{run}", "hog-svm", "--confidence", "sure", "--out", "{tmp}/new"], "is not a number"),
    (["decide", "{run}", "hog-svm", "--confidence", "nan", "--out", "{tmp}/new"], "between 0 and 1"),
    (["decide", "{run}", "hog-svm", "--measure", "luck", "--out", "{tmp}/new"], "unknown measure"),
    (["decide", "{run}", "hog-svm", "--onnx", "--out", "{tmp}/new"], "no network that can be saved as ONNX"),
    (["decide", "{run}", "hog-svm"], "--out"),
]


def test_the_names_of_columns_come_from_set():
    assert columns({}) == DatasetSettings()
    named = columns({"dataset.product_id": 7, "dataset.image": "photo", "dataset.file_name": "file"})
    assert (named.product_id, named.image, named.file_name) == ("7", "photo", "file")  # a name is text
    assert columns({"dataset.retry": True}).retry
    with pytest.raises(InputError, match=r"classify: dataset\.retry"):
        columns({"dataset.retry": "yes"})
    for name in ("dataset.name", "dataset", "product_id"):
        with pytest.raises(InputError, match="classify has no setting"):
            columns({name: "sku"})


def test_what_a_decision_is_asked_for():
    given = {"precision": "0.95", "confidence": "0.9", "measure": "margin", "all_categories": True}
    asked = Requirement.of(**given)
    assert (asked.target, asked.level, asked.measure) == (Fraction(19, 20), 0.9, "margin")
    assert asked.all_categories
    assert Requirement.of(0.95, 0.9, "margin", True) == asked  # a number from Python is read by its digits
    for name, value in (("measure", "Margin"), ("confidence", "95%"), ("confidence", ""), ("confidence", None)):
        with pytest.raises(InputError):
            Requirement.of(**{**given, name: value})


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


def test_deciding_again_replaces_the_decision(done, passed, tmp_path, capsys):
    import shutil

    out = tmp_path / "decision"
    shutil.copytree(passed, out)
    assert main(["decide", str(done), "hog-svm", "--precision", "0.999", "--out", str(out), "--quiet"]) == 4
    assert json.loads((out / "decision.json").read_text())["verdict"] == "INCONCLUSIVE"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["decision"]
    said = capsys.readouterr().out
    assert "\n  replaces the decision on hog-svm (70%, probability 0.95)\n" in said
    assert "shelfbench classify" not in said


def test_features_that_would_be_computed_otherwise_are_refused(done, tmp_path, capsys):
    run = copied_without_hashes(done, tmp_path / "run")
    path = run / "models" / "hog-svm" / "backend.json"
    saved = json.loads(path.read_text())
    saved["features"]["images"]["pillow"] = "1.0"
    path.write_text(json.dumps(saved))
    assert main(["decide", str(run), "hog-svm", "--precision", "0.3", "--out", str(tmp_path / "new")]) == 0
    assert "software differs from that of the run (images.pillow)" in capsys.readouterr().err
    saved["features"]["settings"]["orientations"] = 12
    path.write_text(json.dumps(saved))
    assert main(["decide", str(run), "hog-svm", "--out", str(tmp_path / "other")]) == 2
    assert "would now be computed differently than in the run (settings.orientations)" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()


def test_another_machine_that_computes_otherwise_is_noticed(tmp_path, capsys):
    from tests.helpers.decisions import edit

    folder = make_decision(tmp_path / "decision")

    def change(values):
        values["model"]["probe"][1]["log_probability"] -= 0.5

    edit(folder, change)
    (tmp_path / "p.png").write_bytes(png(striped("lying", 1)))
    _, said = classified(capsys, folder, tmp_path / "p.png")
    assert "computes different numbers here" in said
