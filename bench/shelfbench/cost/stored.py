"""Which features of a study are in the feature store already, and why the others are not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from shelfbench.base.storage import load_json
from shelfbench.data.catalogue import DIGEST
from shelfbench.data.feature_store import FeatureStore

# At most so many differences from the nearest store are named.
_NAMED = 4
# Settings by which an extractor is known, before how it differs matters.
_SAID = {
    "pixels": "the size of the photos",
    "dimensions": "the number of features",
    "images.fit": "images.fit",
    "images.background": "images.background",
    "images.resample": "how photos are resized",
    "images.scaled": "images.scaled",
    "images.engine": "the decoder",
    "images.pillow": "Pillow",
    "images.version": "how photos are read",
    "version": "the layout of the store",
    "extractor": "the network",
    "settings.network": "the network",
    "settings.precision": "bottleneck.precision",
    "settings.pooling": "the pooling",
    "settings.preprocessing": "the preprocessing",
    "settings.weights.source": "the weights",
    "settings.weights.sha256": "the content of the weights",
    "settings.sha256": "the content of the network's file",
    "settings.framework.engine": "the engine",
    "settings.framework.engine_version": "the engine's version",
    "settings.framework.keras_version": "Keras",
    "settings.engine": "the engine",
}
# Said by another key as well.
_REPEATED = {"settings.pixels": "pixels", "settings.network": "extractor", "settings.dimensions": "dimensions"}


@dataclass(frozen=True, kw_only=True)
class Stored:
    """What the store has of the features of a study's photos.

    Attributes
    ----------
    there, images : int
        Photos with features, of all.
    sampled : int
        Photos that were looked up, where not all were hashed; 0 if all were.
    differs : tuple of str
        How the key differs from that of the nearest store, if none has these features.
    """

    there: int
    images: int
    sampled: int = 0
    differs: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Say it in words."""
        if self.there:
            about = f"about {self.there:,}" if self.sampled and self.there < self.images else f"{self.there:,}"
            every = "all" if self.there == self.images else f"{about} of"
            rest = "" if self.there == self.images else "; the rest are new"
            sample = f" (of a sample of {self.sampled:,})" if self.sampled else ""
            return f"{every} {self.images:,} photos are there{sample}{rest}"
        if not self.differs:
            return "none is there: this cache has none of this network"
        return f"none is there: the nearest that are differ in {'; '.join(self.differs)}"


def look(store: FeatureStore, digests: np.ndarray, images: int, *, whole: bool) -> Stored:
    """Count the photos whose features the store has.

    Parameters
    ----------
    store : FeatureStore
    digests : ndarray of V16, shape (n,)
        Hashes of the photos, or of a sample of them.
    images : int
        Of the study.
    whole : bool
        Whether `digests` are those of all photos.

    Returns
    -------
    Stored
    """
    found = int(np.count_nonzero(_among(digests, store.folder)))
    if not found and any(store.folder.glob("*.digests.npy")):
        return Stored(there=0, images=images, differs=("nothing but the photos themselves",))
    if not found:
        return Stored(there=0, images=images, differs=_differs(store))
    if whole:
        return Stored(there=images if found == len(digests) else found, images=images)
    return Stored(there=round(found / len(digests) * images), images=images, sampled=len(digests))


def _among(digests: np.ndarray, folder: Path) -> np.ndarray:
    """Tell which photos have features in a folder of the store; nothing is verified."""
    have = np.zeros(len(digests), bool)
    if not folder.is_dir():
        return have
    order = np.argsort(digests, kind="stable")
    sorted_digests = digests[order]
    for path in sorted(folder.glob("*.digests.npy")):
        try:
            rows = np.load(path, allow_pickle=False)
            if rows.dtype != DIGEST or not len(rows):
                continue
        except (OSError, ValueError, EOFError):  # the run will find out, and say so
            continue
        known = np.sort(rows)
        at = np.minimum(np.searchsorted(known, sorted_digests), len(known) - 1)
        have[order] |= known[at] == sorted_digests
    return have


def _differs(store: FeatureStore) -> tuple[str, ...]:
    """Say how the key of a store differs from that of the nearest store that has features of the same network."""
    own = dict(_flat(store.key))
    nearest: list[tuple[str, Any, Any]] | None = None
    for path in sorted(store.folder.parent.glob("*/key.json")):
        if path.parent == store.folder or not any(path.parent.glob("*.digests.npy")):
            continue
        try:
            other = dict(_flat(load_json(path)))
        except (OSError, ValueError):
            continue
        if other.get("extractor") != own.get("extractor"):
            continue
        parts = [(key, own.get(key), other.get(key)) for key in {**own, **other} if own.get(key) != other.get(key)]
        parts = [part for part in parts if _REPEATED.get(part[0]) not in {key for key, *_ in parts}]
        if nearest is None or len(parts) < len(nearest):
            nearest = parts
    if nearest is None:
        return ()
    said = [_difference(*part) for part in nearest]
    more = len(said) - _NAMED
    return (*said[:_NAMED], *([f"{more} more"] if more > 0 else ()))


def _flat(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, part in value.items():
        if isinstance(part, Mapping):
            yield from _flat(part, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", part


def _difference(key: str, here: Any, there: Any) -> str:
    name = _SAID.get(key, key.removeprefix("settings."))
    return name if key.endswith("sha256") else f"{name} ({_short(there)} there, {_short(here)} here)"


def _short(value: Any) -> str:
    if value is None:
        return "not set"
    text = str(value)
    return text if len(text) <= 40 else f"{text[:39]}…"
