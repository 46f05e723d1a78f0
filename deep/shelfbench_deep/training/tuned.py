"""A trained network on disk: how it is built again, its features, and its own head."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from shelfbench.base.console import Console
from shelfbench.base.errors import InputError
from shelfbench.base.storage import write_json, write_whole
from shelfbench.plugins.backend import TrainingData

from shelfbench_deep.features.bottleneck import BottleneckExtractor
from shelfbench_deep.features.settings import ON_KERAS, Engine, available_engine
from shelfbench_deep.heads.two_layer import log_softmax
from shelfbench_deep.networks.backbones import NETWORKS, Backbone, hash_of_arrays

if TYPE_CHECKING:
    from shelfbench_deep.engines.loading import keras
    from shelfbench_deep.networks.inception import InceptionSettings
    from shelfbench_deep.networks.xception import XceptionSettings

WEIGHTS, RECORD = "network.safetensors", "network.json"
MAX_SIDE, MAX_CLASSES = 4096, 1_000_000


@dataclass(frozen=True)
class Blueprint:
    """How to build a network with its head; the weights come after.

    Attributes
    ----------
    network : str
        A key of `shelfbench_deep.networks.backbones.NETWORKS`.
    pixels : int
    classes : int
        Logits; 0 for a backbone that ends at its pooled features.
    settings : dict
        Of ``shelfbench_deep.networks.xception`` or ``shelfbench_deep.networks.inception``, where the network is built there; empty for a backbone with a dense
        layer of logits on its pooled features.
    dropout : float
        Before the logits of a backbone.
    """

    network: str
    pixels: int
    classes: int
    settings: dict[str, Any] = field(default_factory=dict)
    dropout: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what cannot be built (`ValueError`): a record may come from anyone."""
        if not isinstance(self.network, str) or self.network not in NETWORKS:
            raise ValueError(f"unknown network {str(self.network)[:40]!r}")
        bounds = {"pixels": (NETWORKS[self.network].least, MAX_SIDE), "classes": (0, MAX_CLASSES)}
        for name, (least, most) in bounds.items():
            value = getattr(self, name)
            if type(value) is not int or not least <= value <= most:
                raise ValueError(f"{name} is {str(value)[:40]}, not a whole number from {least} to {most}")
        if type(self.dropout) not in (int, float) or not 0 <= self.dropout < 1:
            raise ValueError(f"dropout is {str(self.dropout)[:40]}")
        if not isinstance(self.settings, dict):
            raise ValueError("settings of no network")
        if self.settings:
            self._own()

    def _own(self) -> XceptionSettings | InceptionSettings:
        """Give `settings` as the dataclass that checks them."""
        from shelfbench_deep.networks.inception import InceptionSettings
        from shelfbench_deep.networks.xception import XceptionSettings

        kinds = {"xception": XceptionSettings, "inception_v3": InceptionSettings}
        if self.network not in kinds or not self.classes:
            raise ValueError("settings of no network")
        return kinds[self.network](**self.settings)

    def build(self) -> keras.Model:
        """From preprocessed float32 images to logits of float32, with new weights; not compiled."""
        from shelfbench_deep.engines.loading import keras

        if self.settings:
            from shelfbench_deep.networks.inception import inception_v3
            from shelfbench_deep.networks.xception import XceptionSettings, xception

            own = self._own()
            if isinstance(own, XceptionSettings):
                return xception(self.pixels, self.classes, own)
            return inception_v3(self.pixels, self.classes, own)
        base = Backbone(self.network, "none", self.pixels).model()
        features = base.output
        if not self.classes:
            return base
        if self.dropout:
            features = keras.layers.Dropout(self.dropout, name="tuned_dropout")(features)
        logits = keras.layers.Dense(self.classes, dtype="float32", name="tuned_logits")(features)
        return keras.Model(base.input, logits, name=f"tuned_{self.network}")

    def least_parameters(self) -> float:
        """Parameters that the network has at least, told without building it."""
        if not self.settings:
            return NETWORKS[self.network].dimensions * self.classes
        from shelfbench_deep.networks.xception import XceptionSettings, count_parameters

        own = self._own()
        if isinstance(own, XceptionSettings):
            return count_parameters(own, self.classes)
        # 21.5 million in the kernels at a width of 1
        return 15e6 * own.width**2 + 2000 * own.width * self.classes

    @property
    def preprocess(self) -> Callable[[np.ndarray], np.ndarray]:
        """From float32 RGB of 0 to 255 to what the network takes."""
        return NETWORKS[self.network].preprocess


