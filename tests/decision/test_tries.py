"""Tests on the same products are counted, and several that are named together share what one may miss."""

import errno
import json
import os
import shutil
from dataclasses import replace

import numpy as np
import pytest

import shelfbench
from shelfbench.base.console import Console
from shelfbench.base.errors import InputError
from shelfbench.cli.main import main
from shelfbench.decision import deciding
from shelfbench.decision.rule import Requirement, judge
from shelfbench.decision.tries import FILE, Tries, questions, shared, stated
from shelfbench.runs.draws import write_draws
from shelfbench.verdict.certify import certify, coverage_grid
from shelfbench.verdict.predictions import ProductRule
from shelfbench.verdict.walk import Tuned
from tests.decision.test_mixing import SHARES, shop
from tests.helpers.decisions import make_shop, run_shop

QUIET = Console(quiet=True)


def made(folder, *asked):
    return Tries.of(folder).also([{"backend": backend, "level": level} for backend, level in asked])


def test_the_same_question_is_asked_once_and_others_cost_their_part(tmp_path):
    tries = made(tmp_path, ("a", 0.95))
    tries.save(QUIET)
    made(tmp_path, ("a", 0.95)).save(QUIET)
    assert len((tmp_path / FILE).read_text().splitlines()) == 1
    more = made(tmp_path, ("b", 0.95), ("c", 0.99))
    assert (len(more.made), more.left) == (3, 0.89)
    more.save(QUIET)
    assert Tries.of(tmp_path) == more
    assert made(tmp_path, *((str(number), 0.9) for number in range(10))).left == 0


@pytest.mark.parametrize("line", ["{", "[]", "7", '{"level": 2}', '{"level": "x"}', "{}"])
def test_a_damaged_count_is_not_passed_over(tmp_path, line):
    (tmp_path / FILE).write_text('{"level": 0.9}\n' + line + "\n")
    with pytest.raises(InputError, match=f"{FILE}: line 2 is damaged"):
        Tries.of(tmp_path)


@pytest.mark.parametrize("text", ['{"level": 0.9}', '\n\n{"level": 0.9}\n \n', '\ufeff{"level": 0.9}\r\n'])
def test_what_an_editor_leaves_of_line_ends_loses_no_test(tmp_path, text):
    (tmp_path / FILE).write_text(text, newline="")
    assert Tries.of(tmp_path).made == ({"level": 0.9},)
    more = made(tmp_path, ("a\u2028\udcff", 0.95)).save(QUIET)
    assert (len(more.made), more.left) == (2, 0.85)
    assert Tries.of(tmp_path) == more


@pytest.mark.parametrize("kind", ["null", "nowhere", "folder", "pipe"])
def test_what_would_swallow_tests_is_refused(tmp_path, kind):
    path, elsewhere = tmp_path / FILE, tmp_path / "elsewhere"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/null" if kind == "null" else elsewhere)
    with pytest.raises(InputError, match=f"{FILE} is (a link|not a file), so that no test would be counted"):
        Tries.of(tmp_path)
    assert not elsewhere.exists()


@pytest.mark.parametrize("reason", [errno.EACCES, errno.EROFS])
def test_a_promise_says_if_its_test_cannot_be_counted(tmp_path, monkeypatch, capsys, reason):
    def refuse(*given):
        raise OSError(reason, os.strerror(reason))

    ruling = judge(shop(), tuple(SHARES), Requirement(all_categories=True), ProductRule())
    made(tmp_path, ("a", 0.95)).save(QUIET)
    monkeypatch.setattr(os, "open", refuse)
    first = stated(ruling, made(tmp_path, ("a", 0.95)).save(QUIET))
    second = stated(ruling, made(tmp_path, ("b", 0.95)).save(QUIET))
    monkeypatch.undo()
    assert (first.verdict, first.level, second.level) == ("PASS", 0.95, 0.9)
    assert "certified with probability 0.95 (only if no other test was made on these products: " in first.reason
    assert f"leave together, and only if no other test was made on these products: {FILE} of" in second.reason
    assert "copy the run to where it can be written" in capsys.readouterr().err
    assert Tries.of(tmp_path).made == ({"backend": "a", "level": 0.95},)


