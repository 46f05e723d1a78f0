"""What a decision costs: the numbers of its thresholds, in words, in its folder, and never where nothing was said."""

import json
import math

import msgspec
import numpy as np
import pyarrow as pa
import pytest

from shelfbench.cli.main import main
from shelfbench.decision.decision import load_decision
from shelfbench.decision.money import MoneyEntry, money_values, price
from shelfbench.decision.rule import Requirement, judge
from shelfbench.runs.money import Computing
from shelfbench.verdict.costs import Prices, spent
from shelfbench.verdict.predictions import ProductRule
from tests.decision.test_rule import KEYS, SIZES, products
from tests.helpers.decisions import edit, make_decision

PRICES = Prices(0.05, 1.2, 0.4)
NONE = Computing()


def priced(table, prices=PRICES, computing=NONE):
    ruling = judge(table, KEYS, Requirement.of(0.9, 0.95), ProductRule())
    return ruling, price(table, "confidence", (ruling.threshold, ruling.off), prices, computing)


def test_both_thresholds_cost_what_their_products_cost():
    table = products(SIZES, skill=9)
    ruling, money = priced(table)
    frame = table.to_pandas()
    confidence = np.where(frame["predicted"].isin(ruling.off), -np.inf, frame["confidence"])
    right = (frame["predicted"] == frame["category"]).to_numpy() & (confidence > -np.inf)
    assert money.certified.threshold == ruling.threshold
    assert money.certified.test.accepted == next(part.accepted for part in ruling.evidence if part.role == "test")
    for at in (money.certified, money.cheapest):
        for role in ("certify", "test"):
            rows = (frame["role"] == role).to_numpy()
            assert getattr(at, role) == spent(confidence[rows], right[rows], at.threshold, PRICES)
    said = "\n".join(money.lines("probability"))
    assert "Accepting saves only where more than 95.8% of the accepted products are right." in said
    assert "more than the 0.05 of reviewing everything" in said
    assert "would cost least, chosen on tune, stricter than the certified one" in said


def test_nothing_but_tune_chooses_the_cheapest():
    table = products(SIZES, skill=9)
    frame = table.to_pandas()
    other = frame["role"] != "tune"
    frame.loc[other, "category"] = np.random.default_rng(0).permutation(frame.loc[other, "category"])
    assert priced(pa.Table.from_pandas(frame))[1].cheapest.threshold == priced(table)[1].cheapest.threshold


def test_where_no_threshold_pays_that_is_said():
    _, money = priced(products(SIZES, skill=1), Prices(0.01, 50))
    assert money.cheapest.threshold is None
    assert "no threshold costs less than reviewing every product" in money.lines("probability")[-1]


def test_where_an_error_costs_less_than_a_review_nothing_is_said_against_accepting_all():
    _, money = priced(products(SIZES, skill=9), Prices(2, 1))
    said = "\n".join(money.lines("probability"))
    assert "accepting every product costs least" in said
    assert "to accept all that are as sure as the least sure product of tune: it costs" in said
    assert "would cost least" not in said


def test_computing_is_saved_after_some_products_or_never():
    _, money = priced(products(SIZES, skill=9), computing=Computing(once=10.0, each=0.001))
    least = money.cheapest.test
    after = math.ceil(10 / (0.05 - least.cost - 0.001))
    assert f"0.00100 a product and 10.0 once, saved after {after:,} products" in money.lines("margin")[-1]
    assert "saved never" in money.lines("margin")[1]
    assert priced(products(SIZES, skill=9), Prices(0.05, 1.2))[1].computing is None


@pytest.mark.parametrize("skill", [1, 9, 1000])
def test_what_is_written_is_read_again(skill):
    _, money = priced(products(SIZES, skill=skill), computing=Computing(10.0, 0.001))
    read = msgspec.json.decode(json.dumps(money_values(money), allow_nan=False).encode(), type=MoneyEntry).money
    assert str(read) == str(money)  # NaN is not equal to itself


def test_a_decision_keeps_its_costs_and_one_without_says_nothing_of_them(tmp_path):
    _, money = priced(products(SIZES, skill=9))
    loaded = load_decision(make_decision(tmp_path / "with", money=money), workers=1)
    assert loaded.ruling.money == money
    assert "at 0.05 a review and 1.2 an error" in str(loaded)
    plain = make_decision(tmp_path / "without")
    assert "money" not in json.loads((plain / "decision.json").read_text())
    edit(tmp_path / "with", lambda values: values["money"]["prices"].update(review=-1))
    with pytest.raises(Exception, match="review"):
        load_decision(tmp_path / "with", workers=1)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--review-cost", "0,05", "--error-cost", "1.2"], "the cost of a review is '0,05'"),
        (["--review-cost", "0.05"], "nothing is said of what an error costs; give both"),
        (["--price", "0.4"], "nothing is said of what a review costs; give both"),
        (["--review-cost", "0.05", "--error-cost", "-3"], "the cost of an error is '-3'"),
        (["--review-cost", "0.05", "--error-cost", "1", "--price", "nan"], "the price of an hour is 'nan'"),
    ],
)
@pytest.mark.parametrize("verb", [["decide", "nowhere", "x", "--out", "d"], ["run", "default"], ["report", "nowhere"]])
def test_what_is_no_cost_is_one_line_before_anything_is_done(verb, words, says, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main([*verb, *words]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert says in line
    assert not list(tmp_path.iterdir())
