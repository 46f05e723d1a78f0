"""Networks of timm: their names, and how they see photos.

timm's ``pretrained_cfg`` says how a network was trained to see photos: size, crop, interpolation, mean and standard
deviation. Features are what the network computes before its head (``num_classes=0``), pooled as timm pools them: the
class token of CLIP's and DINO's, attention pooling of SigLIP's, the mean of most others. timm and PyTorch are loaded
inside functions only.
"""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from shelfbench.base.errors import InputError
from shelfbench.base.storage import load_json
from shelfbench.data.view import View
from shelfbench.plugins.backend import BackboneChoice

PREFIX = "timm:"
EXTRA = "python -m pip install 'shelfbench[timm]'"
KINDS = (".safetensors", ".pth", ".pt", ".bin")
# timm's description of a network, as it is published beside its weights.
CONFIG = "config.json"
# What of that description says how photos are seen.
_SEEN = ("input_size", "fixed_input_size", "interpolation", "crop_pct", "crop_mode", "mean", "std")
_BLACK = (0, 0, 0)


@dataclass(frozen=True, kw_only=True)
class TimmNetwork:
    """A network of timm at a size; its weights are chosen but not loaded.

    Attributes
    ----------
    name : str
        timm's name of it, with the tag of the weights: ``vit_base_patch14_dinov2.lvd142m``.
    pixels, made_for : int
        Side of its images, and of those that it was made for.
    fixed_size : bool
        Whether it has to be told the size when it is built, as most transformers have.
    mean, std : tuple of float
        Of red, green and blue from 0 to 1.
    view : View
        How it was trained to see photos.
    dimensions : int
        Length of its features.
    pooling : str
        How timm pools them.
    """

    name: str
    pixels: int
    made_for: int
    fixed_size: bool
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    view: View
    dimensions: int = 0
    pooling: str = ""

    @property
    def arguments(self) -> dict[str, Any]:
        """Arguments of ``timm.create_model`` besides the name and the weights."""
        resized = self.fixed_size and self.pixels != self.made_for
        return {"num_classes": 0, **({"img_size": self.pixels} if resized else {})}


def library() -> Any:
    """Import timm, and keep the Hugging Face hub from counting its users.

    Returns
    -------
    module

    Raises
    ------
    InputError
        If timm or PyTorch is not installed.
    """
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    if "tensorflow" in sys.modules:  # Triton crashes the process after TensorFlow, and nothing here needs it
        sys.modules.setdefault("triton", None)  # type: ignore[arg-type]
    try:
        import timm
    except ImportError as error:
        raise InputError(f"networks of timm need the package {error.name or 'timm'}", EXTRA) from error
    return timm


def timm_version() -> str:
    """Return the version of timm, without loading it."""
    return version("timm")


def find_timm(choice: BackboneChoice) -> TimmNetwork:
    """Find a network of timm, without building it in memory or fetching anything.

    Parameters
    ----------
    choice : BackboneChoice
        Its name is ``timm:NAME``, with or without a tag; without one, the tag is timm's default. Its weights are
        ``imagenet`` (the pretrained weights that the tag names, whatever they were trained on), ``none`` (random,
        seeded), or the path of a file with timm's names. A ``config.json`` of timm beside that file says how the
        network sees photos.

    Returns
    -------
    TimmNetwork

    Raises
    ------
    InputError
        If timm is missing, has no such network, or the network cannot take photos of that size.
    """
    name, config = choice.name.removeprefix(PREFIX), _registered(choice.name.removeprefix(PREFIX))
    if choice.weights not in ("imagenet", "none"):
        path = Path(choice.weights).expanduser()
        if not path.is_file():
            raise InputError(f"there is no file of weights at {choice.weights}", "set weights=imagenet|none|PATH")
        if path.suffix not in KINDS:
            raise InputError(
                f"weights of kind {path.suffix or path.name!r} cannot be read for {choice.name}",
                f"give one of *{', *'.join(KINDS)}",
            )
        config = {**config, **_beside(path, name)}
    elif choice.weights == "imagenet" and not config["has_weights"]:
        raise InputError(f"timm has no pretrained weights for {name}", "set weights=PATH, or weights=none")
    return _at_size(_described(config), choice.pixels)


def _registered(name: str) -> dict[str, Any]:
    """Return timm's description of a network by its name."""
    timm = library()
    architecture, _, tag = name.partition(".")
    known = _architectures()
    if architecture not in known:
        raise InputError(f"timm has no network {name[:80]!r}", _similar(architecture, known, name))
    try:
        found = timm.get_pretrained_cfg(name, allow_unregistered=False)
    except RuntimeError:  # of the tag, or of a network without any description
        tags = [full.partition(".")[2] for full in timm.list_models(f"{architecture}.*", pretrained=True)]
        if not tag or not tags:
            raise InputError(f"timm does not say how {name} sees photos", "choose another network") from None
        raise InputError(
            f"timm has no weights {tag[:80]!r} of {architecture}", f"choose from: {', '.join(sorted(tags))}"
        ) from None
    values = {key: getattr(found, key) for key in ("tag", *_SEEN)}
    full = f"{architecture}.{found.tag}" if found.tag else architecture
    return {**values, "name": full, "has_weights": bool(found.has_weights)}


@lru_cache(maxsize=1)
def _architectures() -> frozenset[str]:
    return frozenset(library().list_models())


def _similar(architecture: str, known: frozenset[str], name: str) -> str:
    """Suggest names that are close to one that does not exist."""
    lower = architecture.lower()
    close = difflib.get_close_matches(lower, known, n=4, cutoff=0.6)
    inside = sorted((found for found in known if lower and lower in found), key=lambda found: (len(found), found))[:4]
    if found := list(dict.fromkeys([*inside, *close]))[:6]:
        return f"did you mean {', '.join(found)}?"
    if ":" in name or "/" in name:
        return "fetch the file and set weights=PATH, with timm's own name of the network"
    return "python -c \"import timm; print(timm.list_models('*WORD*'))\" lists its names"


