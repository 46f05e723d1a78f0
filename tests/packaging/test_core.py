"""shelfbench without Keras, TensorFlow and h5py: what works, and what is said of the rest."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.helpers.photos import noise_picture
from tests.helpers.sources import entry_points

ROOT = Path(__file__).resolve().parents[2]
COMMAND = Path(__file__).with_name("without_deep.py")
REMEDY = "python -m pip install 'shelfbench[deep]'"
SMALL = ["--set", "generated.products=160", "--set", "split.min_products=3"]


def core(*words, cwd, code=""):
    """Run the command, or some code, where packages are missing."""
    sources = os.pathsep.join(str(ROOT / name) for name in ("bench", "baselines", "deep", "tests/packaging"))
    environment = {**os.environ, "PYTHONPATH": sources, "SHELFBENCH_CACHE": str(cwd / "cache")}
    given = ["-c", f"import without_deep\n{code}"] if code else [str(COMMAND), *map(str, words)]
    return subprocess.run(
        [sys.executable, *given], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )


def test_importing_needs_nothing_of_the_extra(tmp_path):
    """Every module of the harness and the baselines, and what the entry points of the networks name."""
    points = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]
    named = sorted({place.partition(":")[0] for group in points.values() for place in group.values()})
    code = f"""
import importlib, pkgutil, shelfbench, shelfbench_baselines
found = [found.name for package in (shelfbench, shelfbench_baselines)
         for found in pkgutil.walk_packages(package.__path__, package.__name__ + ".")]
optional = {{"shelfbench.spread.local_worker"}}  # a worker's own start
for name in [*found, *{named}]:
    if name not in optional:
        importlib.import_module(name)
print(len(found))
"""
    done = core(cwd=tmp_path, code=code)
    assert (done.returncode, done.stderr) == (0, "")
    assert int(done.stdout) > 200


NEEDS = {
    "a 2NN": ["run", "--backend", "bottleneck-2nn-512"],
    "the network inception_v3": ["run", "--backend", "bottleneck-svm@inception_v3"],
    "the network efficientnet_lite0": ["run", "--backend", "bottleneck-svm", "--set", "bottleneck.engine=keras"],
    "the experiment timing": ["run", "timing"],
    "the experiment multilabel": ["run", "multilabel"],
    "the experiment imagenet": ["run", "imagenet"],
    "training a network": ["run", "--backend", "full-xception"],
    "the network net.keras": ["run", "--backend", "bottleneck-svm", "--set", "backbone=net.keras"],
}


def test_what_needs_the_extra_says_so_in_one_line(tmp_path):
    code = f"""
import contextlib, io
from shelfbench.cli.main import main
for words in {list(NEEDS.values())!r}:
    with contextlib.redirect_stderr(io.StringIO()) as said:
        code = main([*words, *({SMALL!r} if "--backend" in words else []), "--quiet", "--out", "out"])
    print(code, said.getvalue().strip())
"""
    done = core(cwd=tmp_path, code=code)
    lines = done.stdout.splitlines()
    assert len(lines) == len(NEEDS), done.stdout + done.stderr
    for what, line in zip(NEEDS, lines, strict=True):
        assert line.startswith("2 shelfbench: ")
        assert f"{what} needs Keras, which is not installed; {REMEDY}" in line
    assert not (tmp_path / "out").exists()


def test_the_list_of_backends_says_what_is_missing(tmp_path):
    done = core("backends", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    usable, _, rest = done.stdout.partition("not usable here: ")
    ours = set(entry_points("backends"))
    can, cannot = (ours & {line.split()[0] for line in part.splitlines()} for part in (usable, rest))
    assert can >= {"bottleneck-svm", "hog-svm"}
    assert cannot == ours - can >= {"bottleneck-2nn-512", "finetuned-svm", "full-xception"}
    assert rest.startswith(f"a 2NN needs Keras, which is not installed; {REMEDY}\n")


@pytest.mark.parametrize(
    ("installed", "engine", "said"),
    [
        ({"keras"}, "tensorflow", "shelfbench[deep]'"),
        ({"keras", "torch"}, "jax", "shelfbench[jax]', or set KERAS_BACKEND=torch, which is installed"),
        ({"keras", "jax"}, "jax", ""),
        ({"keras"}, "of-my-own", ""),
    ],
)
def test_keras_without_its_engine(monkeypatch, installed, engine, said):
    from shelfbench.base.errors import NotInstalled
    from shelfbench_deep.engines import versions

    found = versions.Framework(engine, "1", "1")
    monkeypatch.setattr(versions, "framework", lambda: found)
    monkeypatch.setattr(versions, "find_spec", lambda name: name in installed or None)
    if not said:
        versions.check_keras("this")
        return
    with pytest.raises(NotInstalled) as caught:
        versions.check_keras("this")
    assert f"set to run on {engine}, and {engine} is not installed" in caught.value.message
    assert said in caught.value.remedy


@pytest.mark.slow
def test_a_run_a_decision_its_use_and_the_report(tmp_path):
    """The chain of a first hour on HOG, with its report, in one process: starting one takes long."""
    words = [
        ["--help"],
        ["run", "--backend", "hog-svm", "--out", "run", *SMALL, "--set", "report.near_duplicates=off"],
        ["decide", "run", "hog-svm", "--precision", "0.1", "--out", "decision"],
        ["classify", "decision", "photo.png"],
    ]
    (tmp_path / "photo.png").write_bytes(noise_picture(0))
    code = f"""
import sys
from shelfbench.cli.main import main
codes = []
for words in {words!r}:
    try:
        codes.append(main(words))
    except SystemExit as end:  # of --help
        codes.append(end.code)
print(codes)
assert not {{"keras", "tensorflow", "h5py"}} & set(sys.modules)
"""
    done = core(cwd=tmp_path, code=code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[0, 0, 0, 0]", done.stderr
    assert (tmp_path / "run" / "report.html").is_file()
    assert (tmp_path / "decision" / "decision.json").is_file()


@pytest.mark.slow
def test_the_study_default_runs_what_can_run_and_names_the_rest(tmp_path):
    out = tmp_path / "out"
    done = core("run", "default", *SMALL, "--out", out, cwd=tmp_path)
    assert done.returncode == 2
    last = done.stderr.splitlines()[-1]
    assert "3 of 5 backends were left out (bottleneck-2nn-512: a 2NN needs Keras, which is not installed)" in last
    assert last.endswith(f"{REMEDY}, and run the same command again")
    assert "bottleneck-2nn-4096: left out" in done.stderr
    assert any(line.split()[:1] == ["bottleneck-svm"] for line in done.stderr.splitlines())
    kept = sorted(path.stem for path in (out / "predictions").iterdir())
    assert kept == ["bottleneck-svm", "hog-svm"]
    assert "bottleneck-2nn-4096" in (out / "report.html").read_text()
    decided = core("decide", out, "bottleneck-svm", "--precision", "0.1", "--out", "decision", cwd=tmp_path)
    assert decided.returncode in (0, 3, 4), decided.stderr
    (tmp_path / "photo.png").write_bytes(noise_picture(0))
    classified = core("classify", "decision", "photo.png", cwd=tmp_path)
    assert (classified.returncode, classified.stdout.count("photo.png")) == (0, 1), classified.stderr
    assert core("report", out, cwd=tmp_path).returncode == 0
