"""Whether a newer run is worse than an older one: exact tests, and what must not change them."""

import itertools

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.stats import binomtest, norm

from shelfbench.base.errors import InputError
from shelfbench.verdict.compare import Contestant, holm
from shelfbench.verdict.gate import (
    FEWEST,
    LEVEL,
    GateSettings,
    can_fail,
    fallen_p,
    gate,
    least_change,
    needed_resamples,
    resampled_p,
)
from shelfbench.verdict.metrics import acceptance
from tests.simulations.gate import Case, shut

FEW = 60


def model(confidence, correct, ids=None, name="a"):
    confidence = np.asarray(confidence, np.float64)
    ids = np.arange(len(confidence)) if ids is None else ids
    return Contestant(name=name, product_id=ids, confidence=confidence, correct=np.asarray(correct), threshold=np.nan)


@st.composite
def pairs(draw, backends=2):
    """Two versions of each backend on the same products, with ties and rejected products."""
    size = draw(st.integers(3, 30))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    steps = draw(st.integers(2, 40))

    def drawn():
        confidence = -rng.integers(1, steps, size) / steps
        confidence[rng.random(size) < 0.1] = -np.inf
        return confidence, rng.random(size) < draw(st.sampled_from([0.3, 0.8, 0.95, 1.0]))

    return [(model(*drawn(), name=str(number)), model(*drawn(), name=str(number))) for number in range(backends)]


def rows(one, order):
    return model(one.confidence[order], one.correct[order], one.product_id[order], one.name)


@given(pairs())
@settings(max_examples=30, deadline=None)
def test_the_other_way_round_every_difference_has_the_other_sign(found):
    there = gate(found, GateSettings(fewest=0, resamples=FEW))
    back = gate([pair[::-1] for pair in found], GateSettings(fewest=0, resamples=FEW))
    for one, other in zip(there, back, strict=True):
        assert (one.only_old, one.only_new) == (other.only_new, other.only_old)
        for name in ("precision", "acceptance"):
            ours, theirs = getattr(one, name), getattr(other, name)
            assert (ours.old, ours.new) == (theirs.new, theirs.old)
            np.testing.assert_allclose((ours.low, ours.high), (-theirs.high, -theirs.low), atol=1e-12)
            assert not (ours.worse and theirs.worse)
            if not np.isnan(ours.p + theirs.p):
                assert ours.p + theirs.p >= 1


@given(pairs(), st.randoms(use_true_random=False))
@settings(max_examples=20, deadline=None)
def test_the_order_of_the_products_changes_nothing(found, random):
    size = len(found[0][0].correct)
    mixed = [tuple(rows(one, random.sample(range(size), size)) for one in pair) for pair in found]
    assert repr(gate(mixed, GateSettings(fewest=0, resamples=FEW))) == repr(
        gate(found, GateSettings(fewest=0, resamples=FEW))
    )


@given(pairs(), st.integers(1, 40))
@settings(max_examples=20, deadline=None)
def test_products_that_both_get_right_leave_the_test_of_precision_as_it_is(found, more):
    size = len(found[0][0].correct)
    longer = [
        tuple(model([*one.confidence, *[-0.5] * more], [*one.correct, *[True] * more], name=one.name) for one in pair)
        for pair in found
    ]
    any_loss = GateSettings(fewest=0, resamples=FEW, tolerance=0)
    for one, other in zip(gate(found, any_loss), gate(longer, any_loss), strict=True):
        assert (one.only_old, one.only_new, one.precision.p) == (other.only_old, other.only_new, other.precision.p)
        assert other.precision.value == pytest.approx(one.precision.value * size / (size + more))


@given(pairs())
@settings(max_examples=20, deadline=None)
def test_what_has_not_changed_is_never_worse(found):
    for one in gate([(old, old) for old, _ in found], GateSettings(fewest=0, resamples=FEW)):
        assert not one.worse
        assert one.precision.p == 1
        assert one.acceptance.value == one.acceptance.low == one.acceptance.high == one.acceptance.least == 0
        assert one.acceptance.p == 1 or (np.isnan(one.acceptance.p) and one.acceptance.old == 0)


@given(pairs(3))
@settings(max_examples=20, deadline=None)
def test_the_numbers_are_those_of_the_metrics_and_all_tests_are_adjusted_together(found):
    measured = gate(found, GateSettings(target="0.8", fewest=0, resamples=FEW))
    for (old, new), one in zip(found, measured, strict=True):
        for side, precise, reached in (
            (old, one.precision.old, one.acceptance.old),
            (new, one.precision.new, one.acceptance.new),
        ):
            right = side.correct & (side.confidence > -np.inf)
            assert precise == pytest.approx(right.mean())
            assert reached == acceptance(side.confidence, right, "0.8").acceptance
        assert np.isnan(one.acceptance.p) == (one.acceptance.old == 0)
    p = [change.p for one in measured for change in (one.precision, one.acceptance)]
    adjusted = [change.p_holm for one in measured for change in (one.precision, one.acceptance)]
    np.testing.assert_allclose(adjusted, holm(np.array(p)))


