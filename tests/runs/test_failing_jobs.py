"""One job at fault costs itself alone: wrong scores, a broken plug-in, damaged files, no memory."""

import numpy as np
import pandas as pd
import pytest

from shelfbench.base.console import Console
from shelfbench.base.errors import InputError, RunError
from shelfbench.data.datasets import open_dataset
from shelfbench.data.feature_store import image_digests
from shelfbench.data.material import gather
from shelfbench.data.split import make_split
from shelfbench.experiments import run_study
from shelfbench.runs import comparison
from shelfbench.runs.directory import open_run
from shelfbench.study.overrides import parse_setting
from shelfbench.study.read import read_study
from shelfbench_baselines.linear_svm import LinearSVM
from tests.helpers.earlier import without_hashes
from tests.helpers.small_studies import BACKENDS, SETTINGS, command, record, study_of


def corrupt(monkeypatch, place, value):
    """Make `hog-svm` return wrong scores for one image, but not in the first call, which is on `tune`."""
    right = LinearSVM.log_probabilities
    calls = []

    def wrong(self, features):
        scores = right(self, features)
        calls.append(len(features))
        if len(calls) > 1:
            scores[place] = value if np.isscalar(value) else scores[place] + value
        return scores

    monkeypatch.setattr(LinearSVM, "log_probabilities", wrong)


def roles_of(path):
    """Role of each product, which has one image, in the order in which a run scores them."""
    study = study_of(path)
    catalogue, _ = open_dataset(study.dataset, study.generated, None, 1, Console(quiet=True))
    digests = image_digests(catalogue, Console(quiet=True))
    return gather(catalogue, make_split(catalogue, study.split, study.seed, digests)).frame["role"].to_list()


@pytest.mark.parametrize(
    ("role", "value", "message"),
    [
        ("train", np.nan, "the scores of 1 of 72 images contain NaN"),
        (
            "test",
            np.array([5.0]),
            "the scores of 1 of 72 images are not log-probabilities (the log of a row's sum is 5",
        ),
    ],
    ids=["nan", "raw"],
)
def test_wrong_scores_cost_their_backend_alone(image_folder, monkeypatch, capsys, role, value, message):
    out = image_folder.parent / "run"
    corrupt(monkeypatch, roles_of(image_folder).index(role), value)
    with pytest.raises(RunError) as caught:
        run_study(study_of(image_folder), out=out, console=Console())
    assert str(caught.value).startswith(f"1 of 2 backends failed (hog-svm: {message}")
    assert str(caught.value).endswith("shelfbench.plugins.conformance finds what is wrong with it")
    assert f"the others are in {out}" in str(caught.value)
    assert f"hog-svm: failed ({message}" in capsys.readouterr().err
    values = record(out)
    assert values["status"] == "failed"
    assert values["reason"].startswith(f"hog-svm: {message}")
    assert values["backends"]["hog-svm"]["status"] == "failed"
    assert values["backends"]["hog-svm"]["reason"].startswith(message)
    assert values["backends"]["bottleneck-2nn-512"]["status"] == "done"
    assert set(pd.read_csv(out / "tables" / "table4.csv")["backend"]) == {"bottleneck-2nn-512"}
    page = (out / "report.html").read_text()
    assert "the scores of 1 of 72 images" in page


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda scores: scores.tolist(), "the scores are not an array of floating-point numbers, but of list"),
        (lambda scores: scores.astype(object), "the scores are not an array of floating-point numbers, but of object"),
        (lambda scores: scores.nope, "unexpected AttributeError: 'numpy.ndarray' object has no attribute 'nope'"),
    ],
    ids=["list", "object", "raises"],
)
def test_a_plug_in_that_breaks_costs_its_backend_alone(image_folder, monkeypatch, change, message):
    out, scores = image_folder.parent / "run", LinearSVM.log_probabilities
    monkeypatch.delenv("SHELFBENCH_DEBUG", raising=False)
    monkeypatch.setattr(LinearSVM, "log_probabilities", lambda self, features: change(scores(self, features)))
    with pytest.raises(RunError) as caught:
        run_study(study_of(image_folder), out=out)
    assert str(caught.value).startswith(f"1 of 2 backends failed (hog-svm: {message}")
    assert set(pd.read_csv(out / "tables" / "table4.csv")["backend"]) == {"bottleneck-2nn-512"}


def test_the_only_backend_that_fails_is_named(image_folder, monkeypatch):
    monkeypatch.setattr(LinearSVM, "log_probabilities", lambda self, features: None)
    with pytest.raises(RunError, match=r"^hog-svm: the scores are not an array"):
        run_study(study_of(image_folder, backends=BACKENDS[:1]), out=image_folder.parent / "run")


