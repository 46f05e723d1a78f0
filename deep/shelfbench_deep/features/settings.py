"""What computes the bottlenecks, and in which precision: chosen by the user, settled on this machine."""

from __future__ import annotations

import functools
from dataclasses import asdict, dataclass
from typing import Any

from shelfbench.base.console import Console
from shelfbench.base.errors import InputError
from shelfbench.base.processor import has_accelerator, multiplies_bfloat16_faster

from shelfbench_deep.engines.versions import Framework, framework, openvino_version

ENGINES = ("auto", "keras", "openvino")
PRECISIONS = ("auto", "float32", "bfloat16")


@dataclass(frozen=True)
class Engine:
    """What computes, settled: part of the key of features, and of the record of a network.

    Attributes
    ----------
    name : {"keras", "openvino"}
    precision : {"float32", "bfloat16"}
        Of products and of what goes from layer to layer; the features are float32. Keras computes in float32 alone.
    """

    name: str = "keras"
    precision: str = "float32"

    def __post_init__(self) -> None:
        """Refuse what is no engine (`ValueError`): a record may come from anyone."""
        pairs = [("keras", "float32"), ("openvino", "float32"), ("openvino", "bfloat16")]
        if (self.name, self.precision) not in pairs:
            raise ValueError(f"no engine {str(self.name)[:40]!r} in {str(self.precision)[:40]!r}")

    @property
    def framework(self) -> str:
        """For the record of times."""
        return "openvino" if self.name == "openvino" else framework().engine

    def describe(self) -> dict[str, Any]:
        """Say what changes the features (JSON), without loading an engine."""
        told = framework()
        if self.name == "openvino":
            told = Framework("openvino", openvino_version() or "unknown", told.keras_version)
        return {"precision": self.precision, "framework": asdict(told)}


@dataclass(frozen=True)
class BottleneckSettings:
    """Section ``bottleneck`` of a study.

    Attributes
    ----------
    engine : {"auto", "keras", "openvino"}
        OpenVINO takes the networks of Keras on TensorFlow, and computes on the CPU; ``auto`` and ``openvino`` fall back
        to Keras where it is not installed, where Keras runs on another engine, and where Keras has a GPU.
    precision : {"auto", "float32", "bfloat16"}
        Of OpenVINO; ``auto`` is bfloat16 where the CPU multiplies that faster (AMX, or AVX512_BF16 on AMD's), and
        float32 elsewhere.

    Raises
    ------
    InputError
        If a value is not possible.
    """

    engine: str = "auto"
    precision: str = "auto"

    def __post_init__(self) -> None:
        for name, allowed in (("engine", ENGINES), ("precision", PRECISIONS)):
            if getattr(self, name) not in allowed:
                raise InputError(f"bottleneck.{name} is {getattr(self, name)!r}", f"choose from: {', '.join(allowed)}")
        if (self.engine, self.precision) == ("keras", "bfloat16"):
            raise InputError(
                "bottleneck.precision is 'bfloat16', and Keras computes bottlenecks in float32",
                "set bottleneck.engine=openvino, or leave the precision out",
            )

    def settle(self) -> Engine:
        """Choose for this machine; says in a word, once, where it cannot be what was asked for."""
        if self.engine == "keras":
            return Engine()
        if reason := why_not_openvino():
            # a GPU is faster, and needs no word unless something else was asked for
            if reason is not _GPU or self != DEFAULT:
                _say(f"bottlenecks are computed by Keras in float32: {reason}")
            return Engine()
        if self.precision == "auto":
            return Engine("openvino", "bfloat16" if multiplies_bfloat16_faster() else "float32")
        return Engine("openvino", self.precision)


def available_engine(recorded: Engine) -> Engine:
    """Give an engine that features were computed by before, or Keras, with a word, where it is not at hand."""
    if recorded.name == "openvino" and (reason := why_not_openvino()):
        _say(
            f"features that OpenVINO computed in {recorded.precision} are computed by Keras in float32, and differ a "
            f"little: {reason}"
        )
        return Engine()
    return recorded


DEFAULT, ON_KERAS = BottleneckSettings(), Engine()
_GPU = "it runs on a GPU, and OpenVINO only on the CPU"


def why_not_openvino() -> str:
    """Say why networks cannot go to OpenVINO here; empty where they can. Loads no engine on a machine without a GPU."""
    if openvino_version() is None:
        return "openvino is not installed (python -m pip install openvino)"
    if (engine := framework().engine) != "tensorflow":
        return f"it runs on {engine}, and OpenVINO takes networks from TensorFlow"
    return _GPU if _on_gpu() else ""


def _on_gpu() -> bool:
    if not has_accelerator():
        return False
    from shelfbench_deep.engines.loading import device_name

    return device_name() != "cpu"


@functools.cache
def _say(message: str) -> None:
    Console().warn(message)
