"""Tables 1 and 2 of C, all metrics, and precision by size of category."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import pandas as pd

from shelfbench.base.grid import MISSING, Grid, count, share
from shelfbench.report.claims import load_claims, oracle_note
from shelfbench.report.data import ERRORS, NUMBERS, RunData
from shelfbench.report.section import NamedTable, Section
from shelfbench.runs.frames import suffix
from shelfbench.runs.reading import SPLITS
from shelfbench.runs.record import Machine, SplitRecord

_DECILES_OF = 20  # categories: with fewer, some tenths would be a single one
_SIZES = ("products", "images", "categories")


def sizes_table(split: SplitRecord, *, papers: bool) -> NamedTable:
    """Table 1: sizes of the splits, next to the paper's where the papers matter."""
    if not papers:
        return _own_sizes(split)
    paper = {claim.value["split"]: claim.value for claim in load_claims().values() if "images" in claim.value}
    found = [
        {
            "split": name,
            **{key: getattr(getattr(split, name), key) for key in _SIZES},
            "paper_images": paper[name]["images"],
            "paper_categories": paper[name]["categories"],
        }
        for name in SPLITS
    ]
    grid = Grid(
        title="Table 1. Sizes of the data",
        headers=("Name", "Products", "Images", "Categories", "Paper: images", "Paper: categories"),
        rows=tuple(
            (
                str(row["split"]).capitalize(),
                *(count(row[key]) for key in _SIZES),
                row["paper_images"],
                row["paper_categories"],
            )
            for row in found
        ),
        numeric=frozenset(range(1, 6)),
        notes=("The paper's sizes are those of its own catalogue, which is not the public release of Cdiscount.",),
    )
    return NamedTable(name="table1", grid=grid, frame=pd.DataFrame(found).astype(dict.fromkeys(_SIZES, "Int64")))


def _own_sizes(split: SplitRecord) -> NamedTable:
    found = [{"split": name, **{key: getattr(getattr(split, name), key) for key in _SIZES}} for name in SPLITS]
    grid = Grid(
        title="Sizes of the data",
        headers=("Name", "Products", "Images", "Categories"),
        rows=tuple((str(row["split"]).capitalize(), *(count(row[key]) for key in _SIZES)) for row in found),
        numeric=frozenset(range(1, 4)),
    )
    return NamedTable(name="table1", grid=grid, frame=pd.DataFrame(found).astype(dict.fromkeys(_SIZES, "Int64")))


def machine_table(machine: Machine, *, papers: bool = True) -> NamedTable:
    """Table 2: the machine, next to the paper's where the papers matter."""
    paper = {claim.value["part"]: claim.value for claim in load_claims().values() if "part" in claim.value}
    memory = f"{machine.memory_gib:.1f} GiB" if machine.memory_gib else None
    ours = {
        "cpu": (machine.cpu or None, machine.cores, memory),
        "gpu": (", ".join(machine.gpus) or "none", None, None),
    }
    keys = ("model", "cores", "memory")
    rows = [
        {
            "part": part.upper(),
            **dict(zip(keys, values, strict=True)),
            **({f"paper_{key}": paper[part][key] for key in keys} if papers else {}),
        }
        for part, values in ours.items()
    ]
    system = ", Python ".join(filter(None, (machine.system, machine.python)))
    grid = Grid(
        title="Table 2. The machine" if papers else "The machine",
        headers=("Part", *map(str.capitalize, keys), *(f"Paper: {key}" for key in keys if papers)),
        rows=tuple(tuple(MISSING if cell is None else str(cell) for cell in row.values()) for row in rows),
        numeric=frozenset({2, 3, 5, 6} if papers else {2, 3}),
        notes=(f"System: {system}.",) if system else (),
    )
    return NamedTable(name="table2", grid=grid, frame=pd.DataFrame(rows, dtype=object))


def metrics(data: RunData) -> Section:
    """All metrics of every backend."""
    grid = metrics_grid(data, data.run.metrics, data.run.targets)
    return Section(title=NUMBERS, grids=(NamedTable(name="metrics", grid=grid, frame=data.run.metrics),))


def metrics_grid(data: RunData, frame: pd.DataFrame, targets: Sequence[Fraction]) -> Grid:
    """All metrics, one row per backend, split and level."""
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
        *(f"{kind} at {float(target):.9g}" for target in targets for kind in ("Acc.", "Oracle")),
    ]
    rows = []
    for (backend, level, split), part in frame.groupby(["backend", "level", "split"], sort=False):
        values = dict(zip(part["metric"], part["value"], strict=True))
        rows.append(
            (
                str(backend),
                str(split),
                str(level),
                count(int(values["rows"])),
                count(int(values["rejected"])),
                *(share(values[key]) for key in keys),
            )
        )
    return Grid(
        title="All metrics",
        headers=("Backend", "Split", "Per", "Rows", "Rejected", *heads),
        rows=tuple(rows),
        numeric=frozenset(range(3, 5 + len(keys))),
        notes=(
            "tune: the half of validation on which choices are made. Balanced: mean recall over categories. Acc.: "
            f"plain acceptance, its threshold set on the very rows that it is measured on. {oracle_note(data.papers)} "
            "Rejected rows count as wrong.",
        ),
    )


def deciles(data: RunData) -> Section:
    """Precision by size of category; on the page if a tenth of the categories is more than one."""
    frame = data.run.deciles
    categories = frame.drop_duplicates(["backend", "split", "decile"]).groupby(["backend", "split"])["categories"].sum()
    table = NamedTable(
        name="deciles",
        grid=deciles_grid(data, frame),
        frame=frame,
        on_page=bool(categories.max() >= _DECILES_OF),
    )
    return Section(title=ERRORS, grids=(table,))


def deciles_grid(data: RunData, frame: pd.DataFrame) -> Grid:
    """Precision on test by decile of category size, one column per backend."""
    test = frame[frame["split"] == "test"]
    backends = data.run.backends
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
                *(share(found.get(name, np.nan)) for name in backends),
            )
        )
    heads = ("Decile", "Categories", "Train size", "Test products", *backends)
    return Grid(
        title="Precision on test by decile of category size",
        headers=heads,
        rows=tuple(rows),
        numeric=frozenset(range(len(heads))),
        notes=(
            "Decile 1 is the tenth of the categories with the fewest products in train, decile 10 the tenth with "
            "the most.",
        ),
    )