def test_a_record_that_is_not_json_costs_its_backend_alone(image_folder, monkeypatch):
    out, choices = image_folder.parent / "run", comparison._choices

    def choose_nan(built, *args):
        return choices(built, *args) | ({"C": float("nan")} if built.name == "hog-svm" else {})

    monkeypatch.setattr(comparison, "_choices", choose_nan)
    with pytest.raises(RunError, match=r"hog-svm: .*run\.json is not JSON"):
        run_study(study_of(image_folder), out=out)
    assert record(out)["status"] == "failed"
    assert open_run(out).backends == ("bottleneck-2nn-512",)


def test_damaged_timings_are_named(image_folder, tmp_path):
    out = tmp_path / "run"
    run_study(study_of(image_folder, backends=BACKENDS[:1]), out=out)
    (out / "timings.parquet").write_bytes(b"PAR1 damaged")
    with pytest.raises(InputError, match=r"timings\.parquet has changed since the run wrote it; make it anew"):
        run_study(study_of(image_folder), out=out)
    assert record(out)["status"] == "complete", "nothing is done before it is repaired"
    without_hashes(out)
    with pytest.raises(InputError, match=r"timings\.parquet cannot be read .* delete it and run the study again"):
        run_study(study_of(image_folder), out=out)


@pytest.mark.parametrize(
    ("earlier", "message"),
    [
        pytest.param(True, "cannot be read", marks=pytest.mark.slow),
        (False, "has changed since hog-svm was finished"),
    ],
)
def test_damaged_predictions_cost_their_backend_alone(image_folder, tmp_path, earlier, message):
    out = tmp_path / "run"
    run_study(study_of(image_folder), out=out)
    if earlier:
        without_hashes(out)
    path = out / "predictions" / "hog-svm.parquet"
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(InputError, match=rf"1 of 2 backends failed \(hog-svm: .*hog-svm\.parquet {message}"):
        run_study(study_of(image_folder), out=out)
    values = record(out)
    assert values["status"] == "failed"
    assert values["backends"]["hog-svm"]["status"] == "failed"
    assert f"hog-svm.parquet {message}" in values["backends"]["hog-svm"]["reason"]
    assert set(pd.read_csv(out / "tables" / "table4.csv")["backend"]) == {"bottleneck-2nn-512"}
    assert f"hog-svm.parquet {message}" in (out / "report.html").read_text()
    assert open_run(out).backends == ("bottleneck-2nn-512",)
    run_study(study_of(image_folder), out=out)  # the next time, it is made again
    assert record(out)["status"] == "complete"


def test_one_backend_without_memory_costs_itself_alone(image_folder, tmp_path, monkeypatch):
    def hungry(*args, **kwargs):
        raise MemoryError

    monkeypatch.setattr(LinearSVM, "fit", hungry)
    with pytest.raises(RunError, match=r"1 of 2 backends failed \(hog-svm: out of memory\); the others are in"):
        run_study(study_of(image_folder), out=tmp_path / "run")
    assert record(tmp_path / "run")["backends"]["bottleneck-2nn-512"]["status"] == "done"


def test_failures_for_different_reasons_are_counted(image_folder, tmp_path):
    backends = ["bottleneck-svm@inception_v3", "bottleneck-svm@xception"]
    with pytest.raises(InputError) as caught:
        run_study(study_of(image_folder, "weights=none", backends=backends), out=tmp_path / "run")
    assert str(caught.value).startswith("2 of 2 backends failed (bottleneck-svm@inception_v3: ")
    assert "others" not in str(caught.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("study", ["default", "heads"])
def test_the_same_failure_ends_alike_whatever_the_experiment(image_folder, tmp_path, capsys, study):
    words = [study, "--dataset", str(image_folder), "--out", str(tmp_path / "out"), "--set", "weights=/nope"]
    if study == "default":
        words += ["--backend", "bottleneck-svm", "--backend", "bottleneck-2nn-512"]
    assert command(*words) == 2
    said = capsys.readouterr().err
    assert said.startswith("shelfbench: ")
    assert "/nope" in said
    assert said.count("\n") == 1


def test_the_comparison_is_an_experiment_by_name_too(image_folder, tmp_path):
    named = read_study(
        "default",
        [
            *[parse_setting(text) for text in SETTINGS],
            (["experiment"], "comparison"),
            (["dataset", "name"], str(image_folder)),
            (["backends"], BACKENDS[:1]),
        ],
    )
    unnamed = study_of(image_folder, backends=BACKENDS[:1])
    assert named == unnamed
    assert "experiment" not in named.record()
    assert named.results_hash() == unnamed.results_hash()
