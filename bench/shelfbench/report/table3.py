"""Table 3 of C and Table 3 of X, from files of measurements alone; needs neither pandas nor matplotlib."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from shelfbench.base.grid import MISSING, Grid, digits, percent, span
from shelfbench.cost.measurements import Measurements, Part, Repeated
from shelfbench.cost.timing import STAGES, projected
from shelfbench.report.claims import Claim, load_claims
from shelfbench.report.measured import UNITS, catalogue_images, display, failures, fitting, side, week

# a training step is one forward pass and, at twice the cost, one backward pass; a multiply-accumulate is two operations
_STEP, _OPERATIONS = 3, 2
PORT = "inception_v3_2016"
"""Inception V3 as Keras had it when X was written."""


@dataclass(frozen=True, kw_only=True)
class TrainingCost:
    """A row of Table 3 of C.

    Attributes
    ----------
    training : str
        What is trained.
    source : {'paper, printed', 'paper, recomputed', 'measured'}
        Where the numbers come from.
    device : str
        The device it runs on.
    way : str
        How the images or steps reach the device (`shelfbench.cost.measurements.Repeated`); empty for the paper.
    precision : str
        Of the computation, as Keras names it; empty for the paper.
    pixels : int
        Side of an image; 0 if there is none.
    batch : int
        Images per step; 0 for the paper.
    images : int
        Images that were timed; 0 for the paper.
    seconds_per_million : float
        Median seconds for a million images.
    low : float
        Lower quartile of that; NaN for the paper.
    high : float
        Upper quartile of that; NaN for the paper.
    extraction_20m : float
        Seconds to extract the bottlenecks of the catalogue once; NaN if none are needed or it was not measured.
    seconds_20m10 : float
        Seconds of 10 passes over the catalogue, without `extraction_20m`.
    seconds_20m50 : float
        Seconds of 50 passes, without `extraction_20m`.
    fits_20m10 : bool
        Whether 10 passes, extraction included, finish within C's week.
    fits_20m50 : bool
        Whether 50 passes do.
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


@dataclass(frozen=True)
class _Timed:
    """The measurement of a training, and the seconds that extracting its bottlenecks takes once."""

    part: Part
    found: Repeated
    once: float = math.nan


def training_costs(devices: Sequence[Measurements]) -> list[TrainingCost]:
    """Make all rows of Table 3 of C.

    Parameters
    ----------
    devices : sequence of Measurements
        What was measured, by device.

    Returns
    -------
    list of TrainingCost
        Full tuning first, then the heads on bottlenecks; the paper's rows before ours.
    """
    claims = load_claims()
    rows: list[TrainingCost] = []
    for epoch, ten, fifty in (("C16", "C17", "C18"), ("C19", "C20", "C21")):
        rows += _paper_rows(claims[epoch], claims[ten], claims[fifty])
        full = epoch == "C16"
        for device in devices:
            rows += _full_rows(device) if full else _head_rows(device)
    return rows


def _paper_rows(epoch: Claim, ten: Claim, fifty: Claim) -> Iterator[TrainingCost]:
    training, seconds = str(epoch.value["training"]), float(epoch.value["epoch_seconds"])
    device = str(load_claims()["C13"].value["model"])
    printed = [claim.value["amount"] * UNITS[claim.value["unit"]] for claim in (ten, fifty)]
    recomputed = [projected(seconds, claim.value["passes"], catalogue_images()) for claim in (ten, fifty)]
    for source, totals in (("paper, printed", printed), ("paper, recomputed", recomputed)):
        yield _row(training, source, device, seconds, totals)


def _row(
    training: str, source: str, device: str, seconds: float, totals: Sequence[float], timed: _Timed | None = None
) -> TrainingCost:
    once = timed.once if timed else math.nan
    most = week() - (0.0 if math.isnan(once) else once)
    found = timed.found if timed else None
    return TrainingCost(
        training=training,
        source=source,
        device=device,
        way=found.way if found else "",
        precision=timed.part.precision if timed else "",
        pixels=timed.part.pixels if timed else 0,
        batch=timed.part.batch if timed else 0,
        images=found.images * len(found.seconds) if found else 0,
        seconds_per_million=seconds,
        low=found.per_million(0.25) if found else math.nan,
        high=found.per_million(0.75) if found else math.nan,
        extraction_20m=once,
        seconds_20m10=totals[0],
        seconds_20m50=totals[1],
        fits_20m10=totals[0] <= most,
        fits_20m50=totals[1] <= most,
    )


def _measured(training: str, device: Measurements, timed: _Timed) -> TrainingCost:
    seconds = timed.found.per_million()
    passes = [load_claims()[name].value["passes"] for name in ("C17", "C18")]
    totals = [projected(seconds, count, catalogue_images()) for count in passes]
    return _row(training, "measured", device.device, seconds, totals, timed=timed)


