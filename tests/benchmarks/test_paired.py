"""The gate's arithmetic, on times that are drawn: it shuts on a slow-down of 30% and stays open on noise."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import wilcoxon

from tests.benchmarks.paired import LAUNCHES, LIMIT, LOOKS, Interval, decide, interval, one_launch, rank_cut

ROWS, TRIES = 19, 20
FINE, SLOW, UNCLEAR = Interval(1, 0.9, 1.05, 6), Interval(1.3, 1.2, 1.4, 6), Interval(1.1, 1.0, 1.2, 40)


class Machine:
    """One that others use: processes differ for good, turns differ, one in ten is disturbed, and all of it drifts."""

    def __init__(self, seed: int, slower: float = 0.0, turns: float = 0.05, processes: float = 0.03) -> None:
        self.rng = np.random.default_rng(seed)
        self.slower, self.turns, self.processes = slower, turns, processes
        self.drift = 0.0

    def turn(self, seconds: float) -> float:
        self.drift = 0.9 * self.drift + self.rng.normal(0, 0.05)
        disturbed = 1 + self.rng.exponential(0.5) * (self.rng.random() < 0.1)
        return seconds * disturbed * math.exp(self.drift + self.rng.normal(0, self.turns))

    def launch(self) -> Interval:
        ours, base = (0.25 * math.exp(self.rng.normal(0, self.processes)) for _ in range(2))
        ours *= 1 + self.slower

        def pair(ours_first):
            if ours_first:
                return self.turn(ours), self.turn(base)
            other = self.turn(base)
            return self.turn(ours), other

        return one_launch(pair)


@pytest.mark.parametrize("turns", [0.02, 0.05, 0.1])
def test_a_slow_down_of_30_percent_is_caught_in_20_of_20_tries_for_every_row(turns):
    machines = [Machine(seed, slower=0.3, turns=turns) for seed in range(TRIES * ROWS)]
    assert {decide(machine.launch).verdict for machine in machines} == {"slower"}


@pytest.mark.parametrize("turns", [0.02, 0.05, 0.1])
def test_unchanged_code_fails_in_at_most_1_of_20_tries_of_all_rows(turns):
    tries = [
        any(decide(Machine(seed * ROWS + row, turns=turns).launch).verdict == "slower" for row in range(ROWS))
        for seed in range(TRIES)
    ]
    assert sum(tries) <= 1


def test_one_launch_that_is_slow_by_luck_fails_nothing():
    machines = [Machine(seed, processes=0.1) for seed in range(200)]
    first = sum(machine.launch().verdict == "slower" for machine in machines)
    twice = sum(decide(Machine(seed, processes=0.1).launch).verdict == "slower" for seed in range(200))
    assert first > 5  # the machine is that unequal
    assert twice <= first / 3


@pytest.mark.parametrize("pairs", [6, 9, 13, 19])
def test_the_interval_is_the_values_that_the_signed_rank_test_accepts(pairs):
    rng = np.random.default_rng(pairs)
    base = np.exp(rng.normal(size=pairs))
    ours = base * np.exp(rng.normal(0.1, 0.2, pairs))
    found = interval(ours, base)

    def rejected(ratio):
        return wilcoxon(np.log(ours / base) - math.log(ratio), method="exact").pvalue < 0.05

    assert rejected(found.low * 0.9999)
    assert not rejected(found.low * 1.0001)
    assert not rejected(found.high * 0.9999)
    assert rejected(found.high * 1.0001)
    assert found.low < found.ratio < found.high


def test_an_outlier_counts_little():
    base = np.ones(9)
    ours = np.array([1.01, 0.99, 1.0, 1.02, 0.98, 1.0, 1.01, 0.99, 40.0])
    assert interval(ours, base).ratio == pytest.approx(1, abs=0.02)
    assert math.isclose(interval(base, base).ratio, 1)


def test_too_few_pairs_have_no_interval():
    assert rank_cut(5) == -1
    assert rank_cut(6) == 0
    assert interval([2] * 5, [1] * 5).verdict == "unclear"
    assert interval([2] * 6, [1] * 6).verdict == "slower"


def test_the_limit_lies_at_10_percent():
    assert LIMIT == 0.1
    assert Interval(1.2, 1.1001, 1.3, 6).verdict == "slower"
    assert Interval(1.2, 1.0999, 1.3, 6).verdict == "unclear"
    assert Interval(1.0, 0.9, 1.0999, 6).verdict == "fine"
    assert Interval(0.5, 0.4, 0.6, 6).verdict == "fine"


def test_sides_take_turns_at_being_first():
    order = []

    def pair(ours_first):
        order.append(ours_first)
        return 1.0, 1.0

    assert one_launch(pair).pairs == LOOKS[0]
    assert order == [True, False] * (LOOKS[0] // 2)


def test_more_pairs_are_measured_while_it_is_unclear():
    rng = np.random.default_rng(0)

    def pair(ours_first):
        return 1.1 * math.exp(rng.normal(0, 0.5)), 1.0

    assert one_launch(pair).pairs == LOOKS[-1]
    assert one_launch(pair, lambda: True).pairs == LOOKS[0]  # no more time


@pytest.mark.parametrize(
    ("launches", "verdict"),
    [
        ([FINE], "fine"),
        ([SLOW, SLOW], "slower"),
        ([SLOW, FINE], "fine"),
        ([UNCLEAR, FINE], "fine"),
        ([SLOW, UNCLEAR, SLOW], "slower"),
        ([UNCLEAR, SLOW, SLOW], "slower"),
        ([SLOW, UNCLEAR, UNCLEAR, UNCLEAR], "unclear"),
        ([UNCLEAR, SLOW, UNCLEAR, SLOW], "slower"),
        ([UNCLEAR] * LAUNCHES, "unclear"),
    ],
)
def test_verdicts_of_launches(launches, verdict):
    waiting = list(launches)
    outcome = decide(lambda: waiting.pop(0))
    assert outcome.verdict == verdict
    assert outcome.launches == tuple(launches)
    assert waiting == []


@pytest.mark.parametrize(("launches", "verdict"), [([UNCLEAR], "unclear"), ([FINE], "fine"), ([SLOW, SLOW], "slower")])
def test_out_of_time_only_what_seems_slower_is_measured_again(launches, verdict):
    waiting = list(launches)
    assert decide(lambda: waiting.pop(0), lambda: False).verdict == verdict
    assert waiting == []
