"""The whole study `fashion`, from Parquet to report, ours from an empty cache and `plain_script.py`'s.

    python tests/benchmarks/study.py WORK RECORD

`WORK` is a scratch folder: the opponent's stages that it already holds are not run again. `RECORD` (JSON) is what
`summary.py` reads. Needs ``SHELFBENCH_DATA``.

The opponent's seconds are its processor seconds over the number of cores: what it would take if it used all cores
all the time, no more than it really takes. Other work on the machine makes them more: two that stream through memory
wait for each other.
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
from pairs import Row

from bench.storage import write_json
from bench.timing import PeakMemory

ROW = Row("the study fashion, from Parquet to report", "plain_script.py (processor seconds / cores)", goal=8)


def run(command: list[str], log: Path, **environment: str) -> None:
    with open(log, "w", encoding="utf-8") as handle:
        subprocess.run(command, check=True, stdout=handle, stderr=handle, env=os.environ | environment)


def main(work: Path, record: Path) -> None:
    data = Path(os.environ["SHELFBENCH_DATA"]) / "fashion"
    number = 1
    while (work / f"cache-{number}").exists():
        number += 1
    ours, plain = work / f"ours-{number}", work / "plain"
    work.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "bench.cli", "run", "fashion", "--quiet", "--out", str(ours)]
    begun = time.perf_counter()
    with PeakMemory().watch() as memory:
        run(command, work / "ours.log", SHELFBENCH_CACHE=str(work / f"cache-{number}"))
    seconds = time.perf_counter() - begun
    script = Path(__file__).with_name("plain_script.py")
    run([sys.executable, str(script), str(data), str(ours / "split.parquet"), str(plain)], work / "plain.log")
    stages = json.loads((plain / "stages.json").read_text(encoding="utf-8"))
    least = sum(stage["cpu_seconds"] for stage in stages.values()) / psutil.cpu_count()
    theirs = pd.read_csv(plain / "table.csv").set_index("backend")
    table = pd.read_csv(ours / "tables" / "table4.csv")
    found = table[table["split"] == "test"].set_index("backend")
    precision = {
        name: {"ours": found.loc[name, "precision"], "opponent": theirs.loc[name, "precision"]} for name in theirs.index
    }
    write_json(
        record,
        asdict(ROW)
        | {
            "ours_s": [seconds],
            "opponent_s": [least],
            "ratio": least / seconds,
            "floor_ratio": 0.0,
            "peak_mib": memory.mib,
            "opponent_stages": stages,
            "test_precision": precision,
        },
    )
    print(f"{seconds:.0f} s against at least {least:.0f} s: {least / seconds:.1f} times as fast")
    print(pd.DataFrame(precision).T.round(4).to_string())


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:3]))
