"""Turn encoded bytes into square pixels, as a person sees them; an unreadable image comes with a reason."""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, partial

import numpy as np
import PIL
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from shelfbench.base.errors import InputError, first_line
from shelfbench.data.catalogue import Absent
from shelfbench.data.jpeg import FILTERS, decode_plain, engine, plain_size, resized
from shelfbench.data.metadata import TwoPhotos, orientation, out_of_step, without_metadata
from shelfbench.data.signatures import HEIC, kind_of
from shelfbench.data.view import DIVISORS, STUDY_FITS, View, view_of

Divisor = Callable[[tuple[int, int]], int]
# A header of a few bytes may declare any size; images of more pixels than this are not decoded.
MAX_PIXELS = 100_000_000
# Larger photos are rare, and Pillow needs less memory at once for them.
MAX_PLAIN = 16_000_000
# Times the square: photos that would become larger than this are resized only where the square lies.
_ELONGATED = 16
IMAGES_VERSION = 1
# What to do about photos of phones.
NEEDS_HEIF = "HEIC needs pillow-heif: python -m pip install 'shelfbench[heic]'"
_ORIENTATION = 0x112
# The decoders of others turn the pixels themselves.
_TURNED_BY_EXIF = ("JPEG", "MPO", "PNG", "WEBP")
_TURNED = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "AVIF", "MPO", "JPEG2000", "PPM", "ICO", "TGA", "DIB", "PCX")


@dataclass(frozen=True)
class ImageSettings:
    """The section ``images`` of a study: how a photo becomes a square.

    Attributes
    ----------
    fit : {'pad', 'crop', 'stretch'}
        Pad to a square with white (default), crop to the central square, or stretch.
    scaled : bool
        Whether JPEGs at least twice as large as needed are decoded at a half, a quarter or an eighth: faster, and some
        pixels differ by a few grey levels. Those that come with a colour profile, a rotation or the like (Exif) only if
        their sides can be divided so.
    features : {'float32', 'float16'}
        The type in which features are kept on disk. Half the bytes are read in half the time; each number is rounded to
        11 bits, which changes some predictions (``results/scale/float16.csv`` has how many).
    """

    fit: str = "pad"
    scaled: bool = False
    features: str = "float32"

    def __post_init__(self) -> None:
        """Validate the settings."""
        if self.fit not in STUDY_FITS:
            raise InputError(f"images.fit is {self.fit!r}", "choose pad, crop or stretch")
        if not isinstance(self.scaled, bool):
            raise InputError(f"images.scaled is {self.scaled!r}", "set true or false")
        if self.features not in ("float32", "float16"):
            raise InputError(f"images.features is {self.features!r}", "choose float32 or float16")

    @property
    def view(self) -> View:
        """How photos become squares, unless a network sees them in its own way."""
        return View(fit=self.fit, scaled=self.scaled)

    def describe(self) -> dict[str, object]:
        """Return everything here that changes pixels, for the key of features."""
        return {
            "fit": self.fit,
            "background": 255,
            "resample": "bicubic",
            "version": IMAGES_VERSION,
            "pillow": PIL.__version__,  # decoders change with it, and so do the files they refuse
            "engine": engine(),
            **({"scaled": list(DIVISORS)} if self.scaled else {}),
        }


class UnreadableImage(Exception):
    """The bytes cannot be decoded to an image; the message says why in a few words."""


@cache
def heif_decoder() -> str:
    """Let Pillow read HEIC, if the optional package is installed, and name the package; empty without it."""
    try:
        import pillow_heif
    except ImportError:
        return ""
    pillow_heif.register_heif_opener()
    return f"pillow-heif {pillow_heif.__version__}"


def why_absent(data: bytes) -> str:
    """Say why an image has no bytes; `data` is what reading it returned."""
    if data:
        return "it was missing when the run began"
    return data.reason if isinstance(data, Absent) else "the file is empty"


def _formats(data: bytes) -> list[str]:
    """List the photo formats that the installed Pillow reads, without those that would start another program."""
    Image.init()
    if data[4:8] == b"ftyp" and (kind := kind_of(data)) is not None and kind.name == HEIC:
        return ["HEIF"] if heif_decoder() else []
    return [name for name in FORMATS if name in Image.OPEN]


def _to_rgb(image: Image.Image) -> Image.Image:
    """Convert any mode to RGB on white, as a viewer shows it."""
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        values = np.asarray(image, np.float64)
        # Pillow opens 16-bit grey as I;16 or I; floats range from 0 to 1; larger values are scaled by their maximum
        scale = max(1.0 if image.mode == "F" else 65535.0, float(values.max(initial=0.0)))
        if isinstance(clear := image.info.get("transparency"), int):
            values[values == clear] = scale
        return Image.fromarray(np.uint8(np.clip(values / scale, 0.0, 1.0) * 255.0 + 0.5)).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        layer = image.convert("RGBA")
        canvas = Image.new("RGBA", layer.size, "white")
        return Image.alpha_composite(canvas, layer).convert("RGB")
    return image.convert("RGB")


