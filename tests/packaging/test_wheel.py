"""The wheel, as a stranger installs it: next to a package called ``bench``, and with a plug-in of their own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ("bench", "baselines", "deep")

PLUGIN = '''\
"""A backend of mine: HOG and a linear SVM by another name."""

from collections.abc import Mapping
from typing import Any

from bench import MINE  # a module of my own, which has nothing to do with shelfbench
from shelfbench.plugins.backend import Backend, BackboneChoice, BackendSpec


def build(settings: Mapping[str, Any], backbone: BackboneChoice, workers: int) -> Backend:
    from shelfbench_baselines.backends import hog_svm

    return hog_svm.build({name: section() for name, section in hog_svm.sections.items()}, backbone, workers)


spec = BackendSpec(summary=MINE, build=build, columns={"Feature": "mine"})
'''
CONFORM = """\
import shelfbench
import myplugin
from bench import MINE
from shelfbench.plugins.backend import BackboneChoice
from shelfbench.plugins.finding import find
from shelfbench.plugins.conformance import CHECKS

assert MINE == "mine"
assert find("my-backend") is myplugin.spec
CHECKS[0](lambda: myplugin.spec.build({}, BackboneChoice(), 1))
print(shelfbench.__file__)
"""


def run(*command: str | Path, cwd: Path, **environment: str) -> subprocess.CompletedProcess:
    """Run a command that sees nothing of this checkout."""
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    return subprocess.run(
        [str(part) for part in command], cwd=cwd, env=kept | environment, capture_output=True, text=True, check=False
    )


def pip(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess:
    return run(sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments, cwd=cwd)


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """A copy to build from: a build folder of the checkout may contain deleted modules."""
    folder = tmp_path_factory.mktemp("sources")
    for name in SOURCES:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        if (ROOT / name).exists():
            shutil.copy(ROOT / name, folder)
    shutil.copytree(ROOT / "tests" / "packaging", folder / "tests" / "packaging")
    return folder


@pytest.fixture(scope="module")
def wheel(sources, tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    built = pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, ".", cwd=sources)
    assert built.returncode == 0, built.stderr
    (found,) = folder.glob("*.whl")
    return found


def make_environment(folder: Path, wheel: Path, *options: str) -> Path:
    """Make an environment with the wheel, and return its folder of executables."""
    made = run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder.parent)
    assert made.returncode == 0, made.stderr
    binaries = folder / ("Scripts" if os.name == "nt" else "bin")
    installed = pip("--python", binaries / "python", "install", *options, wheel, cwd=folder.parent)
    assert installed.returncode == 0, installed.stderr
    return binaries


@pytest.fixture(scope="module")
def environment(wheel, tmp_path_factory):
    """The wheel and nothing else of ours; the packages it needs are those of the tests' own environment."""
    folder = tmp_path_factory.mktemp("environment") / "env"
    binaries = make_environment(folder, wheel, "--no-deps", "--no-index")
    # after the installation: pip would take shelfbench for installed. What an editable installation adds to the path by
    # a .pth file is not added here, for Python reads those files of its own site-packages alone.
    shared = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
    own = run(binaries / "python", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder)
    Path(own.stdout.strip(), "shared.pth").write_text("\n".join(shared))
    return binaries


@pytest.fixture(scope="module")
def beside_frappe(environment, tmp_path_factory):
    """The same, with the package that installs a ``bench`` of its own."""
    folder = tmp_path_factory.mktemp("frappe")
    fetched = pip("download", "--no-deps", "--only-binary=:all:", "--dest", folder, "frappe-bench", cwd=folder)
    if fetched.returncode:
        pytest.skip(f"frappe-bench cannot be fetched: {fetched.stderr.strip().splitlines()[-1]}")
    (found,) = folder.glob("*.whl")
    python = environment / "python"
    installed = pip("--python", python, "install", "--no-deps", "--no-index", found, cwd=folder)
    assert installed.returncode == 0, installed.stderr
    return environment


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A plug-in author's folder: a ``bench`` of their own, a plug-in, and what an installation says of it."""
    folder = tmp_path_factory.mktemp("author")
    (folder / "bench").mkdir()
    (folder / "bench" / "__init__.py").write_text('MINE = "mine"\n')
    (folder / "myplugin.py").write_text(PLUGIN)
    (folder / "conform.py").write_text(CONFORM)
    points = folder / "myplugin-1.0.dist-info"
    points.mkdir()
    (points / "METADATA").write_text("Metadata-Version: 2.1\nName: myplugin\nVersion: 1.0\n")
    (points / "entry_points.txt").write_text("[shelfbench.backends]\nmy-backend = myplugin:spec\n")
    return folder


