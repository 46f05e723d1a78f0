"""Files of weights as timm publishes them: ``model.safetensors`` and ``config.json`` in a folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.helpers.lite_weights import MEAN, STD, timm_lite_weights


def lite_folder(folder: Path, number: int = 0) -> Path:
    """Write EfficientNet-Lite `number` with its real weights, and return the path of the weights."""
    import torch
    from safetensors.torch import save_file

    path = folder / "model.safetensors"
    save_file({name: torch.from_numpy(array.copy()) for name, array in timm_lite_weights(number).items()}, path)
    seen = {"mean": list(MEAN), "std": list(STD)}
    (folder / "config.json").write_text(
        json.dumps({"architecture": f"tf_efficientnet_lite{number}", "pretrained_cfg": seen})
    )
    return path


def random_weights(name: str, path: Path, seed: int = 5, **arguments: Any) -> Any:
    """Write random weights of one of timm's networks, its head included, and return the network without it."""
    import timm
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(seed)
    model = timm.create_model(name, pretrained=False, **arguments)
    for parameter in model.parameters():  # what is zero or one at first would hide a weight that was not loaded
        torch.nn.init.normal_(parameter, std=0.1 if parameter.ndim > 1 else 0.5)
    state = {key: tensor.clone().contiguous() for key, tensor in model.state_dict().items()}
    if path.suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save({"state_dict": state, "epoch": 3}, path)
    model.reset_classifier(0)
    return model.eval()
