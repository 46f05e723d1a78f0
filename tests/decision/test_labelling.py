"""Labelling a flow for a certificate: the table that is drawn, comes back filled in, and certifies."""

import argparse
import csv
import json
import shutil

import numpy as np
import pandas as pd
import pytest

from shelfbench.base.console import Console
from shelfbench.base.errors import InputError
from shelfbench.cli.arguments import parser
from shelfbench.cli.labelling import _check_options, _single
from shelfbench.decision import labelled as labelled_module
from shelfbench.decision.labelled import Asked, decide_labelled
from shelfbench.decision.labelling import COLUMNS, Wanted, label
from shelfbench.decision.labelling_flow import answered_flow
from shelfbench.decision.labelling_kept import rows_said
from shelfbench.decision.rule import Requirement
from shelfbench.decision.tries import Tries
from shelfbench.runs.category_names import Spellings
from shelfbench.runs.directory import open_run
from tests.helpers.synthetic_run import make_run

BEST = "bottleneck-2nn-4096"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("labelling") / "run", products=3000, categories=12)


@pytest.fixture
def here(run, tmp_path):
    shutil.copytree(run, tmp_path / "run")
    return tmp_path / "run"


def answers(run, path, products=2000, seed=0):
    """What classify would write about products that come as those of test do, and the truth by product."""
    frame = pd.read_parquet(run / "predictions" / f"{BEST}.parquet")
    frame = frame[(frame["split"] == "test") & frame["rejected"].isna()].sample(
        products, replace=True, random_state=seed
    )
    ids = [f"{number:06}" for number in range(products)]
    pd.DataFrame(
        {
            "product": ids,
            "category": "review",
            "name": "",
            "confidence": np.exp(frame["confidence"]),
            "suggestion": frame["predicted"],
            "reason": "the decision did not pass (INCONCLUSIVE)",
        }
    ).to_csv(path, index=False)
    return dict(zip(ids, frame["category"], strict=True))


def keys_of(run):
    return sorted(pd.read_parquet(run / "split.parquet")["category"].unique())


def drawn(run, tmp_path, budget=150, seed=0, **promise):
    truth = answers(run, tmp_path / "answers.csv")
    flow = answered_flow(tmp_path / "answers.csv", keys_of(run))
    wanted = Wanted(
        requirement=Requirement.of("0.8", 0.95, **promise), budget=budget, seed=seed, out=tmp_path / "to.csv"
    )
    said = label(open_run(run), BEST, flow, wanted)
    return truth, pd.read_csv(tmp_path / "to.csv", dtype=str), said


@pytest.fixture
def without_model(monkeypatch):
    """The synthetic run has no model: only the ruling is looked at."""

    class Kept:
        aggregation, temperature, calibrator, classes = "mean", 1.0, None, ()

    monkeypatch.setattr(labelled_module, "read_model", lambda folder: Kept)
    monkeypatch.setattr(labelled_module, "decision_on", lambda *given, labelled, guard: (given[3](), labelled))
    return Kept


def fill(table, truth, path, **how):
    table.assign(category=table["product_id"].map(truth)).to_csv(path, index=False, **how)
    return path


def test_the_table_is_a_random_sample_above_its_cut(here, tmp_path):
    _, table, said = drawn(here, tmp_path)
    assert tuple(table.columns) == COLUMNS
    assert len(table) == 150
    assert table["category"].isna().all()
    assert table["row"].tolist() == [str(number) for number in range(1, 151)]
    (plan,) = table["plan"].unique()
    kept = json.loads((here / "labelling" / f"{plan}.json").read_text())
    flow = pd.read_csv(tmp_path / "answers.csv", dtype={"product": str}).set_index("product")
    off = flow["suggestion"].isin(kept["off"])
    above = np.log(flow["confidence"]) >= kept["thresholds"][-1]
    assert kept["flow"] == len(flow)
    assert kept["accepted"][-1] == (above & ~off).sum()
    assert set(table["product_id"]) <= set(flow.index[above & ~off])
    assert float(table["probability"][0]) == pytest.approx(150 / kept["accepted"][-1], rel=1e-5)
    assert f"shelfbench decide {here} {BEST} --labelled {tmp_path / 'to.csv'} --out decision" in said


