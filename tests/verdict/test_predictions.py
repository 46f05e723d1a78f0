"""From images to products: aggregation, ranking, and what is kept of the scores."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.verdict.predictions import aggregate, best_categories, image_scores, product_rows


def scores_of(seed, images, classes, scale=5.0):
    values = np.random.default_rng(seed).normal(size=(images, classes)) * scale
    return values - np.logaddexp.reduce(values, axis=1, keepdims=True)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10**6), st.lists(st.integers(1, 4), min_size=1, max_size=12), st.integers(1, 9))
def test_aggregation_is_the_mean_probability(seed, photos, classes):
    scores = scores_of(seed, sum(photos), classes)
    starts = np.cumsum([0, *photos[:-1]])
    expected = np.stack([np.exp(part).mean(axis=0) for part in np.split(scores, starts[1:])])
    assert np.allclose(np.exp(aggregate(scores, starts)), expected, atol=1e-12)


def test_confidences_stay_apart_where_float32_saturates():
    scores = np.log(np.array([[1 - 1e-12, 1e-12], [1 - 1e-13, 1e-13]]))
    rows = product_rows(aggregate(scores, np.array([0, 1])), np.array(["a", "b"], object))
    assert rows["confidence"][0] < rows["confidence"][1]
    assert np.float32(np.exp(rows["confidence"][0])) == np.float32(1.0)


def test_equal_scores_go_to_the_first_category():
    codes, values = best_categories(np.zeros((2, 4)) - np.log(4), 3)
    assert codes.tolist() == [[0, 1, 2]] * 2
    assert np.allclose(np.exp(values), 0.25)


def test_the_rest_is_the_probability_of_all_others():
    scores = scores_of(1, 5, 250, scale=2.0)
    kept = image_scores(scores)
    assert kept.codes.shape == (5, 100)
    assert np.all(np.diff(kept.log_probabilities, axis=1) <= 0)
    total = np.exp(kept.log_probabilities.astype(float)).sum(axis=1) + np.exp(kept.log_rest.astype(float))
    assert np.allclose(total, 1, atol=1e-5)
    assert (image_scores(scores[:, :100]).log_rest == -np.inf).all()


def test_fewer_than_five_categories():
    rows = product_rows(scores_of(0, 3, 1), np.array(["only"], object))
    assert rows["predicted"].tolist() == ["only"] * 3
    assert np.isinf(rows["margin"]).all()
    assert [list(best) for best in rows["top5"]] == [["only"]] * 3
