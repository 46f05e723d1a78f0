"""A plan as tables and sentences."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from shelfbench.base.grid import MISSING, Grid, asked, digits, span
from shelfbench.cost.estimate import STAGES, Estimate
from shelfbench.cost.ways import ways
from shelfbench.cost.week import verdict

if TYPE_CHECKING:
    from shelfbench.cost.around import StageEstimate
    from shelfbench.cost.plan import Plan

_LARGE = 20_000_000
_UNKNOWN = "not known"
_PEAKS = {"extract": "features", "fit": "fit", "predict": "scores", "": ""}
_JOBS = (
    "Trainings",
    "Epochs",
    "Train network",
    "Decode, extract",
    "Fit",
    "Predict",
    "Together",
    "Peak memory",
    "Disk",
    "Read",
)
_MONEY = ("Train network", "Decode, extract", "Fit", "Predict", "Together")


def as_text(plan: Plan) -> str:
    """Write a plan for the terminal.

    Parameters
    ----------
    plan : Plan

    Returns
    -------
    str
    """
    grids = _grids(plan, 0, _title(plan))
    kept = grids[0].notes
    grids[0] = replace(grids[0], notes=())
    if plan.at_scale:
        title = f"{_LARGE:,} images in {plan.sizes.classes:,} categories, at the same rates{_machines(plan)}"
        grids += [replace(grid, notes=()) for grid in _grids(plan, _LARGE, title)]
    grids[-1] = replace(grids[-1], notes=(*kept, *_notes(plan)))
    return "\n\n".join(grid.text() for grid in grids)


def as_html(plan: Plan) -> str:
    """Write a plan for a notebook.

    Parameters
    ----------
    plan : Plan

    Returns
    -------
    str
    """
    return "".join(grid.html() for grid in _grids(plan, 0, _title(plan)))


def _grids(plan: Plan, images: int, title: str) -> list[Grid]:
    found = [_jobs(plan, images, title)]
    if stages := plan.stages(images):
        found.append(_around(plan, stages, images))
    if plan.price:
        found.append(_in_money(plan, images, title))
    if plan.machines > 1 and plan.tried:
        found.append(_ways(plan, images))
    return found


def _title(plan: Plan) -> str:
    sizes = plan.sizes
    if not sizes.images:
        return f"Study {plan.study}: the experiment {plan.experiment} needs no photos"
    learnt = f", {sizes.train:,} of them for training," if sizes.train else ""
    return f"{sizes.images:,} images{learnt} in {sizes.classes:,} categories{_machines(plan)}"


def _machines(plan: Plan) -> str:
    return f", on {plan.machines:,} machines with Dask" if plan.machines > 1 else ""


def _notes(plan: Plan) -> tuple[str, ...]:
    notes = []
    if plan.sizes.images:
        notes.append(
            "Times are for an otherwise idle machine; †: reuses the features of an earlier row. Peak memory is that of "
            "the stage named beside it, libraries and network included. Read is what comes from disk: the photos once, "
            "and the features as often as a fit goes through all of them (fast where memory holds them)."
        )
    if plan.machines > 1:
        notes.append(
            "With Dask, features are divided among the machines, and fits whose categories are fitted one by one; all "
            "else is done on one of them while the others wait. Jobs divide only features: classifiers are fitted, and "
            "all else is done, in the one job of the run. Nothing is reckoned for what machines lose by working "
            "together."
        )
    notes += [f"Features of {name}: {stored}." for name, stored in plan.stored.items()]
    for images in (0, _LARGE) if plan.at_scale else (0,):
        if plan.experiment or not plan.sizes.images or not plan.papers:
            continue
        count = images or plan.sizes.images
        if said := verdict(plan.estimates(images), count, plan.machines):
            notes.append(said)
    return (*notes, *plan.notes)


def _in_money(plan: Plan, images: int, title: str) -> Grid:
    """Write what the times cost at a price per hour of a machine."""

    def cost(seconds: float) -> str:
        return _UNKNOWN if math.isnan(seconds) else digits(plan.money(seconds)) if seconds else MISSING

    estimates = plan.estimates(images)
    rows = [
        (
            found.name,
            *((MISSING,) * len(STAGES) if found.least else map(cost, (getattr(found, stage) for stage in STAGES))),
            ("at least " if found.least else "") + cost(found.seconds),
        )
        for found in estimates
    ]
    around = sum(found.seconds for found in plan.stages(images))
    if around:
        rows.append(("besides the backends", *("",) * len(STAGES), cost(around)))
    if estimates:
        total = plan.seconds(images)
        together = _UNKNOWN if math.isnan(total) else _at_least(estimates) + cost(total)
        rows.append(("all", *("",) * len(STAGES), together))
    each = "the machine" if plan.machines == 1 else f"each of {plan.machines:,} machines"
    return Grid(
        title=f"In money, at {asked(plan.price)} an hour of {each}: {title}",
        headers=(_what(plan), *_MONEY),
        rows=tuple(rows),
        numeric=frozenset(range(1, len(_MONEY) + 1)),
    )


def _ways(plan: Plan, images: int) -> Grid:
    """Set the time, and the money, of one machine beside those of several."""
    least, rows = _at_least(plan.estimates(images)), []
    for way in ways(plan, images):
        known = [least + span(way.seconds), least + digits(plan.paid(way.paid))]
        rows.append((way.name, *([_UNKNOWN] * 2 if math.isnan(way.seconds) else known)))
    heads = ("Way", "Time", "In money")[: 3 if plan.price else 2]
    return Grid(
        title=f"One machine or {plan.machines:,}",
        headers=heads,
        rows=tuple(row[: len(heads)] for row in rows),
        numeric=frozenset(range(1, len(heads))),
    )


def _what(plan: Plan) -> str:
    return "Variant" if plan.experiment else "Backend"


def _jobs(plan: Plan, images: int, title: str) -> Grid:
    estimates = plan.estimates(images)
    rows = [_row(found) for found in estimates]
    if estimates and not plan.stages(images):
        rows.append(_total("all", estimates, estimates))
    elif estimates:
        rows.append(_total("backends", estimates, estimates))
    heads = (_what(plan), *_JOBS)
    kept = range(len(heads)) if plan.experiment else [column for column in range(len(heads)) if column not in (1, 2)]
    return Grid(
        title=title,
        headers=tuple(heads[column] for column in kept),
        rows=tuple(tuple(row[column] for column in kept) for row in rows),
        numeric=frozenset(range(1, len(kept))),
        notes=tuple(f"{name}: {reason}" for name, reason in plan.problems.items()),
    )


def _around(plan: Plan, stages: Sequence[StageEstimate], images: int) -> Grid:
    """Write the stages that belong to no backend, and the sum of everything."""
    estimates = plan.estimates(images)
    rows: list[tuple[str, ...]] = [
        (
            found.name,
            span(found.seconds),
            _gibibytes(found.memory_mib, 1),
            _gibibytes(found.disk_mib, 2),
            _gibibytes(found.read_mib, 2),
        )
        for found in stages
    ]
    together = _total("all", estimates, [*stages, *estimates])
    rows.append(("all, with the backends", *together[7:]))
    return Grid(
        title="Besides the backends" if not plan.experiment else "Besides the variants",
        headers=("Stage", "Time", "Peak memory", "Disk", "Read"),
        rows=tuple(rows),
        numeric=frozenset(range(1, 5)),
    )


def _total(name: str, estimates: Sequence[Estimate], parts: Sequence[Estimate | StageEstimate]) -> tuple[str, ...]:
    total = sum(found.seconds for found in parts)
    most = max((found.memory_mib for found in parts if not math.isnan(found.memory_mib)), default=math.nan)
    return (
        name,
        *("",) * 6,
        _UNKNOWN if math.isnan(total) else _at_least(estimates) + span(total),
        _gibibytes(most, 1),
        _gibibytes(sum(found.disk_mib for found in parts), 2),
        _gibibytes(sum(found.read_mib for found in parts), 2),
    )


def _row(found: Estimate) -> tuple[str, ...]:
    def known(seconds: float) -> str:
        return _UNKNOWN if math.isnan(seconds) else (span(seconds) if seconds else MISSING)

    if found.least:
        stages = (MISSING, MISSING, MISSING, MISSING, f"at least {span(found.least)}")
    else:
        stages = (
            known(found.tune),
            "†" if found.shared else known(found.extract),
            known(found.fit),
            known(found.predict),
            _UNKNOWN if math.isnan(found.seconds) else span(found.seconds),
        )
    peak = _gibibytes(found.memory_mib, 1)
    return (
        found.name,
        f"{found.trainings}" if found.trainings else MISSING,
        f"{found.epochs}" if found.epochs else MISSING,
        *stages,
        f"{peak} ({_PEAKS[found.peak]})" if found.peak else peak,
        _gibibytes(found.disk_mib, 2),
        _gibibytes(found.read_mib, 2),
    )


def _at_least(estimates: Sequence[Estimate]) -> str:
    return "at least " if any(found.least for found in estimates) else ""


def _gibibytes(mib: float, decimals: int) -> str:
    return MISSING if math.isnan(mib) else f"{mib / 1024:,.{decimals}f} GiB"