def _square(image: Image.Image, pixels: int, view: View) -> Image.Image:
    how = Image.Resampling[view.resample.upper()]
    if view.fit == "crop":
        return ImageOps.fit(image, (pixels, pixels), how)
    place = view.place(image.size, pixels)
    if place.size == (pixels, pixels):
        return image.resize(place.size, how)
    seen = place.seen(pixels)
    if math.prod(place.size) > _ELONGATED * pixels * pixels:  # the rest of a long strip would only take memory
        part = image.resize((seen[2] - seen[0], seen[3] - seen[1]), how, _on_photo(seen, image.size, place.size))
    else:
        part = image.resize(place.size, how).crop(seen)
    if part.size == (pixels, pixels):
        return part
    canvas = Image.new("RGB", (pixels, pixels), view.background)
    canvas.paste(part, (max(-place.left, 0), max(-place.top, 0)))
    return canvas


def _on_photo(
    part: tuple[int, int, int, int], size: tuple[float, float], resized_to: tuple[int, int]
) -> tuple[float, float, float, float]:
    """Find a part of the resized photo on the photo as it was."""
    across, down = size[0] / resized_to[0], size[1] / resized_to[1]
    # products of rounded numbers may end a little outside
    return part[0] * across, part[1] * down, min(part[2] * across, size[0]), min(part[3] * down, size[1])


def open_image(data: bytes, divisor: Divisor | None = None) -> Image.Image:
    """Decode bytes to an upright RGB image.

    Takes the first frame of an animation, applies the EXIF orientation, puts transparency on white, and converts CMYK,
    grey, palette and 16-bit images. The file's name does not matter. Damaged or oversized metadata (Exif, text, colour
    profiles ...) is skipped, except for the orientation in it, which is read by itself.

    Parameters
    ----------
    data : bytes
        An encoded image.
    divisor : callable, optional
        By what a JPEG of a width and height may be divided while it is decoded, at most, and without a rest.

    Returns
    -------
    Image

    Raises
    ------
    UnreadableImage
        If the bytes are empty, truncated, not an image, or declare more than 100 million pixels, or if damage leaves
        open which picture in them is the photo.
    """
    if not data:
        raise UnreadableImage(why_absent(data))
    try:
        bare = without_metadata(data) if out_of_step(data) else None
    except TwoPhotos:
        raise UnreadableImage("a damaged JPEG image: its photo cannot be told from its thumbnail") from None
    try:
        return _opened(data, None, divisor) if bare is None else _opened(bare, data, divisor)
    except UnreadableImage:
        other = without_metadata(data) if bare is None else data
        if other is None:
            raise
    return _opened(other, data if bare is None else None, divisor)


