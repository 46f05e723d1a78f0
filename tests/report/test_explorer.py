"""The page's slider."""

import re
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from shelfbench.report.explorer import (
    DEPARTMENTS,
    TARGETS,
    count_cuts,
    explorer_data,
    explorer_html,
    largest_departments,
    thresholds_of,
)
from shelfbench.runs.data_record import DatasetRecord
from shelfbench.runs.directory import open_run
from shelfbench.runs.record import RunRecord
from shelfbench.verdict.certify import certify, coverage_grid
from shelfbench.verdict.metrics import acceptance


@pytest.fixture(scope="module")
def products(finished_run):
    return open_run(finished_run).products("bottleneck-2nn-512")


@pytest.mark.parametrize("target", [500, 700, 900, 950, 995])
def test_thresholds_are_those_of_the_tables(products, target):
    place = TARGETS.index(target)
    found = thresholds_of(products)
    wanted = Fraction(target, 1000)
    test, tune, certified = (products.where(products.role == role) for role in ("test", "tune", "certify"))
    assert found["plain"][place] == acceptance(test.confidence, test.correct, wanted).threshold
    assert found["tuned"][place] == acceptance(tune.confidence, tune.correct, wanted).threshold
    one = certify(certified.confidence, certified.correct, coverage_grid(tune.confidence), wanted)
    assert found["certified"][place] == one.threshold


def test_counts_equal_a_plain_loop():
    rng = np.random.default_rng(0)

    class Test:
        confidence = rng.integers(-5, 0, 300).astype(float)
        correct = rng.random(300) < 0.5

    Test.confidence[:9] = -np.inf
    code = rng.integers(0, 3, 300)
    thresholds = np.array([-np.inf, -5.0, -3.0, -1.0, 0.0, np.inf])[1:]
    cuts = count_cuts(Test, code, 3, thresholds)
    for row, threshold in enumerate(thresholds):
        taken = Test.confidence >= threshold
        for part in range(3):
            assert cuts.accepted[row, 1 + part] == np.count_nonzero(taken & (code == part))
            assert cuts.errors[row, 1 + part] == np.count_nonzero(taken & (code == part) & ~Test.correct)
        assert cuts.accepted[row, 0] == np.count_nonzero(taken)
        assert cuts.errors[row, 0] == np.count_nonzero(taken & ~Test.correct)


def test_departments_are_the_first_level_largest_first_and_the_rest_together(products, finished_run):
    keys = products.keys
    run = open_run(finished_run)
    record = RunRecord(dataset=DatasetRecord(category_level1={key: key[-1] for key in keys}))
    names, code = largest_departments(products, replace(run, record=record))
    sizes = np.bincount(code[products.split == "test"], minlength=len(names))
    assert sorted(names) == sorted({key[-1] for key in keys})
    assert list(sizes) == sorted(sizes, reverse=True)
    assert all(names[part] == keys[truth][-1] for part, truth in zip(code[:50], products.truth[:50], strict=True))
    names, code = largest_departments(products, replace(run, record=RunRecord()))
    assert len(names) == DEPARTMENTS
    assert names[-1] == f"{len(keys) - DEPARTMENTS + 1} others"
    assert code.max() == DEPARTMENTS - 1
    assert np.bincount(code).sum() == len(products.truth)


def test_counts_of_the_modes_add_up_and_meet_the_precision(finished_run):
    data = explorer_data(open_run(finished_run))
    assert data["targets"][80] == 900
    for one in data["backends"]:
        for mode in data["modes"]:
            accepted, errors = (np.array(one["modes"][mode][key]) for key in ("accepted", "errors"))
            assert (accepted[:, 0] == accepted[:, 1:].sum(axis=1)).all()
            assert (errors <= accepted).all()
            assert (accepted[:, 1:] <= np.array(data["sizes"])).all()
        plain = np.array(one["modes"]["plain"]["accepted"])[:, 0], np.array(one["modes"]["plain"]["errors"])[:, 0]
        assert (1000 * (plain[0] - plain[1]) >= np.array(data["targets"]) * plain[0]).all()
        assert (np.diff(plain[0]) <= 0).all()


def test_no_test_products_no_explorer(small_run):
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    for path in [*(small_run / "predictions").iterdir(), small_run / "split.parquet"]:
        table = pq.read_table(path)
        pq.write_table(table.filter(pc.not_equal(table["split"], "test")), path)
    assert explorer_data(open_run(small_run)) is None


@pytest.mark.parametrize(("certified", "mode"), [(0, "plain"), (3, "certified")])
def test_the_slider_opens_with_what_is_promised_if_anything_is(certified, mode):
    place = TARGETS.index(900)
    counts = [[9]] * len(TARGETS)
    promised = [[9 if number < place else certified if number == place else 0] for number in range(len(TARGETS))]
    modes = {name: {"accepted": counts, "errors": counts} for name in ("plain", "tuned")}
    modes["certified"] = {"accepted": promised, "errors": [[0]] * len(TARGETS)}
    data = {
        "targets": list(TARGETS),
        "total": 9,
        "departments": [],
        "sizes": [9],
        "modes": {name: name for name in modes},
        "backends": [{"name": "x", "curve": [], "modes": modes}],
    }
    [opened] = re.findall(r'value="(\w+)" checked', str(explorer_html(data)))
    assert opened == mode
