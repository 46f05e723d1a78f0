"""Merging run directories: results on the same split of the same data, from several machines and runs.

What is compared is what stands in ``predictions/``, so a merge copies that, with scores, histories and times, and
leaves models behind. The result is a run directory like any other for reports and ``shelfbench compare``.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from shelfbench.base.errors import InputError
from shelfbench.base.storage import file_sha256, file_stem, storage_errors, whole_folder, write_parquet
from shelfbench.runs.directory import Run, open_run
from shelfbench.runs.intact import hashes_of
from shelfbench.runs.reading import reading
from shelfbench.runs.record import RECORD, MergedRun, as_json, read_json, write_record
from shelfbench.runs.recorder import differences

_FOLDERS = ("predictions", "scores", "aggregations", "history")
_SHARED = ("split.parquet", "near_duplicates.parquet", "truth.parquet")  # facts about the data and the split
_ASIDE = ("title", "name", "backends", "report", "seed")  # settings that are no reason to read two results apart
_SHOWN = 60  # characters of a setting


def merge_runs(directories: Sequence[Path], out: Path, command: str = "") -> list[str]:
    """Write a run directory with the results of several.

    Parameters
    ----------
    directories : sequence of Path
        At least two run directories with predictions, on the same split of the same data.
    out : Path
        A folder that does not exist, is empty, or contains an earlier merge, which is replaced.
    command : str
        For the record.

    Returns
    -------
    list of str
        What a reader should know: runs that have not finished, backends that are left out.

    Raises
    ------
    InputError
        If a directory is not a run with predictions, data or split differ, or something else is at `out`.
    """
    runs = _opened(directories, out)
    _check_same(runs)
    names = _names(runs)
    _check_place(out)
    with whole_folder(out) as aside:
        timings = []
        for run, named in zip(runs, names, strict=True):
            for name, own in named.items():
                _copy(run, own, name, aside)
            timings.append(_timings(run, {own: name for name, own in named.items()}))
        known = [frame for frame in timings if frame is not None]
        if known:
            write_parquet(aside / "timings.parquet", pd.concat(known, ignore_index=True))
        for name in _SHARED:
            source = next((run.path / name for run in runs if (run.path / name).is_file()), None)
            if source is not None:
                shutil.copyfile(source, aside / name)
        values = _record(runs, names, command)
        for name in (name for named in names for name in named):
            values["backends"][name]["files"] = hashes_of(aside, name)
        shared = [name for name in ("timings.parquet", *_SHARED) if (aside / name).is_file()]
        write_record(aside, {**values, "files": {name: file_sha256(aside / name) for name in shared}})
    return [line for run in runs for line in _doubts(run)]


def _opened(directories: Sequence[Path], out: Path) -> list[Run]:
    if len(directories) < 2:
        raise InputError("a merge needs two run directories", "name another one")
    seen: dict[Path, Path] = {}
    for path in directories:
        place = path.resolve()
        if place in seen:
            raise InputError(f"{path} is named twice", "name each run directory once")
        if out.resolve() == place or out.resolve().is_relative_to(place):
            raise InputError(f"the merge would be written into the run directory {path}", "choose another --out")
        seen[place] = path
    runs = [open_run(path) for path in directories]
    for run in runs:
        if run.record.merged:
            raise InputError(f"{run.path} contains merged runs", "name the run directories that it was made of")
        if not (run.record.dataset.hash and run.record.split.hash):
            raise InputError(f"{run.path / RECORD} does not say which data and split it rests on", "run it again")
    return runs


def _check_same(runs: Sequence[Run]) -> None:
    """Refuse runs that differ in data or split: by their hashes, and by what their predictions hold."""
    first = runs[0]
    for run in runs[1:]:
        data = (first.record.dataset, run.record.dataset)
        if data[0].hash != data[1].hash:
            sizes = [f"{found.name}, {found.products or 0:,} products, hash {found.hash[:12]}" for found in data]
            raise InputError(
                f"{first.path} and {run.path} are runs on different data ({sizes[0]}; {sizes[1]})",
                "merge runs on the same products and photos",
            )
        if first.record.split.hash != run.record.split.hash:
            raise InputError(
                f"{first.path} and {run.path} split the data differently ({split_reason(first, run)})", _REMEDY
            )
    reference = _facts(first, first.sound[0])
    for run in runs:
        for backend in run.sound:
            found = _facts(run, backend)
            for what, one, two in zip(("products", "split", "roles", "categories"), reference, found, strict=True):
                if not np.array_equal(one, two):
                    raise InputError(
                        f"the predictions of {backend} in {run.path} hold other {what} than those of {first.sound[0]} "
                        f"in {first.path}",
                        "the record and its files do not belong together: run it again",
                    )


_REMEDY = "only results on the same test products can stand side by side; draws are made by shelfbench run --seeds N"


def split_reason(first: Run, second: Run) -> str:
    """Say why two runs split the data differently.

    Parameters
    ----------
    first : Run
    second : Run

    Returns
    -------
    str
        Their seeds, the settings that differ, or the hashes of the splits.
    """
    one, two = first.record, second.record
    if one.seed != two.seed:
        return f"seed {one.seed} and seed {two.seed}"
    changed = differences(one.study.get("split") or {}, two.study.get("split") or {}, "split.")
    return ", ".join(changed) or f"hash {one.split.hash[:12]} and {two.split.hash[:12]}"


def _facts(run: Run, backend: str) -> tuple[np.ndarray, ...]:
    """Return products, split, roles and true categories of a backend's predictions, in the order of the products."""
    products = run.products(backend)
    order = np.argsort(products.product_id, kind="stable")
    truth = np.array(products.keys, dtype=object)[products.truth]
    columns = (products.product_id, np.asarray(products.split), np.asarray(products.role), truth)
    return tuple(values[order] for values in columns)


