"""The estimator: scikit-learn's own checks, and the results of `LinearSVC` on several datasets."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits, load_iris, make_blobs, make_classification
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from sklearn.utils.estimator_checks import parametrize_with_checks

from shelfbench_baselines.estimator import BatchedLinearSVC


@parametrize_with_checks([BatchedLinearSVC()])
def test_is_a_scikit_learn_estimator(estimator, check):
    check(estimator)


def imbalanced():
    features, labels = make_classification(
        600, 20, n_informative=8, n_classes=3, weights=[0.95, 0.03, 0.02], random_state=0
    )
    return features, np.array(["most", "few", "fewest"])[labels]


DATA = {
    "digits": lambda: load_digits(return_X_y=True),
    "iris": lambda: load_iris(return_X_y=True),
    "two of iris": lambda: tuple(part[:100] for part in load_iris(return_X_y=True)),
    "blobs": lambda: make_blobs(300, 5, centers=6, cluster_std=3.0, random_state=0),
    "imbalanced": imbalanced,
}


def objectives(model, features, labels, scaling=1.0):
    """Compute the objective of each plane, float64."""
    classes = model.classes_[1:] if len(model.classes_) == 2 else model.classes_
    signs = np.where(labels[:, None] == classes, 1.0, -1.0)
    slack = np.maximum(0, 1 - signs * (features @ model.coef_.T + model.intercept_))
    length = (model.coef_**2).sum(axis=1) + (model.intercept_ / scaling) ** 2
    return 0.5 * length + model.C * (slack**2).sum(axis=0)


@pytest.mark.parametrize("name", DATA)
@pytest.mark.parametrize("C", [1e-2, 1.0])
def test_same_optimum_as_linear_svc(name, C):
    features, labels = DATA[name]()
    features = StandardScaler().fit_transform(features)
    ours = BatchedLinearSVC(C=C).fit(features, labels)
    theirs = LinearSVC(C=C, tol=1e-8, dual=False, max_iter=10_000).fit(features, labels)
    assert ours.coef_.shape == theirs.coef_.shape
    assert ours.intercept_.shape == theirs.intercept_.shape
    assert ours.decision_function(features).shape == theirs.decision_function(features).shape
    best = objectives(theirs, features, labels)
    np.testing.assert_array_less(objectives(ours, features, labels), best * 1.001)
    assert np.mean(ours.predict(features) == theirs.predict(features)) >= 0.99
    tight = BatchedLinearSVC(C=C, tol=1e-6).fit(features, labels)
    np.testing.assert_allclose(tight.coef_, theirs.coef_, atol=2e-3)


@pytest.mark.parametrize("scaling", [0.0, 0.3, 10.0])
def test_the_intercept_is_that_of_linear_svc(scaling):
    features, labels = DATA["blobs"]()
    features = StandardScaler().fit_transform(features) + 0.5
    settings = {"fit_intercept": False} if scaling == 0 else {"intercept_scaling": scaling}
    ours = BatchedLinearSVC(C=0.1, tol=1e-7, **settings).fit(features, labels)
    theirs = LinearSVC(C=0.1, tol=1e-9, dual=False, max_iter=10_000, **settings).fit(features, labels)
    np.testing.assert_allclose(ours.intercept_, theirs.intercept_, atol=2e-3)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=2e-3)


@given(seed=st.integers(0, 10_000), classes=st.integers(2, 5), dimensions=st.integers(1, 30), C=st.floats(1e-4, 10))
@example(seed=56, classes=4, dimensions=13, C=5.0)  # a row becomes inactive within the last Newton step
@example(seed=3340, classes=4, dimensions=9, C=8.0)  # conjugate gradients stall before the optimum
@settings(max_examples=25, deadline=None)
def test_never_above_the_optimum_by_more_than_the_tolerance(seed, classes, dimensions, C):
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(classes), rng.integers(0, classes, 60)])
    features = rng.normal(size=(classes, dimensions))[labels] + rng.normal(size=(len(labels), dimensions))
    ours = BatchedLinearSVC(C=C).fit(features, labels)
    theirs = LinearSVC(C=C, tol=1e-6, dual=False, max_iter=10_000).fit(features, labels)
    np.testing.assert_array_less(objectives(ours, features, labels), 1.001 * objectives(theirs, features, labels))


def test_in_a_pipeline_and_a_search():
    features, labels = load_digits(return_X_y=True)
    search = GridSearchCV(make_pipeline(StandardScaler(), BatchedLinearSVC()), {"batchedlinearsvc__C": [1e-3, 1e-2]})
    assert search.fit(features, labels).best_score_ > 0.9


def test_stopping_before_the_optimum_warns():
    features, labels = load_digits(return_X_y=True)
    with pytest.warns(ConvergenceWarning, match="raise max_iter"):
        BatchedLinearSVC(max_iter=1).fit(features / 16, labels)


@pytest.mark.parametrize("bad", [{"C": 0}, {"tol": -1.0}, {"max_iter": 0}, {"intercept_scaling": 0.0}])
def test_wrong_parameters_are_refused(bad):
    features, labels = load_iris(return_X_y=True)
    with pytest.raises(ValueError, match=next(iter(bad))):
        BatchedLinearSVC(**bad).fit(features, labels)
