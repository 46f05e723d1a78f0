"""Near-duplicates among the photos of a run: whether they are sought, and where what is found is written."""

from __future__ import annotations

from shelfbench.data.near_duplicates import find_twins
from shelfbench.runs.experiment import Experiment


def seek_near_duplicates(experiment: Experiment) -> None:
    """Seek near-duplicates if the study asks for them and reads photos, and write them into the run directory.

    Parameters
    ----------
    experiment : Experiment
        Begun.
    """
    study, material, console = experiment.study, experiment.material, experiment.console
    if not study.needs_photos:
        console.log("no photo is read, so near-duplicates are not sought and the page shows no pictures")
    elif study.report.seeks_near_duplicates(len(material.image)):
        with console.stage("near-duplicates"):
            twins = find_twins(material, experiment.digests, experiment.workers, console)
        experiment.record.keep("near_duplicates.parquet", twins.frame)
        experiment.record.near_duplicates(twins.record())
    else:
        experiment.record.drop("near_duplicates.parquet")
