"""Hashes of the content of a catalogue's images, which the cache keeps as long as its files do not change."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np

from shelfbench.base.arrays import load_arrays
from shelfbench.base.console import Console
from shelfbench.base.locking import waiting
from shelfbench.base.storage import cache_dir, fingerprint, write_whole
from shelfbench.base.using import used
from shelfbench.data.catalogue import DIGEST, Catalogue, ImageBytes, chunks, digest
from shelfbench.data.sources.places import bring_all


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
        if (found := _kept_digests(kept, len(images), console)) is not None:
            return found
        with waiting(kept, "the hashes of the same images", console) as waited:
            if waited and (found := _kept_digests(kept, len(images), console)) is not None:
                return found
            result = _hashed(images, console)
            write_whole(kept, lambda aside: _save_digests(aside, result))
            return result
    return _hashed(images, console)


def _kept_digests(kept: Path, count: int, console: Console) -> np.ndarray | None:
    """Read the hashes that the cache keeps; None if there are none, or they are damaged."""
    if not kept.exists():
        return None
    try:
        found = _load_digests(kept, count)
        used(kept)
        return found
    except (OSError, ValueError, KeyError, TypeError) as error:
        console.warn(f"{kept} is damaged ({error}); hashing the images again")
        return None


def _hashed(images: ImageBytes, console: Console) -> np.ndarray:
    bring_all(images)
    result = np.empty(len(images), DIGEST)
    with console.progress(len(images), "hashing images") as bar:
        for part in chunks(np.arange(len(images)), 1024):
            result[part] = np.frombuffer(b"".join(map(digest, images.read(part))), DIGEST)
            bar.update(len(part))
    return result


def _load_digests(path: Path, count: int) -> np.ndarray:
    stored = load_arrays(path)
    digests, checksum = stored["digests"], int(stored["checksum"])
    if digests.shape != (count,) or digests.dtype != DIGEST or zlib.crc32(digests.data) != checksum:
        raise ValueError("its checksum differs")
    return digests


def _save_digests(path: Path, digests: np.ndarray) -> None:
    with open(path, "wb") as handle:
        np.savez(handle, digests=digests, checksum=np.asarray(zlib.crc32(digests.data)))
