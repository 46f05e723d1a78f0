"""Estimators that a stranger changed: each is refused in one line, and nothing in it runs."""

import json
import os
import sys

import numpy as np
import pytest

from shelfbench.base.errors import InputError
from shelfbench.plugins.estimator_head import EstimatorHead
from shelfbench.plugins.saved_estimator import load_estimator
from tests.helpers.heads import QUICK_OF, kept
from tests.helpers.skops_files import (
    EMPTY,
    array,
    at,
    attribute,
    bomb,
    booster,
    booster_value,
    child_before,
    child_far_away,
    evil,
    feature_far_away,
    many_times,
    members,
    no_nodes,
    node_count,
    npy,
    outputs,
    overlapping,
    partial,
    root_of,
    same_number,
    schema,
    text,
    touch,
    tree_twice,
    write,
)

KNN, FOREST, HGB, SVC, XGB, LDA = "knn", "forest", "hgb", "svc", "xgb", "lda"
BASES = {
    LDA: ("sklearn.discriminant_analysis.LinearDiscriminantAnalysis", {}),
    KNN: ("sklearn.neighbors.KNeighborsClassifier", {"n_neighbors": 3}),
    FOREST: ("sklearn.ensemble.RandomForestClassifier", {"n_estimators": 3}),
    HGB: ("sklearn.ensemble.HistGradientBoostingClassifier", {"max_iter": 3}),
    SVC: ("sklearn.svm.SVC", {}),
    XGB: ("xgboost.XGBClassifier", QUICK_OF["XGBClassifier"]),
}
FAR = 10**6
ENDLESS = {"descr": "<f8", "fortran_order": False, "shape": (1 << 40,)}
OBJECTS = {"descr": "|O", "fortran_order": False, "shape": (1,)}
HOSTILE = {
    "a function of the system": (LDA, evil("FunctionNode", os.system.__module__, "system")),
    "a function of numpy": (LDA, evil("FunctionNode", "numpy", "add")),
    "a partial call": (LDA, evil("PartialNode", "functools", "partial", content=partial)),
    "a call by a constructor": (
        LDA,
        evil("ConstructorFromReduceNode", "subprocess", "Popen", content=touch),
    ),
    "a constructor of an allowed class": (
        LDA,
        evil("ConstructorFromReduceNode", "sklearn.preprocessing._data", "StandardScaler", content=touch),
    ),
    "a method": (
        LDA,
        evil("MethodNode", "builtins", "str", content=lambda canary: {"func": "format", "obj": touch(canary)}),
    ),
    "an operator": (LDA, evil("OperatorFuncNode", "operator", "methodcaller", attrs=touch)),
    "an object of a module to import": (LDA, evil("ObjectNode", "antigravity", "Popen", content=EMPTY)),
    "an estimator with a function in it": (
        LDA,
        evil("ObjectNode", "sklearn.preprocessing._function_transformer", "FunctionTransformer", content=EMPTY),
    ),
    "a list that is another class": (LDA, evil("ListNode", "subprocess", "Popen", content=[])),
    "a dictionary that is another class": (LDA, evil("DictNode", "collections", "Counter", **{"content": {}})),
    "a random generator": (LDA, evil("RandomGeneratorNode", "numpy.random._generator", "Generator", content={})),
    "an old protocol": (LDA, schema(lambda values, canary: values.update(protocol=0))),
    "a protocol that is true": (LDA, schema(lambda values, canary: values.update(protocol=True))),
    "nodes with the same number": (LDA, schema(same_number)),
    "deep nesting": (LDA, lambda path, canary: write(path, {"schema.json": "[" * 100_000 + "]" * 100_000})),
    "a schema that is a list": (LDA, lambda path, canary: write(path, {"schema.json": "[]"})),
    "no schema": (LDA, lambda path, canary: write(path, {"0.npy": b""})),
    "a compressed bomb": (LDA, bomb),
    "files inside others": (LDA, overlapping),
    "an array used three thousand times": (LDA, many_times),
    "a file that leads upward": (
        LDA,
        lambda path, canary: write(path, {**members(path), "../../evil": "out"}),
    ),
    "a pickle": (LDA, lambda path, canary: path.write_bytes(b"\x80\x04cos\nsystem\n(S'true'\ntR.")),
    "an empty file": (LDA, lambda path, canary: path.write_bytes(b"")),
    "half a file": (LDA, lambda path, canary: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])),
    "an array of objects": (LDA, npy(OBJECTS, b"\x80\x04.")),
    "an array without end": (LDA, npy(ENDLESS, bytes(8))),
    "an array whose header is code": (LDA, npy("__import__('os').system('true')")),
    "the estimator is text": (
        LDA,
        lambda path, canary: write(path, {"schema.json": root_of(text("x"))}),
    ),
    "neighbours with labels outside": (KNN, array("_y", at("", 0, FAR))),
    "neighbours with negative labels": (KNN, array("_y", at("", 0, -1))),
    "neighbours with short rows": (KNN, array("_fit_X", lambda rows: rows[:, :-1].copy())),
    "neighbours with fewer rows": (KNN, array("_fit_X", lambda rows: rows[:-1].copy())),
    "neighbours by another distance": (KNN, attribute("effective_metric_", "mahalanobis")),
    "neighbours by a function": (KNN, attribute("weights", "os.system")),
    "a tree whose child is far away": (FOREST, array("nodes", at("left_child", 0, FAR))),
    "a tree whose child is itself": (FOREST, array("nodes", at("right_child", 0, 0))),
    "a tree of a feature that is not there": (FOREST, array("nodes", at("feature", 0, FAR))),
    "a tree of a negative feature": (FOREST, array("nodes", at("feature", 0, -5))),
    "a tree of many outputs": (FOREST, schema(outputs)),
    "a tree without nodes": (FOREST, schema(no_nodes)),
    "a tree of no nodes, though there are some": (FOREST, schema(node_count)),
    "a tree of other categories": (FOREST, array("classes_", lambda codes: np.arange(9))),
    "a forest of other features": (FOREST, attribute("n_features_in_", 21)),
    "boosting whose child is far away": (HGB, array("nodes", at("left", 0, FAR))),
    "boosting of a feature that is not there": (HGB, array("nodes", at("feature_idx", 0, FAR))),
    "boosting by categories": (HGB, array("nodes", at("is_categorical", 0, 1))),
    "boosting of more trees": (HGB, attribute("n_trees_per_iteration_", 2)),
    "support vectors that are missing": (SVC, array("support_vectors_", lambda rows: rows[:-1].copy())),
    "support vectors of other features": (SVC, array("support_vectors_", lambda rows: rows[:, :-1].copy())),
    "support vectors that are counted twice": (SVC, array("_n_support", at("", 0, FAR))),
    "coefficients that are missing": (SVC, array("_dual_coef_", lambda rows: rows[:, :-1].copy())),
    "a kernel that is given": (SVC, attribute("kernel", "precomputed")),
    "a booster whose child is far away": (XGB, booster_value(child_far_away)),
    "a booster whose child is before it": (XGB, booster_value(child_before)),
    "a booster of a feature that is not there": (XGB, booster_value(feature_far_away)),
    "a booster with a tree twice": (XGB, booster_value(tree_twice)),
    "a booster of other categories": (
        XGB,
        booster_value(lambda model, learner: model["tree_info"].__setitem__(0, 99)),
    ),
    "a booster of more rounds": (
        XGB,
        booster_value(lambda model, learner: model["iteration_indptr"].append(FAR)),
    ),
    "a booster of another kind": (XGB, booster("gbtree", "dart99")),
    "a booster that is cut off": (XGB, booster("{", "")),
}


