"""Mean and standard deviation of features that may not fit in memory."""

from __future__ import annotations

import numpy as np

from shelfbench.base.errors import RunError


def check_finite(features: np.ndarray, part: str) -> None:
    """Raise `RunError`, naming the first row that is not finite."""
    for start in range(0, len(features), 8192):
        bad = ~np.isfinite(features[start : start + 8192]).all(axis=1)
        if bad.any():
            raise RunError(
                f"the features of {part} image {start + int(bad.argmax())} are not finite",
                "check whether the weights of the backbone are damaged",
            )


def identity(dimensions: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation that change nothing."""
    return np.zeros(dimensions, np.float32), np.ones(dimensions, np.float32)


def moments(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each feature, in float64 and in blocks, so that a memory map stays on disk."""
    blocks = range(0, len(features), 8192)
    mean = sum(features[i : i + 8192].sum(axis=0, dtype=np.float64) for i in blocks) / len(features)
    square = sum(((features[i : i + 8192] - mean) ** 2).sum(axis=0) for i in blocks) / len(features)
    scale = np.sqrt(square)
    return mean.astype(np.float32), np.where(scale > 1e-6, scale, 1).astype(np.float32)
