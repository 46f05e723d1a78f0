"""What a command reports while it works: log lines and progress bars on stderr."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class Bar(Protocol):
    """The part of a progress bar that working code sees."""

    def update(self, n: int = 1) -> object:
        """Count `n` more units as done."""


class _SilentBar:
    def update(self, n: int = 1) -> None:
        """Count nothing."""


class Console:
    """Log lines and progress bars on stderr; only warnings with `quiet`.

    Parameters
    ----------
    quiet : bool
        Show neither log lines nor progress bars.
    """

    def __init__(self, quiet: bool = False) -> None:
        self.quiet = quiet

    def log(self, message: str) -> None:
        """Print a line, unless quiet.

        Parameters
        ----------
        message : str
        """
        if not self.quiet:
            self._write(message)

    def warn(self, message: str) -> None:
        """Print a warning, even if quiet.

        Parameters
        ----------
        message : str
        """
        self._write(f"warning: {message}")

    @contextmanager
    def progress(self, total: int, what: str, unit: str = "images") -> Iterator[Bar]:
        """Show a progress bar with an estimate of the time left.

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
        from tqdm import tqdm

        with tqdm(
            total=total,
            desc=what,
            unit=f" {unit}",
            file=sys.stderr,
            leave=False,
            delay=1.0,
            mininterval=0.5,
            dynamic_ncols=True,
        ) as bar:
            yield bar

    @staticmethod
    def _write(message: str) -> None:
        if "tqdm" in sys.modules:
            from tqdm import tqdm

            tqdm.write(message, file=sys.stderr)
        else:
            print(message, file=sys.stderr, flush=True)
