"""The ceiling that wrong labels set, against simulated labels, and its inverse."""

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from shelfbench.base.errors import InputError
from shelfbench.verdict.noise import against_truth, ceiling, measured_precision, true_precision

shares = st.floats(0, 1)


def test_a_perfect_model_is_measured_right_nine_times_in_ten():
    assert measured_precision(1.0, 0.1) == ceiling(0.1) == pytest.approx(0.9)
    assert true_precision(0.9, 0.1) == pytest.approx(1.0)
    assert math.isnan(true_precision(0.95, 0.1)), "no model is measured above the ceiling"


def test_formula_is_what_simulated_labels_measure():
    rng = np.random.default_rng(0)
    products, categories, noise = 200_000, 5, 0.2
    truth = rng.integers(0, categories, products)
    predicted = np.where(
        rng.random(products) < 0.7, truth, (truth + rng.integers(1, categories, products)) % categories
    )
    wrong = rng.random(products) < noise
    label = np.where(wrong, (truth + rng.integers(1, categories, products)) % categories, truth)
    found = against_truth(predicted, label, truth)
    assert found.agreement == pytest.approx(1 / (categories - 1), abs=0.01)
    assert found.noise == pytest.approx(noise, abs=0.005)
    assert found.predicted(0.25) == pytest.approx(found.measured, abs=0.005)
    assert true_precision(found.measured, noise, 0.25) == pytest.approx(found.true, abs=0.01)
    assert found.measured < found.true - 0.1, "the simulation shows an effect"


@given(shares, st.floats(0, 0.5), shares)
def test_inverse(true, noise, agreement):
    assume(1 - noise - noise * agreement > 1e-3)
    assert true_precision(measured_precision(true, noise, agreement), noise, agreement) == pytest.approx(true, abs=1e-6)


@given(shares, shares, st.floats(0, 0.4), shares)
def test_better_models_are_measured_better(one, two, noise, agreement):
    low, high = sorted((one, two))
    assert measured_precision(low, noise, agreement) <= measured_precision(high, noise, agreement) <= ceiling(noise)


def test_labels_that_say_nothing():
    assert math.isnan(true_precision(0.5, 0.5, 1.0))


@pytest.mark.parametrize("values", [(1.1, 0.1, 0.0), (0.5, -0.1, 0.0), (0.5, 0.1, 2.0), (math.nan, 0.1, 0.0)])
def test_numbers_outside_0_to_1_are_refused(values):
    with pytest.raises(InputError, match="is not between 0 and 1"):
        measured_precision(*values)
    with pytest.raises(InputError, match="is not between 0 and 1"):
        true_precision(*values)


def test_rejected_products_are_wrong_in_both():
    truth, label = np.array(["a", "a", "b"]), np.array(["a", "b", "b"])
    found = against_truth(np.array(["a", "b", ""]), label, truth)
    assert (found.measured, found.true, found.noise) == (
        pytest.approx(2 / 3),
        pytest.approx(1 / 3),
        pytest.approx(1 / 3),
    )
    assert found.agreement == 1.0
    with pytest.raises(InputError, match="no product"):
        against_truth(np.array([]), np.array([]), np.array([]))
