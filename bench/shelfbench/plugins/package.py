"""A package of one's own with a backend: the files that ``shelfbench new-backend`` writes."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path
from string import Template

from shelfbench.base.errors import InputError
from shelfbench.base.partial import aside_folder
from shelfbench.base.storage import storage_errors, write_text
from shelfbench.base.version import __version__
from shelfbench.plugins.finding import available

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_LONGEST = 50

_PYPROJECT = """\
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "shelfbench-$name"
version = "0.1.0"
description = "The backend $name for shelfbench"
requires-python = ">=3.11"
dependencies = ["shelfbench>=$version"]

[project.optional-dependencies]
test = ["pytest"]

[project.entry-points."shelfbench.backends"]
$name = "$module:backend"

[tool.setuptools]
packages = ["$module"]
"""

_MODULE = '''\
"""The backend $name: the mean colours of a photo, and a classifier of scikit-learn on them."""

from shelfbench.plugins.sklearn import sklearn_backend


def mean_colours(photos):
    """Turn photos, uint8 of shape (n, 64, 64, 3), into one row of numbers each: the colours of 4 x 4 squares."""
    squares = photos.reshape(len(photos), 4, 16, 4, 16, 3)
    return squares.mean(axis=(2, 4)).reshape(len(photos), 48) / 255


backend = sklearn_backend("sklearn.discriminant_analysis.LinearDiscriminantAnalysis", mean_colours, pixels=64)
'''

_TEST = '''\
"""What every backend must do: shelfbench brings the checks."""

import pytest
from shelfbench.plugins.backend import BackboneChoice
from shelfbench.plugins.conformance import CHECKS
from shelfbench.plugins.finding import find

from $module import backend


def test_shelfbench_finds_it():
    assert find("$name") is backend, "install the package: python -m pip install -e ."


def build():
    sections = {name: settings() for name, settings in backend.sections.items()}
    return backend.build(sections, BackboneChoice(), 1)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_conformance(check):
    check(build)
'''

_README = """\
# shelfbench-$name

The backend `$name` for shelfbench.

```
python -m pip install -e '.[test]'
python -m pytest
shelfbench run --dataset PATH --backend $name --backend hog-svm
```

Everything is in `$module/__init__.py`:

- `mean_colours` turns photos into numbers. Write your own function, or give the name of features that are there, such
  as `"hog"` or `"bottleneck"`, without `pixels`.
- The first argument of `sklearn_backend` is any classifier of scikit-learn, and `parameters={"solver": "lsqr"}` are its
  arguments. Of the values in `grid={"shrinkage": [0.1, 0.5]}`, the best on held-out products are taken.

A backend that scikit-learn does not offer, or one with settings of its own, is a `shelfbench.BackendSpec`:
`shelfbench.plugins.template` is a whole one in one file, to copy in place of `$module/__init__.py`. The tests stay as
they are.
"""


def write_package(name: str, out: Path | None = None) -> Path:
    """Write a package with a backend, its entry point, its tests and a README.

    Parameters
    ----------
    name : str
        Of the backend: small letters, digits and hyphens.
    out : Path, optional
        A new or empty folder; by default ``shelfbench-NAME`` in the working directory.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    InputError
        If the name cannot be that of a backend or is taken, or the folder holds something.
    """
    if not _NAME.fullmatch(name) or len(name) > _LONGEST:
        raise InputError(
            f"{name[: _LONGEST + 10]!r} cannot be the name of a backend",
            f"use small letters, digits and single hyphens, such as my-backend, up to {_LONGEST} characters",
        )
    module = f"shelfbench_{name.replace('-', '_')}"
    if name in available() or find_spec(module) is not None:
        raise InputError(f"{name} is installed already", "choose another name")
    folder = Path(f"shelfbench-{name}") if out is None else out
    if folder.is_symlink() or (folder.exists() and (not folder.is_dir() or any(folder.iterdir()))):
        raise InputError(f"{folder} is there already and is not an empty folder", "name a new one with --out")
    files = {
        "pyproject.toml": _PYPROJECT,
        "README.md": _README,
        f"{module}/__init__.py": _MODULE,
        f"tests/test_{name.replace('-', '_')}.py": _TEST,
    }
    said = {"name": name, "module": module, "version": __version__}
    with storage_errors(folder), aside_folder(folder) as aside:
        for place, text in files.items():
            write_text(aside / place, Template(text).substitute(said))
        if folder.exists():
            folder.rmdir()
        aside.rename(folder)
    return folder
