"""What all experiments share: failed starts leave nothing, settings bind a directory, locks keep others out."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time

import pytest

from shelfbench.base.errors import InputError, RunError
from shelfbench.base.locking import locked
from shelfbench.experiments import run_study
from shelfbench.study.read import read_study
from shelfbench_baselines.linear_svm import LinearSVM
from tests.helpers.small_studies import BACKENDS, command, profiles_of, record, study_of

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
