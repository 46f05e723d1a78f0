"""Tables, figures and page of a run from its predictions alone: a time to keep, without an opponent."""

import shutil

import pytest
from large_run import make_large_run
from pairs import Row

from bench.console import Console
from bench.report.build import build_report

BACKENDS = 11


@pytest.fixture(scope="module")
def products(full_size):
    return 200_000 if full_size else 4_000


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory, products):
    return make_large_run(tmp_path_factory.mktemp("runs") / "large", backends=BACKENDS, test=products // 2)


def test_same_report(run_dir, tmp_path):
    """The report of a run that has one already is that of a fresh copy, file by file."""
    copy = tmp_path / "copy"
    shutil.copytree(run_dir, copy)
    for _ in range(2):
        build_report(run_dir, None, Console(quiet=True))
    build_report(copy, None, Console(quiet=True))
    made = sorted(path.relative_to(copy) for path in copy.glob("tables/*"))
    assert len(made) > 30
    for path in made:
        assert (run_dir / path).read_bytes() == (copy / path).read_bytes()


def test_speed(run_dir, products, race):
    row = Row(f"tables, figures and page, {BACKENDS} backends x {products:,} products", "", goal_seconds=20)
    race(row, lambda: build_report(run_dir, None, Console(quiet=True)))
