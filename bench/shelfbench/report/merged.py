"""Which run directories a merge is made of, and what that means for its numbers."""

from __future__ import annotations

import pandas as pd

from shelfbench.base.grid import MISSING, Grid
from shelfbench.report.data import THIS_RUN, RunData
from shelfbench.report.section import NamedTable, Section
from shelfbench.runs.record import Machine, MergedRun


def merged_runs(data: RunData) -> Section | None:
    """Every run directory with its backends, machine and settings; None if this is a run of its own."""
    found = data.record.merged
    if not found:
        return None
    grid = Grid(
        title="Merged runs",
        headers=("Directory", "Backends", "Machine", "Study", "Seed", "shelfbench", "Finished", "Settings that differ"),
        rows=tuple(
            (
                run.directory,
                ", ".join(run.backends),
                machine_text(run.machine),
                run.study or MISSING,
                MISSING if run.seed is None else str(run.seed),
                run.shelfbench or MISSING,
                run.finished or MISSING,
                _differing(run) or "none",
            )
            for run in found
        ),
        notes=(
            "All of them rest on the same split of the same data, product by product. Settings: those that differ from "
            "the first directory's.",
        ),
    )
    frame = pd.DataFrame(
        [
            {
                "directory": run.directory,
                "backend": name,
                "there": own,
                "machine": machine_text(run.machine),
                "study": run.study,
                "seed": run.seed,
                "shelfbench": run.shelfbench,
                "finished": run.finished,
                "differs": _differing(run),
                "command": run.command,
            }
            for run in found
            for name, own in run.backends.items()
        ]
    ).astype({"seed": "Int64"})
    return Section(title=THIS_RUN, grids=(NamedTable(name="merged", grid=grid, frame=frame),))


def doubts(found: list[MergedRun]) -> list[str]:
    """Say what cannot be compared between merged runs.

    Parameters
    ----------
    found : list of MergedRun
        Empty for a run of its own.

    Returns
    -------
    list of str
    """
    machines = dict.fromkeys(machine_text(run.machine) for run in found)
    lines = []
    if len(machines) > 1:
        lines.append(
            f"Seconds come from {len(machines)} machines ({'; '.join(machines)}): compare them only between backends "
            "of one machine, and do not settle a tie by them."
        )
    differing = [run.directory for run in found if run.differs]
    if differing:
        lines.append(
            f"Other settings than {found[0].directory} have {', '.join(differing)}: the table Merged runs lists them."
        )
    return lines


def machine_text(machine: Machine) -> str:
    """Name a machine in a few words: AMD EPYC, 2 cores, 23.5 GiB."""
    parts = [
        machine.cpu,
        f"{machine.cores} cores" if machine.cores else "",
        f"{machine.memory_gib:.1f} GiB" if machine.memory_gib else "",
        *machine.gpus,
    ]
    return ", ".join(filter(None, parts)) or "not known"


def _differing(run: MergedRun) -> str:
    return "; ".join(f"{name}: {says}" for name, says in run.differs.items())
