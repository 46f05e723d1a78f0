"""Whether a study of shelfbench's own fixes the size of photos that are not its own."""

from __future__ import annotations

from pathlib import Path

from shelfbench.plugins.finding import split_name
from shelfbench.study.model import Study
from shelfbench.study.read import read_study, study_names


def fixed_for_other_data(study: str | Path | Study | None, chosen: Study) -> int | None:
    """Return the size at which networks will see the photos of other data than the study was made for.

    Parameters
    ----------
    study : str, Path, Study or None
        What was asked for.
    chosen : Study
        What it is with its dataset and settings.

    Returns
    -------
    int or None
        In pixels; None if the size is not fixed, or the data are the study's own.
    """
    if chosen.experiment or study not in study_names() or read_study(chosen.name).dataset.name == chosen.dataset.name:
        return None
    networks = any(chosen.spec(split_name(name, chosen.backbone)[0]).uses_backbone for name in chosen.backends)
    return chosen.backbone.pixels if networks else None
