"""Making anew what is damaged in a run: ``shelfbench run ... --repair``.

Damaged backends are noted as failed, and a run makes failed backends again: what it needs for that and is not damaged
(features, trained networks) is in the cache. Nothing is removed before it has been made anew.
"""

from __future__ import annotations

from pathlib import Path

from shelfbench.base.console import Console
from shelfbench.base.errors import InputError
from shelfbench.base.locking import locked
from shelfbench.runs.entries import Entry
from shelfbench.runs.intact import damaged, is_changed
from shelfbench.runs.reading_rows import read_products
from shelfbench.runs.record import RECORD, RunRecord, read_json, read_record, write_record


def note_damage(out: Path, console: Console) -> None:
    """Note every damaged backend of a run directory as failed, and say which they are.

    Parameters
    ----------
    out : Path
        A run directory; nothing is done if no run has begun in it.
    console : Console

    Raises
    ------
    InputError
        If its record is damaged, or another process is working in it.
    """
    if not (out / RECORD).exists():
        return
    with locked(out):
        values, record = read_json(out), read_record(out, Entry)
        lost = damaged(out, {name: entry.files for name, entry in record.backends.items() if entry.done})
        lost |= _unreadable(out, record)
        for name, paths in lost.items():
            what = f"{paths[0]}{f' and {len(paths) - 1} more files' if len(paths) > 1 else ''}"
            console.log(f"{name}: {what} changed or gone, so it is made anew")
            kept = {key: value for key, value in values["backends"][name].items() if key != "files"}
            values["backends"][name] = {**kept, "status": "failed", "reason": f"damaged: {what}"}
        tables = [path for path, digest in record.files.items() if is_changed(out, path, digest)]
        for path in tables:
            del values["files"][path]
            if path == "timings.parquet":
                console.warn(f"{out / path} has changed and is removed: the seconds of what is not made anew are lost")
            else:
                console.log(f"{path} changed, so it is made anew")
        if not lost and not tables:
            console.log(f"nothing in {out} is damaged")
            return
        write_record(out, values)
        for path in tables:  # a run writes them again
            (out / path).unlink(missing_ok=True)


def _unreadable(out: Path, record: RunRecord[Entry]) -> dict[str, list[str]]:
    """Find backends of earlier versions, which kept no hashes, whose predictions cannot be read."""
    found = {}
    for name, entry in record.backends.items():
        if entry.done and not entry.files and not record.experiment:
            try:
                read_products(out, name)
            except InputError:
                found[name] = [f"predictions of {name}"]
    return found
