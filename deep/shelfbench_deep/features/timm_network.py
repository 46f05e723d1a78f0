"""Features of a network of timm (``backbone = "timm:NAME"``): computed by OpenVINO on a CPU, by PyTorch on a GPU."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from shelfbench.base.console import Console
from shelfbench.base.errors import InputError, RunError
from shelfbench.base.processor import has_accelerator, multiplies_bfloat16_faster
from shelfbench.base.storage import cache_dir, fingerprint, load_json, write_json
from shelfbench.base.using import used
from shelfbench_deep.engines.versions import openvino_version, torch_version
from shelfbench_deep.features.quantised import Quantisable
from shelfbench_deep.features.settings import BottleneckSettings
from shelfbench_deep.networks.timm_network import PREFIX, TimmNetwork, timm_version
from shelfbench_deep.networks.timm_weights import build_timm, weights_sha256

if TYPE_CHECKING:
    import torch

# Images per call of OpenVINO, as for networks of Keras; of PyTorch on a GPU and on a CPU.
_AT_ONCE, _ON_GPU, _ON_CPU = 256, 256, 32
# A conversion's features may be off by this many of their standard deviations, in float32.
_APART = 1e-3
# Photos of this size make a transformer slow on a CPU, and of the second hardly ever less precise on products.
_SLOW, _QUICK = 384, 224


@dataclass(frozen=True)
class TorchEngine:
    """What computes a network of timm, settled for a machine: part of the key of features.

    Attributes
    ----------
    name : {"openvino", "torch"}
    precision : {"float32", "bfloat16", "float16", "int8"}
        Of products; the features are float32.
    """

    name: str
    precision: str

    def __post_init__(self) -> None:
        """Raise `ValueError` unless this is an engine: a record may come from anyone."""
        pairs = {"openvino": ("float32", "bfloat16", "int8"), "torch": ("float32", "bfloat16", "float16")}
        if self.precision not in pairs.get(self.name, ()):
            raise ValueError(f"there is no engine {str(self.name)[:40]!r} in {str(self.precision)[:40]!r}")

    def describe(self) -> dict[str, Any]:
        """Describe what changes the features (JSON), without loading an engine."""
        installed = openvino_version() if self.name == "openvino" else torch_version()
        return {
            "precision": self.precision,
            "framework": {"engine": self.name, "engine_version": installed or "unknown"},
        }


def settle(settings: BottleneckSettings) -> TorchEngine:
    """Choose what computes networks of timm on this machine; warn, once, if it cannot be what was requested.

    Parameters
    ----------
    settings : BottleneckSettings

    Returns
    -------
    TorchEngine

    Raises
    ------
    InputError
        If these networks cannot be computed as the settings say.
    """
    if settings.engine == "keras":
        raise InputError("bottleneck.engine is 'keras', and this network is timm's", "set bottleneck.engine=auto")
    gpu = _on_gpu()
    if settings.engine == "torch" or (gpu and settings.engine == "auto"):
        return TorchEngine("torch", _torch_precision(settings.precision, gpu))
    if openvino_version() is None:
        _warn("networks of timm are computed by PyTorch: openvino is not installed (python -m pip install openvino)")
        return TorchEngine("torch", _torch_precision(settings.precision, gpu))
    if settings.takes_int8():
        return TorchEngine("openvino", "int8")
    if settings.precision not in ("auto", "float32", "bfloat16"):
        raise InputError(
            f"bottleneck.precision is {settings.precision!r}, and OpenVINO computes timm's networks in float32, "
            "bfloat16 or int8",
            "choose one of these, or leave it out",
        )
    if settings.precision == "auto":
        return TorchEngine("openvino", "bfloat16" if multiplies_bfloat16_faster() else "float32")
    return TorchEngine("openvino", settings.precision)


def _torch_precision(wanted: str, gpu: bool) -> str:
    if wanted == "auto":
        if not gpu:
            return "float32"
        from shelfbench_deep.engines.pytorch import half_precision

        return half_precision()
    if wanted == "float16" and not gpu:
        raise InputError("bottleneck.precision is 'float16', and there is no GPU", "set bottleneck.precision=auto")
    if wanted not in ("float32", "bfloat16", "float16"):
        raise InputError(
            f"bottleneck.precision is {wanted!r}, and PyTorch computes in float32, bfloat16 or float16",
            "choose one of these, or leave it out",
        )
    return wanted


def _on_gpu() -> bool:
    if not has_accelerator():
        return False
    from shelfbench_deep.engines.pytorch import torch_device

    return torch_device() == "cuda"


class TimmExtractor(Quantisable):
    """Pooled features of a network of timm, as a `shelfbench.plugins.backend.FeatureExtractor`.

    Parameters
    ----------
    network : TimmNetwork
    weights : str
        See `shelfbench_deep.networks.timm_network.find_timm`.
    settings : BottleneckSettings
        Engine, precision, and whether photos are seen in the network's own way.
    """

    def __init__(self, network: TimmNetwork, weights: str, settings: BottleneckSettings) -> None:
        self.network, self.weights, self.settings = network, weights, settings
        self.name = f"{PREFIX}{network.name}"
        self.pixels, self.dimensions, self.fixed_size = network.pixels, network.dimensions, network.fixed_size
        self.view = network.view if settings.transform == "own" else None
        self._uses(settle(settings))
        self._module: torch.nn.Module | None = None
        self._converted: Any = None
        self._compute: Callable[[np.ndarray], np.ndarray] | None = None
        self._description: dict[str, Any] | None = None

    def _uses(self, engine: TorchEngine) -> None:
        self.engine, self.framework, self.device = engine, engine.name, ""
        self.precision = engine.precision
        self.batch = _AT_ONCE if engine.name == "openvino" else _ON_GPU if _on_gpu() else _ON_CPU

    def __getstate__(self) -> dict[str, Any]:
        """Leave the network itself behind: it is built again where it is needed."""
        return {**self.__dict__, "_module": None, "_converted": None, "_compute": None}

    @property
    def notes(self) -> tuple[str, ...]:
        """What is worth saying about this network, once."""
        network, found = self.network, []
        if self.view is None:
            found.append(f"{self.name} sees photos as images.fit says, not by its own transform")
        if network.fixed_size and network.pixels >= _SLOW and self.framework == "openvino":
            share = (_QUICK / network.pixels) ** 2
            found.append(
                f"{self.name} computes at the {network.pixels} px that it was made for; --set pixels={_QUICK}, if it "
                f"takes that, needs about {share:.0%} of the time"
            )
        return tuple(found)

    def describe(self) -> dict[str, Any]:
        """Describe everything that changes the features (JSON); loads the weights, and fetches them if need be.

        timm's version is part of it: a new one may compute a network of the same name and weights differently, and
        nothing tells whether it does.
        """
        if self._description is None:
            self._check_engine()
            network = self.network
            self._description = {
                "kind": "timm",
                "network": network.name,
                "pixels": network.pixels,
                "pooling": network.pooling,
                "mean": list(network.mean),
                "std": list(network.std),
                "weights": {"sha256": self._sha256()},
                "library": f"timm {timm_version()}",
                **({} if self.engine.name == "openvino" else {"batch": self.batch}),
                **self.engine.describe(),
            }
        return dict(self._description)

    def _sha256(self) -> str:
        state: Any = self.weights
        if self.weights not in ("imagenet", "none"):
            found = Path(self.weights).expanduser().stat()
            state = (self.weights, found.st_size, found.st_mtime_ns)
        key = (self.network, state)
        if key not in _HASHES:
            _HASHES[key] = weights_sha256(self.module())
        return _HASHES[key]

    def module(self) -> torch.nn.Module:
        """Return the network in PyTorch, from normalised images to features; built at the first call."""
        if self._module is None:
            self._module = self._build()
        return self._module

    def _build(self) -> torch.nn.Module:
        return build_timm(self.network, self.weights)

    def _normalising(self) -> torch.nn.Module:
        from shelfbench_deep.engines.pytorch import normalising

        return normalising(self.module(), self.network.mean, self.network.std)

    def _check_engine(self) -> None:
        """Fall back to PyTorch, with one line, if OpenVINO cannot take this network."""
        if self.engine.name != "openvino" or not (reason := self._why_not_openvino()):
            return
        if self.settings.engine == "openvino":
            raise RunError(f"OpenVINO cannot compute {self.name}: {reason}", "set bottleneck.engine=torch")
        _warn(f"{self.name} is computed by PyTorch: {reason}")
        precision = "auto" if self.settings.precision == "auto" else self.engine.precision
        self._uses(TorchEngine("torch", _torch_precision(precision, False)))

    def _why_not_openvino(self) -> str:
        """Try once, on this machine and with these versions, whether OpenVINO computes what PyTorch computes."""
        network = self.network
        versions = [openvino_version(), torch_version(), timm_version()]
        kept = cache_dir() / "converted" / f"{fingerprint([network.name, network.pixels, *versions])}.json"
        try:
            reason = str(load_json(kept)["reason"])
            used(kept)
            return reason
        except (OSError, ValueError, KeyError, TypeError):
            pass
        from shelfbench_deep.engines.pytorch import apart, from_torch

        normalising = self._normalising()
        try:
            converted = from_torch(normalising, self.pixels, self.name)
            error = apart(normalising, converted, self.pixels, self.name)
            reason = "" if error <= _APART else f"its features there differ by {error:.1g} of their spread"
            self._converted = None if reason else converted
        except RunError as refused:
            reason = refused.message
        write_json(kept, {"network": network.name, "pixels": network.pixels, "versions": versions, "reason": reason})
        return reason

    def _features(self, images: np.ndarray) -> np.ndarray:
        if self._compute is None:
            self._check_engine()
            self.check_calibrated()
            self._compute = self._compiled()
        return self._compute(images)

    def _compiled(self) -> Callable[[np.ndarray], np.ndarray]:
        from shelfbench_deep.engines.pytorch import TorchNetwork

        if self.engine.name == "torch":
            network = TorchNetwork(self._normalising(), self.engine.precision, self.batch)
            self.device = network.device
            return network
        from shelfbench_deep.engines.openvino import CompiledNetwork

        compiled = CompiledNetwork(self.to_openvino(), self.engine.precision, self.name)
        self.device, self._module, self._converted = "cpu", None, None  # OpenVINO has a copy of the weights
        return compiled

    def to_openvino(self) -> Any:
        """Convert the network to an `openvino.Model`."""
        from shelfbench_deep.engines.pytorch import from_torch

        return self._converted or from_torch(self._normalising(), self.pixels, self.name)


_HASHES: dict[Any, str] = {}


@functools.cache
def _warn(message: str) -> None:
    Console().warn(message)
