"""Predicted categories against counts made one by one."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from shelfbench.verdict import categories as module
from shelfbench.verdict.categories import category_precision, cumulate, halves, rank_categories, weak_categories
from shelfbench.verdict.intervals import exact_interval
from shelfbench.verdict.metrics import acceptance


@dataclass(frozen=True)
class Rows:
    predicted: np.ndarray
    confidence: np.ndarray
    correct: np.ndarray


def rows(seed, count, known, ties=1):
    rng = np.random.default_rng(seed)
    predicted = rng.integers(0, known, count)
    confidence = np.round(np.log(rng.beta(2, 1, count)), ties)
    correct = rng.random(count) < np.linspace(0.4, 1, known)[predicted] * np.exp(confidence / 3)
    rejected = rng.random(count) < 0.05
    return Rows(
        np.where(rejected, -1, predicted), np.where(rejected, -np.inf, confidence), np.where(rejected, False, correct)
    )


def test_exact_intervals_are_those_of_scipy():
    for total in (0, 1, 2, 9, 40):
        hits = np.arange(total + 1)
        low, high = exact_interval(hits, np.full(total + 1, total))
        for hit in range(total + 1):
            if total == 0:
                assert (low[hit], high[hit]) == (0, 1)
            else:
                expected = binomtest(hit, total).proportion_ci(0.95, "exact")
                assert (low[hit], high[hit]) == pytest.approx((expected.low, expected.high))


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**20), st.integers(1, 60), st.integers(1, 8), st.sampled_from(["0.5", "0.8", "0.9", "1"]))
def test_the_curve_equals_a_plain_loop_over_the_numbers_of_categories(seed, count, known, target):
    ranking, choosing, test = (rows(seed + part, count, known) for part in range(3))
    curve = cumulate(ranking, choosing, test, known, target)
    assert sorted(curve.order.tolist()) == list(range(known))
    assert curve.categories.tolist() == list(range(1, known + 1))
    for point in range(known):
        kept = curve.order[: point + 1]
        chosen, shown = np.isin(choosing.predicted, kept), np.isin(test.predicted, kept)
        found = acceptance(np.where(chosen, choosing.confidence, -np.inf), choosing.correct & chosen, target)
        assert curve.threshold[point] == found.threshold
        taken = shown & (test.confidence >= found.threshold)
        assert curve.kept[point] == shown.sum()
        assert curve.correct[point] == (test.correct & shown).sum()
        assert curve.accepted[point] == taken.sum()
        assert curve.accepted_correct[point] == (test.correct & taken).sum()


def test_the_curve_ends_at_the_numbers_of_all_categories():
    ranking, choosing, test = (rows(part, 900, 30) for part in range(3))
    curve = cumulate(ranking, choosing, test, 30, "0.6")
    seen = test.confidence > -np.inf
    assert curve.precision[-1] == test.correct[seen].mean()
    threshold = acceptance(choosing.confidence, choosing.correct, "0.6").threshold
    assert curve.acceptance[-1] == np.mean(test.confidence >= threshold)
    assert curve.acceptance_of_kept[-1] == np.mean(test.confidence[seen] >= threshold)
    assert curve.precision_of_accepted[-1] == test.correct[test.confidence >= threshold].mean()
    assert curve.accepted[-1] > 100
    assert np.all(np.diff(curve.kept) >= 0)
    assert curve.categories[curve.at_share(0.8)] == 24


def test_blocks_change_nothing_and_many_categories_are_thinned(monkeypatch):
    ranking, choosing, test = (rows(part, 500, 90) for part in range(3))
    whole = cumulate(ranking, choosing, test, 90, "0.7")
    monkeypatch.setattr(module, "_BLOCK", 1000)
    np.testing.assert_array_equal(cumulate(ranking, choosing, test, 90, "0.7").threshold, whole.threshold)
    monkeypatch.setattr(module, "POINTS", 17)
    thin = cumulate(ranking, choosing, test, 90, "0.7")
    assert {1, 72, 90} <= set(thin.categories.tolist())
    assert len(thin.categories) <= 18
    same = np.isin(whole.categories, thin.categories)
    for name in ("threshold", "kept", "correct", "accepted", "accepted_correct"):
        np.testing.assert_array_equal(getattr(thin, name), getattr(whole, name)[same])


def test_ranking_goes_by_the_lower_bound_and_puts_what_was_never_predicted_last():
    # 0: 3 of 3; 1: 39 of 40; 2: never; 3: 0 of 5; 4: 20 of 40
    predicted = np.repeat([0, 1, 3, 4], [3, 40, 5, 40])
    correct = np.concatenate([np.ones(3), np.arange(40) < 39, np.zeros(5), np.arange(40) < 20]).astype(bool)
    ranked = rank_categories(Rows(predicted, np.zeros(88), correct), 5)
    assert ranked.tolist() == [1, 4, 0, 3, 2]


def test_precision_by_category_counts_only_what_is_accepted():
    made = rows(4, 400, 6)
    found = category_precision(made, -0.5, 6)
    for code in range(6):
        taken = (made.predicted == code) & (made.confidence >= -0.5)
        assert (found.accepted[code], found.correct[code]) == (taken.sum(), (taken & made.correct).sum())
        assert found.predicted[code] == (made.predicted == code).sum()
        assert found.low[code] <= found.precision[code] <= found.high[code]
    nothing = category_precision(made, np.inf, 6)
    assert nothing.accepted.sum() == 0
    assert np.isnan(nothing.precision).all()


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**20), st.sampled_from([0.6, 0.9]), st.sampled_from([0.8, 0.95]))
def test_weak_categories_are_those_that_a_one_sided_binomial_test_rejects(seed, target, level):
    made = rows(seed, 300, 9)
    taken = made.confidence >= -0.6
    expected = []
    for code in np.unique(made.predicted[taken]):
        own = taken & (made.predicted == code)
        tested = binomtest(int(made.correct[own].sum()), int(own.sum()), target, alternative="less")
        if tested.pvalue < 1 - level:
            expected.append(code)
    found = weak_categories(made.confidence, made.predicted, made.correct, -0.6, target=str(target), level=level)
    assert found.tolist() == expected
    by_key = weak_categories(
        made.confidence, made.predicted.astype(str), made.correct, -0.6, target=str(target), level=level
    )
    assert by_key.tolist() == [str(code) for code in expected]
    assert (
        len(weak_categories(made.confidence, made.predicted, made.correct, np.inf, target=str(target), level=level))
        == 0
    )


@settings(deadline=None)
@given(st.sets(st.integers(0, 10**6), min_size=1, max_size=60), st.integers(0, 5), st.randoms())
def test_halves_are_halves_and_follow_the_product_not_its_row(ids, seed, random):
    ids = list(ids)
    first = dict(zip(ids, halves(np.array(ids), seed).tolist(), strict=True))
    assert sum(first.values()) == (len(ids) + 1) // 2
    random.shuffle(ids)
    assert dict(zip(ids, halves(np.array(ids), seed).tolist(), strict=True)) == first
