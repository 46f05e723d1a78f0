"""Measures of confidence from a table of predictions."""

import numpy as np
import pyarrow as pa
import pytest

from shelfbench.base.errors import InputError
from shelfbench.verdict.confidence import MEASURES, measure
from shelfbench.verdict.metrics import acceptance
from shelfbench.verdict.predictions import product_rows, rejected_rows
from shelfbench.verdict.temperature import fit_temperature


def table_of(scores, rejected=0, temperature=1.0):
    classes = np.array([f"c{code}" for code in range(scores.shape[1])], object)
    rows, out = product_rows(scores, classes, temperature), rejected_rows(rejected)
    reason = [None] * len(scores) + ["broken"] * rejected
    names = ("confidence", "margin", "entropy", "raw_confidence")
    return pa.table({name: np.concatenate([rows[name], out[name]]) for name in names} | {"rejected": reason})


@pytest.fixture
def scores():
    values = np.random.default_rng(0).normal(size=(200, 6)) * 2
    return values - np.logaddexp.reduce(values, axis=1, keepdims=True)


def test_larger_is_surer_and_a_rejected_product_is_least_sure(scores):
    table = table_of(scores, rejected=2)
    probability = np.sort(np.exp(scores), axis=1)
    expected = {
        "confidence": np.log(probability[:, -1]),
        "margin": np.log(probability[:, -1]) - np.log(probability[:, -2]),
        "entropy": (probability * np.log(probability)).sum(axis=1),
    }
    assert set(expected) == set(MEASURES)
    for name, values in expected.items():
        found = measure(table, name)
        np.testing.assert_allclose(found[:-2], values)
        assert np.isneginf(found[-2:]).all()


def test_rejected_is_what_the_reason_says(scores):
    table = table_of(scores).set_column(4, "rejected", pa.array(["broken"] + [None] * 199, pa.string()))
    assert all(np.isneginf(measure(table, name)[0]) for name in MEASURES)


def test_no_temperature_changes_the_order_of_margins(scores):
    correct = np.random.default_rng(1).random(200) < 0.95
    before, after = (measure(table_of(scores, temperature=heat), "margin") for heat in (1.0, 2.7))
    assert acceptance(before, correct).accepted == acceptance(after, correct).accepted > 0
    assert fit_temperature(scores, scores.argmax(axis=1)) < 1


def test_a_table_of_an_earlier_version_lacks_one_measure_alone(scores):
    table = table_of(scores).drop_columns(["entropy"])
    with pytest.raises(InputError, match=r"mine\.parquet has no column 'entropy' .*use another measure"):
        measure(table, "entropy", "mine.parquet")
    assert len(measure(table, "margin")) == len(measure(table, "confidence")) == 200
    with pytest.raises(InputError, match="choose from: confidence, margin, entropy"):
        measure(table, "surprise")


def test_nan_is_named(scores):
    values = table_of(scores)["margin"].to_numpy().copy()
    values[5] = np.nan
    table = table_of(scores)
    with pytest.raises(InputError, match="margin of row 5 is NaN"):
        measure(table.set_column(1, "margin", pa.array(values)), "margin")
