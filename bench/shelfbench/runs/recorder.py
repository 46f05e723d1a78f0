"""The run record: ``run.json`` and ``timings.parquet``, written whole after every step, so that a run can go on."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from shelfbench.base.errors import InputError
from shelfbench.base.storage import storage_errors, write_json, write_whole

try:
    import fcntl
except ImportError:  # Windows has no such locks; two runs in one directory are then the user's care
    fcntl = None  # type: ignore[assignment]


def write_parquet(path: Path, table: pa.Table | pd.DataFrame) -> None:
    """Write a Parquet file (zstd), whole or not at all."""
    if isinstance(table, pd.DataFrame):
        table = pa.Table.from_pandas(table, preserve_index=False)
    write_whole(path, lambda aside: pq.write_table(table, aside, compression="zstd"))


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


@contextmanager
def locked(out: Path) -> Iterator[None]:
    """Keep other runs out of a run directory.

    Raises
    ------
    InputError
        If one is working in it.
    """
    with storage_errors(out):
        handle = open(out / ".lock", "w")  # noqa: SIM115  (closed below; only its opening is the disk's affair)
    with handle:
        if fcntl is not None:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise InputError(f"another run is working in {out}", "wait for it, or choose another --out") from None
        yield


def differences(old: Any, new: Any, prefix: str = "") -> list[str]:
    """Names of settings that differ, like ``section.key``."""
    if isinstance(old, dict) and isinstance(new, dict):
        return [name for key in {**old, **new} for name in differences(old.get(key), new.get(key), f"{prefix}{key}.")]
    return [] if old == new else [prefix.rstrip(".")]


class RunRecord:
    """``run.json`` of a run directory, and its timings.

    Attributes
    ----------
    values : dict
        What ``run.json`` holds.
    """

    def __init__(self, out: Path, values: dict[str, Any]) -> None:
        self._out = out
        self.values = values

    @classmethod
    def start(cls, out: Path, values: dict[str, Any]) -> RunRecord:
        """Open the record of a directory: go on with the run in it, or begin one.

        Raises
        ------
        InputError
            If the directory holds predictions of a run with other settings, or a damaged record.
        """
        values = json.loads(json.dumps(values))  # as it will be read again: tuples are lists
        backends: dict[str, Any] = {}
        previous: dict[str, Any] = {}
        if any((out / "predictions").glob("*.parquet")) or (
            values["study"].get("experiment") and (out / "run.json").exists()
        ):
            try:
                previous = json.loads((out / "run.json").read_text(encoding="utf-8"))
                backends = {name: dict(entry) for name, entry in previous["backends"].items()}
                if not all(isinstance(previous[name], dict) for name in ("dataset", "split")):
                    raise TypeError("no record")
            except FileNotFoundError:
                raise InputError(f"{out} holds predictions and no run.json", "choose another --out") from None
            except (ValueError, KeyError, TypeError, AttributeError):
                raise InputError(
                    f"{out / 'run.json'} is damaged", "choose another --out, or delete the folder"
                ) from None
            same = previous.get("results_hash") == values["results_hash"]
            done = any(entry.get("status") == "done" for entry in backends.values())
            if not same and not done and values["study"].get("experiment"):
                previous, backends = {}, {}  # it came to nothing: other settings harm nothing
            elif not same:
                differ = [
                    name
                    for name in differences(previous.get("study"), values["study"])
                    if name not in ("title", "name", "backends") and not name.startswith("report")
                ]
                raise InputError(
                    f"{out} holds a run with other settings ({', '.join(differ) or 'of its backends'})",
                    "choose another --out, or delete that folder",
                )
        values = {
            **values,
            "started": previous.get("started", _now()),
            "finished": "",
            "status": "running",
            "reason": "",
            # kept until the data have been read again and found the same: what the predictions rest on
            "dataset": previous.get("dataset", {}),
            "split": previous.get("split", {}),
            "backends": backends,
        }
        record = cls(out, values)
        record._write()
        return record

    def _write(self) -> None:
        write_json(self._out / "run.json", self.values)

    def update(self, dataset: dict[str, Any], split: dict[str, Any]) -> None:
        """Note the dataset and the split.

        Raises
        ------
        InputError
            If the run in this directory rests on other data.
        """
        for name, new in (("dataset", dataset), ("split", split)):
            if self.values[name].get("hash", new["hash"]) != new["hash"]:
                raise InputError(f"the {name} has changed since the run in {self._out} began", "choose another --out")
        unreadable = self.values["dataset"].get("unreadable", [])
        self.values["dataset"], self.values["split"] = dataset, split
        self.unreadable(unreadable)

    def unreadable(self, records: list[dict[str, str]]) -> None:
        """Name the images that cannot be read, and why."""
        self.values["dataset"].update(unreadable_images=len(records), unreadable=records)
        self._write()

    def near_duplicates(self, counts: dict[str, Any]) -> None:
        """Note how many products of a part of the split have a twin in an earlier one."""
        self.values["split"]["near_duplicates"] = counts
        self._write()

    def is_done(self, name: str) -> bool:
        """Whether a backend has its predictions."""
        return (
            self.values["backends"].get(name, {}).get("status") == "done"
            and (self._out / "predictions" / f"{name}.parquet").exists()
            and (self._out / "scores" / f"{name}.parquet").exists()
        )

    def is_marked_done(self, name: str) -> bool:
        """Whether the record says so: of a variant of an experiment, which leaves no predictions, that is all."""
        return bool(self.values["backends"].get(name, {}).get("status") == "done")

    def done(self) -> list[str]:
        """Names of the backends that have their predictions."""
        return [name for name in self.values["backends"] if self.is_done(name)]

    def backend(self, name: str, **values: Any) -> None:
        """Note something of a backend."""
        self.values["backends"].setdefault(name, {"status": "pending", "reason": ""}).update(values)
        self._write()

    def time(self, name: str, rows: pd.DataFrame) -> None:
        """Note the timings of a backend, in place of earlier ones."""
        path = self._out / "timings.parquet"
        if path.exists():
            earlier = pd.read_parquet(path)
            earlier = earlier[(earlier["backend"] != name) & earlier["backend"].map(self.is_marked_done)]
            rows = pd.concat([earlier, rows], ignore_index=True) if len(earlier) else rows
        write_parquet(path, rows)

    def finish(self, status: str, reason: str = "") -> None:
        """Note how the run ended."""
        self.values.update(status=status, reason=reason, finished=_now())
        self._write()
