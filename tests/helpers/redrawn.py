"""Run directories that look like further draws of the same study."""

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from shelfbench.runs.draws import draw_path, write_draws

_MOVED = ("split", "role")


def redraw(source: Path, path: Path, seed: int, *, own_test: bool = True) -> Path:
    """Copy a run with its products shuffled between the parts, or only between tune and certify."""
    shutil.copytree(source, path, ignore=shutil.ignore_patterns("scores", "figures", "tables", "models", "report.html"))
    role = pq.read_table(source / "split.parquet")["role"].to_numpy(zero_copy_only=False).astype(str)
    rows = np.arange(len(role)) if own_test else np.flatnonzero(np.isin(role, ["tune", "certify"]))
    order = np.arange(len(role))
    order[rows] = np.random.default_rng(seed).permutation(rows)
    for file in [path / "split.parquet", *(path / "predictions").glob("*.parquet")]:
        table = pq.read_table(file)
        for name in _MOVED:
            values = table[name].to_numpy(zero_copy_only=False).astype(str)[order]
            table = table.set_column(table.column_names.index(name), name, pa.array(values))
        pq.write_table(table, file)
    values = json.loads((path / "run.json").read_text())
    values["seed"] = seed
    values["split"]["hash"] = f"hash of seed {seed}"
    (path / "run.json").write_text(json.dumps(values))
    return path


def draws_of(source: Path, folder: Path, seeds: range, *, own_test: bool = True) -> Path:
    """Write a folder of draws that are all done."""
    for seed in seeds:
        redraw(source, draw_path(folder, seed), seed, own_test=own_test)
    write_draws(folder, "shelfbench run --seeds", dict.fromkeys(seeds, ("done", "")))
    return folder
