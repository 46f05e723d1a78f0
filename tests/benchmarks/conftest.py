"""What every row of the performance table needs: its size, one core, and the race."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from shelfbench.base.storage import cache_dir
from tests.benchmarks.pairs import Race, Row


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--full-size", action="store_true", help="measure at the sizes of the goals (hours)")


def pytest_benchmark_update_machine_info(config: pytest.Config, machine_info: dict) -> None:
    """Leave out whose machine it was; name the kernels that NumPy multiplies with, which a variable may have chosen."""
    machine_info.pop("node", None)
    machine_info["blas"] = sorted({known["architecture"] for known in threadpool_info() if "architecture" in known})


def pytest_benchmark_update_json(config: pytest.Config, benchmarks: list, output_json: dict) -> None:
    """Leave out paths and what the repository's checkout is called."""
    output_json["full_size"] = bool(config.getoption("--full-size", default=False))
    for name in ("project", "branch"):
        output_json.get("commit_info", {}).pop(name, None)


@pytest.fixture(autouse=True, scope="session")
def own_cache(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """At full size the user's cache: catalogues and features that the rows need are made once."""
    folder = cache_dir() if pytestconfig.getoption("--full-size", default=False) else tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SHELFBENCH_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="session")
def full_size(pytestconfig: pytest.Config) -> bool:
    """Whether the sizes are those of the goals."""
    return bool(pytestconfig.getoption("--full-size", default=False))


@pytest.fixture
def one_core() -> Iterator[None]:
    """BLAS and OpenMP work in one thread."""
    with threadpool_limits(1):
        yield


@pytest.fixture(name="race")
def fixture_race(request: pytest.FixtureRequest, full_size: bool) -> Callable[..., None]:
    """Measure a row, and hand the numbers to pytest-benchmark's JSON."""
    config = request.config
    if not full_size or (config.getoption("benchmark_disable") and not config.getoption("benchmark_enable")):
        pytest.skip("opponents are measured by `nox -s regress -- full`, on a machine that does nothing else")
    benchmark = request.getfixturevalue("benchmark")

    def run(
        row: Row,
        ours: Callable[[], object],
        theirs: Callable[[], object] | None = None,
        *,
        theirs_share: float = 1.0,
    ) -> None:
        race = Race(row, ours, theirs, theirs_share=theirs_share)
        benchmark.group = row.stage
        benchmark.pedantic(race.ours, setup=race.opponent, rounds=race.turns)
        race.our_seconds.extend(benchmark.stats.stats.data)
        benchmark.extra_info.update(race.record())
        beside = f"{race.ratio:.2f} times as fast as {row.opponent}" if theirs else f"at most {row.goal_seconds} s"
        print(f"\n{row.stage}: {np.median(race.our_seconds):.4g} s, {beside}; {race.peak_mib:,.0f} MiB")

    return run
