"""Ladders from a run to answers: what decide says, what the folder holds, what classify writes."""

import dataclasses
import json
import shutil
from fractions import Fraction

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from shelfbench.base.errors import InputError
from shelfbench.cli.main import main
from shelfbench.decision.decision import load_decision
from shelfbench.decision.ladder import Rung, judge_ladder
from shelfbench.decision.rule import Requirement, Verdict
from shelfbench.decision.rungs import precisions, rung_targets
from shelfbench.runs.levels import LevelAnswers, NamedLevel
from shelfbench.runs.record import read_json
from shelfbench.verdict.predictions import ProductRule
from tests.helpers.decisions import classified, edit, make_decision, make_shop, png, run_shop, striped

RUNGS = ["category", "level2", "level1"]
TOP = {
    "level": "level1",
    "target": Fraction(9, 10),
    "groups": ("Straight", "Oblique"),
    "names": ("Straight", "Oblique"),
    "members": (0, 0, 1),
}


def ladder(category, level1, **changes):
    return {
        "rungs": (Rung(level="category", target=Fraction(9, 10), threshold=category), Rung(threshold=level1, **TOP)),
        "threshold": category,
        "temperature": 20.0,  # so that nothing is sure beyond doubt
        **changes,
    }


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """Stripes of three directions; two of them are straight."""
    root = make_shop(tmp_path_factory.mktemp("shop"))
    table = pd.read_csv(root / "metadata.csv")
    table["level1"] = np.where(table["category"] == "slanting", "Oblique", "Straight")
    table.to_csv(root / "metadata.csv", index=False)
    return root


@pytest.fixture(scope="module")
def done(shop, tmp_path_factory):
    return run_shop(shop, tmp_path_factory.mktemp("runs") / "run")


def test_decide_and_classify_agree_on_every_product(shop, done, tmp_path, capsys):
    out = tmp_path / "decision"
    words = ["--levels", "--precision", "0.7", "--precision", "level1=0.75", "--all-categories"]
    assert main(["decide", str(done), "hog-svm", *words, "--out", str(out), "--quiet"]) == 0
    said = capsys.readouterr().out
    assert "precision on every rung (category 0.7, level1 0.75) certified together with probability 0.95" in said
    values = json.loads((out / "decision.json").read_text())
    assert [rung["level"] for rung in values["rungs"]] == ["category", "level1"]
    assert [rung["target"] for rung in values["rungs"]] == ["7/10", "3/4"]
    assert values["rungs"][1]["groups"] == ["Oblique", "Straight"]
    assert values["rungs"][0]["threshold"] == values["threshold"]
    rows, _ = classified(capsys, out, shop)
    predictions = pd.read_parquet(done / "predictions" / "hog-svm.parquet").set_index("product_id")
    test = set(predictions.index[predictions["role"] == "test"])
    assert {row["level"] for row in rows} <= {"category", "level1", "review"}
    for rung in values["rungs"]:
        taken = [row for row in rows if row["product"] in test and row["level"] == rung["level"]]
        accepted = [part["accepted"] for part in rung["evidence"] if part["role"] == "test"] or [0]
        assert len(taken) == accepted[0]
    for row in rows:
        assert bool(row["reason"]) == (row["level"] == "review") == (row["category"] == "review")
    loaded = load_decision(out)
    assert str(loaded).splitlines()[1].strip() in said
    assert loaded.classify(shop / "lying-30-0.png").columns[-1] == "level"


def test_what_is_not_sure_of_its_category_is_answered_at_its_department(tmp_path, capsys):
    for name in ("lying", "slanting"):
        (tmp_path / f"{name}.png").write_bytes(png(striped(name, 7)))
    (tmp_path / "broken.png").write_bytes(b"no photo")
    paths = [tmp_path / f"{name}.png" for name in ("lying", "slanting", "broken")]
    rows, _ = classified(capsys, make_decision(tmp_path / "both", **ladder(-1e-9, -2.0)), *paths)
    assert [row["level"] for row in rows] == ["level1", "level1", "review"]
    assert [row["category"] for row in rows] == ["Straight", "Oblique", "review"]
    assert [row["name"] for row in rows] == ["Straight", "Oblique", ""]
    assert [row["suggestion"] for row in rows] == ["lying", "slanting", ""]
    assert [row["reason"] for row in rows[:2]] == ["", ""]
    assert rows[2]["reason"].startswith("no readable image")
    finer, _ = classified(capsys, make_decision(tmp_path / "finer", **ladder(-5.0, -2.0)), *paths)
    assert [row["level"] for row in finer] == ["category", "category", "review"]
    assert float(rows[0]["confidence"]) >= float(finer[0]["confidence"])
    # a category that is switched off is still answered at its department; one without a department is not
    off, _ = classified(capsys, make_decision(tmp_path / "off", **ladder(-5.0, -2.0, off=("lying",))), *paths)
    assert [row["level"] for row in off] == ["level1", "category", "review"]
    lone = ladder(-1e-9, -2.0)
    lone["rungs"] = (lone["rungs"][0], Rung(threshold=-0.1, **TOP | {"members": (0, 0, -1)}))
    rows, _ = classified(capsys, make_decision(tmp_path / "lone", **lone), *paths)
    assert [row["level"] for row in rows] == ["level1", "review", "review"]
    assert rows[1]["reason"] == "below the threshold"
    none, _ = classified(capsys, make_decision(tmp_path / "none", **ladder(None, -2.0)), *paths)
    assert [row["level"] for row in none] == ["level1", "level1", "review"]


