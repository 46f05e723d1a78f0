"""What a threshold costs: against costs added up product by product, on properties, and on bad input."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shelfbench.base.errors import InputError
from shelfbench.verdict.costs import Prices, amount, cheapest, pays_after, spent

PRICES = Prices(0.05, 1.2)
PRODUCTS = st.lists(
    st.tuples(st.sampled_from([-math.inf, -3.0, -1.0, -0.5, -0.1, 0.0]), st.booleans()), min_size=1, max_size=40
)


def cost_of(products, threshold, prices):
    """Add up what each product costs."""
    taken = [(sure >= threshold and sure > -math.inf, right) for sure, right in products]
    each = [(0.0 if right else prices.error) if accepted else prices.review for accepted, right in taken]
    return sum(each) / len(each)


@settings(deadline=None, max_examples=60)
@given(PRODUCTS, st.floats(0.01, 10), st.floats(0.01, 10))
def test_no_threshold_costs_less_than_the_cheapest(products, review, error):
    prices = Prices(review, error)
    confidence, right = np.array([one for one, _ in products]), np.array([two for _, two in products])
    found = cheapest(confidence, right, prices)

    def cautious(threshold):
        accepted = int(np.sum((confidence >= threshold) & (confidence > -math.inf)))
        return cost_of(products, threshold, prices) + error * accepted / (accepted + 1) / len(products)

    costs = {threshold: cautious(threshold) for threshold in [*set(confidence), math.inf]}
    assert cautious(found) == pytest.approx(min(costs.values()))
    assert cost_of(products, found, prices) <= review * (1 + 1e-9)


@settings(deadline=None)
@given(PRODUCTS, st.sampled_from([-2.0, -0.5, 0.0, math.inf]))
def test_a_cost_is_that_of_its_products_and_lies_in_its_interval(products, threshold):
    confidence, right = np.array([one for one, _ in products]), np.array([two for _, two in products])
    found = spent(confidence, right, threshold, PRICES)
    assert found.cost == pytest.approx(cost_of(products, threshold, PRICES))
    assert found.low <= found.cost + 1e-12
    assert found.high >= found.cost - 1e-12
    if found.accepted:
        # at that cost of an error, accepting and reviewing everything cost the same
        assert found.worth_low <= found.worth <= found.worth_high
        if found.wrong:
            same = Prices(PRICES.review, found.worth)
            assert cost_of(products, threshold, same) == pytest.approx(PRICES.review)


def test_where_errors_cost_more_than_they_save_everything_is_reviewed():
    confidence, right = np.linspace(-1, 0, 50), np.arange(50) % 2 == 0
    assert cheapest(confidence, right, PRICES) == math.inf
    found = spent(confidence, right, math.inf, PRICES)
    assert (found.cost, found.low, found.high, found.accepted) == (pytest.approx(0.05), *[pytest.approx(0.05)] * 2, 0)
    assert math.isnan(found.worth)


@pytest.mark.parametrize("ratio", [3, 24, 200, 5000])
def test_luck_on_few_products_does_not_choose_a_threshold_that_costs_far_more_than_reviewing(ratio):
    """Confidence is the chance of being right, uniform: beyond a threshold t, (1 - t)² / 2 of all are wrong."""
    rng, costs = np.random.default_rng(0), []
    for _ in range(60):
        chance = rng.random(150)
        found = math.exp(cheapest(np.log(chance), rng.random(150) < chance, Prices(1, ratio)))
        costs.append(1 if found > 1 else found + ratio * (1 - found) ** 2 / 2)
    assert np.mean(costs) < 1.1


def test_a_calibrated_confidence_is_cut_where_chow_says():
    rng = np.random.default_rng(0)
    chance = rng.uniform(0.5, 1, 200_000)
    found = cheapest(np.log(chance), rng.random(200_000) < chance, PRICES)
    assert math.exp(found) == pytest.approx(1 - PRICES.review / PRICES.error, abs=0.004)


@pytest.mark.parametrize(("count", "risk"), [(150, 0.01), (150, 0.04), (1000, 0.04), (1000, 0.002)])
def test_intervals_cover_the_true_cost(count, risk):
    """Of 400 draws at least 92% are covered: 95% less three standard errors."""
    rng = np.random.default_rng(1)
    prices, covered = Prices(0.05, 1.2), 0
    for _ in range(400):
        accepted = rng.random(count) < 0.8
        right = rng.random(count) > risk
        found = spent(np.where(accepted, -0.1, -5.0), right, -1.0, prices)
        covered += found.low <= 0.2 * 0.05 + 0.8 * risk * 1.2 <= found.high
    assert covered >= 0.917 * 400


def test_a_threshold_without_an_error_is_not_certain_to_have_none():
    found = spent(np.full(100, -0.1), np.ones(100, bool), -1.0, PRICES)
    assert (found.cost, found.worth) == (0, math.inf)
    assert found.high > 1.2 * 0.03
    assert found.worth_low < 2


@pytest.mark.parametrize("value", ["0,05", "abc", "", "nan", "inf", -0.1, 0, True, None, "1e13", [1], "5 EUR"])
def test_what_is_not_a_cost_is_refused_in_one_line(value):
    with pytest.raises(InputError, match=r"the cost of a review is .*plain number above 0 without a currency"):
        amount(value, "the cost of a review")


def test_prices_are_given_together():
    assert Prices.of(None, None) is None
    assert Prices.of("0.05", "1.2", "0") == Prices(0.05, 1.2, 0.0)
    for given_ in ((0.05, None), (None, 1.2), (None, None, 3)):
        with pytest.raises(InputError, match="give both, like --review-cost"):
            Prices.of(*given_)
    with pytest.raises(InputError, match="the price of an hour is -1"):
        Prices.of(0.05, 1.2, -1)


def test_what_was_spent_once_is_saved_after_so_many_products():
    assert pays_after(10, 0.03) == 334
    assert pays_after(0, 0.03) == 0
    assert pays_after(10, 0) == pays_after(10, -1) == math.inf
