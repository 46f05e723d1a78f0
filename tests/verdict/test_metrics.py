"""Acceptance and related numbers against brute force, scikit-learn and the properties they must have."""

import itertools
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score, top_k_accuracy_score

from shelfbench.base.errors import InputError
from shelfbench.verdict.intervals import bootstrap_intervals
from shelfbench.verdict.metrics import (
    acceptance,
    acceptance_curve,
    balanced_accuracy,
    exact_target,
    oracle_bound,
    precision,
    top_k,
)
from shelfbench.verdict.summary import precision_by_decile, summarise

TARGETS = ("0.5", "0.7", "0.9", "0.95", "1", Fraction(1, 3), Fraction(2, 3))


def brute_force(confidence, correct, target, total):
    """Try every value of the confidence as a threshold, in exact fractions."""
    best = (0, 0, float("inf"))
    for threshold in set(confidence) - {-np.inf}:
        accepted = sum(1 for value in confidence if value >= threshold)
        right = sum(1 for value, hit in zip(confidence, correct, strict=True) if value >= threshold and hit)
        if Fraction(right, accepted) >= target and accepted > best[0]:
            best = (accepted, right, threshold)
    return best[0] / total, best[2], best[0], best[1]


def as_tuple(result):
    return result.acceptance, result.threshold, result.accepted, result.correct


def random_case(rng):
    rows = int(rng.integers(1, 30))
    levels = int(rng.integers(1, 8))
    confidence = np.log(rng.integers(1, levels + 1, rows) / levels)
    confidence[rng.random(rows) < 0.1] = -np.inf
    return confidence, rng.random(rows) < rng.uniform(0.3, 1.0)


def test_acceptance_equals_brute_force_on_ten_thousand_cases_with_heavy_ties():
    rng = np.random.default_rng(7)
    for case in range(10_000):
        confidence, correct = random_case(rng)
        target = exact_target(TARGETS[case % len(TARGETS)])
        total = len(confidence) + int(rng.integers(0, 3))
        found = acceptance(confidence, correct, target, total)
        assert as_tuple(found) == brute_force(confidence.tolist(), correct.tolist(), target, total)


def test_shuffling_rows_changes_nothing():
    rng = np.random.default_rng(3)
    confidence = np.round(np.log(rng.beta(1.6, 1, 900)), 1)
    confidence[:30] = -np.inf
    truth = rng.integers(0, 12, 900)
    predicted = np.where(rng.random(900) < np.exp(confidence), truth, (truth + 1) % 12)
    rank = np.where(predicted == truth, 0, rng.integers(-1, 9, 900))
    before = summarise(confidence, truth, predicted, rank, targets=TARGETS)
    for _ in range(1_000):
        order = rng.permutation(900)
        shuffled = (column[order] for column in (confidence, truth, predicted, rank))
        assert summarise(*shuffled, targets=TARGETS) == before


def test_bootstrap_does_not_depend_on_the_order_of_rows():
    rng = np.random.default_rng(5)
    confidence = np.round(np.log(rng.beta(1.6, 1, 400)), 1)
    correct = rng.random(400) < np.exp(confidence)
    order = rng.permutation(400)
    assert bootstrap_intervals(confidence, correct, resamples=200) == bootstrap_intervals(
        confidence[order], correct[order], resamples=200
    )


def test_bootstrap_equals_a_plain_loop_that_chooses_the_threshold_again():
    rng = np.random.default_rng(11)
    confidence = np.round(np.log(rng.beta(2, 1, 150)), 1)
    confidence[:10] = -np.inf
    correct = rng.random(150) < np.exp(confidence)
    right = correct & (confidence > -np.inf)
    draw = np.random.default_rng(2)
    precisions, acceptances = [], []
    for _ in range(3000):
        rows = draw.integers(0, 150, size=150)
        precisions.append(right[rows].mean())
        acceptances.append(acceptance(confidence[rows], right[rows], "0.8").acceptance)
    found = bootstrap_intervals(confidence, correct, "0.8", resamples=3000, level=0.9, seed=2)
    for interval, drawn in ((found.precision, precisions), (found.acceptance, acceptances)):
        # as far off as chance allows in percentiles of 3,000 draws
        low, high = np.quantile(drawn, [0.035, 0.065]), np.quantile(drawn, [0.935, 0.965])
        assert low[0] <= interval.low <= low[1]
        assert high[0] <= interval.high <= high[1]


def test_bootstrap_interval_of_precision_is_the_binomial_one():
    correct = np.arange(2000) < 1228
    found = bootstrap_intervals(np.zeros(2000), correct).precision
    half = 1.96 * np.sqrt(0.614 * 0.386 / 2000)
    assert (found.low, found.high) == pytest.approx((0.614 - half, 0.614 + half), abs=0.003)


def test_bootstrap_is_exact_for_targets_with_large_denominators():
    correct = np.ones(500, dtype=bool)
    found = bootstrap_intervals(np.zeros(500), correct, "0.999999999", resamples=20).acceptance
    assert (found.low, found.high) == (1.0, 1.0)


def test_nine_of_ten_meets_nine_tenths_exactly():
    confidence = np.zeros(10)
    assert acceptance(confidence, np.arange(10) < 9, 0.9).acceptance == 1.0
    assert acceptance(confidence, np.arange(10) < 9, 0.900000001).acceptance == 0.0
    assert exact_target(0.9) == Fraction(9, 10)


def test_rejected_rows_count_but_are_never_accepted():
    confidence = np.array([-0.1, -0.2, -np.inf, -np.inf])
    found = acceptance(confidence, np.ones(4, dtype=bool), "0.1")
    assert (found.acceptance, found.accepted) == (0.5, 2)
    nothing = acceptance(np.full(3, -np.inf), np.ones(3, dtype=bool), "0.1")
    assert (nothing.acceptance, nothing.threshold) == (0.0, float("inf"))


