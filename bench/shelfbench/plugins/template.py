"""A whole backend to copy: the mean colours of a photo, and the nearest category in them.

Copy this file into your package, offer `mean_colour` as an entry point (see `shelfbench.plugins.backend`), and run
`shelfbench.plugins.conformance` in your tests; this one passes it. Then change it piece by piece.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from shelfbench.base.console import Console
from shelfbench.base.errors import InputError
from shelfbench.base.storage import load_json
from shelfbench.plugins.backend import BackboneChoice, Backend, BackendSpec, TrainingData

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class ColourSettings:
    """Section ``mean_colour`` of a study: ``--set mean_colour.cells=8``.

    Attributes
    ----------
    cells : int
        Number of rows and of columns of squares that a photo is cut into.

    Raises
    ------
    InputError
        If there would be no square.
    """

    cells: int = 4

    def __post_init__(self) -> None:
        """Validate the settings."""
        if self.cells < 1:
            raise InputError(f"mean_colour.cells is {self.cells}", "give 1 or more")


class MeanColours:
    """Features: the mean colour of each square.

    Parameters
    ----------
    settings : ColourSettings
    """

    name = "mean-colour"
    batch = 256  # photos passed at once
    framework = "numpy"
    device = "cpu"

    def __init__(self, settings: ColourSettings) -> None:
        self.settings = settings
        self.pixels = 16 * settings.cells  # photos come as squares of this side
        self.dimensions = 3 * settings.cells**2

    def describe(self) -> dict[str, Any]:
        """Return everything that changes the features; raise the version when the code does."""
        return {"kind": "mean_colour", "version": 1, **asdict(self.settings)}

    def extract(self, images: np.ndarray) -> np.ndarray:
        """Turn photos, uint8 of shape (n, pixels, pixels, 3), into float32 of shape (n, dimensions)."""
        cells = self.settings.cells
        squares = images.reshape((len(images), cells, 16, cells, 16, 3)).mean(axis=(2, 4), dtype=np.float64)
        found: np.ndarray = (squares / 255).reshape(len(images), self.dimensions).astype(np.float32)
        return found


class NearestMean:
    """A classifier: the nearer the mean of a category's features, the more probable the category."""

    framework = "numpy"
    device = "cpu"
    batch = 0  # all images are used at once
    history: pd.DataFrame | None = None  # it has no epochs

    def __init__(self) -> None:
        self.means = np.zeros((0, 0))
        self.seen = np.zeros(0, bool)
        self.scale = 1.0
        self.chosen: dict[str, Any] = {}

    def fit(self, data: TrainingData, *, seed: int, console: Console) -> None:
        """Compute the mean of each category; choose on `tune` how much a distance counts."""
        counts = np.bincount(data.labels, minlength=data.classes)
        sums = np.zeros((data.classes, data.features.shape[1]))
        np.add.at(sums, data.labels, data.features)
        self.seen = counts > 0  # a category may lack images
        self.means = sums / np.maximum(counts, 1)[:, None]
        known = data.tune_labels >= 0  # -1: a category that train lacks; `tune` may be empty
        features, labels = data.tune_features[known], data.tune_labels[known]
        best = -np.inf
        for scale in (1.0, 10.0, 100.0):
            scores = self._scores(features, scale)[np.arange(len(labels)), labels]
            fit = float(np.maximum(scores, -1e3).mean()) if len(labels) else 0.0
            if fit > best:
                best, self.scale = fit, scale
        self.chosen = {"scale": self.scale}  # for the record

    def log_probabilities(self, features: np.ndarray) -> np.ndarray:
        """Score images: float64, shape (n, classes), the probabilities of each row sum to 1."""
        return self._scores(features, self.scale)

    def _scores(self, features: np.ndarray, scale: float) -> np.ndarray:
        distances = ((features[:, None].astype(np.float64) - self.means) ** 2).sum(axis=2)
        scores = np.where(self.seen, -scale * distances, -np.inf)
        return scores - np.logaddexp.reduce(scores, axis=1, keepdims=True)

    def save(self, folder: Path) -> None:
        """Write ``weights.safetensors`` and ``classifier.json``: arrays and JSON, nothing that executes code."""
        from safetensors.numpy import save_file

        save_file({"means": self.means, "seen": self.seen}, folder / "weights.safetensors")
        record = {"classifier": "nearest_mean", "scale": self.scale, "chosen": self.chosen}
        (folder / "classifier.json").write_text(json.dumps(record), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> NearestMean:
        """Read what `save` wrote, and refuse what it did not write."""
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        loaded = cls()
        try:
            record = load_json(folder / "classifier.json")
            if record["classifier"] != "nearest_mean":
                raise ValueError(f"a classifier of kind {record['classifier']!r}")
            tensors = load_file(folder / "weights.safetensors")
            loaded.means, loaded.seen = tensors["means"], tensors["seen"]
            loaded.scale, loaded.chosen = float(record["scale"]), dict(record["chosen"])
            if loaded.means.ndim != 2 or loaded.seen.shape != loaded.means.shape[:1]:
                raise ValueError("the arrays do not fit together")
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            raise InputError(f"{folder} is not a saved nearest-mean classifier ({error})", "fit it again") from error
        return loaded


def build(settings: Mapping[str, Any], backbone: BackboneChoice, workers: int) -> Backend:
    """Build the backend from the sections of a study."""
    chosen: ColourSettings = settings["mean_colour"]
    return Backend(
        features=MeanColours(chosen),
        classifier=NearestMean,
        load=NearestMean.load,
        settings={"mean_colour": asdict(chosen)},  # for the record
    )


mean_colour = BackendSpec(
    summary="mean colours, nearest category",
    build=build,
    sections={"mean_colour": ColourSettings},
    columns={"Feature": "mean colour", "Classifier": "nearest mean", "Fine-tuning": "no"},
)
