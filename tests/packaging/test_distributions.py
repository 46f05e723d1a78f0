"""Wheel and sdist as ``python -m build`` makes them: what they hold, and both used in empty environments (slow)."""

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile

import pytest

from tests.helpers.photos import noise_picture
from tests.packaging.test_wheel import ROOT, SOURCES, files, run

pytestmark = pytest.mark.slow
SMALL = ("--set", "generated.products=600")
REMEDY = "python -m pip install 'shelfbench[deep]'"


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Both, built from what git has; a build folder of the checkout may contain deleted modules."""
    folder = tmp_path_factory.mktemp("built")
    source = folder / "source"
    source.mkdir()
    listed = subprocess.check_output(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"], cwd=ROOT, text=True
    )
    for name in filter(None, listed.split("\0")):
        if name.split("/")[0] != "results" or name == "results/README.md":  # one stands for all
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, source / name)
    made = run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder / "dist", ".", cwd=source)
    assert made.returncode == 0, made.stdout + made.stderr
    (wheel,) = (folder / "dist").glob("*.whl")
    (sdist,) = (folder / "dist").glob("*.tar.gz")
    return source, wheel, sdist


def test_the_wheel_has_the_packages_and_the_licence(built):
    source, wheel, _ = built
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        (metadata,) = (archive.read(name).decode() for name in names if name.endswith(".dist-info/METADATA"))
    expected = {path.relative_to(source / root).as_posix() for root in SOURCES for path in files(source / root)}
    assert {name for name in names if ".dist-info/" not in name} == expected
    assert {name.rpartition("/")[2] for name in names} >= {"LICENSE", "py.typed", "entry_points.txt"}
    assert "License-Expression: MIT" in metadata
    needed = [line.split()[1] for line in metadata.splitlines() if line.startswith("Requires-Dist:")]
    core = [line for line in metadata.splitlines() if line.startswith("Requires-Dist:") and "extra ==" not in line]
    assert any(name.startswith("tensorflow") for name in needed)
    for heavy in ("tensorflow", "keras", "h5py", "scikit-image", "torch", "jax"):
        assert not any(line.removeprefix("Requires-Dist: ").startswith(heavy) for line in core), heavy


def test_the_sdist_has_what_the_wheel_is_built_from_and_no_more(built):
    source, _, sdist = built
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames() if not archive.getmember(name).isdir()}
    names = {name for name in names if ".egg-info/" not in name}
    code = {path.relative_to(source).as_posix() for root in SOURCES for path in files(source / root)}
    about = {"pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "CITATION.cff", "MANIFEST.in"}
    made = {"PKG-INFO", "setup.cfg"}
    assert names == code | about | made


def environment(folder, what):
    """Make an environment with what a stranger's pip installs into it, and return its folder of commands."""
    assert run(sys.executable, "-m", "venv", folder, cwd=folder.parent).returncode == 0
    binaries = folder / ("Scripts" if os.name == "nt" else "bin")
    installed = run(binaries / "python", "-m", "pip", "install", "--quiet", what, cwd=folder.parent)
    assert installed.returncode == 0, installed.stderr
    return binaries


def test_the_wheel_works_from_another_folder(built, tmp_path):
    """A first hour without the extra, with nothing but what pip installs."""
    binaries = environment(tmp_path / "env", built[1])
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()

    def shelfbench(*words):
        return run(binaries / "shelfbench", *words, cwd=elsewhere, SHELFBENCH_CACHE=str(tmp_path / "cache"))

    listed = shelfbench("backends")
    assert f"not usable here: a 2NN needs Keras, which is not installed; {REMEDY}" in listed.stdout, listed.stderr
    ran = shelfbench("run", "default", *SMALL, "--out", "first")
    assert ran.returncode == 2
    assert f"{REMEDY}, and run the same command again" in ran.stderr.splitlines()[-1]
    assert (elsewhere / "first" / "report.html").is_file()
    chosen = shelfbench("run", "default", *SMALL, "--backend", "bottleneck-svm", "--out", "second")
    assert (chosen.returncode, "bottleneck-svm" in chosen.stdout) == (0, True), chosen.stderr
    decided = shelfbench("decide", "second", "bottleneck-svm", "--precision", "0.5", "--out", "decision")
    assert decided.returncode in (0, 3, 4), decided.stderr
    (elsewhere / "photo.png").write_bytes(noise_picture(0))
    classified = shelfbench("classify", "decision", "photo.png")
    assert (classified.returncode, classified.stdout.count("photo.png")) == (0, 1), classified.stderr
    assert shelfbench("report", "second").returncode == 0
    code = "import importlib.util as u; assert not any(map(u.find_spec, ('keras', 'tensorflow', 'h5py', 'skimage')))"
    assert run(binaries / "python", "-c", code, cwd=elsewhere).returncode == 0


def test_the_sdist_builds_and_imports(built, tmp_path):
    binaries = environment(tmp_path / "env", built[2])
    code = "import shelfbench, shelfbench_deep.backends; print(shelfbench.load_study('default').backends[0])"
    done = run(binaries / "python", "-c", code, cwd=tmp_path)
    assert (done.returncode, done.stdout.strip()) == (0, "hog-svm"), done.stderr
