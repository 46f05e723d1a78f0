"""Calibrators: bounded by what few products tell, keeping the order, chosen out of fold, and safe to read."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import log_softmax

from shelfbench.verdict.calibration import (
    CHOICES,
    Calibrator,
    choose_calibrator,
    claims,
    fit_bounded_temperature,
    fit_calibrator,
    log_odds,
)
from shelfbench.verdict.predictions import ProductRule
from shelfbench.verdict.temperature import BOUNDS, fit_temperature, reliability


def drawn(seed, count, classes=5, sharp=1.0):
    """Log-probabilities, and labels drawn from the same ones sharpened: above 1, the scores are too modest."""
    rng = np.random.default_rng(seed)
    scores = log_softmax(rng.normal(0, 2.5, (count, classes)), axis=1)
    truth = (log_softmax(sharp * scores, axis=1) + rng.gumbel(size=scores.shape)).argmax(axis=1)
    return scores, truth


def lopsided(seed, count):
    """Scores that no temperature can correct: as sure as they are, a fifth of the products are wrong."""
    rng = np.random.default_rng(seed)
    scores = log_softmax(rng.normal(0, 3, (count, 4)), axis=1)
    labels = scores.argmax(axis=1)
    wrong = rng.random(count) < 0.2
    return scores, np.where(wrong, (labels + 1) % 4, labels)


@pytest.mark.parametrize("count", [10, 27, 70, 300])
def test_a_few_right_products_do_not_make_everything_certain(count):
    scores, _ = drawn(0, count)
    labels = scores.argmax(axis=1)
    bounded, free = fit_bounded_temperature(scores, labels), fit_temperature(scores, labels)
    assert free == pytest.approx(BOUNDS[0], rel=0.05)
    claimed = np.exp(claims(Calibrator(temperature=bounded), scores)[1])
    # of so many right products, the rule of succession says that the next is wrong once in count + 2
    assert 0.3 / (count + 2) < 1 - claimed.mean() < 0.15
    assert len(np.unique(claimed)) > 0.95 * count


@pytest.mark.parametrize("sharp", [0.5, 1.0, 2.0])
def test_many_products_are_not_held_back(sharp):
    scores, labels = drawn(1, 4000, sharp=sharp)
    free, bounded = fit_temperature(scores, labels), fit_bounded_temperature(scores, labels)
    assert free <= bounded * (1 + 1e-9)
    assert bounded == pytest.approx(free, rel=0.03)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(5, 200), st.sampled_from(["beta", "isotonic"]), st.floats(0, 1))
def test_beta_and_isotonic_keep_predictions_and_order(seed, count, method, noise):
    scores, labels = drawn(seed, count)
    rng = np.random.default_rng(seed)
    labels = np.where(rng.random(count) < noise, rng.integers(-1, 5, count), labels)
    found = fit_calibrator(method, scores, labels)
    plain = Calibrator(temperature=found.temperature)
    (first, before), (second, after) = claims(plain, scores), claims(found, scores)
    assert (first == second).all()
    assert (np.diff(after[np.argsort(before, kind="stable")]) >= 0).all()
    assert len(np.unique(after)) >= 0.98 * len(np.unique(before)), "products that could be told apart still can"
    assert (after < 0).all()
    assert np.isfinite(after).all()


@pytest.mark.parametrize("method", ["beta", "isotonic"])
def test_what_no_temperature_corrects_is_corrected(method):
    scores, labels = lopsided(2, 3000)
    new, truth = lopsided(3, 3000)

    def error(found):
        predicted, values = claims(found, new)
        return reliability(values, predicted == truth).error

    best = error(fit_calibrator(method, scores, labels))
    assert best < 0.5 * error(fit_calibrator("temperature", scores, labels))
    assert choose_calibrator(scores, labels, 0).method in ("beta", "isotonic")


def test_vector_scaling_finds_what_was_added_to_a_category():
    scores, labels = drawn(5, 3000, classes=3)
    moved = log_softmax(scores + np.array([1.5, 0, -1.0]), axis=1)
    found = fit_calibrator("vector", moved, labels)
    shift = np.asarray(found.offsets)
    np.testing.assert_allclose(shift - shift[1], [-1.5, 0, 1.0], atol=0.35)
    assert choose_calibrator(moved, labels, 0).method == "vector", "more products are accepted so"


def test_without_a_reason_the_temperature_is_chosen():
    chosen = [choose_calibrator(*drawn(seed, 300), 0).method for seed in range(5)]
    assert chosen.count("temperature") >= 4
    assert choose_calibrator(*lopsided(0, 40), 0).method == "temperature", "too few to compare"


def test_there_is_an_answer_without_data():
    for method in (*CHOICES, "unbounded"):
        assert fit_calibrator(method, np.empty((0, 3)), np.empty(0, int)).temperature == 1
        fit_calibrator(method, np.log(np.full((4, 3), 1 / 3)), np.full(4, -1))
    assert choose_calibrator(np.zeros((90, 1)), np.zeros(90, int), 0).temperature == 1


def test_the_temperature_without_a_bound_is_as_before():
    scores, labels = drawn(6, 80)
    found = fit_calibrator("unbounded", scores, labels)
    assert found.temperature == fit_temperature(scores, labels)
    classes, starts = np.array(list("abcde"), object), np.arange(80)
    one = ProductRule("mean", found.temperature).rows(scores, starts, classes)
    other = ProductRule("mean", found.temperature, calibrator=found).rows(scores, starts, classes)
    assert all(np.array_equal(one[name], other[name]) for name in ("predicted", "confidence", "margin", "entropy"))


@pytest.mark.parametrize("method", CHOICES)
def test_rows_claim_what_the_calibrator_says(method):
    scores, labels = lopsided(7, 400)
    found = fit_calibrator(method, scores, labels)
    rows = ProductRule("mean", found.temperature, calibrator=found).rows(
        scores, np.arange(400), np.array(list("abcd"), object)
    )
    predicted, values = claims(found, scores)
    assert (rows["predicted"] == np.array(list("abcd"), object)[predicted]).all()
    np.testing.assert_allclose(rows["confidence"], values, atol=1e-12)
    np.testing.assert_allclose(rows["raw_confidence"], scores[np.arange(400), predicted])
    top = np.stack(list(rows["top5_confidence"]))
    np.testing.assert_array_equal(top[:, 0], rows["confidence"])
    assert (top <= top[:, :1]).all()
    assert (np.exp(top).sum(axis=1) <= 1 + 1e-9).all()


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-600, 0), min_size=1, max_size=20))
def test_log_odds_are_finite_and_ascend(values):
    found = log_odds(np.sort(np.array(values)))
    assert np.isfinite(found).all()
    assert (np.diff(found) >= 0).all()


@pytest.mark.parametrize(
    "values",
    [
        {"method": "platt"},
        {"temperature": 0.0},
        {"temperature": float("nan")},
        {"method": "beta"},
        {"method": "beta", "beta": (1.0, float("nan"), 0.0)},
        {"method": "beta", "beta": (-1.0, 1.0, 0.0)},
        {"method": "beta", "beta": (1.0, 1.0)},
        {"method": "temperature", "beta": (1.0, 1.0, 0.0)},
        {"method": "isotonic", "knots": (0.0, 0.0), "odds": (0.0, 1.0)},
        {"method": "isotonic", "knots": (0.0, 1.0), "odds": (1.0, 0.0)},
        {"method": "isotonic", "knots": (0.0, 1.0), "odds": (1.0,)},
        {"method": "vector", "factors": (1.0, -1.0), "offsets": (0.0, 0.0)},
        {"method": "vector", "factors": (1.0,), "offsets": (float("inf"),)},
    ],
)
def test_numbers_that_no_fit_gives_are_refused(values):
    with pytest.raises(ValueError, match=r"calibration|temperature|vector"):
        Calibrator(**values)
