"""Shards of features: the pieces of the work that any process, on any machine, can do, and do again.

The images that a run needs are cut where it does not depend on who computes, or on how much is there already. What the
store lacks of a piece becomes one segment of it, named after the contents of its images: a shard that is done twice is
there once. Whether one is done is to be seen in the store, whatever those who compute say.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from shelfbench.base.errors import InputError
from shelfbench.base.storage import load_json
from shelfbench.data.ahead import Decoding, decoded_ahead
from shelfbench.data.catalogue import ImageBytes, digest
from shelfbench.data.extractor import FeatureExtractor
from shelfbench.data.images import ImageSettings
from shelfbench.data.shard_watch import SET_ASIDE, Watch
from shelfbench.data.view import View

# Images per segment of the store: the most that an interruption can cost.
SEGMENT_IMAGES = 2048
# Few images are cut into so many shards, none smaller than this, so that several workers have something to do.
_SHARDS, _SMALLEST = 32, 64


class Store(Protocol):
    """What `shelfbench.data.feature_store.FeatureStore` offers to those who compute shards."""

    extractor: FeatureExtractor
    images: ImageSettings
    view: View
    key: dict[str, object]
    folder: Path

    def missing(self, contents: np.ndarray) -> np.ndarray:
        """Tell which contents (V16, each once) the store lacks."""

    def reading(self) -> str:
        """Name what decides which images are refused."""

    def append(
        self, digests: np.ndarray, rows: np.ndarray, failures: dict[str, str], seconds: float, stem: str
    ) -> None:
        """Write a segment; it exists once its record does, which is written last."""


class Pieces(Protocol):
    """Work in pieces that any process can do, and do again; each leaves a file. Must be picklable."""

    @property
    def name(self) -> str:
        """Say what is done, in a few words."""

    @property
    def count(self) -> int:
        """Count the pieces."""

    def compute(self, number: int) -> None:
        """Do a piece."""

    def done(self, number: int) -> bool:
        """Tell whether the file of a piece is there."""


class Spread(Protocol):
    """Computes missing features in other processes."""

    def compute(self, store: Store, images: ImageBytes, indices: np.ndarray, digests: np.ndarray) -> int:
        """Compute what a store lacks of some images; return how many images those were."""

    def share(self, pieces: Pieces, folder: Path) -> None:
        """Have pieces of other work done, through a file in a folder that workers see."""


_SPREAD: ContextVar[Spread | None] = ContextVar("spread", default=None)


@contextmanager
def spreading(spread: Spread) -> Iterator[None]:
    """Let all feature stores have their features computed elsewhere while the block runs.

    Parameters
    ----------
    spread : Spread

    Yields
    ------
    None
    """
    token = _SPREAD.set(spread)
    try:
        yield
    finally:
        _SPREAD.reset(token)


def current_spread() -> Spread | None:
    """Return what computes features in other processes, if anything does."""
    return _SPREAD.get()


@dataclass(frozen=True)
class Shard:
    """Images whose features become one segment.

    Attributes
    ----------
    stem : str
        Name of the segment's files.
    positions : ndarray of int64, shape (n,)
        Images of the catalogue, ascending.
    digests : ndarray of V16, shape (n,)
        Their contents.
    """

    stem: str
    positions: np.ndarray
    digests: np.ndarray


@dataclass(frozen=True)
class Part:
    """One of several parts of the work, as ``--shard 3/64`` names it.

    Attributes
    ----------
    number, of : int
        The third of 64 parts.
    """

    number: int
    of: int

    @classmethod
    def read(cls, text: str) -> Part:
        """Read it from text like ``3/64``."""
        number, slash, of = text.partition("/")
        if not (slash and number.isdecimal() and of.isdecimal() and len(text) < 20 and 1 <= int(number) <= int(of)):
            raise InputError(f"--shard is {text[:20]!r}", "give the part and the number of parts, like 3/64")
        return cls(int(number), int(of))

    def contains(self, piece: np.ndarray, pieces: int) -> np.ndarray:
        """Tell which of some pieces are in this part."""
        found: np.ndarray = piece * self.of // max(pieces, 1) == self.number - 1
        return found


def plan_shards(
    store: Store, indices: np.ndarray, digests: np.ndarray, part: Part | None = None
) -> tuple[list[Shard], int]:
    """Cut what a store lacks of some images into shards.

    Parameters
    ----------
    store : Store
    indices : ndarray of int
        Images of the catalogue, in any order.
    digests : ndarray of V16, shape (images of the catalogue,)
    part : Part, optional
        Only the shards of this part of the work.

    Returns
    -------
    list of Shard
    int
        How many images this part of the work has, computed or not; equal ones count once.
    """
    positions = np.unique(indices)
    _, first = np.unique(digests[positions], return_index=True)
    positions = positions[np.sort(first)]
    positions = positions[digests[positions] != np.frombuffer(digest(b""), digests.dtype)[0]]
    size = min(SEGMENT_IMAGES, max(_SMALLEST, -(-len(positions) // _SHARDS)))
    piece = np.arange(len(positions)) // size
    if part is not None:
        mine = part.contains(piece, -(-len(positions) // size))
        positions, piece = positions[mine], piece[mine]
    contents = digests[positions]
    lacking = store.missing(contents)
    shards = []
    for number in np.unique(piece[lacking]):
        low, high = np.searchsorted(piece, (number, number + 1))
        rows = low + np.flatnonzero(lacking[low:high])
        shards.append(Shard(_stem(contents[rows], store.reading()), positions[rows], contents[rows]))
    return shards, len(positions)


def _stem(contents: np.ndarray, reading: str) -> str:
    state = hashlib.sha256(f"shard 1 {reading}\0".encode())
    state.update(np.ascontiguousarray(contents).tobytes())
    return state.hexdigest()[:32]


def is_done(store: Store, shard: Shard) -> bool:
    """Tell whether the segment of a shard is in the store."""
    return (store.folder / f"{shard.stem}.json").exists()


def set_aside(store: Store, images: ImageBytes, shard: Shard) -> list[str]:
    """Name the photos of a shard that ended the processes that read them, each with the reason, as its segment says.

    Parameters
    ----------
    store : Store
    images : ImageBytes
    shard : Shard
        Whose segment is in the store.

    Returns
    -------
    list of str
    """
    try:
        failures = load_json(store.folder / f"{shard.stem}.json")["failures"]
        found = {name: str(why) for name, why in failures.items() if str(why).startswith(SET_ASIDE)}
    except (OSError, ValueError, LookupError, TypeError, AttributeError):  # damaged meanwhile: whoever reads it sees
        return []
    if not found:
        return []
    names = [value.tobytes().hex() for value in shard.digests]
    where = ((name, images.where(int(at))) for name, at in zip(names, shard.positions, strict=True) if name in found)
    return [f"{place} is set aside: {found[name]}" for name, place in where]


def compute_shard(
    store: Store,
    images: ImageBytes,
    shard: Shard,
    *,
    workers: int = 1,
    memory: int = 0,
    update: Callable[[int], object] = lambda count: None,
) -> bool:
    """Compute the features of a shard and write them as a segment of the store.

    If the process ends while it does so, the next one that computes the shard takes care where the first one was; a
    photo that ends its process three times is set aside as unreadable (`shelfbench.data.shard_watch`).

    Parameters
    ----------
    store : Store
    images : ImageBytes
    shard : Shard
    workers : int
        Threads that decode.
    memory : int
        Bytes that this process may use; 0 if that is not limited.
    update : callable
        Told how many more images are done.

    Returns
    -------
    bool
        Whether anything was computed; False if the segment was there.

    Raises
    ------
    InputError
        If the photos here are not those that were hashed.
    RunError
        If processes end again and again, and not because of single photos.
    """
    with Watch(store.folder, shard.stem, memory) as watch:
        if is_done(store, shard):
            return False
        extractor = store.extractor
        watch.before_photos()
        extractor.extract(np.full((1, extractor.pixels, extractor.pixels, 3), 255, np.uint8))
        started = time.perf_counter()
        rows = np.zeros((len(shard.positions), extractor.dimensions), np.float32)
        reasons = dict(watch.aside)
        checked = _Checked(images, shard)
        for batches in watch.batches(len(rows), extractor.batch):
            with closing(
                decoded_ahead(
                    checked,
                    batches,
                    Decoding(extractor.pixels, store.view, workers),
                    then=lambda batch, pixels, refused: (batch, pixels, refused),
                )
            ) as decoded:
                for batch, pixels, refused in decoded:
                    values = extractor.extract(pixels)
                    good = np.delete(batch, list(refused))
                    if values.shape != (len(good), extractor.dimensions):
                        raise InputError(
                            f"{extractor.name} returned features of shape {values.shape} for {len(good)} images",
                            f"it declares {extractor.dimensions} dimensions",
                        )
                    rows[good] = values
                    reasons.update({int(batch[row]): reason for row, reason in refused.items()})
                    watch.done(batch)
                    update(len(batch))
        update(len(watch.aside))
        failures = {shard.digests[row].tobytes().hex(): reason for row, reason in reasons.items()}
        with watch.writing():
            if is_done(store, shard):
                return False
            store.append(shard.digests, rows, failures, time.perf_counter() - started, shard.stem)
    return True


class _Checked:
    """The images of a shard by their rows, each checked to be the one that was hashed."""

    def __init__(self, images: ImageBytes, shard: Shard) -> None:
        self.files, self._images, self._shard = images.files, images, shard

    def __len__(self) -> int:
        return len(self._shard.positions)

    def read(self, indices: Sequence[int] | np.ndarray) -> list[bytes]:
        rows = np.asarray(indices, np.int64)
        found = self._images.read(self._shard.positions[rows])
        for row, data in zip(rows.tolist(), found, strict=True):
            if digest(data) != self._shard.digests[row].tobytes():
                what = "another photo than the run saw" if data else "missing"
                raise InputError(
                    f"{self.where(row)}: it is {what}",
                    "let every worker see the same data, at the same path, and leave them as they are during a run",
                )
        return found

    def where(self, index: int) -> str:
        return self._images.where(int(self._shard.positions[index]))

    def identity(self) -> None:
        return None
