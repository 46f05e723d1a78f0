"""A model that Keras saved, as a decision takes it along: ``network.json`` and ``network.safetensors``."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
import numpy as np
from msgspec import Meta, Struct

from shelfbench.base.storage import load_json, write_json, write_whole
from shelfbench.plugins.backend import BackboneChoice, FeatureParts
from shelfbench_deep.features.bottleneck import BottleneckExtractor
from shelfbench_deep.features.keras_network import BATCH, KerasFileExtractor, KerasPlan
from shelfbench_deep.features.settings import Engine, available_engine
from shelfbench_deep.features.trained import RECORD, WEIGHTS, unreadable
from shelfbench_deep.networks.blueprint import MAX_SIDE
from shelfbench_deep.networks.keras_file import build
from shelfbench_deep.networks.weights import hash_of_arrays, put_arrays

if TYPE_CHECKING:
    from shelfbench_deep.engines.keras import keras

KIND = "keras-file"
Text = Annotated[str, Meta(max_length=1000)]
Hash = Annotated[str, Meta(pattern=r"\A[0-9a-f]{64}\Z")]
Number = Annotated[float, Meta(ge=-1e9, le=1e9)]
Above = Annotated[float, Meta(gt=0, le=1e9)]


class PlanEntry(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """See `shelfbench_deep.features.keras_network.KerasPlan`."""

    pixels: Annotated[int, Meta(ge=1, le=MAX_SIDE)]
    mean: tuple[Number, Number, Number]
    std: tuple[Above, Above, Above]
    channels: Literal["rgb", "bgr"]
    output: Text
    before: bool
    pool: Literal["", "cls", "mean", "mean_nhwc"]


class KerasRecord(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The contents of ``network.json``.

    Attributes
    ----------
    kind : str
    name : str
        What the model was called in its run.
    source_sha256 : str
        Of the model in the run.
    sha256 : str
        Of the arrays of ``network.safetensors``.
    architecture : str
        JSON, checked again before Keras sees it.
    plan : PlanEntry
    dimensions : int
    engine : dict
        See `shelfbench_deep.features.settings.Engine`.
    """

    kind: Literal["keras-file"]
    name: Text
    source_sha256: Hash
    sha256: Hash
    architecture: str
    plan: PlanEntry
    dimensions: Annotated[int, Meta(ge=1, le=5_000_000)]
    engine: dict[str, str]


def keras_file_features(backbone: BackboneChoice, settings: Any) -> FeatureParts:
    """Make the features of a model that Keras saved.

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
        See `shelfbench_deep.features.keras_network.KerasFileExtractor`.
    """
    extractor = KerasFileExtractor(backbone, settings["bottleneck"], settings["onnx"])
    return FeatureParts(
        features=extractor,
        settings={"backbone": asdict(backbone), "network": extractor.describe()},
        save_features=partial(save_keras_file, extractor),
    )


def save_keras_file(extractor: KerasFileExtractor, folder: Path) -> None:
    """Write the model of an extractor into an existing folder.

    Parameters
    ----------
    extractor : KerasFileExtractor
    folder : Path

    Raises
    ------
    InputError
        If the file is gone or has changed.
    """
    from safetensors.numpy import save_file

    network = extractor.network
    model = network.file.model()
    arrays = {f"{i:05d}": np.asarray(value, order="C") for i, value in enumerate(model.get_weights())}
    write_whole(folder / WEIGHTS, lambda aside: save_file(arrays, aside))
    record = {
        "kind": KIND,
        "name": extractor.name,
        "source_sha256": network.file.sha256,
        "sha256": hash_of_arrays(iter(arrays.items())),
        "architecture": network.file.architecture,
        "plan": asdict(network.plan),
        "dimensions": network.dimensions,
        "engine": asdict(network.engine),
    }
    write_json(folder / RECORD, msgspec.to_builtins(msgspec.convert(record, KerasRecord)))


class SavedKerasExtractor(BottleneckExtractor):
    """Features of a model that `save_keras_file` wrote; a stranger may have written it.

    Parameters
    ----------
    folder : Path

    Raises
    ------
    InputError
        If the folder contains no readable network.
    """

    fixed_size = True

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            record = msgspec.convert(load_json(folder / RECORD), KerasRecord)
            engine = Engine(**record.engine)
        except (msgspec.ValidationError, OSError, ValueError, TypeError) as error:
            raise unreadable(folder, error) from None
        self._record = record
        self._plan = KerasPlan(**msgspec.structs.asdict(record.plan))
        self.name, self.pixels, self.dimensions = record.name, record.plan.pixels, record.dimensions
        self._preprocess = self._plan.preprocess
        self._runs_on(available_engine(engine), BATCH)

    def describe(self) -> dict[str, Any]:
        """Describe everything that changes the features (JSON)."""
        return {
            "kind": KIND,
            "sha256": self._record.source_sha256,
            **self._plan.describe(),
            **self._computing(),
        }

    def arrays(self) -> None:
        """None: a model that Keras saved is computed from what Keras makes of it."""

    def _build(self) -> keras.Model:
        from safetensors.numpy import load_file

        try:
            arrays = load_file(self.folder / WEIGHTS)
            if hash_of_arrays(iter(arrays.items())) != self._record.sha256:
                raise ValueError("its hash differs")
            model = build(self._record.architecture, sum(array.size for array in arrays.values()))
            put_arrays(model, [arrays[name] for name in sorted(arrays)])
            network = self._plan.network(model)
            if tuple(network.outputs[0].shape[1:]) != (self.dimensions,):
                raise ValueError(f"it makes features of shape {tuple(network.outputs[0].shape)}")
        except Exception as error:  # safetensors and Keras raise all sorts of errors
            raise unreadable(self.folder, error) from error
        return network
