"""Table 3 of C, Table 3 of X, and what each backbone costs, from files of measurements alone."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from shelfbench.base.console import Console
from shelfbench.base.grid import MISSING, Grid, digits, percent, span
from shelfbench.cost.measurements import Measurements, Part, Repeated
from shelfbench.cost.timing import STAGES, projected
from shelfbench.report.backbones import backbone_rows, backbones_grid, precisions_of, write_pareto
from shelfbench.report.claims import Claim, load_claims
from shelfbench.report.measured import (
    UNITS,
    catalogue_images,
    display,
    failures,
    fitting,
    read_devices,
    side,
    week,
    write_table,
)

# a full training step goes forward once and, at twice the cost, backward once; an FMA is two operations
_STEP, _FMA = 3, 2


@dataclass(frozen=True)
class Training:
    """A row of Table 3 of C.

    Attributes
    ----------
    training : str
        What is trained.
    source : {'paper, printed', 'paper, recomputed', 'measured'}
    device, way, precision : str
    pixels, batch, images : int
        `images` is the number that was timed; 0 for the paper, or where there is no such number.
    seconds_per_million, low, high : float
        Median and quartiles.
    extraction_20m : float
        Seconds to take the bottlenecks of the catalogue, once; NaN where none are needed or it was not measured.
    seconds_20m10, seconds_20m50 : float
        Of 10 and 50 passes, without `extraction_20m`.
    fits_20m10, fits_20m50 : bool
        Whether it is done within C's week, extraction included.
    """

    training: str
    source: str
    device: str
    way: str
    precision: str
    pixels: int
    batch: int
    images: int
    seconds_per_million: float
    low: float
    high: float
    extraction_20m: float
    seconds_20m10: float
    seconds_20m50: float
    fits_20m10: bool
    fits_20m50: bool


def trainings(devices: Sequence[Measurements]) -> list[Training]:
    """All rows of Table 3 of C."""
    claims = load_claims()
    rows: list[Training] = []
    for epoch, ten, fifty in (("C16", "C17", "C18"), ("C19", "C20", "C21")):
        rows += _paper_rows(claims[epoch], claims[ten], claims[fifty])
        full = epoch == "C16"
        for device in devices:
            rows += _full_rows(device) if full else _head_rows(device)
    return rows


def _paper_rows(epoch: Claim, ten: Claim, fifty: Claim) -> Iterator[Training]:
    training, seconds = str(epoch.value["training"]), float(epoch.value["epoch_seconds"])
    device = str(load_claims()["C13"].value["model"])
    printed = [claim.value["amount"] * UNITS[claim.value["unit"]] for claim in (ten, fifty)]
    recomputed = [projected(seconds, claim.value["passes"], catalogue_images()) for claim in (ten, fifty)]
    for source, totals in (("paper, printed", printed), ("paper, recomputed", recomputed)):
        yield _row(training, source, device, seconds, totals)


def _row(
    training: str,
    source: str,
    device: str,
    seconds: float,
    totals: Sequence[float],
    part: Part | None = None,
    found: Repeated | None = None,
    once: float = math.nan,
) -> Training:
    most = week() - (0.0 if math.isnan(once) else once)
    return Training(
        training,
        source,
        device,
        found.way if found else "",
        part.precision if part else "",
        part.pixels if part else 0,
        part.batch if part else 0,
        found.images * len(found.seconds) if found else 0,
        seconds,
        found.per_million(0.25) if found else math.nan,
        found.per_million(0.75) if found else math.nan,
        once,
        totals[0],
        totals[1],
        totals[0] <= most,
        totals[1] <= most,
    )


def _measured(training: str, device: Measurements, part: Part, found: Repeated, once: float = math.nan) -> Training:
    seconds = found.per_million()
    passes = [load_claims()[name].value["passes"] for name in ("C17", "C18")]
    totals = [projected(seconds, count, catalogue_images()) for count in passes]
    return _row(training, "measured", device.device, seconds, totals, part, found, once)


def _full_rows(device: Measurements) -> Iterator[Training]:
    for part in device.parts:
        kind, _, network = part.name.partition(" ")
        found = part.way("jpeg")
        if kind == "full" and found:
            yield _measured(f"full tuning, {display(network)}", device, part, found)


def _head_rows(device: Measurements) -> Iterator[Training]:
    """Heads of all sizes; the bottlenecks under them are those of C's own network."""
    extract = device.part(f"extract {load_claims()['C16'].value['network']}")
    once = math.nan
    if extract and (fed := extract.way("jpeg")):
        once = projected(fed.per_million(), 1, catalogue_images())
    for part in device.parts:
        kind, _, units = part.name.partition(" ")
        for found in part.measured if kind == "head" else ():
            yield _measured(f"bottlenecks + 2NN-{units}", device, part, found, once)


