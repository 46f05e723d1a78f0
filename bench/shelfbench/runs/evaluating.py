"""Table 4, the metrics and the deciles of a run's backends, one after the other."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from typing import Any

import pandas as pd

from shelfbench.base.console import Bar
from shelfbench.runs.frames import (
    DECILES_COLUMNS,
    METRICS_COLUMNS,
    TABLE4_COLUMNS,
    Evaluation,
    deciles_rows,
    metrics_rows,
    table4_row,
)
from shelfbench.runs.reading import SPLITS, Cost, Evaluated
from shelfbench.runs.record import SplitRecord


@dataclass(frozen=True)
class Results:
    """What a backend has done: its products, its images (None if no scores are kept), and what they took."""

    backend: str
    products: Evaluated
    images: Evaluated | None
    cost: Cost


def evaluation_of(found: Iterable[Results], targets: tuple[Fraction, ...], sizes: SplitRecord, bar: Bar) -> Evaluation:
    """Compute the frames of some backends.

    Parameters
    ----------
    found : iterable of Results
        Read one after the other.
    targets : tuple of Fraction
        Required precisions of the metrics.
    sizes : SplitRecord
    bar : Bar
        Counts one for each split of each backend.

    Returns
    -------
    Evaluation
    """
    counts = {name: getattr(sizes, name).images or 0 for name in SPLITS}
    cells: list[dict[str, Any]] = []
    metrics: list[dict[str, Any]] = []
    deciles: list[dict[str, Any]] = []
    for one in found:
        with ThreadPoolExecutor(len(SPLITS)) as pool:  # the bootstrap releases the GIL
            rows = pool.map(partial(table4_row, one.backend, one.products), SPLITS)
            metrics += metrics_rows(one.backend, one.products, one.images, targets, counts)
            deciles += deciles_rows(one.backend, one.products)
            for row in rows:
                if row:
                    cells.append(row | {"seconds": one.cost.seconds, "cached": one.cost.cached})
                bar.update(1)
    return Evaluation(
        pd.DataFrame(cells, columns=list(TABLE4_COLUMNS)),
        pd.DataFrame(metrics, columns=list(METRICS_COLUMNS)),
        pd.DataFrame(deciles, columns=list(DECILES_COLUMNS)),
    )
