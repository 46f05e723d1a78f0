"""Estimators as classifiers: the five that the documents show, what is chosen, what is told, and what is refused."""

import dataclasses
import re
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from shelfbench.base.errors import InputError, RunError
from shelfbench.plugins import finding
from shelfbench.plugins.backend import BackboneChoice, HeadSettings
from shelfbench.plugins.conformance import CHECKS, on_features
from shelfbench.plugins.estimators import recipe_of, recipe_of_head
from shelfbench.plugins.finding import find, find_saved
from shelfbench.plugins.heads import estimator_head, head_backend
from shelfbench.plugins.sklearn import sklearn_backend
from shelfbench.study.heads import read_heads
from tests.helpers.heads import FIVE, clusters, fitted, recipe
from tests.helpers.sources import ROOT

KNN = "sklearn.neighbors.KNeighborsClassifier"
SCALED = ["sklearn.preprocessing.StandardScaler", "sklearn.linear_model.LogisticRegression"]


def mean_colour(images):
    return images.mean(axis=(1, 2)) / 255


def of_colours(images):
    return images[:, ::4, ::4].reshape(len(images), -1)


def backend(made):
    return head_backend(_features(), estimator_head(made)).build({}, BackboneChoice(), 1)


def _features():
    from shelfbench.plugins.sklearn import _features_of

    return _features_of(mean_colour, 32)


OF_CLASSIFIERS = [check for check in CHECKS if "features" not in check.__name__ and "extractor" not in check.__name__]


@pytest.mark.parametrize("name", FIVE)
@pytest.mark.parametrize("check", OF_CLASSIFIERS, ids=lambda check: check.__name__)
def test_the_five_conform(name, check):
    check(lambda: backend(recipe(name)))


@pytest.mark.parametrize("estimator", ["sklearn.svm.LinearSVC", "sklearn.linear_model.RidgeClassifier"])
@pytest.mark.parametrize("check", OF_CLASSIFIERS, ids=lambda check: check.__name__)
def test_estimators_with_margins_conform(estimator, check):
    check(lambda: backend(recipe_of(estimator)))


