"""Suspected wrong labels: the dense scores they are based on, and how many planted ones are found."""

import numpy as np
import pytest
from cleanlab.count import num_label_issues
from cleanlab.filter import find_label_issues

from shelfbench.verdict import suspects
from shelfbench.verdict.suspects import HeldOutScores, suspect_labels


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


def test_as_many_as_cleanlab_counts_in_one_piece(monkeypatch):
    probabilities, starts, labels, _ = drawn()
    scores = stored(probabilities, starts, labels, probabilities.shape[1])
    whole = mean_by_product(probabilities, starts)
    expected = num_label_issues(labels, whole, estimation_method="off_diagonal")
    monkeypatch.setattr(suspects, "_ELEMENTS", 1000)
    found = suspect_labels(scores)
    assert len(found.product) == expected > 20
    # the first of them are those that it lists itself
    first = find_label_issues(
        labels, whole, filter_by="low_self_confidence", return_indices_ranked_by="self_confidence", n_jobs=1
    )
    assert found.product[: len(first)].tolist() == first.tolist()


def test_planted_wrong_labels_are_found():
    probabilities, starts, labels, wrong = drawn()
    found = suspect_labels(stored(probabilities, starts, labels, 5))
    assert wrong[found.product].mean() > 0.8
    assert wrong[found.product].sum() > 0.6 * wrong.sum()
    assert np.all(found.suggested != labels[found.product])
    assert np.all(np.diff(found.label_probability) >= 0), "the least probable label comes first"
    assert np.all(found.suggested_probability > found.label_probability)


def test_nothing_to_judge():
    nothing = stored(np.empty((0, 3)), np.empty(0, np.int64), np.empty(0, np.int64), 2)
    assert len(suspect_labels(nothing).product) == 0
    single = stored(np.ones((2, 1)), [0, 1], np.zeros(2, np.int64), 1)
    assert len(suspect_labels(single).product) == 0
