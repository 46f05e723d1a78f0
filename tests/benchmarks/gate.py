"""The speed gate: the working tree against the commit that it started from, on this machine, now.

    python -m tests.benchmarks.gate [--base REV] [--slow-down SHARE] [--row TEXT] [--minutes MINUTES]

The base commit is checked out beside the working tree. Each row of `rows.py` runs in two processes, one for each side,
which are timed in turn; a row fails where the whole interval of the paired ratio says slower by more than 10%, twice,
the second time in new processes. Numbers go to ``benchmarks/gate.csv``.

Exit codes: 0 nothing is slower; 1 a row is slower, or fails on the working tree; 2 wrong input; 3 nothing is slower,
but a row could not be compared, because the base lacks it.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import astuple
from pathlib import Path

import pandas as pd

from tests.benchmarks.paired import LIMIT, Interval, Outcome, decide, one_launch
from tests.benchmarks.rows import ROWS, write_shared

ROOT = Path(__file__).resolve().parents[2]
OUT = ROOT / "benchmarks"
# Seconds that a turn lasts at least, by repetition, and after which a launch takes no more turns.
TURN, LAUNCH = 0.25, 20.0
# Minutes after which an unclear row is let pass, not measured again: the whole takes some eight, whatever else runs.
MINUTES = 7.0
COLUMNS = ["row", "verdict", "launch", "ratio", "low", "high", "pairs"]


VERDICTS = {
    "slower": f"slower by more than {LIMIT:.0%}, twice",
    "failed": "failed on the working tree",
    "not compared": "not compared",
    "unclear": "too noisy to say, and let pass",
}


class LacksError(Exception):
    """The code that is measured does not have what a row needs, or fails at it."""


class FailsError(Exception):
    """The working tree fails at a row."""


class Side:
    """A process that keeps a row ready, and times it.

    Parameters
    ----------
    checkout : Path
        Whose code is measured.
    row : str
    folder : Path
        For what the row writes.
    slow_down : float
        Share of its own time by which it is made slower, to see that the gate shuts.
    """

    def __init__(self, checkout: Path, row: str, folder: Path, slow_down: float = 0.0) -> None:
        folder.mkdir()
        self._log = folder / "log"
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join(map(str, roots(checkout))),
            "SHELFBENCH_CACHE": str(folder / "cache"),
            "TF_CPP_MIN_LOG_LEVEL": "3",
        }
        arguments = ["-m", "tests.benchmarks.rows", row, str(folder), str(checkout), str(slow_down)]
        with open(self._log, "w") as log:
            self._process = subprocess.Popen(
                [sys.executable, *arguments],
                cwd=ROOT,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )

    def answer(self, key: str) -> float:
        """The next answer of the process.

        Parameters
        ----------
        key : str
            What is asked for.

        Returns
        -------
        float

        Raises
        ------
        LacksError
            If the code that is measured lacks the row, or fails at it.
        """
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._process.wait()
            said = self._log.read_text(errors="replace").strip().splitlines() or ["nothing"]
            raise LacksError(f"it stopped: {said[-1]}")
        found = json.loads(line)
        if "lacks" in found:
            raise LacksError(f"it has no {found['lacks']}")
        return float(found[key])

    def seconds(self, times: int) -> float:
        """Seconds of a number of repetitions."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{times}\n")
        self._process.stdin.flush()
        return self.answer("seconds")

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()


def roots(checkout: Path) -> list[Path]:
    """Folders of a checkout that packages are imported from: its top in commits that had ``bench`` as a package."""
    found = [checkout / name for name in ("bench", "baselines", "deep")]
    return [root for root in found if any(root.glob("shelfbench*/__init__.py"))] or [checkout]


