"""Whether a run's page sets the papers' numbers beside its own."""

from __future__ import annotations

from typing import Any

from shelfbench.data.material import BY_PATH
from shelfbench.runs.record import RunRecord
from shelfbench.study.read import study_names


def shows_papers(record: RunRecord[Any]) -> bool:
    """Tell whether the papers matter to a run, by ``report.papers`` of its study.

    Parameters
    ----------
    record : RunRecord
        One from before the setting counts if its study is one of ours, on the data that it names.

    Returns
    -------
    bool
    """
    said = record.settings.report.papers
    if said is None:
        return record.settings.name in study_names() and record.dataset.source != BY_PATH
    return bool(said)
