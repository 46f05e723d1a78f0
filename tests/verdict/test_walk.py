"""Where a certifying walk begins: the rule as written, its promise by simulation, and how it compares with others."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from shelfbench.base.errors import InputError
from shelfbench.verdict.certify import START, certified_thresholds, certify, coverage_grid, start_of
from shelfbench.verdict.walk import Tuned, most_errors
from tests.simulations.walks import KINDS, Kind, simulate


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.01, 0.9])
@pytest.mark.parametrize("significance", [0.05, 0.007, 0.3])
def test_the_most_errors_that_pass_are_those_of_the_distribution(rate, significance):
    count = np.arange(1200.0)
    most = most_errors(count, rate, significance)
    assert most[0] == -1
    assert np.all((most < 0) | (binom.cdf(most, count, rate) <= significance))
    assert np.all((binom.cdf(most + 1, count, rate) > significance)[1:])
    assert np.flatnonzero(most_errors(count, 0.1, 0.05) >= 0)[0] == 29  # the fewest that certify 0.9


def slowly(tuned, products, target, level):
    """The rule of `Tuned.first`, one threshold after the other."""
    chance = float(1 - target)
    power = []
    for accepted, right in zip(tuned.accepted, tuned.right, strict=True):
        share, rate = accepted / tuned.total, (accepted - right + 10 * chance) / (accepted + 10)
        passes = []
        for spread in (-1.2, 0, 1.2):
            expected = products * share + spread * np.sqrt(products * share * (1 - share))
            count = int(np.clip(np.round(expected), 0, products))
            most = np.flatnonzero(np.append(True, binom.cdf(np.arange(count + 1), count, chance) <= 1 - level))[-1] - 1
            passes.append(binom.cdf(most, count, rate) if count and most >= 0 else 0)
        power.append(np.mean(passes))
    best, first = -1.0, 0
    for start in range(len(power)):
        gained = tuned.accepted[start] * power[start]
        for end in range(start + 1, len(power)):
            gained += (tuned.accepted[end] - tuned.accepted[end - 1]) * min(power[start : end + 1])
        if gained / tuned.total >= best - 1e-9:
            best, first = max(best, gained / tuned.total), start
    return first


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.integers(5, 200), st.sampled_from([0, 8]), st.sampled_from(["0.9", "0.7"]))
def test_the_walk_begins_where_it_is_expected_to_accept_the_most(seed, products, ties, target):
    rng = np.random.default_rng(seed)
    confidence, correct = Kind(KINDS["beta 12"], ties).draw(rng, products)
    grid = coverage_grid(confidence, 12)
    tuned = Tuned.of(confidence, correct, grid)
    assert tuned.first(products, Fraction(target), 0.95) == slowly(tuned, products, Fraction(target), 0.95)


def test_products_that_certify_have_no_say_in_where_the_walk_begins():
    rng = np.random.default_rng(0)
    kind = Kind(KINDS["beta 12"])
    tune, sure = kind.draw(rng, 300), kind.draw(rng, 300)
    grid = coverage_grid(tune[0])
    start = start_of("tuned", *tune, grid)
    first = start.first(300, Fraction(9, 10), 0.95)
    right = certify(sure[0], np.ones(300, bool), grid, start=start)
    assert right.threshold == grid[-1]
    wrong = sure[0] < grid[first]  # every product beyond the start is wrong: the walk goes no further
    assert certify(sure[0], ~wrong, grid, start=start).threshold >= grid[min(first + 20, len(grid) - 1)]
    assert (
        certified_thresholds(*sure, grid, [Fraction(9, 10)], start=start)[0]
        == certify(*sure, grid, start=start).threshold
    )


def test_both_walks_can_be_asked_for():
    confidence, correct = Kind(KINDS["beta 12"]).draw(np.random.default_rng(0), 200)
    grid = coverage_grid(confidence)
    assert start_of("first", confidence, correct, grid) == START
    assert isinstance(start_of("tuned", confidence, correct, grid), Tuned)


def test_another_grid_is_refused():
    confidence, correct = Kind(KINDS["beta 12"]).draw(np.random.default_rng(0), 200)
    grid = coverage_grid(confidence)
    with pytest.raises(InputError, match="counted at 99 thresholds, and there are 100"):
        certify(confidence, correct, grid, start=Tuned.of(confidence, correct, grid[1:]))
    with pytest.raises(InputError, match="shape"):
        Tuned.of(confidence, correct[1:], grid)


def test_a_walk_without_a_grid_promises_nothing():
    nothing = np.full(9, -np.inf)
    found = certify(nothing, np.zeros(9, bool), np.array([]), start=Tuned.of(nothing, np.zeros(9, bool), np.array([])))
    assert (found.certified, found.hopeless) == (False, False)


def test_twenty_nine_right_products_are_enough():
    rng = np.random.default_rng(0)
    found = simulate(Kind(KINDS["0.995 everywhere"]), (60, 60), 40, ("first", "tuned"))
    assert found["first"][0] == 0
    assert found["tuned"][0] > 0.8
    confidence = rng.random(40)
    grid = coverage_grid(confidence)
    sure = certify(confidence, np.ones(40, bool), grid, start=Tuned.of(confidence, np.ones(40, bool), grid))
    assert (sure.accepted, sure.certified) == (40, True)


@pytest.mark.parametrize("name", ["0.895 everywhere", "a valley"])
def test_the_promise_is_kept(name):
    found = simulate(Kind(KINDS[name], 12), (150, 150), 150, ("tuned",))
    assert found["tuned"][2] <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 150)


@pytest.mark.slow
@pytest.mark.parametrize("ties", [0, 12])
@pytest.mark.parametrize("sizes", [(60, 60), (75, 300), (300, 300), (2000, 2000)])
@pytest.mark.parametrize("name", ["0.895 everywhere", "beta 4", "falls steadily", "a valley", "few sure, then 0.7"])
def test_the_promise_is_kept_in_two_thousand_draws(name, sizes, ties):
    found = simulate(Kind(KINDS[name], ties), sizes, 2000, ("tuned",), seed=1)
    assert found["tuned"][2] <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 2000)


@pytest.mark.slow
@pytest.mark.parametrize("size", [100, 300, 1000])
@pytest.mark.parametrize("name", KINDS)
def test_it_is_never_much_worse_than_either_of_the_others(name, size):
    found = simulate(Kind(KINDS[name]), (size, size), 400, seed=2)
    assert found["tuned"][1] >= max(found["first"][1], found["safest"][1]) - 0.08