def test_a_full_disk_makes_no_decision(tmp_path, monkeypatch):
    def full(*given):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "open", full)
    with pytest.raises(InputError, match="No space left"):
        made(tmp_path, ("a", 0.95)).save(QUIET)


def test_of_two_commands_at_once_one_sees_the_other(tmp_path):
    one, other = made(tmp_path, ("a", 0.95)), made(tmp_path, ("b", 0.95))  # both have read, neither has written
    assert sorted([one.save(QUIET).left, other.save(QUIET).left]) == [0.9, 0.95]


def test_draws_of_a_study_are_counted_together(tmp_path):
    zero, one, copied = (tmp_path / name for name in ("seed-0", "seed-1", "copied"))
    for folder in (zero, one, copied):
        folder.mkdir()
        made(folder, ("a", 0.95)).save(QUIET)
    assert Tries.of(one).left == 0.95  # merely called like draws
    write_draws(tmp_path, "shelfbench run --seeds 2", {0: ("done", ""), 1: ("done", "")})
    ruling = judge(shop(), tuple(SHARES), Requirement(all_categories=True), ProductRule())
    second = stated(ruling, made(one, ("a", 0.95)).save(QUIET))
    assert second.level == 0.9
    assert "the 2 tests on this run and on the other draws of its study leave together" in second.reason
    assert (Tries.of(copied).left, len((one / FILE).read_text().splitlines())) == (0.95, 1)


def test_a_promise_is_stated_at_the_level_that_is_left(tmp_path):
    required = Requirement(all_categories=True)
    ruling = judge(shop(), tuple(SHARES), required, ProductRule())
    assert stated(ruling, made(tmp_path, ("a", 0.95))) == ruling
    third = stated(ruling, made(tmp_path, *((name, 0.95) for name in "abc")))
    assert (third.verdict, third.level, third.threshold) == ("PASS", 0.85, ruling.threshold)
    assert third.reason.startswith(
        "precision of at least 0.9 certified with probability 0.85 (which is what the 3 tests on the same products to "
        "certify on leave together) on "
    )
    assert third.reason.count("probability") == 1
    assert "0.95" not in third.reason.partition("(which")[0]
    seventh = judge(shop(), tuple(SHARES), shared(required, 7), ProductRule())
    joint = stated(seventh, made(tmp_path, *((name, 1 - 0.05 / 7) for name in "abcdefgh")))
    assert "certified with probability 0.942 (which" in joint.reason  # 0.942857...
    assert joint.reason.count("probability") == 1
    last = stated(ruling, made(tmp_path, *((str(number), 0.95) for number in range(20))))
    assert (last.verdict, last.threshold, last.evidence, last.mix) == ("INCONCLUSIVE", None, (), None)
    failed = replace(ruling, verdict="FAIL", threshold=None)
    assert stated(failed, made(tmp_path, ("a", 0.95), ("b", 0.95))) == failed


def test_tests_that_are_named_together_share_what_one_may_miss():
    required = Requirement()
    assert shared(required, 0) == shared(required, 1) == required
    assert shared(required, 5).level == 0.99
    asked = questions(shared(required, 4), [("a", "margin"), ("b", "margin")])
    assert [(one["backend"], one["measure"], one["level"]) for one in asked] == [
        ("a", "margin", 0.9875),
        ("b", "margin", 0.9875),
    ]


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    return run_shop(make_shop(tmp_path_factory.mktemp("shop")), tmp_path_factory.mktemp("runs") / "run")


def test_each_decision_on_a_run_is_counted_and_a_family_is_one(done, tmp_path, capsys):
    run = tmp_path / "run"
    shutil.copytree(done, run)
    words = ["decide", str(run), "hog-svm", "--precision", "0.6", "--all-categories", "--quiet"]
    measures = ["--measure", "probability", "--measure", "margin"]
    assert main([*words, *measures, "--out", str(tmp_path / "joint")]) == 0
    text = capsys.readouterr().out
    assert text.startswith("one joint test of 2:\n  PASS: hog-svm by probability, accepts ")
    assert "certified with probability 0.95 (which is what the 2 tests on the same products" in text
    record = json.loads((tmp_path / "joint" / "decision.json").read_text())
    assert record["level"] == 0.95
    family = shelfbench.decide_family(run, ["hog-svm"], ["probability", "margin"], precision="0.6", all_categories=True)
    accepted = [one.ruling.evidence[1].accepted for one in family.decisions]
    assert family.best is family.decisions[int(np.argmax(accepted))]
    assert len((run / FILE).read_text().splitlines()) == 2
    assert main([*words, "--out", str(tmp_path / "later")]) == 0  # by itself: a third test
    later = json.loads((tmp_path / "later" / "decision.json").read_text())
    assert later["level"] == 0.9
    assert shelfbench.load_decision(tmp_path / "later").ruling.reason == later["reason"]