@pytest.mark.parametrize("how", [{}, {"sep": ";", "encoding": "utf-8-sig"}])
def test_the_table_that_comes_back_certifies(here, tmp_path, without_model, how):
    truth, table, _ = drawn(here, tmp_path, budget=400)
    without_model.classes = keys_of(here)
    shuffled = table.sample(frac=1, random_state=3)
    # a spreadsheet takes the zeros from the front of an id
    path = fill(shuffled, truth, tmp_path / "filled.csv", **how)
    text = path.read_text(encoding=how.get("encoding", "utf-8"))
    path.write_text(text.replace(",0", ",").replace(";0", ";"), encoding="utf-8")
    before = {path: path.read_bytes() for path in (here / "predictions").iterdir()}
    ruling, noted = decide_labelled(here, BEST, path)
    assert ruling.verdict == "PASS"
    plan = json.loads((here / "labelling" / f"{table['plan'][0]}.json").read_text())
    assert ruling.threshold in plan["thresholds"]
    right = [truth[one["product"]] == one["predicted"] for one in plan["drawn"]]
    taken = [one["confidence"] >= ruling.threshold for one in plan["drawn"]]
    assert noted["correct"] == np.sum(np.array(right) & taken)
    assert noted["accepted"] == np.sum(taken)
    assert noted["wrong"] == np.sum(~np.array(right))
    flow = pd.read_csv(tmp_path / "answers.csv")
    accepted = (np.log(flow["confidence"]) >= ruling.threshold) & ~flow["suggestion"].isin(ruling.off)
    assert noted["accepted_of_flow"] == accepted.sum()
    assert [part.role for part in ruling.evidence] == ["tune", "test"]
    assert before == {path: path.read_bytes() for path in (here / "predictions").iterdir()}


def test_certify_is_not_read(here, tmp_path, without_model):
    truth, table, _ = drawn(here, tmp_path, budget=300)
    without_model.classes = keys_of(here)
    path = fill(table, truth, tmp_path / "filled.csv")
    first, _ = decide_labelled(here, BEST, path)
    file = here / "predictions" / f"{BEST}.parquet"
    frame = pd.read_parquet(file)
    rows = frame["role"] == "certify"
    frame.loc[rows, "confidence"] = -9.0
    frame.to_parquet(file, index=False)
    assert decide_labelled(here, BEST, path)[0] == first


def test_wrong_labels_fail_and_what_nobody_can_tell_is_an_error(here, tmp_path, without_model):
    truth, table, _ = drawn(here, tmp_path)
    without_model.classes = keys_of(here)
    table.assign(category="?").to_csv(tmp_path / "none.csv", index=False)
    ruling, noted = decide_labelled(here, BEST, tmp_path / "none.csv")
    assert (ruling.verdict, ruling.threshold, ruling.evidence, noted["wrong"]) == ("FAIL", None, (), 150)
    assert "cannot be tested twice" in ruling.remedy
    truth, table, _ = drawn(here, tmp_path, seed=1)
    some = table.assign(category=table["product_id"].map(truth))
    some.loc[::5, "category"] = "?"
    some.to_csv(tmp_path / "some.csv", index=False)
    assert decide_labelled(here, BEST, tmp_path / "some.csv")[0].verdict == "INCONCLUSIVE"


def test_a_category_is_a_key_or_a_name_that_only_one_has():
    spellings = Spellings({"1": "Shoes", "2": "Shirts", "shirts": "Other", "=1": "=SUM", "3": "Twins", "4": "Twins"})
    for written, keys in {
        "1": {"1"},
        "shoes": {"1"},
        "shirts": {"shirts"},  # a key means itself
        "Shirts": {"2"},
        "'=1": {"=1"},
        "=sum": {"=1"},
        "TWINS": {"3", "4"},
        "": set(),
    }.items():
        assert spellings.meant(written) == keys, written


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: table.iloc[1:], r"filled.csv lacks row 1 of the 150 that were drawn; give all rows"),
        (lambda table: pd.concat([table, table.iloc[:1]]), r"row 1 comes twice"),
        (lambda table: table.assign(row="900"), "the row '900' was not drawn"),
        (lambda table: table.assign(row="one"), "the row 'one' was not drawn"),
        (lambda table: table.assign(product_id="7"), "was drawn for the product"),
        (
            lambda table: table.assign(category=["", *table["category"][1:]]),
            r"line 2: no category \(1 of 150 rows has none",
        ),
        (
            lambda table: table.assign(category="C 01"),
            "'C 01' is not a category of the run; did you mean 'c01'[?] give",
        ),
        (lambda table: table.assign(plan="../../etc/x"), "is not a plan"),
        (lambda table: table.assign(plan="0123456789ab"), "is missing; decide in the run directory"),
        (lambda table: table.assign(plan=["0123456789ab", *table["plan"][1:]]), "names 2 plans"),
        (lambda table: table.drop(columns="plan"), "no column 'plan'"),
        (lambda table: table.iloc[:0], "names 0 plans"),
    ],
)
def test_a_table_that_does_not_match_is_refused(here, tmp_path, without_model, change, message):
    truth, table, _ = drawn(here, tmp_path)
    without_model.classes = keys_of(here)
    change(table.assign(category=table["product_id"].map(truth))).to_csv(tmp_path / "filled.csv", index=False)
    with pytest.raises(InputError, match=message):
        decide_labelled(here, BEST, tmp_path / "filled.csv")


