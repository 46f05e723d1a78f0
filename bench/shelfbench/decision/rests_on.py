"""What a decision rests on: the part of ``decision.json`` that is for later reference, and decides nothing."""

from __future__ import annotations

from typing import Any

from msgspec import UNSET, Struct, UnsetType


class DatasetEntry(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The dataset of the run."""

    name: str = ""
    title: str = ""
    source: str = ""
    licence: str = ""
    hash: str = ""


class SplitEntry(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The split of the run."""

    hash: str = ""
    rule: str = ""


class RestsOn(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The run, data and versions that a decision is based on, for later reference.

    Attributes
    ----------
    study : str
    seed : int or None
    run_command, run_finished : str
    run_versions : dict of str to str
        Versions of the packages in the run.
    results_hash : str
        Hash of all settings that can change a prediction.
    dataset : DatasetEntry
    split : SplitEntry
    chosen : dict
        What the backend chose on `tune`.
    features : dict
        The features' description in the run.
    decide_command : str
    decide_versions : dict of str to str
        Versions of the packages when the decision was made.
    labelled : dict, optional
        The sample of the flow that was labelled for it (``decide --labelled``), and what it showed.
    """

    study: str = ""
    seed: int | None = None
    run_command: str = ""
    run_finished: str = ""
    run_versions: dict[str, str] = {}
    results_hash: str = ""
    dataset: DatasetEntry = DatasetEntry()
    split: SplitEntry = SplitEntry()
    chosen: dict[str, Any] = {}
    features: dict[str, Any] = {}
    decide_command: str = ""
    decide_versions: dict[str, str] = {}
    labelled: dict[str, Any] | UnsetType = UNSET
