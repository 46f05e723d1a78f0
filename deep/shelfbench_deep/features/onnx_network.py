"""Features of a network in an ONNX file (``backbone = "PATH.onnx"``)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from shelfbench.base.console import Console
from shelfbench.base.errors import InputError, RunError
from shelfbench.base.processor import multiplies_bfloat16_faster
from shelfbench.data.view import View
from shelfbench.plugins.backend import BackboneChoice
from shelfbench.runs.labels import network_label
from shelfbench_deep.engines.onnx import (
    OnnxPlan,
    OpenVINOGraph,
    RuntimeGraph,
    onnxruntime_on_gpu,
    onnxruntime_version,
)
from shelfbench_deep.engines.versions import openvino_version
from shelfbench_deep.features.quantised import Quantisable
from shelfbench_deep.features.settings import BottleneckSettings
from shelfbench_deep.networks.onnx_file import OnnxFile, find_onnx
from shelfbench_deep.networks.onnx_pooling import pooling
from shelfbench_deep.networks.onnx_preprocessing import CONFIG, Preprocessing, preprocessing_of
from shelfbench_deep.networks.onnx_settings import OnnxSettings

OPENVINO, RUNTIME = "openvino", "onnxruntime"
# Images per call of OpenVINO, as for networks of Keras.
_AT_ONCE = 256
_INSTALL = "python -m pip install 'shelfbench[onnxruntime]'"


@dataclass(frozen=True, kw_only=True)
class OnnxNetwork:
    """A network in an ONNX file, with everything decided.

    Attributes
    ----------
    path : Path
        Absolute.
    sha256 : str
        Of the file and of those that hold its weights.
    plan : OnnxPlan
    dimensions : int
    engine : {"openvino", "onnxruntime"}
    precision : {"float32", "bfloat16"}
    view : View or None
        How its maker made photos square, if that is known.
    notes : tuple of str
        What was found, and what was chosen that could have been otherwise.
    """

    path: Path
    sha256: str
    plan: OnnxPlan
    dimensions: int
    engine: str
    precision: str
    view: View | None = None
    notes: tuple[str, ...] = ()


class OnnxExtractor(Quantisable):
    """Features of a network in an ONNX file, as a `shelfbench.plugins.backend.FeatureExtractor`.

    Parameters
    ----------
    name : str
        The path, as the user gave it.
    network : OnnxNetwork
    """

    fixed_size = True
    remedy = "check onnx.mean and onnx.std, or set bottleneck.precision=float32"

    def __init__(self, name: str, network: OnnxNetwork) -> None:
        self.name, self.network, self.precision = name, network, network.precision
        self.pixels, self.dimensions = network.plan.pixels, network.dimensions
        self.framework, self.device = network.engine, ""
        self.batch = _AT_ONCE
        self.address = str(network.path)
        self.view, self.notes = network.view, network.notes
        self._compute: Callable[[np.ndarray], np.ndarray] | None = None

    def describe(self) -> dict[str, Any]:
        """Describe everything that changes the features (JSON): the file by its hash, not by its place."""
        network = self.network
        version = openvino_version() if network.engine == OPENVINO else onnxruntime_version()
        return {
            "kind": "onnx",
            "sha256": network.sha256,
            **{name: value for name, value in asdict(network.plan).items() if name not in ("input", "kind")},
            "precision": network.precision,
            "framework": {"engine": network.engine, "engine_version": version or "unknown"},
        }

    def _features(self, images: np.ndarray) -> np.ndarray:
        return self.prepare()(images)

    def prepare(self) -> Callable[[np.ndarray], np.ndarray]:
        """Read and compile the network at the first call; from then on, its file is not needed.

        Returns
        -------
        callable
            From images to features.

        Raises
        ------
        RunError
            If the engine cannot take it.
        """
        if self._compute is None:
            self.check_calibrated()
            self._compute = self._compiled()
        return self._compute

    def to_openvino(self) -> Any:
        """Convert the network to an `openvino.Model`."""
        return OpenVINOGraph(self.network.path, self.network.plan).network(self.network.plan)

    def _compiled(self) -> Callable[[np.ndarray], np.ndarray]:
        network = self.network
        try:
            if network.engine == OPENVINO:
                from shelfbench_deep.engines.openvino import CompiledNetwork

                self.device = "cpu"
                return CompiledNetwork(self.to_openvino(), network.precision, self.name)
            graph = RuntimeGraph(network.path, network.plan)
        except RunError as error:
            raise RunError(error.message, f"set onnx.engine={RUNTIME}") from error
        except Exception as error:  # neither library has a class of errors of its own
            raise RunError(f"{network.engine} cannot take {self.name} ({first_line(error)})") from error
        self.device = graph.device
        return lambda images: graph(images, network.plan.pool)


def onnx_extractor(choice: BackboneChoice, bottleneck: BottleneckSettings, settings: OnnxSettings) -> OnnxExtractor:
    """Open a network in an ONNX file, and decide how it is used.

    Parameters
    ----------
    choice : BackboneChoice
        Its name is the path; its weights are the file's.
    bottleneck : BottleneckSettings
        The precision.
    settings : OnnxSettings

    Returns
    -------
    OnnxExtractor

    Raises
    ------
    InputError
        If there is no such network, it cannot be used, or something about it is unclear.
    """
    if choice.weights != "imagenet":
        raise InputError(f"weights is {choice.weights!r}, and {choice.name} holds its own", "omit weights")
    file = find_onnx(choice.name)
    place = file.path.absolute()
    # several backends of a study use the same network, which is opened once unless something about it changes
    known = [place, *file.external, place.with_name(CONFIG), place.parent.with_name(CONFIG)]
    state = [(path.stat().st_size, path.stat().st_mtime_ns) for path in known if path.is_file()]
    network = _decided(str(place), repr(state), choice, bottleneck, settings)
    return OnnxExtractor(choice.name, network)


@lru_cache(maxsize=16)
def _decided(
    place: str, _state: str, choice: BackboneChoice, bottleneck: BottleneckSettings, settings: OnnxSettings
) -> OnnxNetwork:
    file = find_onnx(choice.name)
    given = file.input()
    layout = given.layout or settings.layout
    if settings.layout and given.layout and settings.layout != given.layout:
        raise InputError(f"{file.path} is {given.layout}, and onnx.layout is {settings.layout}", "omit onnx.layout")
    if not layout:
        raise InputError(
            f"{file.path} does not tell where its channels are",
            "--set onnx.layout=NCHW for (n, 3, side, side), as PyTorch exports, or onnx.layout=NHWC",
        )
    prepared = preprocessing_of(file.path, given.kind, file.graph.metadata, settings)
    output = file.output(settings.output)
    plan = OnnxPlan(
        input=given.name,
        output=output,
        inside=output not in {value.name for value in file.graph.outputs},
        kind=given.kind,
        layout=layout,
        batch=given.batch,
        pixels=_side(file, given.pixels, prepared, choice.pixels),
        mean=prepared.mean,
        std=prepared.std,
        channels=prepared.channels,
    )
    engine, shape, why = _read(file.path, plan, settings.engine)
    pool, chosen = pooling(shape, settings.pool, layout, file.path)
    plan = replace(plan, pool=pool)
    precision = _precision(engine, bottleneck)
    dimensions = math.prod(shape[1:]) if not pool else shape[{"mean_nchw": 1, "mean_nhwc": 3}.get(pool, 2)]
    return OnnxNetwork(
        path=Path(place),
        sha256=file.sha256(),
        plan=plan,
        dimensions=dimensions,
        engine=engine,
        precision=precision,
        view=_view(prepared, plan, bottleneck),
        notes=_notes(file, plan, prepared, (dimensions, chosen), f"{_ENGINES[engine]} in {precision}{why}"),
    )


def _side(file: OnnxFile, fixed: int | None, prepared: Preprocessing, wanted: int | None) -> int:
    """Decide the side of the images."""
    if fixed is not None:
        if wanted not in (None, fixed):
            raise InputError(f"{file.path} takes images of {fixed} pixels, and pixels is {wanted}", "omit pixels")
        return fixed
    side = wanted or prepared.pixels
    if side is None:
        raise InputError(
            f"{file.path} takes images of any size, and nothing says which it was made for",
            "set it, such as --set pixels=224",
        )
    return side


def _read(path: Path, plan: OnnxPlan, wanted: str) -> tuple[str, tuple[int, ...], str]:
    """Let an engine read the graph; return which, the output's shape, and why it is this one if that is not usual."""
    if wanted == RUNTIME or (not wanted and onnxruntime_on_gpu()):
        if onnxruntime_version() is None:
            raise InputError("onnx.engine is 'onnxruntime', which is not installed", _INSTALL)
        return RUNTIME, _shape(RuntimeGraph, path, plan, RUNTIME), ""
    try:
        shape = _shape(OpenVINOGraph, path, plan, OPENVINO)
    except InputError as error:
        if wanted:
            raise InputError(error.message, f"omit onnx.engine, or set onnx.engine={RUNTIME}") from None
        if onnxruntime_version() is None:
            raise InputError(error.message, f"ONNX Runtime may take it: {_INSTALL}") from None
        return RUNTIME, _shape(RuntimeGraph, path, plan, RUNTIME, error.message), f", as {error.message}"
    return OPENVINO, shape, ""


