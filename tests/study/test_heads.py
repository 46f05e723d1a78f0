"""Heads in a study: how they are read, set from the command line and from Python, recorded and hashed."""

import pytest

from shelfbench.base.errors import InputError
from shelfbench.study.overrides import parse_setting, setting
from shelfbench.study.read import read_study
from tests.helpers.heads import SHOWN

KNN = "sklearn.neighbors.KNeighborsClassifier"
LDA = "sklearn.discriminant_analysis.LinearDiscriminantAnalysis"


def study(*texts, backends=("hog-svm", "hog-knn")):
    return read_study("default", [*map(parse_setting, texts), (["backends"], list(backends))])


def written(tmp_path, text):
    path = tmp_path / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_the_first_section_of_the_document_is_a_study():
    first, five = SHOWN
    assert first["backends"] == ["bottleneck-svm", "bottleneck-knn"]
    assert read_study("classifiers").heads == {
        name: head for name, head in read_study("classifiers").heads.items() if name in five["heads"]
    }
    named = read_study("classifiers").tables()["heads"]
    for name, head in five["heads"].items():
        assert {key: value for key, value in named[name].items() if value} == {
            key: tuple(value) if isinstance(value, list) else value for key, value in head.items()
        }


def test_words_and_tables_say_the_same(tmp_path):
    text = f"""
backends = ["hog-knn"]
[heads.knn]
estimator = "{KNN}"
parameters = {{ n_neighbors = 7, metric = "cosine" }}
grid = {{ weights = ["uniform", "distance"] }}
"""
    by_file = read_study(written(tmp_path, text)).heads
    words = [
        f"heads.knn.estimator={KNN}",
        "heads.knn.parameters.n_neighbors=7",
        "heads.knn.parameters.metric=cosine",
        'heads.knn.grid.weights=["uniform", "distance"]',
    ]
    assert study(*words).heads == by_file
    given = {
        "heads.knn.estimator": KNN,
        "heads.knn.parameters": {"n_neighbors": 7, "metric": "cosine"},
        "heads.knn.grid.weights": ["uniform", "distance"],
    }
    overrides = [setting(key, value) for key, value in given.items()]
    assert read_study("default", [*overrides, (["backends"], ["hog-knn"])]).heads == by_file
    again = read_study(read_study(written(tmp_path, text)))
    assert again.heads == by_file
    assert again.record() == read_study(written(tmp_path, text)).record()


def test_a_pipeline_is_a_list_of_steps():
    steps = '["sklearn.preprocessing.StandardScaler", "sklearn.linear_model.LogisticRegression"]'
    head = study(f"heads.knn.estimator={steps}", "heads.knn.parameters.logisticregression__C=0.1").heads["knn"]
    assert head.estimator == ("sklearn.preprocessing.StandardScaler", "sklearn.linear_model.LogisticRegression")
    assert head.parameters == {"logisticregression__C": 0.1}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["heads.knn=3"], "heads.knn is 3, but it must be a section"),
        (["heads=3"], "heads is 3"),
        (["heads.knn.parameters.n_neighbors=3"], "heads.knn names no estimator"),
        (["heads.knn.estimator=3"], "heads.knn.estimator is 3"),
        (["heads.knn.estimator=[3]"], r"heads.knn.estimator is \[3\]"),
        (["heads.knn.estimator=os; rm"], "'os; rm' is not an import path"),
        ([f"heads.knn.estimator={KNN}", "heads.knn.n_neighbors=3"], r"write parameters = \{ n_neighbors = ... \}"),
        ([f"heads.knn.estimator={KNN}", "heads.knn.parameter=3"], "did you mean 'parameters'"),
        ([f"heads.knn.estimator={KNN}", "heads.knn.parameters=3"], "heads.knn.parameters is 3; give a table"),
        ([f"heads.knn.estimator={KNN}", "heads.knn.grid.n_neighbors=3"], "grid.n_neighbors is 3; give a list"),
        ([f"heads.knn.estimator={KNN}", "heads.knn.grid.n_neighbors=[]"], r"grid.n_neighbors is \[\]; give a list"),
        (
            [f"heads.knn.estimator={KNN}", "heads.knn.grid.p=[1]", "heads.knn.parameters.p=2"],
            "'p' is in parameters and in grid",
        ),
        ([f"heads.svm.estimator={KNN}"], "hog-svm is a backend that is installed|bottleneck-svm is a backend that"),
        ([f"heads.k-nn.estimator={KNN}"], "the name becomes part of a backend's name"),
        ([f"heads.knn.estimator={KNN}", "heads.knn.estimator.more=3"], "heads.knn.estimator is not a section"),
        ([f"heads.knn.estimator={KNN}", "heads.knn.parameters.n_neighbours=3"], "did you mean 'n_neighbors'"),
        (["heads.knn.estimator=sklearn.neighbors.KNeighborClassifier"], "did you mean sklearn.neighbors.KNeighborsCl"),
        ([], r"define its head in the study, as \[heads\.knn\]"),
    ],
)
def test_what_is_wrong_is_told_before_anything_is_computed(words, message):
    with pytest.raises(InputError, match=message) as caught:
        study(*words)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["heads.knn.parameters.more.deep=3", "split.min_products.more=3", "heads..x=3"])
def test_only_heads_have_deeper_settings(text):
    with pytest.raises(InputError, match="is not KEY=VALUE"):
        parse_setting(text)
    with pytest.raises(InputError, match=r"is not SECTION\.KEY"):
        setting(text.partition("=")[0], 3)


def test_a_head_that_no_backend_has_changes_nothing_and_is_not_imported():
    plain = study(backends=["hog-svm"])
    defined = study("heads.knn.estimator=nowhere.Classifier", backends=["hog-svm"])
    assert defined.record() == plain.record()
    assert defined.results_hash() == plain.results_hash()


def test_backends_of_a_head_do_not_change_the_results_of_others():
    plain = study(backends=["hog-svm"])
    used = study(f"heads.knn.estimator={KNN}", f"heads.lda.estimator={LDA}")
    assert used.results_hash() == plain.results_hash()
    assert list(used.record()["heads"]) == ["knn"]


def test_a_variant_s_head_is_part_of_its_experiment(tmp_path):
    text = f"""
experiment = "profiles"
[heads.knn]
estimator = "{KNN}"
[variants.one]
backend = "bottleneck-knn"
"""
    first = read_study(written(tmp_path, text))
    other = read_study(written(tmp_path, text.replace(KNN, LDA)))
    assert first.record()["heads"]["knn"]["estimator"] == KNN
    assert first.results_hash() != other.results_hash()
