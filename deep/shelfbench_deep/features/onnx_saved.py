"""A network from an ONNX file that a decision takes along: ``network.onnx`` and ``network.json``."""

from __future__ import annotations

import shutil
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from shelfbench.base.console import Console
from shelfbench.base.errors import InputError
from shelfbench.base.storage import file_sha256, load_json, write_json, write_whole
from shelfbench.data.view import View
from shelfbench.plugins.backend import BackboneChoice, FeatureParts
from shelfbench_deep.engines.onnx import OnnxPlan, OpenVINOGraph, onnxruntime_version
from shelfbench_deep.engines.versions import openvino_version
from shelfbench_deep.features.onnx_network import (
    OPENVINO,
    RUNTIME,
    OnnxExtractor,
    OnnxNetwork,
    first_line,
    onnx_extractor,
)
from shelfbench_deep.networks.onnx_file import open_onnx

NETWORK, RECORD = "network.onnx", "network.json"
KIND = "onnx"
# The largest file that ONNX itself allows.
LARGEST = 2048 << 20
# The largest input of a network: 4,096 pixels a side, or 1,024 images.
_SIDE, _BATCH = 4096, 1024

Text = Annotated[str, Meta(min_length=1, max_length=1000)]
Number = Annotated[float, Meta(ge=-1e9, le=1e9)]
Above = Annotated[float, Meta(gt=0, le=1e9)]


