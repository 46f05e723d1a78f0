"""The feature store: features are computed once per image, preprocessing, network and weights, and verified when read.

The cache has one folder per key, which contains everything that changes features apart from the image. The folder
consists of segments, which appear whole or not at all: the content hashes of their images, the features, and why some
images have none. A row is found by the hash of the encoded bytes, so any dataset, split or study that uses the same
image finds its features.

It is written by hand because general caches (joblib's, say) store one entry per call, not per image, and neither resume
within a call nor verify what they read.
"""

from __future__ import annotations

import time
import uuid
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from shelfbench.base.arrays import load_array
from shelfbench.base.console import Console
from shelfbench.base.errors import InputError, RunError
from shelfbench.base.locking import waiting
from shelfbench.base.storage import (
    cache_dir,
    file_stem,
    fingerprint,
    load_json,
    storage_errors,
    write_json,
    write_whole,
)
from shelfbench.base.using import used
from shelfbench.data.ahead import Decoding, decoded_ahead
from shelfbench.data.catalogue import DIGEST, Catalogue, ImageBytes, chunks, digest
from shelfbench.data.digests import image_digests as image_digests
from shelfbench.data.extractor import FeatureExtractor
from shelfbench.data.images import ImageSettings, heif_decoder, why_absent
from shelfbench.data.selection import Put, Selections, Wanted, in_memory, small
from shelfbench.data.shards import SEGMENT_IMAGES, current_spread
from shelfbench.data.view import view_for

STORE_VERSION = 1
# Of what is refused: an image that an older version or another set of decoders could not read is tried again.
READING_VERSION = 2
_EMPTY = np.frombuffer(digest(b""), DIGEST)[0]
# How often features are gathered, what is damaged being computed again each time.
_TRIES = 3
# Errors that reading a damaged array or JSON file may raise.
_DAMAGED = (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, zlib.error)


def _folder_name(name: str) -> str:
    """Name the folder of an extractor; one that is a path has its slashes replaced, which would lead elsewhere."""
    return file_stem(name) if "/" in name or "\\" in name else name


def _save_array(path: Path, array: np.ndarray) -> None:
    with open(path, "wb") as handle:
        np.save(handle, array)


@dataclass(frozen=True, kw_only=True)
class Features:
    """Features of some images of a catalogue.

    Attributes
    ----------
    matrix : ndarray of float32, shape (images, dimensions)
        Rows of unreadable images (see `readable`) are zero. If it is large, it stays on disk: a read-only view of a
        memory map, or `shelfbench.data.rows.Rows`.
    readable : ndarray of bool, shape (images,)
    reasons : dict of int to str
        Why an image is unreadable, by its row.
    seconds : float
        How long computing them took at the time, decoding included.
    computed : int
        How many distinct images were computed by this call.
    cached : bool
        Whether any features came from the store.
    """

    matrix: np.ndarray
    readable: np.ndarray
    reasons: dict[int, str]
    seconds: float
    computed: int
    cached: bool


@dataclass(kw_only=True)
class _Segment:
    """One file of the store and its index."""

    path: Path
    digests: np.ndarray
    seconds: float
    checksum: int
    failures: dict[str, str] = field(default_factory=dict)
    reading: str = ""


