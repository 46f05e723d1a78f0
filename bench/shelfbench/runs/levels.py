"""The levels above the category of a run: which there are, and what a backend says about them, product by product."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from shelfbench.base.errors import InputError
from shelfbench.runs.data_record import DatasetRecord
from shelfbench.runs.reading import category_codes, reading
from shelfbench.runs.record import AGAIN
from shelfbench.verdict.ladder import Answers
from shelfbench.verdict.levels import Level, Photos, fit_level, group_answers
from shelfbench.verdict.predictions import ImageScores

CATEGORY = "category"
_ROWS = 1 << 14
# Products of `tune` whose photos choose the temperatures, at most.
_TUNE = 20_000


@dataclass(frozen=True, eq=False)
class NamedLevel:
    """A level above the category, by its names.

    Attributes
    ----------
    name : str
        ``level1`` for the top, ``level2`` below it, and so on.
    groups : tuple of tuple of str
        The place of every group, from the top down; the last is its own name.
    of : mapping of str to int
        Number of the group by category key; categories without such a level are missing.
    """

    name: str
    groups: tuple[tuple[str, ...], ...]
    of: Mapping[str, int]

    def codes(self, keys: Sequence[str]) -> np.ndarray:
        """Return the group of each category; -1 without one."""
        return np.array([self.of.get(key, -1) for key in keys], np.int64)

    def level(self, classes: Sequence[str]) -> Level:
        """Return the level for the categories that a classifier knows."""
        return Level(self.codes(classes), len(self.groups))


@dataclass(frozen=True, eq=False)
class LevelAnswers:
    """What a backend says about one level.

    Attributes
    ----------
    temperature : float
        Chosen on `tune`.
    group : ndarray of int64, shape (products,)
        The likeliest group; -1 where no photo can be read, or the run keeps no scores of the product.
    confidence : ndarray of float64, shape (products,)
        Its log-probability; -inf there.
    """

    temperature: float
    group: np.ndarray
    confidence: np.ndarray

    def only(self, kept: np.ndarray) -> LevelAnswers:
        """Answer only the products of a mask."""
        return LevelAnswers(self.temperature, np.where(kept, self.group, -1), np.where(kept, self.confidence, -np.inf))


def named_levels(dataset: DatasetRecord) -> list[NamedLevel]:
    """List the levels above the category, the finest first.

    Parameters
    ----------
    dataset : DatasetRecord

    Returns
    -------
    list of NamedLevel
        Without levels of a single group, about which nothing is to be decided.

    Notes
    -----
    Records of earlier versions hold the first level alone, whatever the depth.
    """
    places = {key: tuple(place) for key, place in dataset.category_levels.items()}
    places = places or {key: (name,) for key, name in dataset.category_level1.items()}
    found = []
    for depth in range(max(map(len, places.values()), default=0), 0, -1):
        within = {key: place[:depth] for key, place in places.items() if len(place) >= depth and place[depth - 1]}
        groups = sorted(set(within.values()))
        if len(groups) > 1:
            number = {place: code for code, place in enumerate(groups)}
            found.append(NamedLevel(f"level{depth}", tuple(groups), {key: number[at] for key, at in within.items()}))
    return found


def rung_answers(
    confidence: np.ndarray,
    right: np.ndarray,
    truth: Sequence[str],
    levels: Sequence[tuple[NamedLevel, LevelAnswers]],
) -> Answers:
    """Put the answers of all rungs side by side.

    Parameters
    ----------
    confidence : ndarray of float64, shape (n,)
        In the category; -inf for products that must not be answered there.
    right : ndarray of bool, shape (n,)
        Whether the category is right.
    truth : sequence of str
        Keys of the true categories.
    levels : sequence of (NamedLevel, LevelAnswers)
        The finest first.

    Returns
    -------
    Answers
    """
    surer, correct = [confidence], [right]
    for level, said in levels:
        surer.append(said.confidence)
        correct.append((said.group >= 0) & (said.group == level.codes(truth)))
    return Answers(np.stack(surer, axis=1), np.stack(correct, axis=1))


def level_answers(
    path: Path,
    products: pd.DataFrame,
    classes: Sequence[str],
    levels: Sequence[NamedLevel],
) -> list[LevelAnswers]:
    """Sum a backend's scores over the groups of every level.

    Parameters
    ----------
    path : Path
        ``scores/BACKEND.parquet``.
    products : DataFrame
        With ``product_id``, ``role`` and ``category``, each product once.
    classes : sequence of str
        The categories that the classifier knows, in any order.
    levels : sequence of NamedLevel

    Returns
    -------
    list of LevelAnswers
        In the order of the levels, with arrays in the order of the products.

    Raises
    ------
    InputError
        If the run keeps no scores, or the file is damaged.
    """
    if not path.is_file():
        raise InputError(f"{path} is missing: levels are summed from the scores of photos", AGAIN)
    ids = pd.Index(products["product_id"])
    keys = pa.array(sorted(classes), pa.string())
    role = products["role"].to_numpy().astype(str)
    tune = np.flatnonzero(role == "tune")
    chosen = np.zeros(len(ids), bool)
    chosen[tune[:: len(tune) // _TUNE + 1]] = True
    held = [photos.where(chosen[photos.owner]) for photos in _photos(path, ids, keys)]
    found = []
    for level in levels:
        summed = level.level(sorted(classes))
        truth = level.codes(products["category"].astype(str).tolist())
        temperature = fit_level(_joined(held), summed, truth) if held else 1.0
        found.append((summed, LevelAnswers(temperature, *_nothing(len(ids)))))
    for photos in _photos(path, ids, keys):
        owner, rows = np.unique(photos.owner, return_inverse=True)
        local = Photos(photos.scores, rows)
        for summed, answers in found:
            group, confidence = group_answers(local, summed, answers.temperature, len(owner))
            answers.group[owner], answers.confidence[owner] = group, confidence
    return [answers for _, answers in found]


def _nothing(products: int) -> tuple[np.ndarray, np.ndarray]:
    return np.full(products, -1, np.int64), np.full(products, -np.inf)


def _photos(path: Path, ids: pd.Index, keys: pa.Array) -> Iterator[Photos]:
    """Read the scores, some whole products at a time."""
    columns = ["product_id", "categories", "log_probabilities", "log_rest"]
    pending: list[Photos] = []
    with reading(path):
        batches = pq.ParquetFile(path).iter_batches(batch_size=_ROWS, columns=columns)
        for batch in batches:
            photos = _batch(batch, ids, keys, path)
            if not len(photos.owner):
                continue
            photos = _joined([*pending, photos])
            last = photos.owner == photos.owner[-1]  # the next batch may go on with this product
            pending = [photos.where(last)]
            if not last.all():
                yield photos.where(~last)
    if pending:
        yield pending[0]


def _batch(batch: pa.RecordBatch, ids: pd.Index, keys: pa.Array, path: Path) -> Photos:
    owner = ids.get_indexer(batch.column("product_id").to_pandas())
    codes = category_codes(batch.column("categories").flatten(), keys)
    values = batch.column("log_probabilities").flatten().to_numpy(zero_copy_only=False)
    rest = batch.column("log_rest").to_numpy(zero_copy_only=False)
    count = len(codes) // max(len(owner), 1)
    if len(codes) != count * len(owner) or len(values) != len(codes) or np.isnan(values).any() or np.isnan(rest).any():
        raise InputError(f"{path} does not hold the scores of every photo", AGAIN)
    if (owner < 0).any() or (codes < 0).any():
        raise InputError(f"{path} names a product or a category that the run does not have", AGAIN)
    shape = (len(owner), count)
    return Photos(ImageScores(codes.reshape(shape), values.reshape(shape), rest), owner)


def _joined(parts: Sequence[Photos]) -> Photos:
    scores = ImageScores(
        np.concatenate([part.scores.codes for part in parts]),
        np.concatenate([part.scores.log_probabilities for part in parts]),
        np.concatenate([part.scores.log_rest for part in parts]),
    )
    return Photos(scores, np.concatenate([part.owner for part in parts]))
