"""Is a quick choice right, and how much of the full study's time does it take?

``python tests/benchmarks/choose.py FILE.csv`` draws `fashion` (if ``$SHELFBENCH_DATA`` has it) and generated catalogues
ten times each; a draw is a seed of split, training and, for a generated catalogue, its photos. For each, it makes the
choice and runs the full study, every one in a process of its own, and writes a row; ``--draws 0 1 2`` and ``--data
fashion`` do fewer. A file that is already there is continued.

Seconds are processor seconds of the process and its children, by the number of cores, so that the machine may be busy.
Features count in both at what they took when they were computed, which the store knows; page and opening the data count
in neither. `verdict` is ``winner`` if the choice is the backend that the full study's page names, ``tied`` if that page
says that it is as good within noise (the 95% interval of the paired difference in acceptance at a precision of 0.9 on
tune contains 0), ``inside`` if its acceptance is at least inside the winner's own interval, or else ``wrong``.
"""

import argparse
import csv
import json
import subprocess
import sys
import tempfile
import types
from pathlib import Path

import psutil

BUDGET = "15%"
# Large enough that 15% of the time is more than starting the libraries takes.
CATALOGUE = {"products": 40_000, "pixels": 96, "max_photos": 1}
COLUMNS = (
    *("data", "draw", "winner", "acceptance", "low", "high", "choice", "choice_acceptance", "verdict", "ties"),
    *("parts", "seconds", "full_seconds", "share", "estimated_share"),
)


def options(data, draw):
    """Return the study and the settings of a draw."""
    settings = {"report.near_duplicates": "off", "report.pictures": False}
    if data == "fashion":
        return "fashion", settings
    return "default", settings | {f"generated.{key}": value for key, value in {**CATALOGUE, "seed": draw}.items()}


def processor():
    """Processor seconds of this process and its children, by core."""
    from shelfbench.base.processor import cores

    process = psutil.Process()
    own = process.cpu_times()
    total = own.user + own.system + own.children_user + own.children_system
    for child in process.children(recursive=True):
        times = child.cpu_times()
        total += times.user + times.system
    return total / cores()


def count_processor_seconds():
    """Let stages and the feature store count processor seconds."""
    import shelfbench.cost.timing
    import shelfbench.data.feature_store

    for module in (shelfbench.cost.timing, shelfbench.data.feature_store):
        module.time = types.SimpleNamespace(perf_counter=processor)


def choose(data, draw):
    """Make the choice of a draw."""
    import shelfbench
    from shelfbench.runs.choosing import choose_quickly
    from shelfbench.runs.quick_choice import Budget

    study, settings = options(data, draw)
    chosen = shelfbench.load_study(study, seed=draw, settings=settings)
    found = choose_quickly(chosen, Budget.read(BUDGET), workers=2, clock=processor)
    return {
        "choice": found.winner,
        "ties": " ".join(found.ties),
        "parts": " ".join(str(timed.standing.products) for timed in found.rounds),
        "seconds": round(found.seconds, 1),
        "estimated_share": round(found.share, 3),
    }


def full(data, draw, choice):
    """Run the full study of a draw, and judge the choice by it."""
    import pandas as pd

    import shelfbench
    import shelfbench.experiments
    from shelfbench.verdict.intervals import bootstrap_intervals
    from shelfbench.verdict.metrics import acceptance

    study, settings = options(data, draw)
    with tempfile.TemporaryDirectory() as place:
        chosen = shelfbench.load_study(study, seed=draw, settings=settings)
        out = Path(place) / "run"
        shelfbench.experiments._report_comparison = lambda *_: ""  # what is compared is what comes before the page
        shelfbench.experiments.run_study(chosen, out=out, workers=2)
        run = shelfbench.load_run(out)
        times = pd.read_parquet(out / "timings.parquet")
        times = times[times["epoch"] == 0]
        extracted = times[times["stage"] == "extract"].groupby(["backbone", "pixels"])["seconds"].first()
        seconds = times.loc[times["stage"] != "extract", "seconds"].sum() + extracted.sum()
        verdict = run.verdict
        tune = {}
        for name in {verdict.backend, choice}:
            products = run.products(name)
            part = products.where(products.role == "tune")
            tune[name] = (part.confidence, part.correct)
        interval = bootstrap_intervals(*tune[verdict.backend]).acceptance
        own = acceptance(*tune[choice]).acceptance
        rivals = {rival.backend for rival in verdict.rivals}
        kinds = {"winner": choice == verdict.backend, "tied": choice in rivals, "inside": own >= interval.low}
        return {
            "winner": verdict.backend,
            "acceptance": round(verdict.chosen_at, 4),
            "low": round(interval.low, 4),
            "high": round(interval.high, 4),
            "choice_acceptance": round(own, 4),
            "verdict": next((kind for kind, holds in kinds.items() if holds), "wrong"),
            "full_seconds": round(float(seconds), 1),
        }


def apart(*words):
    """Do a part of a draw in a process of its own, and return what it found."""
    done = subprocess.run(
        [sys.executable, __file__, "--apart", *map(str, words)], stdout=subprocess.PIPE, text=True, check=True
    )
    return json.loads(done.stdout.splitlines()[-1])


def measure(path, data, draws):
    """Write a row for each draw that the file lacks."""
    rows = []
    if path.exists():
        with open(path, newline="", encoding="utf-8") as handle:
            rows = list(csv.DictReader(handle))
    for kind in data:
        for draw in draws:
            if any(row["data"] == kind and row["draw"] == str(draw) for row in rows):
                continue
            found = apart("choose", kind, draw)
            found |= apart("full", kind, draw, found["choice"])
            found["share"] = round(found["seconds"] / found["full_seconds"], 3)
            rows.append({"data": kind, "draw": draw, **found})
            with open(path, "w", newline="", encoding="utf-8") as handle:
                writer = csv.DictWriter(handle, COLUMNS, lineterminator="\n")
                writer.writeheader()
                writer.writerows(rows)
            print(rows[-1], flush=True)
    return rows


def summary(rows):
    """Say how often the choice was right, and what it took."""
    for kind in dict.fromkeys(row["data"] for row in rows):
        own = [row for row in rows if row["data"] == kind]
        verdicts = [row["verdict"] for row in own]
        shares = sorted(float(row["share"]) for row in own)
        said = ", ".join(f"{verdicts.count(name)} {name}" for name in dict.fromkeys(verdicts))
        yield f"{kind}: {len(own)} draws: {said}; share of time {shares[0]:.1%} to {shares[-1]:.1%}"


def main():
    """Read the command line."""
    if sys.argv[1:2] == ["--apart"]:
        count_processor_seconds()
        what, kind, draw, *more = sys.argv[2:]
        print(json.dumps(choose(kind, int(draw)) if what == "choose" else full(kind, int(draw), *more)))
        return
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("path", type=Path)
    parser.add_argument("--draws", type=int, nargs="+", default=list(range(10)))
    parser.add_argument("--data", nargs="+", default=["generated", "fashion"], choices=["generated", "fashion"])
    given = parser.parse_args()
    print("\n".join(summary(measure(given.path, given.data, given.draws))))


if __name__ == "__main__":
    main()
