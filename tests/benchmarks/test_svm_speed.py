"""The linear SVM against `LinearSVC`, at a reduced size: the same problem, the same optimum, then the times.

Run with ``nox -s regress``; without, only the equality is checked.
"""

import numpy as np
import pytest
from pairs import Row
from sklearn.svm import LinearSVC
from threadpoolctl import threadpool_limits

from baselines.descent import solve
from baselines.squared_hinge import SquaredHinge

C, ROWS, DIMENSIONS, CLASSES = 1e-3, 3000, 200, 20


@pytest.fixture(scope="module")
def data():
    """Correlated, rectified features like a network's, and categories as unequal as a shop's."""
    rng = np.random.default_rng(0)
    share = 1 / np.arange(1, CLASSES + 1)
    labels = rng.choice(CLASSES, ROWS, p=share / share.sum())
    mix = rng.normal(size=(DIMENSIONS, DIMENSIONS)) * (np.arange(1, DIMENSIONS + 1) ** -0.5)[:, None]
    centres = rng.normal(size=(CLASSES, DIMENSIONS)) * 0.5
    features = np.maximum((centres[labels] + rng.normal(size=(ROWS, DIMENSIONS))) @ mix, 0)
    return ((features - features.mean(0)) / features.std(0)).astype(np.float32), labels


def ours(features, labels):
    with threadpool_limits(1):  # liblinear has one thread too; at this size more would measure BLAS's waiting
        problem = SquaredHinge(features, labels, CLASSES, standardise=True)
        return solve(problem, C, np.zeros((DIMENSIONS + 1, CLASSES)), 1e-4, 100).weights


def theirs(features, labels, tol=1e-2):
    # liblinear converts to float64 itself; `dual` and tolerance are what the opponent of the full size uses
    fitted = LinearSVC(C=C, tol=tol, dual="auto", max_iter=5000).fit(features, labels)
    return np.vstack([fitted.coef_.T, fitted.intercept_])


def objective(features, labels, weights):
    signs = np.where(labels[:, None] == np.arange(CLASSES), 1.0, -1.0)
    slack = np.maximum(0, 1 - signs * (features.astype(np.float64) @ weights[:-1] + weights[-1]))
    return 0.5 * (weights**2).sum() + C * (slack**2).sum()


def test_same_optimum(data):
    features, labels = data
    best = min(objective(features, labels, theirs(features, labels, 1e-5)), objective(features, labels, ours(*data)))
    assert objective(features, labels, ours(features, labels)) <= 1.001 * best


def test_speed(data, race, one_core):
    row = Row(f"linear SVM, {ROWS:,} x {DIMENSIONS}, {CLASSES} categories", "LinearSVC(C=1e-3, tol=1e-2)", "svm", 60)
    race(row, lambda: ours(*data), lambda: theirs(*data))