def features_of(model: keras.Model) -> keras.Model:
    """Cut a network before its layer of logits."""
    from shelfbench_deep.engines.loading import keras

    return keras.Model(model.input, model.layers[-1].input)


def write_network(folder: Path, blueprint: Blueprint, model: keras.Model, engine: Engine = ON_KERAS) -> None:
    """Write ``network.safetensors`` and ``network.json`` into an existing folder.

    `engine` is what computes the features whose classifier lies beside the network, and is to compute them again.
    Arrays are named by their order and path: the paths of ``keras.applications`` count layers over the whole process.
    """
    from safetensors.numpy import save_file

    values = zip(model.weights, model.get_weights(), strict=True)
    arrays = {f"{i:05d}.{weight.path}": np.ascontiguousarray(value) for i, (weight, value) in enumerate(values)}
    write_whole(folder / WEIGHTS, lambda aside: save_file(arrays, aside))
    write_json(
        folder / RECORD,
        {
            "blueprint": asdict(blueprint),
            "engine": asdict(engine),
            "dimensions": int((model.layers[-1].input if blueprint.classes else model.output).shape[-1]),
            "sha256": hash_of_arrays(iter((name[:5], array) for name, array in arrays.items())),
        },
    )


def save_bottleneck(extractor: BottleneckExtractor, folder: Path) -> None:
    """Write the network of an extractor as `write_network` does, so that it needs no other file."""
    write_network(folder, Blueprint(extractor.name, extractor.pixels, 0), extractor.model(), extractor.engine)


def copy_network(source: Path, folder: Path, engine: Engine) -> None:
    """Copy what `write_network` wrote, for features that another engine computes."""
    shutil.copyfile(source / WEIGHTS, folder / WEIGHTS)
    write_json(folder / RECORD, {**read_network(source)[1], "engine": asdict(engine)})


def read_network(folder: Path) -> tuple[Blueprint, dict[str, Any]]:
    """Read ``network.json``: the blueprint, and all of the record.

    Raises
    ------
    InputError
        If it is missing or damaged.
    """
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        _engine_of(record)
        return Blueprint(**record["blueprint"]), record
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _unreadable(folder, error) from error


def _engine_of(record: dict[str, Any]) -> Engine:
    """Give the engine of a record; records of earlier versions are of Keras."""
    return Engine(**record.get("engine", {}))


def load_network(folder: Path) -> keras.Model:
    """Build the network of a folder and give it its weights; not compiled.

    Raises
    ------
    InputError
        If a file is missing or damaged, or its hash differs from the record's.
    """
    from safetensors.numpy import load_file

    blueprint, record = read_network(folder)
    try:
        arrays = load_file(folder / WEIGHTS)
        if hash_of_arrays(iter((name[:5], array) for name, array in arrays.items())) != record["sha256"]:
            raise ValueError("its hash differs")
        if any(array.dtype != np.float32 for array in arrays.values()):
            raise ValueError("an array that is not of float32")
        if blueprint.least_parameters() > sum(array.size for array in arrays.values()):
            raise ValueError("fewer parameters than the network has")
        model = blueprint.build()
        model.set_weights([arrays[name] for name in sorted(arrays)])
    except Exception as error:  # safetensors and Keras raise all sorts
        raise _unreadable(folder, error) from error
    return model


