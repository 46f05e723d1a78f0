"""The experiment ``timing``: `shelfbench_deep.measure` within a study, its tables and its figure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from shelfbench.base.console import Console
from shelfbench.base.errors import RunError
from shelfbench.cost.measurements import Measurements, Part
from shelfbench.cost.timing import Timing, timings_frame
from shelfbench.plugins.experiment import ExperimentSpec
from shelfbench.plugins.planned import PlannedJob, PlannedJobs
from shelfbench.runs.entries import Entry
from shelfbench.runs.experiment import Experiment
from shelfbench.study.model import Study
from shelfbench_deep.engines.versions import check_keras
from shelfbench_deep.timing.measuring import measure
from shelfbench_deep.timing.settings import TimingSettings


def _run(experiment: Experiment) -> None:
    check_keras("the experiment timing")
    settings: TimingSettings = experiment.study.sections["timing"]
    settings = replace(settings, workers=settings.workers or experiment.workers)
    experiment.record.begin({}, {})
    measured, _ = measure(settings, experiment.out, "device.json", experiment.console)
    experiment.record.keep("timings.parquet", timings_frame(list(_rows(measured))))
    for part in measured.parts:
        experiment.jobs.note(part.name, partial(_entry, part))


def _entry(part: Part) -> Entry:
    if part.status != "done":
        raise RunError(part.reason)
    return Entry()


def _rows(measured: Measurements) -> Iterator[Timing]:
    """One row per repetition; before them, marked as warm-up, the first call with its compilation."""
    for part in measured.parts:
        for found in part.measured:
            first = [(0, found.first, found.images // found.steps)] if found.first else []
            counted = [(number, seconds, found.images) for number, seconds in enumerate(found.seconds, 1)]
            for epoch, seconds, images in [*first, *counted]:
                yield Timing(
                    backend=f"{part.name}, {found.way}",
                    stage=found.stage,
                    epoch=epoch,
                    seconds=seconds,
                    images=images,
                    backbone=part.name.partition(" ")[2] if part.pixels else "",
                    pixels=part.pixels,
                    batch=part.batch,
                    framework=measured.engine if part.precision else "pillow",
                    precision=part.precision,
                    device=measured.device if part.precision else "cpu",
                    warm_up=epoch == 0,
                    data_wait=found.waited[epoch - 1] if epoch and found.waited else float("nan"),
                )


def planned(study: Study, workers: int) -> PlannedJobs:
    """Describe what the study will do, for ``shelfbench plan``: its settings fix how long each part is repeated.

    Parameters
    ----------
    study : Study
    workers : int

    Returns
    -------
    PlannedJobs
    """
    settings: TimingSettings = study.sections["timing"]
    least = settings.repetitions * settings.seconds
    jobs = tuple(PlannedJob(name=name, trainings=0, seconds=least) for name in settings.names())
    note = (
        "This experiment is a measurement itself: each part is repeated "
        f"{settings.repetitions} times for about {settings.seconds:g} s in each of its ways. Loading and compiling, "
        "which this plan does not know, are extra."
    )
    return PlannedJobs(jobs=jobs, needs_data=False, notes=(note,))


def report(directory: Path, console: Console) -> str:
    """Make the report of a run from its directory alone (see `shelfbench.report.timing`)."""
    from shelfbench.report.timing import report

    return report(directory, console)


timing = ExperimentSpec(
    summary="what training, bottlenecks and decoding cost on this machine: Table 3 of both papers",
    run=_run,
    report=report,
    jobs="parts",
    sections={"timing": TimingSettings},
    plan=planned,
)
