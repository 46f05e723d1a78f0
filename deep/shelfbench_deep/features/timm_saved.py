"""A network of timm that a decision takes along: its weights, and its name among those that timm has.

No code is in the folder and none is run from it; timm must be installed where the decision is used.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from shelfbench.base.console import Console
from shelfbench.base.errors import InputError, first_line
from shelfbench.base.storage import write_json, write_whole
from shelfbench.data.view import View
from shelfbench.plugins.backend import BackboneChoice, FeatureParts
from shelfbench_deep.engines.versions import openvino_version
from shelfbench_deep.features.settings import BottleneckSettings
from shelfbench_deep.features.timm_network import TimmExtractor, TorchEngine
from shelfbench_deep.features.trained import RECORD, WEIGHTS
from shelfbench_deep.networks.timm_network import PREFIX, find_timm
from shelfbench_deep.networks.timm_weights import build_timm, shapes_of, weights_sha256

if TYPE_CHECKING:
    import torch

# The largest file of weights that a decision may hold.
LARGEST = 2048 << 20
Number = Annotated[float, Meta(ge=-1e6, le=1e6)]
Above = Annotated[float, Meta(gt=0, le=1e6)]


class ViewEntry(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """See `shelfbench.data.view.View`, which checks the values."""

    fit: str
    resample: str
    crop: float
    background: tuple[int, int, int]


class EngineEntry(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """See `shelfbench_deep.features.timm_network.TorchEngine`, which checks the values."""

    name: str
    precision: str


class TimmRecord(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The contents of ``network.json``.

    Attributes
    ----------
    kind : str
    network : str
        timm's name of it, with its tag.
    pixels, dimensions : int
    mean, std : tuple of float
    view : ViewEntry or None
        How the network sees photos; None for the study's way.
    engine : EngineEntry
        What computed the features that the classifier was fitted on.
    sha256 : str
        Of the weights.
    """

    kind: Literal["timm"]
    network: Annotated[str, Meta(pattern=r"\A[A-Za-z0-9_.-]{1,200}\Z")]
    pixels: Annotated[int, Meta(ge=1, le=4096)]
    dimensions: Annotated[int, Meta(ge=1, le=5_000_000)]
    mean: tuple[Number, Number, Number]
    std: tuple[Above, Above, Above]
    view: ViewEntry | None
    engine: EngineEntry
    sha256: Annotated[str, Meta(pattern=r"\A[0-9a-f]{64}\Z")]


def timm_features(backbone: BackboneChoice, settings: Mapping[str, Any]) -> FeatureParts:
    """Make the features of a network of timm.

    Parameters
    ----------
    backbone : BackboneChoice
    settings : mapping of str to dataclass instance
        The section ``bottleneck``.

    Returns
    -------
    FeatureParts

    Raises
    ------
    InputError
        See `shelfbench_deep.networks.timm_network.find_timm` and `shelfbench_deep.features.timm_network.settle`.
    """
    extractor = TimmExtractor(find_timm(backbone), backbone.weights, settings["bottleneck"])
    return FeatureParts(
        features=extractor,
        settings={"backbone": asdict(backbone), "network": asdict(extractor.network)},
        save_features=partial(save_timm, extractor),
    )


def save_timm(extractor: TimmExtractor, folder: Path) -> None:
    """Write ``network.safetensors`` and ``network.json`` into an existing folder.

    Parameters
    ----------
    extractor : TimmExtractor
    folder : Path

    Raises
    ------
    InputError
        If the weights are larger than a decision may be.
    """
    from safetensors.torch import save_file

    model, network = extractor.module(), extractor.network
    # of its own memory each: tensors that share some cannot be written
    state = {name: tensor.detach().clone().contiguous() for name, tensor in model.state_dict().items()}
    size = sum(tensor.numel() * tensor.element_size() for tensor in state.values())
    if size > LARGEST:
        raise InputError(
            f"{network.name} has {size / 2**30:.1f} GiB of weights, and a decision may hold {LARGEST / 2**30:.0f}",
            "choose a smaller network",
        )
    write_whole(folder / WEIGHTS, lambda aside: save_file(state, aside))
    view, parts = extractor.view, ("fit", "resample", "crop", "background")
    record = TimmRecord(
        kind="timm",
        network=network.name,
        pixels=network.pixels,
        dimensions=network.dimensions,
        mean=network.mean,
        std=network.std,
        view=None if view is None else ViewEntry(**{part: getattr(view, part) for part in parts}),
        engine=EngineEntry(**asdict(extractor.engine)),
        sha256=weights_sha256(model),
    )
    write_json(folder / RECORD, msgspec.to_builtins(record))


class SavedTimm(TimmExtractor):
    """Features of a network that a decision took along.

    Parameters
    ----------
    folder : Path
        Anyone may have written it.

    Raises
    ------
    InputError
        If it is damaged, timm has no such network, or the weights are not those that the decision names.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        record = _read(folder)
        found = find_timm(BackboneChoice(f"{PREFIX}{record.network}", "none", record.pixels))
        network = replace(found, mean=record.mean, std=record.std)
        if network.dimensions != record.dimensions:
            raise InputError(
                f"{folder / RECORD} does not fit timm's {network.name}", "install the run's version of timm"
            )
        try:
            engine = TorchEngine(record.engine.name, record.engine.precision)
            view = None if record.view is None else View(**msgspec.structs.asdict(record.view))
        except ValueError as error:
            raise InputError(f"{folder / RECORD} cannot be read ({error})", "save the decision again") from None
        super().__init__(network, "none", BottleneckSettings(engine="torch", precision="float32"))
        self.view, self._expected = view, record.sha256
        self._uses(_available(engine))
        self._loaded = self._load()

    def _load(self) -> torch.nn.Module:
        """Load the weights once, and check them: a decision's files may be gone afterwards."""
        from safetensors import safe_open
        from safetensors.torch import load_file

        path = self.folder / WEIGHTS
        try:
            expected = shapes_of(self.network)
            with safe_open(path, framework="numpy") as tensors:  # the shapes, before any memory is used
                given = {name: tuple(tensors.get_slice(name).get_shape()) for name in tensors.keys()}  # noqa: SIM118
            if given != expected:
                raise ValueError("its weights are not those of the network")
            model = build_timm(self.network, "none")
            model.load_state_dict(load_file(path), strict=True)
        except InputError:
            raise
        except Exception as error:  # safetensors and PyTorch raise all sorts of errors
            raise InputError(f"{path} cannot be read ({first_line(error)})", "save the decision again") from error
        if weights_sha256(model) != self._expected:
            raise InputError(f"{path} does not hold the weights that {RECORD} names", "save the decision again")
        return model

    def _build(self) -> Any:
        return self._loaded


def _read(folder: Path) -> TimmRecord:
    try:
        return msgspec.json.decode((folder / RECORD).read_bytes(), type=TimmRecord)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"{folder / RECORD} cannot be read ({error})", "save the decision again") from None


def _available(engine: TorchEngine) -> TorchEngine:
    """Return the engine that computed the run's features or, with a warning, PyTorch in float32."""
    from shelfbench_deep.engines.pytorch import torch_device

    if engine.name == "openvino" and openvino_version() is None:
        reason = "openvino is not installed"
    elif engine.precision == "float16" and torch_device() == "cpu":
        reason = "there is no GPU"
    else:
        return engine
    Console().warn(
        f"features that {engine.name} computed in {engine.precision} are now computed by PyTorch in float32, and "
        f"differ slightly: {reason}"
    )
    return TorchEngine("torch", "float32")
