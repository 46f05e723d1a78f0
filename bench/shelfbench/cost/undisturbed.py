"""Seconds that work takes where nothing else runs, measured on a machine that may be busy."""

from __future__ import annotations

import time
from pathlib import Path

_TASKS = Path("/proc")
# Waiting for a processor that is a smaller share of the time than this is not worth a word.
NOTABLE = 0.1


class Undisturbed:
    """Wall time of a block, without the time that its threads waited for a processor which others were using.

    Linux counts for every thread how long it ran and how long it was ready and waited. Where threads wait for others,
    a block takes longer in the proportion in which they run less; so its wall time is multiplied by the share of the
    threads' ready time in which they ran. Elsewhere, the wall time is taken as it is.

    Attributes
    ----------
    seconds : float
        What the block would have taken.
    wall : float
        What it took.
    """

    seconds = wall = 0.0

    def __enter__(self) -> Undisturbed:
        """Start."""
        self._before = _threads()
        self._started = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self.wall = time.perf_counter() - self._started
        ran = waited = 0
        for thread, (running, waiting) in _threads().items():
            before = self._before.get(thread, (0, 0))
            ran += running - before[0]
            waited += waiting - before[1]
        self.seconds = self.wall * (ran / (ran + waited) if ran else 1.0)

    @property
    def waited(self) -> float:
        """Share of the time that was spent on waiting for a processor."""
        return 1 - self.seconds / self.wall if self.wall else 0.0


def _threads() -> dict[tuple[str, str], tuple[int, int]]:
    """Nanoseconds that each thread of this process and of its children has run, and has waited for a processor."""
    found: dict[tuple[str, str], tuple[int, int]] = {}
    if not _TASKS.is_dir():
        return found
    import psutil

    process = psutil.Process()
    for number in (process.pid, *(child.pid for child in process.children(recursive=True))):
        for task in (_TASKS / str(number) / "task").glob("*/schedstat"):
            try:
                running, waiting, _ = map(int, task.read_text().split())
            except (OSError, ValueError):  # it has ended, or this kernel does not count
                continue
            found[str(number), task.parent.name] = running, waiting
    return found
