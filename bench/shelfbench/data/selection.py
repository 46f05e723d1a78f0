"""Features of the images that a run asks for, in one file, which is mapped into memory: made once, found again.

The feature store keeps images in the order in which they were computed, in many files. What reads features wants those
of its own images, in its own order, as one matrix. A selection is this matrix as a file, ``selections/HASH.npy`` of a
store, where HASH is that of the images' content in their order, with a record of its checksums beside it. It can be
made again from the store, so selections that nobody has used for a month are removed, and the least recently used ones
before that if the disk has no room for another.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import shutil
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np

from shelfbench.base.console import Console
from shelfbench.base.storage import load_json, storage_errors, write_json, write_whole
from shelfbench.base.using import used
from shelfbench.data.rows import IN_MEMORY, Rows

FOLDER = "selections"
# Days after which a selection that nobody has used is removed, and after which an unfinished file is a leftover.
UNUSED_DAYS, LEFT_DAYS = 30, 2
# Bytes that stay free on the disk when selections are removed to make room.
MARGIN = 1 << 30
VERSION = 1
# Bytes that share a checksum, about.
_CHECKED = 1 << 24
_DAY = 86400.0

Put = Callable[[np.ndarray, np.ndarray], None]
"""Writes some rows: their numbers in the matrix, and their values."""
Fill = Callable[[Put], tuple[float, dict[str, str]]]


@dataclass(frozen=True)
class Found:
    """A selection and what is known about it.

    Attributes
    ----------
    matrix : ndarray of float32, or Rows, shape (images, dimensions)
        Read-only if it is mapped.
    seconds : float
        How long computing its features took at the time.
    failures : dict of str to str
        Why images have no features, by the hash of their content.
    """

    matrix: np.ndarray
    seconds: float
    failures: dict[str, str] = field(default_factory=dict)


class Wanted:
    """The content of the images that are asked for: each of them once, and the rows where it goes.

    Parameters
    ----------
    digests : ndarray of V16, shape (n,)
    absent : bytes
        The digest of what has no content, which is not wanted.

    Attributes
    ----------
    first : ndarray of int64, shape (distinct,)
        A row of each content, in the order of the hashes.
    absent : ndarray of int64
        Rows without content, ascending.
    name : str
        Hash of all of it.
    """

    def __init__(self, digests: np.ndarray, absent: bytes) -> None:
        import hashlib

        digests = np.ascontiguousarray(digests)
        self.name = hashlib.sha256(digests.data).hexdigest()[:32]
        self.rows = len(digests)
        high, low = _halves(digests)
        nothing = _halves(np.frombuffer(absent, digests.dtype))
        missing = (high == nothing[0]) & (low == nothing[1])
        self.absent = np.flatnonzero(missing)
        order = np.lexsort((low, high))
        self._order = order[~missing[order]] if len(self.absent) else order
        high, low = high[self._order], low[self._order]
        new = np.ones(len(high), bool)
        new[1:] = (high[1:] != high[:-1]) | (low[1:] != low[:-1])
        starts = np.flatnonzero(new)
        self._high, self._low = high[starts], low[starts]
        self._ends = np.append(starts, len(high))
        self.first = self._order[starts]

    def __len__(self) -> int:
        return len(self.first)

    def find(self, digests: np.ndarray) -> np.ndarray:
        """Return the number of each of some hashes among those that are wanted; -1 for others."""
        if not len(self):
            return np.full(len(digests), -1)
        high, low = _halves(np.ascontiguousarray(digests))
        place = np.minimum(np.searchsorted(self._high, high), len(self) - 1)
        while True:  # two contents that share half of a hash stand side by side
            other = (self._high[place] == high) & (self._low[place] != low)
            other &= self._high[np.minimum(place + 1, len(self) - 1)] == high
            other &= place + 1 < len(self)
            if not other.any():
                break
            place[other] += 1
        return np.where((self._high[place] == high) & (self._low[place] == low), place, -1)

    def rows_of(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Find the rows of some contents.

        Parameters
        ----------
        numbers : ndarray of int64, shape (m,)

        Returns
        -------
        rows : ndarray of int64
        which : ndarray of int64
            For each row, the place in `numbers` of its content.
        """
        start, counts = self._ends[numbers], self._ends[numbers + 1] - self._ends[numbers]
        which = np.repeat(np.arange(len(numbers)), counts)
        within = np.arange(len(which)) - np.repeat(np.cumsum(counts) - counts, counts)
        return self._order[start[which] + within], which

    def among(self, failures: Mapping[str, str]) -> dict[str, str]:
        """Keep those failures, by the hash of a content (hexadecimal), that are of what is wanted."""
        return {name: failures[name] for name, number in self._numbers(failures) if number >= 0}

    def reasons(self, failures: Mapping[str, str]) -> dict[int, str]:
        """Tell for each row whose content has failed why, by the hash of the content (hexadecimal)."""
        known = [(number, failures[name]) for name, number in self._numbers(failures) if number >= 0]
        rows, which = self.rows_of(np.array([number for number, _ in known], np.int64))
        return {int(row): known[place][1] for row, place in sorted(zip(rows.tolist(), which.tolist(), strict=True))}

    def _numbers(self, names: Iterable[str]) -> list[tuple[str, int]]:
        names = list(names)
        found = self.find(np.frombuffer(b"".join(map(bytes.fromhex, names)), "V16"))
        return list(zip(names, found.tolist(), strict=True))


