"""Running a study: the experiment that it names, from start to report.

The two experiments that shelfbench itself provides are paired with their reports here, as `ExperimentSpec`:
`comparison`, which a study without ``experiment`` runs, and `profiles`.
"""

from __future__ import annotations

import os
from pathlib import Path

from shelfbench.base.console import Console
from shelfbench.base.errors import InputError, NotInstalled, ShelfbenchError
from shelfbench.base.locking import locked
from shelfbench.base.storage import storage_errors
from shelfbench.data.datasets import check_dataset
from shelfbench.plugins.experiment import ExperimentSpec, find_experiment
from shelfbench.runs.comparison import run as run_comparison
from shelfbench.runs.experiment import Experiment, Jobs
from shelfbench.runs.parallel_training import take_part
from shelfbench.runs.photos import Photos
from shelfbench.runs.profiles import ProfileSettings
from shelfbench.runs.profiles import planned as planned_profiles
from shelfbench.runs.profiles import run as run_profiles
from shelfbench.runs.recorder import Recorder
from shelfbench.study.model import Study

COMPARISON = "comparison"


def run_study(
    study: Study,
    *,
    out: Path,
    data: Path | None = None,
    workers: int = 1,
    console: Console | None = None,
    command: str = "",
) -> str:
    """Run a study, or resume it in its directory, and write its report.

    Parameters
    ----------
    study : Study
    out : Path
        The run directory. A failed start leaves nothing in it; once the data have been read, only a run with the same
        settings may resume in it.
    data : Path, optional
        Where to look for a named dataset first.
    workers : int
        Processes or threads for decoding and classical features.
    console : Console, optional
    command : str
        The command that repeats this run, for the record.

    Returns
    -------
    str
        The report's text for the terminal: Table 4, for a comparison.

    Raises
    ------
    InputError
        If the data or the settings are wrong, or `out` contains another run.
    ShelfbenchError
        If a job failed (a backend, a training ...), of the class of the first failure; the others are finished and
        reported first.
    SystemExit
        In the processes that train together with the first one (`shelfbench.base.processes`), once that is done.
    """
    console = console or Console(quiet=True)
    take_part(study, data, workers, console)
    spec = find_experiment(study.experiment or COMPARISON)
    _check_place(out, Path(study.dataset.name))
    check_dataset(study.dataset.name, data)  # before it is said that the directory holds another dataset's run
    with locked(out):
        record = Recorder.open(out, study, command)
        jobs = Jobs(record, console, spec.jobs)
        experiment = Experiment(
            study=study, data=data, out=out, workers=workers, console=console, record=record, jobs=jobs
        )
        text = _recorded(spec, experiment)
    if (error := jobs.error()) is not None:
        if any(isinstance(failure, NotInstalled) for failure in jobs.failures.values()):
            for line in text.splitlines():  # what could be done here is worth seeing
                console.log(line)
        raise error
    return text


def _check_place(out: Path, source: Path) -> None:
    """Make sure that the run directory can be written, without creating it."""
    if source.is_dir() and out.resolve().is_relative_to(source.resolve()):
        raise InputError(f"the run directory {out} is inside the data {source}", "choose an --out outside of it")
    with storage_errors(out):
        place = next(folder for folder in (out.absolute(), *out.absolute().parents) if os.path.lexists(folder))
        if not place.is_dir():
            raise NotADirectoryError(None, None, str(place))
        if not os.access(place, os.W_OK | os.X_OK):
            raise PermissionError(None, None, str(place))


def _recorded(spec: ExperimentSpec, experiment: Experiment) -> str:
    """Run an experiment and its report, and note how the run ended."""
    record, jobs = experiment.record, experiment.jobs
    try:
        shown = spec.run(experiment)
        jobs.require()
        record.finish("failed" if jobs.failures else "complete", jobs.reason())
        return spec.report(experiment.out, experiment.console, *([] if shown is None else [shown]))
    except KeyboardInterrupt:
        record.finish("interrupted")
        raise
    except Exception as error:
        try:
            record.finish("failed", str(error))
        except ShelfbenchError:
            experiment.console.warn(f"{experiment.out / 'run.json'} could not be updated")
        raise


def _report_comparison(directory: Path, console: Console, shown: Photos | None = None) -> str:
    from shelfbench.report.build import build_report
    from shelfbench.report.data import Picture

    console.log("tables, figures and page")
    if shown is None:
        return build_report(directory, None, console)
    pictures = [Picture(image, caption) for image, caption in shown.random()]
    return build_report(directory, pictures, console, shown.of_product)


def _report_profiles(directory: Path, console: Console) -> str:
    from shelfbench.report.profiles import report

    return report(directory, console)


comparison = ExperimentSpec(
    summary="several backends on one catalogue: Table 4, curves, verdict",
    run=run_comparison,
    report=_report_comparison,
    jobs="backends",
)

profiles = ExperimentSpec(
    summary="training profiles of variants, several seeds each",
    run=run_profiles,
    report=_report_profiles,
    jobs="trainings",
    sections={"profiles": ProfileSettings},
    plan=planned_profiles,
)
