"""Heads from the command line to a decision: run, resumed with another head, planned, decided on, classified with."""

import json
import re
import shlex

import pandas as pd
import pytest

from shelfbench.cli.main import main
from shelfbench.decision.deciding import decide
from shelfbench.runs.directory import open_run
from tests.helpers.decisions import classified, make_shop
from tests.helpers.heads import DOCUMENT, clusters, fitted, recipe

SETTINGS = ["hog.pixels=32", "hog.cells=8", "svm.C=[0.01]", "report.pictures=false", "split.min_products=10"]
KNN = [
    "heads.knn.estimator=sklearn.neighbors.KNeighborsClassifier",
    "heads.knn.parameters.metric=cosine",
    "heads.knn.grid.n_neighbors=[3, 5]",
]
FOREST = [
    'heads.forest.estimator=["sklearn.preprocessing.StandardScaler", "sklearn.ensemble.RandomForestClassifier"]',
    "heads.forest.parameters.randomforestclassifier__n_estimators=10",
]


def run(shop, out, backends, settings, verb="run"):
    words = [verb, "--dataset", str(shop), "--quiet", "--workers", "1"]
    words += [word for backend in backends for word in ("--backend", backend)]
    words += [word for text in (*SETTINGS, *settings) for word in ("--set", text)]
    return main([*words, *(["--out", str(out)] if verb == "run" else [])])


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    return make_shop(tmp_path_factory.mktemp("shop"))


@pytest.fixture(scope="module")
def done(shop, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "run"
    assert run(shop, out, ["hog-svm", "hog-knn"], KNN) == 0
    assert run(shop, out, ["hog-forest"], FOREST) == 0
    return out


def record(out):
    return json.loads((out / "run.json").read_text())


def test_a_run_goes_on_with_another_head_and_records_both(done):
    values = record(done)
    assert set(values["study"]["heads"]) == {"knn", "forest"}
    assert {name: entry["status"] for name, entry in values["backends"].items()} == {
        "hog-svm": "done",
        "hog-knn": "done",
        "hog-forest": "done",
    }
    knn = values["backends"]["hog-knn"]
    assert set(knn["chosen"]) >= {"parameters", "tune_precision", "smoothing", "probability_temperature", "temperature"}
    assert knn["settings"]["head"]["grid"] == {"n_neighbors": [3, 5]}
    assert knn["columns"] == {"Feature": "HOG", "Fine-tuning": "no", "Classifier": "knn"}
    table = pd.read_csv(done / "tables" / "table4.csv")
    assert set(table["backend"]) == {"hog-svm", "hog-knn", "hog-forest"}
    test = table[table["split"] == "test"].set_index("backend")["precision"]
    assert (test > 0.8).all()
    said = (done / "tables" / "table4.md").read_text().replace("\\", "")
    assert re.search(r"hog-knn: sklearn\.neighbors\.KNeighborsClassifier with metric=cosine, n_neighbors=[35]\.", said)


def test_a_head_that_has_results_must_stay_as_it_is(shop, done, capsys):
    changed = [*KNN[:2], "heads.knn.grid.n_neighbors=[3, 7]"]
    assert run(shop, done, ["hog-knn"], changed) == 2
    said = capsys.readouterr().err
    assert "contains results of other settings (heads.knn.grid.n_neighbors); rename the head, or " in said
    assert said.count("\n") == 1
    assert run(shop, done, ["hog-svm"], changed) == 0, "a head that is not used may say what it likes"


def test_a_head_that_failed_may_be_corrected(shop, tmp_path, capsys):
    wrong = [KNN[0], "heads.knn.parameters.n_neighbors=100000"]
    assert run(shop, tmp_path / "run", ["hog-svm", "hog-knn"], wrong) == 1
    assert "Expected n_neighbors <=" in capsys.readouterr().err
    assert record(tmp_path / "run")["backends"]["hog-knn"]["status"] == "failed"
    assert run(shop, tmp_path / "run", ["hog-svm", "hog-knn"], [KNN[0]]) == 0
    assert record(tmp_path / "run")["backends"]["hog-knn"]["status"] == "done"


@pytest.mark.parametrize("backend", ["hog-knn", "hog-forest"])
def test_a_head_is_decided_on_and_classifies_as_in_the_run(backend, shop, done, tmp_path, capsys):
    out = tmp_path / "decision"
    assert main(["decide", str(done), backend, "--precision", "0.6", "--out", str(out), "--quiet"]) == 0
    assert {path.name for path in out.iterdir()} == {
        "decision.json",
        "decision.sha256",
        "classifier.json",
        "classifier.skops",
        "guard.safetensors",
    }
    rows, said = classified(capsys, out, shop)
    assert said.count("warning") == said.count("have no readable photo") == 1
    predictions = open_run(done).predictions(backend).set_index("product_id")
    answered = [row for row in rows if row["suggestion"]]
    assert len(answered) > 150
    for row in answered:
        assert row["suggestion"] == predictions.loc[row["product"], "predicted"]


def test_a_head_has_no_onnx_file(done, tmp_path):
    from shelfbench.base.errors import InputError

    with pytest.raises(InputError, match="hog-knn has a classifier of scikit-learn, which cannot be saved"):
        decide(done, "hog-knn", precision=0.6).save(tmp_path / "decision", onnx=True)


def test_a_plan_tries_the_head(shop, capsys):
    assert run(shop, None, ["hog-knn"], KNN, "plan") == 0
    assert "hog-knn" in capsys.readouterr().out


def test_the_commands_of_the_document(shop, tmp_path, monkeypatch, capsys):
    """On other photos and on small features; everything else as it is printed."""
    [block] = [block for block in DOCUMENT.split("```")[1::2] if block.startswith("\nshelfbench run")]
    first, second = (shlex.split(line)[1:] for line in block.strip().splitlines())
    monkeypatch.chdir(tmp_path)
    small = [word for text in SETTINGS for word in ("--set", text)]
    assert main([*first, "--dataset", str(shop), "--quiet", "--workers", "1", *small]) == 0
    assert main([*second, "--quiet"]) == 0
    assert (tmp_path / "decision" / "classifier.skops").exists()


def test_only_neighbours_grow_with_the_training_images():
    assert {name: fitted(recipe(name), clusters()).grows for name in ("knn", "lda", "logistic")} == {
        "knn": True,
        "lda": False,
        "logistic": False,
    }
