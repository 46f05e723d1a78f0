"""Decisions from Python: the same as those of the command line, saved, loaded and used."""

import dataclasses
import json
import math
import re
from decimal import Decimal
from typing import get_args, get_type_hints

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shelfbench.base.errors import InputError
from shelfbench.base.grid import probability
from shelfbench.cli.main import main
from shelfbench.decision.deciding import decide
from shelfbench.decision.decision import load_decision
from shelfbench.decision.record import DecisionRecord, ruling_values
from shelfbench.decision.rule import MEASURES, Ruling, Verdict
from shelfbench.runs.directory import open_run
from shelfbench.verdict.settings import AGGREGATIONS
from tests.helpers.decisions import COLUMNS, edit, make_decision, make_shop, run_shop
from tests.helpers.earlier import copied_without_hashes


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    return make_shop(tmp_path_factory.mktemp("shop"))


@pytest.fixture(scope="module")
def done(shop, tmp_path_factory):
    return run_shop(shop, tmp_path_factory.mktemp("runs") / "run")


@pytest.fixture(scope="module")
def decision(done):
    return decide(str(done), "hog-svm", precision=0.7)


def contents(folder, command):
    """Every file of a decision, except the command and the hash that depends on it."""
    found = {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "decision.sha256"}
    assert found["decision.json"].count(command.encode()) == 1
    found["decision.json"] = found["decision.json"].replace(command.encode(), b"")
    return found


def test_python_and_the_command_line_write_the_same_bytes(done, decision, tmp_path, capsys):
    by_python, by_words = tmp_path / "python", tmp_path / "words"
    digest = decision.save(by_python)
    words = ["decide", str(done), "hog-svm", "--precision", "0.7", "--out", str(by_words), "--quiet"]
    assert main(words) == decision.verdict.exit_code == 0
    assert contents(by_python, "shelfbench.Decision.save") == contents(by_words, " ".join(["shelfbench", *words]))
    assert (by_python / "decision.sha256").read_text() == f"{digest}  decision.json\n"
    said = capsys.readouterr().out
    assert said.startswith(f"{decision}\ndecision: {by_words} (sha256 of decision.json ")
    assert said.endswith(f")\nto put new products into categories:\n    shelfbench classify {by_words} photos/\n")


def test_a_decision_says_what_it_is(done, decision):
    assert decision.verdict is Verdict.PASS
    assert decision.verdict == "PASS"
    assert json.dumps(decision.verdict) == '"PASS"'
    assert decision.threshold == decision.ruling.threshold < 0
    assert decision.backend == "hog-svm"
    assert repr(decision) == f"<Decision hog-svm: PASS, threshold {decision.threshold:.4f}>"
    assert str(decision).startswith("PASS: hog-svm\n  precision of at least 0.7 certified")
    assert "(for reference only)" in str(decision)
    strict = decide(open_run(done), "hog-svm", precision="0.999", all_categories=True)
    assert (strict.verdict, strict.threshold, strict.ruling.off) == (Verdict.INCONCLUSIVE, None, ())
    assert repr(strict) == "<Decision hog-svm: INCONCLUSIVE, threshold None>"


def test_a_frame_holds_what_the_command_line_writes(decision, shop, tmp_path, capsys):
    decision.save(tmp_path / "decision")
    out = tmp_path / "answers.parquet"
    assert main(["classify", str(tmp_path / "decision"), str(shop), "--out", str(out), "--quiet"]) == 0
    written = pd.read_parquet(out)
    assert list(written.columns) == COLUMNS
    assert len(written) == 210
    loaded = load_decision(str(tmp_path / "decision"), workers=1)
    pd.testing.assert_frame_equal(loaded.classify(shop), written)
    pd.testing.assert_frame_equal(decision.classify([str(shop)]), written)  # without being saved
    shown = capsys.readouterr()
    assert shown.out == ""
    assert set(shown.err.splitlines()) == {"warning: 6 products have no readable photo: 6 truncated"}
    accepted = written["reason"].isna()
    assert 0 < accepted.sum() < 210
    assert (written["category"][accepted] == written["suggestion"][accepted]).all()
    assert (written["category"][~accepted] == "review").all()


