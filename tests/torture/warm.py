"""Commands in processes that are forked off one that has imported everything: a try costs no start of Python.

A forked process is a session of its own, so that whatever it leaves running is found and counted. The one that forks
has imported modules and computed nothing, so no thread is lost.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import re
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

LONGEST = 600.0
"""Seconds after which a command hangs."""
ORPHANS = 5.0
"""Seconds in which the processes of a killed command have to end."""
# What the command line never says of disks, signals and input, and what Python says of errors that nobody caught.
FORBIDDEN = re.compile(r"Traceback|this is a bug|this is a defect|unexpected \w+:|Exception ignored|Fatal Python")
SIGNALS = {"KILL": signal.SIGKILL, "TERM": signal.SIGTERM, "HUP": signal.SIGHUP, "INT": signal.SIGINT}


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a command ended."""

    code: int
    out: str
    err: str
    seconds: float
    orphans: int

    @property
    def last(self) -> str:
        lines = [line for line in self.err.splitlines() if line.startswith("shelfbench: ")]
        return lines[-1] if lines else ""

    def wrong(self, named: Sequence[str] = ()) -> str:
        """Say what of the outcome nobody may see: a traceback, no line, or one that does not name its file."""
        if found := FORBIDDEN.search(self.err) or FORBIDDEN.search(self.out):
            lines = [line for line in self.err.splitlines() if line.strip()]
            return f"{found.group()}: {lines[-1][:300] if lines else ''}"
        if self.orphans:
            return f"{self.orphans} processes outlive it"
        if self.code in (1, 2):
            said = [line for line in self.err.splitlines() if line.startswith("shelfbench: ")]
            if len(said) != 1:
                return f"exit {self.code} and {len(said)} lines: {self.err[-300:]}"
            if named and not any(name in said[0] for name in named):
                return f"does not name {named[0]}: {said[0][:300]}"
        return ""


@dataclass(frozen=True, kw_only=True)
class Blow:
    """A signal, so many seconds after the start of a command, and perhaps once more."""

    number: int
    after: float
    again: float | None = None


def run(
    words: Sequence[str],
    place: Path,
    *,
    blow: Blow | None = None,
    before: Callable[[], None] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Outcome:
    """Run a command in a folder, forked; its cache and its folder for temporary files are beside it.

    `before` is called in the process of the command.
    """
    told = {name: place.parent / f"{place.name}.{name}" for name in ("out", "err")}
    sys.stdout.flush()
    started = time.monotonic()
    if (child := os.fork()) == 0:
        _child(words, place, told, before, environment or {})
    status = _wait(child, started, blow)
    seconds = time.monotonic() - started
    orphans = _orphans(child)
    code = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
    out, err = (told[name].read_text(encoding="utf-8", errors="replace") for name in ("out", "err"))
    return Outcome(code=code, out=out, err=err, seconds=seconds, orphans=orphans)


def surroundings(place: Path) -> dict[str, str]:
    return {
        "SHELFBENCH_CACHE": str(place / "cache"),
        "TMPDIR": str(place / "tmp"),
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        "MPLBACKEND": "agg",
    }


def _child(
    words: Sequence[str],
    place: Path,
    told: Mapping[str, Path],
    before: Callable[[], None] | None,
    environment: Mapping[str, str],
) -> NoReturn:
    code = 99
    try:
        os.setsid()
        for number, name in ((1, "out"), (2, "err")):
            handle = os.open(told[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
            os.dup2(handle, number)
            os.close(handle)
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 (for as long as the process)
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False, buffering=1)  # noqa: SIM115
        os.chdir(place)
        os.environ.update(surroundings(place) | dict(environment))
        import tempfile

        tempfile.tempdir = None
        if before is not None:
            before()
        sys.argv = ["shelfbench", *words]
        from shelfbench.cli.start import main

        code = main()
        sys.stdout.flush()
    except SystemExit as stop:
        code = int(stop.code or 0)
    except BaseException:
        traceback.print_exc()
    finally:
        with suppress(Exception):
            sys.stderr.flush()
        os._exit(code & 0xFF)


def _wait(child: int, started: float, blow: Blow | None) -> int:
    due = [] if blow is None else [blow.after, *([blow.after + blow.again] if blow.again is not None else [])]
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return status
        now = time.monotonic() - started
        if due and blow is not None and now >= due[0]:
            due.pop(0)
            os.kill(child, blow.number)
        if now > LONGEST:
            os.kill(child, signal.SIGKILL)
        time.sleep(0.002 if due else 0.01)


def _orphans(session: int) -> int:
    """Count what is left of a session 5 s after its first process, and end it."""
    end = time.monotonic() + ORPHANS
    while (left := _members(session)) and time.monotonic() < end:
        time.sleep(0.1)
    for number in left:
        with suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)
    return len(left)


def _members(session: int) -> list[int]:
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with suppress(OSError, IndexError):
                fields = Path("/proc", entry, "stat").read_text().rpartition(")")[2].split()
                if int(fields[3]) == session and fields[0] not in "ZX":
                    found.append(int(entry))
    return found


HEAVY = (
    *(
        "pandas",
        "pyarrow.parquet",
        "pyarrow.compute",
        "pyarrow.dataset",
        "scipy.stats",
        "scipy.optimize",
        "sklearn.svm",
    ),
    *("sklearn.neighbors", "matplotlib.figure", "matplotlib.backends.backend_agg", "matplotlib.backends.backend_svg"),
    *("PIL.JpegImagePlugin", "PIL.PngImagePlugin", "filelock", "msgspec", "psutil", "joblib", "cv2", "skimage.feature"),
    *("tempfile", "multiprocessing.resource_tracker", "safetensors.numpy", "platformdirs", "rich.progress"),
)


def warm_up() -> None:
    """Import what the commands import, networks apart."""
    os.environ.update({name: value for name, value in surroundings(Path()).items() if "NUM_THREADS" in name})
    os.environ["MPLBACKEND"] = "agg"
    ours = []
    for package in ("shelfbench", "shelfbench_baselines"):
        found = importlib.import_module(package)
        ours += [module.name for module in pkgutil.walk_packages(found.__path__, f"{package}.")]
    for name in (*HEAVY, *ours):
        with suppress(ImportError):
            importlib.import_module(name)
