"""Measurements of the experiment ``timing`` on a device, and their file; needs neither pandas nor Keras."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from shelfbench.base.errors import InputError
from shelfbench.base.storage import write_json
from shelfbench.cost.timing import MILLION, STAGES

_WHAT = "shelfbench timing"


@dataclass(frozen=True, kw_only=True)
class Repeated:
    """A stage that was repeated, synchronising with the device at both ends of every repetition.

    Attributes
    ----------
    stage : str
        A key of `STAGES`.
    way : str
        Where a batch comes from (``resident``: it is in the device's memory; ``jpeg``: decoded ahead of the
        device), how the steps of a head run (``ordinary``: one call of the framework per batch; ``on device``: all in
        one compiled call), or what decodes (``threads``, ``processes``).
    images, steps : int
        Of one repetition.
    first : float
        Seconds of the first call, compilation included; 0 if an earlier way has compiled it.
    warm_up : float
        Seconds between the first call and the first repetition.
    seconds : tuple of float
        Of each repetition.
    waited : tuple of float
        Seconds in each that the device waited for data; empty if nothing is fed.
    """

    stage: str
    way: str
    images: int
    steps: int
    first: float
    warm_up: float
    seconds: tuple[float, ...]
    waited: tuple[float, ...] = ()

    def quantile(self, share: float) -> float:
        """Return the seconds of a repetition: the median at 0.5, the quartiles at 0.25 and 0.75."""
        return float(np.quantile(self.seconds, share))

    def per_million(self, share: float = 0.5) -> float:
        """Return the seconds for a million images."""
        return self.quantile(share) / self.images * MILLION

    @property
    def rate(self) -> float:
        """Images per second (median)."""
        return self.images / self.quantile(0.5)

    @property
    def waited_share(self) -> float:
        """Share of the time that the device waited for data; NaN if nothing is fed."""
        return sum(self.waited) / sum(self.seconds) if self.waited else float("nan")


@dataclass(frozen=True, kw_only=True)
class Part:
    """One part that the experiment ``timing`` measured, or failed to measure.

    Attributes
    ----------
    name : str
        ``decode``, ``full NETWORK``, ``head UNITS`` or ``extract NETWORK``.
    status, reason : str
        ``done`` or ``failed``, and why.
    pixels, batch : int
    precision : str
        Keras' name: ``float32``, ``mixed_bfloat16``.
    parameters : int
        Trainable ones.
    multiply_accumulates : int
        Of one image's forward pass.
    memory_mib : float
        At its peak.
    memory_of : str
        ``device``, or ``process`` if the framework does not report it.
    measured : tuple of Repeated
    """

    name: str
    status: str
    reason: str = ""
    pixels: int = 0
    batch: int = 0
    precision: str = ""
    parameters: int = 0
    multiply_accumulates: int = 0
    memory_mib: float = 0.0
    memory_of: str = ""
    measured: tuple[Repeated, ...] = ()

    def way(self, name: str) -> Repeated | None:
        """Return the measurement made in one way, if there is one."""
        return next((found for found in self.measured if found.way == name), None)


@dataclass(frozen=True, kw_only=True)
class MatrixPeak:
    """FLOP/s of the device on a large square matrix product: median and quartiles."""

    precision: str
    side: int
    flops: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Measurements:
    """All measurements on one device: ``device.json``.

    Attributes
    ----------
    device, kind : str
        Its name, and ``gpu`` or ``cpu``.
    engine : str
        The engine under Keras.
    machine, versions, settings : dict
    peaks : tuple of MatrixPeak
    parts : tuple of Part
        In the order in which they were measured.
    """

    device: str
    kind: str
    engine: str
    machine: dict[str, Any]
    versions: dict[str, str]
    settings: dict[str, Any]
    peaks: tuple[MatrixPeak, ...]
    parts: tuple[Part, ...] = ()

    def part(self, name: str) -> Part | None:
        """Return one part, if it was measured or failed."""
        return next((part for part in self.parts if part.name == name), None)

    def peak(self, precision: str) -> MatrixPeak | None:
        """The peak of the type in which a precision multiplies."""
        kind = precision.removeprefix("mixed_")
        return next((peak for peak in self.peaks if peak.precision == kind), None)

    def write(self, path: Path) -> None:
        """Write it as JSON, whole or not at all."""
        write_json(path, {"what": _WHAT, **asdict(self)})


def read_measurements(path: Path) -> Measurements | None:
    """Read a file written by `Measurements.write`.

    Parameters
    ----------
    path : Path

    Returns
    -------
    Measurements or None
        None for JSON of another kind.

    Raises
    ------
    InputError
        If the file is damaged.
    """
    try:
        import msgspec
    except ModuleNotFoundError:  # measuring works without it
        raise InputError(
            f"{path} cannot be read, because msgspec is not installed",
            "python -m pip install msgspec, or choose another folder",
        ) from None
    try:
        values = msgspec.json.decode(path.read_bytes())
        if not isinstance(values, dict) or values.pop("what", "") != _WHAT:
            return None
        found = msgspec.convert(values, Measurements)
        for repeated in (repeated for part in found.parts for repeated in part.measured):
            if repeated.stage not in STAGES or not repeated.seconds or repeated.images < 1:
                raise ValueError("a stage without times")
    except (OSError, ValueError, RecursionError) as error:  # errors of msgspec are ValueErrors
        raise InputError(f"{path} cannot be read as measurements ({error})", "delete it and measure again") from None
    return found