def launch(row: str, base: Path, slow_down: float, deadline: float) -> Interval:
    """Measure a row in new processes.

    Parameters
    ----------
    row : str
    base : Path
        Checkout of the base commit.
    slow_down : float
    deadline : float
        Of the monotonic clock.

    Returns
    -------
    Interval

    Raises
    ------
    FailsError
        If the working tree fails at it.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="shelfbench-gate-")))
        write_shared(row, folder)
        ours, theirs = Side(ROOT, row, folder / "ours", slow_down), Side(base, row, folder / "base")
        stack.callback(ours.close)
        stack.callback(theirs.close)
        try:
            mine = ours.answer("ready")
        except LacksError as error:
            raise FailsError(str(error)) from None
        times = math.ceil(TURN / min(mine, theirs.answer("ready")))
        deadline = min(deadline, time.monotonic() + LAUNCH)

        def pair(ours_first: bool) -> tuple[float, float]:
            if ours_first:
                return ours.seconds(times), theirs.seconds(times)
            other = theirs.seconds(times)
            return ours.seconds(times), other

        return one_launch(pair, lambda: time.monotonic() > deadline)


def outcome_of(row: str, base: Path, slow_down: float, deadline: float = math.inf) -> Outcome:
    """What a row comes to, printed as it is found.

    Parameters
    ----------
    row : str
    base : Path
        Checkout of the base commit.
    slow_down : float
    deadline : float
        Of the monotonic clock: after it, no more time is spent on a row than it takes to find it fine or slower.

    Returns
    -------
    Outcome
    """
    begun = time.monotonic()
    try:
        outcome = decide(lambda: launch(row, base, slow_down, deadline), lambda: time.monotonic() < deadline)
        said = [f"{one.ratio:.3f} ({one.low:.3f} to {one.high:.3f}, {one.pairs} pairs)" for one in outcome.launches]
    except LacksError as error:
        outcome, said = Outcome("not compared", ()), [f"nothing to compare, the base lacks it: {error}"]
    except FailsError as error:
        outcome, said = Outcome("failed", ()), [f"on the working tree, {error}"]
    print(f"{row:32} {outcome.verdict:12} {'; '.join(said)}; {time.monotonic() - begun:.0f} s", flush=True)
    return outcome


def git(*arguments: str) -> str:
    """What a git command prints.

    Parameters
    ----------
    *arguments : str

    Returns
    -------
    str

    Raises
    ------
    subprocess.CalledProcessError
        If it fails.
    """
    found = subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True)
    return found.stdout.strip()


def base_commit() -> str:
    """The commit that the working tree is compared with.

    Returns
    -------
    str
        The merge base with main; where that is the present commit and nothing else was changed, the one before it.

    Raises
    ------
    SystemExit
        If there is no branch called main, or the history does not reach back far enough.
    """
    for branch in ("origin/main", "main"):
        try:
            base = git("merge-base", "HEAD", branch)
            if base == git("rev-parse", "HEAD") and not git("status", "--porcelain", "--untracked-files=no"):
                base = git("rev-parse", "HEAD^")
        except subprocess.CalledProcessError:
            continue
        return base
    raise SystemExit("no commit to compare with: name one with --base, and fetch the history (fetch-depth: 0)")


@contextmanager
def checkout(revision: str) -> Iterator[Path]:
    """A worktree of a commit next to the working tree, removed at the end."""
    folder = OUT / "base"
    if folder.exists():  # a gate that was stopped
        shutil.rmtree(folder)
    git("worktree", "prune")
    try:
        git("worktree", "add", "--detach", "--force", str(folder), revision)
    except subprocess.CalledProcessError as error:
        print(error.stderr.strip(), file=sys.stderr)
        raise SystemExit(2) from None
    try:
        yield folder
    finally:
        git("worktree", "remove", "--force", str(folder))


def table(outcomes: dict[str, Outcome]) -> pd.DataFrame:
    """One row for each launch, and one for each row that had none."""
    lines = [
        (row, outcome.verdict, number, *(astuple(found) if found else (None,) * 4))
        for row, outcome in outcomes.items()
        for number, found in enumerate(outcome.launches or (None,), 1)
    ]
    return pd.DataFrame(lines, columns=COLUMNS)


def exit_code(outcomes: dict[str, Outcome]) -> int:
    """1 where a row is slower or fails, 3 where one could not be compared, 0 otherwise; said on the last lines."""
    rows = {verdict: [row for row, one in outcomes.items() if one.verdict == verdict] for verdict in VERDICTS}
    for verdict, what in VERDICTS.items():
        if rows[verdict]:
            print(f"{what}: {'; '.join(rows[verdict])}")
    if rows["slower"] or rows["failed"]:
        return 1
    return 3 if rows["not compared"] else 0


def main(arguments: list[str]) -> int:
    """Measure the rows that are asked for."""
    parser = argparse.ArgumentParser(prog="nox -s regress --", description="The working tree against the code before.")
    parser.add_argument("--base", metavar="REV", help="commit to compare with (default: the merge base with main)")
    parser.add_argument(
        "--slow-down", type=float, default=0.0, metavar="SHARE", help="make ours slower, to see it found"
    )
    parser.add_argument("--row", action="append", metavar="TEXT", help="only rows whose name holds TEXT")
    parser.add_argument(
        "--minutes", type=float, default=MINUTES, help="after so many, unclear rows are let pass (default: %(default)g)"
    )
    options = parser.parse_args(arguments)
    wanted = [row for row in ROWS if not options.row or any(text in row for text in options.row)]
    if not wanted:
        parser.error(f"no row contains {options.row}; there are: {'; '.join(ROWS)}")
    revision = options.base or base_commit()
    begun = time.monotonic()
    deadline = begun + 60 * options.minutes
    OUT.mkdir(exist_ok=True)
    with checkout(revision) as base:
        print(
            f"against {git('log', '-1', '--format=%h %s', revision)}: seconds of ours / seconds of the base", flush=True
        )
        outcomes = {row: outcome_of(row, base, options.slow_down, deadline) for row in wanted}
    table(outcomes).to_csv(OUT / "gate.csv", index=False)
    print(f"{time.monotonic() - begun:.0f} s; numbers in {OUT / 'gate.csv'}")
    return exit_code(outcomes)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
