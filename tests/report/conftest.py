"""Run directories to report on."""

import pytest

from shelfbench.base.console import Console
from shelfbench.report.build import build_report
from tests.helpers.synthetic_run import make_run


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory):
    """A run of 6,000 products with its whole report; not to be changed by a test."""
    path = make_run(tmp_path_factory.mktemp("finished"))
    build_report(path, None, Console(quiet=True))
    return path


@pytest.fixture
def small_run(tmp_path):
    """A fresh run of 400 products, to be damaged as a test likes."""
    return make_run(tmp_path / "run", products=400, categories=12)