def _names(runs: Sequence[Run]) -> list[dict[str, str]]:
    """Name each backend of each run (new: own): by its directory where several runs have it."""
    counts: dict[str, int] = {}
    for run in runs:
        for backend in run.sound:
            counts[backend] = counts.get(backend, 0) + 1
    places = distinct([run.path for run in runs])
    return [
        {(own if counts[own] == 1 else _marked(own, f" ({place})")): own for own in run.sound}
        for run, place in zip(runs, places, strict=True)
    ]


def _marked(own: str, mark: str) -> str:
    """Add a mark to a backend's name, before the address of its network."""
    base, at, network = own.partition("@")
    return f"{base}{mark}{at}{network}"


def distinct(paths: Sequence[Path]) -> list[str]:
    """Name paths by as few of their last parts as tell them apart.

    Parameters
    ----------
    paths : sequence of Path
        All different.

    Returns
    -------
    list of str
        ``a/run`` and ``b/run``; ``first`` and ``second``.
    """
    parts = [path.resolve().parts for path in paths]
    for depth in range(1, max(map(len, parts)) + 1):
        found = ["/".join(part[-depth:]) for part in parts]
        if len(set(found)) == len(found):
            return found
    return [str(path) for path in paths]


def _copy(run: Run, own: str, name: str, aside: Path) -> None:
    for folder in _FOLDERS:
        for suffix in ("", ".tuning"):
            source = run.path / folder / f"{file_stem(own)}{suffix}.parquet"
            if source.is_file():
                target = aside / folder / f"{file_stem(name)}{suffix}.parquet"
                target.parent.mkdir(exist_ok=True)
                shutil.copyfile(source, target)


def _timings(run: Run, named: dict[str, str]) -> pd.DataFrame | None:
    path = run.path / "timings.parquet"
    if not path.is_file():
        return None
    with reading(path):
        frame = pd.read_parquet(path)
        frame = frame[frame["backend"].isin(list(named))]
        return frame.assign(backend=frame["backend"].map(named))


