"""One part of the timings in a process of its own: both the parent's and the child's end.

A part that fails, for example for lack of memory, does not stop the others, and every peak of memory is the part's own.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from shelfbench.base.serving import end_with
from shelfbench.base.storage import load_json, write_json
from shelfbench_deep.timing.settings import TimingSettings

# The reason of a part that was stopped; what it had measured by then is kept.
TIME_UP = "the time was up"
# Seconds that a child gets to end by itself once its time is up.
_GRACE = 10.0
# Its exit code then.
_STOPPED = 75


def measure_in_child(
    part: str, settings: TimingSettings, processes: bool = False, seconds: float = math.inf
) -> dict[str, Any]:
    """Measure a part in a process of its own.

    Parameters
    ----------
    part : str
        ``device``, or one of `TimingSettings.names`.
    settings : TimingSettings
    processes : bool
        Whether photos are decoded in processes rather than threads.
    seconds : float
        After these it stops, wherever it is.

    Returns
    -------
    dict
        ``status`` and the result of `shelfbench_deep.timing.parts.measure_part`, or a ``reason``.
    """
    with tempfile.TemporaryDirectory() as folder:
        answer, errors = Path(folder) / "answer.json", Path(folder) / "stderr"
        # the child finds the code where this process did, installed or not
        paths = [*sys.path, *filter(None, [os.environ.get("PYTHONPATH")])]
        words = [sys.executable, "-m", "shelfbench_deep.timing.child", "--part", part, "--answer", str(answer)]
        words += ["--parent", str(os.getpid())]
        words += ["--settings", json.dumps(asdict(settings)), *(["--processes"] if processes else [])]
        limited = math.isfinite(seconds)
        words += ["--seconds", str(seconds)] if limited else []
        with open(errors, "wb") as stderr:
            try:
                done = subprocess.run(
                    words,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=stderr,
                    env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
                    check=False,
                    timeout=seconds + _GRACE if limited else None,
                )
            except subprocess.TimeoutExpired:
                done = subprocess.CompletedProcess(words, _STOPPED)
        if answer.exists():
            return dict(load_json(answer))
        if done.returncode == _STOPPED:
            return {"status": "failed", "reason": TIME_UP}
        if done.returncode < 0:
            name = signal.Signals(-done.returncode).name
            return {"status": "failed", "reason": f"killed by {name}" + ", out of memory?" * (name == "SIGKILL")}
        last = errors.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
        return {"status": "failed", "reason": f"ended with {done.returncode}: {''.join(last)[:200]}"}


def _stop() -> None:
    """End this process and those that decode for it, whatever they are doing."""
    for decoder in multiprocessing.active_children():
        decoder.kill()
    os._exit(_STOPPED)


def _main() -> None:
    """Measure one part in this process and write the answer."""
    parser = argparse.ArgumentParser("python -m shelfbench_deep.timing.child")
    parser.add_argument("--part", required=True)
    parser.add_argument("--settings", type=json.loads, required=True)
    parser.add_argument("--answer", type=Path, required=True)
    parser.add_argument("--parent", type=int, default=0)
    parser.add_argument("--processes", action="store_true")
    parser.add_argument("--seconds", type=float, default=0.0)
    options = parser.parse_args()
    if options.parent:
        end_with(options.parent, options.answer.parent, _stop)
    if options.seconds:
        watch = threading.Timer(options.seconds, _stop)
        watch.daemon = True
        watch.start()
    values: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in options.settings.items()
    }
    started = time.perf_counter()

    def keep(so_far: dict[str, Any]) -> None:
        write_json(options.answer, {"status": "failed", "reason": TIME_UP, **so_far})

    try:
        from shelfbench_deep.timing.parts import measure_part

        found = measure_part(options.part, TimingSettings(**values), options.processes, keep)
        answer = {"status": "done", **found}
    except Exception as error:  # engines raise all sorts of errors, which affect this part only
        first = (str(error).strip().splitlines() or [""])[0]
        answer = {"status": "failed", "reason": f"{type(error).__name__}: {first}"[:300]}
    write_json(options.answer, answer)
    if os.environ.get("SHELFBENCH_DEBUG"):
        print(f"{options.part}: {time.perf_counter() - started:.1f} s", file=sys.stderr)


if __name__ == "__main__":
    _main()
