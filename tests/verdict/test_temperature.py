"""One temperature, fitted; entropy and calibration error against plain sums."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, logsumexp
from scipy.stats import entropy as scipy_entropy

from shelfbench.verdict import temperature as module
from shelfbench.verdict.temperature import BOUNDS, entropy, fit_temperature, log_normaliser, reliability


def drawn(seed, rows, classes, heat=1.0):
    """Log-probabilities, and labels drawn from them at a temperature of `heat`."""
    rng = np.random.default_rng(seed)
    scores = log_softmax(rng.normal(size=(rows, classes)) * 3, axis=1)
    cumulated = np.cumsum(np.exp(log_softmax(scores / heat, axis=1)), axis=1)
    return scores, (rng.random((rows, 1)) > cumulated).sum(axis=1).clip(0, classes - 1)


@pytest.mark.parametrize("heat", [0.5, 1.0, 2.5])
def test_the_temperature_that_made_the_labels_is_found(heat):
    assert fit_temperature(*drawn(0, 20_000, 8, heat)) == pytest.approx(heat, rel=0.05)


def test_it_is_the_most_likely_one_whatever_the_size_of_blocks(monkeypatch):
    scores, labels = drawn(1, 500, 7, 1.7)

    def loss(log_t):
        return -log_softmax(scores / np.exp(log_t), axis=1)[np.arange(500), labels].sum()

    best = np.exp(minimize_scalar(loss, bounds=(-3, 3), method="bounded", options={"xatol": 1e-8}).x)
    assert fit_temperature(scores, labels) == pytest.approx(best, rel=1e-3)
    monkeypatch.setattr(module, "_BLOCK", 40)
    assert fit_temperature(scores, labels) == pytest.approx(best, rel=1e-3)


def test_what_teaches_nothing_is_left_out():
    scores, labels = drawn(2, 400, 5, 2.0)
    expected = fit_temperature(scores, labels)
    impossible = np.array([[0.0, -np.inf, -np.inf, -np.inf, -np.inf]])
    more = np.concatenate([scores, scores[:9], impossible])
    assert fit_temperature(more, np.concatenate([labels, np.full(9, -1), [3]])) == expected
    assert fit_temperature(scores[:0], labels[:0]) == 1
    assert fit_temperature(scores, np.full(400, -1)) == 1
    assert fit_temperature(np.zeros((3, 1)), np.zeros(3, int)) == 1


def test_it_stays_within_its_bounds():
    scores = np.log(np.array([[0.505, 0.495]] * 5))
    assert fit_temperature(scores, np.zeros(5, int)) == pytest.approx(BOUNDS[0], rel=0.01)
    assert fit_temperature(scores, np.ones(5, int)) == pytest.approx(BOUNDS[1], rel=0.01)


def test_normaliser_and_entropy_are_scipys_even_at_the_ends(monkeypatch):
    scores, _ = drawn(3, 60, 6)
    scores[0] = [0, *[-np.inf] * 5]
    scores[1] = np.log(1 / 6)
    scores[2] = log_softmax([0.0, -800, -800, -800, -1e6, -1e6])
    for block in (1 << 21, 13):
        monkeypatch.setattr(module, "_BLOCK", block)
        for heat in (0.3, 1.0, 4.0):
            np.testing.assert_allclose(log_normaliser(scores, heat), logsumexp(scores / heat, axis=1), atol=1e-12)
            expected = scipy_entropy(np.exp(log_softmax(scores / heat, axis=1)), axis=1)
            with np.errstate(all="raise", under="ignore"):
                found = entropy(scores, heat)
            np.testing.assert_allclose(found, expected, atol=1e-12)
            assert found[0] == 0
            assert found[1] == pytest.approx(np.log(6))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 80), st.integers(1, 20), st.sampled_from([1, 2, 17]))
def test_calibration_error_is_the_plain_sum_over_bins_whatever_the_order(seed, rows, bins, digits):
    rng = np.random.default_rng(seed)
    claimed = np.round(rng.uniform(0.05, 1, rows), digits)
    correct = rng.random(rows) < 0.7
    found = reliability(np.log(claimed), correct, bins)
    upper = sorted({sorted(claimed)[int(np.ceil(number * rows / bins)) - 1] for number in range(1, bins + 1)})
    total, lower = 0.0, -1.0
    for end in upper:
        inside = (claimed > lower) & (claimed <= end)
        total += inside.sum() / rows * abs(claimed[inside].mean() - correct[inside].mean())
        lower = end
    assert found.error == pytest.approx(total, abs=1e-9)
    assert found.count.sum() == rows
    order = rng.permutation(rows)
    assert reliability(np.log(claimed)[order], correct[order], bins).error == pytest.approx(found.error, abs=1e-12)


def test_bins_hold_equal_numbers_and_no_rejected_product():
    confidence = np.append(np.log(np.linspace(0.2, 0.9, 150)), np.full(20, -np.inf))
    found = reliability(confidence, np.ones(170, bool))
    assert found.count.tolist() == [10] * 15
    assert (found.precision == 1).all()
    nothing = reliability(np.full(3, -np.inf), np.zeros(3, bool))
    assert np.isnan(nothing.error)
