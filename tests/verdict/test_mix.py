"""Test weighted back to the catalogue's mix: by hand, on properties, and how often its intervals cover the truth."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shelfbench.base.errors import InputError
from shelfbench.data.split import paper_counts
from shelfbench.verdict.intervals import exact_interval
from shelfbench.verdict.mix import weigh_back


def test_two_categories_by_hand():
    # 90 products of the catalogue and 10 of test are "0"; 10 and 10 are "1"
    truth = np.repeat([0, 1], 10)
    accepted = np.array([True] * 10 + [True] * 5 + [False] * 5)
    correct = np.array([True] * 9 + [False] + [True] * 3 + [False] * 7)
    found = weigh_back(truth, accepted, correct, np.array([90, 10]))
    assert found.precision == pytest.approx((9 * 9 + 3) / (9 * 10 + 5))
    assert found.acceptance == pytest.approx((9 * 10 + 5) / 100)
    assert (found.small, found.small_of_test, found.small_of_catalogue) == (10, 0.5, 0.1)
    assert found.unseen == 0


def test_categories_that_test_lacks_are_counted_as_unseen():
    found = weigh_back(np.zeros(4, int), np.ones(4, bool), np.ones(4, bool), np.array([60, 40]))
    assert found.unseen == pytest.approx(0.4)


def test_nothing_accepted_has_no_precision_and_a_stranger_is_named():
    nothing = np.zeros(3, bool)
    assert weigh_back(np.zeros(3, int), nothing, nothing, np.array([5])) is None
    for sizes in ([5], [5, 0]):
        with pytest.raises(InputError, match="a category that the catalogue lacks"):
            weigh_back(np.array([0, 1]), np.ones(2, bool), np.ones(2, bool), np.array(sizes))


@given(
    st.lists(st.tuples(st.integers(0, 4), st.booleans(), st.booleans()), min_size=1, max_size=60), st.integers(1, 50)
)
def test_a_test_mixed_as_the_catalogue_gives_the_plain_shares_and_exact_intervals(rows, times):
    truth, accepted, correct = (np.array(column) for column in zip(*rows, strict=True))
    found = weigh_back(truth, accepted, correct, times * np.bincount(truth, minlength=5))
    if not accepted.any():
        assert found is None
        return
    right, count = int((accepted & correct).sum()), int(accepted.sum())
    assert found.precision == pytest.approx(right / count)
    assert found.acceptance == pytest.approx(count / len(rows))
    low, high = map(float, exact_interval(right, count))
    assert (found.precision_low, found.precision_high) == pytest.approx((low, high), abs=1e-9)
    assert found.small_of_test == pytest.approx(found.small_of_catalogue)


@given(
    st.lists(st.tuples(st.integers(0, 4), st.booleans(), st.booleans()), min_size=1, max_size=60),
    st.lists(st.integers(1, 10_000), min_size=5, max_size=5),
)
def test_shares_lie_in_their_intervals_and_those_between_0_and_1(rows, sizes):
    truth, accepted, correct = (np.array(column) for column in zip(*rows, strict=True))
    found = weigh_back(truth, accepted, correct, np.array(sizes))
    if found is not None:
        assert 0 <= found.precision_low <= found.precision <= found.precision_high <= 1
        assert 0 <= found.acceptance_low <= found.acceptance <= found.acceptance_high <= 1
        assert found.small_of_test >= found.small_of_catalogue - 1e-9
        assert (found.precision_low == 0) == (found.precision == 0)


SMALL, LARGE = np.array([400, 200, 60, 30, 20]), np.maximum(20, (4000 / np.arange(1, 91) ** 1.1).astype(int))


@pytest.mark.parametrize("sizes", [SMALL, LARGE], ids=["90 test products", "2,000 test products"])
@pytest.mark.parametrize("harder", ["small", "large", "none"])
def test_intervals_cover_the_true_shares_of_a_catalogue_split_as_in_the_paper(sizes, harder):
    rng = np.random.default_rng(1)
    truth = np.repeat(np.arange(len(sizes)), [paper_counts(int(size))[2] for size in sizes])
    precise = np.clip(0.75 + 0.06 * np.log(sizes / 20), 0, 0.995)
    precise = {"small": precise, "large": precise[::-1], "none": np.full(len(sizes), 0.98)}[harder]
    taken = np.clip(0.6 + 0.05 * np.log(sizes / 20), 0, 0.98)
    precision = (sizes * taken * precise).sum() / (sizes * taken).sum()
    acceptance = (sizes * taken).sum() / sizes.sum()
    covered, plain = [], []
    for _ in range(400):
        accepted, correct = rng.random(len(truth)) < taken[truth], rng.random(len(truth)) < precise[truth]
        found = weigh_back(truth, accepted, correct, sizes)
        covered.append(
            (
                found.precision_low <= precision <= found.precision_high,
                found.acceptance_low <= acceptance <= found.acceptance_high,
            )
        )
        ends = exact_interval(int((accepted & correct).sum()), int(accepted.sum()))
        plain.append(ends[0] <= precision <= ends[1])
    assert np.mean(covered, axis=0) == pytest.approx([0.97, 0.97], abs=0.03)
    if len(sizes) == 90 and harder != "none":
        assert np.mean(plain) < 0.9  # test as drawn does not tell the catalogue's precision