def test_a_sample_is_for_one_backend_one_promise_and_one_run(here, tmp_path, without_model):
    truth, table, _ = drawn(here, tmp_path)
    without_model.classes = keys_of(here)
    path = fill(table, truth, tmp_path / "filled.csv")
    for words, message in (
        ((here, "bottleneck-svm", path), f"was drawn for {BEST}, not for"),
        ((here, BEST, path, Asked(precision="0.9")), "of 0.8 with probability 0.95; leave out --precision"),
        ((here, BEST, path, Asked(confidence=0.9)), "of 0.8 with probability 0.95; leave out --precision"),
        ((here, BEST, path, Asked(precision="high")), "precision"),
        ((here, BEST, path, Asked(measure="margin")), "leave out --measure"),
        ((here, "nothing", path), "has no predictions of 'nothing'"),
    ):
        with pytest.raises(InputError, match=message):
            decide_labelled(*words)
    plan = here / "labelling" / f"{table['plan'][0]}.json"
    text = plan.read_text()
    plan.write_text(text.replace('"flow": 2000', '"flow": 900'))
    with pytest.raises(InputError, match="is not as shelfbench label wrote it"):
        decide_labelled(here, BEST, path)
    plan.write_text("{}")
    with pytest.raises(InputError, match="cannot be read"):
        decide_labelled(here, BEST, path)
    plan.write_text(text)
    file = here / "predictions" / f"{BEST}.parquet"
    frame = pd.read_parquet(file)
    frame.loc[frame["role"] == "tune", "confidence"] -= 0.01
    frame.to_parquet(file, index=False)
    with pytest.raises(InputError, match="another run"):
        decide_labelled(here, BEST, path)


def test_the_promise_is_the_one_that_the_sample_was_drawn_for(here, tmp_path, without_model):
    truth, table, _ = drawn(here, tmp_path, budget=400)
    without_model.classes = keys_of(here)
    path = fill(table, truth, tmp_path / "filled.csv")
    silent = decide_labelled(here, BEST, path)[0]
    assert (str(silent.target), silent.level, silent.verdict) == ("4/5", 0.95, "PASS")
    assert decide_labelled(here, BEST, path, Asked(precision="0.80", confidence="0.95"))[0] == silent


def test_labels_that_are_changed_after_the_answer_are_refused(here, tmp_path, without_model):
    truth, table, _ = drawn(here, tmp_path, budget=400)
    without_model.classes = keys_of(here)
    bad = table.assign(category=table["product_id"].map(truth))
    bad.loc[:200, "category"] = "?"
    bad.to_csv(tmp_path / "bad.csv", index=False)
    first = decide_labelled(here, BEST, tmp_path / "bad.csv")[0]
    assert first.verdict == "FAIL"
    better = fill(table, truth, tmp_path / "better.csv")
    with pytest.raises(
        InputError, match=r"better.csv: this sample was decided on before, .* rows 1, 2, 3 and \d+ others"
    ):
        decide_labelled(here, BEST, better)
    bad.loc[399, "category"] = "?"
    bad.to_csv(tmp_path / "one.csv", index=False)
    with pytest.raises(InputError, match=r"in row 400, and labels that are changed .* draw another sample"):
        decide_labelled(here, BEST, tmp_path / "one.csv")
    # the same labels in another order, or by their names, are the same question
    bad = pd.read_csv(tmp_path / "bad.csv", dtype=str).assign(
        category=lambda frame: frame["category"].str.replace(r"^c", "Category c", regex=True)
    )
    bad.sample(frac=1, random_state=1).to_csv(tmp_path / "again.csv", index=False)
    assert decide_labelled(here, BEST, tmp_path / "again.csv")[0] == first
    with pytest.raises(InputError, match="this very sample was drawn, labelled and decided on before"):
        drawn(here, tmp_path, budget=400)
    (kept,) = (here / "labelling").glob("*-labels.json")
    kept.write_text("{")
    with pytest.raises(InputError, match="first decided on, cannot be read"):
        decide_labelled(here, BEST, tmp_path / "bad.csv")


