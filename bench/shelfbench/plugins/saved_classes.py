"""Classes of scikit-learn and XGBoost that a saved classifier may consist of, and what is kept of them.

A class is listed here if its ``predict_proba`` or ``decision_function`` computes with NumPy alone, which checks every
index, or if `shelfbench.plugins.saved_content` checks what its compiled code would index with. None of them calls a
function that a file could name, opens a file, or imports a module that a file names.
"""

from __future__ import annotations

from typing import Any

import numpy as np

_SKLEARN = {
    "": ("pipeline.Pipeline", "dummy.DummyClassifier"),
    "calibration": ("CalibratedClassifierCV", "_CalibratedClassifier", "_SigmoidCalibration"),
    "decomposition": ("_pca.PCA", "_incremental_pca.IncrementalPCA", "_truncated_svd.TruncatedSVD"),
    "discriminant_analysis": ("LinearDiscriminantAnalysis", "QuadraticDiscriminantAnalysis"),
    "ensemble": (
        "_bagging.BaggingClassifier",
        "_forest.ExtraTreesClassifier",
        "_forest.RandomForestClassifier",
        "_hist_gradient_boosting.binning._BinMapper",
        "_hist_gradient_boosting.gradient_boosting.HistGradientBoostingClassifier",
        "_hist_gradient_boosting.predictor.TreePredictor",
        "_voting.VotingClassifier",
        "_weight_boosting.AdaBoostClassifier",
    ),
    "gaussian_process": (
        *("_gpc.GaussianProcessClassifier", "_gpc._BinaryGaussianProcessClassifierLaplace"),
        *(f"kernels.{name}" for name in ("ConstantKernel", "Matern", "Product", "RBF", "Sum", "WhiteKernel")),
    ),
    "kernel_approximation": ("Nystroem", "RBFSampler"),
    "linear_model": (
        "_logistic.LogisticRegression",
        "_logistic.LogisticRegressionCV",
        "_passive_aggressive.PassiveAggressiveClassifier",
        "_perceptron.Perceptron",
        "_ridge.RidgeClassifier",
        "_ridge.RidgeClassifierCV",
        "_stochastic_gradient.SGDClassifier",
    ),
    "_loss": (
        *("link.Interval", "link.LogitLink", "link.MultinomialLogit"),
        *("loss.HalfBinomialLoss", "loss.HalfMultinomialLoss"),
    ),
    "multiclass": ("OneVsRestClassifier", "OneVsOneClassifier"),
    "naive_bayes": ("BernoulliNB", "ComplementNB", "GaussianNB", "MultinomialNB"),
    "neighbors": ("_classification.KNeighborsClassifier", "_nearest_centroid.NearestCentroid"),
    "neural_network": ("_multilayer_perceptron.MLPClassifier",),
    "preprocessing": (
        "_data.MaxAbsScaler",
        "_data.MinMaxScaler",
        "_data.Normalizer",
        "_data.PowerTransformer",
        "_data.QuantileTransformer",
        "_data.RobustScaler",
        "_data.StandardScaler",
        "_label.LabelBinarizer",
        "_label.LabelEncoder",
    ),
    "svm": ("_classes.LinearSVC", "_classes.NuSVC", "_classes.SVC"),
    "tree": ("_classes.DecisionTreeClassifier", "_classes.ExtraTreeClassifier"),
}
CLASSES = frozenset(
    ".".join(part for part in ("sklearn", module, name) if part) for module, names in _SKLEARN.items() for name in names
) | {"xgboost.sklearn.XGBClassifier"}

# Attributes that only further training would need, or that repeat others.
_UNNEEDED = (
    "named_estimators_",
    "_optimizer",
    "_random_state",
    "_rng",
    "rng",
    "_feature_subsample_rng",
    "_loss_function_",
    "loss_function_",
)


def is_part(value: Any) -> bool:
    """Tell whether a value is an object with attributes of its own, and not a class, an array or compiled.

    Parameters
    ----------
    value : object

    Returns
    -------
    bool
    """
    return (
        hasattr(value, "__dict__")
        and not isinstance(value, (type, np.ndarray, np.generic))
        and type(value).__module__.partition(".")[0] != "builtins"
        and not callable(getattr(value, "func", None))
        and type(value).__name__ != "Booster"
        and getattr(type(value), "__reduce_ex__", None) is object.__reduce_ex__
        and getattr(type(value), "__reduce__", None) is object.__reduce__
    )


def prepared(value: Any) -> Any:
    """Return an estimator as it is kept: without what prediction does not need, and boosters of XGBoost as text.

    Parameters
    ----------
    value : object
        An estimator, or a part of one. Not changed; the copy shares its arrays.

    Returns
    -------
    object
    """
    if type(value) in (list, tuple):
        return type(value)(prepared(item) for item in value)
    if type(value) is dict:
        return {key: prepared(item) for key, item in value.items()}
    if isinstance(value, np.ndarray) and value.dtype.hasobject:
        copied = np.empty(value.shape, object)
        for position, item in np.ndenumerate(value):
            copied[position] = prepared(item)
        return copied
    if not is_part(value):
        return value
    kind: Any = type(value)
    result = kind.__new__(kind)
    for name, item in vars(value).items():
        if type(item).__name__ == "Booster":
            result.__dict__[name] = bytes(item.save_raw("json"))
        elif name not in _UNNEEDED:
            result.__dict__[name] = prepared(item)
    return result
