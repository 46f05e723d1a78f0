"""What compiled code would index with, checked before a loaded estimator is used.

Trees, nearest neighbours and support vector machines are arrays to compiled code that trusts them: a file could make it
read or write beyond them. `check_content` makes sure that no index in them leads outside.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from shelfbench.plugins.saved_boosters import restored
from shelfbench.plugins.saved_classes import is_part

_METRICS = {
    *("braycurtis", "canberra", "chebyshev", "cityblock", "correlation", "cosine", "euclidean", "l1", "l2"),
    *("manhattan", "minkowski", "nan_euclidean", "sqeuclidean"),
}
_KERNELS = {"linear", "poly", "rbf", "sigmoid"}


def check_content(estimator: Any) -> None:
    """Check all parts of an estimator, and make boosters of XGBoost from their text.

    Parameters
    ----------
    estimator : object
        Just loaded, its classes known to be allowed. Changed: boosters are made, and ``n_jobs`` is 1.

    Raises
    ------
    ValueError
        If its numbers do not fit together.
    """
    for part in _parts(estimator):
        kind = type(part)
        if kind.__module__.startswith(("sklearn.", "xgboost.")):
            if (check := _CHECKS.get(kind.__name__)) is not None:
                check(part)
            if "n_jobs" in vars(part):
                part.n_jobs = 1
            if not isinstance(vars(part).get("memory"), (str, type(None))):
                raise ValueError("its memory is not a path")


def _parts(value: Any, depth: int = 0) -> Iterator[Any]:
    if depth > 40:
        raise ValueError("its parts are nested too deep")
    if type(value) in (list, tuple):
        for item in value:
            yield from _parts(item, depth + 1)
    elif type(value) is dict:
        for item in value.values():
            yield from _parts(item, depth + 1)
    elif isinstance(value, np.ndarray) and value.dtype.hasobject:
        for item in value.flat:
            yield from _parts(item, depth + 1)
    elif is_part(value) or type(value).__name__ == "TreePredictor":
        yield value
        for item in list(vars(value).values()):
            yield from _parts(item, depth + 1)


def _require(condition: Any, what: str) -> None:
    if not bool(condition):
        raise ValueError(f"its {what} do not fit together")


def _whole(value: Any, least: int = 1) -> int:
    _require(isinstance(value, (int, np.integer)) and not isinstance(value, bool) and value >= least, "sizes")
    return int(value)


def _numbers(value: Any, shape: tuple[int, ...], what: str, kinds: str = "f") -> np.ndarray:
    _require(type(value) is np.ndarray and value.dtype.kind in kinds and value.shape == shape, what)
    found: np.ndarray = value
    return found


def _classes(part: Any) -> int:
    found = part.classes_
    _require(type(found) is np.ndarray and found.ndim == 1 and found.dtype.kind in "iuf" and len(found), "categories")
    return len(found)


def _tree(part: Any) -> None:
    """Check a decision tree: every node's children stand after it, and its feature exists."""
    from sklearn.tree._tree import Tree

    if "tree_" not in vars(part):  # the one that an ensemble's trees are copies of
        return
    tree = part.tree_
    _require(type(tree) is Tree, "trees")
    _require(tree.node_count >= 1 and tree.capacity == tree.node_count and tree.n_outputs == 1, "nodes")
    _require(tree.n_features == _whole(part.n_features_in_), "features of a tree")
    _require(_whole(part.n_outputs_) == 1, "outputs of a tree")
    _require(tree.value.shape == (tree.node_count, 1, _classes(part)), "categories of a tree")
    _check_nodes(tree.children_left, tree.children_right, tree.feature, tree.n_features)


def _check_nodes(left: np.ndarray, right: np.ndarray, feature: np.ndarray, features: int) -> None:
    """Check children (-1 for none) and features of the nodes of a tree."""
    number = np.arange(len(left))
    leaf = left == -1
    _require(np.array_equal(leaf, right == -1), "leaves")
    inner = ~leaf
    for child in (left[inner], right[inner]):
        _require(((child > number[inner]) & (child < len(left))).all(), "nodes of a tree")
    _require(((feature[inner] >= 0) & (feature[inner] < features)).all(), "features of a tree")


