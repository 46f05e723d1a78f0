"""Random flips, crops and colours of training images; all off by default, as neither paper mentions them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from shelfbench.base.errors import InputError

# One column of random numbers per decision, so that turning one on does not change what is drawn for the others.
_FLIP, _SIZE, _TOP, _LEFT, _BRIGHTNESS, _CONTRAST, _SATURATION = range(7)
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


@dataclass(frozen=True)
class AugmentSettings:
    """Section ``augment`` of a study.

    Attributes
    ----------
    flip : bool
        Mirror half of the images, left to right.
    crop : float
        Cut a square out of each image and enlarge it again; at most this share of the side is cut off (0 to 0.5).
    colour : float
        Change brightness, contrast and saturation by factors of 1 - colour to 1 + colour (0 to 1).

    Raises
    ------
    InputError
        If a value is not valid.
    """

    flip: bool = False
    crop: float = 0.0
    colour: float = 0.0

    def __post_init__(self) -> None:
        if not isinstance(self.flip, bool):
            raise InputError(f"augment.flip is {self.flip!r}", "give true or false")
        for name, most in (("crop", 0.5), ("colour", 1.0)):
            value = getattr(self, name)
            number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
            if not number or not 0 <= value <= most:
                raise InputError(f"augment.{name} is {value!r}", f"give a number from 0 to {most}")

    @property
    def active(self) -> bool:
        """Whether any change is made."""
        return bool(self.flip or self.crop or self.colour)


def augment(images: np.ndarray, keys: np.ndarray, epoch: int, seed: int, settings: AugmentSettings) -> np.ndarray:
    """Change training images at random: crop, then flip, then colour.

    The changes of an image depend on (seed, epoch, its key) only, not on its batch or on earlier draws, so that a
    resumed training sees the same pictures as an undisturbed one.

    Parameters
    ----------
    images : ndarray of uint8, shape (n, p, p, 3)
        They are not changed in place.
    keys : ndarray of int64, shape (n,)
        Number of each image, the same in every epoch.
    epoch : int
    seed : int
    settings : AugmentSettings

    Returns
    -------
    ndarray of uint8, shape (n, p, p, 3)
        `images` itself if everything is off.
    """
    if not settings.active or len(images) == 0:
        return images
    draws = _uniform(keys, epoch, seed)
    result = _cropped(images, draws, settings.crop) if settings.crop else images.copy()
    if settings.flip:
        mirrored = draws[:, _FLIP] < 0.5
        result[mirrored] = result[mirrored, :, ::-1]
    return _coloured(result, draws, settings.colour) if settings.colour else result


def _uniform(keys: np.ndarray, epoch: int, seed: int) -> np.ndarray:
    """Uniform numbers in [0, 1), float64, shape (n, 7), by hashing: one generator per image would be slower."""
    start, number = (np.array([part], np.int64).astype(np.uint64) for part in (seed, epoch))
    state = _mixed(_mixed(_mixed(start) ^ number) ^ np.asarray(keys, np.int64).astype(np.uint64))
    draws = _mixed(state[:, None] ^ np.arange(_SATURATION + 1, dtype=np.uint64))
    return (draws >> np.uint64(11)) * 2.0**-53


def _mixed(z: np.ndarray) -> np.ndarray:
    """One step of SplitMix64 (Steele, Lea, Flood 2014) on each number; sums and products wrap around."""
    z = z + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    found: np.ndarray = z ^ (z >> np.uint64(31))
    return found


def _cropped(images: np.ndarray, draws: np.ndarray, crop: float) -> np.ndarray:
    from PIL import Image

    pixels = images.shape[1]
    sides = pixels * (1 - crop * draws[:, _SIZE])
    tops, lefts = (pixels - sides) * draws[:, _TOP], (pixels - sides) * draws[:, _LEFT]
    result = np.empty_like(images)
    for number, (left, top, side) in enumerate(zip(lefts, tops, sides, strict=True)):
        # rounding must not leave the picture
        box = (left, top, min(left + side, pixels), min(top + side, pixels))
        result[number] = Image.fromarray(images[number]).resize((pixels, pixels), Image.Resampling.BILINEAR, box=box)
    return result


def _coloured(images: np.ndarray, draws: np.ndarray, colour: float) -> np.ndarray:
    """Brightness, contrast (about the image's mean grey) and saturation (about a pixel's grey), clipped once.

    All three are linear, so that each image needs one matrix of colours and one offset.
    """
    factors = (1 + colour * (2 * draws - 1)).astype(np.float32)
    result = np.empty_like(images)
    # one at a time, which stays in the processor's cache
    for image, factor, place in zip(images, factors, result, strict=True):
        brightness, contrast, saturation = factor[[_BRIGHTNESS, _CONTRAST, _SATURATION]]
        matrix = saturation * np.eye(3, dtype=np.float32) + (1 - saturation) * _LUMA[:, None]
        pixels = image.reshape(-1, 3).astype(np.float32)
        grey = (pixels @ _LUMA).mean()
        changed = pixels @ (brightness * contrast * matrix)
        changed += (1 - contrast) * brightness * grey
        np.rint(changed, out=changed)
        np.clip(changed, 0, 255, out=changed)
        place[:] = changed.reshape(image.shape)
    return result
