"""What an experiment is, and how one is found.

Every study runs an experiment: the comparison of backends on a catalogue (``shelfbench.runs.comparison``), unless its
file says ``experiment = "NAME"``, an entry point of the group ``shelfbench.experiments``: training profiles, timings,
the validation set of ImageNet.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from shelfbench.base.console import Console
from shelfbench.base.errors import InputError
from shelfbench.plugins.planned import PlannedJobs

GROUP = "shelfbench.experiments"


@dataclass(frozen=True)
class ExperimentSpec:
    """What an entry point of the group ``shelfbench.experiments`` holds.

    Attributes
    ----------
    summary : str
        One line.
    run : callable
        ``run(experiment)``, of a `shelfbench.runs.experiment.Experiment`, does the work and leaves its results in the run directory; started again in the same
        directory it goes on.
    report : callable
        ``report(directory, console)`` makes tables and figures from the directory alone and gives the text that
        the terminal shows.
    sections : mapping of str to type
        Sections of a study that it reads (see `shelfbench.plugins.backend.BackendSpec`).
    plan : callable or None
        ``plan(study, workers)`` gives a `shelfbench.plugins.planned.PlannedJobs`, without opening any data; None where
        nothing can be said before it runs.
    """

    summary: str
    run: Callable[[Any], None]
    report: Callable[[Path, Console], str]
    sections: Mapping[str, type] = field(default_factory=dict)
    plan: Callable[[Any, int], PlannedJobs] | None = None


def experiments() -> dict[str, EntryPoint]:
    """Entry points of all installed experiments, by name."""
    return {point.name: point for point in sorted(entry_points(group=GROUP), key=lambda point: point.name)}


def find_experiment(name: str) -> ExperimentSpec:
    """Load an experiment.

    Raises
    ------
    InputError
        If no installed package offers it.
    """
    points = experiments()
    if name not in points:
        raise InputError(f"unknown experiment {name!r}", f"choose from: {', '.join(points) or 'none installed'}")
    spec = points[name].load()
    if not isinstance(spec, ExperimentSpec):
        raise InputError(
            f"experiment {name!r} is no shelfbench.plugins.experiment.ExperimentSpec",
            "see bench/shelfbench/plugins/experiment.py",
        )
    return spec
