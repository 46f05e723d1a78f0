"""Ways to do the work of a plan on several machines, beside one machine that does it alone."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shelfbench.cost.plan import Plan


@dataclass(frozen=True, kw_only=True)
class Way:
    """One of them.

    Attributes
    ----------
    name : str
    seconds : float
        From its beginning to its end; NaN if a part is unknown.
    paid : float
        Seconds of all machines together, as long as each is held.
    """

    name: str
    seconds: float
    paid: float


@dataclass(frozen=True, kw_only=True)
class JobArray:
    """Jobs that compute the features, one on each machine, and the one job that does all else after them.

    Attributes
    ----------
    features, run : float
        Seconds of each of the jobs, and of the one after them; NaN if unknown.
    features_mib, run_mib : float
        Their peak memory; NaN if unknown.
    """

    features: float
    run: float
    features_mib: float
    run_mib: float


def job_array(plan: Plan, images: int = 0) -> JobArray | None:
    """Tell what an array of jobs takes, of which each computes a part of the features.

    Parameters
    ----------
    plan : Plan
    images : int
        As in `Plan.estimates`.

    Returns
    -------
    JobArray or None
        None if no features are left to compute before the run: those of networks that it trains are not.
    """
    if plan.experiment:
        return None
    divided = [
        (shared, whole)
        for tried, shared, whole in zip(plan.tried, plan.estimates(images), plan.alone.estimates(images), strict=True)
        if tried.trial.training is None and whole.extract
    ]
    if not divided:
        return None
    first = [stage for stage in plan.stages(images) if stage.first]
    before = sum(stage.seconds for stage in first)
    peaks = [*(stage.memory_mib for stage in first), *(shared.memory_extract for shared, _ in divided)]
    return JobArray(
        features=before + sum(shared.extract for shared, _ in divided),
        run=plan.alone.seconds(images) - before - sum(whole.extract for _, whole in divided),
        features_mib=max((mib for mib in peaks if not math.isnan(mib)), default=math.nan),
        run_mib=plan.peak_mib,
    )


def ways(plan: Plan, images: int = 0) -> list[Way]:
    """Set one machine and several side by side.

    Parameters
    ----------
    plan : Plan
        On more than one machine.
    images : int
        As in `Plan.estimates`.

    Returns
    -------
    list of Way
    """
    alone, together, count = plan.alone.seconds(images), plan.seconds(images), plan.machines
    found = [Way(name="one machine", seconds=alone, paid=alone)]
    if (jobs := job_array(plan, images)) is not None:
        found.append(
            Way(
                name=f"{count:,} jobs for the features, then one for all else",
                seconds=jobs.features + jobs.run,
                paid=count * jobs.features + jobs.run,
            )
        )
    return [*found, Way(name=f"{count:,} machines until the end, with Dask", seconds=together, paid=count * together)]
