"""From images to products: aggregation, ranking, and the scores that are kept."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import log_softmax

from shelfbench.base.errors import InputError
from shelfbench.verdict.predictions import aggregate, best_categories, image_scores, product_rows, rejected_rows
from shelfbench.verdict.settings import AGGREGATIONS


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


photos_of_products = st.lists(st.integers(1, 5), min_size=1, max_size=12)


def plain(part, method):
    """Combine the scores of one product's photos as probabilities, one category after the other."""
    probability = np.exp(part)
    mean = probability.mean(axis=0)
    if method == "maximum":
        return probability.max(axis=0) / probability.max(axis=0).sum()
    if method == "log_mean":
        product = np.exp(part.mean(axis=0))
        return product / product.sum()
    if method == "vote":
        votes = np.bincount(part.argmax(axis=1), minlength=part.shape[1])
        winner = max(range(len(votes)), key=lambda code: (votes[code], mean[code], -code))
        first = int(mean.argmax())
        mean[winner], mean[first] = mean[first], mean[winner]
    return mean


@pytest.mark.parametrize("method", AGGREGATIONS)
@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), photos_of_products, st.integers(1, 6))
def test_every_aggregation_is_the_plain_one_and_a_distribution(method, seed, photos, classes):
    scores = scores_of(seed, sum(photos), classes, scale=2.0)
    starts = np.cumsum([0, *photos[:-1]])
    found = np.exp(aggregate(scores, starts, method))
    expected = np.stack([plain(part, method) for part in np.split(scores, starts[1:])])
    np.testing.assert_allclose(found, expected, atol=1e-12)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-12)


@pytest.mark.parametrize("method", AGGREGATIONS)
@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), photos_of_products)
def test_a_product_with_one_photo_keeps_its_scores_to_the_last_bit(method, seed, photos):
    scores = scores_of(seed, sum(photos), 5)
    starts = np.cumsum([0, *photos[:-1]])
    alone = np.array(photos) == 1
    np.testing.assert_array_equal(aggregate(scores, starts, method)[alone], scores[starts[alone]])


def test_votes_decide_and_ties_go_to_the_higher_mean_then_the_lower_code():
    two_to_one = [[0.5, 0.4, 0.1], [0.5, 0.4, 0.1], [0.0, 1.0, 0.0]]  # the mean is for the second category
    tie = [[0.6, 0.4, 0.0], [0.1, 0.9, 0.0]]
    even = [[0.2, 0.8, 0.0], [0.8, 0.2, 0.0]]
    with np.errstate(divide="ignore"):
        scores = np.log(np.array(two_to_one + tie + even))
    found = aggregate(scores, np.array([0, 3, 5]), "vote")
    assert found.argmax(axis=1).tolist() == [0, 1, 0]
    assert aggregate(scores, np.array([0, 3, 5]), "mean").argmax(axis=1).tolist() == [1, 1, 0]
    assert np.exp(found[0]) == pytest.approx([0.6, 1 / 3, 0.2 / 3])


def test_a_vote_wins_where_the_means_are_equal():
    # two votes for the second category, and the same mean as the first's to the last bit
    with np.errstate(divide="ignore"):
        scores = np.log(np.array([[0.25, 0.75], [0.25, 0.75], [1.0, 0.0]]))
    assert np.exp(aggregate(scores, np.array([0]))[0]) == pytest.approx([0.5, 0.5])
    assert aggregate(scores, np.array([0]), "vote").argmax() == 1


def test_photos_that_rule_out_each_other_s_category_leave_a_distribution():
    with np.errstate(divide="ignore"):
        scores = np.log(np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]))
    for method in AGGREGATIONS:
        assert np.exp(aggregate(scores, np.array([0]), method)[0]) == pytest.approx([0.5, 0.5, 0], abs=1e-12)


def test_an_unknown_aggregation_is_refused():
    with pytest.raises(InputError, match="'median'; choose from: mean, log_mean, maximum, vote"):
        aggregate(np.zeros((1, 1)), np.array([0]), "median")


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([0.01, 0.3, 1.0, 1.7, 100.0]), st.sampled_from([0.1, 1.0, 300.0]))
def test_no_temperature_changes_a_prediction_or_the_order_behind_it(seed, temperature, scale):
    scores = scores_of(seed, 20, 8, scale)
    scores[3:6] = log_softmax(scores[3:6].round(1), axis=1)  # equal scores
    classes = np.array(list("abcdefgh"), object)
    before, after = product_rows(scores, classes), product_rows(scores, classes, temperature)
    assert before["predicted"].tolist() == after["predicted"].tolist()
    assert [list(best) for best in before["top5"]] == [list(best) for best in after["top5"]]
    np.testing.assert_array_equal(before["confidence"], after["raw_confidence"])
    expected = log_softmax(scores / temperature, axis=1)
    np.testing.assert_allclose(after["confidence"], expected.max(axis=1), atol=1e-9)
    for found, best in zip(after["top5_confidence"], np.sort(expected, axis=1)[:, ::-1], strict=True):
        np.testing.assert_allclose(found, best[:5], rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(after["margin"], before["margin"] / temperature, rtol=1e-6, atol=1e-9)
    assert (after["entropy"] >= 0).all()
    assert (after["confidence"] <= 0).all()


def test_a_temperature_of_one_changes_no_bit():
    scores = scores_of(5, 9, 4)
    rows = product_rows(scores, np.array(list("abcd"), object), 1.0)
    np.testing.assert_array_equal(rows["confidence"], scores.max(axis=1))
    np.testing.assert_array_equal(rows["raw_confidence"], rows["confidence"])


def test_rejected_products_are_less_sure_than_any_by_every_measure():
    rows = rejected_rows(2)
    assert np.isneginf(rows["confidence"]).all()
    assert np.isneginf(rows["margin"]).all()
    assert np.isposinf(rows["entropy"]).all()
