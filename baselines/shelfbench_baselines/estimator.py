"""The linear SVM as an estimator of scikit-learn."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from shelfbench.base.console import Console
from shelfbench.base.errors import InputError
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from shelfbench_baselines.descent import regularisation_path
from shelfbench_baselines.device import check_engine, margins_for
from shelfbench_baselines.squared_hinge import SquaredHinge


class BatchedLinearSVC(ClassifierMixin, BaseEstimator):
    """``sklearn.svm.LinearSVC`` for many categories: all of them at once, each to its own optimum.

    The problem is that of ``LinearSVC`` with its defaults (squared hinge, L2, one against the rest, an intercept
    that is penalised like a weight), and so are its objective at the optimum, `coef_` and `intercept_`. What differs:

    * `tol` bounds the distance of each category's objective from its optimum, relative and estimated; that of
      ``LinearSVC`` bounds a gradient, and means another thing for each of its solvers.
    * `max_iter` counts sweeps over the data, and nothing is drawn, so that there is no ``random_state``.
    * The data are held in float32 (sums that need it are float64). Standardise features that are far from zero.
    * Sparse data and weights of rows or classes are not taken.

    Parameters
    ----------
    C : float, default 1.0
        Weight of the loss.
    tol : float, default 1e-4
    fit_intercept : bool, default True
    intercept_scaling : float, default 1.0
        The constant that stands for the intercept: the larger, the less the penalty holds the intercept back.
    max_iter : int, default 1000
    engine : {"auto", "numpy", "cupy", "torch", "jax"}, default "numpy"
        What goes through the data; see `shelfbench_baselines.device.find_device`.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
    coef_ : ndarray of float64, shape (n_classes, n_features), or (1, n_features) for two classes
    intercept_ : ndarray of float64, shape (n_classes,) or (1,)
    n_features_in_ : int
    n_iter_ : int
        Sweeps of the category that took most.
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
        """Learn one plane a class (one in all for two classes).

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : array-like of shape (n_samples,)

        Raises
        ------
        ValueError
            If the data are not finite in float32, `y` holds fewer than two classes, or a parameter is out of range.
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
            raise ValueError(f"there must be two classes or more, and y holds only one class: {self.classes_[0]!r}")
        if classes == 2:  # one plane; the rows of the other class are the rest
            labels, classes = labels - 1, 1
        constant = float(self.intercept_scaling) if self.fit_intercept else 0.0
        problem = SquaredHinge(X, labels, classes, standardise=False, constant=constant)
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
        """Margins, float64, shape (n_samples, n_classes); (n_samples,) for two classes, positive for the second."""
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, dtype=[np.float64, np.float32])
        margins = X @ self.coef_.T + self.intercept_
        return margins[:, 0] if margins.shape[1] == 1 else margins

    def predict(self, X: Any) -> np.ndarray:
        """Class of the largest margin, shape (n_samples,)."""
        margins = self.decision_function(X)
        return self.classes_[(margins > 0).astype(int) if margins.ndim == 1 else margins.argmax(axis=1)]
