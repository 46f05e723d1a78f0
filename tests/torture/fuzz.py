"""Fuzzed inputs over the parsers: each is read, or refused in one line that names the file, in bounded time and memory.

::

    python -m tests.torture.fuzz --seed 0 --count 1000000 --out results/reliability/fuzz.csv
    python -m tests.torture.fuzz --parser bson --first 4711 --count 1     # one input again

A block of inputs runs in a process of its own, so that an input that ends it (a crash in a library, a hang, memory) is
found and named; the table has a row for each block. Exit code 1 if anything was found.
"""

from __future__ import annotations

import json
import mmap
import os
import random
import resource
import signal
import struct
import sys
import time
import traceback
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from shelfbench.base.errors import ShelfbenchError
from tests.torture.fuzz_targets import TARGETS, Target
from tests.torture.records import Rows, arguments, workplace

BLOCK = 5000
SECONDS = 5.0
"""The longest that one input may take, of the processor."""
MEMORY = 2 << 30
"""What a process may take beyond what it has when it starts."""

# How many of a million inputs go to each parser: those that read thousands a second take the most.
SHARES = {
    "bson": 0.26,
    "set": 0.2,
    "toml": 0.14,
    "tar": 0.09,
    "onnx": 0.09,
    "watch-table": 0.07,
    "json-table": 0.03,
    "table": 0.03,
    "parquet": 0.03,
    "parquet-table": 0.02,
    "decision": 0.02,
    "run-directory": 0.01,
    "workbook": 0.01,
}


class Slow(BaseException):
    """An input takes too long; not an `Exception`, so that no parser catches it."""


def _alarm(number: int, frame: object) -> None:
    raise Slow


def drawn(target: Target, name: str, seed: int, number: int) -> bytes:
    """Draw an input: the same for the same parser, seed and number."""
    rng = random.Random(f"{name} {seed} {number}")
    return target.damage(rng.choice(target.corpus), rng, target.corpus)


def judged(target: Target, data: bytes) -> tuple[str, str]:
    """Read an input.

    Returns
    -------
    tuple of str
        ``read``, ``refused``, or what is wrong, and where.
    """
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        target.read(data)
        return "read", ""
    except ShelfbenchError as error:
        said = str(error)
        if "\n" in said or "\r" in said:
            return "more than one line", said
        if target.places and not any(place in said for place in target.places):
            return "does not name the file", said
        if not error.remedy:
            return "no remedy", said
        return "refused", ""
    except Slow:
        return "slow", _where()
    except BaseException as error:
        return type(error).__name__, _where()
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def _where() -> str:
    """Return the last line of ours on the stack of the error, and what was said."""
    _, error, stack = sys.exc_info()
    frames = traceback.extract_tb(stack)
    ours = [frame for frame in frames if "/shelfbench" in frame.filename and "/tests/" not in frame.filename] or frames
    place = f"{Path(ours[-1].filename).name}:{ours[-1].lineno}"
    return f"{place} {str(error).splitlines()[0][:120] if str(error) else ''}"


def _work(name: str, folder: Path, seed: int, numbers: range, told: mmap.mmap) -> None:
    """Read inputs; write how far it is, and what was found."""
    target = TARGETS[name](folder)
    signal.signal(signal.SIGPROF, _alarm)
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + MEMORY, taken + MEMORY))
    refused = 0
    with open(folder / "found.jsonl", "a", encoding="utf-8") as found:
        for number in numbers:
            struct.pack_into("<qqd", told, 0, number, refused, time.time())
            what, where = judged(target, drawn(target, name, seed, number))
            refused += what == "refused"
            if what not in ("read", "refused"):
                print(json.dumps([number, what, where]), file=found, flush=True)
    struct.pack_into("<qqd", told, 0, numbers.stop, refused, time.time())


def block(name: str, seed: int, numbers: range) -> tuple[int, list[list]]:
    """Read a block of inputs in processes of their own.

    Returns
    -------
    int
        How many were refused.
    list of [int, str, str]
        Findings: the input's number, what is wrong, and where.
    """
    total, findings = 0, []
    told = mmap.mmap(-1, 24)
    while len(numbers):
        struct.pack_into("<qqd", told, 0, numbers.start, 0, time.time() + 60)
        with workplace("fuzz") as folder:
            os.environ["SHELFBENCH_CACHE"] = str(folder / "cache")
            if (child := os.fork()) == 0:
                _in_child(name, folder, seed, numbers, told)
            status = _wait(child, told)
            at, refused, _ = struct.unpack_from("<qqd", told, 0)
            total += refused
            with suppress(FileNotFoundError):
                lines = (folder / "found.jsonl").read_text(encoding="utf-8").splitlines()
                findings += [json.loads(line) for line in lines]
        if at < numbers.stop:
            how = f"signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else f"exit {os.WEXITSTATUS(status)}"
            findings.append([at, "the process ended", how])
            at += 1
        numbers = range(at, numbers.stop)
    return total, findings


def _in_child(name: str, folder: Path, seed: int, numbers: range, told: mmap.mmap) -> NoReturn:
    """Work in a process of its own; warnings of libraries go to nowhere, and a fault of the script is shown."""
    code = 9
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        _work(name, folder, seed, numbers, told)
        code = 0
    except BaseException:
        traceback.print_exc(file=sys.stdout)
        sys.stdout.flush()
    finally:
        os._exit(code)


def _wait(child: int, told: mmap.mmap) -> int:
    """Wait for a process, and end it if an input hangs in a library, where no signal reaches it."""
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return status
        since = struct.unpack_from("<qqd", told, 0)[2]
        if since and time.time() - since > 6 * SECONDS:  # 0 while it is being written
            os.kill(child, signal.SIGKILL)
        time.sleep(0.02)


def main(words: list[str] | None = None) -> int:
    parser = arguments(__doc__ or "", 1_000_000)
    parser.add_argument("--parser", choices=TARGETS, action="append", help="only this one, or these")
    options = parser.parse_args(words)
    rows, found_any = Rows(options.out), False
    names = options.parser or list(TARGETS)
    for name in names:
        with workplace("fuzz") as folder:
            TARGETS[name](folder)  # what it imports is imported once, not by every block
        # the last block of each parser may be a short one
        count = options.count if options.parser else max(1, round(options.count * SHARES[name]))
        for first in range(options.first, options.first + count, BLOCK):
            numbers = range(first, min(first + BLOCK, options.first + count))
            started = time.perf_counter()
            refused, findings = block(name, options.seed, numbers)
            kinds = {f"{what} at {where.partition(' ')[0]}": number for number, what, where in reversed(findings)}
            rows.add(
                parser=name,
                seed=options.seed,
                first=first,
                inputs=len(numbers),
                refused=refused,
                seconds=round(time.perf_counter() - started, 1),
                findings=len(findings),
                kinds="; ".join(f"{kind} (input {number})" for kind, number in kinds.items()),
            )
            for number, what, where in findings[:20] if options.keep else ():
                options.keep.mkdir(parents=True, exist_ok=True)
                with workplace("fuzz") as folder:
                    target = TARGETS[name](folder)
                    (options.keep / f"{name}-{options.seed}-{number}").write_bytes(
                        drawn(target, name, options.seed, number)
                    )
                print(ascii(f"  {name} {number}: {what}: {where}"), flush=True)
            found_any |= bool(findings)
    return int(found_any)


if __name__ == "__main__":
    sys.exit(main())
