"""The commands that do on several machines what `plan --machines` has planned for them."""

from __future__ import annotations

import argparse
import math
import os
import shlex
from typing import TYPE_CHECKING

from shelfbench.base.processor import cores
from shelfbench.base.screen import show

if TYPE_CHECKING:
    from shelfbench.cost.plan import Plan

_FEATURES, _RUN = "shelfbench-features.sh", "shelfbench-run.sh"
# GiB that a job may take at least; otherwise twice what is planned, as of time.
_LEAST = 2


def show_commands(options: argparse.Namespace, plan: Plan) -> None:
    """Print the commands that share the work of a plan.

    Parameters
    ----------
    options : Namespace
        What ``shelfbench plan`` was given: the study, its data, backends and settings.
    plan : Plan
        On more than one machine.
    """
    from shelfbench.cost.ways import job_array

    count = plan.machines
    show(f"\nOn {count:,} machines")
    jobs = job_array(plan)
    if jobs is None:
        why = (
            f"The experiment {plan.experiment} computes its own features"
            if plan.experiment
            else "No features are left that can be computed before the run"
        )
        return show(
            f"{why}, so an array of jobs has nothing to do. Workers of Dask share what can be divided (docs/dask.md): "
            "`shelfbench run` with --dask and the address of their scheduler."
        )
    show(
        "All must see the same photos and the same cache at the same paths. With Slurm, these lines in a shell write "
        "two scripts and submit them; what your cluster asks for besides, such as --account, goes to both calls of "
        "sbatch. They ask for twice the memory and the time that are planned.\n"
    )
    given = _given(options)
    threads = options.workers or cores()
    part = f"{shlex.join(['shelfbench', 'features', *given])} --shard $SLURM_ARRAY_TASK_ID/{count}"
    lines = [
        *_script(_FEATURES, [f"--array=1-{count}", *_limits(threads, jobs.features_mib, jobs.features)], part),
        *_script(_RUN, _limits(threads, jobs.run_mib, jobs.run), shlex.join(["shelfbench", "run", *given])),
        f"jobs=$(sbatch --parsable {_FEATURES})",
        f"sbatch --dependency=afterok:${{jobs%;*}} {_RUN}",  # in a federation, its cluster follows the number
    ]
    show("\n".join(lines), folds=False)
    show(
        f"\nWithout Slurm: the line of `shelfbench features` once on each machine, with 1 to {count} in place of "
        "$SLURM_ARRAY_TASK_ID, then that of `shelfbench run` on one of them. With Dask instead: docs/dask.md."
    )


def _given(options: argparse.Namespace) -> list[str]:
    """Write what `plan` was given and `features` and `run` take, too."""
    words = [options.study] if options.study else []
    for name in ("dataset", "data", "workers"):
        if (value := getattr(options, name)) is not None:
            words += [f"--{name}", str(value)]
    for name, values in (("--backend", options.backend or ()), ("--set", options.set)):
        words += [word for value in values for word in (name, value)]
    return words


def _script(name: str, limits: list[str], command: str) -> list[str]:
    from shelfbench.base.using import cache_dir

    places = {"SHELFBENCH_CACHE": str(cache_dir().absolute()), "SHELFBENCH_DATA": os.environ.get("SHELFBENCH_DATA")}
    return [
        f"cat > {name} <<'END'",
        "#!/bin/bash",
        *(f"#SBATCH {limit}" for limit in limits),
        *(f"export {variable}={shlex.quote(place)}" for variable, place in places.items() if place),
        command,
        "END",
    ]


def _limits(threads: int, mib: float, seconds: float) -> list[str]:
    """Write what Slurm is asked for; what is not known is left to its defaults."""
    limits = [f"--cpus-per-task={threads}"]
    if not math.isnan(mib):
        limits.append(f"--mem={max(_LEAST, math.ceil(2 * mib / 1024))}G")
    if not math.isnan(seconds):
        limits.append(f"--time={math.ceil(2 * seconds / 3600):02}:00:00")
    return limits
