"""Estimators on disk: every class that may be loaded predicts the same, and what a stranger changed is refused."""

import json
import subprocess
import sys

import numpy as np
import pytest

from shelfbench.base.errors import InputError
from shelfbench.plugins.estimator_head import EstimatorHead
from shelfbench.plugins.estimators import recipe_of
from shelfbench.plugins.saved_classes import CLASSES
from tests.helpers.heads import QUICK_OF, kept

# those that hold other estimators are made in code
HOLDERS = ("VotingClassifier", "OneVsRestClassifier", "OneVsOneClassifier", "_CalibratedClassifier")
ENDINGS = ("Classifier", "NB", "Centroid", "SVC", "Analysis", "CV", "Regression", "Perceptron")
CLASSIFIERS = sorted(path for path in CLASSES if path.endswith(ENDINGS) and path.rpartition(".")[2] not in HOLDERS)
STEPS = sorted(
    path
    for path in CLASSES
    if any(part in path for part in ("decomposition", "kernel_approximation", "preprocessing._data"))
)


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("path", CLASSIFIERS)
def test_a_loaded_classifier_predicts_the_same(path, classes, tmp_path):
    head, features = kept(path, tmp_path / "model", QUICK_OF.get(path.rpartition(".")[2]), classes)
    loaded = EstimatorHead.load(tmp_path / "model")
    assert np.array_equal(head.log_probabilities(features), loaded.log_probabilities(features))
    assert (loaded.framework, loaded.chosen) == (head.framework, head.chosen)


@pytest.mark.parametrize("path", STEPS)
def test_a_loaded_pipeline_predicts_the_same(path, tmp_path):
    parameters = {"quantiletransformer__n_quantiles": 20} if "Quantile" in path else {}
    steps = [path, "sklearn.discriminant_analysis.LinearDiscriminantAnalysis"]
    head, features = kept(steps, tmp_path / "model", parameters)
    loaded = EstimatorHead.load(tmp_path / "model")
    assert np.array_equal(head.log_probabilities(features), loaded.log_probabilities(features))


def voting():
    from sklearn.ensemble import VotingClassifier
    from sklearn.multiclass import OneVsRestClassifier
    from sklearn.naive_bayes import GaussianNB

    return VotingClassifier([("rest", OneVsRestClassifier(GaussianNB())), ("bayes", GaussianNB())], voting="soft")


def one_against_one():
    from sklearn.multiclass import OneVsOneClassifier
    from sklearn.svm import LinearSVC

    return OneVsOneClassifier(LinearSVC())


@pytest.mark.parametrize("make", [voting, one_against_one])
def test_estimators_that_hold_others(make, tmp_path):
    head, features = kept(make, tmp_path / "model")
    loaded = EstimatorHead.load(tmp_path / "model")
    assert np.array_equal(head.log_probabilities(features), loaded.log_probabilities(features))


def test_saving_leaves_the_estimator_as_it_is(tmp_path):
    """Until it is saved, it scores; and afterwards too."""
    head, features = kept("xgboost.XGBClassifier", tmp_path / "model", QUICK_OF["XGBClassifier"])
    again = head.log_probabilities(features)
    head.save(tmp_path / "model")
    assert np.array_equal(again, head.log_probabilities(features))


def test_a_class_that_no_decision_may_hold_is_kept_and_not_loaded(tmp_path):
    kept("sklearn.ensemble.GradientBoostingClassifier", tmp_path / "model", {"n_estimators": 2})
    with pytest.raises(
        InputError, match=r"holds 'sklearn\.ensemble\._gb\.GradientBoostingClassifier', which is not am"
    ):
        EstimatorHead.load(tmp_path / "model")


def test_a_class_of_an_installed_package_is_loaded_for_that_package_only(tmp_path, monkeypatch):
    (tmp_path / "own_package.py").write_text(
        "from sklearn.naive_bayes import GaussianNB\n\n\nclass OwnBayes(GaussianNB):\n    pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    head, features = kept("own_package.OwnBayes", tmp_path / "model")
    loaded = EstimatorHead.load(tmp_path / "model", recipe_of("own_package.OwnBayes"))
    assert np.array_equal(head.log_probabilities(features), loaded.log_probabilities(features))
    with pytest.raises(InputError, match=r"holds 'own_package\.OwnBayes', which is not among"):
        EstimatorHead.load(tmp_path / "model")
    sys.modules.pop("own_package")


def test_what_skops_cannot_write_is_said_when_it_is_loaded(tmp_path):
    _, _ = kept("sklearn.neighbors.KNeighborsClassifier", tmp_path / "model", {"algorithm": "kd_tree"})
    with pytest.raises(InputError, match=r"holds 'sklearn\.(neighbors|metrics)\._"):
        EstimatorHead.load(tmp_path / "model")


def test_another_version_is_warned_of(tmp_path, capsys):
    kept("sklearn.discriminant_analysis.LinearDiscriminantAnalysis", tmp_path)
    values = json.loads((tmp_path / "classifier.json").read_text())
    values["versions"]["scikit-learn"] = "0.99.1"
    (tmp_path / "classifier.json").write_text(json.dumps(values))
    EstimatorHead.load(tmp_path)
    said = capsys.readouterr().err
    assert "was written with scikit-learn 0.99.1: its scores may differ here" in said
    assert said.count("\n") == 1


def test_nothing_imports_scikit_learn_before_it_is_needed():
    code = "import sys, shelfbench.plugins.sklearn, shelfbench.study.heads; print('sklearn' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
