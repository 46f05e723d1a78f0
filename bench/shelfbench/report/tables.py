"""Tables 1, 2 and 4 of C and what stands behind them, from a run directory."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from shelfbench.base.console import Console
from shelfbench.base.grid import MISSING, Grid, count, share
from shelfbench.report.claims import load_claims
from shelfbench.report.render import write_forms
from shelfbench.report.table4 import table4_grid
from shelfbench.runs.directory import Run, labels, open_run
from shelfbench.runs.frames import suffix
from shelfbench.runs.reading import SPLITS
from shelfbench.verdict.metrics import REQUIRED, exact_target


def write_tables(
    run_dir: Path | Run, targets: Sequence[str] = (REQUIRED,), console: Console | None = None
) -> pd.DataFrame:
    """Write every table of a run, as CSV, Markdown and LaTeX, into ``tables``.

    Parameters
    ----------
    run_dir : Path or Run
        A run directory with predictions.
    targets : sequence of str
        Required precisions for ``metrics``; 0.9 is always among them.
    console : Console, optional

    Returns
    -------
    DataFrame
        Table 4, one row a backend and split, with the columns of ``table4.csv``.

    Raises
    ------
    InputError
        If the directory holds no predictions, or a file in it is damaged (it is named).
    """
    console = console or Console(quiet=True)
    run = open_run(run_dir)
    wanted = sorted({exact_target(target) for target in (REQUIRED, *targets)})
    found = run.evaluate(wanted, console)
    table = found.table4
    write_table(run.path, "table1", _table1_frame(run.record), table1_grid(run.record))
    write_table(run.path, "table2", _table2_frame(run.record), table2_grid(run.record))
    write_table(run.path, "metrics", found.metrics, metrics_grid(run, found.metrics, wanted))
    write_table(run.path, "deciles", found.deciles, deciles_grid(run, found.deciles))
    write_table(run.path, "table4", table, table4_grid(table, run.record))
    return table


def write_table(run_dir: Path, name: str, frame: pd.DataFrame, grid: Grid) -> None:
    """Write a table into ``tables`` as CSV, Markdown and LaTeX."""
    write_forms(run_dir / "tables", name, frame, grid)


def _table1_frame(record: dict[str, Any]) -> pd.DataFrame:
    paper = {claim.value["split"]: claim.value for claim in load_claims().values() if "images" in claim.value}
    sizes = record.get("split", {})
    ours = ("products", "images", "categories")
    rows = [
        {
            "split": split,
            **{key: sizes.get(split, {}).get(key) for key in ours},
            "paper_images": paper[split]["images"],
            "paper_categories": paper[split]["categories"],
        }
        for split in SPLITS
    ]
    return pd.DataFrame(rows).astype(dict.fromkeys(ours, "Int64"))


def table1_grid(record: dict[str, Any]) -> Grid:
    """Sizes of the splits, with the paper's beside (Table 1)."""
    rows = tuple(
        (
            str(row["split"]).capitalize(),
            *(MISSING if pd.isna(row[key]) else count(int(row[key])) for key in ("products", "images", "categories")),
            row["paper_images"],
            row["paper_categories"],
        )
        for row in _table1_frame(record).to_dict("records")
    )
    return Grid(
        "Table 1. Sizes of the data",
        ("Name", "Products", "Images", "Categories", "Paper: images", "Paper: categories"),
        rows,
        frozenset(range(1, 6)),
        ("The paper's sizes are those of its own catalogue, which is not the public release of Cdiscount.",),
    )


def _table2_frame(record: dict[str, Any]) -> pd.DataFrame:
    machine = record.get("machine", {})
    memory = machine.get("memory_gib")
    paper = {claim.value["part"]: claim.value for claim in load_claims().values() if "part" in claim.value}
    ours = {
        "cpu": (machine.get("cpu"), machine.get("cores"), f"{memory:.1f} GiB" if memory else None),
        "gpu": (", ".join(machine.get("gpus") or []) or "none", None, None),
    }
    rows = [
        {
            "part": part.upper(),
            "model": model,
            "cores": cores,
            "memory": size,
            "paper_model": paper[part]["model"],
            "paper_cores": paper[part]["cores"],
            "paper_memory": paper[part]["memory"],
        }
        for part, (model, cores, size) in ours.items()
    ]
    return pd.DataFrame(rows, dtype=object)


def table2_grid(record: dict[str, Any]) -> Grid:
    """The machine, with the paper's beside (Table 2)."""
    rows = tuple(
        tuple(MISSING if pd.isna(cell) else str(cell) for cell in row) for row in _table2_frame(record).to_numpy()
    )
    machine = record.get("machine", {})
    notes = tuple(str(machine[key]) for key in ("system", "python") if machine.get(key))
    heads = ("Part", "Model", "Cores", "Memory", "Paper: model", "Paper: cores", "Paper: memory")
    return Grid(
        "Table 2. The machine",
        heads,
        rows,
        frozenset({2, 3, 5, 6}),
        ((f"System: {', Python '.join(notes)}.",) if notes else ()),
    )


def metrics_grid(run: Run, frame: pd.DataFrame, targets: Sequence[Fraction]) -> Grid:
    """All metrics, one row a backend, split and level."""
    names = labels(run, run.backends)
    keys = [
        "precision",
        "balanced_accuracy",
        "top_5",
        *(f"{kind}_{suffix(target)}" for target in targets for kind in ("acceptance", "oracle_bound")),
    ]
    heads = [
        "Precision",
        "Balanced",
        "Top 5",
        *(f"{kind} at {float(target):.9g}".replace(" 0.", " .") for target in targets for kind in ("Acc.", "Oracle")),
    ]
    rows = []
    for (backend, level, split), part in frame.groupby(["backend", "level", "split"], sort=False):
        values = dict(zip(part["metric"], part["value"], strict=True))
        rows.append(
            (
                names[str(backend)].short,
                str(split),
                str(level),
                count(int(values["rows"])),
                count(int(values["rejected"])),
                *(share(values[key]) for key in keys),
            )
        )
    return Grid(
        "All metrics",
        ("Backend", "Split", "Per", "Rows", "Rejected", *heads),
        tuple(rows),
        frozenset(range(3, 5 + len(keys))),
        (
            "tune: the half of validation on which choices are made. Balanced: mean recall over "
            "categories. Acc.: plain, its threshold set on the very rows it measures. "
            "Oracle: Eq. 5 of C read literally, which no threshold reaches. Rejected rows "
            "count as wrong.",
        ),
    )


def deciles_grid(run: Run, frame: pd.DataFrame) -> Grid:
    """Precision on test by decile of category size, one column a backend."""
    names = labels(run, run.backends)
    test = frame[frame["split"] == "test"]
    rows = []
    for decile, part in test.groupby("decile"):
        first = part.iloc[0]
        found = dict(zip(part["backend"], part["precision"], strict=True))
        rows.append(
            (
                str(decile),
                str(first["categories"]),
                f"{first['smallest']}–{first['largest']}",
                count(int(first["products"])),
                *(share(found.get(name, np.nan)) for name in run.backends),
            )
        )
    heads = ("Decile", "Categories", "Train size", "Test products", *(names[name].short for name in run.backends))
    return Grid(
        "Precision on test by decile of category size",
        heads,
        tuple(rows),
        frozenset(range(len(heads))),
        (
            "Decile 1 holds the tenth of the categories with the fewest products in train, decile 10 "
            "the tenth with the most.",
        ),
    )
