"""The linear SVM's categories, solved in blocks by other processes.

Each block holds the same categories however many processes there are, so that the weights are the same with one and
with four, bit for bit. Each process reads the features from a file, and computes what all of its blocks share (mean,
deviation, Gram matrix) once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from shelfbench.base.arrays import load_arrays
from shelfbench.base.console import Console
from shelfbench.base.storage import write_whole
from shelfbench.data.shards import current_spread
from shelfbench.data.shared_folder import shared_folder
from shelfbench_baselines.descent import Solution, regularisation_path
from shelfbench_baselines.device import margins_for
from shelfbench_baselines.squared_hinge import SquaredHinge, row_blocks
from shelfbench_baselines.streamed import StreamedHinge

# Below this many products of a feature and a weight in one sweep, handing the work out costs more than it brings.
WORTH = 10**11
# Into how many blocks categories are cut, whatever the number of workers.
_BLOCKS = 16
# Bytes of features, and of what is held for each image and category, up to which a worker holds them in memory. What is
# more it goes through in blocks of rows. The machine's memory does not decide: weights are to be the same everywhere.
_HELD, _EACH = 1 << 31, 16
_PARTS = tuple(one.name for one in fields(Solution))
_FEATURES, _LABELS = "features.npy", "labels.npy"


@dataclass(frozen=True, kw_only=True)
class Blocks:
    """Blocks of categories, as `shelfbench.data.shards.Pieces`.

    Attributes
    ----------
    folder : str
        With the features and labels, and where the weights go.
    classes, width : int
        Number of categories, and of those in a block.
    grid : tuple of float
    problem : tuple
        ``standardise`` and ``intercept_scaling``.
    path : tuple
        ``tol`` and ``max_iter``.
    """

    folder: str
    classes: int
    width: int
    grid: tuple[float, ...]
    problem: tuple[bool, float]
    path: tuple[float, int]
    _kept: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)

    @property
    def name(self) -> str:
        """Say what is done."""
        return "linear SVM"

    @property
    def count(self) -> int:
        """Count the blocks."""
        return -(-self.classes // self.width)

    def file(self, number: int) -> Path:
        """Return where the weights of a block are."""
        return Path(self.folder) / f"block-{number}.npz"

    def done(self, number: int) -> bool:
        """Tell whether they are there."""
        return self.file(number).exists()

    def compute(self, number: int) -> None:
        """Solve the problems of a block."""
        first = number * self.width
        last = min(first + self.width, self.classes)
        if not self._kept:
            features = np.load(Path(self.folder) / _FEATURES, mmap_mode="r")
            labels = np.load(Path(self.folder) / _LABELS)
            held = max(features.nbytes, _EACH * len(labels) * self.width) <= _HELD
            kind = SquaredHinge if held else StreamedHinge
            self._kept.update(labels=labels, problem=kind(features, labels, self.classes, *self.problem))
        labels, problem = self._kept["labels"], self._kept["problem"]
        problem.labels = np.where((labels >= first) & (labels < last), labels - first, -1)
        problem.classes = last - first
        margins, _ = margins_for("numpy", problem, Console(quiet=True))
        found = regularisation_path(problem, self.grid, *self.path, margins=margins)
        parts = {f"{name}-{at}": getattr(one, name) for at, one in enumerate(found) for name in _PARTS}
        write_whole(self.file(number), lambda aside: _save(aside, parts))


def _save(path: Path, parts: dict[str, np.ndarray]) -> None:
    with open(path, "wb") as handle:
        np.savez(handle, **parts)  # type: ignore[arg-type]


def solved_elsewhere(
    features: np.ndarray,
    labels: np.ndarray,
    classes: int,
    grid: Sequence[float],
    settings: Any,
) -> list[Solution] | None:
    """Solve all categories on other processes, if there are any and the work is large enough.

    Parameters
    ----------
    features : ndarray of float32, or Rows, shape (n, d)
    labels : ndarray of int64, shape (n,)
    classes : int
    grid : sequence of float
    settings : SVMSettings

    Returns
    -------
    list of Solution or None
        None if this process has to do it.
    """
    if (spread := current_spread()) is None or len(labels) * features.shape[1] * classes < WORTH:
        return None
    with shared_folder() as folder:
        blocks = Blocks(
            folder=str(folder),
            classes=classes,
            width=-(-classes // _BLOCKS),
            grid=tuple(grid),
            problem=(settings.standardise, settings.intercept_scaling),
            path=(settings.tol, settings.max_iter),
        )
        kept = np.lib.format.open_memmap(folder / _FEATURES, "w+", np.float32, features.shape)
        for rows in row_blocks(len(labels)):
            kept[rows] = features[rows]
        kept.flush()
        del kept
        np.save(folder / _LABELS, labels)
        spread.share(blocks, folder)
        for number in range(blocks.count):
            if not blocks.done(number):
                blocks.compute(number)
        return _gathered(blocks)


def _gathered(blocks: Blocks) -> list[Solution]:
    parts = [load_arrays(blocks.file(number)) for number in range(blocks.count)]
    return [
        Solution(**{name: np.concatenate([part[f"{name}-{at}"] for part in parts], axis=-1) for name in _PARTS})
        for at in range(len(blocks.grid))
    ]
