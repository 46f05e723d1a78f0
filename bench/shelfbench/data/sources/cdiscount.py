"""Cdiscount's BSON as Kaggle published it: ``{_id, category_id, imgs: [{picture}]}`` with ``category_names.csv``.

One scan of the file builds an index of byte offsets (format: https://bsonspec.org/spec.html), which the user's cache
keeps. Pictures are then read by offset through a memory map, so that only the index takes memory.
"""

from __future__ import annotations

import csv
import hashlib
import mmap
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from shelfbench.base.arrays import load_arrays
from shelfbench.base.console import Console
from shelfbench.base.errors import InputError
from shelfbench.base.locking import waiting
from shelfbench.base.storage import cache_dir, fingerprint, write_whole
from shelfbench.base.using import used
from shelfbench.data.catalogue import Absent, Catalogue, Category
from shelfbench.data.sources.bson_document import BadDocument, document_end, product
from shelfbench.data.sources.bson_index import release, scan
from shelfbench.data.sources.files import MOST_BYTES, too_large
from shelfbench.data.sources.products import Product
from shelfbench.data.sources.settings import DatasetSettings

INDEX_VERSION = 1
# The table of categories beside the BSON file.
NAMES = "category_names.csv"
# Bytes of pictures read through a memory map before its pages are released.
RELEASE_BYTES = 1 << 24
EMPTY = "an empty picture in the BSON file"


def products_in_bson(
    files: Sequence[Path], root: Path, several: bool, settings: DatasetSettings, console: Console
) -> Iterator[Product]:
    """Read one product after the other, without building an index (see `shelfbench.data.formats.Format`)."""
    for path in files:
        size = path.stat().st_size
        if size == 0:
            raise InputError(f"{path} is empty", "fetch the file again")
        with open(path, "rb") as handle, mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as view:
            at = released = 0
            while at < size:
                try:
                    end = document_end(view, at, size)
                    identifier, _, pictures = product(view, at, end)
                except (BadDocument, struct.error) as error:
                    raise InputError(
                        f"{path}: bad document at byte {at}: {error}", "is this Cdiscount's BSON? if so, fetch it again"
                    ) from None
                photos = tuple(_picture(view, start, length, settings.most) for start, length in pictures)
                yield Product(str(identifier), photos)
                at = end
                if at - released > RELEASE_BYTES:
                    release(view)
                    released = at


def build_index(path: Path, truncated: str, console: Console) -> tuple[dict[str, np.ndarray], str]:
    """Return the index of a BSON file, from the cache if the file has not changed.

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
        Per product: ``product_id``, ``category``, ``count``; per picture: ``offset``, ``length``, in bytes.
    note : str
        Where the readable part ends and why; empty if the whole file is read.

    Raises
    ------
    InputError
        If the file is empty, truncated or not Cdiscount's; the message names the offset of the first bad document.
    """
    stat = path.stat()
    if stat.st_size == 0:
        raise InputError(f"{path} is empty", "fetch the file again")
    key = fingerprint([INDEX_VERSION, str(path.resolve()), stat.st_size, stat.st_mtime_ns, truncated])
    kept = cache_dir() / "indexes" / f"{key}.npz"
    if (found := _kept_index(kept, console)) is not None:
        return found
    with waiting(kept, f"the index of {path.name}", console) as waited:
        if waited and (found := _kept_index(kept, console)) is not None:
            return found
        arrays, note = scan(path, truncated, console)

        def write(aside: Path) -> None:
            with open(aside, "wb") as handle:
                np.savez(handle, note=np.asarray(note), **arrays)  # type: ignore[arg-type]

        write_whole(kept, write)
    return arrays, note


def _kept_index(kept: Path, console: Console) -> tuple[dict[str, np.ndarray], str] | None:
    """Read the index that the cache keeps; None if there is none, or it is damaged."""
    if not kept.exists():
        return None
    try:
        arrays = load_arrays(kept)
        used(kept)
        return arrays, str(arrays.pop("note"))
    except (OSError, ValueError, KeyError):
        console.warn(f"the index {kept} is damaged; building it again")
        return None


def _picture(view: mmap.mmap, start: int, length: int, most: int) -> bytes:
    if length > most:
        return too_large(most)
    return view[start : start + length] or Absent(EMPTY)


