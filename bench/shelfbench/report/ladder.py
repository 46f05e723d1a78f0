"""What a ladder reaches: products answered at their category, at a level above it, or by a person."""

from __future__ import annotations

import pandas as pd

from shelfbench.base.grid import MISSING, Grid, asked, interval, percent
from shelfbench.report.data import PROMISED, RunData
from shelfbench.report.section import NamedTable, Section
from shelfbench.runs.ladder import ladder_frame
from shelfbench.runs.promise import mix_of
from shelfbench.verdict.mix import Mix


def ladder(data: RunData) -> Section | None:
    """Every backend with a ladder, at 0.9 on each rung; None if the categories have no levels."""
    frame = ladder_frame(data.run)
    if frame.empty:
        return None
    return Section(title=PROMISED, grids=(NamedTable(name="ladder", grid=ladder_grid(frame), frame=frame),))


def ladder_grid(frame: pd.DataFrame) -> Grid:
    """One row per backend and rung, and one for what is left to a person."""
    rows: list[tuple[str, ...]] = []
    short = False
    for backend, rungs in frame.groupby("backend", sort=False):
        for row in rungs.to_dict("records"):
            used = row["certify_answered"] > 0
            below = bool(used and row["test_precision_high"] < row["target"])
            short |= below
            rows.append(
                (
                    str(backend),
                    str(row["level"]),
                    percent(row["certify_answered"] / row["certify_products"]) if used else "not used",
                    percent(row["test_answered"] / row["test_products"]) if used else MISSING,
                    interval(row["test_precision"], row["test_precision_low"], row["test_precision_high"])
                    + " ‡" * below
                    if used
                    else MISSING,
                    MISSING if (mix := mix_of(row)) is None else interval(*_precision(mix)),
                )
            )
        left = [
            percent(1 - rungs[f"{part}_answered"].sum() / rungs[f"{part}_products"].iloc[0])
            for part in ("certify", "test")
        ]
        rows.append((str(backend), "a person", *left, MISSING, MISSING))
    level, target = frame["confidence_level"].iloc[0], frame["target"].iloc[0]
    return Grid(
        title=f"A ladder: the category, else a level above it, else a person (decide --levels, {asked(target)})",
        headers=("Backend", "Answered at", "Certify", "Test", "Right, test", "… at the catalogue's mix"),
        rows=tuple(rows),
        numeric=frozenset({2, 3, 4, 5}),
        notes=(
            "A product is answered at the first rung, from the category on, on which the backend is sure enough. One "
            f"promise for all rungs together: with probability {asked(level)}, at least {asked(target)} of the answers "
            "on each rung that is used are right, for each backend taken alone. All categories are on, as in the table "
            "of what can be promised; decide switches weak ones off, whose products are then answered at a level "
            "above. Test is shown for reference only; intervals: exact (Clopper-Pearson), 95%.",
            *(
                (
                    "‡ Falls short of the target on test, beyond noise. Where it does not at the catalogue's mix, test "
                    "holds more products of categories that are harder; the promise is for products mixed as in "
                    "validation.",
                )
                * short
            ),
        ),
    )


def _precision(mix: Mix) -> tuple[float, float, float]:
    return mix.precision, mix.precision_low, mix.precision_high
