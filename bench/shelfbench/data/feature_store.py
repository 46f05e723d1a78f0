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
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from shelfbench.base.console import Console
from shelfbench.base.errors import InputError
from shelfbench.base.storage import cache_dir, fingerprint, load_json, storage_errors, write_json, write_whole
from shelfbench.data.ahead import Decoding, decoded_ahead
from shelfbench.data.catalogue import DIGEST, Catalogue, ImageBytes, chunks, digest
from shelfbench.data.extractor import FeatureExtractor
from shelfbench.data.images import ImageSettings, heif_decoder, why_absent
from shelfbench.data.shards import SEGMENT_IMAGES, current_spread
from shelfbench.data.sources.places import bring_all
from shelfbench.data.view import view_for

STORE_VERSION = 1
# Of what is refused: an image that an older version or another set of decoders could not read is tried again.
READING_VERSION = 2
_EMPTY = np.frombuffer(digest(b""), DIGEST)[0]
# Errors that reading a damaged array or JSON file may raise.
_DAMAGED = (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, zlib.error)


def image_digests(catalogue: Catalogue, console: Console) -> np.ndarray:
    """Hash every image of a catalogue; the cache keeps the hashes as long as its files do not change.

    Parameters
    ----------
    catalogue : Catalogue
    console : Console

    Returns
    -------
    ndarray of V16, shape (images,)
    """
    images = catalogue.images
    identity = images.identity()
    kept = None
    if identity is not None:
        stats = [[str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns] for path in images.files]
        kept = cache_dir() / "digests" / f"{fingerprint([stats, identity.hex()])}.npz"
        if kept.exists():
            try:
                return _load_digests(kept, len(images))
            except _DAMAGED as error:
                console.warn(f"{kept} is damaged ({error}); hashing the images again")
    bring_all(images)
    result = np.empty(len(images), DIGEST)
    with console.progress(len(images), "hashing images") as bar:
        for part in chunks(np.arange(len(images)), 1024):
            result[part] = np.frombuffer(b"".join(map(digest, images.read(part))), DIGEST)
            bar.update(len(part))
    if kept is not None:
        write_whole(kept, lambda aside: _save_digests(aside, result))
    return result


def _load_digests(path: Path, count: int) -> np.ndarray:
    # opened here, because NumPy leaves a damaged file open
    with open(path, "rb") as handle, np.load(handle, allow_pickle=False) as stored:
        digests, checksum = stored["digests"], int(stored["checksum"])
    if digests.shape != (count,) or digests.dtype != DIGEST or zlib.crc32(digests.data) != checksum:
        raise ValueError("its checksum differs")
    return digests


def _save_digests(path: Path, digests: np.ndarray) -> None:
    with open(path, "wb") as handle:
        np.savez(handle, digests=digests, checksum=np.asarray(zlib.crc32(digests.data)))


def _save_array(path: Path, array: np.ndarray) -> None:
    with open(path, "wb") as handle:
        np.save(handle, array)