def _unreadable(folder: Path, error: Exception) -> InputError:
    reason = str(error).splitlines()[0] if str(error) else "no message"
    return InputError(
        f"{folder} holds no readable network ({type(error).__name__}: {reason})",
        "delete that folder and run the study again",
    )


class TunedExtractor(BottleneckExtractor):
    """Features of a trained network: what its layer of logits takes.

    Parameters
    ----------
    folder : Path
        Holds what `write_network` wrote.
    engine : Engine, optional
        What computes; by default what the folder's record says, or Keras, with a word, where that is not at hand.

    Raises
    ------
    InputError
        If it does not.
    """

    def __init__(self, folder: Path, engine: Engine | None = None) -> None:
        self.folder = folder
        self.blueprint, record = read_network(folder)
        self.name, self.pixels = self.blueprint.network, self.blueprint.pixels
        self.dimensions = int(record["dimensions"])
        self._runs_on(engine or available_engine(_engine_of(record)), NETWORKS[self.name].batch)
        self._sha256 = str(record["sha256"])
        self._preprocess = self.blueprint.preprocess

    def describe(self) -> dict[str, Any]:
        """Everything that changes the features (JSON)."""
        return {
            "kind": "tuned",
            **asdict(self.blueprint),
            "sha256": self._sha256,
            **self._computing(),
        }

    def _build(self) -> keras.Model:
        model = load_network(self.folder)
        return features_of(model) if self.blueprint.classes else model


class OwnHead:
    """The layer of logits of a trained network, as a `shelfbench.plugins.backend.Classifier` on its features.

    Attributes
    ----------
    kernel : ndarray of float32, shape (dimensions, classes)
    bias : ndarray of float32, shape (classes,)
    """

    framework, device = "numpy", "cpu"
    batch = 0
    history: pd.DataFrame | None = None

    def __init__(self, kernel: np.ndarray, bias: np.ndarray) -> None:
        self.kernel, self.bias = kernel, bias
        self.chosen: dict[str, Any] = {}

    def fit(self, data: TrainingData, *, seed: int, console: Console) -> None:
        """Nothing is left to learn: it was trained with its network."""

    def log_probabilities(self, features: np.ndarray) -> np.ndarray:
        """Log-softmax in float64, shape (n, classes)."""
        return log_softmax(features @ self.kernel + self.bias)

    def save(self, folder: Path) -> None:
        """Write ``weights.safetensors`` and ``classifier.json`` into an existing folder."""
        from safetensors.numpy import save_file

        arrays = {"kernel": np.ascontiguousarray(self.kernel), "bias": np.ascontiguousarray(self.bias)}
        write_whole(folder / "weights.safetensors", lambda aside: save_file(arrays, aside))
        write_json(folder / "classifier.json", {"kind": "own_head", "dimensions": len(self.kernel)})

    @classmethod
    def load(cls, folder: Path) -> OwnHead:
        """Read what `save` wrote.

        Raises
        ------
        InputError
            If a file is missing or damaged.
        """
        from safetensors.numpy import load_file

        try:
            record = json.loads((folder / "classifier.json").read_text(encoding="utf-8"))
            if record["kind"] != "own_head":
                raise ValueError(f"a classifier of kind {record['kind']!r}")
            arrays = load_file(folder / "weights.safetensors")
            if arrays["kernel"].shape != (record["dimensions"], len(arrays["bias"])):
                raise ValueError("shapes that do not fit")
            if {array.dtype for array in arrays.values()} != {np.dtype(np.float32)}:
                raise ValueError("arrays that are not of float32")
            return cls(arrays["kernel"], arrays["bias"])
        except Exception as error:  # safetensors raises its own kinds
            raise _unreadable(folder, error) from error

    @classmethod
    def of(cls, model: keras.Model) -> OwnHead:
        """Take the last layer of a network."""
        kernel, bias = model.layers[-1].get_weights()
        return cls(kernel, bias)