def _shape(kind: Any, path: Path, plan: OnnxPlan, engine: str, before: str = "") -> tuple[int, ...]:
    """Read the graph with one engine, and return the shape of its output."""
    if engine == RUNTIME and (operator := find_onnx(str(path)).unchecked()):
        also = f"{before}, and " if before else ""
        raise InputError(
            f"{also}{path} contains the operator {operator!r}, which ONNX Runtime does not run safely",
            "export it without",
        )
    try:
        shape: tuple[int, ...] = kind(path, plan).shape
    except Exception as error:  # neither library has a class of errors of its own
        also = f"{before}, and " if before else ""
        raise InputError(
            f"{also}{_ENGINES[engine]} cannot take {path} ({first_line(error)})",
            "export it with a common opset, such as 17, and without operators of its own",
        ) from None
    images = plan.batch or None
    if len(shape) < 2 or (images is not None and shape[0] != images) or 0 in shape:
        raise InputError(
            f"{path} returns values of shape {shape}, not one row per image", "choose another with onnx.output"
        )
    return shape


def _view(prepared: Preprocessing, plan: OnnxPlan, settings: BottleneckSettings) -> View | None:
    """Choose the maker's way to make photos square, unless the study's is wanted or the size is another."""
    own = prepared.view and settings.transform == "own" and plan.pixels == prepared.pixels
    return View(**prepared.view) if own else None