@dataclass(frozen=True, kw_only=True)
class Features:
    """Features of some images of a catalogue.

    Attributes
    ----------
    matrix : ndarray of float32, shape (images, dimensions)
        Rows of unreadable images (see `readable`) are zero.
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
        self._view = view_for(extractor, images.view)
        self.extractor, self.images, self.view = extractor, images, self._view
        self.key: dict[str, Any] = {
            "version": STORE_VERSION,
            "images": self._view.describe(images.describe()),
            "pixels": extractor.pixels,
            "dimensions": extractor.dimensions,
            "extractor": extractor.name,
            "settings": extractor.describe(),
        }
        self.folder = (root or cache_dir() / "features") / f"{extractor.name}-{fingerprint(self.key)}"

    def reading(self) -> str:
        """Name what decides which images are refused."""
        return _reading()

    def missing(self, contents: np.ndarray) -> np.ndarray:
        """Tell which contents the store lacks, without reading any features.

        Parameters
        ----------
        contents : ndarray of V16, shape (n,)
            Ascending, without duplicates.

        Returns
        -------
        ndarray of bool, shape (n,)
        """
        lacking = np.ones(len(contents), bool)
        for segment in self._segments() if len(contents) else ():
            position = np.minimum(np.searchsorted(contents, segment.digests), len(contents) - 1)
            found = contents[position] == segment.digests
            if segment.failures and segment.reading != _reading():
                refused = {bytes.fromhex(name) for name in segment.failures}
                found &= [value.tobytes() not in refused for value in segment.digests]
            lacking[position[found]] = False
        return lacking

    def _segments(self) -> list[_Segment]:
        found = []
        for meta in sorted(self.folder.glob("*.json")):
            if meta.name == "key.json":
                continue
            try:
                record = load_json(meta)
                digests = np.load(meta.with_suffix(".digests.npy"), allow_pickle=False)
                path = meta.with_suffix(".features.npy")
                if not path.exists() or zlib.crc32(digests.data) != record["digests_checksum"]:
                    raise ValueError("incomplete")
                kept = {name: record[name] for name in ("seconds", "checksum", "failures")}
                kept["reading"] = record.get("reading", "")
                found.append(_Segment(path=path, digests=digests, **kept))
            except _DAMAGED as error:
                self._console.warn(f"the features in {meta} are damaged ({error}); computing them again")
                meta.unlink(missing_ok=True)
        return found

    def _load(self, segment: _Segment) -> np.ndarray | None:
        """Read and verify a segment; remove it and return None if its contents have changed."""
        try:
            rows = np.load(segment.path, allow_pickle=False)
            if zlib.crc32(np.ascontiguousarray(rows).data) == segment.checksum and len(rows) == len(segment.digests):
                return rows
        except _DAMAGED:
            pass
        self._console.warn(f"the features in {segment.path} do not match their checksum; computing them again")
        segment.path.with_name(segment.path.name.replace(".features.npy", ".json")).unlink(missing_ok=True)
        return None

    def append(
        self, digests: np.ndarray, rows: np.ndarray, failures: dict[str, str], seconds: float, stem: str = ""
    ) -> None:
        """Write a segment; it exists once its record does, which is written last.

        Parameters
        ----------
        digests : ndarray of V16, shape (n,)
            Contents of the images.
        rows : ndarray of float32, shape (n, dimensions)
            Their features; zero for an image that has none.
        failures : dict of str to str
            Why an image has none, by its content in hexadecimal.
        seconds : float
            How long computing them took.
        stem : str
            Name of its files; by default one that is new.
        """
        self._write_key()
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

    def _compute(self, images: ImageBytes, missing: np.ndarray, digests: np.ndarray) -> None:
        """Compute the features of the images `missing` (ascending) and append them, one segment at a time."""
        extractor = self._extractor
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

    def _write_key(self) -> None:
        if not (self.folder / "key.json").exists():
            with storage_errors(self.folder):
                write_json(self.folder / "key.json", self.key)

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
        absent = np.flatnonzero(digests[indices] == _EMPTY)
        if len(absent):
            return self._around(absent, catalogue, indices, digests)
        spread = current_spread()
        elsewhere = 0 if spread is None else spread.compute(self, catalogue.images, indices, digests)
        wanted, first, inverse = np.unique(digests[indices], return_index=True, return_inverse=True)
        matrix = np.zeros((len(wanted), self._extractor.dimensions), np.float32)
        have = np.zeros(len(wanted), bool)
        failures: dict[str, str] = {}
        seconds = self._fill(wanted, matrix, have, failures)
        computed = int((~have).sum())
        if computed:
            self._compute(catalogue.images, np.sort(np.asarray(indices)[first[~have]]), digests)
            seconds += self._fill(wanted, matrix, have, failures)
        unreadable = (
            {
                position: failures[name]
                for position, name in enumerate(value.tobytes().hex() for value in wanted)
                if name in failures
            }
            if failures
            else {}
        )
        readable_wanted = np.ones(len(wanted), bool)
        readable_wanted[list(unreadable)] = False
        readable = readable_wanted[inverse]
        reasons = {int(i): unreadable[int(inverse[i])] for i in np.flatnonzero(~readable)}
        if len(wanted) == len(indices):  # no duplicates: reorder the rows without a second copy
            _permute_rows(matrix, inverse)
        else:
            matrix = matrix[inverse]
        return Features(
            matrix=matrix,
            readable=readable,
            reasons=reasons,
            seconds=seconds,
            computed=computed + elsewhere,
            cached=computed + elsewhere < len(wanted),
        )

    def _around(self, absent: np.ndarray, catalogue: Catalogue, indices: np.ndarray, digests: np.ndarray) -> Features:
        """Return features of images of which some have no bytes: each of those has a reason of its own."""
        present = np.setdiff1d(np.arange(len(indices)), absent)
        found = self.features(catalogue, indices[present], digests)
        matrix = np.zeros((len(indices), self._extractor.dimensions), np.float32)
        matrix[present] = found.matrix
        readable = np.zeros(len(indices), bool)
        readable[present] = found.readable
        reasons = {int(present[row]): reason for row, reason in found.reasons.items()}
        for part in chunks(absent, 1024):
            for row, data in zip(part.tolist(), catalogue.images.read(indices[part]), strict=True):
                reasons[row] = why_absent(data)
        return replace(found, matrix=matrix, readable=readable, reasons=reasons)

    def _fill(self, wanted: np.ndarray, matrix: np.ndarray, have: np.ndarray, failures: dict[str, str]) -> float:
        """Copy rows of the store into `matrix` where `have` is not yet set; return the seconds those rows once took."""
        seconds = 0.0
        for segment in self._segments() if len(wanted) else ():
            position = np.minimum(np.searchsorted(wanted, segment.digests), len(wanted) - 1)
            useful = (wanted[position] == segment.digests) & ~have[position]
            if segment.failures and segment.reading != _reading():
                refused = {bytes.fromhex(name) for name in segment.failures}
                useful &= [value.tobytes() not in refused for value in segment.digests]
            if not useful.any() or (rows := self._load(segment)) is None:
                continue
            matrix[position[useful]] = rows[useful]
            have[position[useful]] = True
            if segment.reading == _reading():
                failures.update(segment.failures)
            seconds += segment.seconds * float(useful.mean())
        return seconds


def _reading() -> str:
    """Name what decides which images are refused."""
    return f"{READING_VERSION} {heif_decoder()}"


def _permute_rows(matrix: np.ndarray, inverse: np.ndarray) -> None:
    """Reorder rows by a permutation in place, cycle by cycle: ``matrix[:] = matrix[inverse]``."""
    done = np.zeros(len(inverse), bool)
    for start in range(len(inverse)):
        if done[start]:
            continue
        held, at = matrix[start].copy(), start
        while inverse[at] != start:
            matrix[at] = matrix[inverse[at]]
            done[at] = True
            at = int(inverse[at])
        matrix[at] = held
        done[at] = True
