"""What costs least, on the page; the record of a run that was told nothing is as before."""

import json
import math

import numpy as np
import pandas as pd
import pytest

from shelfbench.base.errors import InputError
from shelfbench.report.build import report_again
from shelfbench.report.data import open_data
from shelfbench.report.money import costs, in_words, note_prices
from shelfbench.runs.directory import open_run
from shelfbench.runs.money import computing, money_frame, money_sentence
from shelfbench.study.read import read_study
from shelfbench.verdict.costs import Prices
from tests.helpers.synthetic_run import BACKENDS, make_run

PRICES = Prices(0.05, 1.2, 0.4)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    names = {name: BACKENDS[name] for name in ("hog-svm", "bottleneck-2nn-512")}
    return make_run(tmp_path_factory.mktemp("runs") / "run", products=2000, categories=10, backends=names, own=True)


def test_each_row_is_what_its_products_cost(source):
    run = open_run(source)
    for row in money_frame(run, PRICES).to_dict("records"):
        products = run.products(row["backend"])
        test = products.where(products.split == "test")
        taken = test.confidence >= row["threshold"]
        each = np.where(taken, np.where(test.correct, 0, 1.2), 0.05)
        assert row["test_cost"] == pytest.approx(each.mean())
        assert row["test_cost_low"] < row["test_cost"] < row["test_cost_high"]
        assert row["saved"] == pytest.approx(0.05 - each.mean() - row["computing_each"])
        after = math.ceil(row["computing_once"] / row["saved"]) if row["saved"] > 0 else math.inf
        assert row["after"] == after
        assert row["after_low"] <= row["after"] <= row["after_high"]


def test_computing_costs_its_seconds(source):
    found = computing(open_run(source), "hog-svm", PRICES)
    assert found.once == pytest.approx(0.4 * 210 / 3600)
    assert found.each == pytest.approx(0.4 * 210 * 0.82 / 3600 / 2000)


def test_a_run_that_was_told_costs_has_a_section_and_a_sentence(source):
    assert costs(open_data(source)) is None
    assert in_words(open_data(source)) == ""
    before = (source / "run.json").read_text()
    try:
        note_prices(source, PRICES)
        told = json.loads((source / "run.json").read_text())["study"]["report"]
        assert told == {"papers": False, "review_cost": 0.05, "error_cost": 1.2, "price": 0.4}
        data = open_data(source)
        section = costs(data)
        [table] = section.grids
        assert len(table.grid.rows) == 2
        assert all(len(row) == len(table.grid.headers) for row in table.grid.rows)
        assert section.notes == (in_words(data),)
        assert "costs least of all backends on tune" in in_words(data)
        note_prices(source, Prices(0.05, 1.2))  # without a price: computing is no longer counted
        [table] = costs(open_data(source)).grids
        assert "Pays after" not in table.grid.headers
    finally:
        (source / "run.json").write_text(before)


def test_where_nothing_saves_anything_that_is_said(source):
    frame = money_frame(open_run(source), Prices(0.0001, 1000))
    frame["tune_accepted"] = 0
    assert "reviewing every product costs least" in money_sentence(frame, Prices(0.0001, 1000))
    assert money_sentence(pd.DataFrame(), PRICES) == ""


def test_costs_change_neither_the_record_nor_the_hash_of_a_run_without_them():
    plain = read_study("default")
    told = read_study("default", [(["report", "review_cost"], 0.05), (["report", "error_cost"], 1.2)])
    assert set(plain.record()["report"]) == {"pictures", "targets", "near_duplicates", "papers"}
    assert told.record()["report"]["error_cost"] == 1.2
    assert told.results_hash() == plain.results_hash()
    with pytest.raises(InputError, match="nothing is said of what an error costs"):
        read_study("default", [(["report", "review_cost"], 0.05)])
    with pytest.raises(InputError, match="the cost of a review is -1"):
        read_study("default", [(["report", "review_cost"], -1.0), (["report", "error_cost"], 1.2)])


def test_an_experiment_has_no_costs(tmp_path):
    (tmp_path / "run.json").write_text(json.dumps({"study": {"experiment": "profiles"}}))
    with pytest.raises(InputError, match="experiment profiles, which accepts no products"):
        report_again(tmp_path, None, PRICES)
