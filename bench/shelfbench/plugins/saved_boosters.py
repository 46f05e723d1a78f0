"""Boosters of XGBoost, kept as their own JSON and checked before XGBoost reads it."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

_BOOSTER = "_Booster"
_OBJECTIVES = {"binary:logistic": "reg_loss_param", "multi:softprob": "softmax_multiclass_param"}


def restored(part: Any) -> None:
    """Make the booster of an ``XGBClassifier`` from its text.

    XGBoost follows the numbers of nodes, features and categories in it unchecked. So they are checked, and what XGBoost
    reads is written anew from what was checked.

    Parameters
    ----------
    part : XGBClassifier
        Its booster is text; changed.

    Raises
    ------
    ValueError
        If the text is not the booster of a classifier of trees, or its numbers do not fit together.
    """
    from xgboost import Booster

    text = vars(part).get(_BOOSTER)
    if type(text) is not bytes:
        raise ValueError("its booster is missing")
    values = json.loads(text)
    _check(values, int(part.n_classes_))
    part.__dict__[_BOOSTER] = None
    booster = Booster({"nthread": 1})
    booster.load_model(bytearray(json.dumps(values).encode()))
    part.__dict__[_BOOSTER] = booster


def _require(condition: Any, what: str) -> None:
    if not bool(condition):
        raise ValueError(f"its booster has {what} that do not fit together")


def _check(values: dict[str, Any], classes: int) -> None:
    learner = values["learner"]
    objective = learner["objective"]
    _require(objective["name"] in _OBJECTIVES, "an objective and categories")
    param = learner["learner_model_param"]
    groups = int(param["num_class"])
    _require(groups == (0 if objective["name"] == "binary:logistic" else classes), "categories")
    if groups:
        _require(int(objective["softmax_multiclass_param"]["num_class"]) == groups, "categories")
    _require(int(param.get("num_target", "1")) == 1, "targets")
    features = int(param["num_feature"])
    _require(0 < features < 1 << 31, "features")
    booster = learner["gradient_booster"]
    _require(booster["name"] == "gbtree", "trees")
    model = booster["model"]
    trees, number = model["trees"], len(model["trees"])
    _require(int(model["gbtree_model_param"]["num_trees"]) == number, "trees")
    _require([tree["id"] for tree in trees] == list(range(number)), "trees")
    _whole(model["tree_info"], number, 0, max(groups, 1))
    starts = _whole(model["iteration_indptr"], None, 0, number + 1)
    _require(len(starts) and starts[0] == 0 and starts[-1] == number and (np.diff(starts) >= 0).all(), "rounds")
    for tree in trees:
        _check_tree(tree, features)


def _check_tree(tree: dict[str, Any], features: int) -> None:
    param = tree["tree_param"]
    nodes = int(param["num_nodes"])
    _require(nodes >= 1 and int(param["num_feature"]) == features, "sizes")
    _require(int(param.get("size_leaf_vector", "1")) in (0, 1), "leaves")
    left, right = (_whole(tree[name], nodes, -1, nodes) for name in ("left_children", "right_children"))
    inner = left != -1
    _require(np.array_equal(inner, right != -1), "leaves")
    number = np.arange(nodes)
    _require((left[inner] > number[inner]).all() and (right[inner] > number[inner]).all(), "nodes")
    split = _whole(tree["split_indices"], nodes, 0, 1 << 32)
    _require((split[inner] < features).all(), "features")
    _require(not any(tree["split_type"]) and len(tree["split_type"]) == nodes, "kinds of splits")
    for name in ("categories", "categories_nodes", "categories_segments", "categories_sizes"):
        _require(tree.get(name, []) == [], "categories")
    for name in ("split_conditions", "base_weights", "loss_changes", "sum_hessian", "default_left", "parents"):
        values = tree[name]
        _require(isinstance(values, list) and len(values) == nodes, "nodes")
        _require(all(isinstance(value, (int, float)) for value in values), "nodes")


def _whole(values: Any, count: int | None, least: int, end: int) -> np.ndarray:
    _require(isinstance(values, list) and all(type(value) is int for value in values), "numbers")
    _require(count is None or len(values) == count, "sizes")
    _require(all(least <= value < end for value in values), "numbers")
    return np.array(values, np.int64)
