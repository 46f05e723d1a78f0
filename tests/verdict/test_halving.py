"""Successive halving on candidates whose learning curves are known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shelfbench.verdict import halving
from shelfbench.verdict.halving import Judged, best, expected, judge, staying, ties

ALL = 16_000
JUDGES = 1500


@pytest.fixture(autouse=True, scope="module")
def fewer_resamples():
    """Draw fewer resamples, enough to tell what these tests tell."""
    before, halving.RESAMPLES = halving.RESAMPLES, 250
    yield
    halving.RESAMPLES = before


def learnt(ability, hardness, products):
    """Predict products of these hardnesses after learning from so many: errors fall by a power of the products."""
    last, scale, power = ability
    error = last + scale * products**-power
    # the harder, the less sure, more or less
    return Judged(confidence=-hardness - 0.3 * np.modf(1000 * hardness)[0], correct=hardness < 1 - error)


def rounds_of(abilities, sizes, seed=0, noise=0.02):
    """Judge all candidates on parts of these sizes, on the same products."""
    rng = np.random.default_rng(seed)
    hardness = rng.random(JUDGES)
    own = {name: np.clip(hardness + noise * rng.standard_normal(JUDGES), 0, 1) for name in abilities}
    return [judge(size, {name: learnt(abilities[name], own[name], size) for name in abilities}) for size in sizes]


CURVES = st.tuples(st.floats(0.02, 0.3), st.floats(0.2, 3.0), st.floats(0.1, 0.7))


@settings(deadline=None, max_examples=30)
@given(st.lists(CURVES, min_size=2, max_size=6), st.integers(0, 1000))
def test_who_is_not_behind_for_sure_always_stays_and_the_order_is_that_of_the_average(curves, seed):
    abilities = {f"c{number}": curve for number, curve in enumerate(curves)}
    first, second = rounds_of(abilities, (250, 1000), seed)
    assert set(staying(first, None, ALL)) == {found.name for found in first.standings if found.tied}
    stay = staying(second, first, ALL)
    assert {found.name for found in second.standings if found.behind_low <= 0} <= set(stay)
    assert stay[0] == second.leader.name
    averages = [found.average for found in second.standings]
    assert averages == sorted(averages, reverse=True)
    for found in second.standings:
        assert found.low <= found.precision <= found.high
        assert found.behind == pytest.approx(second.leader.average - found.average)
        assert found.behind_low <= found.behind + 1e-9
        assert found.behind <= found.behind_high + 1e-9


def test_products_that_are_hard_for_all_do_not_blur_a_difference():
    """Paired, a difference of two points is certain where the intervals of the two overlap by far."""
    right = np.random.default_rng(0).random(2000) < 0.7
    worse = right.copy()
    worse[np.flatnonzero(right)[:40]] = False
    found = judge(500, {"better": Judged(np.zeros(2000), right), "worse": Judged(np.zeros(2000), worse)})
    better, second = found.standings
    assert second.high > better.low
    assert not second.tied
    assert staying(found, judge(250, {"better": Judged(np.zeros(2000), right)}), ALL) == ("better",)


def test_one_that_is_behind_but_catches_up_fast_enough_stays():
    abilities = {"early": (0.25, 1.0, 0.4), "late": (0.02, 10.0, 0.5)}
    first, second = rounds_of(abilities, (300, 900))
    assert second.leader.name == "early"
    assert not second.standings[1].tied
    assert staying(second, first, ALL) == ("early", "late")
    assert rounds_of(abilities, (ALL,))[0].leader.name == "late"
    assert best([first, first, second], ALL) == "late"
    assert [(standing.name, judged) for standing, judged in ties([first, first, second], ALL)] == [("early", second)]
    # with hardly more than this part there is no time to catch up
    assert staying(second, first, 1000) == ("early",)
    assert best([first, first, second], 1000) == "early"


@settings(deadline=None, max_examples=30)
@given(st.lists(CURVES, min_size=2, max_size=5), st.integers(0, 1000))
def test_what_is_expected_of_all_of_train_is_a_share_no_worse_than_now(curves, seed):
    abilities = {f"c{number}": curve for number, curve in enumerate(curves)}
    first, second = rounds_of(abilities, (250, 1000), seed)
    hoped = expected(second, first, ALL)
    now = {found.name: found.average for found in second.standings}
    assert list(hoped) == [found.name for found in second.standings]
    assert all(now[name] - 1 / JUDGES <= hoped[name] <= 1 for name in now)
    assert expected(second, first, 1000) == pytest.approx(now, abs=1 / JUDGES)
    assert expected(first, None, ALL) == pytest.approx(
        {found.name: found.average for found in first.standings}, abs=1 / JUDGES
    )
    assert best([first, first, second], ALL) in staying(second, first, ALL)


def test_what_is_expected_lies_between_now_and_what_comes_and_the_faster_one_gains():
    abilities = {"fast": (0.0, 4.8, 0.32), "slow": (0.0, 1.4, 0.18)}
    first, second = rounds_of(abilities, (1000, 4000))
    truth = {found.name: found.average for found in rounds_of(abilities, (ALL,))[0].standings}
    now = {found.name: found.average for found in second.standings}
    hoped = expected(second, first, ALL)
    assert now["fast"] < now["slow"]
    assert hoped["slow"] - hoped["fast"] < 0.3 * (now["slow"] - now["fast"])
    assert truth["fast"] > truth["slow"]
    assert all(now[name] < hoped[name] < truth[name] for name in now)


def test_to_expect_beats_taking_the_best_of_a_small_part():
    """On simulated candidates whose curves may cross, the best of 1,700 products loses at least twice as much."""
    lost = {"best of the part": 0.0, "expected to be best": 0.0}
    for seed in range(40):
        rng = np.random.default_rng(seed)
        last, power = rng.uniform(0.1, 0.2, 5), rng.uniform(0.25, 0.6, 5)
        scale = (0.8 * last + 0.13 + rng.normal(0, 0.015, 5) - last) * 1742**power
        abilities = {f"c{i}": (last[i], scale[i], power[i]) for i in range(5)}
        first, second = rounds_of(abilities, (548, 1742), seed)
        errors = {name: own[0] + own[1] * 35_000 ** -own[2] for name, own in abilities.items()}
        least = min(errors.values())
        lost["best of the part"] += errors[second.leader.name] - least
        lost["expected to be best"] += errors[best([first, first, second], 35_000)] - least
    assert 2 * lost["expected to be best"] < lost["best of the part"]


def test_one_that_falls_back_or_keeps_its_distance_is_dropped():
    abilities = {"good": (0.1, 2.0, 0.4), "bad": (0.3, 2.0, 0.4)}
    first, second = rounds_of(abilities, (300, 900))
    assert staying(second, first, ALL) == ("good",)
    assert ties([first, first, second], ALL) == ()
    assert best([first, first, second], ALL) == "good"


@given(st.lists(st.tuples(st.integers(-3, 0), st.booleans(), st.booleans()), min_size=1, max_size=12))
def test_the_average_is_that_of_the_precision_of_the_surest(rows):
    """Against a loop; of equal confidence, the wrong ones come first, and rejected ones are wrong and last."""
    confidence = np.array([-np.inf if rejected else float(sure) for sure, _, rejected in rows])
    correct = np.array([right for _, right, _ in rows])
    surest = sorted((-sure, right and sure > -np.inf) for sure, right in zip(confidence, correct, strict=True))
    precisions = [np.mean([right for _, right in surest[: k + 1]]) for k in range(len(surest))]
    [found] = judge(1, {"a": Judged(confidence, correct)}).standings
    assert found.average == pytest.approx(np.mean(precisions), abs=1e-6)


def test_a_rejected_product_is_wrong():
    confidence = np.array([0.0, -np.inf, 0.0, -np.inf])
    found = judge(10, {"a": Judged(confidence, np.ones(4, bool)), "b": Judged(np.zeros(4), np.zeros(4, bool))})
    assert [standing.precision for standing in found.standings] == [0.5, 0.0]
    assert found.leader.acceptance == 0.5


def test_ties_are_those_that_were_never_told_from_the_leader():
    rng = np.random.default_rng(1)
    right = rng.random(400) < 0.8
    near, far = right.copy(), right.copy()
    near[:3] = ~near[:3]
    far[rng.permutation(400)[:200]] = False
    names = {"a": right, "b": near, "c": far}
    one = judge(100, {name: Judged(np.zeros(400), values) for name, values in names.items()})
    two = judge(300, {name: Judged(np.zeros(400), names[name]) for name in (found.name for found in one.standings[:2])})
    found = ties([one, two], 300)
    assert {standing.name for standing, _ in found} == {"a", "b"} - {two.leader.name}
    assert all(judged is two for _, judged in found)
    # one that the budget left out while it was still tied is a tie on the part that judged it last
    alone = judge(300, {"c": Judged(np.zeros(400), far), two.leader.name: Judged(np.zeros(400), right)})
    [(left_out, judged)] = ties([one, alone], 300)
    assert left_out.name == ({"a", "b"} - {two.leader.name}).pop()
    assert judged is one


def test_so_many_products_would_settle_a_tie():
    """With as many products as it says, drawn from the same population, the interval just excludes 0."""
    rng = np.random.default_rng(2)

    def pair(count):
        hard = rng.random(count)
        return {
            "a": Judged(np.zeros(count), hard > 0.20),
            "b": Judged(np.zeros(count), (hard > 0.17) & (rng.random(count) > 0.045)),
        }

    found = judge(100, pair(1000)).standings[1]
    if found.behind <= 0:
        pytest.skip("the draw has no difference")
    wanted = found.to_settle(1000)
    assert wanted == pytest.approx(1000 * ((found.behind_high - found.behind_low) / 2 / found.behind) ** 2, abs=1)
    half = (found.behind_high - found.behind_low) / 2 * np.sqrt(1000 / wanted)
    assert half == pytest.approx(found.behind, rel=0.01)
    same = judge(100, {"a": Judged(np.zeros(50), np.ones(50, bool)), "b": Judged(np.zeros(50), np.ones(50, bool))})
    assert same.standings[1].to_settle(50) is None
    assert [standing.name for standing in same.standings] == ["a", "b"]
