"""Weights of timm's networks: fetched by timm, read from a file without executing anything, or random."""

from __future__ import annotations

import logging
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import getproxies

from shelfbench.base.errors import InputError, RunError
from shelfbench_deep.networks.backbones import RANDOM_SEED
from shelfbench_deep.networks.timm_network import TimmNetwork, first_line, library
from shelfbench_deep.networks.weights import hash_of_arrays

if TYPE_CHECKING:
    import torch


def build_timm(network: TimmNetwork, weights: str) -> torch.nn.Module:
    """Build a network with its weights.

    Parameters
    ----------
    network : TimmNetwork
    weights : str
        See `shelfbench_deep.networks.timm_network.find_timm`. A file is read without executing anything in it.

    Returns
    -------
    torch.nn.Module
        From normalised float32 images of shape (n, 3, pixels, pixels) to features of shape (n, dimensions).

    Raises
    ------
    InputError
        If the file cannot be read, or does not fit the network.
    RunError
        If the pretrained weights cannot be fetched.
    """
    import torch

    timm = library()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(RANDOM_SEED)
        model: torch.nn.Module
        if weights == "none":
            model = timm.create_model(network.name, pretrained=False, **network.arguments)
        elif weights == "imagenet":
            model = _fetched(network)
        else:
            model = _from_file(network, Path(weights).expanduser())
    return model.float().eval().requires_grad_(False)


def weights_sha256(model: torch.nn.Module) -> str:
    """Hash the weights of a network as they were loaded, whatever file they came from."""
    return hash_of_arrays((name, tensor.numpy()) for name, tensor in model.state_dict().items())


def _fetched(network: TimmNetwork) -> Any:
    """Build a network with its pretrained weights, which timm fetches unless the hub's cache has them."""
    timm = library()
    cfg = timm.get_pretrained_cfg(network.name)
    file = cfg.hf_hub_filename or "model.safetensors"
    url = f"https://huggingface.co/{cfg.hf_hub_id}/resolve/main/{file}" if cfg.hf_hub_id else str(cfg.url)
    logger = logging.getLogger("huggingface_hub")
    before = logger.level
    try:
        logger.setLevel(logging.ERROR)  # it announces each of its attempts
        overlay = _from_cache(cfg) if cfg.hf_hub_id else {}
        return timm.create_model(network.name, pretrained=True, pretrained_cfg_overlay=overlay, **network.arguments)
    except Exception as error:  # the hub raises all sorts of errors
        raise RunError(
            f"the pretrained weights of {network.name} cannot be fetched ({first_line(error)})",
            f"fetch {url} elsewhere, and add --set weights=PATH with that file (weights=none for random ones)",
        ) from error
    finally:
        logger.setLevel(before)


def _from_cache(cfg: Any) -> dict[str, Any]:
    """Find weights that the hub's cache has, so that the hub is not asked; without a connection, fail at once."""
    import huggingface_hub
    from huggingface_hub import constants

    repository, _, revision = cfg.hf_hub_id.partition("@")
    file = cfg.hf_hub_filename or "model.safetensors"
    held = huggingface_hub.try_to_load_from_cache(repository, file, revision=revision or None)
    if isinstance(held, str) and not cfg.custom_load:
        return {"file": held}
    if not isinstance(held, str) and not getproxies():
        # raises OSError, where the hub would try for a minute
        socket.getaddrinfo(urlsplit(constants.ENDPOINT).hostname, 443)
    return {}


def _from_file(network: TimmNetwork, path: Path) -> Any:
    timm = library()
    try:
        # PyTorch's reader of weights, which executes nothing; older versions of timm need to be told
        state = timm.models.load_state_dict(str(path), weights_only=True)
        missing = _missing(network, state)
    except InputError:
        raise
    except Exception as error:  # a damaged file may raise almost anything
        raise InputError(f"{path} cannot be read as weights ({first_line(error)})", "fetch the file again") from error
    if missing:
        raise InputError(
            f"{path} lacks {len(missing):,} of the weights of {network.name}, such as {missing[0]}",
            "give the file that timm publishes for this network, or one that timm saved",
        )
    try:
        given = {"state_dict": state, "custom_load": False}
        return timm.create_model(network.name, pretrained=True, pretrained_cfg_overlay=given, **network.arguments)
    except Exception as error:  # PyTorch raises RuntimeError with a long list
        raise InputError(
            f"{path} does not fit {network.name} ({first_line(error)})", "give the weights of this very network"
        ) from error


def _missing(network: TimmNetwork, state: Mapping[str, Any]) -> list[str]:
    """List the weights that a file lacks: timm itself leaves those random, and only logs it."""
    return [name for name in shapes_of(network) if name not in state and not name.endswith("num_batches_tracked")]


def shapes_of(network: TimmNetwork) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a network's weights, without memory for them."""
    import torch

    with torch.device("meta"):
        model = library().create_model(network.name, pretrained=False, **network.arguments)
    return {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
