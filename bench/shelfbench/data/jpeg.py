"""Turn plain JPEGs into squares, faster than Pillow and within two grey levels of it.

libjpeg-turbo decodes, as in Pillow, but straight into an array (simplejpeg): the same pixels. fast_image_resize
(cykooz.resizer) resizes with vector instructions and Pillow's bicubic filter, but with coefficients of 16 bits instead
of 22, so that few pixels differ. The check for a plain JPEG is written by hand because no library tells, without
decoding, whether a JPEG needs more than that. Pillow takes all other files, and all that make a decoder complain.
"""

from __future__ import annotations

import struct
import threading
from functools import cache
from importlib.metadata import version
from typing import Any

import numpy as np

_uint16 = struct.Struct(">H").unpack_from
# Tables, restart interval, comment: segments that do not change how a picture should be shown.
_TABLES = {0xDB, 0xC4, 0xDD, 0xFE}
_BASELINE, _PROGRESSIVE, _SCAN = 0xC0, 0xC2, 0xDA
_of_thread = threading.local()
# Filters of Pillow, and what fast_image_resize calls them.
# Its box is another: of two equally near pixels it takes the other one.
FILTERS = {
    "bicubic": "catmull_rom",
    "bilinear": "bilinear",
    "lanczos": "lanczos3",
}


@cache
def engine() -> str:
    """Name what turns plain JPEGs into squares, with versions, because pixels may change with them."""
    try:
        import cykooz_resizer  # noqa: F401
        import simplejpeg  # noqa: F401
    except ImportError:
        return "pillow"
    return f"simplejpeg {version('simplejpeg')}, cykooz.resizer {version('cykooz.resizer')}"


def plain_size(data: bytes) -> tuple[int, int] | None:
    """Read the size of a JPEG that only needs decoding.

    Such a file has a JFIF header, one frame of 8 bits, grey or colour, baseline or progressive with Huffman coding, and
    no other application segment: no orientation, colour profile, Adobe colours or second picture.

    Parameters
    ----------
    data : bytes
        The file.

    Returns
    -------
    tuple of int, or None
        Width and height; None for every other file.
    """
    if data[:4] != b"\xff\xd8\xff\xe0" or data[6:11] != b"JFIF\0":
        return None
    size = None
    try:
        at = 4 + _uint16(data, 4)[0]
        while data[at] == 0xFF:
            kind = data[at + 1]
            if kind == _SCAN:
                return size
            if kind in (_BASELINE, _PROGRESSIVE):
                height, width = _uint16(data, at + 5)[0], _uint16(data, at + 7)[0]
                if size or data[at + 4] != 8 or data[at + 9] not in (1, 3) or not height or not width:
                    return None
                size = width, height
            elif kind not in _TABLES:
                return None
            at += 2 + _uint16(data, at + 2)[0]
    except (IndexError, struct.error):
        pass
    return None


def decode_plain(data: bytes, size: tuple[int, int] = (0, 0)) -> np.ndarray | None:
    """Decode a plain JPEG.

    Parameters
    ----------
    data : bytes
        A file accepted by `plain_size`.
    size : tuple of int
        Width and height that are enough: it is decoded at the smallest of libjpeg's fractions that has them.

    Returns
    -------
    ndarray of uint8, shape (height, width, 3), or None
        None if the decoder reports any error or warning.
    """
    import simplejpeg

    try:
        found: np.ndarray | None = simplejpeg.decode_jpeg(data, strict=True, min_width=size[0], min_height=size[1])
        return found
    except ValueError:
        return None


def _resizer(resample: str) -> tuple[Any, Any]:
    """Return this thread's resizer, which keeps buffers, and its options."""
    import cykooz_resizer as library

    if not hasattr(_of_thread, "resizer"):
        _of_thread.resizer, _of_thread.options = library.Resizer(), {}
    if resample not in _of_thread.options:
        kind = getattr(library.FilterType, FILTERS[resample])
        _of_thread.options[resample] = library.ResizeOptions(library.ResizeAlg.convolution(kind), use_alpha=False)
    return _of_thread.resizer, _of_thread.options[resample]


def resized(
    pixels: np.ndarray,
    size: tuple[int, int],
    box: tuple[float, float, float, float] | None = None,
    resample: str = "bicubic",
) -> np.ndarray:
    """Resize with a filter of Pillow's: first rows, rounded to 8 bits, then columns, as Pillow does.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (height, width, 3)
    size : tuple of int
        Width and height of the result.
    box : tuple of float, optional
        Left, top, right and bottom of the part to resize; by default the whole image.
    resample : str
        A key of `FILTERS`.

    Returns
    -------
    ndarray of uint8, shape (size[1], size[0], 3)
    """
    from cykooz_resizer import CropBox, ImageData, PixelType

    resizer, whole = _resizer(resample)
    height, width = pixels.shape[:2]
    left, top, right, bottom = box or (0, 0, width, height)
    image = ImageData(width, height, PixelType.U8x3, pixels.tobytes())
    for shape, part in (
        ((size[0], height), (left, 0, right - left, height)),
        (size, (0, top, size[0], bottom - top)),
    ):
        if part == (0, 0, *shape):
            continue
        options = whole
        if part != (0, 0, image.width, image.height):
            options = whole.copy()
            options.crop_box = CropBox(*part)
        target = ImageData(*shape, PixelType.U8x3)
        resizer.resize(image, target, options)
        image = target
    return np.frombuffer(image.get_buffer(), np.uint8).reshape(size[1], size[0], 3)