@pytest.fixture(scope="module")
def bases(tmp_path_factory):
    root = tmp_path_factory.mktemp("bases")
    for name, (estimator, parameters) in BASES.items():
        kept(estimator, root / name, parameters)
    return root


@pytest.mark.parametrize("case", HOSTILE)
def test_what_a_stranger_changed_is_refused_in_one_line(case, bases, tmp_path):
    base, tamper = HOSTILE[case]
    path, canary = tmp_path / "classifier.skops", tmp_path / "canary"
    path.write_bytes((bases / base / "classifier.skops").read_bytes())
    assert load_estimator(path) is not None
    tamper(path, canary)
    before = set(sys.modules)
    (tmp_path / "classifier.json").write_bytes((bases / base / "classifier.json").read_bytes())
    with pytest.raises(InputError) as caught:
        EstimatorHead.load(tmp_path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not canary.exists()
    assert not {name for name in set(sys.modules) - before if name.startswith(("antigravity", "this"))}


def test_there_are_many_of_them():
    assert len(HOSTILE) > 50


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"classes": 10**9}, "categories"),
        ({"codes": [0, 0, 1]}, "codes"),
        ({"codes": [0, 1, 7]}, "codes"),
        ({"temperature": 0}, "calibration"),
        ({"outputs": "os.system"}, "not an estimator's"),
        ({"more": 1}, "unknown field"),
        ({"dimensions": "20"}, "int"),
    ],
)
def test_the_record_beside_it_is_checked(change, message, bases, tmp_path):
    path = tmp_path / "classifier.json"
    path.write_text(json.dumps({**json.loads((bases / LDA / "classifier.json").read_text()), **change}))
    (tmp_path / "classifier.skops").write_bytes((bases / LDA / "classifier.skops").read_bytes())
    with pytest.raises(InputError, match=message):
        EstimatorHead.load(tmp_path)
