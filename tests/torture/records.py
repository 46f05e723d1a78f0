"""What all attacks share: arguments, and rows that are appended to a table as they are found."""

from __future__ import annotations

import argparse
import csv
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.helpers.sources import ROOT

HELD = "held"
"""The outcome of a try that ended as promised."""


def arguments(about: str, count: int) -> argparse.ArgumentParser:
    """Return the options of an attack: its seed, its count, and where its rows go."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0, help="the same seed draws the same tries")
    parser.add_argument("--count", type=int, default=count, help=f"number of tries; default: {count}")
    parser.add_argument("--first", type=int, default=0, help="number of the first try, to go on or to repeat one")
    parser.add_argument("--out", type=Path, help="table to which a row is added for each try")
    parser.add_argument("--keep", type=Path, help="folder to keep what a failed try leaves")
    return parser


def commit() -> str:
    """Return the commit of the working tree, with a plus if something is not committed."""
    command = ["git", "describe", "--always", "--dirty=+", "--abbrev=9"]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return told.stdout.strip() or "unknown"


def _printable(value: Any) -> Any:
    """Write half a character of a damaged text as Python would."""
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value


class Rows:
    """A table that grows by a row at a time.

    Parameters
    ----------
    path : Path or None
        None to keep no table.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._commit = commit()

    def add(self, **row: Any) -> None:
        """Append a row, and say it."""
        row = {name: _printable(value) for name, value in row.items()} | {"commit": self._commit}
        print(" ".join(str(value) for name, value in row.items() if name != "commit"), flush=True)
        if self._path is None:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        new = not self._path.exists()
        with open(self._path, "a", newline="", encoding="utf-8") as handle:
            writer = csv.DictWriter(handle, list(row), lineterminator="\n")
            if new:
                writer.writeheader()
            writer.writerow(row)


@contextmanager
def workplace(prefix: str) -> Iterator[Path]:
    """Make a folder for a script, and remove it at the end."""
    place = Path(tempfile.mkdtemp(prefix=f"shelfbench-{prefix}-"))
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)
