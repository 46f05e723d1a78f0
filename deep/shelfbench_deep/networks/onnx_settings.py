"""Section ``onnx`` of a study: what an ONNX file does not say about itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from shelfbench.base.errors import InputError
from shelfbench.plugins.backend import EARLIER

CHOICES = {
    "channels": ("rgb", "bgr"),
    "layout": ("NCHW", "NHWC"),
    "pool": ("cls", "mean"),
    "engine": ("openvino", "onnxruntime"),
}
# The two most common kinds of input, as one types them.
IMAGENET = "--set 'onnx.mean=[123.675, 116.28, 103.53]' --set 'onnx.std=[58.395, 57.12, 57.375]'"
SYMMETRIC = "--set onnx.mean=127.5 --set onnx.std=127.5"


def _later(value: Any) -> Any:
    """Make a setting that says nothing of a run that leaves it alone."""
    return field(default=value, metadata={EARLIER: value})


@dataclass(frozen=True, kw_only=True)
class OnnxSettings:
    """Section ``onnx`` of a study; an empty value leaves it to the file and to what lies beside it.

    Attributes
    ----------
    mean, std : tuple of float
        Of pixels from 0 to 255, one number or one per channel, in the network's order of channels: it is given
        ``(x - mean) / std``.
    channels : {"", "rgb", "bgr"}
    layout : {"", "NCHW", "NHWC"}
    output : str
        Name of the output that holds the features, or of any value inside the graph.
    pool : {"", "cls", "mean"}
        How tokens become one row of features: the first one, or the mean of all.
    engine : {"", "openvino", "onnxruntime"}

    Raises
    ------
    InputError
        If a value is not valid.
    """

    mean: tuple[float, ...] = _later(())
    std: tuple[float, ...] = _later(())
    channels: str = _later("")
    layout: str = _later("")
    output: str = _later("")
    pool: str = _later("")
    engine: str = _later("")

    def __post_init__(self) -> None:
        """Validate the settings."""
        for name, allowed in CHOICES.items():
            if (value := getattr(self, name)) and value not in allowed:
                raise InputError(f"onnx.{name} is {value!r}", f"choose from: {', '.join(allowed)}")
        if bool(self.mean) != bool(self.std):
            given, other = ("mean", "std") if self.mean else ("std", "mean")
            raise InputError(f"onnx.{given} is given without onnx.{other}", f"set both, such as {SYMMETRIC}")
        for name in ("mean", "std"):
            values = getattr(self, name)
            if len(values) not in (0, 1, 3) or not all(-1e6 < value < 1e6 for value in values):
                raise InputError(f"onnx.{name} is {list(values)}", "give one number, or one for each of three channels")
        if self.std and min(self.std) <= 0:
            raise InputError(f"onnx.std is {list(self.std)}", "give numbers above 0")
        if self.std and max(self.std) <= 1 and max(map(abs, self.mean)) <= 1 and (self.mean, self.std) != ((0,), (1,)):
            scaled = [
                f"--set 'onnx.{name}={[round(255 * value, 3) for value in getattr(self, name)]}'"
                for name in ("mean", "std")
            ]
            raise InputError(
                f"onnx.mean {list(self.mean)} and onnx.std {list(self.std)} are of pixels from 0 to 1, it seems",
                f"give those of pixels from 0 to 255: {' '.join(scaled)}",
            )
