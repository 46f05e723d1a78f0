"""Suspected wrong labels: the dense scores they are based on, and how many planted ones are found."""

import numpy as np
import pytest
from cleanlab.filter import find_label_issues

from shelfbench.verdict import suspects
from shelfbench.verdict.suspects import SUSPECT, HeldOutScores, suspect_labels, usual


def stored(probabilities, starts, labels, best):
    """Scores of the `best` categories of each image."""
    images, classes = probabilities.shape
    codes = np.argsort(-probabilities, axis=1)[:, :best]
    kept = np.take_along_axis(probabilities, codes, axis=1)
    row = np.repeat(np.arange(images), best)
    return HeldOutScores(
        starts=np.asarray(starts),
        labels=labels,
        classes=classes,
        row=row,
        code=codes.ravel(),
        probability=kept.ravel(),
        rest=1 - kept.sum(axis=1),
    )


def drawn(products=600, classes=12, noise=0.1, seed=0):
    """Probabilities of a good model, one to three images a product, and labels, a tenth of them wrong."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, classes, products)
    wrong = rng.random(products) < noise
    labels = np.where(wrong, (truth + rng.integers(1, classes, products)) % classes, truth)
    images = rng.integers(1, 4, products)
    owner = np.repeat(np.arange(products), images)
    logits = rng.normal(0, 1, (len(owner), classes))
    logits[np.arange(len(owner)), truth[owner]] += 4
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return probabilities, np.cumsum(images) - images, labels, wrong


def mean_by_product(probabilities, starts):
    return np.stack([part.mean(axis=0) for part in np.split(probabilities, starts[1:])])


@pytest.mark.parametrize("elements", [1 << 23, 40])
def test_dense_scores_are_means_over_the_photos(monkeypatch, elements):
    monkeypatch.setattr(suspects, "_ELEMENTS", elements)  # small: a block has only a few products
    probabilities, starts, labels, _ = drawn(products=50)
    whole = stored(probabilities, starts, labels, probabilities.shape[1])
    dense = np.concatenate([block for _, block in whole.blocks()])
    np.testing.assert_allclose(dense, mean_by_product(probabilities, starts), atol=1e-6)
    parts = [part for part, _ in whole.blocks()]
    assert [part.start for part in parts[1:]] == [part.stop for part in parts[:-1]]


def test_the_rest_is_spread_over_what_is_not_stored():
    scores = stored(np.array([[0.5, 0.3, 0.15, 0.05]]), [0], np.array([0]), 2)
    ((_, dense),) = scores.blocks()
    np.testing.assert_allclose(dense, [[0.5, 0.3, 0.1, 0.1]])


@pytest.mark.parametrize("elements", [1 << 23, 40])
def test_labels_are_sorted_by_the_share_of_what_is_usual(monkeypatch, elements):
    monkeypatch.setattr(suspects, "_ELEMENTS", elements)
    probabilities, starts, labels, _ = drawn()
    whole = mean_by_product(probabilities, starts)
    own = whole[np.arange(len(labels)), labels]
    mean = [(own[labels == code].sum() + own.mean()) / ((labels == code).sum() + 1) for code in range(12)]
    share = own / np.array(mean)[labels]
    order = [one for one in np.argsort(share, kind="stable") if share[one] < SUSPECT]
    expected = [one for one in order if whole[one].argmax() != labels[one]]
    found = suspect_labels(stored(probabilities, starts, labels, probabilities.shape[1]))
    assert found.product.tolist() == expected
    assert len(expected) > 20
    np.testing.assert_allclose(found.label_probability, own[expected], atol=1e-6)


def with_doubtful_half(seed):
    """Scores of a model that is never sure of half of the categories, and labels, a twentieth of them wrong."""
    rng = np.random.default_rng(seed)
    classes, products = 16, 800
    truth = rng.integers(0, classes, products)
    wrong = rng.random(products) < 0.05
    labels = np.where(wrong, (truth + rng.integers(1, classes, products)) % classes, truth)
    logits = rng.normal(0, 1, (products, classes))
    logits[np.arange(products), truth] += np.where(truth < 8, 5, 2)
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return stored(probabilities, np.arange(products), labels, classes), labels, probabilities, wrong


def test_more_are_found_than_by_cleanlab_or_by_plain_sorting_where_some_categories_are_hard():
    ours, theirs, plain = [], [], []
    for seed in range(8):
        scores, labels, probabilities, wrong = with_doubtful_half(seed)
        chosen = find_label_issues(labels, probabilities, return_indices_ranked_by="self_confidence", n_jobs=1)
        own = probabilities[np.arange(len(labels)), labels]
        first = np.argsort(own / usual(own, labels, scores.classes))[: len(chosen)]
        ours.append(wrong[first].sum())
        theirs.append(wrong[chosen].sum())
        plain.append(wrong[np.argsort(own)[: len(chosen)]].sum())
    assert np.sum(ours) > np.sum(theirs)
    assert np.sum(ours) > np.sum(plain)


def test_a_category_of_one_product_is_judged_by_the_others():
    own, labels = np.array([0.9, 0.8, 0.9, 0.001]), np.array([0, 0, 0, 1])
    assert own[3] / usual(own, labels, 2)[3] < 0.01
    assert np.all(usual(np.zeros(3), np.array([0, 0, 1]), 2) > 0)


def test_planted_wrong_labels_are_found():
    probabilities, starts, labels, wrong = drawn()
    found = suspect_labels(stored(probabilities, starts, labels, 5))
    assert wrong[found.product].mean() > 0.8
    assert wrong[found.product].sum() > 0.6 * wrong.sum()
    assert np.all(found.suggested != labels[found.product])
    assert np.all(found.suggested_probability > found.label_probability)


def test_nothing_to_judge():
    nothing = stored(np.empty((0, 3)), np.empty(0, np.int64), np.empty(0, np.int64), 2)
    assert len(suspect_labels(nothing).product) == 0
    single = stored(np.ones((2, 1)), [0, 1], np.zeros(2, np.int64), 1)
    assert len(suspect_labels(single).product) == 0