def _beside(path: Path, name: str) -> dict[str, Any]:
    """Read from the ``config.json`` beside a file of weights how the network sees photos, if there is one of timm's."""
    place = path.with_name(CONFIG)
    if not place.is_file():
        return {}
    try:
        values = load_json(place)
        if not isinstance(values, dict):
            raise ValueError("not an object")
    except (OSError, ValueError) as error:
        raise InputError(f"{place} cannot be read ({str(error)[:160]})", "remove it, or fetch it again") from None
    if "architecture" not in values:  # of something else
        return {}
    if values["architecture"] != name.partition(".")[0]:
        raise InputError(
            f"{place} is about {str(values['architecture'])[:80]!r}, and the backbone is {name}",
            f"set backbone=timm:{str(values['architecture'])[:80]}, or another file",
        )
    if values.get("model_args"):
        raise InputError(
            f"{place} changes the network ({', '.join(map(str, values['model_args']))[:80]}), which is not supported",
            "export the network as ONNX and name that file as the backbone",
        )
    seen = values.get("pretrained_cfg", values)
    return {key: seen[key] for key in _SEEN if isinstance(seen, dict) and seen.get(key) is not None}


def _described(config: Mapping[str, Any]) -> TimmNetwork:
    """Check a description, and turn it into a network of the size that it was made for."""
    name = config["name"]
    try:
        channels, height, width = map(int, config["input_size"])
        mean, std = (_three(config[key]) for key in ("mean", "std"))
        mode = config["crop_mode"] or "center"
        background = (round(255 * mean[0]), round(255 * mean[1]), round(255 * mean[2])) if mode == "border" else _BLACK
        view = View(fit=mode, resample=config["interpolation"], crop=float(config["crop_pct"]), background=background)
        if min(std) <= 0:
            raise ValueError("a standard deviation is not above zero")
    except (TypeError, ValueError) as error:
        raise InputError(f"it is unclear how {name} sees photos ({error})", "choose another network") from error
    if channels != 3 or height != width:
        raise InputError(
            f"{name} sees images of {width} x {height} pixels and {channels} channels, and shelfbench makes squares",
            "choose another network",
        )
    return TimmNetwork(
        name=name,
        pixels=height,
        made_for=height,
        fixed_size=bool(config["fixed_input_size"]),
        mean=mean,
        std=std,
        view=view,
    )


def _three(values: Any) -> tuple[float, float, float]:
    numbers = tuple(float(value) for value in values)
    if len(numbers) == 1:
        numbers *= 3
    if len(numbers) != 3 or not all(abs(number) < 1e6 for number in numbers):
        raise ValueError(f"{values} are not three numbers")
    return numbers


def _at_size(network: TimmNetwork, pixels: int | None) -> TimmNetwork:
    """Find out whether the network takes images of a size, and the length of its features."""
    return _tried(replace(network, pixels=network.made_for if pixels is None else pixels))


@lru_cache(maxsize=64)
def _tried(network: TimmNetwork) -> TimmNetwork:
    """Build the network without memory for its weights, and compute the shape of its features."""
    import torch

    name, pixels = network.name, network.pixels
    remedy = "leave out pixels" if pixels != network.made_for else "choose another network"
    try:
        with torch.device("meta"), torch.inference_mode():
            model = library().create_model(name, pretrained=False, **network.arguments).eval()
            _check_patches(model, network)
            shape = tuple(model(torch.empty(1, 3, pixels, pixels)).shape)
    except InputError:
        raise
    except TypeError as error:
        if "img_size" not in str(error):
            raise InputError(f"{name} cannot be built ({first_line(error)})", remedy) from error
        raise InputError(f"{name} takes images of {network.made_for} pixels only", remedy) from error
    except Exception as error:  # networks raise all sorts of errors about sizes
        raise InputError(f"{name} cannot take images of {pixels} pixels ({first_line(error)})", remedy) from error
    if len(shape) != 2:
        raise InputError(f"{name} has no pooled features (their shape is {shape})", "choose another network")
    return replace(network, dimensions=int(shape[1]), pooling=_pooling(model))


def _check_patches(model: Any, network: TimmNetwork) -> None:
    """Make sure that no pixels are left over beyond the last patch, which the network would not see."""
    size = getattr(getattr(model, "patch_embed", None), "patch_size", None)
    patch = max(size) if isinstance(size, tuple | list) else size
    if not isinstance(patch, int) or network.pixels % patch == 0:
        return
    near = max(1, round(network.pixels / patch)) * patch
    raise InputError(
        f"{network.name} sees patches of {patch} pixels, and {network.pixels} is not a multiple of it",
        f"set pixels={near}",
    )


def _pooling(model: Any) -> str:
    """Name how a network pools its features, as timm does: ``avg``, ``token``, ``map`` ..."""
    for holder in (model, getattr(model, "head", None)):
        found = getattr(holder, "global_pool", None)
        kind = found if isinstance(found, str) else getattr(found, "pool_type", None) or type(found).__name__
        if found is not None and kind and kind != "Identity":
            return str(kind)
    return "its own"


def first_line(error: Exception) -> str:
    """Say in one line what a library raised."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    # PyTorch's first line only announces the others
    line = lines[1] if len(lines) > 1 and lines[0].startswith("Error(s) in loading") else (lines or [""])[0]
    return f"{type(error).__name__}: {line[:160]}" if line else type(error).__name__
