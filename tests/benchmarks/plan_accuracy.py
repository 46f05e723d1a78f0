"""How near a plan comes to the run that follows it: seconds by stage and in all, memory and disk.

    SHELFBENCH_DATA=DIR python -m tests.benchmarks.plan_accuracy results/scale/plan.csv --case fashion

plans a study with an empty cache, runs it, and writes a row for each backend and stage, for what is done besides the
backends, and for the whole; then the same again with the features that are in the cache by now (``fashion, warm``).
The cases are ``fashion`` (`$SHELFBENCH_DATA/fashion`), ``default`` (whose catalogue is drawn first) and ``generated``:
100,000 generated products with one photo of 32 px each in 64 categories, HOG of 324 numbers, one C, one epoch. Plan
and run are processes of their own, as a user starts them. Seconds of the run are wall seconds, and for the whole
also those without the time in which its threads waited for other programs, which a plan takes off as well.
``--against results/fashion`` sets the plan beside a run that was made on an idle machine.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd

from shelfbench.cost.timing import PeakMemory
from shelfbench.cost.undisturbed import Undisturbed

COLUMNS = ("case", "part", "stage", "planned", "taken", "ratio", "unit")
STAGES = ("tune", "extract", "fit", "predict")
SMALL = {
    "generated.products": 100_000,
    "generated.pixels": 32,
    "generated.max_photos": 1,
    "hog.pixels": 32,
    "hog.cells": 8,
    "svm.C": "[0.01]",
    "pixels": 32,
    "two_layer.epochs": 1,
}
CASES: dict[str, tuple[str, dict[str, Any], tuple[str, ...]]] = {
    "fashion": ("fashion", {}, ()),
    "default": ("default", {}, ()),
    "generated": ("default", SMALL, ("hog-svm", "bottleneck-2nn-512")),
}
_PLANNING = """
import json, sys, shelfbench
study, settings, backends = json.loads(sys.argv[1])
plan = shelfbench.plan(study, settings=settings, backends=backends or None)
print(plan, file=sys.stderr)
rows = plan.table.to_dict("records")
parts = [*rows, *plan.stages_table.to_dict("records")]
print(json.dumps({"backends": rows, "seconds": plan.seconds(), "peak": plan.peak_mib,
    "stages": plan.stages_table.to_dict("records"), "disk": sum(part["disk_mib"] for part in parts)}))
"""


def main() -> None:
    """Plan and run a case, cold and warm."""
    parser = argparse.ArgumentParser(description="How near a plan comes to the run that follows it.")
    parser.add_argument("record", type=Path)
    parser.add_argument("--case", choices=tuple(CASES), required=True)
    parser.add_argument("--cold-only", action="store_true", help="leave out the second run, with features there")
    parser.add_argument(
        "--against", type=Path, metavar="RUN", help="run nothing: set the plan in the record beside RUN"
    )
    options = parser.parse_args()
    if options.against:
        against(options.record, options.case, options.against)
        return
    with tempfile.TemporaryDirectory(prefix="plan-accuracy-") as folder:
        for name in ("cold",) if options.cold_only else ("cold", "warm"):
            compare(options.record, options.case, name, Path(folder))


def compare(record: Path, case: str, name: str, folder: Path) -> None:
    """Plan, run, and write rows."""
    study, settings, backends = CASES[case]
    around = dict(os.environ, SHELFBENCH_CACHE=str(folder / "cache"))
    given = {key: json.loads(value) if isinstance(value, str) else value for key, value in settings.items()}
    words = [sys.executable, "-c", _PLANNING, json.dumps([study, given, list(backends)])]
    begun = time.perf_counter()
    planned = json.loads(subprocess.run(words, env=around, stdout=subprocess.PIPE, check=True).stdout.splitlines()[-1])
    planning = time.perf_counter() - begun
    out, before = folder / name, _mib(folder / "cache")
    words = [str(Path(sys.executable).with_name("shelfbench")), "run", study, "--out", str(out), "--verbose"]
    for key, value in settings.items():
        words += ["--set", f"{key}={value}"]
    for backend in backends:
        words += ["--backend", backend]
    begun = time.perf_counter()
    with PeakMemory().watch() as memory, Undisturbed() as alone:
        subprocess.run(words, env=around, check=True)
    taken = time.perf_counter() - begun
    rows, known = [], 0.0
    timings = pd.read_parquet(out / "timings.parquet")
    timings = timings[(timings["epoch"] == 0) & ~timings["cached"]]
    for found in planned["backends"]:
        own = timings[timings["backend"] == found["name"]].set_index("stage")["seconds"].to_dict()
        for stage in STAGES:
            if stage in own or found[stage]:
                seconds = own.get(stage, 0.0)
                known += seconds
                rows.append((found["name"], stage, found[stage], seconds, "s"))
    rows += [(found["name"], "planned only", found["seconds"], None, "s") for found in planned["stages"]]
    besides = sum(found["seconds"] for found in planned["stages"])
    rows.append(("besides the backends", "", besides, taken - known, "s"))
    rows.append(("all", "", planned["seconds"], taken, "s"))
    rows.append(("all", "without the time it waited for others", planned["seconds"], alone.seconds, "s"))
    rows.append(("all", "peak memory", planned["peak"], memory.mib, "MiB"))
    rows.append(("all", "disk", planned["disk"], _mib(folder / "cache") - before + _mib(out), "MiB"))
    rows.append(("the plan itself", "", None, planning, "s"))
    _write(record, f"{case}, {name}", rows)


def against(record: Path, case: str, run: Path) -> None:
    """Set the plan that a cold case has in the record beside a finished run of the same study, made elsewhen."""
    planned = pd.read_csv(record, keep_default_na=False)
    planned = planned[planned["case"] == f"{case}, cold"].set_index(["part", "stage"])["planned"]
    timings = pd.read_parquet(run / "timings.parquet")
    timings = timings[(timings["epoch"] == 0) & ~timings["cached"]]
    rows = [
        (row.backend, row.stage, float(planned[row.backend, row.stage]), row.seconds, "s")
        for row in timings.itertuples()
    ]
    entry = json.loads((run / "run.json").read_text(encoding="utf-8"))
    begun, ended = (datetime.fromisoformat(entry[name]) for name in ("started", "finished"))
    taken = (ended - begun).total_seconds()
    besides = taken - sum(row[3] for row in rows)
    rows.append(("besides the backends", "", float(planned["besides the backends", ""]), besides, "s"))
    rows.append(("all", "", float(planned["all", ""]), taken, "s"))
    _write(record, f"{case}, {run.as_posix()}", rows)


def _write(record: Path, case: str, rows: list[tuple[Any, ...]]) -> None:
    new = not record.exists()
    record.parent.mkdir(parents=True, exist_ok=True)
    with open(record, "a", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        if new:
            writer.writerow(COLUMNS)
        for part, stage, foretold, seconds, unit in rows:
            known = foretold is not None and bool(seconds)
            ratio = round(foretold / seconds, 3) if known else None
            shown = [None if value is None else round(value, 2) for value in (foretold, seconds)]
            writer.writerow((case, part, stage, *shown, ratio, unit))
            print(case, part, stage, *shown, ratio, unit, flush=True)


def _mib(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 2**20


if __name__ == "__main__":
    main()