def test_what_the_document_calls_a_whole_backend_conforms(tmp_path, monkeypatch):
    text = (ROOT / "docs" / "own-backend.md").read_text(encoding="utf-8")
    [code] = re.findall(r"a whole backend:\n\n```python\n(.*?)```", text, re.DOTALL)
    assert len([line for line in code.splitlines() if line.strip()]) < 15
    (tmp_path / "colour_backend.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    import colour_backend

    for check in CHECKS:
        check(lambda: colour_backend.mean_colour_lda.build({}, BackboneChoice(), 1))
    assert colour_backend.mean_colour_lda.columns == {
        "Feature": "mean colour",
        "Classifier": "LinearDiscriminantAnalysis",
        "Fine-tuning": "no",
    }
    described = colour_backend.mean_colour_lda.build({}, BackboneChoice(), 1).features.describe()
    (tmp_path / "colour_backend.py").write_text(code.replace("255", "256"))
    changed = colour_backend.mean_colour_lda.build({}, BackboneChoice(), 1).features.describe()
    assert described != changed, "features of the old code would be used"
    sys.modules.pop("colour_backend")


def test_a_package_may_put_an_estimator_of_its_own_on_features_that_are_installed():
    from sklearn.ensemble import BaggingClassifier
    from sklearn.linear_model import LogisticRegression

    def bagged():
        return BaggingClassifier(LogisticRegression(), n_estimators=2)

    spec = sklearn_backend(bagged, "hog", grid={"max_features": [0.5, 1.0]})
    assert set(spec.sections) == {"hog"}
    from shelfbench_baselines.hog import HogSettings

    made = spec.build({"hog": HogSettings(pixels=32, cells=8)}, BackboneChoice(), 1)
    assert made.features.name == "hog"
    data = clusters()
    classifier = made.classifier()
    from shelfbench.base.console import Console

    classifier.fit(data, seed=0, console=Console(quiet=True))
    assert (classifier.log_probabilities(data.features).argmax(axis=1) == data.labels).mean() > 0.9


@pytest.mark.parametrize(
    ("features", "more", "message"),
    [
        ("hogs", {}, "unknown features 'hogs'"),
        ("hog", {"pixels": 32}, "have a size of their own"),
        (lambda images: images, {}, "not a function of a module"),
    ],
)
def test_a_package_is_told_what_is_wrong(features, more, message):
    with pytest.raises(InputError, match=message):
        sklearn_backend(KNN, features, **more)


def bad_shape(images):
    return images[:1].reshape(1, -1)


def not_finite(images):
    return np.full((len(images), 2), np.nan)


def test_features_of_a_package_are_checked():
    assert sklearn_backend(KNN, of_colours).build({}, BackboneChoice(), 1).features.dimensions == 16 * 16 * 3
    with pytest.raises(RunError, match=r"not_finite returns numbers that are not finite"):
        sklearn_backend(KNN, not_finite).build({}, BackboneChoice(), 1)
    made = sklearn_backend(KNN, bad_shape).build({}, BackboneChoice(), 1)
    with pytest.raises(RunError, match=r"bad_shape returns uint8 of shape \(1, 12288\) for 3 photos; return one row"):
        made.features.extract(np.zeros((3, 64, 64, 3), np.uint8))


def test_neighbours_predict_as_scikit_learn_does():
    from sklearn.neighbors import KNeighborsClassifier

    data = clusters(spread=0.5)
    head = fitted(recipe_of(KNN, {"n_neighbors": 5, "metric": "cosine"}), data)
    own = KNeighborsClassifier(n_neighbors=5, metric="cosine").fit(data.features, data.labels)
    probabilities = own.predict_proba(data.tune_features)
    scores = head.log_probabilities(data.tune_features)
    best = probabilities.max(axis=1, keepdims=True)
    assert (probabilities[np.arange(len(scores)), scores.argmax(axis=1)] == best[:, 0]).all()
    for row, order in zip(scores, probabilities, strict=True):
        assert (np.diff(row[np.argsort(order, kind="stable")]) >= -1e-12).all()
    assert 1e-12 < head.chosen["smoothing"] < 1


def test_categories_without_training_images_leave_gaps_that_no_estimator_sees():
    data = clusters()
    apart = dataclasses.replace(data, labels=data.labels * 3, tune_labels=data.tune_labels * 3, classes=9)
    for name in ("xgboost", "logistic"):
        scores = fitted(recipe(name), apart).log_probabilities(data.features)
        assert (scores.argmax(axis=1) == apart.labels).mean() > 0.9
        assert np.isneginf(np.delete(scores, [0, 3, 6], axis=1)).all()


def test_two_categories_by_one_margin():
    data = clusters(classes=2, spread=1.0)
    head = fitted(recipe_of("sklearn.svm.LinearSVC"), data)
    assert head.estimator.decision_function(data.features).ndim == 1
    assert (head.log_probabilities(data.features).argmax(axis=1) == data.labels).mean() > 0.95
    assert head.chosen["margin_factor"] > 0


def test_a_grid_is_chosen_on_tune_and_the_first_wins_a_tie():
    data = clusters(spread=0.4)
    values = [1, 3, 7, 15, 40]
    head = fitted(recipe_of(KNN, {}, {"n_neighbors": values}), data)
    from sklearn.neighbors import KNeighborsClassifier

    right = []
    for count in values:
        own = KNeighborsClassifier(count, algorithm="brute").fit(data.features, data.labels)
        right.append(float((own.predict(data.tune_features) == data.tune_labels).mean()))
    assert list(head.chosen["tune_precision"].values()) == pytest.approx(right)
    assert head.chosen["parameters"] == {"n_neighbors": values[int(np.argmax(right))]}
    easy = fitted(recipe_of(KNN, {}, {"n_neighbors": [3, 5, 7]}), clusters())
    assert easy.chosen["parameters"] == {"n_neighbors": 3}
    assert "edge" not in easy.chosen, "all are equally good"


def test_without_tune_the_first_candidate_is_taken(capsys):
    from shelfbench.base.console import Console

    data = clusters()
    nothing = dataclasses.replace(data, tune_labels=np.full(len(data.tune_labels), -1))
    head = fitted(recipe_of(KNN, {}, {"n_neighbors": [4, 2]}), nothing, console=Console())
    assert head.chosen["parameters"] == {"n_neighbors": 4}
    assert "so the first of 2 candidates is taken" in capsys.readouterr().err


def test_a_best_value_at_the_end_of_a_grid_is_said_once(capsys):
    data = clusters(classes=6, spread=0.6, each=20)
    grid = {"logisticregression__C": [1e-7, 1e-6, 1e-2]}
    head = fitted(recipe_of(SCALED, {"logisticregression__max_iter": 200}, grid, "heads.lr"), data)
    assert head.chosen["edge"] == {"logisticregression__C": "largest"}
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "the best logisticregression__C=0.01 is the largest of its grid" in said


def test_what_does_not_converge_is_one_line(capsys):
    data = clusters(spread=0.2)
    fitted(recipe_of(SCALED, {"logisticregression__max_iter": 1}, None, "heads.lr"), data)
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "heads.lr (StandardScaler + LogisticRegression) did not converge" in said
    assert "raise max_iter" in said


def test_a_candidate_that_fails_is_left_out_and_all_failing_is_an_error(capsys):
    data = clusters()
    head = fitted(recipe_of(KNN, {}, {"n_neighbors": [1000, 5]}, "heads.knn"), data)
    assert head.chosen["parameters"] == {"n_neighbors": 5}
    assert list(head.chosen["failed"]) == ["n_neighbors=1000"]
    assert "heads.knn (KNeighborsClassifier) with n_neighbors=1000 cannot be fitted (Expected n_neighbors <=" in (
        capsys.readouterr().err
    )
    with pytest.raises(RunError, match=r"heads.knn \(KNeighborsClassifier\) cannot be fitted on 90 images \(Expected"):
        fitted(recipe_of(KNN, {"n_neighbors": 1000}, None, "heads.knn"), data)


def test_seed_and_workers_are_given_where_the_study_does_not_say():
    forest = "sklearn.ensemble.RandomForestClassifier"
    data = clusters(spread=0.3)
    small = {"n_estimators": 3}
    first, again, other = (fitted(recipe_of(forest, small), data, seed=seed) for seed in (1, 1, 2))
    own = fitted(recipe_of(forest, {**small, "random_state": 1}), data, seed=2)
    scores = [head.estimator.predict_proba(data.tune_features) for head in (first, again, other, own)]
    assert np.array_equal(scores[0], scores[1])
    assert not np.array_equal(scores[0], scores[2])
    assert np.array_equal(scores[0], scores[3])


def test_features_that_are_not_finite_or_of_another_length_are_named():
    data = clusters()
    head = fitted(recipe_of(KNN), data)
    broken = data.features.copy()
    broken[7, 3] = np.nan
    with pytest.raises(RunError, match="features of image 7 are not finite"):
        fitted(recipe_of(KNN), dataclasses.replace(data, features=broken))
    with pytest.raises(RunError, match="features of image 7 are not finite"):
        head.log_probabilities(broken)
    with pytest.raises(RunError, match="takes 20 features, not 19"):
        head.log_probabilities(data.features[:, 1:])


WRONG = {
    "sklearn.neighbours.KNeighborsClassifier": "did you mean sklearn.neighbors.KNeighborsClassifier",
    "sklearn.neighbors.KNeighbourClassifier": "did you mean sklearn.neighbors.KNeighborsClassifier",
    "KNeighborsClassifier": "names no module; did you mean sklearn.neighbors.KNeighborsClassifier",
    "nowhere.Classifier": "python -m pip install nowhere",
    "sklearn.linear_model.LinearRegression": "predicts numbers",
    "sklearn.cluster.KMeans": "finds clusters",
    "sklearn.preprocessing.StandardScaler": "is not a classifier",
    "sklearn.ensemble.VotingClassifier": "cannot be made without arguments",
    "sklearn.semi_supervised.SelfTrainingClassifier": "cannot be used",
    "collections.OrderedDict": "is not a scikit-learn estimator",
    "sklearn.neighbors": "sklearn has no 'neighbors'|is not a class",
}


@pytest.mark.parametrize("path", WRONG)
def test_what_is_not_a_classifier_is_refused_in_one_line(path):
    with pytest.raises(InputError, match=WRONG[path]) as caught:
        recipe_of(path, where="heads.mine").check()
    assert str(caught.value).startswith("heads.mine: ")
    assert "\n" not in str(caught.value)
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"estimator": KNN, "parameters": {"n_neighbours": 3}}, "has no parameter 'n_neighbours'; did you mean 'n_ne"),
        ({"estimator": KNN, "grid": {"n_neighbours": [3]}}, "has no parameter 'n_neighbours'; did you mean 'n_ne"),
        ({"estimator": KNN, "parameters": {"n_neighbors": -3}}, "'n_neighbors' parameter of KNeighborsClassifier must"),
        ({"estimator": KNN, "grid": {"n_neighbors": [3, "many"]}}, "'n_neighbors' parameter of KNeighborsClassifier"),
        ({"estimator": SCALED, "parameters": {"C": 1.0}}, "no parameter 'C'; did you mean 'logisticregression__C'"),
        ({"estimator": SCALED[::-1]}, "StandardScaler"),
        ({"estimator": "sklearn.svm.SVC", "parameters": {"decision_function_shape": "ovo"}}, "to 'ovr'"),
        ({"estimator": "xgboost.XGBClassifier", "parameters": {"n_estimator": 3}}, "did you mean 'n_estimators'"),
    ],
)
def test_wrong_parameters_are_refused_before_anything_is_computed(settings, message):
    with pytest.raises(InputError, match=message):
        recipe_of_head("mine", HeadSettings(**settings)).check()


