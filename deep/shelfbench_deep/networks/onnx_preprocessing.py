"""What an ONNX network expects of its pixels: from the study, the file's metadata, or a processor's JSON beside it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shelfbench.base.errors import InputError
from shelfbench.base.storage import load_json
from shelfbench_deep.networks.onnx_settings import IMAGENET, SYMMETRIC, OnnxSettings

CONFIG = "preprocessor_config.json"
Three = tuple[float, float, float]
# ONNX's own words for metadata of images (the page MetadataProps of its documentation).
_RANGES = {
    "NominalRange_0_255": (0.0, 1.0),
    "Normalized_0_1": (0.0, 255.0),
    "Normalized_1_1": (127.5, 127.5),
}
_ORDERS = {"rgb8": "rgb", "bgr8": "bgr", "rgb": "rgb", "bgr": "bgr"}
# Pillow's numbers.
_RESAMPLES = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic", 4: "box", 5: "hamming"}
# Steps of Hugging Face's processors that this module does not follow.
_STRANGE = ("include_top", "do_color_quantize", "do_thumbnail", "do_align_long_axis", "do_reduce_labels")


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """What is done to the pixels of a square before the network takes them.

    Attributes
    ----------
    mean, std : tuple of float
        Of pixels from 0 to 255, per channel in the network's order: ``(x - mean) / std``.
    channels : {"rgb", "bgr"}
    pixels : int or None
        Side of the square that its maker used, where the graph takes any.
    view : dict
        How its maker made a photo square, as the fields of `shelfbench.data.view.View`; empty if nobody says.
    source : str
        Who says so, for the screen.
    otherwise : str
        What the file or the JSON beside it says instead, where the study overrules it; else empty.
    """

    mean: Three
    std: Three
    channels: str
    pixels: int | None
    view: Mapping[str, Any]
    source: str
    otherwise: str = ""


def preprocessing_of(path: Path, kind: str, metadata: Mapping[str, str], settings: OnnxSettings) -> Preprocessing:
    """Find out what the network expects.

    Parameters
    ----------
    path : Path
        Of the ONNX file.
    kind : str
        Type of its input.
    metadata : mapping of str to str
        The file's own.
    settings : OnnxSettings
        These come first.

    Returns
    -------
    Preprocessing

    Raises
    ------
    InputError
        If nothing says so, or something says it unclearly.
    """
    config = _config_beside(path)
    told = _told_by_config(*config) if config else None
    pixels, view = (told.pixels, told.view) if told else (None, {})
    if kind == "uint8":  # bytes have no mean of 0: the graph contains its own preprocessing
        return Preprocessing(
            mean=(0, 0, 0),
            std=(1, 1, 1),
            channels=settings.channels or _order(metadata) or "rgb",
            pixels=pixels,
            view=view,
            source="it takes bytes (uint8) and prepares them itself",
        )
    otherwise = ""
    if settings.mean:
        otherwise = _overruled(settings, told)
        mean, std, source, order = settings.mean, settings.std, "the section [onnx]", _order(metadata)
    elif found := _told_by_metadata(path, metadata):
        (mean, std), source, order = found, "its metadata", _order(metadata)
    elif told:
        mean, std, source, order = told.mean, told.std, told.source, told.channels
    else:
        raise InputError(
            f"{path} does not say what its pixels are to be: no {CONFIG} is beside it, and its metadata have no mean",
            f"look where it comes from, and give for ImageNet's mean and deviation (torchvision, most of timm) "
            f"{IMAGENET}; for pixels from -1 to 1 {SYMMETRIC}",
        )
    return Preprocessing(
        mean=_three(mean),
        std=_three(std),
        channels=settings.channels or order or _assumed(path, _three(mean)),
        pixels=pixels,
        view=view,
        source=source,
        otherwise=otherwise,
    )


def _overruled(settings: OnnxSettings, told: Preprocessing | None) -> str:
    """Say what the configuration beside a file says, if that is not what the study says of all ONNX files."""
    if told is None or all(
        math.isclose(mine, other, rel_tol=0.01, abs_tol=0.5)
        for mine, other in zip((*_three(settings.mean), *_three(settings.std)), (*told.mean, *told.std), strict=True)
    ):
        return ""
    mean, std = ([round(value, 2) for value in values] for values in (told.mean, told.std))
    return f"the {told.source} beside it says mean {mean} and std {std}"


def _assumed(path: Path, mean: Three) -> str:
    """Take RGB for granted, unless ImageNet's mean is given from blue to red."""
    if mean[0] < mean[1] < mean[2] and abs(mean[0] - 103.7) < 2 and abs(mean[2] - 123.7) < 2:
        raise InputError(
            f"{path}: the mean {list(mean)} looks like that of blue, green and red",
            "say which it is: --set onnx.channels=bgr or --set onnx.channels=rgb",
        )
    return "rgb"


def _three(values: tuple[float, ...]) -> Three:
    first, *others = values
    return (first, others[0], others[1]) if others else (first, first, first)


def _order(metadata: Mapping[str, str]) -> str:
    """Order of channels that the metadata name; empty if they do not."""
    lowered = {key.lower(): value.strip().lower() for key, value in metadata.items()}
    for key in ("image.bitmappixelformat", "channels", "channel_order", "color_order"):
        if lowered.get(key) in _ORDERS:
            return _ORDERS[lowered[key]]
    return ""