class BSONImages:
    """Pictures by offset, through a memory map that each process opens on first use."""

    def __init__(
        self,
        path: Path,
        product_id: np.ndarray,
        offsets: np.ndarray,
        lengths: np.ndarray,
        most: int = MOST_BYTES,
    ) -> None:
        self._most = most
        self.files: tuple[Path, ...] = (path,)
        self._product_id, self._offsets, self._lengths = product_id, offsets, lengths
        self._view: mmap.mmap | None = None
        self._read = 0

    def __getstate__(self) -> dict[str, Any]:
        """Drop the memory map."""
        return {**self.__dict__, "_view": None}

    def __len__(self) -> int:
        """Return the number of pictures."""
        return len(self._offsets)

    def read(self, indices: Sequence[int] | np.ndarray) -> list[bytes]:
        """Read pictures by offset."""
        if self._view is None:
            with open(self.files[0], "rb") as handle:
                self._view = mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ)
        view = self._view
        pictures = [
            _picture(view, start, length, self._most)
            for start, length in zip(self._offsets[indices].tolist(), self._lengths[indices].tolist(), strict=True)
        ]
        self._read += sum(map(len, pictures))
        if self._read > RELEASE_BYTES:
            release(view)
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
                        f"{path}, line {rows.line_num}: category_id {row['category_id']!r} is not an integer",
                        "use Kaggle's category_names.csv",
                    ) from None
    except FileNotFoundError:
        raise InputError(f"{path} is missing", "put Kaggle's category_names.csv next to the BSON file") from None
    except (csv.Error, IsADirectoryError) as error:
        raise InputError(f"{path} cannot be read ({error})", "use Kaggle's category_names.csv") from None
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path} is not UTF-8 text ({error.reason} at byte {error.start})", "use Kaggle's category_names.csv"
        ) from None
    return names


def _category(key: int, name: tuple[str, str, str] | None) -> Category:
    """Return a category; one without a name is called by its id, and so is what is above it."""
    top, middle, own = name or (str(key),) * 3
    return Category(str(key), own, (top, middle))


def read_bson(path: Path, name: str, settings: DatasetSettings, console: Console) -> Catalogue:
    """Read a catalogue from Cdiscount's BSON.

    Parameters
    ----------
    path : Path
        A ``*.bson`` file with ``category_names.csv`` next to it.
    name : str
        Name of the dataset, for messages.
    settings : DatasetSettings
        What of a truncated file is used, and the largest picture.
    console : Console

    Returns
    -------
    Catalogue

    Raises
    ------
    InputError
        If a file is missing, truncated or not Cdiscount's, no category has a name, or an id occurs twice.
    """
    names = _read_names(path.with_name(NAMES))
    index, note = build_index(path, settings.truncated, console)
    keep = index["count"] > 0
    ids, categories, counts = index["product_id"][keep], index["category"][keep], index["count"][keep]
    keys, codes = np.unique(categories, return_inverse=True)
    sizes = np.bincount(codes, minlength=len(keys))
    nameless = [(int(key), int(size)) for key, size in zip(keys, sizes, strict=True) if int(key) not in names]
    if len(nameless) == len(keys):
        raise InputError(
            f"{path.with_name(NAMES)} has none of the {len(keys):,} categories of {path.name} (such as {keys[0]})",
            "use the category_names.csv that came with the file",
        )
    unique, first = np.unique(ids, return_index=True)
    if len(unique) != len(ids):
        twice = ids[np.setdiff1d(np.arange(len(ids)), first)[0]]
        raise InputError(f"{path}: product {twice} occurs twice", "remove one of the two documents")
    image_product = np.repeat(np.arange(len(ids), dtype=np.int32), counts)
    notes = [note] if note else []
    if empty := int((~keep).sum()):
        notes.append(f"skipped {empty:,} product{'s' if empty > 1 else ''} without a picture")
    if nameless:
        few = "1 category" if len(nameless) == 1 else f"{len(nameless):,} categories"
        listed = ", ".join(str(key) for key, _ in nameless[:3]) + (", ..." if len(nameless) > 3 else "")
        count = sum(size for _, size in nameless)
        notes.append(
            f"{few} ({listed}) of {count:,} product{'s' if count > 1 else ''} {'is' if len(nameless) == 1 else 'are'} "
            f"not in {NAMES} and shown by {'its id' if len(nameless) == 1 else 'their ids'}"
        )
    return Catalogue(
        name=name,
        categories=tuple(_category(key, names.get(key)) for key in keys.tolist()),
        product_id=ids,
        product_category=codes.astype(np.int32),
        image_product=image_product,
        images=BSONImages(path, ids[image_product], index["offset"], index["length"], settings.most),
        unlabelled=int(index["unlabelled"][0]),
        notes=tuple(notes),
    )
