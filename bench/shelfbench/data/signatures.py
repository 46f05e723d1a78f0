"""What a file is, by its first bytes: a photo in one of the formats that are read, another photo, or something else."""

from __future__ import annotations

import re
from dataclasses import dataclass

# As many bytes as the patterns below look at.
HEAD = 96
HEIC = "HEIC"


@dataclass(frozen=True)
class Kind:
    """What a file is.

    Attributes
    ----------
    name : str
        As in a sentence: ``JPEG``, ``a video``.
    photo : bool
        Whether it is a photo, read or not.
    advice : str
        For a photo in a format that is never read, what to do.
    """

    name: str
    photo: bool = False
    advice: str = ""


def _photo(name: str) -> Kind:
    return Kind(name, photo=True)


def _other(name: str) -> Kind:
    return Kind(name, photo=True, advice="which is not read: save it as JPEG")


# The first that matches the beginning of a file says what it is.
_KINDS = [
    (re.compile(pattern, re.DOTALL), kind)
    for pattern, kind in (
        (rb"\xff\xd8\xff", _photo("JPEG")),
        (rb"\x89PNG\r\n\x1a\n", _photo("PNG")),
        (rb"GIF8[79]a", _photo("GIF")),
        (rb"RIFF....WEBP", _photo("WebP")),
        (rb"II\*\0|MM\0\*|II\+\0|MM\0\+", _photo("TIFF")),
        (rb"....ftyp(?:avi[fs]|(?:mif1|msf1).{4,40}avi[fs])", _photo("AVIF")),
        (rb"....ftyp(?:he(?:ic|ix|vc|vx|im|is|vm|vs)|mif1|msf1)", _photo(HEIC)),
        (rb"\0\0\0\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51", _photo("JPEG 2000")),
        (rb"BM....\0{4}....[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0", _photo("BMP")),
        (rb"\x28\0\0\0.{8}\x01\0[\x01\x04\x08\x10\x18\x20]\0", _photo("DIB")),
        (rb"P[1-6]\s+(?:#[^\n]*\n\s*)*\d+\s+(?:#[^\n]*\n\s*)*\d+\s", _photo("PPM")),
        (rb"\0\0\x01\0[\x01-\x40]\0", _photo("ICO")),
        (rb"\x0a[\0\x02\x03\x05]\x01[\x01\x02\x04\x08]", _photo("PCX")),
        (rb"\xff\x0a|\0\0\0\x0cJXL \r\n\x87\n", _other("JPEG XL")),
        (rb"8BPS\0[\x01\x02]", _other("a Photoshop file")),
        (rb"....ftypcrx |FUJIFILMCCD-RAW|IIRO|IIRS|MMOR|IIU\0|FOVb", _other("a raw photo")),
        (rb"%PDF", Kind("a PDF")),
        (rb"....(?:ftyp|moov|mdat|wide)|RIFF....AVI |\x1a\x45\xdf\xa3|\0\0\x01[\xb3\xba]|FLV\x01", Kind("a video")),
        (rb"\xef?\xbb?\xbf?\s*<(?i:!doctype html|html|head|body)", Kind("HTML")),
        (rb"\xef?\xbb?\xbf?\s*<svg|\xef?\xbb?\xbf?\s*<\?xml[^>]*>\s*(?:<!--.*?-->\s*)?<svg", Kind("an SVG drawing")),
        (rb"\xef?\xbb?\xbf?\s*<\?xml", Kind("XML")),
        (rb"version https://git-lfs", Kind("a Git LFS pointer (fetch the file with git lfs pull)")),
        (rb"PK\x03\x04|Rar!\x1a|7z\xbc\xaf|\x1f\x8b|BZh[1-9]|\xfd7zXZ\0", Kind("an archive")),
        (rb"%!PS|\xc5\xd0\xd3\xc6", Kind("PostScript")),
        (rb"ID3|RIFF....WAVE|OggS|fLaC", Kind("audio")),
        (rb"MZ|\x7fELF", Kind("a program")),
    )
]


def kind_of(head: bytes) -> Kind | None:
    """Tell what a file is.

    Parameters
    ----------
    head : bytes
        Its first `HEAD` bytes, or all of it.

    Returns
    -------
    Kind or None
        None if nothing is recognised.
    """
    head = head[:HEAD]
    return next((kind for pattern, kind in _KINDS if pattern.match(head)), None)
