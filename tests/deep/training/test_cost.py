"""Class weights and the cost, against scikit-learn, Keras' one-hot cost and the formulas."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shelfbench.base.errors import InputError
from shelfbench_deep.engines.keras import keras
from shelfbench_deep.training.recipes import class_weights, loss


@given(st.lists(st.integers(0, 6), min_size=1, max_size=60))
def test_class_weights_are_scikit_learns(labels):
    from sklearn.utils.class_weight import compute_class_weight

    labels_array = np.array(labels)
    weights = class_weights(labels_array, 8)
    present = np.unique(labels_array)
    expected = compute_class_weight("balanced", classes=present, y=labels_array)
    assert weights.dtype == np.float32
    np.testing.assert_allclose(weights[present], expected, rtol=1e-6)
    assert not np.delete(weights, present).any()
    assert weights[labels_array].mean() == pytest.approx(1, rel=1e-5)


@pytest.mark.parametrize("labels", [[0, 3], [-1, 0]])
def test_labels_out_of_range_have_no_weight(labels):
    with pytest.raises(ValueError, match=r"label|negative"):
        class_weights(np.array(labels), 3)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cost_equals_the_one_hot_cost(smoothing):
    rng = np.random.default_rng(0)
    logits = (10 * rng.normal(size=(16, 7))).astype(np.float32)
    labels = rng.integers(0, 7, 16)
    weights = rng.random(16).astype(np.float32)
    reference = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=smoothing)
    targets = np.eye(7, dtype=np.float32)[labels]
    for given_labels in (labels, labels[:, None]):
        for weight in (None, weights):
            expected = float(reference(targets, logits, sample_weight=weight))
            assert float(loss(smoothing)(given_labels, logits, sample_weight=weight)) == pytest.approx(
                expected, rel=1e-6
            )


def test_smoothing_by_hand():
    logits = np.array([[2.0, 0.0, -1.0]], np.float32)
    log_p = logits - np.log(np.exp(logits).sum())
    expected = -(np.array([0.05, 0.9, 0.05]) * log_p).sum()
    assert float(loss(0.15)(np.array([1]), logits)) == pytest.approx(expected, rel=1e-6)


def test_multi_label_cost_by_hand():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(4, 6)).astype(np.float32)
    targets = rng.integers(0, 2, (4, 6))
    p = 1 / (1 + np.exp(-logits.astype(np.float64)))
    expected = -np.where(targets == 1, np.log(p), np.log(1 - p)).mean()
    assert float(loss(multi_label=True)(targets, logits)) == pytest.approx(expected, rel=1e-5)
    far = np.array([[1000.0, -1000.0]], np.float32)
    assert float(loss(multi_label=True)(np.array([[1, 0]]), far)) == 0
    with pytest.raises(InputError, match="smoothing"):
        loss(1.0)
