"""The package that ``shelfbench new-backend`` writes: installed, tested by its own tests, and used in a study."""

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from shelfbench.base.errors import InputError
from shelfbench.cli.main import main
from shelfbench.plugins.package import write_package

NAME, MODULE = "mean-colour", "shelfbench_mean_colour"


def command(*words, cwd, site):
    environment = {**os.environ, "PYTHONPATH": str(site), "SHELFBENCH_CACHE": str(cwd / "cache")}
    return subprocess.run(
        [sys.executable, *map(str, words)], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    out = tmp_path_factory.mktemp("package") / "mine"
    assert main(["new-backend", NAME, "--out", str(out)]) == 0
    return out


@pytest.fixture(scope="module")
def site(package, tmp_path_factory):
    """Where the package is installed; it is built from a copy."""
    folder = tmp_path_factory.mktemp("site")
    source = shutil.copytree(package, tmp_path_factory.mktemp("source") / "mine")
    found = command(
        *("-m", "pip", "--disable-pip-version-check", "install", "--no-deps", "--no-build-isolation"),
        *("--target", folder, source),
        cwd=folder,
        site=folder,
    )
    assert found.returncode == 0, found.stderr
    return folder


def test_it_is_short_enough_to_read_at_a_glance(package):
    names = {path.relative_to(package) for path in package.rglob("*") if path.is_file()}
    tests = Path("tests", "test_mean_colour.py")
    assert names == {Path("pyproject.toml"), Path("README.md"), Path(MODULE, "__init__.py"), tests}
    code = (package / MODULE / "__init__.py").read_text().splitlines()
    assert len([line for line in code if line.strip()]) < 15
    project = tomllib.loads((package / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["shelfbench.backends"] == {NAME: f"{MODULE}:backend"}
    assert not [path for path in package.parent.iterdir() if path != package]


def test_its_own_tests_pass_as_they_are(package, site, tmp_path):
    shutil.copytree(package / "tests", tmp_path / "tests")
    found = command("-m", "pytest", "-q", "-p", "no:cacheprovider", "tests", cwd=tmp_path, site=site)
    assert found.returncode == 0, found.stdout
    assert "15 passed" in found.stdout


@pytest.mark.slow
def test_features_that_are_there_pass_the_same_tests(package, site, tmp_path):
    """As its README says: the name of features in place of the function."""
    other = shutil.copytree(site, tmp_path / "site")
    code = (package / MODULE / "__init__.py").read_text()
    (other / MODULE / "__init__.py").write_text(code.replace("mean_colours, pixels=64", '"hog"'))
    shutil.copytree(package / "tests", tmp_path / "tests")
    found = command("-m", "pytest", "-q", "-p", "no:cacheprovider", "tests", cwd=tmp_path, site=other)
    assert found.returncode == 0, found.stdout


@pytest.mark.slow
def test_a_study_runs_on_it(site, tmp_path):
    words = [
        "run",
        "--backend",
        NAME,
        "--out",
        "run",
        "--set",
        "generated.products=160",
        "--set",
        "split.min_products=3",
    ]
    code = f"import sys; from shelfbench.cli.main import main; sys.exit(main({words!r}))"
    found = command("-c", code, cwd=tmp_path, site=site)
    assert found.returncode == 0, found.stderr
    assert NAME in found.stdout
    assert (tmp_path / "run" / "predictions" / f"{NAME}.parquet").is_file()


@pytest.mark.parametrize("name", ["", "My", "a_b", "a--b", "-a", "a-", "1a", "a b", "../a", "a" * 51, "ü", "a\n"])
def test_a_name_that_no_backend_has_is_refused(name, tmp_path):
    with pytest.raises(InputError, match="cannot be the name of a backend"):
        write_package(name, tmp_path / "mine")
    assert not (tmp_path / "mine").exists()


@pytest.mark.parametrize("name", ["hog-svm", "deep", "baselines"])
def test_a_name_that_is_taken_is_refused(name, tmp_path):
    with pytest.raises(InputError, match="is installed already"):
        write_package(name, tmp_path / "mine")


def test_a_folder_with_something_in_it_is_left_alone(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("mine")
    for place in (tmp_path, tmp_path / "file"):
        with pytest.raises(InputError, match="is not an empty folder"):
            write_package("new", place)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shelfbench-new").mkdir()
    assert write_package("new") == Path("shelfbench-new")
    assert (tmp_path / "shelfbench-new" / "README.md").is_file()
