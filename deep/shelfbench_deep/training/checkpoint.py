"""Checkpoints of a training: whole or not at all, and enough to go on as if nothing had happened."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from shelfbench.base.console import Console
from shelfbench.base.storage import write_whole

if TYPE_CHECKING:
    from shelfbench_deep.engines.loading import keras

VERSION = "1"


@dataclass(frozen=True)
class Checkpoint:
    """One file with the state of a training.

    Attributes
    ----------
    path : Path
    identity : str
        Hash of everything that decides the training; a file of another training is not used.
    """

    path: Path
    identity: str

    def write(self, model: keras.Model, best: list[np.ndarray], state: dict[str, Any]) -> None:
        """Keep a model's weights, seeds and optimizer, the best weights so far, and the loop's own state (JSON)."""
        from safetensors.numpy import save_file

        arrays = {f"model.{i:05d}": _copy(value) for i, value in enumerate(variables(model))}
        arrays |= {f"optimizer.{i:05d}": _copy(value) for i, value in enumerate(model.optimizer.variables)}
        arrays |= {f"best.{i:05d}": np.ascontiguousarray(value) for i, value in enumerate(best)}
        metadata = {"version": VERSION, "identity": self.identity, "state": json.dumps(state)}
        write_whole(self.path, lambda aside: save_file(arrays, aside, metadata=metadata))

    def read(self, model: keras.Model, console: Console) -> tuple[list[np.ndarray], dict[str, Any]] | None:
        """Put a model (compiled, its optimizer built) back into the state of the file.

        Returns
        -------
        tuple of (list of ndarray, dict) or None
            Best weights so far and the loop's state; None where there is no file of this training.
        """
        from safetensors import safe_open

        if not self.path.is_file():
            return None
        try:
            with safe_open(self.path, framework="numpy") as file:
                metadata = file.metadata() or {}
                if metadata.get("version") != VERSION or metadata.get("identity") != self.identity:
                    raise ValueError("it belongs to another training")
                arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
            state = json.loads(metadata["state"])
            targets = {"model": variables(model), "optimizer": list(model.optimizer.variables)}
            found = {
                kind: [arrays[name] for name in sorted(arrays) if name.startswith(f"{kind}.")]
                for kind in ("model", "optimizer", "best")
            }
            for kind, values in targets.items():
                if [tuple(value.shape) for value in values] != [array.shape for array in found[kind]]:
                    raise ValueError(f"its {kind} has other variables")
        except Exception as error:  # safetensors raises its own kinds
            console.warn(f"{self.path} cannot be gone on from ({error}); the training begins anew")
            return None
        for kind, values in targets.items():
            for variable, array in zip(values, found[kind], strict=True):
                variable.assign(array)
        return found["best"], state


def variables(model: keras.Model) -> list[Any]:
    """Weights and the seeds of dropout: all that a step reads and the optimizer does not hold."""
    metrics = {id(variable) for variable in model.metrics_variables}
    seen: dict[int, Any] = {}
    for variable in model.variables:
        if id(variable) not in metrics:
            seen.setdefault(id(variable), variable)
    return list(seen.values())


def _copy(variable: Any) -> np.ndarray:
    """Give a variable's value as an array of its own, in a type that files know."""
    from shelfbench_deep.engines.loading import keras

    value = np.array(keras.ops.convert_to_numpy(variable))
    return value.astype(np.float32) if value.dtype.kind == "V" or value.dtype.name == "bfloat16" else value
