"""What a run says while it works: logs and progress bars on stderr."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class Bar(Protocol):
    """The part of a progress bar that workers see."""

    def update(self, n: int = 1) -> object:
        """Count `n` more units as done."""


class _SilentBar:
    def update(self, n: int = 1) -> None:
        """Count nothing."""


class Console:
    """Logs and progress on stderr; silent with `quiet`, except for warnings.

    Parameters
    ----------
    quiet : bool
        Show neither logs nor progress bars.
    """

    def __init__(self, quiet: bool = False) -> None:
        self.quiet = quiet

    def log(self, message: str) -> None:
        """Print one line of progress."""
        if not self.quiet:
            self._write(message)

    def warn(self, message: str) -> None:
        """Print one line that matters even to those who asked for quiet."""
        self._write(f"warning: {message}")

    @contextmanager
    def progress(self, total: int, what: str, unit: str = "images") -> Iterator[Bar]:
        """Show a bar with an estimate of the time left.

        Parameters
        ----------
        total : int
            Units of work in all.
        what : str
            What is being done, in a few words.
        unit : str
            Name of one unit, in the plural.
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
