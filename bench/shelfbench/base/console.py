"""What a command reports while it works: log lines, warnings and progress on stderr."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from shelfbench.base.screen import is_terminal, printable

# Seconds between two lines of progress where there is no terminal.
EVERY = 10.0


class Bar(Protocol):
    """The part of a progress bar that working code sees."""

    def update(self, n: int = 1) -> object:
        """Count `n` more units as done."""


class _SilentBar:
    def update(self, n: int = 1) -> None:
        """Count nothing."""


class _Lines:
    """A plain line every `EVERY` seconds, for files, pipes and terminals that cannot move their cursor."""

    def __init__(self, total: int, what: str, unit: str) -> None:
        self._total, self._what, self._unit = total, what, unit
        self._done = 0
        self._started = self._told = time.monotonic()
        self._lock = threading.Lock()

    def update(self, n: int = 1) -> None:
        """Count `n` more units as done, and print a line if it is time for one."""
        with self._lock:
            self._done += n
            now = time.monotonic()
            if self._done >= self._total or now - self._told < EVERY:
                return
            self._told = now
            done, took = self._done, now - self._started
        left = f", {_left(took * (self._total - done) / done)} left" if done > 0 else ""
        _write(f"{self._what}: {done:,} of {self._total:,} {self._unit}{left}")


def _left(seconds: float) -> str:
    """Write a rough time: 40 s, 3 min, 2.1 h."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


class Console:
    """Log lines, warnings and progress on stderr; only warnings with `quiet`.

    All that is written is free of control characters, whatever the names in it contain.

    Parameters
    ----------
    quiet : bool
        Show neither log lines nor progress.
    verbose : bool
        Also say how long each stage took, and which files and caches are used.
    """

    def __init__(self, quiet: bool = False, verbose: bool = False) -> None:
        self.quiet = quiet
        self.verbose = verbose and not quiet

    def log(self, message: str) -> None:
        """Print a line, unless quiet.

        Parameters
        ----------
        message : str
        """
        if not self.quiet:
            _write(message)

    def detail(self, message: str) -> None:
        """Print a line if verbose.

        Parameters
        ----------
        message : str
        """
        if self.verbose:
            _write(message)

    def warn(self, message: str) -> None:
        """Print a warning, even if quiet; on a terminal in yellow, unless ``NO_COLOR`` is set.

        Parameters
        ----------
        message : str
        """
        _write(message, "warning: ")

    @contextmanager
    def stage(self, what: str) -> Iterator[None]:
        """Say how long the block took, if verbose.

        Parameters
        ----------
        what : str
            What is done in it, in a few words.

        Yields
        ------
        None
        """
        started = time.perf_counter()
        yield
        self.detail(f"{what}: {time.perf_counter() - started:.1f} s")

    @contextmanager
    def progress(self, total: int, what: str, unit: str = "images") -> Iterator[Bar]:
        """Show progress and an estimate of the time left: a bar on a terminal, elsewhere a line now and then.

        Parameters
        ----------
        total : int
            Number of units of work.
        what : str
            What is being done, in a few words.
        unit : str
            What the units are, in the plural.

        Yields
        ------
        Bar
        """
        if self.quiet or total <= 0:
            yield _SilentBar()
            return
        with self.stage(f"{what}, {total:,} {unit}"):
            if not is_terminal(sys.stderr):
                yield _Lines(total, what, unit)
                return
            from tqdm import tqdm

            with tqdm(
                total=total,
                desc=printable(what),
                unit=f" {unit}",
                file=sys.stderr,
                leave=False,
                delay=1.0,
                mininterval=0.5,
                dynamic_ncols=True,
            ) as bar:
                yield bar


def _write(message: str, label: str = "") -> None:
    if label and is_terminal(sys.stderr) and not os.environ.get("NO_COLOR"):
        label = f"\x1b[33m{label}\x1b[0m"
    line = label + printable(message)
    if sys.stderr is None:  # it has been closed, and print would turn to stdout
        return
    with contextlib.suppress(OSError, ValueError):  # a terminal that is gone, a disk that is full: the work goes on
        if "tqdm" in sys.modules:
            from tqdm import tqdm

            tqdm.write(line, file=sys.stderr)
        else:
            print(line, file=sys.stderr, flush=True)
