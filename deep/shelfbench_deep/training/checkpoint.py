"""Checkpoints of a training: whole or not at all, and enough to resume as if nothing had happened."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from shelfbench.base.console import Console
from shelfbench.base.storage import parse_json, write_whole

if TYPE_CHECKING:
    from shelfbench_deep.engines.keras import keras

VERSION = "1"


@dataclass(frozen=True)
class Checkpoint:
    """A file with the state of a training.

    Attributes
    ----------
    path : Path
    identity : str
        Hash of everything that determines the training; a checkpoint of another training is not used.
    part : int
        Images that are in the network at a time; 0 for the whole batch. A checkpoint in other parts is not used, as
        they change the optimiser's variables and what batch normalisation sees: `begun` tells with which to go on.
    """

    path: Path
    identity: str
    part: int = 0

    def begun(self) -> int | None:
        """Return the `part` of the training that the file holds; None without one that belongs to this training."""
        from safetensors import safe_open

        if not self.path.is_file():
            return None
        try:
            with safe_open(self.path, framework="numpy") as file:
                metadata = file.metadata() or {}
            if metadata.get("version") == VERSION and metadata.get("identity") == self.identity:
                return int(metadata.get("part", "0"))
        except Exception:  # safetensors raises its own kinds of errors; `read` tells the user
            return None
        return None

    def write(self, model: keras.Model, best: list[np.ndarray], state: dict[str, Any]) -> None:
        """Write a model's weights, seeds and optimiser, the best weights so far, and the loop's own state.

        Parameters
        ----------
        model : keras.Model
        best : list of ndarray
        state : dict
            JSON.
        """
        from safetensors.numpy import save_file

        arrays = {f"model.{i:05d}": _copy(value) for i, value in enumerate(variables(model))}
        arrays |= {f"optimizer.{i:05d}": _copy(value) for i, value in enumerate(model.optimizer.variables)}
        arrays |= {f"best.{i:05d}": np.ascontiguousarray(value) for i, value in enumerate(best)}
        metadata = {"version": VERSION, "identity": self.identity, "state": json.dumps(state)}
        if self.part:
            metadata["part"] = str(self.part)
        write_whole(self.path, lambda aside: save_file(arrays, aside, metadata=metadata))

    def read(self, model: keras.Model, console: Console) -> tuple[list[np.ndarray], dict[str, Any]] | None:
        """Restore a model to the state of the file.

        Parameters
        ----------
        model : keras.Model
            Compiled, with its optimiser built.
        console : Console

        Returns
        -------
        tuple of (list of ndarray, dict) or None
            Best weights so far and the loop's state; None, with a warning if there is a file, if it cannot be used.
        """
        if not self.path.is_file():
            return None
        targets = {"model": variables(model), "optimizer": list(model.optimizer.variables)}
        try:
            found, state = self._load({kind: [tuple(v.shape) for v in values] for kind, values in targets.items()})
        except Exception as error:  # safetensors raises its own kinds of errors
            console.warn(f"{self.path} cannot be resumed ({error}); the training starts over")
            return None
        for kind, values in targets.items():
            for variable, array in zip(values, found[kind], strict=True):
                variable.assign(array)
        return found["best"], state

    def _load(self, shapes: dict[str, list[tuple[int, ...]]]) -> tuple[dict[str, list[np.ndarray]], dict[str, Any]]:
        """Read the arrays of each kind and the loop's state, and check them."""
        from safetensors import safe_open

        with safe_open(self.path, framework="numpy") as file:
            metadata = file.metadata() or {}
            if metadata.get("version") != VERSION or metadata.get("identity") != self.identity:
                raise ValueError("it belongs to another training")
            if int(metadata.get("part", "0")) != self.part:
                raise ValueError("its updates came in other parts")
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
        found = {
            kind: [arrays[name] for name in sorted(arrays) if name.startswith(f"{kind}.")]
            for kind in ("model", "optimizer", "best")
        }
        for kind, expected in shapes.items():
            if [array.shape for array in found[kind]] != expected:
                raise ValueError(f"its {kind} has other variables")
        return found, parse_json(metadata["state"])


def variables(model: keras.Model) -> list[Any]:
    """Weights and the seeds of dropout: everything that a step reads apart from the optimiser's variables."""
    metrics = {id(variable) for variable in model.metrics_variables}
    seen: dict[int, Any] = {}
    for variable in model.variables:
        if id(variable) not in metrics:
            seen.setdefault(id(variable), variable)
    return list(seen.values())


def _copy(variable: Any) -> np.ndarray:
    """Copy a variable's value into an array, in a type that can be stored."""
    from shelfbench_deep.engines.keras import keras

    value = np.array(keras.ops.convert_to_numpy(variable))
    return value.astype(np.float32) if value.dtype.kind == "V" or value.dtype.name == "bfloat16" else value