def _full_rows(device: Measurements) -> Iterator[TrainingCost]:
    for part in device.parts:
        kind, _, network = part.name.partition(" ")
        found = part.way("jpeg")
        if kind == "full" and network != PORT and found:
            yield _measured(f"full tuning, {display(network)}", device, _Timed(part, found))


def _head_rows(device: Measurements) -> Iterator[TrainingCost]:
    """Make the rows of heads of all sizes; the bottlenecks below them are those of C's own network."""
    extract = device.part(f"extract {load_claims()['C16'].value['network']}")
    once = math.nan
    if extract and (fed := extract.way("jpeg")):
        once = projected(fed.per_million(), 1, catalogue_images())
    for part in device.parts:
        kind, _, units = part.name.partition(" ")
        for found in part.measured if kind == "head" else ():
            yield _measured(f"bottlenecks + 2NN-{units}", device, _Timed(part, found, once))


def table3_grid(devices: Sequence[Measurements]) -> Grid:
    """Lay out Table 3 of C: a million images, and 10 and 50 passes over the catalogue, next to the paper's numbers.

    Parameters
    ----------
    devices : sequence of Measurements
        What was measured, by device.

    Returns
    -------
    Grid
        One row per row of `training_costs`.
    """
    network = display(load_claims()["C16"].value["network"])
    rows = []
    for row in training_costs(devices):
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
        title="Table 3 of C. Seconds for a million images, and 10 and 50 passes over 20 million images",
        headers=(
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
        rows=tuple(rows),
        numeric=frozenset(range(5, 10)),
        notes=(
            "The paper's totals agree with its epochs only if a timed epoch is a million images; recomputed: its epoch "
            "times 20, times the number of passes. Where fewer images were timed, a million is projected from them.",
            f"Fits: whether training ends within the paper's week, including one extraction of the bottlenecks "
            f"({network}, from JPEG) where we measured it; the paper does not say what extraction took.",
            f"Full tuning is fed from JPEG. Timed: {STAGES['full_epoch']}; {STAGES['head_epoch']}. Ordinary: one call "
            "of Keras per batch; on device: a whole epoch in one compiled call. Compilation and warm-up are not timed.",
            *failures(devices, ("full", "head")),
        ),
    )


def table3x_grid(devices: Sequence[Measurements]) -> Grid:
    """Lay out Table 3 of X: size and training speed, next to the paper's numbers.

    Parameters
    ----------
    devices : sequence of Measurements
        What was measured, by device.

    Returns
    -------
    Grid
        One row per network and device.
    """
    paper = {
        claim.value["network"]: claim.value for claim in load_claims().values() if "steps_per_second" in claim.value
    }
    rows = []
    measured = list(speed_rows(devices))
    if any(row["network"] == PORT for row in measured):  # the form whose parameters X counts
        paper[PORT] = paper.pop(PORT.removesuffix("_2016"))
    for row in measured:
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
        title="Table 3 of X. Size and training speed",
        headers=(
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
        rows=tuple(rows),
        numeric=frozenset((3, *range(5, 15))),
        notes=(
            "Parameters: the trainable ones; for a network with dense layers over its grid they depend on the size of "
            f"the images. The paper's steps are those of {gpus['gpus']} {gpus['model']} together, ours those of one "
            "device. Batches reside on the device except in the JPEG columns. FLOP/s: three times those of a forward "
            "pass, as a share of what the device reaches on large square matrix products, the fastest of three sizes "
            f"({'; '.join(peaks) or 'not measured'}); a convolution that saves multiplications may exceed it.",
            *failures(devices, ("full",)),
        ),
    )


def speed_rows(devices: Sequence[Measurements]) -> Iterator[dict[str, Any]]:
    """Make the rows of ``table3x.csv``.

    Parameters
    ----------
    devices : sequence of Measurements
        What was measured, by device.

    Yields
    ------
    dict
        One row per network that was trained with resident batches.
    """
    for device in devices:
        for part in device.parts:
            kind, _, network = part.name.partition(" ")
            found, fed = part.way("resident"), part.way("jpeg")
            if kind != "full" or not found:
                continue
            peak = device.peak(part.precision)
            flops = _STEP * _OPERATIONS * part.multiply_accumulates * found.rate
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


def short_table(devices: Sequence[Measurements]) -> str:
    """Lay out Tables 3 of C and X for the terminal.

    Parameters
    ----------
    devices : sequence of Measurements
        What was measured, by device.

    Returns
    -------
    str
        Both tables.
    """
    return f"{table3_grid(devices).text()}\n\n{table3x_grid(devices).text()}"