def test_saturated_confidences_form_one_group():
    correct = np.arange(100) < 85
    assert acceptance(np.zeros(100), correct, "0.9").acceptance == 0.0
    assert acceptance(-np.arange(100) * 1e-15, correct, "0.9").accepted == 94


@pytest.mark.parametrize("bad", [np.nan, float("nan")])
def test_nan_confidence_is_an_error(bad):
    with pytest.raises(InputError, match="row 1 is NaN"):
        acceptance(np.array([0.0, bad]), np.array([True, True]))
    with pytest.raises(InputError, match="NaN"):
        bootstrap_intervals(np.array([0.0, bad]), np.array([True, True]))


@pytest.mark.parametrize("target", ["nine", 1.2, -0.1, "1/0", 0.12345678901, float("nan")])
def test_bad_targets_are_refused(target):
    with pytest.raises(InputError, match="target precision"):
        exact_target(target)


def test_no_rows_and_too_small_totals_are_refused():
    with pytest.raises(InputError, match="no rows"):
        acceptance(np.array([]), np.array([], dtype=bool))
    with pytest.raises(InputError, match="2 rows of a total of 1"):
        precision(np.array([True, True]), total=1)
    with pytest.raises(InputError, match="shape"):
        acceptance(np.zeros(3), np.zeros(2, dtype=bool))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(-6, 0), st.booleans()), min_size=1, max_size=60), st.sampled_from(TARGETS))
def test_the_frontier_gives_the_acceptance_of_every_target(rows, target):
    confidence = np.array([float(value) for value, _ in rows])
    correct = np.array([hit for _, hit in rows])
    wanted = exact_target(target)
    precisions, shares = acceptance_curve(confidence, correct).frontier()
    assert (np.diff(precisions) > 0).all()
    assert (np.diff(shares) < 0).all()
    reached = shares[precisions >= float(wanted) - 1e-12]
    assert acceptance(confidence, correct, wanted).acceptance == (reached[0] if len(reached) else 0.0)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(-6, 0), st.booleans()), min_size=1, max_size=60), st.sampled_from(TARGETS))
def test_no_threshold_beats_the_oracle(rows, target):
    confidence = np.array([float(value) for value, _ in rows])
    correct = np.array([hit for _, hit in rows])
    bound = oracle_bound(int(correct.sum()), len(rows), target)
    assert acceptance(confidence, correct, target).acceptance <= bound <= 1


def test_the_oracle_bound_of_the_papers_precision():
    assert oracle_bound(614, 1000, "0.9") == 0.682
    assert oracle_bound(6140, 10_000, "0.9") == 0.6822
    assert oracle_bound(0, 10, "0.9") == 0.0
    assert oracle_bound(10, 10, "1") == 1.0


def test_balanced_accuracy_equals_scikit_learn():
    rng = np.random.default_rng(1)
    truth = rng.choice(9, 500, p=np.arange(1, 10) / 45)
    predicted = np.where(rng.random(500) < 0.6, truth, rng.integers(0, 9, 500))
    assert balanced_accuracy(truth, predicted) == pytest.approx(balanced_accuracy_score(truth, predicted))
    assert balanced_accuracy(np.array(["a", "a", "b"]), np.array(["a", "b", ""])) == 0.25


def test_top_5_equals_scikit_learn():
    rng = np.random.default_rng(2)
    scores = rng.random((300, 8))
    truth = rng.integers(0, 8, 300)
    rank = (scores > scores[np.arange(300), truth][:, None]).sum(axis=1)
    assert top_k(rank, 5) == pytest.approx(top_k_accuracy_score(truth, scores, k=5))
    assert top_k(np.array([0, 4, 5, -1]), 5) == 0.5


def test_deciles_group_categories_by_their_size_in_train():
    sizes = np.array([50, 1, 30, 7, 7, 900, 12, 4, 70, 3, 0, 22])
    truth = np.repeat(np.arange(12), 3)
    correct = np.tile([True, False, False], 12)
    correct[truth == 5] = True
    deciles = precision_by_decile(truth, correct, sizes)
    assert [decile.categories for decile in deciles] == [2, 2] + [1] * 8
    assert (deciles[0].smallest, deciles[0].largest, deciles[0].rows) == (0, 1, 6)
    assert (deciles[-1].largest, deciles[-1].precision) == (900, 1.0)
    assert all(low.largest <= high.smallest for low, high in itertools.pairwise(deciles))
    assert sum(decile.correct for decile in deciles) == correct.sum()


def test_few_categories_make_few_groups_and_an_absent_one_has_no_precision():
    deciles = precision_by_decile(np.array([0, 0]), np.array([True, True]), np.array([5, 9, 9]))
    assert [decile.rows for decile in deciles] == [2, 0, 0]
    assert np.isnan(deciles[1].precision)


def test_summary_counts_rejected_rows_everywhere():
    confidence = np.array([-0.1, -0.2, -0.3, -np.inf])
    truth = np.array([0, 1, 1, 1])
    found = summarise(confidence, truth, np.array([0, 1, 0, 1]), np.array([0, 0, 1, 0]), total=5)
    assert (found.total, found.rejected, found.correct) == (5, 2, 2)
    assert (found.precision, found.top_5) == (0.4, 0.6)
    assert found.balanced_accuracy == pytest.approx((1 + 1 / 3) / 2)
    assert (found.acceptances[0].acceptance, found.oracle_bounds) == (0.4, (0.4,))