def test_settings_of_classify_are_names_of_columns(decision, shop):
    with pytest.raises(InputError, match="classify has no setting"):
        decision.classify(shop, settings={"dataset.name": "fashion"})
    with pytest.raises(InputError, match="no column 'sku'"):
        decision.classify(shop, settings={"dataset.product_id": "sku"})


def test_a_loaded_decision_is_the_same_and_can_be_copied(decision, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    digest = decision.save(first)
    loaded = load_decision(first)
    assert loaded.ruling == decision.ruling
    assert str(loaded) == str(decision)
    assert loaded.save(second) == digest
    assert {path.name: path.read_bytes() for path in first.iterdir()} == {
        path.name: path.read_bytes() for path in second.iterdir()
    }
    with pytest.raises(InputError, match="copied as it is"):
        loaded.save(tmp_path / "third", onnx=True)
    with pytest.raises(InputError, match="no network that can be saved as ONNX"):
        decision.save(tmp_path / "third", onnx=True)
    edit(first, lambda values: values.update(reason="another one"))
    with pytest.raises(InputError, match="has changed since it was loaded"):
        loaded.save(tmp_path / "third")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first", "second"]


def test_names_of_a_decision_are_those_of_the_verdict():
    hints = get_type_hints(DecisionRecord)
    assert get_args(hints["measure"]) == tuple(MEASURES)
    assert get_args(hints["aggregation"]) == AGGREGATIONS
    fields = [field.name for field in dataclasses.fields(Ruling)]
    held = list(DecisionRecord.__struct_fields__)
    assert sorted(held) == sorted(["format", *fields, "rungs", "model", "rests_on", "files"])
    assert (held[0], held[-3:]) == ("format", ["model", "rests_on", "files"])


def test_a_decision_of_an_earlier_version_is_read_and_says_less(decision, tmp_path):
    decision.save(tmp_path / "decision")
    assert "catalogue's own mix of categories: precision " in str(decision)
    edit(tmp_path / "decision", lambda values: values.pop("mix"))
    loaded = load_decision(tmp_path / "decision")
    assert loaded.ruling == dataclasses.replace(decision.ruling, mix=None)
    assert "own mix" not in str(loaded)


@given(st.floats(-30, 0) | st.floats(-1e-3, 0) | st.just(-5e-324))
def test_a_probability_is_written_so_that_it_can_be_read_and_not_above_itself(logarithm):
    text = probability(logarithm)
    assert re.fullmatch(r"0\.\d{4,12}|1", text)
    assert (text == "1") == (logarithm == 0)
    assert float(text) <= math.exp(logarithm) + 5.1e-5
    if logarithm > -1e-4:
        gap = -math.expm1(logarithm)
        assert gap <= 1 - Decimal(text) <= Decimal(max(1.11 * gap, gap + 1.01e-12))


def test_a_confidence_of_nearly_1_is_not_written_as_1(tmp_path):
    said = str(load_decision(make_decision(tmp_path / "decision", threshold=math.log1p(-3.2e-6))))
    assert "accepts products with a confidence of at least 0.9999968\n" in f"{said}\n"


@pytest.mark.parametrize(("verdict", "words"), [("FAIL", "another backend"), ("INCONCLUSIVE", "label more products")])
def test_what_did_not_pass_says_what_to_do_next(tmp_path, verdict, words):
    folder = make_decision(tmp_path / "decision", verdict=Verdict(verdict), threshold=None, remedy="this and that")
    said = str(load_decision(folder))
    assert "what would change it: this and that" in said
    assert re.search(rf"what to do next: .*{words}", said)


def paths_of(values, path=()):
    """Every value below the root, by its keys."""
    for key, value in values.items() if isinstance(values, dict) else enumerate(values):
        yield (*path, key)
        if isinstance(value, (dict, list)) and value:
            yield from paths_of(value, (*path, key))


def free(path):
    """Whether any JSON is allowed there: settings, which their own types check, and notes for people."""
    return path[:2] in {("rests_on", "chosen"), ("rests_on", "features"), ("model", "sections")} and len(path) > 2


def test_every_value_has_one_type(done, decision, tmp_path):
    folder = tmp_path / "decision"
    decision.save(folder)
    original = (folder / "decision.json").read_text()
    paths = [path for path in paths_of(json.loads(original)) if not free(path)]
    assert len(paths) > 90
    truths: list[bool] = []
    for path in paths:
        for wrong in (True, [[]], {"": 0}):

            def change(values, path=path, wrong=wrong):
                target = values
                for key in path[:-1]:
                    target = target[key]
                truths.append(isinstance(target[path[-1]], bool))
                target[path[-1]] = wrong

            (folder / "decision.json").write_text(original)
            edit(folder, change)
            if (path[-1] in ("chosen", "features") and wrong == {"": 0}) or (truths[-1] and wrong is True):
                continue
            with pytest.raises(InputError, match=r"decision\.json is not .*do not use it; make it again"):
                load_decision(folder, workers=1)


@pytest.fixture(scope="module")
def striped_decision(tmp_path_factory):
    return make_decision(tmp_path_factory.mktemp("striped") / "decision")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@given(data=st.data(), value=JSON)
@settings(max_examples=60, deadline=None)
def test_any_value_anywhere_is_read_or_refused(striped_decision, data, value):
    """Nothing else is ever raised, and anything that is read can be written again."""
    path = striped_decision / "decision.json"
    original = path.read_text()
    keys = data.draw(st.sampled_from(list(paths_of(json.loads(original)))))

    def change(values):
        for key in keys[:-1]:
            values = values[key]
        values[keys[-1]] = value

    try:
        edit(striped_decision, change)
        try:
            loaded = load_decision(striped_decision, workers=1)
        except InputError as error:
            assert str(striped_decision) in str(error)
            assert "do not use it" in error.remedy
        else:
            assert str(loaded)
            json.dumps(ruling_values(loaded.ruling), allow_nan=False)
    finally:
        path.write_text(original)


@pytest.mark.parametrize("place", [(), ("model",), ("model", "images"), ("rests_on",), ("categories", 0)])
def test_unknown_keys_are_refused(tmp_path, place):
    folder = make_decision(tmp_path / "decision")

    def change(values):
        for key in place:
            values = values[key]
        values["hook"] = "os.system"

    edit(folder, change)
    with pytest.raises(InputError, match="unknown field `hook`"):
        load_decision(folder, workers=1)


def test_a_decision_of_a_later_format_says_so(tmp_path):
    folder = make_decision(tmp_path / "decision")
    edit(folder, lambda values: values.update(format=2, later="field"))
    with pytest.raises(InputError, match="is not a decision of format 1"):
        load_decision(folder, workers=1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda saved: saved.pop("classes"), "missing required field `classes`"),
        (lambda saved: saved.update(classes=7), r"Expected `array`, got `int` - at `\$.classes`"),
        (lambda saved: saved["images"].update(fit="sideways"), "images.fit is 'sideways'"),
        (lambda saved: saved.update(temperature="1"), "Expected `float`"),
    ],
)
def test_a_damaged_backend_json_is_named(done, tmp_path, change, message):
    run = copied_without_hashes(done, tmp_path / "run")
    path = run / "models" / "hog-svm" / "backend.json"
    saved = json.loads(path.read_text())
    change(saved)
    path.write_text(json.dumps(saved))
    with pytest.raises(InputError, match=rf"backend\.json cannot be read .*{message}.*run the study again"):
        decide(run, "hog-svm")
    path.unlink()
    with pytest.raises(InputError, match="this run's models are not here"):
        decide(run, "hog-svm")


@pytest.mark.parametrize("name", ["models/hog-svm/classifier.json", "models/hog-svm/backend.json", "run.json"])
def test_json_nested_without_end_is_one_line_whoever_would_read_it(done, tmp_path, name):
    run = copied_without_hashes(done, tmp_path / "run")
    (run / name).write_bytes(b"[" * 100_000)
    with pytest.raises(InputError, match=rf"{re.escape(name)} cannot be read .*run the study again"):
        decide(run, "hog-svm")


def test_what_no_decision_can_hold_is_not_written(tmp_path):
    long = "x" * 10_001
    with pytest.raises(InputError, match="hog-svm cannot be saved as a decision"):
        make_decision(tmp_path / "decision", reason=long)
    assert not list(tmp_path.iterdir())
