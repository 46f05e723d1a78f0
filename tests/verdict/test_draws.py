"""Backends over draws: equal ones are told apart in 5% of studies at most, different ones are, and tiers follow."""

import itertools
import math

import numpy as np
import pytest
from scipy.stats import ttest_rel

from shelfbench.base.errors import InputError
from shelfbench.verdict.draws import Gap, Sampling, compare_draws, tiers


def study(rng, draws, *, gap=0.0, own_tests=True, backends=4, products=2000):
    """Precision of equal backends (the last is worse by `gap`) over draws of 10% of the products, or on one such part.

    Each backend is better at some products than at others, in every draw; a draw adds its own luck.
    """
    share = products // 10
    skill = rng.normal(0, 1, products) + 0.8 * rng.normal(0, 1, (backends, products))
    skill[-1] -= gap
    parts = [rng.permutation(products)[:share] for _ in range(draws)]
    values = np.empty((backends, draws))
    right = np.empty((backends, draws, share), bool)
    for draw, part in enumerate(parts if own_tests else parts[:1] * draws):
        luck = 0.5 * rng.normal(0, 1, (backends, share)) + 0.05 * rng.normal(0, 1, (backends, 1))
        right[:, draw] = skill[:, part] + luck > -1
        values[:, draw] = right[:, draw].mean(axis=1)
    if own_tests:
        return values, Sampling(ratio=1 / 8)
    each = right.mean(axis=1)
    apart = np.array([each[one] - each[two] for one, two in itertools.combinations(range(backends), 2)])
    return values, Sampling(shared=apart.var(axis=1, ddof=1) / share, products=share)


def wrongly_apart(own_tests, draws, studies, products=2000):
    rng = np.random.default_rng(0)
    found = 0
    for _ in range(studies):
        values, sampling = study(rng, draws, own_tests=own_tests, products=products)
        found += max(tiers(values.mean(axis=1), compare_draws(values, sampling))) > 1
    return found / studies


@pytest.mark.parametrize(("own_tests", "draws"), [(True, 5), (False, 5)])
def test_equal_backends_are_one_tier_in_19_of_20_studies(own_tests, draws):
    studies = 150
    assert wrongly_apart(own_tests, draws, studies) <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / studies)


@pytest.mark.slow
@pytest.mark.parametrize("own_tests", [True, False])
@pytest.mark.parametrize(("draws", "products"), [(2, 300), (5, 300), (2, 2000), (3, 2000), (5, 2000), (10, 2000)])
def test_equal_backends_are_one_tier_in_19_of_20_studies_of_any_size(own_tests, draws, products):
    studies = 2000
    assert wrongly_apart(own_tests, draws, studies, products) <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / studies)


def test_a_backend_that_is_worse_by_far_is_in_another_tier():
    rng = np.random.default_rng(1)
    for own_tests in (True, False):
        values, sampling = study(rng, 5, gap=1.5, own_tests=own_tests)
        found = tiers(values.mean(axis=1), compare_draws(values, sampling))
        assert found[-1] > 1
        assert min(found[:-1]) == 1


def test_without_a_shared_product_it_is_the_paired_t_test():
    values = np.random.default_rng(2).normal(size=(2, 6))
    [gap] = compare_draws(values, Sampling())
    reference = ttest_rel(*values)
    assert gap.p == pytest.approx(reference.pvalue)
    assert (gap.low, gap.high) == pytest.approx(reference.confidence_interval(0.95))


def test_draws_that_share_products_count_for_less():
    values = np.random.default_rng(3).normal(size=(2, 6))
    [plain], [shared] = (compare_draws(values, Sampling(ratio=ratio)) for ratio in (0, 0.125))
    assert (shared.high - shared.low) / (plain.high - plain.low) == pytest.approx(math.sqrt((1 / 6 + 0.125) / (1 / 6)))


def test_a_draw_that_lacks_a_backend_is_left_out_of_its_pairs():
    values = np.array([[0.9, 0.8, np.nan], [0.7, 0.7, 0.1], [np.nan, 0.9, np.nan]])
    first, second, third = compare_draws(values, Sampling(ratio=0.1))
    assert (first.draws, second.draws, third.draws) == (2, 1, 1)
    assert first.value == pytest.approx(0.15)
    assert math.isnan(second.p)
    assert math.isnan(third.p_holm)


def gap(first, second, p):
    return Gap(first=first, second=second, draws=5, value=0, low=0, high=0, p=p, p_holm=p)


def test_tiers_follow_from_the_tests_against_the_best_of_each():
    means = [0.9, 0.88, 0.7, 0.71, 0.5]
    pairs = {(0, 1): 0.4, (0, 2): 0.01, (0, 3): 0.01, (0, 4): 0.001, (1, 2): 0.3, (1, 3): 0.3, (2, 3): 0.9}
    pairs |= {(2, 4): 0.02, (3, 4): 0.04, (1, 4): 0.01}
    assert tiers(means, [gap(*pair, p) for pair, p in pairs.items()]) == [1, 1, 2, 2, 3]
    assert tiers([0.5, math.nan, 0.6], [gap(0, 1, math.nan), gap(0, 2, math.nan), gap(1, 2, math.nan)]) == [0, 0, 1]


def test_the_same_difference_in_every_draw_says_nothing_of_its_spread():
    [same] = compare_draws(np.array([[0.5, 0.5], [0.5, 0.5]]), Sampling())
    assert (same.p, same.low) == (1.0, 0.0)
    [other] = compare_draws(np.array([[0.5 + 0.1 + 0.2, 0.9 - 0.1], [0.5, 0.5]]), Sampling())
    assert (other.value, math.isnan(other.p)) == (pytest.approx(0.3), True)
    with pytest.raises(InputError, match="a row per backend"):
        compare_draws(np.zeros(3), Sampling())
