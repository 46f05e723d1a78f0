"""Images of noise, to time a training before its data are read."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from shelfbench.plugins.backend import TrainingImages


class _Noise:
    """Encoded noise in memory, as a `shelfbench.data.catalogue.ImageBytes`."""

    files: tuple[Path, ...] = ()

    def __init__(self, count: int) -> None:
        rng = np.random.default_rng(0)
        self._encoded = []
        for _ in range(count):
            with io.BytesIO() as file:
                Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8)).save(file, "PNG")
                self._encoded.append(file.getvalue())

    def __len__(self) -> int:
        return len(self._encoded)

    def read(self, indices: Sequence[int] | np.ndarray) -> list[bytes]:
        """Return some of the images."""
        return [self._encoded[int(i)] for i in indices]

    def where(self, index: int) -> str:
        """Name one of the images."""
        return f"noise {index}"

    def identity(self) -> bytes | None:
        """Return None: the images are not in a file."""
        return None


def noise(count: int, classes: int) -> TrainingImages:
    """Make images of noise with at least two products of each category."""
    rows, none = np.arange(count), np.empty(0, np.int64)
    return TrainingImages(
        images=_Noise(count),
        fit="pad",
        train=rows,
        train_labels=rows % classes,
        train_products=rows,
        tune=none,
        tune_labels=none,
        classes=classes,
        identity="noise",
        workers=1,
    )
