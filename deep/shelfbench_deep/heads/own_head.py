"""The layer of logits of a network that was trained end to end, as a classifier on its features."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from shelfbench.base.console import Console
from shelfbench.base.storage import load_json, write_json, write_whole
from shelfbench.plugins.backend import TrainingData
from shelfbench_deep.features.trained import unreadable
from shelfbench_deep.heads.softmax import log_softmax

if TYPE_CHECKING:
    import pandas as pd


class OwnHead:
    """The layer of logits of a trained network, as a `shelfbench.plugins.backend.Classifier` on its features.

    Parameters
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
        """Do nothing: the head was trained with its network."""

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
        """Read a classifier written by `save`.

        Parameters
        ----------
        folder : Path

        Returns
        -------
        OwnHead

        Raises
        ------
        InputError
            If a file is missing or damaged.
        """
        from safetensors.numpy import load_file

        try:
            record = load_json(folder / "classifier.json")
            if record["kind"] != "own_head":
                raise ValueError(f"a classifier of kind {record['kind']!r}")
            arrays = load_file(folder / "weights.safetensors")
            if arrays["kernel"].shape != (record["dimensions"], len(arrays["bias"])):
                raise ValueError("the shapes do not match")
            if {array.dtype for array in arrays.values()} != {np.dtype(np.float32)}:
                raise ValueError("an array is not of float32")
            return cls(arrays["kernel"], arrays["bias"])
        except Exception as error:  # safetensors raises its own kinds of errors
            raise unreadable(folder, error) from error
