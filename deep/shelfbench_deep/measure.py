"""What training costs on this machine: Table 3 of C, Table 3 of X, and the cost of every backbone.

Runs by itself where there is Keras and one of its engines, without data or network::

    KERAS_BACKEND=jax python -m shelfbench_deep.measure --out DIR

and within the study ``timing``. Every part runs in a process of its own, so that one that fails (for want of memory,
say) fails alone and peaks of memory are its own; the file is written after every part, and the same command goes on
with the parts that it lacks.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from shelfbench.base.console import Console
from shelfbench.base.errors import InputError, RunError, ShelfbenchError
from shelfbench.base.storage import storage_errors, write_json
from shelfbench.cost.measurements import MatrixPeak, Measurements, Part, Repeated, read_measurements
from shelfbench.cost.timing import machine, versions

_PRECISIONS = ("auto", "float32", "mixed_bfloat16")


@dataclass(frozen=True)
class TimingSettings:
    """Section ``timing`` of a study, and the options of the script.

    Attributes
    ----------
    networks : tuple of str
        Backbones to measure; those of ``keras.applications`` are also trained.
    units : tuple of int
        Hidden units in total of each 2NN.
    classes : int
    pixels : int
        Side of the networks' images; 0: on a GPU what the network was made for, on a CPU 96.
    batch : int
        Images per step; 0: 256 on a GPU, 16 on a CPU.
    images : int
        Bottlenecks of an epoch of the 2NN; 0: a million on a GPU, 10,240 on a CPU.
    head_batch : int
        Bottlenecks per step (C22).
    precision : {'auto', 'float32', 'mixed_bfloat16'}
        auto: mixed on a GPU.
    photo : int
        Side of the JPEG photos: 180 in Cdiscount's catalogue.
    repetitions : int
    seconds : float
        What one repetition takes, about.
    workers : int
        That decode; 0: one a core.
    precision_from : str
        A run directory, whose Table 4 gives the precision of backbones; empty for none.

    Raises
    ------
    InputError
        If a value is not possible.
    """

    networks: tuple[str, ...] = ("inception_v3", "xception", "vgg16", "resnet152", "efficientnet_lite0")
    units: tuple[int, ...] = (512, 2048, 4096)
    classes: int = 1000
    pixels: int = 0
    batch: int = 0
    images: int = 0
    head_batch: int = 256
    precision: str = "auto"
    photo: int = 180
    repetitions: int = 5
    seconds: float = 2.0
    workers: int = 0
    precision_from: str = ""

    def __post_init__(self) -> None:
        from shelfbench_deep.networks.backbones import NETWORKS

        for name in self.networks:
            if name not in NETWORKS:
                raise InputError(f"timing.networks names {name!r}", f"choose from: {', '.join(NETWORKS)}")
        if any(units < 2 or units % 2 for units in self.units):
            raise InputError(f"timing.units is {list(self.units)}", "give even numbers: two equal hidden layers")
        if self.precision not in _PRECISIONS:
            raise InputError(f"timing.precision is {self.precision!r}", f"choose from: {', '.join(_PRECISIONS)}")
        for name, least in (("classes", 2), ("head_batch", 1), ("photo", 8), ("repetitions", 1)):
            if getattr(self, name) < least:
                raise InputError(f"timing.{name} is {getattr(self, name)}", f"give {least} or more")
        for name in ("pixels", "batch", "images", "workers"):
            if getattr(self, name) < 0:
                raise InputError(
                    f"timing.{name} is {getattr(self, name)}", "give 0 to leave it to the machine, or more"
                )
        if 0 < self.images < self.head_batch:
            raise InputError(f"timing.images is {self.images}", f"give at least a batch: {self.head_batch}")
        if not 0 < self.seconds < float("inf"):
            raise InputError(f"timing.seconds is {self.seconds}", "give a positive number")

    def on(self, kind: str) -> TimingSettings:
        """With all that was left to the machine filled in; `pixels` stays 0 for each network's own."""
        gpu = kind == "gpu"
        return dataclasses.replace(
            self,
            pixels=self.pixels or (0 if gpu else 96),
            batch=self.batch or (256 if gpu else 16),
            images=self.images or (1_000_000 if gpu else 10_240),
            precision=("mixed_bfloat16" if gpu else "float32") if self.precision == "auto" else self.precision,
            workers=self.workers or int(machine()["cores"]),
        )

    def names(self) -> list[str]:
        """Parts to measure, in order."""
        from shelfbench_deep.networks.backbones import NETWORKS

        return [
            "decode",
            *(f"full {name}" for name in self.networks if NETWORKS[name].application),
            *(f"head {units}" for units in self.units),
            *(f"extract {name}" for name in self.networks),
        ]


