"""Seconds that work takes where nothing else runs, measured on a machine that may be busy."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from pathlib import Path

_PROC = Path("/proc")
# Waiting for other programs that is a smaller share of the time than this is not worth a word.
NOTABLE = 0.1
_EVERY = 0.05


class Undisturbed:
    """Wall time of a block, without the time that its threads waited while other programs used the processors.

    Linux counts for every thread how long it ran, and how long it was ready and waited. Threads of one program wait for
    each other, too, so no more of that counts than the other programs ran in the meantime. Where threads wait for
    others, a block takes longer in the proportion in which they run less: its wall time is multiplied by the share of
    their ready time in which they ran. Elsewhere, the wall time is taken as it is.

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
        self._first = _threads()
        self._last = dict(self._first)
        self._busy, self._used = _busy(), _used()
        self._stop = threading.Event()
        self._watch = threading.Thread(target=self._loop, daemon=True)
        self._watch.start()
        self._started = time.perf_counter()
        return self

    def _loop(self) -> None:
        """Look at the threads now and then: those that end take their counts with them."""
        while not self._stop.wait(_EVERY):
            self._last.update(_threads())

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self.wall = time.perf_counter() - self._started
        self._stop.set()
        self._watch.join()
        self._last.update(_threads())
        used, busy = _used() - self._used, _busy() - self._busy
        ran = waited = 0.0
        for thread, (running, waiting) in self._last.items():
            before = self._first.get(thread, (0.0, 0.0))
            ran += running - before[0]
            waited += waiting - before[1]
        ran = max(ran, used)
        others = min(waited, max(0.0, busy - ran))
        self.seconds = self.wall * (ran / (ran + others) if ran else 1.0)

    @property
    def waited(self) -> float:
        """Share of the time that was spent on waiting for other programs."""
        return 1 - self.seconds / self.wall if self.wall else 0.0


class Others:
    """Share of this machine's processors that other programs used while a block ran.

    It says whether wall times may be those of a busy machine, and takes two looks, unlike `Undisturbed`, which takes
    many.

    Attributes
    ----------
    share : float or None
        None where the system does not tell (other than Linux).
    """

    share: float | None = None

    def __enter__(self) -> Others:
        """Start."""
        self._busy, self._own, self._started = _busy(), _used() + _children(), time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop."""
        room = (time.perf_counter() - self._started) * (os.cpu_count() or 1)
        if (busy := _busy() - self._busy) and room:
            self.share = min(1.0, max(0.0, busy - (_used() + _children() - self._own)) / room)


def _children() -> float:
    """Seconds of processors that children which have not ended, and theirs, have used."""
    import psutil

    total = 0.0
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            times = child.cpu_times()
            total += times.user + times.system
    return total


def _used() -> float:
    """Seconds of processors that this process and children of it that have ended have used."""
    own = os.times()
    return own.user + own.system + own.children_user + own.children_system


def _busy() -> float:
    """Seconds that all processors together were used by anyone since the machine started."""
    try:
        fields = (_PROC / "stat").read_text().split("\n", 1)[0].split()[1:]
        user, nice, system, _, _, irq, soft = map(int, fields[:7])
        return float(user + nice + system + irq + soft) / float(os.sysconf("SC_CLK_TCK"))
    except (OSError, ValueError, AttributeError):  # not Linux
        return 0.0


def _threads() -> dict[tuple[str, str], tuple[float, float]]:
    """Seconds that each thread of this process and of its children has run, and has waited for a processor."""
    found: dict[tuple[str, str], tuple[float, float]] = {}
    if not _PROC.is_dir():
        return found
    import psutil

    process = psutil.Process()
    for number in (process.pid, *(child.pid for child in process.children(recursive=True))):
        for task in (_PROC / str(number) / "task").glob("*/schedstat"):
            try:
                running, waiting, _ = map(int, task.read_text().split())
            except (OSError, ValueError):  # it has ended, or this kernel does not count
                continue
            found[str(number), task.parent.name] = running * 1e-9, waiting * 1e-9
    return found
