"""Read one document of Cdiscount's BSON, whatever the order of its fields; the index must agree with this.

The format: https://bsonspec.org/spec.html.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Callable, Iterator

# Bytes of the value, by BSON type.
_FIXED = {0x01: 8, 0x06: 0, 0x07: 12, 0x08: 1, 0x09: 8, 0x0A: 0, 0x10: 4, 0x11: 8, 0x12: 8, 0x13: 16, 0x7F: 0, 0xFF: 0}
_int32: Callable[[mmap.mmap, int], tuple[int]] = struct.Struct("<i").unpack_from
_int64: Callable[[mmap.mmap, int], tuple[int]] = struct.Struct("<q").unpack_from


class BadDocument(Exception):
    """A document that is not a product; the message says why."""


def _value_end(view: mmap.mmap, kind: int, at: int) -> int:
    if kind in _FIXED:
        return at + _FIXED[kind]
    if kind in (0x02, 0x0D, 0x0E):
        return at + 4 + _int32(view, at)[0]
    if kind in (0x03, 0x04):
        return at + _int32(view, at)[0]
    if kind == 0x05:
        return at + 5 + _int32(view, at)[0]
    raise BadDocument(f"an element of BSON type 0x{kind:02x}, which no Cdiscount file contains")


def _elements(view: mmap.mmap, start: int, end: int) -> Iterator[tuple[int, bytes, int, int]]:
    """Yield (type, name, offset of the value, end of the value) of a document that fills [start, end)."""
    at, last = start + 4, end - 1
    if view[last] != 0:
        raise BadDocument("a document that does not end with a zero byte")
    while at < last:
        kind = view[at]
        stop = view.find(b"\0", at + 1, last)
        if stop < 0:
            raise BadDocument("an element without a name")
        value = stop + 1
        after = _value_end(view, kind, value)
        if after > last or after < value:
            raise BadDocument("an element that runs past its document")
        yield kind, view[at + 1 : stop], value, after
        at = after


def document_end(view: mmap.mmap, at: int, size: int) -> int:
    """Find the end of the document that begins at a byte.

    Parameters
    ----------
    view : mmap
        The file.
    at : int
        Where the document begins.
    size : int
        Size of the file.

    Returns
    -------
    int

    Raises
    ------
    BadDocument
        If the document's length is impossible.
    """
    if size - at < 5:
        raise BadDocument(f"only {size - at} bytes are left, too few for a document")
    length = _int32(view, at)[0]
    if length < 5:
        raise BadDocument(f"a document of {length} bytes")
    if at + length > size:
        raise BadDocument(f"the document needs {length} bytes, but the file has only {size - at} left")
    return at + length


def _integer(view: mmap.mmap, kind: int, at: int, name: str) -> int:
    if kind == 0x10:
        return _int32(view, at)[0]
    if kind == 0x12:
        return _int64(view, at)[0]
    raise BadDocument(f"{name} is not an integer")


def product(view: mmap.mmap, start: int, end: int) -> tuple[int, int | None, list[tuple[int, int]]]:
    """Read one document.

    Parameters
    ----------
    view : mmap
        The file.
    start : int
        Where the document begins.
    end : int
        Where it ends.

    Returns
    -------
    int
        Id.
    int or None
        Category; None in a test file.
    list of tuple of int
        Offset and length of each picture.

    Raises
    ------
    BadDocument
        If the document is not a product.
    """
    identifier: int | None = None
    category: int | None = None
    pictures: list[tuple[int, int]] = []
    for kind, name, value, after in _elements(view, start, end):
        if name == b"_id":
            identifier = _integer(view, kind, value, "_id")
        elif name == b"category_id":
            category = _integer(view, kind, value, "category_id")
        elif name == b"imgs":
            if kind != 0x04:
                raise BadDocument("imgs is not an array")
            for item_kind, _, item, item_end in _elements(view, value, after):
                if item_kind != 0x03:
                    raise BadDocument("an entry of imgs is not a document")
                for field_kind, field_name, at, stop in _elements(view, item, item_end):
                    if field_name == b"picture":
                        if field_kind != 0x05:
                            raise BadDocument("picture is not a binary value")
                        pictures.append((at + 5, stop - at - 5))
    if identifier is None:
        raise BadDocument("no _id")
    return identifier, category, pictures