def test_rows_are_named_as_one_would_say_them():
    assert rows_said([3]) == "row 3"
    assert rows_said([3, 1200]) == "rows 3 and 1,200"
    assert rows_said([1, 2, 3, 4]) == "rows 1, 2, 3 and 4"
    assert rows_said([1, 2, 3, 4, 5]) == "rows 1, 2, 3 and 2 others"


def test_every_sample_is_a_try(here, tmp_path, without_model):
    without_model.classes = keys_of(here)
    levels = []
    for seed in range(3):
        truth, table, said = drawn(here, tmp_path, budget=400, seed=seed)
        assert ("stated with probability" in said) == (seed > 0)
        path = fill(table, truth, tmp_path / "filled.csv")
        for _ in range(2):  # the same labels again are no other question
            ruling = decide_labelled(here, BEST, path)[0]
            levels.append(ruling.level)
    assert levels == [0.95, 0.95, 0.9, 0.9, 0.85, 0.85]
    assert "(which is what the 3 tests on this run, labelled samples among them, leave together)" in ruling.reason
    made = Tries.of(here)
    made.also([{"backend": str(number), "level": 0.95} for number in range(17)]).save(Console(quiet=True))
    assert decide_labelled(here, BEST, path)[0].verdict == "INCONCLUSIVE"
    with pytest.raises(InputError, match="a sample could promise nothing"):
        drawn(here, tmp_path, seed=9)


def test_what_a_ladder_wrote_is_refused(here, tmp_path):
    answers(here, tmp_path / "answers.csv")
    pd.read_csv(tmp_path / "answers.csv").assign(level="level1").to_csv(tmp_path / "ladder.csv", index=False)
    with pytest.raises(InputError, match=r"a decision with --levels wrote it.*; classify with a decision without"):
        answered_flow(tmp_path / "ladder.csv", keys_of(here))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("a", "c000", "0.9"), ("a", "c000", "0.8")], "the product 'a' 2 times"),
        ([("a", "unheard", "0.9")], "the backend has no category 'unheard'"),
        ([("a", "c000", "1.5")], "line 2: the confidence '1.5' is not a probability"),
        ([("a", "c000", "")], "is not a probability"),
        ([("a", "c000", "high")], "is not a probability"),
    ],
)
def test_answers_that_are_no_answers_are_refused(tmp_path, rows, message):
    with open(tmp_path / "answers.csv", "w", newline="") as handle:
        csv.writer(handle).writerows([("product", "suggestion", "confidence"), *rows])
    with pytest.raises(InputError, match=message):
        answered_flow(tmp_path / "answers.csv", ["c000"])


def test_products_without_a_photo_are_never_drawn(tmp_path):
    (tmp_path / "answers.csv").write_text("product,suggestion,confidence\na,,\nb,c000,0.5\n")
    flow = answered_flow(tmp_path / "answers.csv", ["c000"])
    assert flow.confidence.tolist() == [-np.inf, np.log(0.5)]
    (tmp_path / "answers.csv").write_text("product,confidence\na,0.5\n")
    with pytest.raises(InputError, match="no column 'suggestion'"):
        answered_flow(tmp_path / "answers.csv", ["c000"])


def test_options_that_a_sample_has_no_use_for_are_refused():
    plain = parser().parse_args(["decide", "DIR", "BACKEND", "--out", "FOLDER", "--labelled", "to.csv"])
    _check_options(plain)
    with pytest.raises(InputError, match="--levels does not go with --labelled"):
        _check_options(argparse.Namespace(**{**vars(plain), "levels": True}))
    with pytest.raises(InputError, match="certifies one backend, not 2"):
        _single(argparse.Namespace(backend=["a", "b"]), "backend")
    assert _single(argparse.Namespace(backend=["a"]), "backend") == "a"
    assert _single(argparse.Namespace(precision=[]), "precision") is None
