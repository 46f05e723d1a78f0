"""The record of a run while it runs: ``run.json`` and ``timings.parquet``, written whole after every step.

A run directory is bound to its settings from the moment it has a ``run.json``: only a run with the same settings may
resume in it. The file is first written when a run has read its data (`Recorder.begin`); until then everything is kept
in memory, so that a failed start leaves nothing behind. `shelfbench.runs.record` describes the contents of the file.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from shelfbench.base.errors import InputError, RunError
from shelfbench.base.storage import file_sha256, write_parquet
from shelfbench.base.version import __version__
from shelfbench.cost.timing import machine, versions
from shelfbench.data.photo_size import ChosenSize
from shelfbench.plugins.finding import head_of
from shelfbench.runs.entries import Entry
from shelfbench.runs.intact import check, check_shared, hashes_of
from shelfbench.runs.reading import reading
from shelfbench.runs.record import RECORD, RunRecord, as_json, read_json, read_record, write_record
from shelfbench.study.model import FITTED, Study

ELSEWHERE = "choose another --out, or delete that folder"


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def differences(old: Any, new: Any, prefix: str = "") -> list[str]:
    """Names of the settings that differ, like ``section.key``.

    Parameters
    ----------
    old : Any
        A JSON value.
    new : Any
        Another.
    prefix : str
        Before every name.

    Returns
    -------
    list of str
    """
    if isinstance(old, dict) and isinstance(new, dict):
        return [name for key in {**old, **new} for name in differences(old.get(key), new.get(key), f"{prefix}{key}.")]
    return [] if old == new else [prefix.rstrip(".")]


class Recorder:
    """Writes ``run.json`` of a run directory, and its timings.

    Parameters
    ----------
    out : Path
        The run directory, which need not exist.
    values : dict
        The contents of ``run.json``.

    Attributes
    ----------
    out : Path
    values : dict
        As given, updated by every note.
    """

    def __init__(self, out: Path, values: dict[str, Any]) -> None:
        self.out = out
        self._begun = False
        self.values = values

    @classmethod
    def open(cls, out: Path, study: Study, command: str) -> Recorder:
        """Open the record of a directory: resume the run in it, or prepare a new one. Nothing is written yet.

        Parameters
        ----------
        out : Path
            The run directory, locked for this run.
        study : Study
        command : str
            The command that repeats this run.

        Returns
        -------
        Recorder

        Raises
        ------
        InputError
            If the directory is bound to other settings, or its record is damaged or missing.
        """
        values = {
            "shelfbench": __version__,
            "command": command,
            "study": study.record(),
            "results_hash": study.results_hash(),
            "seed": study.seed,
            "machine": machine(),
            "versions": versions(),
        }
        values = json.loads(json.dumps(values))  # as it will be read back: tuples become lists
        previous = _previous(out, values)
        if heads := {**_heads(previous), **values["study"].get("heads", {})}:
            values["study"]["heads"] = heads
        values |= {
            "started": previous.get("started") or _now(),
            "finished": "",
            "status": "running",
            "reason": "",
            # kept until the data have been read again and found unchanged: the results depend on them
            "dataset": previous.get("dataset") or {},
            "split": previous.get("split") or {},
            "backends": {name: entry or {} for name, entry in (previous.get("backends") or {}).items()},
        }
        for name in ("sizes", "views", "networks", "files"):
            if previous.get(name):
                values[name] = previous[name]
        return cls(out, values)

    def _write(self) -> None:
        if self._begun:
            write_record(self.out, self.values)

    def keep(self, name: str, table: pd.DataFrame) -> None:
        """Write a table of the whole run by the name of its file, and note its hash."""
        self._forget(name)
        write_parquet(self.out / name, table)
        self.values["files"][name] = file_sha256(self.out / name)
        self._write()

    def drop(self, name: str) -> None:
        """Delete a table of the whole run that an earlier command wrote and this one does without."""
        self._forget(name)
        (self.out / name).unlink(missing_ok=True)

    def _forget(self, name: str) -> None:
        """Whoever kills this process must not leave the hash of another table."""
        if self.values.setdefault("files", {}).pop(name, None):
            self._write()

    def begin(self, dataset: dict[str, Any], split: dict[str, Any]) -> None:
        """Note the data and their split, and start to write: from here on, the directory is bound to this run.

        Parameters
        ----------
        dataset : dict
            Describes the data, with their ``hash``; empty for an experiment without data.
        split : dict
            Describes the split, with its ``hash``; empty for an experiment without data.

        Raises
        ------
        InputError
            If the results in this directory are based on other data.
        """
        for name, new in (("dataset", dataset), ("split", split)):
            if self.values[name].get("hash", new.get("hash")) != new.get("hash"):
                raise InputError(f"the {name} has changed since the run in {self.out} began", "choose another --out")
        unreadable = self.values["dataset"].get("unreadable", [])
        if dataset:
            dataset = {**dataset, "unreadable_images": len(unreadable), "unreadable": unreadable}
        self.values["dataset"], self.values["split"] = dataset, split
        self._begun = True
        self._write()

    def size(self, name: str) -> ChosenSize | None:
        """Return the size that was chosen for a network's images in this directory; None if none was.

        Parameters
        ----------
        name : str
            Of its extractor.

        Returns
        -------
        ChosenSize or None
        """
        found = self.values.get("sizes", {}).get(name) or {}
        return ChosenSize(found["pixels"], found.get("reason", "")) if found.get("pixels") else None

    def note_size(self, name: str, chosen: ChosenSize) -> None:
        """Note the size that was chosen for a network's images, and why.

        Parameters
        ----------
        name : str
            Of its extractor.
        chosen : ChosenSize
        """
        self.values.setdefault("sizes", {})[name] = dataclasses.asdict(chosen)
        self._write()

    def note_view(self, name: str, says: str) -> None:
        """Note how a network sees photos in its own way, rather than the study's.

        Parameters
        ----------
        name : str
            Of its extractor.
        says : str
            `shelfbench.data.view.View.says`.
        """
        self.values.setdefault("views", {})[name] = says
        self._write()

    def note_network(self, name: str, says: str) -> None:
        """Note what was found out or chosen about a network that comes in a file.

        Parameters
        ----------
        name : str
            Of its extractor.
        says : str
        """
        self.values.setdefault("networks", {})[name] = says
        self._write()

    def unreadable(self, records: list[dict[str, str]]) -> None:
        """Record the images that cannot be read.

        Parameters
        ----------
        records : list of dict
            ``record`` (where it is) and ``reason`` of each.
        """
        self.values["dataset"].update(unreadable_images=len(records), unreadable=records)
        self._write()

    def near_duplicates(self, counts: dict[str, Any]) -> None:
        """Note how many products of a part of the split have a twin in an earlier one.

        Parameters
        ----------
        counts : dict
            See `shelfbench.runs.record.NearDuplicates`.
        """
        self.values["split"]["near_duplicates"] = counts
        self._write()

    def is_done(self, name: str, files: Sequence[Path] = ()) -> bool:
        """Tell whether a job is done and its results still exist.

        Parameters
        ----------
        name : str
        files : sequence of Path
            The files it leaves behind.

        Returns
        -------
        bool
        """
        return self.values["backends"].get(name, {}).get("status") == "done" and all(path.exists() for path in files)

    def check(self, name: str) -> None:
        """Make sure that the files of a finished job are what they were.

        Parameters
        ----------
        name : str

        Raises
        ------
        Changed
            If one has changed.
        """
        entry = Entry(files=self.values["backends"][name].get("files") or {})
        record = RunRecord(command=self.values["command"], backends={name: entry})
        for model in (False, True):
            check(self.out, record, name, model=model)

    @property
    def done(self) -> list[str]:
        """Names of finished jobs, including those of earlier commands in this directory."""
        return [name for name in self.values["backends"] if self.is_done(name)]

    def pending(self, name: str, notes: Mapping[str, Any]) -> None:
        """Note a job that is still to be done, with anything known beforehand."""
        self._note(name, {"status": "pending", "reason": "", **notes})

    def finished(self, name: str, entry: Entry) -> None:
        """Note a job as done.

        Parameters
        ----------
        name : str
        entry : Entry

        Raises
        ------
        RunError
            If it holds what does not go into JSON.
        """
        entry.status, entry.reason, entry.files = "done", "", hashes_of(self.out, name)
        try:
            values = json.loads(json.dumps(as_json(entry), allow_nan=False))
        except (TypeError, ValueError) as error:
            raise RunError(f"what it notes in {RECORD} is not JSON ({error})", "give plain numbers and text") from None
        self._note(name, values)

    def failed(self, name: str, reason: str) -> None:
        """Note a job as failed, and why."""
        self._note(name, {**self.values["backends"].get(name, {}), "status": "failed", "reason": reason})

    def _note(self, name: str, values: dict[str, Any]) -> None:
        self.values["backends"][name] = values
        self._write()

    def time(self, name: str, rows: pd.DataFrame) -> None:
        """Write the timings of a job, replacing its earlier ones.

        Parameters
        ----------
        name : str
        rows : DataFrame
            From `shelfbench.cost.timing.timings_frame`.
        """
        path = self.out / "timings.parquet"
        if path.exists():
            with reading(path):
                earlier = pd.read_parquet(path)[rows.columns]
            earlier = earlier[(earlier["backend"] != name) & earlier["backend"].map(self.is_done)]
            rows = pd.concat([earlier, rows], ignore_index=True) if len(earlier) else rows
        self.keep(path.name, rows)

    def finish(self, status: str, reason: str = "") -> None:
        """Note how the run ended.

        Parameters
        ----------
        status : {'complete', 'failed', 'interrupted'}
        reason : str
        """
        self.values.update(status=status, reason=reason, finished=_now())
        self._write()


def _elsewhere(out: Path, dataset: str) -> str:
    """Return the remedy for a directory that holds the run of another dataset: a place beside it."""
    stem = re.sub(r"[^\w\-]+", "-", Path(dataset).stem).strip("-").lower()
    place = out.with_name(stem) if stem and stem != out.name else None
    if place is None or place.exists():
        return f"choose another --out for {dataset}"
    return f"choose another --out for {dataset}, such as --out {place}"


def _heads(previous: dict[str, Any]) -> dict[str, Any]:
    """Return the heads of earlier commands in this directory."""
    return dict((previous.get("study") or {}).get("heads") or {})


def _previous(out: Path, values: dict[str, Any]) -> dict[str, Any]:
    """Return the record of the run in a directory, empty if there are no results; refuse one with other settings."""
    predictions = any((out / "predictions").glob("[!.]*.parquet"))
    if not (out / RECORD).exists():
        if predictions:
            raise InputError(f"{out} contains predictions but no {RECORD}", "choose another --out")
        return {}
    try:
        previous = read_json(out)
        record = read_record(out, Entry)
    except InputError:
        raise InputError(f"{out / RECORD} is damaged", "choose another --out, or delete the folder") from None
    if record.merged:
        raise InputError(f"{out} contains merged runs, which no run goes on with", ELSEWHERE)
    if previous.get("results_hash") != values["results_hash"]:
        differ = [
            name
            for name in differences(previous.get("study"), values["study"])
            if name not in ("title", "name", "backends")
            and (not name.startswith("report") or name in [f"report.{setting}" for setting in FITTED])
        ]
        if "dataset.name" in differ:
            earlier, new = (study["dataset"]["name"] for study in (previous["study"], values["study"]))
            raise InputError(f"{out} contains a run of another dataset, {earlier}", _elsewhere(out, new))
        raise InputError(
            f"{out} contains a run with other settings ({', '.join(differ) or 'of its backends'})", ELSEWHERE
        )
    finished = {head_of(name) for name, entry in record.backends.items() if entry.done}
    now = values["study"].get("heads", {})
    kept = {head: made for head, made in _heads(previous).items() if head in finished & set(now)}
    if differ := differences(kept, {head: now[head] for head in kept}, "heads."):
        raise InputError(
            f"{out} contains results of other settings ({', '.join(differ)})", f"rename the head, or {ELSEWHERE}"
        )
    check_shared(out, record)  # --repair removes what has changed
    done = any(entry.done for entry in record.backends.values())
    return previous if predictions or (values["study"].get("experiment") and done) else {}
