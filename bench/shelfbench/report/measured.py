"""Files of measurements, and how their numbers are written: shared by the tables of the experiment ``timing``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from shelfbench.base.errors import InputError
from shelfbench.base.grid import MISSING
from shelfbench.cost.measurements import Measurements, read_measurements
from shelfbench.report.claims import load_claims

UNITS = {"days": 86400.0, "hours": 3600.0}

_NAMES = {
    "vgg16": "VGG-16",
    "resnet152": "ResNet-152",
    "inception_v3": "Inception V3",
    "inception_v3_2016": "Inception V3, Keras' port of 2016",
    "xception": "Xception",
    "efficientnet_lite0": "EfficientNet-Lite0",
}


def read_devices(directory: Path) -> list[Measurements]:
    """Read all files of measurements in a directory.

    Parameters
    ----------
    directory : Path
        Has the run's own ``device.json``, and files of other machines under any name.

    Returns
    -------
    list of Measurements
        The run's own device first.

    Raises
    ------
    InputError
        If there is none, or one is damaged.
    """
    paths = sorted(directory.glob("[!.]*.json"), key=lambda path: (path.name != "device.json", path.name))
    found = [read_measurements(path) for path in paths if path.name != "run.json"]
    devices = [measured for measured in found if measured is not None]
    if not devices:
        raise InputError(
            f"{directory} contains no measurements", "run shelfbench run timing, or python -m shelfbench_deep.measure"
        )
    return devices


def week() -> float:
    """Return the seconds within which C's training must finish (C14)."""
    return float(load_claims()["C14"].value["days"]) * UNITS["days"]


def catalogue_images() -> int:
    """Return the number of images in C's catalogue, to which its Table 3 is projected."""
    return int(load_claims()["C17"].value["catalogue"])


def display(network: str) -> str:
    """Return a network's name as papers write it.

    Parameters
    ----------
    network : str
        Its name in settings.

    Returns
    -------
    str
        Unchanged if the papers do not mention it.
    """
    return _NAMES.get(network, network)


def fitting(fits: bool) -> str:
    """Say whether something fits into the week."""
    return "fits" if fits else "does not fit"


def side(pixels: int) -> str:
    """Write the side of an image; a dash if there is none."""
    return str(pixels) if pixels else MISSING


def failures(devices: Sequence[Measurements], kinds: Sequence[str]) -> Iterator[str]:
    """Name what could not be measured, and why.

    Parameters
    ----------
    devices : sequence of Measurements
        What was measured, by device.
    kinds : sequence of str
        First words of the parts to look at.

    Yields
    ------
    str
        One sentence per part that failed.
    """
    for device in devices:
        for part in device.parts:
            if part.status != "done" and part.name.split()[0] in kinds:
                yield f"{part.name} failed on {device.device}: {part.reason}"
