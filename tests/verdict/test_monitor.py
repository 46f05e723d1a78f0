"""The bet against a promise: it may not win on average while the promise is kept, and must win soon after it is not."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from shelfbench.verdict.monitor import (
    FIRST,
    ODDS,
    PARTS,
    SPREAD,
    Aside,
    Monitor,
    Status,
    interval,
)

TARGETS = st.floats(0.05, 0.99)
LABELS = st.lists(st.booleans(), max_size=50)
ALMOST = 1 - 1e-12  # evidence of a thousand milliards is rarely found, and nothing stops before it


def monitor(target=0.9, level=0.95):
    return Monitor(target=target, level=level)


def reference(labels, target):
    """Compute the evidence by its definition: likelihood ratios of every part and every start, each by itself."""
    lower = target / (target + ODDS * (1 - target))  # precision that a part bets on
    entering = [FIRST] + [(1 - FIRST) * SPREAD * (1 / (SPREAD + k) - 1 / (SPREAD + k + 1)) for k in range(len(labels))]
    total = 1 - sum(entering)
    for odds, part in zip(lower, PARTS, strict=True):
        for number, share in enumerate(entering):
            since = labels[max(number - 1, 0) :]  # what enters with a product is bet on it
            ratios = [odds / target if right else (1 - odds) / (1 - target) for right in since]
            total += share * part * math.prod(ratios)
    return total


@given(LABELS, TARGETS)
@settings(max_examples=25, deadline=None)
def test_evidence_is_the_mixture_of_likelihood_ratios(labels, target):
    found = Monitor(target=target, level=ALMOST).after(np.array(labels, bool))
    assert found.evidence == pytest.approx(reference(labels[: found.broken_at], target), rel=1e-9)


@given(LABELS, TARGETS, st.floats(0, 1))
@settings(max_examples=50, deadline=None)
def test_nothing_is_won_on_average_while_the_promise_is_kept(labels, target, over):
    now = Monitor(target=target, level=ALMOST).after(np.array(labels, bool))
    assume(now.broken_at is None)
    chance = target + over * (1 - target)
    then = [now.after(np.array([right])).evidence for right in (True, False)]
    assert chance * then[0] + (1 - chance) * then[1] <= now.evidence * (1 + 1e-12)


@given(
    LABELS,
    TARGETS,
    st.lists(st.floats(-0.3, 0.3), min_size=1, max_size=4),
    st.floats(0, 1),
    st.floats(-50, 50),
)
@settings(max_examples=50, deadline=None)
def test_nothing_is_won_on_average_with_confidences_either(labels, target, surer, over, crossed):
    """Whatever the slope learned so far, and however right a product is given its confidence."""
    start = Monitor(target=target, level=ALMOST, crossed=crossed, squared=abs(crossed))
    now = start.after(np.array(labels, bool))
    assume(now.broken_at is None)
    values = np.array([*surer, -sum(surer)])  # equally likely, with an expectation of 0
    most = max(1.0, float(-values.min()))
    chance = target + over * (1 - target)
    rates = np.full(len(values), chance)
    rates[0], rates[-1] = min(1.0, 2 * chance - chance**2), chance - (min(1.0, 2 * chance - chance**2) - chance)
    then = 0.0
    for value, rate in zip(values, rates, strict=True):
        for right, weight in ((True, rate), (False, 1 - rate)):
            after = now.after(np.array([right]), Aside(np.array([value]), most))
            assert after.held.min() >= 0
            then += weight * after.evidence / len(values)
    assert then <= now.evidence * (1 + 1e-9)


def test_the_chance_of_a_false_alarm_summed_over_all_streams_of_ten():
    """Exactly, not by simulation, at the least precision that keeps the promise."""
    target, level = 0.5, 0.3
    alarms = 0.0
    for labels in itertools.product([False, True], repeat=10):
        if monitor(target, level).after(np.array(labels)).broken_at is not None:
            alarms += target ** sum(labels) * (1 - target) ** (10 - sum(labels))
    assert 0.1 < alarms <= 1 - level


@given(LABELS, LABELS, TARGETS)
@settings(max_examples=50, deadline=None)
def test_it_does_not_matter_how_labels_are_divided_among_looks(first, second, target):
    apart = monitor(target).after(np.array(first, bool)).after(np.array(second, bool))
    whole = monitor(target).after(np.array(first + second, bool))
    assert (apart.labels, apart.right, apart.broken_at) == (whole.labels, whole.right, whole.broken_at)
    assert apart.evidence == pytest.approx(whole.evidence, rel=1e-12)


def test_broken_is_for_good():
    found = monitor().after(np.zeros(50, bool))
    assert found.status == Status.BROKEN
    assert found.broken_at < 20
    later = found.after(np.ones(5000, bool))
    assert (later.status, later.broken_at, later.labels) == (Status.BROKEN, found.broken_at, 5050)


def test_status_and_exit_codes():
    assert monitor().status == Status.WARNING  # nothing to tell from
    assert monitor().after(np.ones(10, bool)).status == Status.OK
    warned = monitor()
    while warned.status != Status.WARNING or not warned.labels:
        warned = warned.after(np.array([False]))
    assert 5 <= warned.evidence < 20
    assert {status: status.exit_code for status in Status} == {"OK": 0, "BROKEN": 3, "WARNING": 4}


def test_the_slope_follows_what_confidences_were_worth():
    rng = np.random.default_rng(0)
    surer = rng.uniform(-0.3, 0.3, 4000)
    right = rng.random(4000) < 0.6 + 1.3 * surer
    assert monitor(0.6).slope == 1
    assert monitor(0.6).after(right, Aside(surer, 1.0)).slope == pytest.approx(1.3, abs=0.1)
    assert monitor(0.6).after(~right, Aside(surer, 1.0)).slope == 0  # never against its sign


def test_confidences_that_tell_errors_save_labels():
    """Fewer labels refute the promise when confidences are seen beside them."""
    rng = np.random.default_rng(1)
    labels = np.zeros(2)
    for _ in range(10):
        confidence = np.where(rng.random(4000) < 0.8, 0.95, 0.4)
        others = np.where(rng.random((4000, 9)) < 0.8, 0.95, 0.4).mean(axis=1)
        right = rng.random(4000) < confidence  # 0.84 on average
        start = Monitor(target=0.9, level=ALMOST)
        labels += [start.after(right, Aside(confidence - others, 0.6)).broken_at, start.after(right).broken_at]
    assert labels[0] < 0.9 * labels[1]


@given(st.integers(0, 400), st.integers(0, 400), st.floats(0.5, 0.999))
@settings(max_examples=10, deadline=None)
def test_the_interval_contains_what_was_observed_and_mirrors(right, wrong, level):
    low, high = interval(right, right + wrong, level)
    assert 0 <= low <= high <= 1
    if right + wrong:
        assert low <= right / (right + wrong) <= high
    mirrored = interval(wrong, right + wrong, level)
    assert (low, high) == pytest.approx((1 - mirrored[1], 1 - mirrored[0]), abs=1e-9)


def test_the_interval_covers_the_mean_at_all_looks_also_where_the_precision_changes():
    rng = np.random.default_rng(2)
    looks = np.unique(np.geomspace(20, 800, 9).astype(int))
    missed = 0
    for _ in range(30):
        chances = np.where(np.arange(800) < rng.integers(100, 700), 0.95, 0.8)
        right = np.cumsum(rng.random(800) < chances)
        means = np.cumsum(chances) / np.arange(1, 801)
        for look in looks:
            low, high = interval(int(right[look - 1]), int(look), 0.95)
            if not low <= means[look - 1] <= high:
                missed += 1
                break
    assert missed / 30 <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 30)


@pytest.mark.parametrize("level", [0.05, 0.5, 0.74, 0.76, 0.95])
def test_what_is_said_to_warn_warns(level):
    found = monitor(level=level).after(np.array([True]))
    assert found.status == Status.OK
    while found.broken_at is None and found.labels < 60:
        found = found.after(np.array([False]))
        if found.broken_at is None:
            assert (found.status == Status.WARNING) == (found.evidence >= found.warns)
    assert found.warns >= found.enough / 4
    assert found.warns > 1
