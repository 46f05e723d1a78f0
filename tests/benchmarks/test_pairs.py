"""The race against an opponent, on a clock of its own."""

import pytest

from tests.benchmarks import pairs
from tests.benchmarks.pairs import BUDGET, TURNS, Race, Row

ROW = Row("a stage", "an opponent", goal=10)


class Clock:
    """Works take the seconds they are given; nothing else takes any."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now

    def rest(self, seconds):
        self.now += seconds

    def work(self, seconds):
        return lambda: self.rest(seconds)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Collecting garbage takes a tenth of a second of real time at every turn."""
    monkeypatch.setattr(pairs.gc, "collect", lambda: 0)


def race(clock, ours, theirs, **options):
    """One whose turns were taken, as pytest-benchmark takes them."""
    found = Race(options.pop("row", ROW), ours, theirs, clock=clock, **options)
    for _ in range(found.turns):
        found.opponent()
        begun = clock()
        found.ours()
        found.our_seconds.append(clock() - begun)
    return found


def test_in_turn_and_as_often():
    calls = []
    clock = Clock()

    def method(name, seconds):
        return lambda: (calls.append(name), clock.rest(seconds))

    found = race(clock, method("ours", 5), method("theirs", 3))
    assert calls[:2] == ["ours", "theirs"]  # the warm-up, which is not counted
    assert calls[2:] == ["theirs", "ours"] * found.turns
    assert len(found.our_seconds) == len(found.their_seconds) == found.turns == BUDGET / 8


def test_turns_at_least_and_at_most():
    clock = Clock()
    assert race(clock, clock.work(100), clock.work(50)).turns == TURNS[0]
    assert race(clock, clock.work(0.01), clock.work(0.01)).turns == TURNS[1]


def test_medians():
    clock = Clock()
    lasting = iter([9, 1, 50, 1, 1, 1, 1, 1])
    found = race(clock, lambda: clock.rest(next(lasting)), clock.work(4))
    assert found.turns == 3
    assert found.our_seconds == [1, 50, 1]
    assert found.ratio == 4


def test_a_long_opponent_runs_once():
    clock = Clock()
    found = race(clock, clock.work(1), clock.work(100))
    assert found.their_seconds == [100]
    assert len(found.our_seconds) == 25
    assert found.ratio == 100


def test_the_opponents_share_is_scaled_up():
    clock = Clock()
    assert race(clock, clock.work(0.1), clock.work(1), theirs_share=0.25).ratio == pytest.approx(40)
    assert race(clock, clock.work(0.1), clock.work(70), theirs_share=0.05).their_seconds == [1400]


def test_without_an_opponent_there_is_no_ratio():
    clock = Clock()
    found = race(clock, clock.work(1), None, row=Row("a stage", "", goal_seconds=20))
    assert found.record()["ratio"] is None
    assert found.record()["goal_seconds"] == 20
    assert found.record()["ours_s"] == [1] * found.turns