def _ensemble(part: Any) -> None:
    """Check that the trees of a forest take the features that it takes, and know its categories."""
    for tree in part.estimators_:
        if type(tree).__name__ in ("DecisionTreeClassifier", "ExtraTreeClassifier") and "Forest" in type(part).__name__:
            _require(tree.n_features_in_ == part.n_features_in_, "features of a forest")
            _require(_classes(tree) == _classes(part), "categories of a forest")


def _boosting(part: Any) -> None:
    """Check the trees of histogram gradient boosting."""
    from sklearn.ensemble._hist_gradient_boosting.common import PREDICTOR_RECORD_DTYPE
    from sklearn.ensemble._hist_gradient_boosting.predictor import TreePredictor

    features = _whole(part.n_features_in_)
    per_round = _whole(part.n_trees_per_iteration_)
    _require(per_round == (1 if _classes(part) == 2 else _classes(part)), "categories of a boosting")
    _require(part.is_categorical_ is None and not np.any(part._bin_mapper.is_categorical_), "categorical features")
    for trees in part._predictors:
        _require(len(trees) == per_round, "trees of a boosting")
        for tree in trees:
            _require(type(tree) is TreePredictor, "trees of a boosting")
            nodes = tree.nodes
            _require(type(nodes) is np.ndarray and nodes.dtype == PREDICTOR_RECORD_DTYPE and nodes.ndim == 1, "nodes")
            _require(len(nodes) and not nodes["is_categorical"].any(), "nodes")
            leaf = nodes["is_leaf"].astype(bool)
            left, right = (np.where(leaf, -1, nodes[name].astype(np.int64)) for name in ("left", "right"))
            _check_nodes(left, right, nodes["feature_idx"].astype(np.int64), features)


def _neighbours(part: Any) -> None:
    """Check nearest neighbours: the stored rows and their labels."""
    rows = part._fit_X
    _require(type(rows) is np.ndarray and rows.ndim == 2 and rows.dtype.kind == "f" and len(rows), "rows")
    _require(rows.shape[1] == _whole(part.n_features_in_), "features of the rows")
    labels = _numbers(part._y, (len(rows),), "labels of the rows", "iu")
    _require(labels.min() >= 0 and labels.max() < _classes(part), "labels of the rows")
    _require(part._fit_method == "brute" and part._tree is None and part.outputs_2d_ is False, "ways of searching")
    _require(part.metric in _METRICS and part.effective_metric_ in _METRICS, "distances")
    for given in (part.metric_params, part.effective_metric_params_):
        _require(not given or (set(given) == {"p"} and isinstance(given["p"], (int, float))), "distances")
    _require(part.weights in ("uniform", "distance") and _whole(part.n_neighbors) <= len(rows), "neighbours")


def _machine(part: Any) -> None:
    """Check a support vector machine of libsvm."""
    classes, features = _classes(part), _whole(part.n_features_in_)
    _require(part._sparse is False and part.kernel in _KERNELS and part._impl in ("c_svc", "nu_svc"), "kernels")
    vectors = part.support_vectors_
    _require(type(vectors) is np.ndarray and vectors.ndim == 2 and vectors.dtype == np.float64, "support vectors")
    count, pairs = len(vectors), classes * (classes - 1) // 2
    _require(vectors.shape[1] == features and part.shape_fit_[1:] == (features,), "support vectors")
    own = _numbers(part._n_support, (classes,), "support vectors", "i")
    _require(own.min() >= 0 and int(own.sum()) == count, "support vectors")
    _numbers(part.support_, (count,), "support vectors", "i")
    for coefficients in (part._dual_coef_, part.dual_coef_):
        _numbers(coefficients, (classes - 1, count), "coefficients")
    for intercepts in (part._intercept_, part.intercept_):
        _numbers(intercepts, (pairs,), "intercepts")
    first, second = part._probA, part._probB
    _require(len(first) in (0, pairs) and len(first) == len(second), "probabilities")
    _numbers(first, (len(first),), "probabilities")
    _numbers(second, (len(first),), "probabilities")


_CHECKS: dict[str, Callable[[Any], None]] = {
    "DecisionTreeClassifier": _tree,
    "ExtraTreeClassifier": _tree,
    "RandomForestClassifier": _ensemble,
    "ExtraTreesClassifier": _ensemble,
    "HistGradientBoostingClassifier": _boosting,
    "KNeighborsClassifier": _neighbours,
    "SVC": _machine,
    "NuSVC": _machine,
    "XGBClassifier": restored,
}
