"""Cdiscount's BSON as Kaggle published it: ``{_id, category_id, imgs: [{picture}]}`` with ``category_names.csv``.

One scan of the file builds an index of byte offsets (format: https://bsonspec.org/spec.html), kept in the user's
cache; pictures are then read by offset through a memory map, so memory grows with the index alone.
"""

from __future__ import annotations

import csv
import hashlib
import mmap
import struct
import zipfile
import zlib
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from bench.console import Console
from bench.data.catalogue import Catalogue, Category
from bench.errors import InputError
from bench.storage import cache_dir, fingerprint, storage_errors, write_whole

INDEX_VERSION = 1
# Bytes read through a memory map before its pages are given back.
RELEASE_BYTES = 1 << 24
# Bytes of the value by BSON type; None: a length in the value itself says it.
_FIXED = {0x01: 8, 0x06: 0, 0x07: 12, 0x08: 1, 0x09: 8, 0x0A: 0, 0x10: 4, 0x11: 8, 0x12: 8, 0x13: 16, 0x7F: 0, 0xFF: 0}
_int32 = struct.Struct("<i").unpack_from
_int64 = struct.Struct("<q").unpack_from


def _release(view: mmap.mmap) -> None:
    """Give back the pages read so far: the file keeps them, and resident memory does not grow with it."""
    if hasattr(view, "madvise") and hasattr(mmap, "MADV_DONTNEED"):
        view.madvise(mmap.MADV_DONTNEED)


class _BadDocument(Exception):
    """A document that is no product; the message says why."""


def _value_end(view: mmap.mmap, kind: int, at: int) -> int:
    if kind in _FIXED:
        return at + _FIXED[kind]
    if kind in (0x02, 0x0D, 0x0E):
        return at + 4 + _int32(view, at)[0]
    if kind in (0x03, 0x04):
        return at + _int32(view, at)[0]
    if kind == 0x05:
        return at + 5 + _int32(view, at)[0]
    raise _BadDocument(f"an element of BSON type 0x{kind:02x}, which no Cdiscount file holds")


def _elements(view: mmap.mmap, start: int, end: int) -> Iterator[tuple[int, bytes, int, int]]:
    """Yield (type, name, offset of the value, end of the value) of a document that fills [start, end)."""
    at, last = start + 4, end - 1
    if view[last] != 0:
        raise _BadDocument("a document that does not end in a zero byte")
    while at < last:
        kind = view[at]
        stop = view.find(b"\0", at + 1, last)
        if stop < 0:
            raise _BadDocument("an element without a name")
        value = stop + 1
        after = _value_end(view, kind, value)
        if after > last or after < value:
            raise _BadDocument("an element that runs past its document")
        yield kind, view[at + 1 : stop], value, after
        at = after


def _document_end(view: mmap.mmap, at: int, size: int) -> int:
    """Where the document that begins at a byte ends."""
    if size - at < 5:
        raise _BadDocument(f"{size - at} bytes left, too few for a document")
    length = _int32(view, at)[0]
    if length < 5:
        raise _BadDocument(f"a document of {length} bytes")
    if at + length > size:
        raise _BadDocument(f"the document needs {length} bytes and the file has {size - at} left")
    return at + length


def _integer(view: mmap.mmap, kind: int, at: int, name: str) -> int:
    if kind == 0x10:
        return _int32(view, at)[0]
    if kind == 0x12:
        return _int64(view, at)[0]
    raise _BadDocument(f"{name} is no integer")


def _product(view: mmap.mmap, start: int, end: int) -> tuple[int, int | None, list[tuple[int, int]]]:
    """Read one document: its id, its category (None in a test file) and (offset, length) of its pictures."""
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
                raise _BadDocument("imgs is no array")
            for item_kind, _, item, item_end in _elements(view, value, after):
                if item_kind != 0x03:
                    raise _BadDocument("an entry of imgs is no document")
                for field_kind, field_name, at, stop in _elements(view, item, item_end):
                    if field_name == b"picture":
                        if field_kind != 0x05:
                            raise _BadDocument("picture is no binary value")
                        pictures.append((at + 5, stop - at - 5))
    if identifier is None:
        raise _BadDocument("no _id")
    return identifier, category, pictures


