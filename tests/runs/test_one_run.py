"""What all experiments share: failed starts leave nothing, settings bind a directory, one failing job fails alone."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest

from shelfbench.base.console import Console
from shelfbench.base.errors import InputError, RunError
from shelfbench.base.locking import locked
from shelfbench.cli.main import main
from shelfbench.data.datasets import open_dataset
from shelfbench.data.feature_store import image_digests
from shelfbench.data.material import gather
from shelfbench.data.split import make_split
from shelfbench.experiments import run_study
from shelfbench.runs import comparison
from shelfbench.runs.directory import open_run
from shelfbench.study.read import parse_setting, read_study
from shelfbench_baselines.linear_svm import LinearSVM

SETTINGS = ["hog.pixels=48", "hog.cells=8", "svm.C=[0.01]", "pixels=32", "two_layer.epochs=2", "report.pictures=false"]
BACKENDS = ["hog-svm", "bottleneck-2nn-512"]
PROFILES = """
experiment = "profiles"
weights = "{weights}"
pixels = 32

[profiles]
seeds = [0, 1]

[two_layer]
epochs = 2

[variants.plain]
backend = "bottleneck-2nn-512"

[variants.large]
backend = "bottleneck-2nn-2048"
"""


def study_of(path, *settings, backends=BACKENDS):
    overrides = [parse_setting(text) for text in (*SETTINGS, *settings)]
    return read_study("default", [*overrides, (["dataset", "name"], str(path)), (["backends"], list(backends))])


def profiles_of(path, folder, weights="imagenet"):
    (folder / "small.toml").write_text(PROFILES.format(weights=weights))
    return read_study(str(folder / "small.toml"), [(["dataset", "name"], str(path))])


def record(out):
    return json.loads((out / "run.json").read_text())


def command(*words):
    settings = [word for text in SETTINGS for word in ("--set", text)]
    return main(["run", *words[:1], "--quiet", "--workers", "1", *settings, *words[1:]])


# ---------------------------------------------------------------------------------------------- a start that fails


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["default", "--dataset", "/nonexistent"], "/nonexistent does not exist"),
        (["default", "--backend", "bottleneck-svm@lenet"], "unknown backbone 'lenet'"),
        (["default", "--backend", "bottleneck-svm", "--set", "weights=/nope"], "/nope"),
        (["default", "--dataset", "{}", "--set", "split.min_products=50"], "split.min_products"),
        (["default", "--dataset", "{}", "--set", "split.categories=50"], "split.categories=50"),
        (["heads", "--dataset", "{}", "--set", "weights=/nope"], "/nope"),
        (["heads", "--dataset", "/nonexistent"], "/nonexistent does not exist"),
        (["multilabel", "--dataset", "{}", "--set", "dataset.labels=[]"], "read without labels"),
        (["multilabel", "--dataset", "{}", "--set", "weights=/nope"], "/nope"),
        (["imagenet", "--data", "{}"], "contains no folder named after a synset"),
        (["imagenet", "--data", "{}", "--set", "weights=/nope"], "weights=/nope"),
    ],
)
def test_a_failed_start_leaves_nothing_behind(image_folder, tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SHELFBENCH_DATA", raising=False)
    assert command(*[word.replace("{}", str(image_folder)) for word in words]) == 2
    said = capsys.readouterr()
    assert message in said.err
    assert said.out == ""
    # nothing failed beside it, and there are no others
    assert " failed (" not in said.err
    assert "the others" not in said.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["shop"]


def test_a_failed_start_leaves_a_folder_as_it_was(image_folder, tmp_path):
    out = tmp_path / "mine"
    out.mkdir()
    (out / "notes.txt").write_text("keep")
    with pytest.raises(InputError, match=r"split\.categories=50"):
        run_study(study_of(image_folder, "split.categories=50"), out=out)
    assert [path.name for path in out.iterdir()] == ["notes.txt"]


def test_a_failed_start_does_not_touch_a_run_that_is_there(image_folder, tmp_path):
    out = tmp_path / "run"
    run_study(study_of(image_folder, backends=BACKENDS[:1]), out=out)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    image_folder.rename(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="does not exist"):
        run_study(study_of(image_folder, backends=BACKENDS[:1]), out=out)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


def test_a_place_that_cannot_be_written_is_told_before_the_data_are_read(tmp_path):
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file", tmp_path / "file" / "deeper"):
        with pytest.raises(InputError, match="is in the way of a folder or file"):
            run_study(study_of("/nonexistent"), out=out)


# ------------------------------------------------------------------------------------- settings bind the directory


def test_a_directory_is_bound_before_anything_has_finished(image_folder, tmp_path, monkeypatch):
    out = tmp_path / "run"
    fit = LinearSVM.fit

    def stop(*args, **kwargs):
        assert record(out)["status"] == "running"
        raise KeyboardInterrupt

    monkeypatch.setattr(LinearSVM, "fit", stop)
    with pytest.raises(KeyboardInterrupt):
        run_study(study_of(image_folder, backends=BACKENDS[:1]), out=out)
    assert record(out)["status"] == "interrupted"
    monkeypatch.setattr(LinearSVM, "fit", fit)
    with pytest.raises(InputError, match=r"other settings \(seed\); choose another --out, or delete that folder"):
        run_study(study_of(image_folder, "seed=5", backends=BACKENDS[:1]), out=out)
    run_study(study_of(image_folder, backends=BACKENDS[:1]), out=out)
    assert record(out)["status"] == "complete"


def test_a_directory_in_which_everything_failed_is_bound_too(image_folder, tmp_path, monkeypatch):
    out, study = tmp_path / "run", profiles_of(image_folder, tmp_path)
    from shelfbench_deep.heads.two_layer import TwoLayer

    fit = TwoLayer.fit

    def fail(*args, **kwargs):
        raise RunError("the device is gone", "restart it")

    monkeypatch.setattr(TwoLayer, "fit", fail)
    # all for the same reason: it is said once, and no others are claimed
    with pytest.raises(RunError) as caught:
        run_study(study, out=out)
    assert str(caught.value) == "the device is gone; restart it"
    assert record(out)["status"] == "failed"
    assert {entry["reason"] for entry in record(out)["backends"].values()} == {"the device is gone; restart it"}
    monkeypatch.setattr(TwoLayer, "fit", fit)
    other = read_study(str(tmp_path / "small.toml"), [(["dataset", "name"], str(image_folder)), (["seed"], 3)])
    with pytest.raises(InputError, match=r"other settings \(seed\)"):
        run_study(other, out=out)
    run_study(study, out=out)
    assert record(out)["status"] == "complete"


def test_kept_results_are_a_run_of_their_settings(image_folder, tmp_path):
    """Tables without predictions, as they are committed: the same settings make them again, others are refused."""
    out = tmp_path / "run"
    run_study(study_of(image_folder, backends=BACKENDS[:1]), out=out)
    for name in ("predictions", "scores", "models"):
        for path in sorted((out / name).rglob("*"), reverse=True):
            path.unlink() if path.is_file() else path.rmdir()
    with pytest.raises(InputError, match=r"other settings \(svm\.C\)"):
        run_study(study_of(image_folder, "svm.C=[1.0]", backends=BACKENDS[:1]), out=out)
    run_study(study_of(image_folder, backends=BACKENDS[:1]), out=out)
    assert (out / "predictions" / "hog-svm.parquet").exists()


def test_a_run_that_is_killed_can_be_resumed(image_folder, tmp_path):
    out = tmp_path / "run"
    code = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from shelfbench_baselines.linear_svm import LinearSVM\n"
        "LinearSVM.fit = lambda *a, **k: os.kill(os.getpid(), signal.SIGKILL)\n"
        "from tests.runs.test_one_run import run_study, study_of\n"
        "run_study(study_of(sys.argv[1], backends=['hog-svm']), out=Path(sys.argv[2]))\n"
    )
    words = [sys.executable, "-c", code, str(image_folder), str(out)]
    done = subprocess.run(words, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}, check=False)
    assert done.returncode == -signal.SIGKILL
    assert record(out)["status"] == "running"
    with pytest.raises(InputError, match="other settings"):
        run_study(study_of(image_folder, "seed=5", backends=BACKENDS[:1]), out=out)
    run_study(study_of(image_folder, backends=BACKENDS[:1]), out=out)
    assert record(out)["status"] == "complete"


# ------------------------------------------------------------------------------------------------ one job at fault


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
    with pytest.raises(InputError, match=r"timings\.parquet cannot be read .* delete it and run the study again"):
        run_study(study_of(image_folder), out=out)


def test_damaged_predictions_cost_their_backend_alone(image_folder, tmp_path):
    out = tmp_path / "run"
    run_study(study_of(image_folder), out=out)
    path = out / "predictions" / "hog-svm.parquet"
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(InputError, match=r"1 of 2 backends failed \(hog-svm: .*hog-svm\.parquet cannot be read"):
        run_study(study_of(image_folder), out=out)
    values = record(out)
    assert values["status"] == "failed"
    assert values["backends"]["hog-svm"]["status"] == "failed"
    assert "hog-svm.parquet cannot be read" in values["backends"]["hog-svm"]["reason"]
    assert set(pd.read_csv(out / "tables" / "table4.csv")["backend"]) == {"bottleneck-2nn-512"}
    assert "hog-svm.parquet cannot be read" in (out / "report.html").read_text()
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


# ------------------------------------------------------------------------------------------------------------ locks


def hold(folder, ready, release):
    with locked(folder):
        ready.set()
        release.wait(60)


def test_two_processes_cannot_work_in_one_directory(image_folder, tmp_path):
    out = tmp_path / "run"
    context = multiprocessing.get_context("spawn")
    ready, release = context.Event(), context.Event()
    other = context.Process(target=hold, args=(out, ready, release))
    other.start()
    assert ready.wait(60)
    (tmp_path / "link").symlink_to(tmp_path)
    for name in (out, tmp_path / "link" / "run", tmp_path / "x" / ".." / "run"):
        with pytest.raises(InputError, match=r"another run is working in .*run; wait for it, or choose another --out"):
            run_study(study_of(image_folder, backends=BACKENDS[:1]), out=name)
    assert not out.exists()
    with locked(tmp_path / "other"):
        pass
    release.set()
    other.join(60)
    run_study(study_of(image_folder, backends=BACKENDS[:1]), out=out)
    assert not [path for path in out.rglob("*") if "lock" in path.name]


def test_the_lock_of_a_killed_process_is_free(tmp_path):
    context = multiprocessing.get_context("spawn")
    ready, release = context.Event(), context.Event()
    other = context.Process(target=hold, args=(tmp_path, ready, release))
    other.start()
    assert ready.wait(60)
    other.kill()
    other.join(60)
    started = time.perf_counter()
    with locked(tmp_path):
        assert time.perf_counter() - started < 5
