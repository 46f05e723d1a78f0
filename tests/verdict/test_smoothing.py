"""Probabilities with zeros and margins of any unit become log-probabilities that `tune` makes most likely."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from shelfbench.verdict.smoothing import SHARES, UNCHOSEN, Smoothing, fit_margins, fit_smoothing

votes = arrays.arrays(np.float64, st.tuples(st.integers(1, 6), st.integers(2, 5)), elements=st.integers(0, 10))


@given(votes, st.sampled_from(SHARES), st.floats(0.05, 20))
def test_smoothing_makes_log_probabilities_in_the_same_order(found, share, temperature):
    total = found.sum(axis=1, keepdims=True)
    probabilities = np.divide(found, total, out=np.zeros_like(found), where=total > 0)
    scores = Smoothing(share, temperature).log_probabilities(probabilities)
    assert np.isfinite(scores).all()
    assert np.logaddexp.reduce(scores, axis=1) == pytest.approx(0, abs=1e-9)
    for row, order in zip(scores, probabilities, strict=True):
        assert (np.diff(row[np.argsort(order, kind="stable")]) >= 0).all()


def likelihood(scores, labels):
    return scores[np.arange(len(labels)), labels].mean()


def test_a_share_and_a_temperature_are_the_most_likely_ones():
    """Ten votes that are right four times in five, and now and then say that the truth is impossible."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 400)
    wrong = rng.random(400) < 0.2
    said = np.where(wrong, (labels + 1) % 4, labels)
    probabilities = np.stack([rng.multinomial(10, np.eye(4)[code] * 0.9 + 0.025) / 10 for code in said])
    found = fit_smoothing(probabilities, labels)
    best = likelihood(found.log_probabilities(probabilities), labels)
    for share in SHARES:
        for temperature in np.geomspace(0.1, 10, 41):
            assert likelihood(Smoothing(share, temperature).log_probabilities(probabilities), labels) <= best + 1e-6
    assert found.share > SHARES[0]
    assert likelihood(Smoothing(1e-12, 1.0).log_probabilities(probabilities), labels) < best - 0.1


@pytest.mark.parametrize("unit", [1e-6, 1.0, 1e5])
def test_margins_have_no_unit(unit):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 300)
    margins = rng.normal(size=(300, 3)) + 2 * np.eye(3)[labels]
    factor = fit_margins(unit * margins, labels)
    assert factor * unit == pytest.approx(fit_margins(margins, labels), rel=1e-3)

    def fit(value):
        scores = value * unit * margins
        return likelihood(scores - np.logaddexp.reduce(scores, axis=1, keepdims=True), labels)

    assert fit(factor) >= max(fit(0.9 * factor), fit(1.1 * factor))


def test_without_data_nothing_is_chosen():
    assert fit_smoothing(np.zeros((0, 3)), np.zeros(0, int)) == Smoothing(UNCHOSEN, 1.0)
    assert fit_margins(np.zeros((0, 3)), np.zeros(0, int)) == 1.0
    assert fit_margins(np.zeros((2, 3)), np.zeros(2, int)) == 1.0