def _opened(data: bytes, original: bytes | None, divisor: Divisor | None) -> Image.Image:
    """Decode bytes; those without their metadata come with the original, which has the orientation."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # users need not know about oddities that Pillow repairs itself
            image = Image.open(io.BytesIO(data), formats=_formats(data))
            if image.width * image.height > MAX_PIXELS:
                raise UnreadableImage(f"{image.width} x {image.height} pixels, more than {MAX_PIXELS // 10**6} million")
            if divisor is not None and image.format in ("JPEG", "MPO"):
                by = divisor(image.size)
                while image.width % by or image.height % by:  # its edge would be a part of a pixel
                    by //= 2
                image.draft(None, (image.width // by, image.height // by))
            image.load()
            upright = ImageOps.exif_transpose(image)
            turn = 1
            if original is not None:
                turn = orientation(original)
            elif (
                image.format in _TURNED_BY_EXIF
                and "exif" in image.info
                and image.getexif().get(_ORIENTATION) not in range(1, 9)
            ):
                turn = orientation(data)  # Pillow gives up at the first odd entry
            return _to_rgb(upright.transpose(_TURNED[turn]) if turn in _TURNED else upright)
    except UnreadableImage:
        raise
    except UnidentifiedImageError:
        raise UnreadableImage(_unidentified(data)) from None
    except Image.DecompressionBombError:
        raise UnreadableImage(f"more than {MAX_PIXELS // 10**6} million pixels") from None
    except MemoryError:
        raise UnreadableImage("too large for memory") from None
    except Exception as error:  # decoders raise all kinds of errors on a damaged stream
        raise UnreadableImage(first_line(error)) from None


def _unidentified(data: bytes) -> str:
    """Say what bytes are that Pillow takes for no image."""
    kind = kind_of(data)
    if kind is None:
        return "only zero bytes" if not data.strip(b"\0") else "not in a known image format"
    if kind.name == HEIC and not heif_decoder():
        return NEEDS_HEIF
    if kind.photo:
        return f"{kind.name}, {kind.advice}" if kind.advice else f"a damaged {kind.name} image"
    return f"{kind.name}, not a photo"


def photo_size(data: bytes) -> tuple[int, int]:
    """Read the width and height of an image from its header.

    Parameters
    ----------
    data : bytes
        An encoded image, of which nothing is decoded.

    Returns
    -------
    tuple of int
        Width and height, in pixels, before any rotation.

    Raises
    ------
    UnreadableImage
        If the bytes do not begin like an image.
    """
    try:
        return _size(data)
    except Exception as error:  # decoders raise all kinds of errors on a damaged header
        with suppress(Exception):
            if (bare := without_metadata(data)) is not None:
                return _size(bare)
        raise UnreadableImage(str(error)) from None


def _size(data: bytes) -> tuple[int, int]:
    if size := plain_size(data):
        return size
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with Image.open(io.BytesIO(data), formats=_formats(data)) as image:
            return image.size


def _plain_square(data: bytes, pixels: int, view: View) -> np.ndarray | None:
    """Do the work of `open_image` and `_square` for a JPEG that `shelfbench.data.jpeg` takes; None for any other."""
    if engine() == "pillow" or view.resample not in FILTERS:
        return None
    if (size := plain_size(data)) is None:
        return None
    width, height = size
    by = view.divisor(size, pixels)
    if width * height > min(by * by * MAX_PLAIN, MAX_PIXELS):
        return None
    if by == 1 and height > (width if view.fit in ("crop", "stretch", "squash") else 1.9 * width):
        return None  # Pillow may resize columns first there, which rounds differently
    enough = (-(-width // by), -(-height // by)) if by > 1 else (0, 0)
    if (photo := decode_plain(data, enough)) is None:
        return None
    decoded = width / by, height / by  # the last column or row may be a part of a pixel
    if view.fit == "crop":
        side = min(decoded)
        left, top = (decoded[0] - side) / 2, (decoded[1] - side) / 2
        return resized(photo, (pixels, pixels), (left, top, left + side, top + side), view.resample)
    place = view.place(size, pixels)
    seen = place.seen(pixels)
    box = _on_photo(seen, decoded, place.size)
    part = resized(photo, (seen[2] - seen[0], seen[3] - seen[1]), box, view.resample)
    if part.shape == (pixels, pixels, 3):
        return part
    canvas = np.full((pixels, pixels, 3), view.background, np.uint8)
    left, top = max(-place.left, 0), max(-place.top, 0)
    canvas[top : top + part.shape[0], left : left + part.shape[1]] = part
    return canvas


def decode(data: bytes, pixels: int, fit: str | View = "pad") -> np.ndarray:
    """Decode bytes to a square image.

    Parameters
    ----------
    data : bytes
        An encoded image.
    pixels : int
        Side of the square.
    fit : {'pad', 'crop', 'stretch'} or View

    Returns
    -------
    ndarray of uint8, shape (pixels, pixels, 3)

    Raises
    ------
    UnreadableImage
        See `open_image`.
    """
    view = view_of(fit)
    square = _plain_square(data, pixels, view)
    if square is not None:
        return square
    divisor = partial(view.divisor, pixels=pixels) if view.scaled else None
    return np.asarray(_square(open_image(data, divisor), pixels, view))


def decode_batch(
    batch: Sequence[bytes], pixels: int, fit: str | View, pool: Executor
) -> tuple[np.ndarray, dict[int, str]]:
    """Decode many images in threads (decoders release the GIL).

    Parameters
    ----------
    batch : sequence of bytes
        Encoded images.
    pixels : int
        Side of the squares.
    fit : {'pad', 'crop', 'stretch'} or View
    pool : Executor
        Its threads decode.

    Returns
    -------
    ndarray of uint8, shape (readable, pixels, pixels, 3)
        The readable images, in order.
    dict of int to str
        Why each of the others is unreadable, by position in `batch`.
    """
    ImageFile.LOAD_TRUNCATED_IMAGES = False

    squares = np.empty((len(batch), pixels, pixels, 3), np.uint8)

    def some(start: int) -> dict[int, str]:  # one task per image would cost as much as decoding the smallest images
        reasons = {}
        for position in range(start, min(start + 8, len(batch))):
            try:
                squares[position] = decode(batch[position], pixels, fit)
            except UnreadableImage as error:
                reasons[position] = str(error)
        return reasons

    reasons: dict[int, str] = {}
    for found in pool.map(some, range(0, len(batch), 8)):
        reasons.update(found)
    return (np.delete(squares, list(reasons), axis=0) if reasons else squares), reasons