def _told_by_metadata(path: Path, metadata: Mapping[str, str]) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    if known := _RANGES.get(metadata.get("Image.NominalPixelRange", "")):
        return (known[0],), (known[1],)
    texts = [metadata.get(name) or metadata.get(f"image_{name}") for name in ("mean", "std")]
    if not any(texts):
        return None
    mean, std = (_listed(text or "") for text in texts)
    # with a deviation of 1 and a mean of 0, the pixels may be from 0 to 255 or from 0 to 1
    unsure = mean is None or std is None or min(std) <= 0 or (max(map(abs, mean)) == 0 and max(std) == 1)
    if unsure or mean is None or std is None:
        raise InputError(
            f"{path}: its metadata say mean {texts[0]!r} and std {texts[1]!r}, which is not clear",
            f"give those of pixels from 0 to 255, such as {SYMMETRIC}",
        )
    scale = 255.0 if max(*std, *map(abs, mean)) <= 1 else 1.0
    return tuple(scale * value for value in mean), tuple(scale * value for value in std)


def _listed(text: str) -> tuple[float, ...] | None:
    """Read one number or three, as JSON or with commas or spaces between; None if it is anything else."""
    try:
        values = tuple(float(part) for part in text.strip("[]() ").replace(",", " ").split())
    except ValueError:
        return None
    return values if len(values) in (1, 3) and all(map(math.isfinite, values)) else None


def _config_beside(path: Path) -> tuple[Path, dict[str, Any]] | None:
    """Read the processor's JSON in the network's folder, or in the one above a folder ``onnx``."""
    folder = path.absolute().parent
    for place in (folder, folder.parent) if folder.name == "onnx" else (folder,):
        found = place / CONFIG
        if not found.is_file():
            continue
        try:
            values = load_json(found)
        except (OSError, ValueError) as error:
            raise InputError(f"{found} cannot be read ({str(error)[:120]})", "correct it, or take it away") from None
        if not isinstance(values, dict):
            raise InputError(f"{found} is not a processor's configuration", "correct it, or take it away")
        return found, values
    return None


def _told_by_config(path: Path, values: Mapping[str, Any]) -> Preprocessing:
    """Follow the configuration of Hugging Face's image processors."""
    for step in _STRANGE:
        if values.get(step):
            raise InputError(
                f"{path} has {step}, which shelfbench does not follow",
                f"take the file away, and give mean and std: {SYMMETRIC}",
            )
    factor = _positive(path, values, "rescale_factor", 1 / 255) if values.get("do_rescale", True) else 1.0
    shift = 1.0 if values.get("rescale_offset") else 0.0  # the pixels are then x * factor - 1
    mean, std = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    if values.get("do_normalize", True):
        mean, std = (_channels(path, values, key) for key in ("image_mean", "image_std"))
        if min(std) <= 0:
            raise InputError(f"{path}: image_std is {list(std)}", "correct it, or take the file away")
    pixels, view = _square(path, values)
    return Preprocessing(
        mean=_three(tuple((value + shift) / factor for value in mean)),
        std=_three(tuple(value / factor for value in std)),
        channels="bgr" if values.get("do_flip_channel_order") else "rgb",
        pixels=pixels,
        view=view,
        source=str(path.name),
    )


def _square(path: Path, values: Mapping[str, Any]) -> tuple[int | None, dict[str, Any]]:
    """Side of the square, and how a photo is cut to it."""
    if not values.get("do_resize", True) and not values.get("do_center_crop"):
        return None, {}
    size, shorter = _side(path, values.get("size"), "size")
    crop, _ = _side(path, values.get("crop_size"), "crop_size")
    resample = _resample(values.get("resample", 2))
    if values.get("crop_pct") and size and size < 384:  # ConvNeXt's processor
        return size, _view("center", size, size / _positive(path, values, "crop_pct", 1.0), resample)
    if values.get("do_center_crop") and crop:
        return crop, _view("center" if shorter else "squash", crop, size or crop, resample)
    return size, _view("center" if shorter else "squash", size, size, resample) if size else {}


def _resample(number: Any) -> str:
    return _RESAMPLES.get(number, "bilinear") if isinstance(number, int) else "bilinear"


def _view(fit: str, pixels: int, whole: float, resample: str) -> dict[str, Any]:
    """Describe the middle of a photo whose side becomes `whole`; rounding up must not make it a pixel less."""
    share = pixels / whole
    return {"fit": fit, "crop": share if pixels / share >= whole else math.nextafter(share, 0), "resample": resample}


def _side(path: Path, value: Any, key: str) -> tuple[int | None, bool]:
    """Read the side of a square, and whether it is that of the shorter side alone."""
    if isinstance(value, Mapping):
        if "shortest_edge" in value:
            return _side(path, value["shortest_edge"], key)[0], True
        height, width = value.get("height"), value.get("width")
        if height != width:
            said = str(dict(value))[:60]
            raise InputError(f"{path}: {key} is {said}", "shelfbench takes squares: take the file away")
        value = height
    if value is None:
        return None, False
    if type(value) is not int or not 0 < value <= 4096:
        raise InputError(f"{path}: {key} is {str(value)[:60]}", "correct it, or take the file away")
    return value, False


def _channels(path: Path, values: Mapping[str, Any], key: str) -> Three:
    given = values.get(key)
    found: list[Any] = given if isinstance(given, list) else [given]
    good = isinstance(found, list) and len(found) in (1, 3)
    if not good or not all(isinstance(value, int | float) and -1e6 < value < 1e6 for value in found):
        raise InputError(
            f"{path}: {key} is {json.dumps(found)[:60]}",
            f"look where the network comes from, and give mean and std: {IMAGENET} or {SYMMETRIC}",
        )
    return _three(tuple(map(float, found)))


def _positive(path: Path, values: Mapping[str, Any], key: str, default: float) -> float:
    value = values.get(key, default)
    if not isinstance(value, int | float) or not 0 < value < 1e6:
        raise InputError(f"{path}: {key} is {str(value)[:60]}", "correct it, or take the file away")
    return float(value)