def _halves(digests: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the two halves of hashes as numbers, which NumPy sorts and compares much faster."""
    both = digests.view(">u8").reshape(-1, 2).astype(np.uint64)
    return both[:, 0], both[:, 1]


class Selections:
    """The selections of one store.

    Parameters
    ----------
    store : Path
        Its folder.
    dimensions : int
    kind : dtype
        In which its features are stored: float32 or float16.
    console : Console
    """

    def __init__(self, store: Path, dimensions: int, kind: Any, console: Console) -> None:
        self._folder, self._dimensions, self._kind, self._console = store / FOLDER, dimensions, np.dtype(kind), console

    def find(self, name: str, rows: int, reading: str) -> Found | None:
        """Open a selection that is there, and verify every byte of it.

        Parameters
        ----------
        name : str
            Hash of the images' content in their order.
        rows : int
        reading : str
            What decides which images cannot be read; a selection made with another one that lacks some is not taken.

        Returns
        -------
        Found or None
            None if there is none; one that is damaged is removed.
        """
        path, kept = self._paths(name)
        if not kept.exists():
            return None
        try:
            record = load_json(kept)
            if record["version"] != VERSION or (record["failures"] and record["reading"] != reading):
                return None
            failures = {str(key): str(why) for key, why in record["failures"].items()}
            found = Found(self._mapped(path, rows), float(record["seconds"]), failures)
            damage = "" if self._checksums(path) == record["checksums"] else "its checksum differs"
            with contextlib.suppress(OSError):  # of a cache that may only be read
                os.utime(kept)
            used(kept)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            damage = str(error)
        if damage:
            self._console.warn(f"the features in {path} are damaged ({damage}); they are gathered again")
            _remove(path, kept)
            return None
        return found

    def make(self, name: str, rows: int, reading: str, fill: Fill) -> Found:
        """Make a selection.

        Parameters
        ----------
        name : str
        rows : int
        reading : str
            See `find`.
        fill : callable
            Is given what writes rows, and returns the seconds that computing them took, and the failures. Rows that it
            does not write are zero.

        Returns
        -------
        Found

        Raises
        ------
        RunError, InputError
            If the disk is full or cannot be written to.
        """
        path, kept = self._paths(name)
        header = self._header(rows)
        size = len(header) + rows * self._dimensions * self._kind.itemsize
        self._make_room(size)
        told: list[tuple[float, dict[str, str]]] = []

        def write(aside: Path) -> None:
            with open(aside, "wb") as handle:
                _reserve(handle.fileno(), size)
                handle.write(header)
                handle.flush()
                told.append(fill(lambda at, values: self._put(handle.fileno(), len(header), at, values)))

        write_whole(path, write)
        seconds, failures = told[0]
        write_json(
            kept,
            {
                "version": VERSION,
                "seconds": seconds,
                "failures": failures,
                "reading": reading,
                "checksums": self._checksums(path),
            },
        )
        used(path)
        return Found(self._mapped(path, rows), seconds, failures)

    def _paths(self, name: str) -> tuple[Path, Path]:
        return self._folder / f"{name}.npy", self._folder / f"{name}.json"

    def _header(self, rows: int) -> bytes:
        written = io.BytesIO()
        what = {"descr": self._kind.str, "fortran_order": False, "shape": (rows, self._dimensions)}
        np.lib.format.write_array_header_1_0(written, what)
        return written.getvalue()

    def _put(self, handle: int, offset: int, at: np.ndarray, values: np.ndarray) -> None:
        """Write rows where they belong, neighbours together; nothing of it counts as this process's memory."""
        order = np.argsort(at, kind="stable")
        at, values = at[order], np.ascontiguousarray(values[order], self._kind)
        width = self._dimensions * self._kind.itemsize
        for start, end in _runs(at):
            write_at(handle, values[start:end].data.cast("B"), offset + int(at[start]) * width)

    def _mapped(self, path: Path, rows: int) -> np.ndarray:
        header = self._header(rows)
        size = len(header) + rows * self._dimensions * self._kind.itemsize
        with open(path, "rb") as handle:
            if os.fstat(handle.fileno()).st_size != size or handle.read(len(header)) != header:
                raise ValueError("it is not what was written")
        shape = (rows, self._dimensions)
        mapped = np.asarray(np.memmap(path, self._kind, "r", offset=len(header), shape=shape))
        return mapped if self._kind == np.float32 else cast(np.ndarray, Rows(mapped))

    @staticmethod
    def _checksums(path: Path) -> list[int]:
        """Sum up the bytes of a file, block by block."""
        buffer, found = memoryview(bytearray(_CHECKED)), []
        with open(path, "rb", buffering=0) as handle:
            while count := handle.readinto(buffer):
                found.append(zlib.crc32(buffer[:count]))
        return found

    def _make_room(self, size: int) -> None:
        """Remove what nobody uses any more and, if the disk needs it, the least recently used selections."""
        with storage_errors(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True)
        now = time.time()
        for left in self._folder.iterdir():
            unfinished = left.name.startswith(".partial-") or not left.with_suffix(".json").exists()
            if unfinished and now - _used(left) > LEFT_DAYS * _DAY:
                _remove(left)
        for age, record in sorted(((now - _used(path), path) for path in self._others()), reverse=True):
            if age <= UNUSED_DAYS * _DAY and shutil.disk_usage(self._folder).free >= size + MARGIN:
                break
            self._console.detail(f"the features in {record.with_suffix('.npy')} are removed to make room")
            _remove(record, record.with_suffix(".npy"))

    def _others(self) -> Iterator[Path]:
        """Records of the selections of all stores beside this one."""
        return self._folder.parent.parent.glob(f"*/{FOLDER}/*.json")


def in_memory(rows: int, dimensions: int, fill: Fill) -> Found:
    """Hold features in memory, as `Selections.make` keeps them on disk.

    Parameters
    ----------
    rows : int
    dimensions : int
    fill : callable
        See `Selections.make`.

    Returns
    -------
    Found
    """
    matrix = np.zeros((rows, dimensions), np.float32)
    return Found(matrix, *fill(matrix.__setitem__))


def small(rows: int, dimensions: int) -> bool:
    """Tell whether features are few enough to be held in memory."""
    return rows * dimensions * Rows.dtype.itemsize <= IN_MEMORY


def _runs(ascending: np.ndarray) -> Iterator[tuple[int, int]]:
    """Yield the places between which numbers follow one another without a gap."""
    edges = np.flatnonzero(np.diff(ascending) != 1) + 1
    return zip([0, *edges.tolist()], [*edges.tolist(), len(ascending)], strict=True) if len(ascending) else iter(())


def write_at(handle: int, data: memoryview, place: int) -> None:
    """Write bytes at a place of an open file.

    Parameters
    ----------
    handle : int
    data : memoryview
    place : int
        From the beginning of the file.
    """
    if not hasattr(os, "pwrite"):  # Windows
        os.lseek(handle, place, os.SEEK_SET)
        while data:
            data = data[os.write(handle, data) :]
        return
    while data:
        count = os.pwrite(handle, data, place)
        data, place = data[count:], place + count


def _reserve(handle: int, size: int) -> None:
    """Take the room on the disk before hours of work need it; where a file system cannot, only set the length."""
    os.ftruncate(handle, size)
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(handle, 0, size)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise


def _used(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return time.time()


def _remove(*paths: Path) -> None:
    for path in paths:
        try:
            path.unlink(missing_ok=True)
        except OSError:  # another system does not remove what someone has open
            continue