def test_the_wheel_holds_every_file_of_the_packages_and_no_test(sources, wheel):
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    expected = {path.relative_to(sources / root).as_posix() for root in SOURCES for path in files(sources / root)}
    assert names == expected
    endings = {Path(name).suffix for name in names}
    assert {".py", ".toml", ".css", ".js", ".typed", ".j2"} <= endings
    assert {name.split("/")[0] for name in names} == {"shelfbench", "shelfbench_baselines", "shelfbench_deep"}


def files(folder: Path) -> list[Path]:
    """Files of a source root; what a build left there is not one."""
    return [path for path in folder.rglob("*") if path.is_file() and ".egg-info" not in str(path)]


def test_it_works_beside_a_package_called_bench(beside_frappe, folder, tmp_path):
    theirs = run(beside_frappe / "python", "-c", "import bench; print(bench.__file__)", cwd=tmp_path)
    assert theirs.returncode == 0, theirs.stderr
    works(beside_frappe, folder, tmp_path)


def test_it_works_with_a_plug_in_beside_a_folder_called_bench(environment, folder, tmp_path):
    works(environment, folder, tmp_path)


@pytest.mark.slow
def test_it_works_with_its_dependencies_alone(wheel, folder, tmp_path):
    """Downloads everything that a user does."""
    works(make_environment(tmp_path / "env", wheel), folder, tmp_path)


def works(environment: Path, folder: Path, elsewhere: Path) -> None:
    """The command, the import, the plug-in in the list of backends, and the plug-in's own check."""
    version = run(environment / "shelfbench", "--version", cwd=elsewhere)
    assert (version.returncode, version.stdout.split()[0]) == (0, "shelfbench"), version.stderr
    imported = run(environment / "python", "-c", "import shelfbench; print(shelfbench.__file__)", cwd=elsewhere)
    assert Path(imported.stdout.strip()).is_relative_to(environment.parent), imported.stderr
    listed = run(environment / "shelfbench", "backends", cwd=folder, PYTHONPATH=str(folder))
    assert listed.returncode == 0, listed.stderr
    assert "my-backend" in listed.stdout
    assert "hog-svm" in listed.stdout
    conforms = run(environment / "python", "conform.py", cwd=folder)
    assert conforms.returncode == 0, conforms.stderr
    assert Path(conforms.stdout.strip()).is_relative_to(environment.parent)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (("", ""), None),
        pytest.param(("summary=MINE", "summary=3"), 'incompatible type "int"; expected "str"', marks=pytest.mark.slow),
        pytest.param(("columns=", "colums="), 'Unexpected keyword argument "colums"', marks=pytest.mark.slow),
        (("-> Backend:", "-> int:"), 'got "Backend", expected "int"'),
    ],
)
def test_mypy_sees_our_types_in_a_plug_in(environment, folder, tmp_path, change, complaint):
    (tmp_path / "bench").symlink_to(folder / "bench")
    (tmp_path / "myplugin.py").write_text(PLUGIN.replace(*change) if change[0] else PLUGIN)
    checked = run(
        sys.executable,
        *("-m", "mypy", "--python-executable", environment / "python", "--cache-dir", folder.parent / "mypy"),
        *("--ignore-missing-imports", "--follow-imports=silent", "myplugin.py"),
        cwd=tmp_path,
    )
    if complaint is None:
        assert (checked.returncode, checked.stderr) == (0, ""), checked.stdout
    else:
        assert checked.returncode == 1
        assert complaint in checked.stdout
