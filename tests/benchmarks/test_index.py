"""Memory of an index follows its rows, and nothing else: a guard for what results/performance/index.csv records."""

import sys

import pytest

from tests.benchmarks.index import KINDS, measured


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="resident memory is read as Linux reports it")
@pytest.mark.parametrize("kind", KINDS)
def test_an_index_takes_less_than_a_kilobyte_for_a_row(kind):
    rows = 100_000
    (said,) = measured(kind, rows)
    assert said["peak"] < 1024 * rows
    assert said["cpu_seconds"] < 10