def test_who_may_have_chosen_on_the_page_is_told_what_to_do(done, tmp_path, capsys):
    run = tmp_path / "run"
    shutil.copytree(done, run)
    words = ["decide", str(run), "hog-svm", "--precision", "0.6", "--all-categories", "--out", str(tmp_path / "one")]
    assert main(words) == 0
    assert "the page shows" not in capsys.readouterr().err
    shutil.copyfile(run / "predictions" / "hog-svm.parquet", run / "predictions" / "other.parquet")
    assert main(words) == 0
    assert "the page shows the same test of all 2 backends" in capsys.readouterr().err
    assert main([*words, "--precision", "0.9999"]) != 0
    assert main([*words, "--measure", "probability", "--measure", "margin"]) == 0
    assert "the page shows" not in capsys.readouterr().err


def test_a_test_that_another_command_makes_meanwhile_counts(done, tmp_path, monkeypatch):
    run = tmp_path / "run"
    shutil.copytree(done, run)
    # while this decision is made, another is finished
    monkeypatch.setattr(deciding, "_compare", lambda *given: made(run, ("other", 0.95)).save(QUIET))
    found = shelfbench.decide(run, "hog-svm", precision="0.6", all_categories=True)
    assert (found.verdict, found.ruling.level) == ("PASS", 0.9)
    assert len(Tries.of(run).made) == 2


def test_a_decision_that_cannot_be_made_is_not_counted(done, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(done, run)
    next((run / "models" / "hog-svm").glob("*.safetensors")).write_bytes(b"")
    with pytest.raises(InputError):
        shelfbench.decide(run, "hog-svm", precision="0.6")
    assert not (run / FILE).exists()


def test_a_family_names_each_of_its_members_once(done):
    with pytest.raises(InputError, match="no measure, or one of them twice: margin, margin"):
        shelfbench.decide_family(done, ["hog-svm"], ["margin", "margin"])
    with pytest.raises(InputError, match="has no predictions of 'other'"):
        shelfbench.decide_family(done, ["hog-svm", "other"])
    assert not (done / FILE).exists()


def passing(draws, tests, level, seed=0):
    """Share of draws in which any of several backends, each truly at 0.895, is certified at 0.9."""
    rng, count = np.random.default_rng(seed), 0
    for _ in range(draws):
        found = False
        for _ in range(tests):
            tune, sure = rng.random(200), rng.random(200)
            grid = coverage_grid(tune, 20)
            start = Tuned.of(tune, rng.random(200) < 0.895, grid)
            found |= certify(sure, rng.random(200) < 0.895, grid, "0.9", level, start=start).certified
        count += found
    return count / draws


def test_the_best_of_five_is_wrong_no_more_often_than_is_said(tmp_path):
    left = made(tmp_path, *((str(number), 0.95) for number in range(5))).left
    spread = 3 * np.sqrt(0.05 * 0.95 / 50)
    assert passing(50, 5, 0.95) <= 1 - left + 3 * np.sqrt(0.25 * 0.75 / 50)
    assert passing(50, 5, shared(Requirement(), 5).level) <= 0.05 + spread


@pytest.mark.slow
def test_the_best_of_five_is_wrong_no_more_often_than_is_said_in_two_thousand_draws():
    one_by_one, together = (passing(2000, 5, level, seed=1) for level in (0.95, 0.99))
    assert 0.05 + 3 * np.sqrt(0.05 * 0.95 / 2000) < one_by_one <= 0.25
    assert together <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 2000)