def table3_grid(devices: Sequence[Measurements]) -> Grid:
    """Table 3 of C: a million images, and the catalogue 10 and 50 times, beside the paper's numbers."""
    network = display(load_claims()["C16"].value["network"])
    rows = []
    for row in trainings(devices):
        spread = "" if math.isnan(row.low) else f" [{digits(row.low)}, {digits(row.high)}]"
        rows.append(
            (
                row.training,
                row.source + (f", {row.way}" if row.way else ""),
                row.device,
                side(row.pixels),
                row.precision or MISSING,
                f"{row.images:,}" if row.images else MISSING,
                digits(row.seconds_per_million) + spread,
                span(row.extraction_20m),
                f"{span(row.seconds_20m10)}, {fitting(row.fits_20m10)}",
                f"{span(row.seconds_20m50)}, {fitting(row.fits_20m50)}",
            )
        )
    return Grid(
        "Table 3 of C. Seconds for a million images, and 20 million images 10 and 50 times",
        (
            "Training",
            "Source",
            "Device",
            "Pixels",
            "Precision",
            "Images timed",
            "s per million [quartiles]",
            "Extraction of 20M, once",
            "20M10",
            "20M50",
        ),
        tuple(rows),
        frozenset(range(5, 10)),
        (
            "The paper's totals fit its epochs only if a timed epoch is a million images; recomputed: its epoch times "
            "20 and times the passes. Where fewer images were timed, a million is projected at the same rate.",
            f"Fits: whether training ends within the paper's week, with the bottlenecks ({network}, from JPEG) taken "
            "once where we measured that; the paper does not say what that cost it.",
            f"Full tuning is fed from JPEG. Timed: {STAGES['full_epoch']}; {STAGES['head_epoch']}. Ordinary: one call "
            "of Keras a batch; on device: a whole epoch in one compiled call. Compilation and warm-up are left out.",
            *failures(devices, ("full", "head")),
        ),
    )


