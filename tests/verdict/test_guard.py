"""The distances of a guard against plain formulas, its cut by simulation, and its choice on data of known shape."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shelfbench.verdict import guard_choice
from shelfbench.verdict.guard import KINDS, Guarding, balanced, by_product, cut_of, directions, guard_of_kind, spanned
from shelfbench.verdict.guard_choice import Photos, choose_guard

RNG = np.random.default_rng


def learned(seed=0, categories=8, each=40, dimensions=60, inner=10):
    """Photos of categories whose means, and most of whose spread, lie in a few directions."""
    rng = RNG(seed)
    inside = rng.normal(0, 3, (categories, inner))[np.repeat(np.arange(categories), each)]
    inside = inside + rng.normal(0, 1, inside.shape)
    features = 5 + inside @ rng.normal(0, 1, (inner, dimensions)) + rng.normal(0, 0.3, (len(inside), dimensions))
    return features.astype(np.float32), np.repeat(np.arange(categories), each)


@pytest.mark.parametrize("kind", KINDS)
def test_distances_are_those_of_the_formulas(kind):
    features, labels = learned()
    guard = guard_of_kind(kind, spanned(features, 0), labels, 0)
    np.testing.assert_allclose(guard.axes @ guard.axes.T, np.eye(len(guard.axes)), atol=1e-5)
    new = learned(1)[0][:20].astype(np.float64)
    away = new - guard.centre
    unit = away / np.linalg.norm(away, axis=1, keepdims=True)
    seen = unit @ guard.axes.T.astype(np.float64)
    rest = np.sum((unit - seen @ guard.axes) ** 2, axis=1)
    if kind == "subspace":
        expected = rest
    elif kind == "neighbours":
        expected = [1 - max(row @ point for point in guard.points) for row in seen]
    else:
        whole = np.column_stack([seen, np.sqrt(rest)]) * guard.scale
        means = np.column_stack([guard.points, np.zeros(len(guard.points))])
        expected = [min(np.sum((row - mean) ** 2) for mean in means) for row in whole]
    np.testing.assert_allclose(guard.distances(new.astype(np.float32)), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_strangers_are_farther_than_products_that_were_learned(kind):
    features, labels = learned()
    guard = guard_of_kind(kind, spanned(features[::2], 0), labels[::2], 0)
    cut = cut_of(guard.distances(features[1::2]))
    strange = RNG(9).normal(5, 6, (200, features.shape[1])).astype(np.float32)
    assert np.mean(guard.distances(strange) <= cut) < 0.05


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_not_finite_or_has_no_direction_is_a_stranger_to_the_subspace(kind):
    features, labels = learned()
    guard = guard_of_kind(kind, spanned(features, 0), labels, 0)
    odd = np.stack([np.full(60, np.nan), np.full(60, np.inf), guard.centre]).astype(np.float32)
    found = guard.distances(odd)
    assert np.isinf(found[:2]).all()
    assert np.isfinite(found[2])
    assert found[2] > cut_of(guard.distances(features))
    assert guard.distances(np.empty((0, 60), np.float32)).shape == (0,)


@given(st.integers(0, 1000), st.integers(1, 12), st.integers(1, 30))
@settings(max_examples=25, deadline=None)
def test_any_features_make_a_guard(seed, count, dimensions):
    features = RNG(seed).integers(-1, 2, (count, dimensions)).astype(np.float32)
    labels = RNG(seed).integers(0, 3, count)
    for kind in KINDS:
        guard = guard_of_kind(kind, spanned(features, seed), labels, seed)
        assert np.all(guard.distances(features) >= 0)
        assert np.all(guard.distances(features) <= cut_of(guard.distances(features), 1.0))


def test_a_cut_lets_through_as_many_as_it_says():
    rng = RNG(3)
    for count in (99, 150, 400, 1000):
        # of uniform distances, the share below the cut is the cut itself
        cuts = [cut_of(row) for row in rng.random((2000, count))]
        assert np.mean(cuts) > 0.99 - 3 * np.std(cuts) / np.sqrt(2000)
    few = [cut_of(row) for row in rng.random((2000, 20))]
    assert np.mean(few) == pytest.approx(20 / 21, abs=0.01)
    assert cut_of(np.array([3.0, 1.0, 2.0]), 0.5) == 2


def test_products_are_judged_by_the_mean_of_their_photos():
    assert by_product(np.array([1.0, 3.0, 5.0, 0.0]), np.array([0, 2, 3])).tolist() == [2, 5, 0]
    assert by_product(np.empty(0), np.empty(0, np.int64)).shape == (0,)


@given(st.lists(st.integers(0, 4), min_size=1, max_size=60), st.integers(1, 60))
@settings(max_examples=50, deadline=None)
def test_a_balanced_draw_takes_equally_many_where_it_can(labels, most):
    labels = np.array(labels)
    drawn = balanced(labels, most, 0)
    assert len(set(drawn.tolist())) == len(drawn) == min(most, len(labels))
    counts, whole = (np.bincount(values, minlength=5) for values in (labels[drawn], labels))
    short = counts < whole  # of these, more could have been drawn
    assert not short.any() or counts.max() <= counts[short].min() + 1


def test_directions_have_length_one_or_none():
    found = directions(np.array([[3.0, 4.0], [1.0, 1.0]], np.float32), np.array([1.0, 1.0], np.float32))
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), [1, 0])


def test_another_kind_is_chosen_only_if_it_is_better_in_every_group(monkeypatch):
    features, labels = learned(each=30)
    photos = Photos(features, labels, np.arange(len(labels)))
    tables = {
        "neighbours": [[0.5, 0.4, 0.49], [0.5, 0.4, 0.49], [0.5, 0.4, 0.49], [0.5, 0.4, 0.49]],
        "mahalanobis": [[0.5, 0.4, 0.49], [0.5, 0.6, 0.49], [0.5, 0.1, 0.49], [0.5, 0.1, 0.49]],
        "subspace": [[0.5, 0.1, 0.1], [0.5, 0.5, 0.5], [0.5, 0.1, 0.1], [0.5, 0.1, 0.1]],
    }
    for kind, table in tables.items():
        rows = iter(table)
        monkeypatch.setattr(guard_choice, "_left_out", lambda *_, rows=rows: next(rows))
        assert choose_guard(photos, photos, 0).guard.kind == kind


def test_categories_are_left_out_in_turn_and_strangers_among_them_are_found():
    features, labels = learned(categories=12, each=60)
    photos = Photos(features, labels, np.arange(len(labels)))
    even = np.arange(len(labels)) % 2 == 0
    train, tune = photos.only(even), photos.only(~even)
    found = choose_guard(train, tune, 0)
    assert set(found.let_through) == set(KINDS)
    assert found.guard.kind in KINDS
    assert all(0 <= share <= 1 for share in found.let_through.values())


def test_without_enough_categories_or_tune_there_is_nothing_to_leave_out():
    features, labels = learned()
    photos = Photos(features, labels, np.arange(len(labels)))
    nothing = Photos(features[:0], labels[:0], np.arange(0))
    for train, tune in ((photos, nothing), (photos.only(labels < 3), photos)):
        found = choose_guard(train, tune, 0)
        assert (found.guard.kind, found.let_through) == (KINDS[0], {})


def test_what_a_guard_does_is_said_in_one_line():
    found = Guarding(kind="subspace", cut=0.2, products=1000, outside=20, sure=800, let_through=792)
    assert str(found) == (
        "products unlike those it has learned go to review: 20 of 1,000 (2.0%) of certify lie outside; the guard lets "
        "792 of 800 (99.0%) through that are sure enough"
    )
