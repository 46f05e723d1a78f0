"""The whole study `fashion`, from Parquet to report, ours from an empty cache and `plain_script.py`'s.

    python -m tests.benchmarks.study WORK RECORD [PATIENCE]

`WORK` is a scratch folder: the opponent's stages that it already contains are not repeated. `RECORD` (JSON) is what
`summary.py` reads. Needs ``SHELFBENCH_DATA``. After `PATIENCE` seconds the opponent is stopped, and what it took until
then is the least that it takes.

The opponent's solver of the linear SVM is the faster of the two that `LinearSVC` has on bottlenecks at C = 1e-3; by
default it would take the other. Its seconds are its processor seconds over the number of cores: what it would take if
it used all cores all the time, no more than it really takes. Other work on the machine makes them more: two that stream
through memory wait for each other.
"""

import json
import os
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import pandas as pd
import psutil

from shelfbench.base.storage import file_sha256, write_json
from shelfbench.cost.timing import PeakMemory
from tests.benchmarks.pairs import Row
from tests.benchmarks.plain_script import cpu_seconds

ROW = Row("the study fashion, from Parquet to report", "plain_script.py (processor seconds / cores)", goal=8)
# Processor seconds of an opponent that was stopped which are not counted: its start, and what it kept in files (over
# a gigabyte), take less.
OVERHEAD = 60.0


def cpu_seconds_of(command: list[str], log: Path, patience: float | None) -> float | None:
    """Run a command; None if it ends, else its processor seconds (and its children's) until it was stopped."""
    with open(log, "w", encoding="utf-8") as handle:
        process = psutil.Popen(command, stdout=handle, stderr=handle)
        try:
            if process.wait(patience):
                raise SystemExit(f"the opponent failed: {log}")
            return None
        except psutil.TimeoutExpired:
            process.suspend()  # so that it neither ends its children nor begins others while they are counted
            taken = cpu_seconds(process)
            for each in [*process.children(recursive=True), process]:
                each.kill()
            process.wait()
            return taken


def run(command: list[str], log: Path, **environment: str) -> None:
    with open(log, "w", encoding="utf-8") as handle:
        subprocess.run(command, check=True, stdout=handle, stderr=handle, env=os.environ | environment)


def main(work: Path, record: Path, patience: float | None) -> None:
    data = Path(os.environ["SHELFBENCH_DATA"]) / "fashion"
    number = 1
    while (work / f"cache-{number}").exists():
        number += 1
    script = Path(__file__).with_name("plain_script.py")
    ours, plain = work / f"ours-{number}", work / f"plain-{file_sha256(script)[:12]}"  # another script, other stages
    work.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "shelfbench.cli.main", "run", "fashion", "--quiet", "--out", str(ours)]
    begun = time.perf_counter()
    with PeakMemory().watch() as memory:
        run(command, work / "ours.log", SHELFBENCH_CACHE=str(work / f"cache-{number}"))
    seconds = time.perf_counter() - begun
    kept = plain / "stages.json"
    before = read_json(kept)
    command = [sys.executable, str(script), str(data), str(ours / "split.parquet"), str(plain)]
    stopped = cpu_seconds_of(command, work / "plain.log", patience)
    stages = read_json(kept)
    counted = stages if stopped is None else before
    seconds_of_cpu = sum(stage["cpu_seconds"] for stage in counted.values())
    if stopped is not None:
        seconds_of_cpu += max(0.0, stopped - OVERHEAD)
    least = seconds_of_cpu / psutil.cpu_count()
    row, precision = asdict(ROW), compared(ours, read_json(plain / "precision.json"))
    if stopped is not None:
        row["opponent"] += f", stopped after {patience:,.0f} s"
    write_json(
        record,
        row
        | {
            "ours_s": [seconds],
            "opponent_s": [least],
            "ratio": least / seconds,
            "peak_mib": memory.mib,
            "opponent_stages": stages,
            "test_precision": precision,
            "bound": stopped is not None,
        },
    )
    print(f"{seconds:.0f} s against at least {least:.0f} s: {least / seconds:.1f} times as fast")
    print(pd.DataFrame(precision).T.round(4).to_string())


def read_json(path: Path) -> dict:
    """The contents of a file; empty if it was never written."""
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def compared(ours: Path, theirs: dict[str, float]) -> dict[str, dict[str, float]]:
    """Precision on `test` of the backends that the opponent came to."""
    table = pd.read_csv(ours / "tables" / "table4.csv")
    found = table[table["split"] == "test"].set_index("backend")["precision"]
    return {name: {"ours": float(found[name]), "opponent": theirs[name]} for name in theirs}


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3]) if len(sys.argv) > 3 else None)
