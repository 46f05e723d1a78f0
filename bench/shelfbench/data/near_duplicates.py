"""Products that have the same photo, or nearly the same, in different parts of the split.

A photo is shrunk to 32 x 32 pixels and kept as its low frequencies (`shelfbench.data.fingerprint`). Whether each of the
lowest 8 x 8 is above their median makes up the 64 bits of the usual perceptual hash (pHash), which only proposes pairs,
because white photos of shoes share too many of its bits. Proposed pairs are verified on all 384 numbers. Mirrored
copies are sought in the same way, with the signs changed that a mirror changes. Brighter, darker and cropped copies are
proposed by `shelfbench.data.twin_candidates` and verified by `shelfbench.data.twin_alignment`.

Of 100 copies that are recompressed, resized, mirrored, brighter or darker by up to 10%, or cropped by 5% of the width
and height, at least 95 are found; ``results/decisions/near_duplicates.csv`` has the counts. Copies that are rotated,
cropped by much more, altered in two of these ways at once, recoloured or put on another background are not all found.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from shelfbench.base.console import Console
from shelfbench.data.catalogue import chunks
from shelfbench.data.feature_store import FeatureStore
from shelfbench.data.fingerprint import BRIGHTNESS, MIRROR, Fingerprint
from shelfbench.data.images import ImageSettings
from shelfbench.data.material import Material
from shelfbench.data.rows import blocks_of, rows_of
from shelfbench.data.split import ROLES
from shelfbench.data.twin_alignment import same_but_brightness, same_but_cropped
from shelfbench.data.twin_candidates import neighbours

HASHED = 8
# Two photos are twins if their hashes differ in at most BITS bits and the shrunk photos by at most DIFFERENCE levels of
# 255 (root mean square) and by at most RELATIVE of the weaker contrast. The limits were chosen on the `fashion`
# catalogue without its shoes, on which they are tested: wide enough for recompressed and shrunk copies, narrow enough
# to keep apart different things in the same pose, such as dark wallets (DIFFERENCE) and white blouses (RELATIVE).
BITS, DIFFERENCE, RELATIVE = 5, 3.5, 0.1
# If at most BITS bits differ in BANDS bands, then at least one band differs by at most one bit (5 < 2 * 3).
BANDS = 3
_QUERIES, _PAIRS, _VERIFIED = 8192, 1 << 21, 1 << 13

# What was done to a copy; nothing in particular to one that is exact, recompressed or resized.
CHANGES = ("", "mirrored", "brightness", "cropped")

COLUMNS = (
    "product_id",
    "split",
    "role",
    "twin_product_id",
    "twin_split",
    "twin_role",
    "kind",
    "change",
    "distance",
    "label_differs",
)


def perceptual_hashes(fingerprints: np.ndarray) -> np.ndarray:
    """Compute the perceptual hash (pHash) of every photo, as `imagehash.phash` does.

    Parameters
    ----------
    fingerprints : ndarray of float32, shape (n, 384)
        From `Fingerprint.extract`.

    Returns
    -------
    ndarray of uint64, shape (n,)
        The first bit is the most significant.
    """
    hashes: np.ndarray = np.empty(len(fingerprints), np.uint64)
    for rows in blocks_of(fingerprints):
        hashes[rows] = _hashes(fingerprints[rows])
    return hashes


def _hashes(fingerprints: np.ndarray) -> np.ndarray:
    low = fingerprints[:, : BRIGHTNESS**2].reshape(-1, BRIGHTNESS, BRIGHTNESS)[:, :HASHED, :HASHED].astype(np.float64)
    # pHash is defined on the unnormalised transform, whose first row and column are larger by the square root of 2
    scale = np.where(np.arange(HASHED) == 0, np.sqrt(2), 1.0)
    low = (low * scale * scale[:, None]).reshape(len(low), HASHED**2)
    bits = low > np.median(low, axis=1, keepdims=True)
    return np.packbits(bits, axis=1).view(">u8").ravel().astype(np.uint64)


@dataclass(frozen=True)
class Pairs:
    """Pairs of photos that look the same.

    Attributes
    ----------
    first, second : ndarray of int64, shape (pairs,)
        Rows of the fingerprints, sorted by `first`, then `second`.
    distance : ndarray of float32, shape (pairs,)
        Root mean square difference of the shrunk photos, in levels of 255, after the change is undone.
    """

    first: np.ndarray
    second: np.ndarray
    distance: np.ndarray


def near_pairs(fingerprints: np.ndarray, queries: np.ndarray, mirrored: bool = False) -> Pairs:
    """Find near-duplicates of some photos among all photos.

    Parameters
    ----------
    fingerprints : ndarray of float32, shape (n, 384)
    queries : ndarray of int64, shape (m,)
        Ascending rows of `fingerprints`.
    mirrored : bool
        Whether to seek mirrored copies, and no others.

    Returns
    -------
    Pairs
        A pair of two queries appears in both directions.

    Notes
    -----
    Multi-index hashing (Norouzi, Punjani and Fleet, 2012): each band of a hash is looked up as it is and with one bit
    changed, so that no photo is compared with all others.
    """
    found = [Pairs(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32))]
    if len(queries):
        hashes = perceptual_hashes(fingerprints)
        sought = hashes[queries]
        if mirrored:
            parts = [perceptual_hashes(fingerprints[rows] * MIRROR) for rows in chunks(queries, _QUERIES)]
            sought = np.concatenate(parts)
        contrast: np.ndarray = np.empty(len(fingerprints), np.float32)
        for rows in blocks_of(fingerprints):
            bright = fingerprints[rows, 1 : BRIGHTNESS**2]
            contrast[rows] = np.sqrt(np.einsum("ij,ij->i", bright, bright))
        for first, second in _candidates(hashes, queries, sought):
            found += _verified(fingerprints, contrast, (first, second), MIRROR if mirrored else None)
    return Pairs(*(np.concatenate([getattr(part, name) for part in found]) for name in ("first", "second", "distance")))


def altered_pairs(fingerprints: np.ndarray, queries: np.ndarray, workers: int = 1) -> dict[str, Pairs]:
    """Find copies of some photos among all photos that are mirrored, brighter, darker or cropped.

    Parameters
    ----------
    fingerprints : ndarray of float32, shape (n, 384)
    queries : ndarray of int64, shape (m,)
        Ascending rows of `fingerprints`.
    workers : int
        Threads that verify.

    Returns
    -------
    dict of str to Pairs
        By what was done, of `CHANGES`. Some of these pairs are near without it, too.
    """
    first, second, spread = neighbours(fingerprints, queries)
    parts = [slice(begin, begin + _VERIFIED) for begin in range(0, len(first), _VERIFIED)]
    found = {"mirrored": near_pairs(fingerprints, queries, mirrored=True)}

    def left(part: slice) -> tuple[np.ndarray, np.ndarray]:
        a, b = fingerprints[first[part]], fingerprints[second[part]]
        return same_but_brightness(a, b, spread[part]), same_but_cropped(a, b, spread[part])

    with ThreadPoolExecutor(workers) as pool:
        verified = list(pool.map(left, parts))
    for number, change in enumerate(("brightness", "cropped")):
        distance = np.concatenate([np.empty(0, np.float32), *(part[number] for part in verified)])
        same = np.isfinite(distance)
        found[change] = Pairs(first[same], second[same], distance[same])
    return found


def _bands(hashes: np.ndarray) -> list[np.ndarray]:
    """Take every third bit: neighbouring frequencies are alike in shops' photos and would fill only a few buckets."""
    bands = []
    for start in range(BANDS):
        band = np.zeros_like(hashes)
        for place, bit in enumerate(range(start, HASHED**2, BANDS)):
            band |= ((hashes >> np.uint64(bit)) & np.uint64(1)) << np.uint64(place)
        bands.append(band)
    return bands


