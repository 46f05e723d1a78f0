"""Results of each way of aggregating a product's photos, for all products and by number of photos."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from shelfbench.base.errors import InputError
from shelfbench.base.grid import Grid, share
from shelfbench.report.data import PROMISED, RunData
from shelfbench.report.section import NamedTable, Section
from shelfbench.runs.reading import DELETE, reading
from shelfbench.verdict.metrics import REQUIRED, acceptance
from shelfbench.verdict.settings import AGGREGATIONS

MOST = 4  # photos of a product in C; products with more are counted with these
_NAMES = {
    "mean": "mean probability",
    "log_mean": "mean log-probability",
    "maximum": "maximum",
    "vote": "vote",
}
_COLUMNS = (
    "backend",
    "aggregation",
    "chosen",
    "part",
    "photos",
    "products",
    "precision",
    "acceptance_90",
)


def aggregation(data: RunData) -> Section:
    """Results of each way of aggregating photos, for every backend; on the page if any product has several."""
    rows = [row for backend in data.run.backends for row in aggregation_rows(data, backend)]
    frame = pd.DataFrame(rows, columns=list(_COLUMNS))
    table = NamedTable(
        name="aggregation",
        grid=aggregation_grid(data, frame),
        frame=frame,
        on_page=bool(set(frame["photos"]) - {"all", "1"}),
    )
    return Section(title=PROMISED, grids=(table,))


def aggregation_rows(data: RunData, backend: str) -> list[dict[str, Any]]:
    """Compute one row per aggregation, part (tune, test) and number of photos.

    Parameters
    ----------
    data : RunData
    backend : str

    Returns
    -------
    list of dict
        Empty for runs of earlier versions, which did not compare aggregations.

    Raises
    ------
    InputError
        If the file is damaged.
    """
    path = data.run.file("aggregations", backend)
    if not path.is_file():
        return []
    entry = data.record.backends.get(backend)
    chosen = entry.chosen.get("aggregation") if entry else None
    with reading(path):
        table = pq.read_table(path)
        role = table["role"].to_numpy().astype(str)
        images = np.minimum(table["images"].to_numpy(), MOST)
        columns = {
            method: (
                table[f"{method}_correct"].to_numpy().astype(bool),
                table[f"{method}_confidence"].to_numpy().astype(np.float64),
            )
            for method in AGGREGATIONS
        }
    for method, (_, confidence) in columns.items():
        if np.isnan(confidence).any():
            raise InputError(f"{path}: a confidence in the column {method}_confidence is missing or NaN", DELETE)
    rows = []
    for part in ("tune", "test"):
        for photos in (0, *range(1, MOST + 1)):
            mask = (role == part) & ((images == photos) | (photos == 0))
            if not mask.any():
                continue
            for method, (correct, confidence) in columns.items():
                reached = acceptance(confidence[mask], correct[mask], REQUIRED)
                values = (
                    backend,
                    method,
                    method == chosen,
                    part,
                    "all" if photos == 0 else f"{photos}{'+' * (photos == MOST)}",
                    int(mask.sum()),
                    float(correct[mask].mean()),
                    reached.acceptance,
                )
                rows.append(dict(zip(_COLUMNS, values, strict=True)))
    return rows


def aggregation_grid(data: RunData, frame: pd.DataFrame) -> Grid:
    """One row per backend and aggregation; on test also by number of photos."""
    groups = sorted(set(frame["photos"]) - {"all"})
    found = {
        (row["backend"], row["aggregation"], row["part"], row["photos"]): (row["precision"], row["acceptance_90"])
        for row in frame.to_dict("records")
    }
    rows: list[tuple[str, ...]] = []
    best: set[tuple[int, int]] = set()
    none = (np.nan, np.nan)
    for backend in dict.fromkeys(frame["backend"]):
        for method in AGGREGATIONS:
            wanted = [("tune", "all"), ("test", "all"), *(("test", photos) for photos in groups)]
            cells = [found.get((backend, method, *key), none) for key in wanted]
            if frame["chosen"][(frame["backend"] == backend) & (frame["aggregation"] == method)].any():
                best.add((len(rows), 1))
            rows.append(
                (
                    backend,
                    _NAMES[method],
                    *(f"{share(right)} / {share(reached)}" for right, reached in cells),
                )
            )
    heads = [f"Test, {photos.replace('+', ' or more')} photo{'s' * (photos != '1')}" for photos in groups]
    return Grid(
        title="Aggregating a product's photos: precision / plain acceptance at a precision of 0.9",
        headers=("Backend", "Aggregation", "Tune, all", "Test, all", *heads),
        rows=tuple(rows),
        numeric=frozenset(range(2, 4 + len(groups))),
        notes=(
            "By the confidence before calibration, over all categories. Plain: each threshold is fitted on the "
            "products that it is measured on. Bold: the aggregation behind the predictions and all other tables, set "
            "by the study or chosen by its acceptance on tune. Products with one photo are the same under all of them.",
            *(
                ("A backend that is not shown was run by an earlier version, which did not compare aggregations.",)
                * (set(data.run.backends) > set(frame["backend"]))
            ),
        ),
        best=frozenset(best),
    )