def test_what_is_rejected_is_answered_on_no_rung_and_test_decides_nothing():
    rng = np.random.default_rng(0)
    count, role = 3000, np.repeat(["tune", "certify", "test"], 1000)
    truth = rng.integers(0, 4, count)
    predicted = np.where(rng.random(count) < 0.95, truth, (truth + 2) % 4)
    rejected = np.where(rng.random(count) < 0.3, "unlike anything learned", None)
    table = pa.table(
        {
            "role": role,
            "category": np.array(list("abcd"))[truth],
            "predicted": np.array(list("abcd"))[predicted],
            "confidence": np.log(rng.uniform(0.5, 1, count)),
            "rejected": pa.array(rejected, pa.string()),
        }
    )
    level = NamedLevel("level1", (("X",), ("Y",)), {"a": 0, "b": 0, "c": 1, "d": 1})
    said = LevelAnswers(1.0, predicted // 2, np.log(rng.uniform(0.9, 1, count)))
    targets, required = [Fraction(97, 100), Fraction(9, 10)], Requirement.of("0.97", 0.95)

    def judged(answers):
        return judge_ladder(table, list("abcd"), required, ProductRule(), levels=[(level, answers)], targets=targets)

    found = judged(said)
    assert found.passed
    for number, part in enumerate(("tune", "certify", "test")):
        answered = sum(rung.evidence[number].accepted for rung in found.rungs if rung.evidence)
        assert 0 < answered <= np.count_nonzero((role == part) & (rejected == None))  # noqa: E711
    wrong = dataclasses.replace(said, group=np.where(role == "test", 1 - said.group, said.group))
    other = judged(wrong)
    assert [rung.threshold for rung in other.rungs] == [rung.threshold for rung in found.rungs]
    assert "falls short of 90%, beyond noise" in other.doubt
    # what watch compares the flow with: those that are answered at their category
    easy = judge_ladder(
        table, list("abcd"), Requirement.of("0.9", 0.95), ProductRule(), levels=[(level, said)], targets=targets[1:] * 2
    )
    assert sum(easy.certified_mix) == easy.evidence[1].accepted > 0


def test_a_ladder_that_did_not_pass_sends_everything_to_review(tmp_path, capsys):
    folder = make_decision(tmp_path / "decision", **ladder(None, None, verdict=Verdict.INCONCLUSIVE))
    (tmp_path / "photo.png").write_bytes(png(striped("lying", 7)))
    rows, said = classified(capsys, folder, tmp_path / "photo.png")
    assert (rows[0]["level"], rows[0]["category"]) == ("review", "review")
    assert "did not pass" in said


def test_jsonl_and_parquet_have_the_level_too(tmp_path, capsys):
    folder = make_decision(tmp_path / "decision", **ladder(-1e-9, -2.0))
    (tmp_path / "photo.png").write_bytes(png(striped("lying", 7)))
    for name in ("found.jsonl", "found.parquet"):
        words = ["classify", str(folder), str(tmp_path / "photo.png"), "--out", str(tmp_path / name), "--quiet"]
        assert main(words) == 0
    assert json.loads((tmp_path / "found.jsonl").read_text())["level"] == "level1"
    assert pd.read_parquet(tmp_path / "found.parquet")["level"].tolist() == ["level1"]


BAD = [
    (lambda values: values["rungs"][1].update(members=[0, 0]), "the groups of level1 do not fit the categories"),
    (lambda values: values["rungs"][1].update(members=[0, 0, 2]), "the groups of level1 do not fit the categories"),
    (lambda values: values["rungs"][1].update(names=["one"]), "the groups of level1 do not fit their names"),
    (lambda values: values["rungs"][1].update(level="category"), "a level is listed twice"),
    (lambda values: values["rungs"][1].update(level="../x"), "level"),
    (lambda values: values["rungs"][1].update(target="3/2"), "the target of level1 is not between 0 and 1"),
    (lambda values: values["rungs"][1].update(temperature=0.0), "temperature"),
    (lambda values: values["rungs"][0].update(threshold=-9.0), "the first rung does not fit the categories"),
    (lambda values: values["rungs"].reverse(), "the first of several rungs is not the category"),
    (lambda values: values.update(rungs=[]), "the first of several rungs is not the category"),
    (lambda values: values.update(verdict="FAIL"), "does not fit the rungs"),
]


@pytest.mark.parametrize(("change", "message"), BAD, ids=[message for _, message in BAD])
def test_a_ladder_that_decide_would_not_have_written_is_refused(change, message, tmp_path):
    folder = make_decision(tmp_path / "decision", **ladder(-1.0, -2.0))
    load_decision(folder)
    edit(folder, change)
    with pytest.raises(InputError, match=message):
        load_decision(folder)


def test_targets_by_rung():
    assert precisions([]) == "0.9"
    assert precisions(["0.8"]) == "0.8"
    assert rung_targets(precisions(["0.8", "level1=0.97"]), RUNGS) == (
        Fraction(4, 5),
        Fraction(4, 5),
        Fraction(97, 100),
    )
    assert rung_targets({"category": 0.7}, RUNGS) == (Fraction(7, 10), Fraction(9, 10), Fraction(9, 10))
    assert rung_targets(0.95, ["category"]) == (Fraction(19, 20),)
    # level2 is off, and so it is none of the rungs
    assert rung_targets(precisions(["0.8", "level2=off"]), ["category", "level1"]) == (Fraction(4, 5), Fraction(4, 5))


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["level3=0.9"], "there is no rung 'level3'"),
        (["0.9", "0.8"], "is not clear"),
        (["level1=0.9", "level1=0.8"], "is not clear"),
        (["=0.9"], "is not clear"),
        (["level1=1"], "cannot be certified"),
        (["level1=high"], "high"),
        (["level1=off"], "off"),
    ],
)
def test_targets_that_mean_nothing_are_named(texts, message):
    with pytest.raises(InputError, match=message):
        rung_targets(precisions(texts), RUNGS)


