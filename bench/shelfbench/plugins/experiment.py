"""What an experiment is, and how it is found.

Every study runs an experiment: the comparison of backends on a catalogue, unless its file says
``experiment = "NAME"``, an entry point of the group ``shelfbench.experiments`` (training profiles, timings, the
validation set of ImageNet ...). A package adds one like this::

    # pyproject.toml
    [project.entry-points."shelfbench.experiments"]
    learning-curve = "mypackage.curve:learning_curve"

    # mypackage/curve.py
    def run(experiment):  # a shelfbench.runs.experiment.Experiment, whose module shows the steps
        ...

    def report(directory, console):  # tables and figures from the run directory alone
        return "what the terminal shows"

    learning_curve = ExperimentSpec(summary="precision by training products", run=run, report=report, jobs="sizes")
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from shelfbench.base.errors import InputError
from shelfbench.plugins.planned import PlannedJobs

GROUP = "shelfbench.experiments"


@dataclass(frozen=True, kw_only=True)
class ExperimentSpec:
    """The object of an entry point of the group ``shelfbench.experiments``.

    Attributes
    ----------
    summary : str
        One line.
    run : callable
        ``run(experiment)`` takes a `shelfbench.runs.experiment.Experiment`, goes through its jobs and leaves their
        results in the run directory; repeated in the same directory, it resumes. It may return data for its report that
        only it has (photos of the catalogue).
    report : callable
        ``report(directory, console)`` makes tables and figures from the directory alone and returns the text for the
        terminal. Anything that `run` returned, other than None, is a third argument.
    jobs : str
        The name of its jobs in messages, in the plural: ``backends``.
    sections : mapping of str to type
        Sections of a study that it reads (see `shelfbench.plugins.backend.BackendSpec`).
    plan : callable or None
        ``plan(study, workers)`` returns a `shelfbench.plugins.planned.PlannedJobs`, without opening any data; None if
        nothing can be said before it runs.
    """

    summary: str
    run: Callable[[Any], Any]
    report: Callable[..., str]
    jobs: str = "jobs"
    sections: Mapping[str, type] = field(default_factory=dict)
    plan: Callable[[Any, int], PlannedJobs] | None = None


def experiments() -> dict[str, EntryPoint]:
    """List the installed experiments.

    Returns
    -------
    dict of str to EntryPoint
        By name, sorted.
    """
    return {point.name: point for point in sorted(entry_points(group=GROUP), key=lambda point: point.name)}


def find_experiment(name: str) -> ExperimentSpec:
    """Load an experiment.

    Parameters
    ----------
    name : str

    Returns
    -------
    ExperimentSpec

    Raises
    ------
    InputError
        If no installed package offers it, or the object offered is not an `ExperimentSpec`.
    """
    points = experiments()
    if name not in points:
        raise InputError(f"unknown experiment {name!r}", f"choose from: {', '.join(points) or 'none installed'}")
    spec = points[name].load()
    if not isinstance(spec, ExperimentSpec):
        raise InputError(
            f"experiment {name!r} is not a shelfbench.plugins.experiment.ExperimentSpec",
            "see bench/shelfbench/plugins/experiment.py",
        )
    return spec