def _scan(path: Path, truncated: str, console: Console) -> tuple[dict[str, np.ndarray], str]:
    """Index the file: arrays of products and images, and a note where its tail was given up."""
    # arrays, not lists: 8 bytes a number for the 12 million pictures of the whole file
    ids, categories, counts, offsets, lengths = (array("q") for _ in range(5))
    unlabelled = 0
    note = ""
    size = path.stat().st_size
    with (
        open(path, "rb") as handle,
        mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as view,
        console.progress(size, f"indexing {path.name}", "bytes") as bar,
    ):
        at = reported = 0
        while at < size:
            try:
                end = _document_end(view, at, size)
                identifier, category, pictures = _product(view, at, end)
            except (_BadDocument, struct.error) as error:
                problem = f"{path}: bad document at byte {at} (after {len(ids) + unlabelled} products): {error}"
                if truncated != "accept" or not ids:
                    hint = (
                        "--set dataset.truncated=accept uses the products before it"
                        if ids
                        else "is this Cdiscount's BSON?"
                    )
                    raise InputError(problem, f"fetch the file again, or {hint}" if ids else hint) from None
                note = problem + "; what came before it is used"
                break
            if category is None:
                unlabelled += 1
            else:
                ids.append(identifier)
                categories.append(category)
                counts.append(len(pictures))
                for offset, picture_length in pictures:
                    offsets.append(offset)
                    lengths.append(picture_length)
            at = end
            if at - reported > RELEASE_BYTES:
                _release(view)
                bar.update(at - reported)
                reported = at
    return {
        "product_id": np.asarray(ids, np.int64),
        "category": np.asarray(categories, np.int64),
        "count": np.asarray(counts, np.int32),
        "offset": np.asarray(offsets, np.int64),
        "length": np.asarray(lengths, np.int32),
        "unlabelled": np.asarray([unlabelled]),
    }, note


def read_products(path: Path) -> Iterator[tuple[int, tuple[bytes, ...]]]:
    """Read id and pictures of one product after the other, whether or not they have a category; nothing is indexed.

    Raises
    ------
    InputError
        If the file is empty, foreign or truncated; the offset of the first bad document is named.
    """
    size = path.stat().st_size
    if size == 0:
        raise InputError(f"{path} is empty", "fetch the file again")
    with open(path, "rb") as handle, mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as view:
        at = released = 0
        while at < size:
            try:
                end = _document_end(view, at, size)
                identifier, _, pictures = _product(view, at, end)
            except (_BadDocument, struct.error) as error:
                raise InputError(
                    f"{path}: bad document at byte {at}: {error}", "is this Cdiscount's BSON? if so, fetch it again"
                ) from None
            yield identifier, tuple(view[start : start + length] for start, length in pictures)
            at = end
            if at - released > RELEASE_BYTES:
                _release(view)
                released = at


def build_index(path: Path, truncated: str, console: Console) -> tuple[dict[str, np.ndarray], str]:
    """Give the index of a BSON file, from the cache where the file has not changed since.

    Parameters
    ----------
    path : Path
        The BSON file.
    truncated : {'refuse', 'accept'}
        What to do with a file whose tail cannot be read.
    console : Console

    Returns
    -------
    arrays : dict of ndarray
        ``product_id``, ``category``, ``count`` (one a product); ``offset``, ``length`` (one a picture, in bytes).
    note : str
        Where and why the tail was given up, or empty.

    Raises
    ------
    InputError
        If the file is empty, foreign or truncated; the offset of the first bad document is named.
    """
    stat = path.stat()
    if stat.st_size == 0:
        raise InputError(f"{path} is empty", "fetch the file again")
    key = fingerprint([INDEX_VERSION, str(path.resolve()), stat.st_size, stat.st_mtime_ns, truncated])
    kept = cache_dir() / "indexes" / f"{key}.npz"
    if kept.exists():
        try:
            with np.load(kept, allow_pickle=False) as stored:
                arrays = {name: stored[name] for name in stored.files}
            return arrays, str(arrays.pop("note"))
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
            console.warn(f"the index {kept} is damaged and is built again")
    arrays, note = _scan(path, truncated, console)

    def write(aside: Path) -> None:
        with open(aside, "wb") as handle:
            np.savez(handle, note=np.asarray(note), **arrays)  # type: ignore[arg-type]

    with storage_errors(kept):
        write_whole(kept, write)
    return arrays, note