class PlanEntry(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """See `shelfbench_deep.engines.onnx.OnnxPlan`."""

    input: Text
    output: Text
    inside: bool
    kind: Literal["float32", "float16", "uint8"]
    layout: Literal["NCHW", "NHWC"]
    batch: Annotated[int, Meta(ge=1, le=_BATCH)] | None
    pixels: Annotated[int, Meta(ge=1, le=_SIDE)]
    mean: tuple[Number, Number, Number]
    std: tuple[Above, Above, Above]
    channels: Literal["rgb", "bgr"]
    pool: Literal["", "cls", "mean", "mean_nchw", "mean_nhwc"]


class ViewEntry(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """See `shelfbench.data.view.View`, which checks the values."""

    fit: Text
    resample: Text
    crop: float
    background: tuple[int, int, int]
    scaled: bool = False

    def __post_init__(self) -> None:
        if self.scaled:
            raise ValueError("`scaled` is the study's to say")


class OnnxRecord(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The contents of ``network.json``.

    Attributes
    ----------
    kind : str
    name : str
        What the network was called in its run.
    source_sha256 : str
        Of the file in the run, with those that held its weights.
    sha256 : str
        Of ``network.onnx``, which holds the weights itself.
    plan : PlanEntry
    dimensions : int
    engine, precision : str
        What computed the features that the classifier was fitted on.
    view : ViewEntry or None
        How photos were made square; None for the study's way.
    """

    kind: Literal["onnx"]
    name: Text
    source_sha256: Annotated[str, Meta(pattern=r"\A[0-9a-f]{64}\Z")]
    sha256: Annotated[str, Meta(pattern=r"\A[0-9a-f]{64}\Z")]
    plan: PlanEntry
    dimensions: Annotated[int, Meta(ge=1, le=5_000_000)]
    engine: Literal["openvino", "onnxruntime"]
    precision: Literal["float32", "bfloat16"]
    view: ViewEntry | None


def onnx_features(backbone: BackboneChoice, settings: Any) -> FeatureParts:
    """Make the features of a network in an ONNX file.

    Parameters
    ----------
    backbone : BackboneChoice
    settings : mapping of str to dataclass instance
        The sections ``bottleneck`` and ``onnx``.

    Returns
    -------
    FeatureParts

    Raises
    ------
    InputError
        See `shelfbench_deep.features.onnx_network.onnx_extractor`.
    """
    extractor = onnx_extractor(backbone, settings["bottleneck"], settings["onnx"])
    return FeatureParts(
        features=extractor,
        settings={"backbone": asdict(backbone), "network": extractor.describe()},
        save_features=partial(save_onnx, extractor),
    )


def save_onnx(extractor: OnnxExtractor, folder: Path) -> None:
    """Write ``network.onnx``, with all its weights inside, and ``network.json`` into an existing folder.

    Parameters
    ----------
    extractor : OnnxExtractor
    folder : Path

    Raises
    ------
    InputError
        If the file is gone or has changed, or a decision may not contain it.
    """
    network = extractor.network
    file = open_onnx(network.path)
    if file.sha256() != network.sha256:
        raise InputError(f"{network.path} has changed", "restore the network of the run, or run the study again")
    check_operators(network.path)
    check_bounds(extractor)
    size = sum(path.stat().st_size for path in (file.path, *file.external))
    if size > LARGEST:
        raise InputError(
            f"{network.path} has {size:,} bytes of weights, more than the {LARGEST:,} of one ONNX file",
            "export it in float16",
        )
    target = folder / NETWORK
    if file.external:
        write_whole(target, partial(_joined, network.path))
    else:
        write_whole(target, partial(shutil.copyfile, network.path))
    record = {
        "kind": KIND,
        "name": network.path.name,
        "source_sha256": network.sha256,
        "sha256": file_sha256(target),
        "plan": asdict(network.plan),
        "dimensions": network.dimensions,
        "engine": network.engine,
        "precision": network.precision,
        "view": asdict(network.view) if network.view else None,
    }
    write_json(folder / RECORD, msgspec.to_builtins(msgspec.convert(record, OnnxRecord)))


def _joined(path: Path, target: Path) -> None:
    """Write a network whose weights lie in other files as one file."""
    try:
        import onnx
    except ImportError:
        raise InputError(
            f"{path} keeps its weights in another file, and joining both needs the package onnx",
            "python -m pip install 'shelfbench[onnx]'",
        ) from None
    onnx.save_model(onnx.load_model(path), target)


def check_operators(path: Path) -> None:
    """Refuse a graph that might never end, or that needs operators of its own.

    Parameters
    ----------
    path : Path

    Raises
    ------
    InputError
        If there is such an operator.
    """
    if name := open_onnx(path).undecidable():
        raise InputError(
            f"{path} contains the operator {name!r}, which a decision may not contain", "export it without"
        )


def check_bounds(extractor: OnnxExtractor) -> None:
    """Refuse a graph with a value whose size nobody knows before it is computed: it may be too large for any memory.

    Parameters
    ----------
    extractor : OnnxExtractor

    Raises
    ------
    InputError
        If there is one. A graph that only ONNX Runtime takes cannot be asked.
    """
    network = extractor.network
    try:
        bounded = OpenVINOGraph(network.path, network.plan).bounded
    except Exception as error:  # OpenVINO has no class of errors of its own
        if network.engine == RUNTIME:
            return
        raise InputError(f"OpenVINO cannot take {network.path} ({first_line(error)})", "export it again") from None
    if not bounded:
        raise InputError(
            f"{network.path} computes values whose size depends on the photo, which a decision may not contain",
            "export it for a fixed number of images of a fixed size",
        )


def load_onnx(folder: Path) -> OnnxExtractor:
    """Load what `save_onnx` wrote; a stranger may have written it.

    Parameters
    ----------
    folder : Path

    Returns
    -------
    OnnxExtractor

    Raises
    ------
    InputError
        If it is not as `save_onnx` writes it.
    """
    where, path = folder / RECORD, folder / NETWORK
    try:
        record = msgspec.convert(load_json(where), OnnxRecord)
        view = View(**msgspec.structs.asdict(record.view)) if record.view else None
    except (msgspec.ValidationError, OSError, ValueError) as error:
        raise InputError(f"{where} cannot be read ({str(error)[:160]})", "make the decision again") from None
    file = open_onnx(path)
    if file.graph.external:
        raise InputError(f"{path} keeps weights in other files", "make the decision again")
    check_operators(path)
    if file.sha256() != record.sha256:
        raise InputError(f"{path} does not have the hash given in {RECORD}", "make the decision again")
    engine, precision = _available(record)
    network = OnnxNetwork(
        path=path,
        sha256=record.sha256,
        plan=OnnxPlan(**msgspec.structs.asdict(record.plan)),
        dimensions=record.dimensions,
        engine=engine,
        precision=precision,
        view=view,
    )
    extractor = OnnxExtractor(record.name, network)
    check_bounds(extractor)
    extractor.prepare()
    return extractor


def _available(record: OnnxRecord) -> tuple[str, str]:
    """Return the engine of the record or, with a warning, the other one if that is not installed."""
    installed = {OPENVINO: openvino_version(), RUNTIME: onnxruntime_version()}
    if installed[record.engine]:
        return record.engine, record.precision
    other = RUNTIME if record.engine == OPENVINO else OPENVINO
    if not installed[other]:
        raise InputError(
            "neither OpenVINO nor ONNX Runtime is installed", "python -m pip install openvino, or onnxruntime"
        )
    Console().warn(
        f"features that {record.engine} computed in {record.precision} are now computed by {other} in float32, and "
        f"differ slightly: {record.engine} is not installed"
    )
    return other, "float32"
