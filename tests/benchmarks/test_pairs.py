"""The gate itself, on a clock of its own: it shuts on a slow-down of 30% and stays open on noise."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.benchmarks import pairs
from tests.benchmarks.pairs import Race, Row

ROW = Row("a stage", "an opponent", floor="stage", goal=10)


class Clock:
    """Works take the seconds they are given; nothing else takes any."""

    def __init__(self, seed=0, noise=0.0):
        self.now, self.noise, self.rng = 0.0, noise, np.random.default_rng(seed)

    def __call__(self):
        return self.now

    def rest(self, seconds):
        self.now += seconds

    def work(self, seconds):
        return lambda: self.rest(seconds * np.exp(self.noise * self.rng.normal()))


@pytest.fixture(autouse=True, scope="module")
def floor():
    """The floor of the row: 15% under the ratio of 10 that the tests measure."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(pairs.FLOORS, "stage", {"this": 8.5, "other": 20})
        patch.setattr(pairs, "processor", lambda: "this")
        patch.setattr(pairs.gc, "collect", lambda: 0)  # a tenth of a second of real time at every turn
        yield


def race(clock, ours=0.1, theirs=1.0, **options):
    found = Race(ROW, clock.work(ours), clock.work(theirs), clock=clock, rest=clock.rest, **options)
    found.again()
    return found


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000))
def test_unchanged_code_passes_in_noise(seed):
    assert race(Clock(seed, noise=0.1)).holds()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000))
def test_a_planted_slow_down_of_30_percent_fails_in_noise(seed):
    assert not race(Clock(seed, noise=0.03), slow_down=0.3).holds()


def test_slow_down_is_a_share_of_its_own_time():
    np.testing.assert_allclose(race(Clock(), slow_down=0.3).ratio, 10 / 1.3)


def test_floors_are_of_the_kind_of_processor(monkeypatch):
    kinds = {"this": 8.5, "other": 20, "unknown": 8.5}
    for kind, floor in kinds.items():
        monkeypatch.setattr(pairs, "processor", lambda kind=kind: kind)
        assert pairs.floor_of(ROW) == floor
    assert pairs.floor_of(Row("a stage", "")) == 0


def test_every_floor_is_for_a_kind_that_there_is():
    for stage in set(pairs.FLOORS) - {ROW.floor}:
        floors = pairs.FLOORS[stage]
        assert set(floors) <= {"GenuineIntel-avx512", "AuthenticAMD-avx512"}, stage
        assert all(floor > 0 for floor in floors.values())


def test_a_missing_floor_fails_before_anything_is_measured():
    with pytest.raises(KeyError, match="none"):
        Race(Row("a stage", "an opponent", floor="none"), pytest.fail, pytest.fail)


def test_in_turn_and_as_often():
    calls = []
    clock = Clock()

    def method(name, seconds):
        return lambda: (calls.append(name), clock.rest(seconds))

    found = Race(ROW, method("ours", 0.5), method("theirs", 0.5), clock=clock, rest=clock.rest)
    found.again()
    assert calls[:2] == ["ours", "theirs"]  # the warm-up, which is not counted
    assert calls[2:] == ["theirs", "ours"] * found.turns
    assert len(found.our_seconds) == len(found.their_seconds) == found.turns == 7


def test_medians():
    clock = Clock()
    lasting = iter([9, 1, 1, 50, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1])
    found = Race(ROW, lambda: clock.rest(next(lasting)), clock.work(4), clock=clock, rest=clock.rest)
    found.again()
    assert found.turns == 7
    assert found.ratio == 4


def test_a_long_opponent_runs_once():
    clock = Clock()
    found = race(clock, ours=1, theirs=100, full_size=True)
    assert found.their_seconds == [100]
    assert len(found.our_seconds) == 25
    assert found.ratio == 100


def test_the_opponents_share_is_scaled_up():
    assert race(Clock(), theirs_share=0.25).ratio == pytest.approx(40)
    assert race(Clock(), theirs=70, theirs_share=0.05, full_size=True).their_seconds == [1400]


def test_without_an_opponent_there_is_no_ratio():
    clock = Clock()
    found = Race(Row("a stage", "", goal_seconds=20), clock.work(1), None, clock=clock, rest=clock.rest)
    found.again()
    assert found.record()["ratio"] is None
    assert found.record()["ours_s"] == [1] * found.turns
    assert Race(found.row, clock.work(10), None, clock=clock, rest=clock.rest).turns == 1


def test_more_turns_are_taken_before_a_row_fails():
    clock = Clock()
    found = race(clock, ours=0.2)
    turns = len(found.our_seconds)
    assert not found.holds()
    assert len(found.our_seconds) == turns * (1 + pairs.AGAIN)