def table3x_grid(devices: Sequence[Measurements]) -> Grid:
    """Table 3 of X: size and speed of training, beside the paper's numbers."""
    paper = {
        claim.value["network"]: claim.value for claim in load_claims().values() if "steps_per_second" in claim.value
    }
    rows = []
    for row in _speed_rows(devices):
        printed = paper.get(row["network"], {})
        rows.append(
            (
                display(row["network"]),
                row["device"],
                side(row["pixels"]),
                str(row["batch"]),
                row["precision"],
                f"{row['parameters']:,}",
                f"{digits(row['steps_per_second'])} [{digits(row['steps_low'])}, {digits(row['steps_high'])}]",
                digits(row["images_per_second"]),
                percent(row["share_of_peak"]),
                digits(row["jpeg_images_per_second"]),
                percent(row["jpeg_waited"]),
                f"{row['memory_mib'] / 1024:.1f} GiB of {row['memory_of']}",
                f"{row['first_step']:.0f} s",
                f"{printed['parameters']:,}" if printed else MISSING,
                str(printed["steps_per_second"]) if printed else MISSING,
            )
        )
    gpus = load_claims()["X09"].value
    peaks = [
        f"{device.device}: "
        + ", ".join(f"{peak.flops / 1e12:.3g} TFLOP/s in {peak.precision}" for peak in device.peaks)
        for device in devices
        if device.peaks
    ]
    return Grid(
        "Table 3 of X. Size and training speed",
        (
            "Network",
            "Device",
            "Pixels",
            "Batch",
            "Precision",
            "Parameters",
            "Steps/s [quartiles]",
            "Images/s per device",
            "FLOP/s of peak",
            "Images/s from JPEG",
            "Waited for data",
            "Peak memory",
            "First step",
            "Paper: parameters",
            "Paper: steps/s",
        ),
        tuple(rows),
        frozenset((3, *range(5, 15))),
        (
            "Parameters: trainable; those of a network with dense layers over its grid depend on its images' size. "
            f"The paper's steps are of {gpus['gpus']} {gpus['model']} together, ours of one device. Batches lie on the "
            "device but for the columns of JPEG. FLOP/s: three times those of the way forward, as a share of what the "
            "device makes of large square matrix products, the fastest of three sizes "
            f"({'; '.join(peaks) or 'not measured'}); a convolution that saves multiplications may lie above it.",
            *failures(devices, ("full",)),
        ),
    )


def _speed_rows(devices: Sequence[Measurements]) -> Iterator[dict[str, Any]]:
    for device in devices:
        for part in device.parts:
            kind, _, network = part.name.partition(" ")
            found, fed = part.way("resident"), part.way("jpeg")
            if kind != "full" or not found:
                continue
            peak = device.peak(part.precision)
            flops = _STEP * _FMA * part.multiply_accumulates * found.rate
            yield {
                "network": network,
                "device": device.device,
                "pixels": part.pixels,
                "batch": part.batch,
                "precision": part.precision,
                "parameters": part.parameters,
                "steps_per_second": found.steps / found.quantile(0.5),
                "steps_low": found.steps / found.quantile(0.75),
                "steps_high": found.steps / found.quantile(0.25),
                "images_per_second": found.rate,
                "flops_per_second": flops,
                "share_of_peak": flops / peak.flops if peak else math.nan,
                "jpeg_images_per_second": fed.rate if fed else math.nan,
                "jpeg_waited": fed.waited_share if fed else math.nan,
                "memory_mib": part.memory_mib,
                "memory_of": part.memory_of,
                "first_step": found.first,
            }


def write_timing_report(directory: Path, console: Console) -> str:
    """Write the tables and the figure of a directory of measurements; gives what the terminal shows.

    Raises
    ------
    InputError
        If it holds no measurements, one is damaged, or the run that is to give precisions cannot be read.
    """
    devices = read_devices(directory)
    source = ""
    if (directory / "run.json").exists():
        record = json.loads((directory / "run.json").read_text(encoding="utf-8"))
        source = record["study"].get("timing", {}).get("precision_from", "")
    precisions = precisions_of(Path(source).expanduser()) if source else {}
    costs = list(backbone_rows(devices, precisions))
    tables = directory / "tables"
    write_table(tables / "table3", table3_grid(devices), [asdict(row) for row in trainings(devices)])
    write_table(tables / "table3x", table3x_grid(devices), list(_speed_rows(devices)))
    write_table(tables / "backbones", backbones_grid(devices, precisions), costs)
    if costs:
        write_pareto(directory / "figures" / "backbones", costs)
    console.log(f"tables and figures of {len(devices)} device{'s' * (len(devices) != 1)}")
    return short_table(devices)


def short_table(devices: Sequence[Measurements]) -> str:
    """Tables 3 of C and X as text."""
    return f"{table3_grid(devices).text()}\n\n{table3x_grid(devices).text()}"