class BSONImages:
    """Pictures by offset, through a memory map that is opened on first use in each process."""

    def __init__(self, path: Path, product_id: np.ndarray, offsets: np.ndarray, lengths: np.ndarray) -> None:
        self.files: tuple[Path, ...] = (path,)
        self._product_id, self._offsets, self._lengths = product_id, offsets, lengths
        self._view: mmap.mmap | None = None
        self._read = 0

    def __getstate__(self) -> dict:
        """Leave the memory map behind."""
        return {**self.__dict__, "_view": None}

    def __len__(self) -> int:
        """Count the pictures."""
        return len(self._offsets)

    def read(self, indices: Sequence[int] | np.ndarray) -> list[bytes]:
        """Read pictures by offset."""
        if self._view is None:
            with open(self.files[0], "rb") as handle:
                self._view = mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ)
        view = self._view
        pictures = [
            view[start : start + length]
            for start, length in zip(self._offsets[indices].tolist(), self._lengths[indices].tolist(), strict=True)
        ]
        self._read += sum(map(len, pictures))
        if self._read > RELEASE_BYTES:
            _release(view)
            self._read = 0
        return pictures

    def where(self, index: int) -> str:
        """Name the file, product and offset."""
        return f"{self.files[0].name}, product {self._product_id[index]}, picture at byte {self._offsets[index]}"

    def identity(self) -> bytes:
        """Hash the byte offsets."""
        return hashlib.sha256(self._offsets.tobytes()).digest()


def _read_names(path: Path) -> dict[int, tuple[str, str, str]]:
    names: dict[int, tuple[str, str, str]] = {}
    wanted = ["category_id", "category_level1", "category_level2", "category_level3"]
    try:
        with open(path, encoding="utf-8-sig", newline="") as handle:
            rows = csv.DictReader(handle)
            if not rows.fieldnames or any(name not in rows.fieldnames for name in wanted):
                raise InputError(
                    f"{path} has the columns {rows.fieldnames}, not {', '.join(wanted)}",
                    "use Kaggle's category_names.csv",
                )
            for row in rows:
                if any(row[name] is None for name in wanted):
                    raise InputError(
                        f"{path}, line {rows.line_num}: too few columns", "use Kaggle's category_names.csv"
                    )
                try:
                    names[int(row["category_id"])] = (
                        row["category_level1"],
                        row["category_level2"],
                        row["category_level3"],
                    )
                except (TypeError, ValueError):
                    raise InputError(
                        f"{path}, line {rows.line_num}: category_id {row['category_id']!r} is no integer",
                        "use Kaggle's category_names.csv",
                    ) from None
    except FileNotFoundError:
        raise InputError(f"{path} is missing", "put Kaggle's category_names.csv beside the BSON file") from None
    except (csv.Error, IsADirectoryError) as error:
        raise InputError(f"{path} cannot be read ({error})", "use Kaggle's category_names.csv") from None
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path} is not UTF-8 text ({error.reason} at byte {error.start})", "use Kaggle's category_names.csv"
        ) from None
    return names


def read_bson(path: Path, name: str, truncated: str, console: Console) -> Catalogue:
    """Read a catalogue from Cdiscount's BSON.

    Parameters
    ----------
    path : Path
        A ``*.bson`` file with ``category_names.csv`` beside it.
    name : str
        Name of the dataset, for messages.
    truncated : {'refuse', 'accept'}
        Whether the products before a bad tail may be used.
    console : Console

    Raises
    ------
    InputError
        If a file is missing, foreign or truncated, a product's category has no name, or its id is there twice.
    """
    names = _read_names(path.with_name("category_names.csv"))
    index, note = build_index(path, truncated, console)
    keep = index["count"] > 0
    ids, categories, counts = index["product_id"][keep], index["category"][keep], index["count"][keep]
    keys, codes = np.unique(categories, return_inverse=True)
    if len(missing := [key for key in keys.tolist() if key not in names]):
        product = ids[categories == missing[0]][0]
        raise InputError(
            f"{path}: product {product} has category {missing[0]}, which category_names.csv lacks",
            "use the category_names.csv that came with the file",
        )
    unique, first = np.unique(ids, return_index=True)
    if len(unique) != len(ids):
        twice = ids[np.setdiff1d(np.arange(len(ids)), first)[0]]
        raise InputError(f"{path}: product {twice} is there twice", "remove one of the two documents")
    image_product = np.repeat(np.arange(len(ids), dtype=np.int32), counts)
    notes = [note] if note else []
    if empty := int((~keep).sum()):
        notes.append(f"{empty} products without a picture are left out")
    return Catalogue(
        name=name,
        categories=tuple(Category(str(key), names[key][2], names[key][:2]) for key in keys.tolist()),
        product_id=ids,
        product_category=codes.astype(np.int32),
        image_product=image_product,
        images=BSONImages(path, ids[image_product], index["offset"], index["length"]),
        unlabelled=int(index["unlabelled"][0]),
        notes=tuple(notes),
    )
