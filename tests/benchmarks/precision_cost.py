"""What the precision of the bottlenecks costs: the same study in two precisions, compared product by product.

python -m tests.benchmarks.precision_cost RUNS results/performance/int8 [--run] [--exact bfloat16] [--backends A,B]

`RUNS` is a folder of run directories named ``PRECISION-SEED``; ``--run`` makes those that are missing (the study
`fashion`, ten minutes each on two idle cores with all backends, and two with the first two). For each seed and backend,
``cost.csv`` holds the difference of int8 to the exact precision on tune and test, with the interval of the paired
bootstrap, and on test McNemar's exact test (`shelfbench.verdict.compare`); the record and Table 4 of each run in int8
go beside it.
"""

import argparse
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd

from shelfbench.runs.directory import open_run
from shelfbench.verdict.compare import Contestant, compare

BACKENDS = "bottleneck-svm,bottleneck-2nn-512,bottleneck-2nn-2048,bottleneck-2nn-4096"
SEEDS = (0, 1, 2)


def run(folder: Path, precision: str, seed: int, backends: list[str]) -> None:
    words = [word for name in backends for word in ("--backend", name)]
    chosen = ["--seed", str(seed), "--set", f"bottleneck.precision={precision}", *words]
    subprocess.run(["shelfbench", "run", "fashion", *chosen, "--out", str(folder), "--quiet"], check=True)


def rows(runs: Path, exact: str, seed: int, backend: str) -> list[dict]:
    found = []
    for part in ("tune", "test"):
        sides = []
        for precision in (exact, "int8"):
            products = open_run(runs / f"{precision}-{seed}").products(backend)
            products = products.where(products.role == part if part == "tune" else products.split == part)
            kept = {name: getattr(products, name) for name in ("product_id", "confidence", "correct")}
            sides.append(Contestant(name=precision, threshold=np.nan, **kept))
        [pair] = compare(list(reversed(sides)))
        found.append(
            {
                "seed": seed,
                "backend": backend,
                "part": part,
                "products": pair.products,
                "int8": pair.precision.first,
                exact: pair.precision.second,
                "points": 100 * pair.precision.value,
                "low": 100 * pair.precision.low,
                "high": 100 * pair.precision.high,
                "only_int8": pair.correct.first,
                f"only_{exact}": pair.correct.second,
                "mcnemar_p": pair.correct.p,
                "acceptance_points": 100 * pair.acceptance.value,
            }
        )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--run", action="store_true")
    parser.add_argument("--exact", default="bfloat16")
    parser.add_argument("--backends", default=BACKENDS)
    given = parser.parse_args()
    backends, found = given.backends.split(","), []
    for seed in SEEDS:
        folders = {precision: given.runs / f"{precision}-{seed}" for precision in ("int8", given.exact)}
        for precision, folder in folders.items():
            if given.run:
                run(folder, precision, seed, backends)
        if not all((folder / "run.json").is_file() for folder in folders.values()):
            continue
        for backend in backends:
            found += rows(given.runs, given.exact, seed, backend)
        kept = given.out / (f"seed-{seed}" if seed else "")
        (kept / "tables").mkdir(parents=True, exist_ok=True)
        shutil.copy(folders["int8"] / "run.json", kept)
        for table in folders["int8"].glob("tables/table4.*"):
            shutil.copy(table, kept / "tables")
    table = pd.DataFrame(found)
    table.to_csv(given.out / "cost.csv", index=False, float_format="%.4f")
    print(table.to_string(index=False, float_format="%.4f"))
    print(table.groupby(["part", "backend"])["points"].agg(["mean", "min", "max"]).round(2))


if __name__ == "__main__":
    main()