def measure(settings: TimingSettings, folder: Path, name: str, console: Console) -> tuple[Measurements, Path]:
    """Measure all that a file of measurements lacks.

    Parameters
    ----------
    settings : TimingSettings
    folder : Path
    name : str
        Of the file; empty for the device's name.
    console : Console

    Returns
    -------
    Measurements
    Path
        The file.

    Raises
    ------
    InputError
        If the file holds measurements with other settings or versions.
    RunError
        If not even the device can be told.
    """
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    console.log("the device's matrix peak")
    found = _child("device", settings)
    if found.get("status") != "done":
        raise RunError(f"the device cannot be measured ({found['reason']})", "look at the installation of Keras")
    answer = found["device"]
    chosen = settings.on(answer["kind"])
    path = folder / (name or f"{slug(answer['name'])}.json")
    told = json.loads(json.dumps(asdict(dataclasses.replace(chosen, precision_from=""))))
    peaks = tuple(MatrixPeak(**peak) for peak in found["peaks"])
    fresh = Measurements(answer["name"], answer["kind"], answer["engine"], machine(), versions(), told, peaks)
    earlier = read_measurements(path) if path.exists() else None
    parts: list[Part] = []
    if earlier is not None:
        same = ("device", "engine", "versions", "settings")
        if differ := [key for key in same if getattr(earlier, key) != getattr(fresh, key)]:
            raise InputError(
                f"{path} was measured with other {', '.join(differ)}", "choose another --out, or delete it"
            )
        parts = [part for part in earlier.parts if part.status == "done"]
    for part in chosen.names():
        done = dataclasses.replace(fresh, parts=tuple(parts))
        if done.part(part) is not None:
            console.log(f"{part}: done before")
            continue
        console.log(part)
        values = _child(part, chosen, processes=_faster_in_processes(done))
        measured = tuple(Repeated(**repeated) for repeated in values.pop("measured", ()))
        parts.append(Part(part, **values, measured=measured))
        if parts[-1].status != "done":
            console.warn(f"{part}: {parts[-1].reason}")
        # after every part: a kill costs one
        dataclasses.replace(fresh, parts=tuple(parts)).write(path)
    order = {part: number for number, part in enumerate(chosen.names())}
    result = dataclasses.replace(fresh, parts=tuple(sorted(parts, key=lambda part: order[part.name])))
    result.write(path)
    return result, path


def slug(name: str) -> str:
    """A device's name as a file's: lower case, digits and '-'."""
    return re.sub(r"[^a-z0-9]+", "-", re.sub(r"\((?:r|tm)\)", "", name.lower())).strip("-") or "device"


def _faster_in_processes(done: Measurements) -> bool:
    """Whether processes decode faster than threads here."""
    decode = done.part("decode")
    threads, processes = (decode.way("threads"), decode.way("processes")) if decode else (None, None)
    return bool(processes and (threads is None or processes.rate > threads.rate))


