"""Engine and precision of the bottlenecks: the user's choice, settled for this machine."""

from __future__ import annotations

import functools
from dataclasses import asdict, dataclass, field
from typing import Any

from shelfbench.base.console import Console
from shelfbench.base.errors import InputError
from shelfbench.base.processor import has_accelerator, multiplies_bfloat16_faster, multiplies_int8_faster
from shelfbench.plugins.backend import EARLIER
from shelfbench_deep.engines.versions import Framework, framework, keras_installed, nncf_version, openvino_version

ENGINES = ("auto", "keras", "openvino", "torch")
PRECISIONS = ("auto", "float32", "bfloat16", "float16", "int8")
TRANSFORMS = ("own", "study")
NEEDS_NNCF = "python -m pip install 'shelfbench[int8]'"


@dataclass(frozen=True)
class Engine:
    """The engine, settled for a machine: part of the key of features, and of the record of a network.

    Attributes
    ----------
    name : {"keras", "openvino"}
    precision : {"float32", "bfloat16", "int8"}
        Of products and of values between layers; the features are float32. Keras always computes in float32.
    """

    name: str = "keras"
    precision: str = "float32"

    def __post_init__(self) -> None:
        """Raise `ValueError` unless this is an engine: a record may come from anyone."""
        pairs = [("keras", "float32"), ("openvino", "float32"), ("openvino", "bfloat16"), ("openvino", "int8")]
        if (self.name, self.precision) not in pairs:
            raise ValueError(f"there is no engine {str(self.name)[:40]!r} in {str(self.precision)[:40]!r}")

    @property
    def framework(self) -> str:
        """Name for the record of times."""
        return "openvino" if self.name == "openvino" else framework().engine

    def describe(self) -> dict[str, Any]:
        """Describe what changes the features (JSON), without loading an engine."""
        computing = framework()
        if self.name == "openvino":
            computing = Framework("openvino", openvino_version() or "unknown", computing.keras_version)
        return {"precision": self.precision, "framework": asdict(computing)}


@dataclass(frozen=True)
class BottleneckSettings:
    """Section ``bottleneck`` of a study.

    Attributes
    ----------
    engine : {"auto", "keras", "openvino", "torch"}
        OpenVINO takes networks from Keras on TensorFlow, and from timm, and computes on the CPU. ``auto`` and
        ``openvino`` fall back to Keras if OpenVINO is not installed, if Keras runs on another engine, or if Keras has a
        GPU. ``keras`` is for networks of Keras only, ``torch`` for those of timm.
    precision : {"auto", "float32", "bfloat16", "float16", "int8"}
        Of OpenVINO; ``auto`` is bfloat16 if the CPU multiplies it faster (AMX, or AVX512_BF16 on AMD), else float32.
        ``int8`` is calibrated on photos of the training data, by NNCF. Of PyTorch; ``auto`` is float32 on a CPU, and on
        a GPU bfloat16, or float16 where that is all it has.
    transform : {"own", "study"}
        How networks that come with a transform of their own (those of timm) see photos: as they were trained to, or as
        ``images.fit`` says.
    allow_int8 : bool
        Whether ``auto`` may be int8, if NNCF is installed and the CPU multiplies it faster (VNNI, AMX).

    Raises
    ------
    InputError
        If a value is not valid.
    """

    engine: str = "auto"
    precision: str = "auto"
    transform: str = field(default="own", metadata={EARLIER: "own"})
    allow_int8: bool = field(default=False, metadata={EARLIER: False})

    def __post_init__(self) -> None:
        for name, allowed in (("engine", ENGINES), ("precision", PRECISIONS), ("transform", TRANSFORMS)):
            if getattr(self, name) not in allowed:
                raise InputError(f"bottleneck.{name} is {getattr(self, name)!r}", f"choose from: {', '.join(allowed)}")
        if not isinstance(self.allow_int8, bool):
            raise InputError(f"bottleneck.allow_int8 is {self.allow_int8!r}", "set true or false")
        if self.engine == "keras" and self.precision in ("bfloat16", "int8"):
            raise InputError(
                f"bottleneck.precision is {self.precision!r}, and Keras computes bottlenecks in float32",
                "set bottleneck.engine=openvino, or omit the precision",
            )

    def settle(self) -> Engine:
        """Choose for this machine, for a network of Keras; warn, once, if it cannot be what was requested."""
        for name, value, alone in (("engine", self.engine, "torch"), ("precision", self.precision, "float16")):
            if value == alone:
                raise InputError(
                    f"bottleneck.{name} is {alone!r}, which is for networks of timm", f"leave out bottleneck.{name}"
                )
        if self.engine == "keras":
            return Engine()
        if reason := why_not_openvino():
            # a GPU is faster, and needs no warning unless something else was requested
            if reason is not _GPU or self != DEFAULT:
                _warn(f"bottlenecks are computed by Keras in float32: {reason}")
            return Engine()
        if self.takes_int8():
            return Engine("openvino", "int8")
        if self.precision == "auto":
            return Engine("openvino", "bfloat16" if multiplies_bfloat16_faster() else "float32")
        return Engine("openvino", self.precision)

    def takes_int8(self) -> bool:
        """Tell whether OpenVINO, where it computes, does so in int8: as requested, or allowed and faster here.

        Returns
        -------
        bool

        Raises
        ------
        InputError
            If it is requested and NNCF is not installed.
        """
        if self.precision == "int8" and nncf_version() is None:
            raise InputError("bottleneck.precision is 'int8', and the package nncf is not installed", NEEDS_NNCF)
        allowed = self.precision == "auto" and self.allow_int8 and nncf_version() is not None
        return self.precision == "int8" or (allowed and multiplies_int8_faster())


def available_engine(recorded: Engine) -> Engine:
    """Return the engine that computed features before or, with a warning, Keras if that is not available."""
    if recorded.name == "openvino" and (reason := why_not_openvino()):
        _warn(
            f"features that OpenVINO computed in {recorded.precision} are now computed by Keras in float32, and "
            f"differ slightly: {reason}"
        )
        return Engine()
    return recorded


DEFAULT, ON_KERAS = BottleneckSettings(), Engine()
NO_OPENVINO = "openvino is not installed (python -m pip install openvino)"
_GPU = "Keras has a GPU, and OpenVINO runs on the CPU only"


def why_not_openvino() -> str:
    """Say why OpenVINO cannot compute here; empty if it can. Loads no engine on a machine without a GPU."""
    if openvino_version() is None:
        return NO_OPENVINO
    if not keras_installed():
        return ""  # it computes what does not need Keras
    if (engine := framework().engine) != "tensorflow":
        return f"Keras runs on {engine}, and OpenVINO takes networks from TensorFlow"
    return _GPU if _on_gpu() else ""


def _on_gpu() -> bool:
    if not has_accelerator():
        return False
    from shelfbench_deep.engines.native import device_name

    return device_name() != "cpu"


@functools.cache
def _warn(message: str) -> None:
    Console().warn(message)
