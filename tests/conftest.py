"""Fixtures for all tests: a cache of their own, real data where available, small catalogues."""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path

import pytest
from hypothesis import Phase, settings

from tests.helpers.photos import noise_picture

# Tests import PyTorch in any order, and loading its Triton after TensorFlow ends the process.
sys.modules.setdefault("triton", None)  # type: ignore[arg-type]
# A test that imports OpenVINO first would load its telemetry, which forks this large process at every conversion.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
# To explain a failure, hypothesis traces every line of every example that passes; a failing example says enough.
# a machine that is busy with other things is no failure
settings.register_profile("unexplained", phases=[phase for phase in Phase if phase is not Phase.explain], deadline=None)
settings.load_profile("unexplained")
# Several frameworks are loaded: looking through all of their objects for cycles as often as usual takes a tenth.
gc.set_threshold(20_000, 20, 20)


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory):
    """Keep tests from reading or writing the user's cache."""
    folder = tmp_path_factory.mktemp("cache")
    before = os.environ.get("SHELFBENCH_CACHE")
    os.environ["SHELFBENCH_CACHE"] = str(folder)
    yield folder
    if before is None:
        del os.environ["SHELFBENCH_CACHE"]
    else:
        os.environ["SHELFBENCH_CACHE"] = before


@pytest.fixture
def fresh_cache(tmp_path, monkeypatch):
    """Return an empty cache."""
    monkeypatch.setenv("SHELFBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Return the folder of real datasets."""
    folder = os.environ.get("SHELFBENCH_DATA")
    if not folder:
        pytest.skip("SHELFBENCH_DATA is not set: no real products to test on")
    return Path(folder)


COLORS = {"red": (210, 40, 40), "green": (40, 190, 60), "blue": (50, 60, 200)}


@pytest.fixture
def image_folder(tmp_path) -> Path:
    """Make an ImageFolder of 3 categories with 24 noisy images each, which differ in colour."""
    root = tmp_path / "shop"
    for number, (name, color) in enumerate(COLORS.items()):
        (root / name).mkdir(parents=True)
        for i in range(24):
            (root / name / f"{i:02}.png").write_bytes(noise_picture(1000 * number + i, base=color))
    return root
