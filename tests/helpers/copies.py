"""Copies of photos as shops make them: recompressed, resized, brighter, mirrored, cropped."""

import io
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageEnhance

from shelfbench.data.images import open_image

Draw = np.random.Generator


def jpeg(image: Image.Image, quality: int = 90) -> bytes:
    """Encode a photo."""
    data = io.BytesIO()
    image.save(data, "JPEG", quality=quality)
    return data.getvalue()


def resized(image: Image.Image, rng: Draw) -> Image.Image:
    """Make a photo smaller by up to a half."""
    share = rng.uniform(0.5, 0.9)
    return image.resize((round(image.width * share), round(image.height * share)), Image.Resampling.LANCZOS)


def brighter(factor: float) -> Callable[[Image.Image, Draw], Image.Image]:
    """Make photos brighter or darker by a factor; what would be above white is white."""
    return lambda image, rng: ImageEnhance.Brightness(image).enhance(factor)


def cropped(share: float, enlarged: bool = False) -> Callable[[Image.Image, Draw], Image.Image]:
    """Take a share off the width and the height, at random from either side."""

    def crop(image: Image.Image, rng: Draw) -> Image.Image:
        size = round(image.width * (1 - share)), round(image.height * (1 - share))
        left, top = (int(rng.integers(0, whole - kept + 1)) for whole, kept in zip(image.size, size, strict=True))
        part = image.crop((left, top, left + size[0], top + size[1]))
        return part.resize(image.size, Image.Resampling.BICUBIC) if enlarged else part

    return crop


def mirrored(image: Image.Image, rng: Draw) -> Image.Image:
    """Swap left and right."""
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)


# Those that are to be found, and those that need not be.
FOUND: dict[str, Callable[[Image.Image, Draw], Image.Image]] = {
    "recompressed": lambda image, rng: image,
    "resized": resized,
    "brighter by 3%": brighter(1.03),
    "darker by 3%": brighter(0.97),
    "brighter by 10%": brighter(1.1),
    "darker by 10%": brighter(0.9),
    "mirrored": mirrored,
    "cropped by 5%": cropped(0.05),
    "cropped by 5%, enlarged": cropped(0.05, enlarged=True),
}
BEYOND: dict[str, Callable[[Image.Image, Draw], Image.Image]] = {
    "brighter by 20%": brighter(1.2),
    "darker by 20%": brighter(0.8),
    "cropped by 10%": cropped(0.1),
    "cropped by 20%": cropped(0.2),
    "mirrored and cropped by 5%": lambda image, rng: cropped(0.05)(mirrored(image, rng), rng),
    "darker by 10% and cropped by 5%": lambda image, rng: cropped(0.05)(brighter(0.9)(image, rng), rng),
    "turned by 3 degrees": lambda image, rng: image.rotate(3, Image.Resampling.BICUBIC, fillcolor="white"),
}


def copied(photo: bytes, kind: str, rng: Draw) -> bytes:
    """Make a copy of an encoded photo; of the same bytes if `kind` is exact."""
    if kind == "exact":
        return photo
    quality = int(rng.integers(60, 91)) if kind == "recompressed" else 90
    return jpeg({**FOUND, **BEYOND}[kind](open_image(photo), rng), quality)