def _record(runs: Sequence[Run], names: Sequence[dict[str, str]], command: str) -> dict[str, Any]:
    """Write the record of a merge: that of the first run, with everybody's backends, and where they come from."""
    values = [read_json(run.path) for run in runs]
    entries: dict[str, Any] = {}
    for run, named, read in zip(runs, names, values, strict=True):
        entries |= {name: _entry(read, own, name) for name, own in named.items()}
        # a backend that failed here and is done elsewhere needs no mention
        lost = {own: entry for own, entry in (read.get("backends") or {}).items() if own not in named.values()}
        for own, entry in lost.items():
            if not any(own in other.values() for other in names):
                reason = f"{(entry or {}).get('reason') or 'not done'} (in {run.path})"
                entries[own] = {**(entry or {}), "status": "failed", "reason": reason}
    merged = [
        MergedRun(
            directory=str(run.path),
            backends=named,
            study=run.record.settings.name,
            seed=run.record.seed,
            command=run.record.command,
            machine=run.record.machine,
            shelfbench=run.record.shelfbench,
            finished=run.record.finished,
            differs=_differing(runs[0], run),
        )
        for run, named in zip(runs, names, strict=True)
    ]
    first = values[0]
    duplicates = [read["split"].get("near_duplicates") for read in values if read["split"].get("near_duplicates")]
    return {
        **first,
        "command": command,
        "study": {**(first.get("study") or {}), "backends": list(entries)},
        "results_hash": "",
        "seed": _same([run.record.seed for run in runs]),
        "machine": _same([read.get("machine") for read in values]) or {"cpu": "several (see Merged runs)"},
        "versions": _common([dict(read.get("versions") or {}) for read in values]),
        "started": min(run.record.started for run in runs),
        "finished": max(run.record.finished for run in runs),
        "status": "complete",
        "reason": "",
        "split": {**first["split"], **({"near_duplicates": duplicates[0]} if duplicates else {})},
        "backends": entries,
        **{
            name: {key: value for read in reversed(values) for key, value in (read.get(name) or {}).items()}
            for name in ("sizes", "views", "networks")
            if any(read.get(name) for read in values)
        },
        "merged": [as_json(run) for run in merged],
    }


def _entry(read: dict[str, Any], own: str, name: str) -> dict[str, Any]:
    """Return the entry of a backend; one that is named by its directory has that in its name in tables, too."""
    entry = read["backends"].get(own) or {"status": "done"}
    columns = entry.get("columns") or {}
    if name == own or "Feature" not in columns:
        return dict(entry)
    base, at, network = own.partition("@")
    mark = name.removeprefix(base).removesuffix(at + network)
    return {**entry, "columns": {**columns, "Feature": columns["Feature"] + mark}}


def _differing(first: Run, run: Run) -> dict[str, str]:
    """Return the settings of a study that differ from those of the first run, with both values."""
    one, two = first.record.study, run.record.study
    found = {}
    for name in differences(one, two):
        section = name.partition(".")[0]
        both = section in one and section in two
        if section not in _ASIDE and both:
            found[name] = f"{_value(one, name)} there, {_value(two, name)} here"
    return found


def _value(study: Any, name: str) -> str:
    for key in name.split("."):
        study = study.get(key) if isinstance(study, dict) else None
    text = json.dumps(study, ensure_ascii=False)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]} ..."


def _same(values: Sequence[Any]) -> Any:
    return values[0] if all(value == values[0] for value in values) else None


def _common(versions: Sequence[dict[str, str]]) -> dict[str, str]:
    return {
        name: version if all(other.get(name, version) == version for other in versions) else "several"
        for name, version in versions[0].items()
    }


def _doubts(run: Run) -> Iterator[str]:
    if run.record.status not in ("complete", ""):
        yield f"{run.path} is {run.record.status}: what it has is merged"
    for name, error in run.damaged.items():
        yield f"{run.path}: {name} is left out: {error}"


def _check_place(out: Path) -> None:
    """Refuse to write a merge where something else is."""
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise InputError(f"{out} is not a folder", "name a new folder")
    with storage_errors(out):
        if out.exists() and any(out.iterdir()) and not _is_merge(out):
            raise InputError(f"{out} contains something other than merged runs", "name a new folder")


def _is_merge(out: Path) -> bool:
    try:
        return bool(read_json(out).get("merged"))
    except InputError:
        return False
