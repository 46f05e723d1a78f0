"""Tables, figures and page of a run from its predictions alone: a time to keep, without an opponent."""

import pytest

from shelfbench.base.console import Console
from shelfbench.report.build import build_report
from tests.benchmarks.pairs import Row
from tests.helpers.large_run import make_large_run

BACKENDS = 11


@pytest.fixture(scope="module")
def products(full_size):
    return 200_000 if full_size else 4_000


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory, products):
    return make_large_run(tmp_path_factory.mktemp("runs") / "large", backends=BACKENDS, test=products // 2)


@pytest.mark.slow
def test_same_report(tmp_path):
    """The report of a run that has one already is the same again, whichever thread was first."""
    run_dir = make_large_run(tmp_path / "run", backends=3, test=2_000, categories=50)
    build_report(run_dir, None, Console(quiet=True))
    made = {path: path.read_bytes() for path in run_dir.glob("*/*") if path.parent.name in ("tables", "figures")}
    assert len(made) > 40
    build_report(run_dir, None, Console(quiet=True))
    assert [path.name for path, content in made.items() if path.read_bytes() != content] == []


def test_speed(run_dir, products, race):
    row = Row(f"tables, figures and page, {BACKENDS} backends x {products:,} products", "", goal_seconds=20)
    race(row, lambda: build_report(run_dir, None, Console(quiet=True)))
