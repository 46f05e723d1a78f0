"""Ratios of times: both in one run, in turn, medians; the floors are in ``floors.toml``."""

import time
import tomllib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

FLOORS = tomllib.loads((Path(__file__).parent / "floors.toml").read_text(encoding="utf-8"))


def assert_floor(
    name: str, ours: Callable[[], object], theirs: Callable[[], object], config: pytest.Config, rounds: int = 5
) -> None:
    """Fail where ours is not as many times as fast as the floor says.

    Parameters
    ----------
    name : str
        Table of ``floors.toml``.
    ours, theirs : callable
        Equal work; the results were compared before.
    config : pytest.Config
        Without ``--benchmark-enable`` the test is skipped: other work on the machine would be measured.
    rounds : int
        Of each, after one that warms up.
    """
    if config.getoption("benchmark_disable") and not config.getoption("benchmark_enable"):
        pytest.skip("a ratio of times is measured by nox -s regress, on a machine that does nothing else")
    seconds = {ours: [], theirs: []}
    for turn in range(rounds + 1):  # in turn, so that what else the machine does meets both
        for method, spent in seconds.items():
            begun = time.perf_counter()
            method()
            if turn:
                spent.append(time.perf_counter() - begun)
    ratio = np.median(seconds[theirs]) / np.median(seconds[ours])
    floor = FLOORS[name]["ratio"]
    assert ratio >= floor, f"{name}: only {ratio:.1f} times as fast; the floor is {floor}"
