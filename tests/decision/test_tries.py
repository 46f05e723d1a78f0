"""Tests on the same products are counted, and several that are named together share what one may miss."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

import shelfbench
from shelfbench.base.console import Console
from shelfbench.base.errors import InputError
from shelfbench.cli.main import main
from shelfbench.decision.rule import Requirement, judge
from shelfbench.decision.tries import FILE, Tries, questions, shared, stated
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


def test_a_promise_is_stated_at_the_level_that_is_left(tmp_path):
    required = Requirement(all_categories=True)
    ruling = judge(shop(), tuple(SHARES), required, ProductRule())
    assert stated(ruling, made(tmp_path, ("a", 0.95))) == ruling
    third = stated(ruling, made(tmp_path, *((name, 0.95) for name in "abc")))
    assert (third.verdict, third.level, third.threshold) == ("PASS", 0.85, ruling.threshold)
    assert third.reason.endswith("keep what they promise with probability 0.85: that is what is promised")
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
    assert "with probability 0.975 on" in text
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
