"""Photos without their metadata, and the orientation that the metadata gives.

Pillow parses Exif, text, colour profiles and the like when it opens a photo, and raises an error if they are damaged or
oversized, though the pixels are whole. This module cuts a file into the pieces that make its pixels and the others,
without decoding either: it is written by hand because no library tells them apart in a file that it cannot parse.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

_u16, _u32 = struct.Struct(">H").unpack_from, struct.Struct(">I").unpack_from
_u32_little = struct.Struct("<I").unpack_from

_TIFF_HEADER = re.compile(rb"(?:Exif\0\0){0,2}(II\*\0|MM\0\*)")
_XMP = re.compile(rb"tiff:Orientation(?:=[\"']|>)\s*([1-8])")
_ORIENTATION = 0x112
# Types of a whole number in Exif, among them a digit as text.
_WHOLE = {1: "B", 2: "B", 3: "H", 4: "I", 6: "B", 7: "B", 8: "H", 9: "I"}
_LONGEST_SEGMENT = 65_537
# No photo has more pieces, or more damaged ones: files made to keep this module busy have.
_MOST_PIECES, _MOST_DAMAGED = 1 << 16, 64
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}

# Chunks of a PNG that make its pixels; in an animation, the still picture is taken.
_PNG_PIXELS = {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"}
_PNG_NEXT = re.compile(rb"PLTE|tRNS|IDAT|IEND")
_WEBP_PIXELS = {b"VP8X", b"VP8 ", b"VP8L", b"ALPH", b"ANIM", b"ANMF"}
_JP2_PIXELS = {b"jP  ", b"ftyp", b"jp2h", b"jp2c"}
_JP2_BOXES = _JP2_PIXELS | {b"xml ", b"uuid", b"uinf", b"jp2i"}
# Size, compression, colours, strips and tiles, tables of JPEG, and YCbCr.
_TIFF_PIXELS = {
    *(254, 255, 256, 257, 258, 259, 262, 266, 273, 277, 278, 279, 284, 292, 293, 317, 320, 322, 323, 324, 325),
    *(332, 334, 338, 339, 340, 341, 347, 512, 513, 514, 515, 517, 518, 519, 520, 521, 529, 530, 531, 532, 50674),
}


@dataclass(frozen=True)
class _Piece:
    """A piece of a file; `metadata` is what it holds if it makes no pixels."""

    content: bytes
    metadata: bytes | None = None


class _Unknown(Exception):
    """The file does not hold together where its pixels are."""


class TwoPhotos(Exception):
    """A damaged file holds two pictures, and nothing says which of them is the photo."""


def _jpeg_header(data: bytes, at: int, known: set[int] | None = None) -> dict[int, int] | None:
    """Return the kinds of segments from here to the scan, each with its place; None if they do not follow another.

    A header that runs into one that is `known` already is of no interest; those that are walked through become known.
    """
    found: dict[int, int] = {}
    for _ in range(_MOST_PIECES):
        if at + 4 > len(data) or data[at] != 0xFF or (known is not None and at in known):
            return None
        if known is not None:
            known.add(at)
        kind = data[at + 1]
        if kind == 0xFF:  # filling
            at += 1
            continue
        if kind < 0xC0 or 0xD0 <= kind <= 0xD9:
            return None
        found.setdefault(kind, at)
        if kind == 0xDA:
            return found
        at += 2 + max(2, _u16(data, at + 2)[0])
    return None


def _jpeg_resumes(data: bytes, at: int) -> int:
    """Find where the header goes on after a damaged application segment, which may contain a thumbnail."""
    end = min(len(data), at + 2 * _LONGEST_SEGMENT)
    place, known = at, set[int]()
    headers: list[tuple[int, int, int]] = []  # each one's place, area and the place of its scan
    thumbnail = closed = -1  # where the last one begins, and whether it has ended
    while (place := data.find(b"\xff", place + 1, end)) >= 0:
        follows = data[place + 1 : place + 2]
        if follows == b"\xd9":
            closed = place
        elif data[place - 1 : place] == b"\xd8" and data[place - 2 : place - 1] == b"\xff" and place - 2 >= at:
            thumbnail = place - 2
        if thumbnail > closed:
            continue
        found = _jpeg_header(data, place, known)
        # tables of the picture must not be skipped: decoders would take others
        if not found or 0xDB not in found or 0xC4 not in found:
            continue
        frames = [found[kind] for kind in found.keys() & _FRAMES]
        area = max((_u16(data, frame + 5)[0] * _u16(data, frame + 7)[0] for frame in frames), default=0)
        if area:
            headers.append((place, area, found[0xDA]))
    if not headers:
        raise _Unknown
    # the photo is larger than a thumbnail that has lost its beginning; if damage made that's size larger, scans tell
    until = [*(header[0] for header in headers[1:]), len(data)]
    scans = [
        len(data[scan:limit].partition(b"\xff\xd9")[0]) for (_, _, scan), limit in zip(headers, until, strict=True)
    ]
    largest = max(range(len(headers)), key=lambda number: headers[number][1])
    if scans[largest] < max(scans):
        raise TwoPhotos
    return headers[largest][0]


def _is_marker(data: bytes, at: int) -> bool:
    """Tell whether a segment begins here, or filling before one."""
    return (
        data[at : at + 1] == b"\xff"
        and at + 1 < len(data)
        and data[at + 1] >= 0xC0
        and not 0xD0 <= data[at + 1] <= 0xD9
    )


def _jpeg(data: bytes) -> Iterator[_Piece]:
    yield _Piece(data[:2])
    at, damaged = 2, 0
    while True:
        if at + 4 > len(data):
            raise _Unknown
        kind = data[at + 1] if data[at] == 0xFF else 0
        if kind == 0xFF:
            at += 1
            continue
        if kind == 0xDA:
            yield _Piece(data[at:])
            return
        odd = not _is_marker(data, at)
        skipped = odd or 0xE0 <= kind <= 0xEF or kind == 0xFE
        end = at + 2 + _u16(data, at + 2)[0]
        if skipped and (odd or not _is_marker(data, end)):
            end, damaged = _jpeg_resumes(data, at), damaged + 1
            if damaged > _MOST_DAMAGED:
                raise _Unknown
            if kind == 0xEE and data[at + 4 : at + 9] == b"Adobe":
                yield _Piece(b"\xff\xee\x00\x0e" + data[at + 4 : at + 16])
            yield _Piece(data[at:end], data[at + 4 : end])
        elif skipped and not _tells_colours(kind, data[at:end]):
            yield _Piece(data[at:end], data[at + 4 : end])
        else:
            yield _Piece(data[at:end])
        at = end


def _tells_colours(kind: int, segment: bytes) -> bool:
    """Tell whether decoders need an application segment to know how colours are stored."""
    return (kind == 0xE0 and segment[4:9] == b"JFIF\0" and len(segment) >= 18) or (
        kind == 0xEE and segment[4:9] == b"Adobe" and len(segment) >= 16
    )


def _png(data: bytes) -> Iterator[_Piece]:
    yield _Piece(data[:8])
    at, budget = 8, 8 * len(data)
    while at < len(data):
        end = _png_end(data, at)
        name = data[at + 4 : at + 8]
        if end is None and name in _PNG_PIXELS:
            yield _Piece(data[at:])  # damaged pixels stay as they are, for the decoder to refuse
            return
        if end is None:
            for found in _PNG_NEXT.finditer(data, at + 12):
                budget -= _u32(data, found.start() - 4)[0] % len(data) + 12
                if budget < 0 or _png_end(data, found.start() - 4) is not None:
                    break
            else:
                raise _Unknown
            if budget < 0:
                raise _Unknown
            end = found.start() - 4
            yield _Piece(data[at:end], data[at + 8 : end])
        elif name in _PNG_PIXELS:
            yield _Piece(data[at:end])
        else:
            yield _Piece(data[at:end], data[at + 8 : end - 4])
        at = end


def _png_end(data: bytes, at: int) -> int | None:
    """Return the end of a chunk; None if its checksum is wrong."""
    if at + 12 > len(data):
        return None
    end = int(at + 12 + _u32(data, at)[0])
    if end > len(data) or zlib.crc32(data[at + 4 : end - 4]) != _u32(data, end - 4)[0]:
        return None
    return end


def _webp(data: bytes) -> Iterator[_Piece]:
    at, pieces = 12, []
    pixels = False
    while at + 8 <= len(data):
        name, size = data[at : at + 4], _u32_little(data, at + 4)[0]
        end = at + 8 + size + size % 2
        if name in _WEBP_PIXELS:
            content = data[at:end]
            if name == b"VP8X":  # without the flags for a colour profile, Exif and XMP
                content = content[:8] + bytes([content[8] & ~0x2C & 0xFF]) + content[9:]
            pieces.append(_Piece(content))
            pixels = pixels or name in (b"VP8 ", b"VP8L", b"ANMF")
        else:
            if not pixels and data[end : end + 4] not in (*_WEBP_PIXELS, b"EXIF", b"XMP ", b"ICCP"):
                found = re.compile(rb"VP8 |VP8L|ALPH|ANIM").search(data, at + 8)
                if found is None:
                    raise _Unknown
                end = found.start()
            pieces.append(_Piece(data[at:end], data[at + 8 : end]))
        at = end
    kept = sum(len(piece.content) for piece in pieces if piece.metadata is None)
    yield _Piece(b"RIFF" + struct.pack("<I", kept + 4) + b"WEBP")
    yield from pieces


def _gif(data: bytes) -> Iterator[_Piece]:
    palette = 3 << ((data[10] & 7) + 1) if data[10] & 0x80 else 0
    at, damaged = 13 + palette, 0
    yield _Piece(data[:at])
    # a frame of the whole picture, or one with its control before it
    frame = re.compile(rb"(?=!\xf9\x04....\x00[,!]|,\x00{4}" + re.escape(data[6:10]) + rb")", re.DOTALL)
    while at < len(data) and data[at] != 0x2C:
        end = at + 2
        while end < len(data) and data[end]:
            end += 1 + data[end]
        end += 1
        if data[at] != 0x21 or data[end : end + 1] not in (b"!", b","):  # lengths are wrong
            damaged += 1
            if damaged > _MOST_DAMAGED or (found := frame.search(data, at + 1)) is None:
                raise _Unknown
            end = found.start()
        elif data[at + 1] == 0xF9:
            yield _Piece(data[at:end])
            at = end
            continue
        yield _Piece(data[at:end], data[at + 2 : end])
        at = end
    yield _Piece(data[at:])


def _jp2(data: bytes) -> Iterator[_Piece]:
    at = 0
    while at + 8 <= len(data):
        size, name = _u32(data, at)[0], data[at + 4 : at + 8]
        if name == b"jp2c":
            yield _Piece(data[at:])
            return
        end = at + size
        if name in _JP2_PIXELS and size >= 8:
            yield _Piece(data[at:end])
        else:
            if size < 8 or data[end + 4 : end + 8] not in _JP2_BOXES:
                end = data.find(b"jp2c", at) - 4
                if end < 0:
                    raise _Unknown
            yield _Piece(data[at:end], data[at + 8 : end])
        at = end
    raise _Unknown


def _boxes(data: bytes) -> Iterator[_Piece]:
    """Give the items of Exif and XMP in an AVIF or HEIC a type that no decoder knows; it is rotated by other boxes."""
    yield _Piece(re.sub(rb"(infe(?:\x02.{7}|\x03.{9}))(?:Exif|mime)", rb"\1free", data, flags=re.DOTALL))


def _tiff(data: bytes) -> Iterator[_Piece]:
    """Write a new directory of the entries that make the pixels, behind the file."""
    order = "<" if data[:2] == b"II" else ">"
    entry_size, count_of, offset_of, head = (20, "Q", "Q", 8) if data[2:4].strip(b"\0") == b"+" else (12, "H", "I", 4)
    [start] = struct.unpack_from(order + offset_of, data, head)
    [count] = struct.unpack_from(order + count_of, data, start)
    first = start + struct.calcsize(count_of)
    kept: dict[int, bytes] = {}
    for at in range(first, min(first + min(count, 4096) * entry_size, len(data) - entry_size + 1), entry_size):
        [tag] = struct.unpack_from(order + "H", data, at)
        if tag in _TIFF_PIXELS:
            kept.setdefault(tag, data[at : at + entry_size])
    place = len(data) + len(data) % 2
    yield _Piece(data[:head] + struct.pack(order + offset_of, place))
    yield _Piece(data[head + struct.calcsize(offset_of) :] + bytes(len(data) % 2))
    yield _Piece(struct.pack(order + count_of, len(kept)) + b"".join(kept[tag] for tag in sorted(kept)))
    yield _Piece(bytes(struct.calcsize(offset_of)))
    yield _Piece(b"", data)


def _cutter(data: bytes) -> Callable[[bytes], Iterator[_Piece]] | None:
    if data[:2] == b"\xff\xd8":
        return _jpeg
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        return _png
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return _webp
    if data[:4] == b"GIF8" and len(data) > 13:
        return _gif
    if data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return _tiff
    if data[4:12] == b"jP  \r\n\x87\n":
        return _jp2
    return _boxes if data[4:8] == b"ftyp" else None


def _pieces(data: bytes) -> list[_Piece]:
    cutter = _cutter(data)
    try:
        pieces = list(islice(cutter(data), _MOST_PIECES)) if cutter else []
        return pieces if len(pieces) < _MOST_PIECES else []
    except (_Unknown, IndexError, OverflowError, struct.error):  # an offset may have 64 bits
        return []


def without_metadata(data: bytes) -> bytes | None:
    """Leave out everything that does not make pixels.

    Parameters
    ----------
    data : bytes
        A photo.

    Returns
    -------
    bytes or None
        The same pixels, in the same format; None if nothing can be left out.

    Raises
    ------
    TwoPhotos
        If a damaged file holds two pictures, and nothing says which is the photo.
    """
    kept = b"".join(piece.content for piece in _pieces(data) if piece.metadata is None)
    return kept if kept and kept != data else None


def out_of_step(data: bytes) -> bool:
    """Tell whether a JPEG's segments do not follow one another, so that a decoder may take a thumbnail for the photo.

    Parameters
    ----------
    data : bytes
        A photo.

    Returns
    -------
    bool
        False for other formats, whose decoders refuse such a file.
    """
    return data[:2] == b"\xff\xd8" and _jpeg_header(data, 2) is None


def orientation(data: bytes) -> int:
    """Read how a photo is turned, from Exif or XMP, however damaged the rest of it is.

    Parameters
    ----------
    data : bytes
        A JPEG, PNG, WebP or TIFF. Other formats have no orientation in their metadata, or their decoders apply it.

    Returns
    -------
    int
        1 to 8 as in Exif; 1 if there is none.
    """
    held = [piece.metadata for piece in _pieces(data) if piece.metadata] if _cutter(data) is not _boxes else []
    return next((turn for turn in [*map(_of_exif, held), *map(_of_xmp, held)] if turn), 1)


def _of_exif(metadata: bytes) -> int:
    """Return the orientation in the first directory of a TIFF structure; 0 if there is none."""
    if not (found := _TIFF_HEADER.match(metadata)):
        return 0
    data = metadata[found.start(1) :]
    order = "<" if data[:2] == b"II" else ">"
    try:
        [start] = struct.unpack_from(order + "I", data, 4)
        [count] = struct.unpack_from(order + "H", data, start)
        for at in range(start + 2, start + 2 + 12 * count, 12):
            tag, kind, number = struct.unpack_from(order + "HHI", data, at)
            if tag == _ORIENTATION and 1 <= number <= 2 and kind in _WHOLE:
                [turn] = struct.unpack_from(order + _WHOLE[kind], data, at + 8)
                turn -= ord("0") * (kind == 2)
                return turn if 1 <= turn <= 8 else 0
    except (OverflowError, struct.error):
        pass
    return 0


def _of_xmp(metadata: bytes) -> int:
    ours = metadata.startswith((b"http://ns.adobe.com/xap/1.0/\0", b"XML:com.adobe.xmp\0", b"<"))
    return int(found[1]) if ours and (found := _XMP.search(metadata)) else 0
