"""Files of measurements, and how their numbers are set: shared by the tables of the experiment ``timing``."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from shelfbench.base.errors import InputError
from shelfbench.base.grid import MISSING, Grid
from shelfbench.base.storage import write_text, write_whole
from shelfbench.cost.measurements import Measurements, read_measurements
from shelfbench.report.claims import load_claims

UNITS = {"days": 86400.0, "hours": 3600.0}


_NAMES = {
    "vgg16": "VGG-16",
    "resnet152": "ResNet-152",
    "inception_v3": "Inception V3",
    "xception": "Xception",
    "efficientnet_lite0": "EfficientNet-Lite0",
}


def read_devices(directory: Path) -> list[Measurements]:
    """Read all files of measurements of a directory: the run's own first, then those of other machines.

    Raises
    ------
    InputError
        If there is none, or one is damaged.
    """
    paths = sorted(directory.glob("*.json"), key=lambda path: (path.name != "device.json", path.name))
    found = [read_measurements(path) for path in paths if path.name != "run.json"]
    devices = [measured for measured in found if measured is not None]
    if not devices:
        raise InputError(
            f"{directory} holds no measurements", "run shelfbench run timing, or python -m shelfbench_deep.measure"
        )
    return devices


def week() -> float:
    """Seconds in which C must have trained (C14)."""
    return float(load_claims()["C14"].value["days"]) * UNITS["days"]


def catalogue_images() -> int:
    """Images of C's catalogue, over which its Table 3 projects."""
    return int(load_claims()["C17"].value["catalogue"])


def display(network: str) -> str:
    """A network's name as papers write it."""
    return _NAMES.get(network, network)


def fitting(fits: bool) -> str:
    return "fits" if fits else "does not fit"


def side(pixels: int) -> str:
    return str(pixels) if pixels else MISSING


def failures(devices: Sequence[Measurements], kinds: Sequence[str]) -> Iterator[str]:
    for device in devices:
        for part in device.parts:
            if part.status != "done" and part.name.split()[0] in kinds:
                yield f"{part.name} failed on {device.device}: {part.reason}"


def write_table(path: Path, grid: Grid, rows: Sequence[dict[str, Any]]) -> None:
    def table(aside: Path) -> None:
        with open(aside, "w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]) if rows else list(grid.headers), lineterminator="\n")
            writer.writeheader()
            writer.writerows({key: _cell(value) for key, value in row.items()} for row in rows)

    write_whole(path.with_name(f"{path.name}.csv"), table)
    write_text(path.with_name(f"{path.name}.md"), grid.markdown())
    write_text(path.with_name(f"{path.name}.tex"), grid.latex())


def _cell(value: Any) -> Any:
    return "" if isinstance(value, float) and math.isnan(value) else value
