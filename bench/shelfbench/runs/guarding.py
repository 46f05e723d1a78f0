"""The guard of a run's features: what the photos of train look like, and how far the other products are from them.

Features are not kept in a run directory, so what a decision will need is computed where they are at hand: the numbers
of the guard go into ``models/BACKEND/guard.safetensors``, and the distances of the products of tune, certify and test
into ``guards/BACKEND.parquet``. Backends that share features share both.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from shelfbench.base.storage import file_stem, write_parquet, write_whole
from shelfbench.data.feature_store import Features
from shelfbench.data.material import Material
from shelfbench.verdict.guard import KINDS, LEARNED, MOST, Guard, balanced, by_product
from shelfbench.verdict.guard_choice import ChosenGuard, Photos, choose_guard

GUARD, DISTANCES = "guard.safetensors", "guards"
# Products of tune on which the kind of a guard is chosen.
_JUDGES = 4000
# Features of photos of train, and of tune, held in memory at once: 512 MiB in float32. Of longer ones, fewer photos.
_FEATURES, _FEWEST = 1 << 27, 64
# Photos whose distances are computed at once.
_PHOTOS = 8192
# Photos whose features are checked at once.
_FINITE = 1024


@dataclass(frozen=True, eq=False)
class RunGuard:
    """The guard of some features.

    Attributes
    ----------
    chosen : ChosenGuard
    distances : DataFrame
        The columns product_id, role and distance, one row per product of tune, certify and test; NaN without a readable
        photo.
    """

    chosen: ChosenGuard
    distances: pd.DataFrame


def make_guard(features: Features, material: Material, seed: int) -> RunGuard | None:
    """Choose a guard on `tune`, fit it on train, and measure the products that neither of them learned from.

    Parameters
    ----------
    features : Features
        Of the images of `material`.
    material : Material
    seed : int

    Returns
    -------
    RunGuard or None
        None if no photo of train has features that are finite, or one has too many of them to keep.
    """
    label = material.label[material.owner]
    most = max(_FEATURES // features.matrix.shape[1], _FEWEST)
    train = _rows(features, material, "train")
    train = train[np.sort(balanced(label[train], min(LEARNED, most), seed))]
    train = train[_finite(features, train)]
    if not len(train) or features.matrix.shape[1] > MOST:
        return None
    tune = _rows(features, material, "tune")
    products, counts = np.unique(material.owner[tune], return_counts=True)
    drawn = np.random.default_rng([seed, 0x6B]).permutation(len(products))[:_JUDGES]
    drawn = drawn[np.cumsum(counts[drawn]) <= most]
    tune = tune[np.isin(material.owner[tune], products[drawn])]
    learned, judges = (Photos(features.matrix[rows], label[rows], material.owner[rows]) for rows in (train, tune))
    chosen = choose_guard(learned, judges, seed)
    return RunGuard(chosen, _distances(chosen.guard, features, material))


def _rows(features: Features, material: Material, role: str) -> np.ndarray:
    part = material.images_of(role)
    found: np.ndarray = np.arange(part.start, part.stop)[features.readable[part]]
    return found


def _finite(features: Features, rows: np.ndarray) -> np.ndarray:
    """Tell which rows are finite."""
    blocks = [rows[start : start + _FINITE] for start in range(0, len(rows), _FINITE)]
    return np.concatenate([np.zeros(0, bool), *(np.isfinite(features.matrix[block]).all(axis=1) for block in blocks)])


def _distances(guard: Guard, features: Features, material: Material) -> pd.DataFrame:
    frame = material.frame[["product_id", "role"]]
    distance = np.full(len(frame), np.nan)
    for role in ("tune", "certify", "test"):
        rows = _rows(features, material, role)
        found = np.empty(len(rows))
        for start in range(0, len(rows), _PHOTOS):
            block = slice(start, start + _PHOTOS)
            found[block] = guard.distances(features.matrix[rows[block]])
        products, starts = np.unique(material.owner[rows], return_index=True)
        distance[products] = by_product(found, starts)
    return frame.assign(distance=distance)[(frame["role"] != "train").to_numpy()]


def save_guard(found: RunGuard | None, name: str, out: Path) -> None:
    """Keep the guard of a backend in its run; without one, remove what an earlier try left.

    Parameters
    ----------
    found : RunGuard or None
    name : str
        Of the backend, whose model is there.
    out : Path
        The run directory.
    """
    distances = out / DISTANCES / f"{file_stem(name)}.parquet"
    if found is None:
        distances.unlink(missing_ok=True)
        return
    from safetensors.numpy import save

    notes = {"kind": found.chosen.guard.kind, "left_out": json.dumps(found.chosen.let_through)}
    # safetensors writes the memory of an array as it lies there, whatever its strides
    arrays = {key: np.ascontiguousarray(values) for key, values in found.chosen.guard.arrays.items()}
    target = out / "models" / file_stem(name) / GUARD
    write_whole(target, lambda aside: aside.write_bytes(_in_order(save(arrays, metadata=notes))))
    write_parquet(distances, found.distances)


def _in_order(stored: bytes) -> bytes:
    """Sort the notes of safetensors, whose order is another one every time: the same guard is the same file."""
    end = 8 + int.from_bytes(stored[:8], "little")
    header = json.loads(stored[8:end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + stored[end:]


def load_guard(path: Path) -> Guard:
    """Read a guard, trusting nothing but the header, which the caller has checked if a stranger may have written it.

    Parameters
    ----------
    path : Path
        ``guard.safetensors``.

    Returns
    -------
    Guard

    Raises
    ------
    ValueError, OSError, SafetensorError
        If it is not what `save_guard` writes.
    """
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as opened:
        kind = (opened.metadata() or {}).get("kind", "")
        names = set(opened.keys())
        if names != {"centre", "axes", "points", "scale"}:
            raise ValueError("it does not hold the arrays of a guard")
        arrays = {name: opened.get_tensor(name) for name in sorted(names)}
    if kind not in KINDS:
        raise ValueError(f"its kind is none of {', '.join(KINDS)}")
    for name, values in arrays.items():
        if values.dtype != np.float32 or values.ndim != (1 if name in ("centre", "scale") else 2):
            raise ValueError(f"its array {name} has the wrong type or shape")
        if not np.isfinite(values).all() or values.size > MOST:
            raise ValueError(f"its array {name} has values that are not finite, or too many of them")
    axes, dimensions = arrays["axes"].shape
    points = len(arrays["points"])
    fits = arrays["centre"].shape == (dimensions,) and arrays["points"].shape == (points, axes)
    if not fits or arrays["scale"].shape != (axes + 1,) or (points == 0) != (kind == "subspace") or not axes:
        raise ValueError("its arrays do not fit one another")
    return Guard(kind=kind, **arrays)
