"""Kinds of errors against counts made one by one."""

from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from shelfbench.verdict.typology import by_group, confusions, surest_errors

PAIRS = st.lists(st.tuples(st.integers(0, 3), st.integers(-1, 3), st.integers(0, 4)), max_size=40)


@settings(deadline=None)
@given(PAIRS)
def test_confusions_are_the_most_frequent_pairs(rows):
    truth, predicted = (np.array([row[i] for row in rows], int) for i in (0, 1))
    counted = Counter((row[0], row[1]) for row in rows if row[0] != row[1] and row[1] >= 0)
    found = confusions(truth, predicted, 5)
    expected = sorted(counted.items(), key=lambda item: (-item[1], item[0]))[:5]
    assert [((pair.truth, pair.predicted), pair.products) for pair in found] == expected


@settings(deadline=None)
@given(PAIRS, st.integers(1, 9), st.integers(1, 3))
def test_surest_errors_are_those_a_reader_would_pick_from_the_top(rows, most, per_pair):
    truth, predicted = (np.array([row[i] for row in rows], int) for i in (0, 1))
    confidence = np.array([-np.inf if row[1] < 0 else -float(row[2]) for row in rows])
    taken, picked = Counter(), []
    for row in sorted(range(len(rows)), key=lambda row: (-confidence[row], row)):
        pair = (truth[row], predicted[row])
        if truth[row] != predicted[row] and predicted[row] >= 0 and taken[pair] < per_pair and len(picked) < most:
            taken[pair] += 1
            picked.append(row)
    assert surest_errors(truth, predicted, confidence, most, per_pair).tolist() == picked


def test_groups_hold_every_product_and_error_once():
    rng = np.random.default_rng(0)
    group, correct = rng.integers(0, 5, 300), rng.random(300) < 0.7
    found = by_group(group, correct, 7)
    assert (found.products.sum(), found.errors.sum()) == (300, np.count_nonzero(~correct))
    for number in range(5):
        assert found.right[number] == np.mean(correct[group == number])
    assert np.isnan(found.right[5:]).all()
