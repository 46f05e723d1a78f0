"""Logs for TensorBoard."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from shelfbench.base.errors import InputError


class ScalarLog:
    """Appends scalars to a folder of logs.

    Parameters
    ----------
    folder : Path

    Raises
    ------
    InputError
        If TensorBoard is not installed.
    """

    def __init__(self, folder: Path) -> None:
        try:
            from tensorboard.summary import Writer
        except ImportError:
            raise InputError("training.tensorboard=true needs TensorBoard", "pip install tensorboard") from None
        self._writer = Writer(str(folder))

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Append values at an update, and flush them to disk."""
        for name, value in values.items():
            if name not in ("epoch", "step"):
                self._writer.add_scalar(f"epoch/{name}", value, step)
        self._writer.flush()
