"""Measuring a device, part by part, into one file that is resumed where it was interrupted."""

from __future__ import annotations

import dataclasses
import json
import math
import re
import time
from dataclasses import asdict
from pathlib import Path

from shelfbench.base.console import Console
from shelfbench.base.errors import InputError, RunError
from shelfbench.base.storage import storage_errors
from shelfbench.cost.measurements import MatrixPeak, Measurements, Part, Repeated, read_measurements
from shelfbench.cost.timing import machine, versions
from shelfbench_deep.timing.child import TIME_UP, measure_in_child
from shelfbench_deep.timing.settings import TimingSettings


def measure(
    settings: TimingSettings, folder: Path, name: str, console: Console, *, minutes: float = math.inf
) -> tuple[Measurements, Path]:
    """Measure everything that a file of measurements lacks, the most important first.

    The file is written after every part. A part that fails does not stop the others.

    Parameters
    ----------
    settings : TimingSettings
    folder : Path
    name : str
        Of the file; empty for the device's name.
    console : Console
    minutes : float
        After these the part at hand is stopped; the file has what was measured by then.

    Returns
    -------
    Measurements
    Path
        The file.

    Raises
    ------
    InputError
        If the file has measurements with other settings or versions, or there are no minutes.
    RunError
        If not even the device can be identified.
    """
    if not minutes > 0:
        raise InputError(f"--minutes is {minutes:g}", "give a positive number")
    until = time.monotonic() + 60 * minutes
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    console.log("measuring the device's peak with matrix products")
    found = measure_in_child("device", settings, seconds=60 * minutes)
    if found.get("status") != "done":
        raise RunError(f"the device cannot be measured ({found['reason']})", "check the installation of Keras")
    answer = found["device"]
    chosen = settings.on(answer["kind"])
    path = folder / (name or f"{slug(answer['name'])}.json")
    fresh = Measurements(
        device=answer["name"],
        kind=answer["kind"],
        engine=answer["engine"],
        machine=machine(),
        versions=versions(),
        settings=json.loads(json.dumps(asdict(dataclasses.replace(chosen, precision_from="")))),
        peaks=tuple(MatrixPeak(**peak) for peak in found["peaks"]),
    )
    parts, missing = _finished(path, fresh), []
    for part in chosen.by_importance():
        done = dataclasses.replace(fresh, parts=tuple(parts))
        if done.part(part) is not None:
            console.log(f"{part}: already measured")
            continue
        if (left := until - time.monotonic()) <= 0:
            missing.append(part)
            continue
        console.log(part)
        values = measure_in_child(part, chosen, processes=_faster_in_processes(done), seconds=left)
        measured = tuple(Repeated(**repeated) for repeated in values.pop("measured", ()))
        if values.get("reason") == TIME_UP:
            missing.append(part)
            if not measured:
                continue
        parts.append(Part(name=part, **values, measured=measured))
        if parts[-1].status != "done":
            console.warn(f"{part}: {parts[-1].reason}")
        # after every part, so that being killed costs one at most
        dataclasses.replace(fresh, parts=tuple(parts)).write(path)
    if missing:
        console.warn(f"the time was up before these were measured: {', '.join(missing)}; repeat the command for them")
    order = {part: number for number, part in enumerate(chosen.names())}
    result = dataclasses.replace(fresh, parts=tuple(sorted(parts, key=lambda part: order[part.name])))
    result.write(path)
    return result, path


def _finished(path: Path, fresh: Measurements) -> list[Part]:
    """Parts that are already in a file, if it was measured in the same way."""
    earlier = read_measurements(path) if path.exists() else None
    if earlier is None:
        return []
    same = ("device", "engine", "versions", "settings")
    if differ := [key for key in same if getattr(earlier, key) != getattr(fresh, key)]:
        raise InputError(f"{path} was measured with other {', '.join(differ)}", "choose another --out, or delete it")
    return [part for part in earlier.parts if part.status == "done"]


def slug(name: str) -> str:
    """Turn a device's name into that of a file: lower case, digits and '-'."""
    return re.sub(r"[^a-z0-9]+", "-", re.sub(r"\((?:r|tm)\)", "", name.lower())).strip("-") or "device"


def _faster_in_processes(done: Measurements) -> bool:
    """Whether processes decode faster than threads here."""
    decode = done.part("decode")
    threads, processes = (decode.way("threads"), decode.way("processes")) if decode else (None, None)
    return bool(processes and (threads is None or processes.rate > threads.rate))