class FeatureStore:
    """Features on disk, for one extractor and one way to make images square.

    Parameters
    ----------
    extractor : FeatureExtractor
    images : ImageSettings
        The study's; an extractor with a `view` of its own is given photos in its own way.
    console : Console
    workers : int
        Threads that decode.
    root : Path, optional
        Folder of all stores; by default ``features`` in the user's cache.
    """

    def __init__(
        self,
        extractor: FeatureExtractor,
        images: ImageSettings,
        console: Console,
        workers: int,
        root: Path | None = None,
    ) -> None:
        self._extractor, self._console, self._workers = extractor, console, workers
        self._stored, self._computed = np.dtype(images.features), 0
        self._view = view_for(extractor, images.view)
        self.extractor, self.images, self.view = extractor, images, self._view
        self.key: dict[str, Any] = {
            "version": STORE_VERSION,
            "images": self._view.describe(images.describe()),
            "pixels": extractor.pixels,
            "dimensions": extractor.dimensions,
            "extractor": extractor.name,
            "settings": extractor.describe(),
            **({} if images.features == "float32" else {"stored": images.features}),
        }
        self.folder = (root or cache_dir() / "features") / f"{_folder_name(extractor.name)}-{fingerprint(self.key)}"

    def _segments(self) -> Iterator[_Segment]:
        used(self.folder)
        for meta in sorted(self.folder.glob("*.json")):
            if meta.name == "key.json" or meta.name.startswith("."):  # which is still being written
                continue
            try:
                record = load_json(meta)
                digests = load_array(meta.with_suffix(".digests.npy"))
                path = meta.with_suffix(".features.npy")
                if (
                    digests.dtype != DIGEST
                    or zlib.crc32(digests.data) != record["digests_checksum"]
                    or not path.exists()
                ):
                    raise ValueError("incomplete")
                kept = {name: record[name] for name in ("seconds", "checksum", "failures")}
                kept["reading"] = record.get("reading", "")
                found = _Segment(path=path, digests=digests, **kept)
            except _DAMAGED as error:
                self._console.warn(f"the features in {meta} are damaged ({error}); computing them again")
                meta.unlink(missing_ok=True)
                continue
            yield found

    def _load(self, segment: _Segment) -> np.ndarray | None:
        """Read and verify a segment; remove it and return None if its contents have changed."""
        try:
            rows = load_array(segment.path)
            fits = rows.shape == (len(segment.digests), self._extractor.dimensions) and rows.dtype == self._stored
            if fits and zlib.crc32(np.ascontiguousarray(rows).data) == segment.checksum:
                return rows
        except _DAMAGED:
            pass
        self._console.warn(f"the features in {segment.path} do not match their checksum; computing them again")
        segment.path.with_name(segment.path.name.replace(".features.npy", ".json")).unlink(missing_ok=True)
        return None

    def append(
        self, digests: np.ndarray, rows: np.ndarray, failures: dict[str, str], seconds: float, stem: str = ""
    ) -> None:
        """Write a segment, which exists once its record does; `stem` names its files, which by default are new ones."""
        self._write_key()
        rows = self._as_stored(rows)
        path = self.folder / (stem or uuid.uuid4().hex)
        write_whole(path.with_suffix(".features.npy"), lambda aside: _save_array(aside, rows))
        write_whole(path.with_suffix(".digests.npy"), lambda aside: _save_array(aside, digests))
        # last, because a segment exists as soon as its record does
        write_json(
            path.with_suffix(".json"),
            {
                "seconds": seconds,
                "images": len(digests),
                "failures": failures,
                "reading": _reading(),
                "checksum": zlib.crc32(rows.data),
                "digests_checksum": zlib.crc32(np.ascontiguousarray(digests).data),
            },
        )

    def _as_stored(self, rows: np.ndarray) -> np.ndarray:
        """Round features to the type in which they are stored; refuse to where they would become infinite."""
        with np.errstate(over="ignore"):
            rounded = rows.astype(self._stored, copy=False)
        if not np.array_equal(np.isfinite(rounded), np.isfinite(rows)):
            raise InputError(
                f"features of {self._extractor.name} reach {np.nanmax(np.abs(rows)):.3g}, too much for {self._stored}",
                "set images.features=float32",
            )
        return rounded

    def _compute(self, images: ImageBytes, missing: np.ndarray, digests: np.ndarray) -> None:
        """Compute the features of the images `missing` (ascending) and append them, one segment at a time."""
        extractor = self._extractor
        self._computed += len(missing)
        parts = list(chunks(missing, SEGMENT_IMAGES))
        # one stream over all segments, so that decoding continues while a segment is written
        decoded = decoded_ahead(
            images,
            (batch for part in parts for batch in chunks(part, extractor.batch)),
            Decoding(extractor.pixels, self._view, self._workers),
            then=lambda batch, pixels, reasons: (len(batch), pixels, reasons),
        )
        with self._console.progress(len(missing), f"features of {extractor.name}") as bar, closing(decoded):
            for part in parts:
                started = time.perf_counter()
                rows = np.zeros((len(part), extractor.dimensions), np.float32)
                failures: dict[str, str] = {}
                done = 0
                while done < len(part):
                    count, pixels, reasons = next(decoded)
                    where = np.arange(done, done + count)
                    done += count
                    good = np.setdiff1d(np.arange(count), list(reasons))
                    values = extractor.extract(pixels)
                    if values.shape != (len(good), extractor.dimensions):
                        raise InputError(
                            f"{extractor.name} returned features of shape {values.shape} for {len(good)} images",
                            f"it declares {extractor.dimensions} dimensions",
                        )
                    rows[where[good]] = values
                    failures.update({digests[part[where[i]]].tobytes().hex(): reason for i, reason in reasons.items()})
                    bar.update(count)
                self.append(digests[part], rows, failures, time.perf_counter() - started)

    def features(self, catalogue: Catalogue, indices: np.ndarray, digests: np.ndarray) -> Features:
        """Return the features of some images, computing those that the store lacks.

        Parameters
        ----------
        catalogue : Catalogue
        indices : ndarray of int, shape (n,)
            Images of the catalogue.
        digests : ndarray of V16, shape (images of the catalogue,)
            From `image_digests`.

        Returns
        -------
        Features

        Raises
        ------
        RunError, InputError
            If the cache cannot be written to.
        """
        self._write_key()
        indices = np.asarray(indices)
        wanted, dimensions = Wanted(digests[indices], _EMPTY.tobytes()), self._extractor.dimensions
        selections = Selections(self.folder, dimensions, self._stored, self._console)
        held = small(len(indices), dimensions)
        found = None if held else selections.find(wanted.name, len(indices), _reading())
        before = self._computed
        if found is None:
            if (spread := current_spread()) is not None:
                self._computed += spread.compute(self, catalogue.images, indices, digests)
            missing = wanted.first[~self._known(wanted)]
            if len(missing):
                self._share(wanted, missing, catalogue.images, indices, digests)
            fill = partial(self._gather, wanted, catalogue.images, indices, digests)
            found = (
                in_memory(len(indices), dimensions, fill)
                if held
                else selections.make(wanted.name, len(indices), _reading(), fill)
            )
        reasons = wanted.reasons(found.failures)
        for part in chunks(wanted.absent, 1024):
            for row, data in zip(part.tolist(), catalogue.images.read(indices[part]), strict=True):
                reasons[row] = why_absent(data)
        readable = np.ones(len(indices), bool)
        readable[list(reasons)] = False
        return Features(
            matrix=found.matrix,
            readable=readable,
            reasons=reasons,
            seconds=found.seconds,
            computed=self._computed - before,
            cached=self._computed - before < len(wanted),
        )

    def _write_key(self) -> None:
        if not (self.folder / "key.json").exists():
            with storage_errors(self.folder):
                write_json(self.folder / "key.json", self.key)
        used(self.folder)

    def reading(self) -> str:
        """Name what decides which images are refused."""
        return _reading()

    def missing(self, contents: np.ndarray) -> np.ndarray:
        """Tell which contents the store lacks, without reading any features; V16, each once, to bool."""
        wanted = Wanted(contents, _EMPTY.tobytes())
        lacking = np.zeros(len(contents), bool)
        lacking[wanted.first[~self._known(wanted)]] = True
        return lacking

    def _share(
        self, wanted: Wanted, missing: np.ndarray, images: ImageBytes, indices: np.ndarray, digests: np.ndarray
    ) -> None:
        """Compute what is missing, unless another process computes just the same: then wait for it."""
        what = f"the same features of {self._extractor.name}"
        with waiting(self.folder, what, self._console, digests[indices[missing]].tobytes()) as waited:
            if waited:
                missing = wanted.first[~self._known(wanted)]
            if len(missing):
                self._compute(images, np.sort(indices[missing]), digests)

    def _known(self, wanted: Wanted) -> np.ndarray:
        """Tell which contents the store has, without reading any features."""
        have = np.zeros(len(wanted), bool)
        for segment in self._segments() if len(wanted) else ():
            have[_useful(segment, wanted, have)[1]] = True
        return have

    def _gather(
        self, wanted: Wanted, images: ImageBytes, indices: np.ndarray, digests: np.ndarray, put: Put
    ) -> tuple[float, dict[str, str]]:
        """Put all rows where they belong, a segment at a time; return the seconds they once took, and the failures."""
        seconds, failures, have = 0.0, dict[str, str](), np.zeros(len(wanted), bool)
        for again in range(_TRIES):
            for segment in self._segments() if len(wanted) else ():
                rows, numbers = _useful(segment, wanted, have)
                if not len(rows) or (values := self._load(segment)) is None:
                    continue
                at, which = wanted.rows_of(numbers)
                put(at, values[rows[which]])
                have[numbers] = True
                if segment.reading == _reading():
                    failures.update(segment.failures)
                seconds += segment.seconds * len(rows) / len(segment.digests)
            if have.all():
                return seconds, wanted.among(failures)
            if again < _TRIES - 1:  # segments were damaged
                self._compute(images, np.sort(indices[wanted.first[~have]]), digests)
        raise RunError(
            f"the features that are written to {self.folder} are damaged as soon as they are read",
            "check the disk, or choose another one with SHELFBENCH_CACHE",
        )


def _useful(segment: _Segment, wanted: Wanted, have: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Find the rows of a segment that are wanted and not there yet, and their numbers among what is wanted."""
    number = wanted.find(segment.digests)
    useful = number >= 0
    useful[useful] = ~have[number[useful]]
    if segment.failures and segment.reading != _reading():
        refused = {bytes.fromhex(name) for name in segment.failures}
        useful &= [value.tobytes() not in refused for value in segment.digests]
    rows = np.flatnonzero(useful)
    return rows, number[rows]


def _reading() -> str:
    """Name what decides which images are refused."""
    return f"{READING_VERSION} {heif_decoder()}"
