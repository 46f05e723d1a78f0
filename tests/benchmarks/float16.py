"""What it changes that features are kept in float16: precision of the same draws of a study with both.

    shelfbench run fashion --seeds 3 --out DIR32  (or results/fashion/draws)
    shelfbench run fashion --seeds 3 --set images.features=float16 --out DIR16
    python -m tests.benchmarks.float16 results/scale/float16.csv DIR32 DIR16

A row is a backend on one part of one draw: its precision with both, how much it changes, in points, and, where both
directories still have their predictions, how many products are predicted differently. Backends that one of them lacks
are left out.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd


def rows(seed: str, whole: Path, half: Path) -> pd.DataFrame:
    """Compare one draw."""
    first, second = (
        pd.read_csv(folder / "tables" / "table4.csv").set_index(["backend", "split"])["precision"]
        for folder in (whole, half)
    )
    found = pd.DataFrame({"float32": first, "float16": second}).dropna().reset_index()
    found.insert(0, "draw", seed)
    found["points"] = (100 * (found["float16"] - found["float32"])).round(3)
    changed = [
        _changed(whole, half, backend).get(split) for backend, split in zip(found.backend, found.split, strict=True)
    ]
    return found.assign(predicted_differently=pd.array(changed, "Int64")).round(5)


def _changed(whole: Path, half: Path, backend: str) -> dict[str, int]:
    paths = [folder / "predictions" / f"{backend}.parquet" for folder in (whole, half)]
    if not all(path.is_file() for path in paths):
        return {}
    first, second = (pd.read_parquet(path).set_index("product_id") for path in paths)
    differs = first["predicted"] != second["predicted"].reindex(first.index)
    return differs.groupby(first["split"]).sum().to_dict()


def main(record: Path, whole: Path, half: Path) -> None:
    seeds = sorted(path.name for path in half.glob("seed-*") if (whole / path.name / "tables").is_dir())
    found = pd.concat([rows(seed.removeprefix("seed-"), whole / seed, half / seed) for seed in seeds])
    found.to_csv(record, index=False)
    mean = found.groupby(["backend", "split"], sort=False)["points"].agg(["mean", "min", "max"])
    print(mean.round(2).to_string())


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
