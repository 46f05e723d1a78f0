"""What work takes for growing numbers of images, and the part that a budget allows."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shelfbench.cost.growing import Pace, affordable

SECONDS = st.floats(0.0, 1000.0)


@given(st.floats(0.0, 50.0), st.floats(0.001, 1.0), st.integers(1, 1000), st.integers(1, 1000), st.integers(1, 10**6))
def test_two_tries_of_work_that_grows_evenly_predict_every_other(start, each, first, more, images):
    pace = Pace().and_(first, start + each * first).and_(first + more, start + each * (first + more))
    assert pace.per_image == pytest.approx(each, rel=1e-3, abs=1e-6)
    assert pace.at(images) == pytest.approx(start + each * images, rel=1e-2, abs=1e-3)


@given(st.integers(1, 1000), SECONDS, st.integers(1, 1000))
def test_a_single_try_grows_by_at_least_a_fifth_and_never_faster_than_all_of_it(images, seconds, more):
    pace = Pace().and_(images, seconds)
    assert pace.at(images) == pytest.approx(seconds)
    assert seconds * (1 + more / images / 5) <= pace.at(images + more) * (1 + 1e-9) + 1e-9
    assert pace.at(images + more) <= seconds * (1 + more / images) * (1 + 1e-9) + 1e-9


def test_most_of_a_long_try_grows():
    """Libraries start within seconds, whatever they do afterwards."""
    assert Pace().and_(100, 300.0).per_image == pytest.approx(297 / 100)


@given(st.integers(1, 100), st.integers(1, 100), SECONDS, SECONDS)
def test_a_larger_number_never_takes_less_even_if_it_was_faster(first, more, one, two):
    pace = Pace().and_(first, one).and_(first + more, two)
    assert 0 <= pace.per_image <= two / (first + more) + 1e-12
    assert pace.at(first + more) == pytest.approx(two)
    assert pace.at(first + 2 * more) >= two


def test_a_number_that_is_tried_again_counts_once():
    assert Pace().and_(10, 1.0).and_(10, 3.0).seen == ((10, 3.0),)


@given(st.floats(0, 100), st.floats(0, 100), st.floats(0.01, 5), st.integers(1, 50), st.integers(0, 200))
def test_a_larger_budget_never_affords_a_smaller_part(one, two, each, least, more):
    def cost(products):
        return 3.0 + each * products

    found = [affordable(cost, seconds, least, least + more) for seconds in sorted((one, two))]
    assert found == sorted(found)
    for seconds, size in zip(sorted((one, two)), found, strict=True):
        if size:
            assert least <= size <= least + more
            assert cost(size) <= seconds
            assert size == least + more or cost(size + 1) > seconds
        else:
            assert cost(least) > seconds


def test_nothing_is_affordable_where_the_smallest_part_is_larger_than_the_largest():
    assert affordable(float, 100.0, 8, 7) == 0