def test_none_is_a_text_because_toml_has_none():
    made = recipe_of("sklearn.ensemble.RandomForestClassifier", {"max_features": "None"}, {"max_depth": [3, "None"]})
    assert [made.estimator(chosen).max_depth for chosen in made.candidates()] == [3, None]
    assert made.estimator().max_features is None


def test_heads_are_found_on_the_features_that_are_installed():
    heads = {"knn": HeadSettings(estimator=KNN)}
    spec = find("hog-knn", heads)
    assert spec.head == heads["knn"]
    assert spec.columns == {"Feature": "HOG", "Fine-tuning": "no", "Classifier": "knn"}
    assert find("bottleneck-knn", heads).uses_backbone
    with pytest.raises(InputError, match=r"define its head in the study, as \[heads\.lda\]"):
        find("hog-lda", heads)
    with pytest.raises(InputError, match="unknown backend 'nothing-knn'"):
        find_saved("nothing-knn")


@pytest.fixture
def mean(monkeypatch):
    """The head of the document, as an installed package would offer it."""
    text = (ROOT / "docs" / "own-backend.md").read_text(encoding="utf-8")
    [code] = re.findall(r"## A classifier for any features.*?```python\n(.*?)```", text, re.DOTALL)
    made = {}
    exec(code, made)
    point = SimpleNamespace(name="mean", value="mypackage:nearest_mean", load=lambda: made["nearest_mean"])
    installed = finding.entry_points
    monkeypatch.setattr(
        finding,
        "entry_points",
        lambda *, group: [*installed(group=group), *([point] if group == finding.HEADS else [])],
    )
    return made["nearest_mean"]


def test_a_head_that_is_installed_goes_on_any_features(mean):
    for name in ("hog-mean", "bottleneck-mean", "finetuned-mean"):
        spec, features = find(name), finding.find_features(name.partition("-")[0])
        assert set(spec.sections) == {*features.sections, *mean.sections}
        assert spec.columns == {**features.columns, **mean.columns}
        assert find_saved(name).summary == spec.summary
    assert find("hog-2nn-512").columns["Classifier"] == "2NN-512", "ours, too"
    with pytest.raises(InputError, match=r"unknown backend 'hog-none'.*hog-mean"):
        find("hog-none")
    with pytest.raises(InputError, match=r"heads\.mean: bottleneck-mean is a backend that is installed"):
        read_heads({"mean": {"estimator": KNN}}, "mine.toml")


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_head_of_the_document_conforms(check, mean):
    check(on_features(mean))
