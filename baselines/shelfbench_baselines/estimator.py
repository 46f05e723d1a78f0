"""The linear SVM as a scikit-learn estimator."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from shelfbench.base.console import Console
from shelfbench.base.errors import InputError
from shelfbench_baselines.descent import regularisation_path
from shelfbench_baselines.device import check_engine, margins_for
from shelfbench_baselines.streamed import problem_for


class BatchedLinearSVC(ClassifierMixin, BaseEstimator):
    """``sklearn.svm.LinearSVC`` for many classes: all of them at once, each to its own optimum.

    It solves the problem of ``LinearSVC`` with its defaults (squared hinge, L2, one against the rest, an intercept
    penalised like a weight), so the objective at the optimum, `coef_` and `intercept_` are the same. The differences:

    * `tol` bounds how far each class's objective is above its optimum (relative and estimated); that of ``LinearSVC``
      bounds a gradient, with a different meaning for each of its solvers.
    * `max_iter` counts sweeps over the data. Nothing is random, so there is no ``random_state``.
    * The data are kept in float32 (sums that need it are float64). Standardise features that are far from zero.
    * Sparse data and weights of samples or classes are not supported.

    Parameters
    ----------
    C : float, default=1.0
        Weight of the loss.
    tol : float, default=1e-4
        Relative distance from the optimum at which a class has converged.
    fit_intercept : bool, default=True
        Whether to append a constant to the features.
    intercept_scaling : float, default=1.0
        That constant; the larger it is, the less the penalty restrains the intercept.
    max_iter : int, default=1000
        Maximum number of sweeps.
    engine : {"auto", "numpy", "cupy", "torch", "jax"}, default="numpy"
        Library that computes the sweeps; see `shelfbench_baselines.device.find_device`.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels of `y`, sorted.
    coef_ : ndarray of float64, shape (n_classes, n_features), or (1, n_features) for two classes
        Weights of the features.
    intercept_ : ndarray of float64, shape (n_classes,) or (1,)
        Intercepts of the planes.
    n_features_in_ : int
        Number of features seen in `fit`.
    n_iter_ : int
        Number of sweeps of the class that needed the most.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from shelfbench_baselines.estimator import BatchedLinearSVC
    >>> features, labels = load_iris(return_X_y=True)
    >>> bool(BatchedLinearSVC(C=0.1).fit(features, labels).score(features, labels) > 0.9)
    True
    """

    def __init__(
        self,
        C: float = 1.0,
        *,
        tol: float = 1e-4,
        fit_intercept: bool = True,
        intercept_scaling: float = 1.0,
        max_iter: int = 1000,
        engine: str = "numpy",
    ) -> None:
        self.C = C
        self.tol = tol
        self.fit_intercept = fit_intercept
        self.intercept_scaling = intercept_scaling
        self.max_iter = max_iter
        self.engine = engine

    def fit(self, X: Any, y: Any) -> BatchedLinearSVC:
        """Fit one plane per class (a single plane for two classes).

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training data.
        y : array-like of shape (n_samples,)
            Labels.

        Returns
        -------
        BatchedLinearSVC
            The fitted estimator.

        Raises
        ------
        ValueError
            If the data are not finite in float32, `y` has fewer than two classes, or a parameter is out of range.
        """
        for name in ("C", "tol", "intercept_scaling", "max_iter"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be above 0, not {getattr(self, name)!r}")
        try:
            check_engine(self.engine)
        except InputError as error:
            raise ValueError(str(error).replace("svm.engine", "engine")) from None
        X, y = validate_data(self, X, y, dtype=np.float32, order="C")
        check_classification_targets(y)
        self.classes_, labels = np.unique(y, return_inverse=True)
        classes = len(self.classes_)
        if classes < 2:
            raise ValueError(f"y must have at least two classes, but it has only one class: {self.classes_[0]!r}")
        if classes == 2:  # one plane: the second class against the rest
            labels, classes = labels - 1, 1
        constant = float(self.intercept_scaling) if self.fit_intercept else 0.0
        problem = problem_for(X, labels, classes, standardise=False, constant=constant)
        margins, _ = margins_for(self.engine, problem, Console())
        (solution,) = regularisation_path(problem, (self.C,), self.tol, self.max_iter, margins=margins)
        gap, sweeps = solution.gap.max(), int(solution.sweeps.max())
        if gap > 10 * self.tol:
            warnings.warn(
                f"stopped after {sweeps} sweeps, an estimated {gap:.1e} above the optimum; "
                "raise max_iter, or standardise the features",
                ConvergenceWarning,
                stacklevel=2,
            )
        self.coef_ = np.ascontiguousarray(solution.weights[:-1].T)
        self.intercept_ = constant * solution.weights[-1]
        self.n_iter_ = sweeps
        return self

    def decision_function(self, X: Any) -> np.ndarray:
        """Compute the margins.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of float64, shape (n_samples, n_classes), or (n_samples,) for two classes
            For two classes, positive for the second.
        """
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, dtype=[np.float64, np.float32])
        margins = X @ self.coef_.T + self.intercept_
        found: np.ndarray = margins[:, 0] if margins.shape[1] == 1 else margins
        return found

    def predict(self, X: Any) -> np.ndarray:
        """Predict the class with the largest margin.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,)
        """
        margins = self.decision_function(X)
        found: np.ndarray = self.classes_[(margins > 0).astype(int) if margins.ndim == 1 else margins.argmax(axis=1)]
        return found
