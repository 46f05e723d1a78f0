"""Whether the files of a run are what they were when it wrote them.

``run.json`` keeps the SHA-256 of every file of a finished backend (`files` of its entry), and of the tables of the
whole run (`RunRecord.files`). Only what is there is checked: results are kept without what is large. Runs of earlier
versions have no hashes.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from shelfbench.base.errors import InputError
from shelfbench.base.storage import file_sha256, file_stem
from shelfbench.runs.record import RECORD, RunRecord

MODELS = "models"
# Folders of a run with files of backends, besides their models.
FOLDERS = ("predictions", "scores", "aggregations", "history", "guards", "out_of_fold")
REPAIR = "--repair"


class Changed(InputError):
    """A file of a run is not what the run wrote: no number that depends on it is shown."""


def hashes_of(out: Path, name: str) -> dict[str, str]:
    """Hash every file that a backend, or another job, has left in a run directory.

    Parameters
    ----------
    out : Path
        The run directory.
    name : str

    Returns
    -------
    dict of str to str
        SHA-256 by path, relative to `out` and separated by ``/``.
    """
    return {path.relative_to(out).as_posix(): file_sha256(path) for path in _files(out, file_stem(name))}


def _files(out: Path, stem: str) -> Iterator[Path]:
    for folder in FOLDERS:
        for path in (out / folder / f"{stem}.parquet", out / folder / f"{stem}.tuning.parquet"):
            if path.is_file():
                yield path
    model = out / MODELS / stem
    yield from sorted(path for path in model.rglob("*") if path.is_file() and not path.name.startswith("."))


def check(run_dir: Path, record: RunRecord[Any], name: str, *, model: bool = False) -> None:
    """Make sure that the files of a backend are what they were when it finished.

    Parameters
    ----------
    run_dir : Path
    record : RunRecord
    name : str
        A backend or another job.
    model : bool
        Check its model, rather than its tables.

    Raises
    ------
    Changed
        If one has changed; the message names it.
    """
    entry = record.backends.get(name)
    for path, digest in (entry.files if entry else {}).items():
        if path.startswith(f"{MODELS}/") != model:
            continue
        if model and not (run_dir / path).exists() and (run_dir / MODELS / file_stem(name)).is_dir():
            raise Changed(f"{run_dir / path} is missing", remedy(run_dir, record, name))
        if is_changed(run_dir, path, digest):
            raise Changed(f"{run_dir / path} has changed since {name} was finished", remedy(run_dir, record, name))


def check_shared(run_dir: Path, record: RunRecord[Any]) -> None:
    """Make sure that the tables of a whole run (its split, its timings) are what it wrote; see `check`."""
    for path, digest in record.files.items():
        if is_changed(run_dir, path, digest):
            raise Changed(f"{run_dir / path} has changed since the run wrote it", remedy(run_dir, record))


def check_all(run_dir: Path, record: RunRecord[Any]) -> None:
    """Make sure that every table of a run is what it wrote; see `check`."""
    check_shared(run_dir, record)
    for name, entry in record.backends.items():
        if entry.done:
            check(run_dir, record, name)


class Intact:
    """Checks the files of an opened run, each when it is first needed.

    Parameters
    ----------
    run_dir : Path
    record : RunRecord
    """

    def __init__(self, run_dir: Path, record: RunRecord[Any]) -> None:
        self._run_dir = run_dir
        self._record = record
        self._known: set[tuple[str, bool]] = set()

    def check(self, name: str = "", *, model: bool = False) -> None:
        """Check the tables of the whole run, those of a backend, and its model; see `check`.

        Parameters
        ----------
        name : str
            Empty for the tables of the whole run alone.
        model : bool
            Whether its model is checked, too.
        """
        if (name, model) in self._known:
            return
        if name:
            self.check(name if model else "")
        if name:
            check(self._run_dir, self._record, name, model=model)
        else:
            check_shared(self._run_dir, self._record)
        self._known.add((name, model))


def is_changed(run_dir: Path, path: str, digest: str) -> bool:
    """Tell whether a file of a run is there and is not what it was.

    Parameters
    ----------
    run_dir : Path
    path : str
        Relative to it.
    digest : str
        The SHA-256 that it had.

    Returns
    -------
    bool

    Raises
    ------
    InputError
        If it cannot be read.
    """
    whole = run_dir / path
    if ".." in Path(path).parts or os.path.isabs(path):
        raise InputError(f"{run_dir / RECORD} names {path!r}, which leads out of the run", "run the study again")
    if not whole.exists():
        return False
    if not whole.is_file():
        return True
    try:
        return file_sha256(whole) != digest
    except OSError as error:
        raise InputError(f"{whole} cannot be read ({error.strerror or error})", "check the disk") from None


def remedy(run_dir: Path, record: RunRecord[Any], name: str = "") -> str:
    """Say how a file of a run is made anew.

    Parameters
    ----------
    run_dir : Path
    record : RunRecord
    name : str
        The backend that it belongs to; empty for one of the whole run.

    Returns
    -------
    str
    """
    if record.merged:
        where, _ = record.homes.get(name, (Path(), ""))
        return f"merge again{f' with {where}' if name in record.homes else ''}: {record.command}"
    words = shlex.split(record.command) if record.command.startswith("shelfbench run") else []
    if not words:
        return "make it anew: call shelfbench.run as for this run, with repair=True"
    more = [] if REPAIR in words else [REPAIR]
    place = _given_place(words, record)
    if place not in (run_dir.resolve(), run_dir.resolve().parent):  # it was moved; draws are below the place
        more += ["--out", str(run_dir)]
    return f"make it anew: {' '.join([record.command, *map(shlex.quote, more)])}"


def _given_place(words: list[str], record: RunRecord[Any]) -> Path:
    """Return where a command writes."""
    for number, word in enumerate(words):
        if word == "--out":
            return Path(words[number + 1] if number + 1 < len(words) else "").resolve()
        if word.startswith("--out="):
            return Path(word.partition("=")[2]).resolve()
    return (Path("results") / str(record.study.get("name") or "")).resolve()


def damaged(run_dir: Path, jobs: Mapping[str, Mapping[str, str]]) -> dict[str, list[str]]:
    """Find the jobs whose files have changed or are gone.

    Parameters
    ----------
    run_dir : Path
    jobs : mapping of str to mapping
        The hashes of each job's files.

    Returns
    -------
    dict of str to list of str
        The damaged files of each job that has any.
    """
    found = {
        name: [
            path for path, digest in files.items() if not (run_dir / path).exists() or is_changed(run_dir, path, digest)
        ]
        for name, files in jobs.items()
    }
    return {name: paths for name, paths in found.items() if paths}