def test_a_level_may_be_left_out(shop, tmp_path):
    table = pd.read_csv(shop / "metadata.csv")
    table["level2"] = table["level1"]
    table["level1"] = np.where(table["category"] == "standing", "Up", "Down")
    root = tmp_path / "deep"
    shutil.copytree(shop, root)
    table.to_csv(root / "metadata.csv", index=False)
    done = run_shop(root, tmp_path / "run")
    words = ["decide", str(done), "hog-svm", "--levels", "--precision", "0.7", "--quiet"]

    def rungs(*further):
        out = tmp_path / f"decision{len(further)}"
        assert main([*words, *further, "--out", str(out)]) == 0
        values = json.loads((out / "decision.json").read_text())
        assert " tests on the same products" not in values["reason"] or further
        return [rung["level"] for rung in values["rungs"]], values["reason"]

    assert rungs()[0] == ["category", "level2", "level1"]
    found, reason = rungs("--precision", "level2=off")
    assert found == ["category", "level1"]
    assert "2 tests" in reason, "another ladder is another test"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--levels", "--precision", "level1=off"], "every level above the category is left out"),
        (["--levels", "--precision", "level3=off"], "there is no level 'level3' to leave out"),
        (["--precision", "level1=off"], "add --levels"),
    ],
)
def test_a_level_that_cannot_be_left_out_is_named(words, message, done, tmp_path, capsys):
    assert main(["decide", str(done), "hog-svm", *words, "--out", str(tmp_path / "decision"), "--quiet"]) == 2
    assert message in capsys.readouterr().err


def test_a_run_without_levels_and_a_rung_without_a_ladder_are_named(done, tmp_path, capsys):
    out = str(tmp_path / "decision")
    assert main(["decide", str(done), "hog-svm", "--precision", "level1=0.9", "--out", out, "--quiet"]) == 2
    assert "there is no rung 'level1'" in capsys.readouterr().err
    record = read_json(done)
    record["dataset"]["category_level1"] = {}
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in done.iterdir():
        if path.name != "run.json":
            (copy / path.name).symlink_to(path)
    (copy / "run.json").write_text(json.dumps(record))
    assert main(["decide", str(copy), "hog-svm", "--levels", "--out", out, "--quiet"]) == 2
    assert "have no levels above them" in capsys.readouterr().err