def _child(part: str, settings: TimingSettings, processes: bool = False) -> dict[str, Any]:
    """Measure a part in a process of its own; what it answers, or why it did not."""
    with tempfile.TemporaryDirectory() as folder:
        answer, said = Path(folder) / "answer.json", Path(folder) / "stderr"
        # the child finds the code where this process did, installed or not
        paths = [*sys.path, *filter(None, [os.environ.get("PYTHONPATH")])]
        words = [sys.executable, "-m", "shelfbench_deep.measure", "--part", part, "--answer", str(answer)]
        words += ["--settings", json.dumps(asdict(settings)), *(["--processes"] if processes else [])]
        with open(said, "wb") as stderr:
            done = subprocess.run(
                words,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
                check=False,
            )
        if answer.exists():
            return dict(json.loads(answer.read_text(encoding="utf-8")))
        if done.returncode < 0:
            name = signal.Signals(-done.returncode).name
            return {"status": "failed", "reason": f"killed by {name}" + ", out of memory?" * (name == "SIGKILL")}
        last = said.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
        return {"status": "failed", "reason": f"ended with {done.returncode}: {''.join(last)[:200]}"}


def _answer(options: argparse.Namespace) -> None:
    """Be the process of one part."""
    values: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in options.settings.items()
    }
    started = time.perf_counter()
    try:
        from shelfbench_deep.timing.parts import measure_part

        answer = {"status": "done", **measure_part(options.part, TimingSettings(**values), options.processes)}
    except Exception as error:  # engines raise all sorts, each of which is this part's own affair
        first = (str(error).strip().splitlines() or [""])[0]
        answer = {"status": "failed", "reason": f"{type(error).__name__}: {first}"[:300]}
    write_json(options.answer, answer)
    if os.environ.get("SHELFBENCH_DEBUG"):
        print(f"{options.part}: {time.perf_counter() - started:.1f} s", file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    default = TimingSettings()
    parser = argparse.ArgumentParser("python -m shelfbench_deep.measure", description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder of the JSON file")
    for name, meaning in (
        ("pixels", "side of the images"),
        ("batch", "images per step"),
        ("images", "bottlenecks of an epoch"),
        ("photo", "side of the JPEG photos"),
        ("repetitions", "of everything"),
        ("workers", "that decode"),
    ):
        parser.add_argument(f"--{name}", type=int, default=getattr(default, name), metavar="N", help=meaning)
    parser.add_argument("--networks", nargs="*", default=default.networks, metavar="NAME", help="backbones to measure")
    parser.add_argument("--units", nargs="*", type=int, default=default.units, metavar="N", help="2NN to measure")
    parser.add_argument("--precision", default=default.precision, metavar="NAME", help=", ".join(_PRECISIONS))
    parser.add_argument("--quick", action="store_true", help="short and few repetitions")
    # for the processes that this one starts
    parser.add_argument("--part", help=argparse.SUPPRESS)
    parser.add_argument("--settings", type=json.loads, help=argparse.SUPPRESS)
    parser.add_argument("--answer", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--processes", action="store_true", help=argparse.SUPPRESS)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure this machine, print a short table, write ``DEVICE.json``.

    Returns
    -------
    int
        0; 1 if a part failed; 2 for wrong input.
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.part:
        _answer(options)
        return 0
    if options.out is None:
        parser.error("--out DIR is missing")
    try:
        settings = TimingSettings(
            networks=tuple(options.networks),
            units=tuple(options.units),
            precision=options.precision,
            pixels=options.pixels,
            batch=options.batch,
            images=options.images,
            photo=options.photo,
            workers=options.workers,
            repetitions=2 if options.quick else options.repetitions,
            seconds=0.3 if options.quick else TimingSettings().seconds,
        )
        measured, path = measure(settings, options.out, "", Console())
        from shelfbench.report.table3 import short_table

        print(short_table([measured]))
        print(path)
    except ShelfbenchError as error:
        print(f"shelfbench_deep.measure: {error}", file=sys.stderr)
        return error.exit_code
    return int(any(part.status != "done" for part in measured.parts))


if __name__ == "__main__":
    sys.exit(main())