@given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 3000), st.sampled_from([0.0, 0.01, 0.05]))
@settings(deadline=None)
def test_the_test_of_precision_is_that_of_tango_and_not_below_the_exact_one(only_old, only_new, same, tolerance):
    assume(only_old + only_new)
    products = only_old + only_new + same
    exact = binomtest(only_old, only_old + only_new, alternative="greater").pvalue

    def unlikely(share):  # of products that only the new one gets right
        rest = max(1 - 2 * share - tolerance, 1e-300)
        parts = ((only_old, share + tolerance), (only_new, share), (same, rest))
        return -sum(count * np.log(max(part, 1e-300)) for count, part in parts if count)

    found = minimize_scalar(unlikely, bounds=(0, (1 - tolerance) / 2), method="bounded", options={"xatol": 1e-12}).x
    spread = np.sqrt(products * (2 * found + tolerance * (1 - tolerance)))
    score = norm.sf((only_old - only_new - products * tolerance) / spread)
    assert fallen_p(only_old, only_new, products, tolerance) == pytest.approx(max(exact, score), rel=1e-3, abs=1e-6)


def test_what_may_be_lost_of_precision_is_not_nothing_where_no_product_is_lost():
    correct = np.arange(300) % 5 > 0
    rng = np.random.default_rng(0)
    [found] = gate([(model(-rng.random(300), correct), model(-rng.random(300), correct))])
    assert found.precision.value == found.precision.low == 0
    assert found.precision.least == pytest.approx(-0.0126, abs=1e-4)  # 1.96 ** 2 / (300 + 1.96 ** 2)


@given(st.integers(0, 40), st.integers(0, 40), st.integers(1, 900))
@settings(deadline=None)
def test_the_bound_of_a_loss_of_precision_is_below_the_change_and_follows_it(only_old, only_new, same):
    products = only_old + only_new + same
    bound = float(least_change(np.array(only_old), np.array(only_new), products, 0.025))
    assert -1 <= bound < (only_new - only_old) / products
    assert least_change(np.array(only_old + 1), np.array(only_new), products, 0.025) < bound
    assert least_change(np.array(only_old), np.array(only_new), products, 0.01) < bound


def test_the_bound_of_a_loss_of_precision_holds_as_often_as_it_says():
    rng = np.random.default_rng(0)
    for products, lost in ((150, 0.005), (300, 0.01), (1000, 0.02)):
        parts = rng.multinomial(products, [lost + 0.001, 0.001, 1 - lost - 0.002], 4000)
        bound = least_change(parts[:, 0], parts[:, 1], products, 0.025)
        assert np.mean(bound > -lost) <= 0.035


@given(st.integers(0, 200), st.integers(0, 200), st.floats(0, 0.2), st.floats(0, 0.2))
@settings(deadline=None)
def test_the_more_is_tolerated_the_less_is_worse(only_old, only_new, one, other):
    less, more = sorted((one, other))
    assert fallen_p(only_old, only_new, 500, less) <= fallen_p(only_old, only_new, 500, more) + 1e-12
    moved = np.linspace(-0.3, 0.1, 57)
    assert resampled_p(moved, less) <= resampled_p(moved, more)


def test_resamples_and_products_are_enough_to_find_a_loss():
    for backends in (1, 5, 11, 40):
        resamples = needed_resamples(backends)
        strictest = LEVEL / (2 * backends)
        assert resamples >= 2000
        assert resampled_p(np.full(resamples, -1.0)) <= strictest
        for tolerance in (0, 0.01, 0.2):
            least = next(products for products in itertools.count() if can_fail(products, backends, tolerance))
            assert fallen_p(least, 0, least, tolerance) <= strictest < fallen_p(least - 1, 0, least - 1, tolerance)


def test_a_loss_of_two_points_is_found_in_20_of_20_tries():
    assert shut(Case(name="planted", backends=1, planted=1), 20)[0] == 20


def test_training_again_is_worse_in_at_most_1_of_20_tries():
    assert shut(Case(name="again", backends=1, luck=(0.002,)), 20)[0] <= 1


def test_acceptance_alone_can_shut_the_gate():
    rng = np.random.default_rng(0)
    correct = rng.random(2000) < 0.8
    sure = np.where(correct, rng.random(2000), 0.4 * rng.random(2000)) - 1
    [found] = gate([(model(sure, correct), model(-rng.random(2000), correct))])
    assert not found.precision.worse
    assert found.acceptance.worse


def test_few_products_say_nothing_of_acceptance_and_still_shut_the_gate_for_precision():
    rng = np.random.default_rng(0)
    right = np.arange(FEWEST) > 20
    old, new = model(-rng.random(FEWEST), right), model(-rng.random(FEWEST), right & (np.arange(FEWEST) > 60))
    [enough] = gate([(old, new)])
    assert enough.acceptance.least < enough.acceptance.low < 0  # at a fifth of the level
    some = np.arange(1, FEWEST)
    [few] = gate([(rows(old, some), rows(new, some))])
    assert np.isnan(few.acceptance.p)
    assert np.isnan(few.acceptance.least)
    assert not few.acceptance.worse
    assert few.precision.worse


def test_other_products_and_no_backends_are_refused():
    with pytest.raises(InputError, match="no backend to compare"):
        gate([])
    with pytest.raises(InputError, match="do not cover the same products"):
        gate([(model([-1.0], [True]), model([-1.0], [True], np.array([7])))])
