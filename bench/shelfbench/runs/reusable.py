"""Whether what an earlier command made of a backend can be used as it is."""

from __future__ import annotations

from pathlib import Path

from shelfbench.base.errors import InputError
from shelfbench.base.storage import file_stem
from shelfbench.plugins.backend import BackboneChoice
from shelfbench.runs.building import build_backend
from shelfbench.runs.directory import open_run
from shelfbench.runs.experiment import Experiment
from shelfbench.runs.keeping import read_model


def check_reusable(name: str, backbone: BackboneChoice, experiment: Experiment) -> None:
    """Make sure that the predictions of an earlier command can still be read, and that their network is the same.

    Parameters
    ----------
    name : str
        A backend that is done.
    backbone : BackboneChoice
    experiment : Experiment

    Raises
    ------
    InputError
        If they cannot, or it is not.
    """
    open_run(experiment.out).products(name)
    folder = experiment.out / "models" / file_stem(name)
    if Path(backbone.name).expanduser().is_file() and folder.is_dir():
        kept = read_model(folder).features.get("settings", {}).get("sha256")
        now = build_backend(name, experiment.study.sections, experiment).backend.features.describe().get("sha256")
        if kept != now:
            raise InputError(
                f"{backbone.name} is no longer the network that this run used", "restore it, or choose another --out"
            )