_ENGINES = {OPENVINO: "OpenVINO", RUNTIME: "ONNX Runtime"}


def _precision(engine: str, settings: BottleneckSettings) -> str:
    if settings.precision == "float16":
        raise InputError("bottleneck.precision is 'float16', which is for networks of timm", "omit the precision")
    if settings.precision == "float32":
        return "float32"
    if engine == RUNTIME:
        if settings.precision != "auto":
            Console().warn(f"ONNX Runtime computes in float32, not in {settings.precision}")
        return "float32"
    if settings.takes_int8():
        return "int8"
    if settings.precision == "auto":
        return "bfloat16" if multiplies_bfloat16_faster() else "float32"
    return settings.precision


def _notes(
    file: OnnxFile, plan: OnnxPlan, prepared: Preprocessing, features: tuple[int, str], computed: str
) -> tuple[str, ...]:
    """Say what was found, in one line, and in others what a user may want to have otherwise."""
    dimensions, chosen = features
    name = network_label(f"@{file.path}", {})
    order = plan.channels.upper()
    if plan.kind == "uint8":
        pixels = f"{order} bytes, which it prepares itself"
    else:
        pixels = f"{order} as {_formula(plan)} ({prepared.source})"
    value = "the value" if plan.inside else "output"
    said = [
        f"{name}: {plan.pixels} px, {pixels}; features: {value} {plan.output!r}, {dimensions:,} numbers"
        f"{f' ({chosen})' if chosen else ''}; {computed}"
    ]
    if prepared.otherwise:
        said.append(
            f"{name} gets its pixels as the section [onnx] says, for all ONNX files of this run, although "
            f"{prepared.otherwise}"
        )
    if below := file.below_head(plan.output):
        said.append(
            f"{name} ends in a dense layer of {dimensions:,} numbers, such as a classifier's scores: what "
            f"lies below it describes photos better as a rule, and --set onnx.output={below} takes that instead"
        )
    if operator := file.undecidable():
        said.append(f"{name} contains the operator {operator!r}: it can be compared with others, and not be deployed")
    return tuple(said)


def _formula(plan: OnnxPlan) -> str:
    def of(values: tuple[float, ...]) -> str:
        first = f"{values[0]:.6g}"
        return first if len(set(values)) == 1 else f"({', '.join(f'{value:.6g}' for value in values)})"

    return f"(x - {of(plan.mean)}) / {of(plan.std)}"


def first_line(error: Exception) -> str:
    """Return the line of an error's message that says most, shortened."""
    lines = [line.strip(" -") for line in str(error).splitlines() if line.strip(" -")]
    # OpenVINO begins with places in its source, and ends with the reason
    lines = [line for line in lines if not line.startswith(("Exception from", "Check '", "FrontEnd API", "Summary:"))]
    named = [line for line in lines if line.startswith("No conversion rule")]
    return ([*named, *lines] or [type(error).__name__])[0].rpartition(" failed:")[2][:200]