def _candidates(hashes: np.ndarray, queries: np.ndarray, sought: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield pairs whose hashes differ from those sought in at most `BITS` bits, one block of queries at a time."""
    tables = []
    for start, band in enumerate(_bands(hashes)):
        order = np.argsort(band, kind="stable")
        width = len(range(start, HASHED**2, BANDS))
        changes = np.append(np.uint64(0), np.uint64(1) << np.arange(width, dtype=np.uint64))
        tables.append((band[order], order, changes))
    for begin in range(0, len(queries), _QUERIES):
        block, wanted = queries[begin : begin + _QUERIES], sought[begin : begin + _QUERIES]
        keys = [np.empty(0, np.int64)]
        for band, (ordered, order, changes) in zip(_bands(wanted), tables, strict=True):
            probes = (band[:, None] ^ changes).ravel()
            low = np.searchsorted(ordered, probes, "left")
            counts = np.searchsorted(ordered, probes, "right") - low
            row = np.repeat(np.arange(len(block)), len(changes))
            for part in _parts(counts):
                asking = np.repeat(row[part], counts[part])
                within = np.arange(len(asking)) - np.repeat(np.cumsum(counts[part]) - counts[part], counts[part])
                second = order[np.repeat(low[part], counts[part]) + within]
                near = (np.bitwise_count(wanted[asking] ^ hashes[second]) <= BITS) & (block[asking] != second)
                keys.append(block[asking[near]] * len(hashes) + second[near])
        together = np.unique(np.concatenate(keys))
        yield together // len(hashes), together % len(hashes)


def _parts(counts: np.ndarray) -> Iterator[slice]:
    """Cut the lookups so that each part yields about `_PAIRS` pairs."""
    total = np.cumsum(counts)
    begin = 0
    while begin < len(counts):
        before = total[begin - 1] if begin else 0
        end = max(begin + 1, int(np.searchsorted(total, before + _PAIRS, "right")))
        yield slice(begin, end)
        begin = end


def _verified(
    fingerprints: np.ndarray, contrast: np.ndarray, pairs: tuple[np.ndarray, np.ndarray], mirror: np.ndarray | None
) -> list[Pairs]:
    """Keep the candidates that look the same, or do so in a mirror."""
    found = []
    first, second = pairs
    for begin in range(0, len(first), _VERIFIED):
        a, b = first[begin : begin + _VERIFIED], second[begin : begin + _VERIFIED]
        change = (fingerprints[a] if mirror is None else fingerprints[a] * mirror) - fingerprints[b]
        distance = np.sqrt(np.einsum("ij,ij->i", change, change))
        same = distance <= np.minimum(DIFFERENCE, RELATIVE * np.minimum(contrast[a], contrast[b]))
        found.append(Pairs(a[same], b[same], distance[same]))
    return found


@dataclass(frozen=True)
class Twins:
    """Twins across the parts of a split.

    Attributes
    ----------
    frame : DataFrame
        ``near_duplicates.parquet``: one row for every product of tune, certify or test and every earlier part (in the
        order train, tune, certify, test) that contains a twin of it. Columns: product_id, split, role; twin_product_id,
        twin_split and twin_role of the closest twin there; kind (``exact`` for equal bytes, else ``near``); change (of
        `CHANGES`: what sets the photos apart, if it is known); distance (levels of 255, the change undone);
        label_differs (whether any of its twins there has another category).
    unreadable : int
        How many photos could not be compared.
    """

    frame: pd.DataFrame
    unreadable: int

    def record(self) -> dict[str, Any]:
        """Count for ``run.json`` how many products of a part have a twin in an earlier part.

        Returns
        -------
        dict
            ``products_with_a_twin``: by pair of parts, like ``test in train``, how many are ``exact`` and ``near``, and
            ``label_differs``; of the near ones, how many are changed (the last of `CHANGES`; earlier records lack
            them). ``images_not_compared``: a count.
        """
        counts = {
            f"{role} in {twin_role}": {
                "exact": int((part["kind"] == "exact").sum()),
                "near": int((part["kind"] == "near").sum()),
                **{change: int((part["change"] == change).sum()) for change in CHANGES[1:]},
                "label_differs": int(part["label_differs"].sum()),
            }
            for (role, twin_role), part in self.frame.groupby(["role", "twin_role"], sort=False)
        }
        return {"products_with_a_twin": counts, "images_not_compared": self.unreadable}


def fingerprint_store(workers: int, console: Console) -> FeatureStore:
    """Return the store of the fingerprints that near-duplicates are sought by."""
    return FeatureStore(Fingerprint(), ImageSettings(fit="stretch"), console, workers)


def find_twins(material: Material, digests: np.ndarray, workers: int, console: Console) -> Twins:
    """Find the products of tune, certify and test that have a twin in an earlier part of the split.

    Parameters
    ----------
    material : Material
    digests : ndarray of V16, shape (images of the catalogue,)
        From `shelfbench.data.feature_store.image_digests`.
    workers : int
        Threads that decode and verify.
    console : Console

    Returns
    -------
    Twins

    Raises
    ------
    RunError, InputError
        If the cache cannot be written to.
    """
    store = fingerprint_store(workers, console)
    _, first, code = np.unique(digests[material.image], return_index=True, return_inverse=True)
    features = store.features(material.catalogue, material.image[first], digests)
    readable = np.flatnonzero(features.readable)
    held_out = np.unique(code[(material.frame["role"] != ROLES[0]).to_numpy()[material.owner]])
    place = np.cumsum(features.readable) - 1
    queries = place[held_out[features.readable[held_out]]]
    matrix = features.matrix if features.readable.all() else rows_of(features.matrix, readable)
    itself = Pairs(queries, queries, np.zeros(len(queries), np.float32))
    # in the order in which they are preferred: what is near as it is needs no change to explain it
    altered = altered_pairs(matrix, queries, workers)
    found = [itself, near_pairs(matrix, queries), *(altered[change] for change in CHANGES[1:])]
    links = pd.DataFrame(
        {
            "image": readable[np.concatenate([pairs.first for pairs in found])],
            "twin_image": readable[np.concatenate([pairs.second for pairs in found])],
            "distance": np.concatenate([pairs.distance for pairs in found]),
            "order": np.repeat(np.arange(len(found)), [len(pairs.first) for pairs in found]),
        }
    )
    return Twins(_by_product(material, code, links), int((~features.readable[code]).sum()))


def _by_product(material: Material, code: np.ndarray, links: pd.DataFrame) -> pd.DataFrame:
    """Turn pairs of photos into the closest twin of every product in every earlier part."""
    frame = material.frame
    role = np.array([ROLES.index(name) for name in frame["role"]], np.int8)
    category = pd.factorize(frame["category"])[0]
    shown = pd.DataFrame({"image": code, "product": material.owner}).drop_duplicates()
    shown["role"], shown["category"] = role[shown["product"]], category[shown["product"]]
    # one row per photo and part, however many products show it
    there = shown.groupby(["image", "role"], as_index=False).agg(
        twin=("product", "min"), lowest=("category", "min"), highest=("category", "max")
    )
    links = links[links["image"].isin(shown["image"])]
    found = (
        shown[shown["role"] > 0]
        .merge(links, on="image")
        .merge(there.rename(columns={"image": "twin_image", "role": "twin_role"}), on="twin_image")
    )
    found = found[found["twin_role"] < found["role"]]
    found["label_differs"] = (found["lowest"] != found["category"]) | (found["highest"] != found["category"])
    found = found.sort_values(["product", "twin_role", "order", "distance", "twin"], kind="stable")
    groups = found.groupby(["product", "twin_role"])
    closest = groups.first().reset_index()
    own, twin = frame.iloc[closest["product"]], frame.iloc[closest["twin"]]
    return pd.DataFrame(
        {
            "product_id": own["product_id"].to_numpy(),
            "split": own["split"].to_numpy(),
            "role": own["role"].to_numpy(),
            "twin_product_id": twin["product_id"].to_numpy(),
            "twin_split": twin["split"].to_numpy(),
            "twin_role": twin["role"].to_numpy(),
            "kind": np.where(closest["order"] > 0, "near", "exact"),
            "change": np.array(("", *CHANGES))[closest["order"]],
            "distance": closest["distance"].to_numpy(np.float64),
            "label_differs": groups["label_differs"].any().to_numpy(bool),
        },
        columns=list(COLUMNS),
    )
