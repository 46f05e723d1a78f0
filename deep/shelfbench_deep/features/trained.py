"""Networks in folders of their own: how they are written and read, and their features."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from shelfbench.base.errors import InputError, NotInstalled, first_line
from shelfbench.base.storage import load_json, write_json, write_whole
from shelfbench_deep.engines.versions import check_keras
from shelfbench_deep.features.bottleneck import BottleneckExtractor
from shelfbench_deep.features.settings import ON_KERAS, Engine, available_engine
from shelfbench_deep.networks.blueprint import Blueprint, features_of
from shelfbench_deep.networks.efficientnet_lite_layers import shapes
from shelfbench_deep.networks.weights import hash_of_arrays, put_arrays

if TYPE_CHECKING:
    from shelfbench_deep.engines.keras import keras

WEIGHTS, RECORD = "network.safetensors", "network.json"


def write_network(folder: Path, blueprint: Blueprint, model: keras.Model, engine: Engine = ON_KERAS) -> None:
    """Write ``network.safetensors`` and ``network.json`` into an existing folder.

    Arrays are named by their order and path, as the paths in ``keras.applications`` count layers over the whole
    process.

    Parameters
    ----------
    folder : Path
    blueprint : Blueprint
    model : keras.Model
    engine : Engine
        The engine that computed the features that the classifier next to the network was fitted on, and that is to
        compute them again.
    """
    named = zip((weight.path for weight in model.weights), model.get_weights(), strict=True)
    dimensions = int((model.layers[-1].input if blueprint.classes else model.output).shape[-1])
    _write(folder, blueprint, named, dimensions, engine)


def _write(
    folder: Path, blueprint: Blueprint, named: Iterable[tuple[str, np.ndarray]], dimensions: int, engine: Engine
) -> None:
    from safetensors.numpy import save_file

    arrays = {f"{i:05d}.{path}": np.asarray(value, order="C") for i, (path, value) in enumerate(named)}
    write_whole(folder / WEIGHTS, lambda aside: save_file(arrays, aside))
    write_json(
        folder / RECORD,
        {
            "blueprint": asdict(blueprint),
            "engine": asdict(engine),
            "dimensions": dimensions,
            "sha256": hash_of_arrays(iter((name[:5], array) for name, array in arrays.items())),
        },
    )


def save_bottleneck(extractor: BottleneckExtractor, folder: Path) -> None:
    """Write the network of an extractor as `write_network` does, so that it needs no other file."""
    blueprint = Blueprint(network=extractor.name, pixels=extractor.pixels, classes=0)
    if (arrays := extractor.arrays()) is None:
        write_network(folder, blueprint, extractor.model(), extractor.engine)
    else:
        _write(folder, blueprint, arrays.items(), extractor.dimensions, extractor.engine)


def copy_network(source: Path, folder: Path, engine: Engine) -> None:
    """Copy the files of `write_network`, for features that another engine computes."""
    shutil.copyfile(source / WEIGHTS, folder / WEIGHTS)
    write_json(folder / RECORD, {**read_network(source)[1], "engine": asdict(engine)})


def read_network(folder: Path) -> tuple[Blueprint, dict[str, Any]]:
    """Read ``network.json``.

    Parameters
    ----------
    folder : Path

    Returns
    -------
    Blueprint
    dict
        The whole record.

    Raises
    ------
    InputError
        If it is missing or damaged.
    """
    try:
        record = load_json(folder / RECORD)
        _engine_of(record)
        return Blueprint(**record["blueprint"]), record
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise unreadable(folder, error) from error


def _engine_of(record: dict[str, Any]) -> Engine:
    """Return the engine of a record; records of earlier versions belong to Keras."""
    return Engine(**record.get("engine", {}))


def load_network(folder: Path) -> keras.Model:
    """Build the network of a folder and load its weights.

    Parameters
    ----------
    folder : Path
        A folder written by `write_network`.

    Returns
    -------
    keras.Model
        Not compiled.

    Raises
    ------
    InputError
        If a file is missing or damaged, or its hash differs from the record's.
    """
    return _built(folder, *_read_weights(folder))


def _built(folder: Path, blueprint: Blueprint, arrays: list[np.ndarray]) -> keras.Model:
    try:
        model = blueprint.build()
        put_arrays(model, arrays)
    except NotInstalled:
        raise
    except Exception as error:  # Keras raises all sorts of errors
        raise unreadable(folder, error) from error
    return model


def _read_weights(folder: Path) -> tuple[Blueprint, list[np.ndarray]]:
    """Read the weights of a network in the order of Keras, and check them."""
    from safetensors.numpy import load_file

    blueprint, record = read_network(folder)
    try:
        arrays = load_file(folder / WEIGHTS)
        if hash_of_arrays(iter((name[:5], array) for name, array in arrays.items())) != record["sha256"]:
            raise ValueError("its hash differs")
        # layers that normalise count in whole numbers
        if any(array.dtype != (np.float32 if array.size > 1 else array.dtype) for array in arrays.values()):
            raise ValueError("an array is not of float32")
        if blueprint.least_parameters() > sum(array.size for array in arrays.values()):
            raise ValueError("it has fewer parameters than the network")
    except Exception as error:  # safetensors raises all sorts of errors
        raise unreadable(folder, error) from error
    return blueprint, [arrays[name] for name in sorted(arrays)]


def unreadable(folder: Path, error: Exception) -> InputError:
    """Make the message for a folder whose network or head cannot be read."""
    return InputError(
        f"{folder} contains no readable network ({type(error).__name__}: {first_line(error)})",
        "delete that folder and run the study again",
    )


class TrainedExtractor(BottleneckExtractor):
    """Features of a trained network: the inputs of its layer of logits.

    Parameters
    ----------
    folder : Path
        A folder written by `write_network`.
    engine : Engine, optional
        The engine to use. By default, that of the folder's record or, with a warning, Keras if it is not available.

    Raises
    ------
    InputError
        If the folder contains no readable network, or it needs Keras, which is not installed.
    """

    def __init__(self, folder: Path, engine: Engine | None = None) -> None:
        self.folder = folder
        self.blueprint, record = read_network(folder)
        self.name, self.pixels = self.blueprint.network, self.blueprint.pixels
        self.dimensions = int(record["dimensions"])
        engine = engine or available_engine(_engine_of(record))
        if engine.name == "keras" or self.blueprint.known.application:
            check_keras(f"the network {self.name}")
        self._runs_on(engine, self.blueprint.known.batch)
        self._sha256 = str(record["sha256"])
        self._kept: list[np.ndarray] | None = None
        self._preprocess = self.blueprint.preprocess

    def describe(self) -> dict[str, Any]:
        """Describe everything that changes the features (JSON)."""
        return {
            "kind": "tuned",
            **asdict(self.blueprint),
            "sha256": self._sha256,
            **self._computing(),
        }

    def arrays(self) -> dict[str, np.ndarray] | None:
        """Read the weights of a network that OpenVINO computes without Keras; None if it needs Keras."""
        if self.blueprint.known.application:
            return None
        if self._kept is None:  # the folder may be gone when Keras is asked for the same network
            self._kept = _read_weights(self.folder)[1]
        arrays = self._kept
        expected = shapes()  # its own layer of logits comes after them
        if [array.shape for array in arrays[: len(expected)]] != list(expected.values()):
            raise unreadable(self.folder, ValueError("its weights are not those of the network"))
        return dict(zip(expected, arrays, strict=False))

    def _build(self) -> keras.Model:
        kept = self._kept
        model = load_network(self.folder) if kept is None else _built(self.folder, self.blueprint, kept)
        return features_of(model) if self.blueprint.classes else model
