"""MAP@100 and the place of the true class, against their definitions."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import sparse
from sklearn.metrics import average_precision_score

from shelfbench.base.errors import InputError
from shelfbench.verdict.metrics import top_k
from shelfbench.verdict.ranking import Best, average_precisions, best_per_image, rank_of, weighted_mean


def mean_average_precision(scores, targets, k=100, weights=None):
    return weighted_mean(average_precisions(scores, targets, k), weights)


def predicted(row, k):
    """An image's k best classes, by the definition: highest score first, ties by lower code."""
    return sorted(range(len(row)), key=lambda code: (-row[code], code))[:k]


def brute_precision(scores, targets, code, k, number=float):
    """Average precision of one class by walking down its ranking; None if no image carries it."""
    positives = sum(bool(row[code]) for row in targets)
    if not positives:
        return None
    ranking = sorted(
        (image for image, row in enumerate(scores) if code in predicted(row, k)),
        key=lambda image: (-scores[image][code], image),
    )
    gained, hits = number(0), 0
    for rank, image in enumerate(ranking, 1):
        if targets[image][code]:
            hits += 1
            gained += number(hits) / number(rank)
    return gained / positives


def brute_map(scores, targets, k, weights):
    terms = [
        (weights[code], found)
        for code in range(len(weights))
        if (found := brute_precision(scores, targets, code, k)) is not None
    ]
    return math.fsum(weight * found for weight, found in terms) / math.fsum(weight for weight, _ in terms)


@st.composite
def problems(draw):
    shape = (draw(st.integers(1, 12)), draw(st.integers(1, 7)))
    # few distinct scores, so that ties are common
    scores = draw(arrays(np.float64, shape, elements=st.sampled_from([-2.0, -0.5, 0.0, 0.1, 3.0]) | st.floats(-5, 5)))
    targets = draw(arrays(bool, shape))
    weights = draw(arrays(np.float64, shape[1], elements=st.floats(0.01, 10)))
    return scores, targets, draw(st.integers(1, 9)), weights


@settings(max_examples=300, deadline=None)
@given(problems())
def test_equals_the_definition_exactly(problem):
    scores, targets, k, weights = problem
    found = average_precisions(scores, targets, k)
    for code, value in enumerate(found):
        expected = brute_precision(scores, targets, code, k)
        assert math.isnan(value) if expected is None else value == expected
        exact = brute_precision(scores, targets, code, k, Fraction)
        assert exact is None or abs(Fraction(float(value)) - exact) < Fraction(1, 10**12)
    if targets.any():
        assert mean_average_precision(scores, targets, k, weights) == brute_map(scores, targets, k, weights)
        ones = np.ones(len(weights))
        assert mean_average_precision(scores, targets, k) == brute_map(scores, targets, k, ones)
        best = best_per_image(scores, k)
        assert mean_average_precision(best, sparse.csr_matrix(targets), k, weights) == brute_map(
            scores, targets, k, weights
        )


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 40), st.integers(1, 8))
def test_equals_scikit_learn_where_nothing_is_cut_off_and_nothing_ties(seed, images, classes):
    rng = np.random.default_rng(seed)
    scores = rng.permutation(images * classes).reshape(images, classes).astype(float)
    targets = rng.random((images, classes)) < 0.4
    for code, value in enumerate(average_precisions(scores, targets, k=classes)):
        if targets[:, code].any():
            assert value == pytest.approx(average_precision_score(targets[:, code], scores[:, code]), abs=1e-12)
        else:
            assert math.isnan(value)


def test_a_label_beyond_the_best_100_is_a_hit_that_never_comes():
    scores = np.zeros((2, 150))
    scores[:, :100] = np.arange(200, 100, -1)
    targets = np.zeros((2, 150), bool)
    targets[:, 99] = targets[0, 100] = True
    found = average_precisions(scores, targets)
    assert found[99] == 1
    assert found[100] == 0
    assert mean_average_precision(scores, targets) == 0.5
    assert mean_average_precision(scores, targets, weights=np.where(np.arange(150) == 99, 3.0, 1.0)) == 0.75
    assert mean_average_precision(scores, targets, k=101) == 1


def test_an_image_that_does_not_predict_a_class_takes_no_place_in_its_ranking():
    # for class 1, image 0 has the higher score, and predicts class 0 alone
    scores = np.array([[9.0, 5.0], [0.0, 1.0]])
    targets = np.array([[False, False], [False, True]])
    assert average_precisions(scores, targets, k=1)[1] == 1
    assert average_precisions(scores, targets, k=2)[1] == 0.5


def test_ties_go_to_the_lower_class_and_the_earlier_image():
    flat = np.zeros((3, 4))
    assert best_per_image(flat, 2).code.tolist() == [[0, 1]] * 3
    targets = np.zeros((3, 4), bool)
    targets[1, 0] = True
    assert average_precisions(flat, targets, 2)[0] == 0.5


def test_an_image_without_predictions_still_counts():
    best = best_per_image(np.array([[2.0, 1.0], [2.0, 1.0]]), 2)
    unread = Best(np.where([[True], [False]], best.code, -1), best.score, 2)
    targets = np.array([[True, False], [True, False]])
    assert average_precisions(unread, targets)[0] == 0.5
    assert rank_of(np.array([0, 0]), unread).tolist() == [0, -1]


@settings(max_examples=100, deadline=None)
@given(problems(), st.integers(0, 2**32 - 1))
def test_top_k_counts_the_images_whose_true_class_is_among_the_best(problem, seed):
    scores, _, k, _ = problem
    truth = np.random.default_rng(seed).integers(0, scores.shape[1], len(scores))
    rank = rank_of(truth, best_per_image(scores, 5))
    expected = np.mean([code in predicted(row, min(k, 5)) for code, row in zip(truth, scores, strict=True)])
    assert top_k(rank, min(k, 5)) == expected


@pytest.mark.parametrize(
    ("scores", "targets", "options", "message"),
    [
        ([[1.0, np.nan]], [[True, True]], {}, "image 0 for class 1 is NaN"),
        ([[1.0, 2.0]], [[True]], {}, r"shape \(1, 2\) and targets of \(1, 1\)"),
        ([[1.0, 2.0]], [[True, False]], {"k": 0}, "the best 0"),
        ([[1.0, 2.0]], [[False, False]], {}, "no image carries"),
        ([[1.0, 2.0]], [[True, False]], {"weights": np.array([0.0, 1.0])}, "no image carries a class that counts"),
        ([[1.0, 2.0]], [[True, False]], {"weights": np.array([-1.0, 1.0])}, "weight of at least 0"),
        ([[1.0, 2.0]], [[True, False]], {"weights": np.ones(3)}, "for 2 classes"),
    ],
)
def test_wrong_input(scores, targets, options, message):
    with pytest.raises(InputError, match=message):
        mean_average_precision(np.array(scores), np.array(targets), **options)
    best = Best(np.array([[0]], np.int32), np.array([[np.nan]]), 2)
    with pytest.raises(InputError, match="image 0 is NaN"):
        mean_average_precision(best, np.array([[True, False]]))
