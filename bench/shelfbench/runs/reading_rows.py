"""Reading the products and the images of a backend, some at a time: text becomes numbers before there is much of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from shelfbench.base.errors import InputError
from shelfbench.base.storage import file_stem
from shelfbench.runs.reading import DELETE, SPLITS, Evaluated, category_codes, reading
from shelfbench.verdict.confidence import DEFAULT, MEASURES, measured

_MEASURED = sorted({found.column for found in MEASURES.values()} - {DEFAULT})
_CERTAIN = 1e-2  # a log-probability is at most 0, but for rounding
_PRODUCTS, _IMAGES = 1 << 17, 1 << 15  # rows in memory as text and lists at a time
_WORDS = 100  # different splits or roles that fit into a byte
# Columns of few different strings, which are decoded once for each of them.
_FEW = ("split", "role", "category", "predicted", "rejected", "top5")
_TEXT = ["product_id", "split", "role", "category", "predicted", "confidence", "top5", "rejected"]


class Words:
    """Numbers the different strings of a column that is read in parts, in order of appearance."""

    def __init__(self) -> None:
        self._code: dict[str, int] = {}

    def codes(self, column: pa.Array) -> np.ndarray:
        """Return the number of each row's string: int32, -1 for null."""
        if not isinstance(column, pa.DictionaryArray):
            column = column.cast(pa.string()).dictionary_encode()
        names = column.dictionary.cast(pa.string()).to_pylist()
        known = [-1 if name is None else self._code.setdefault(name, len(self._code)) for name in names]
        found: np.ndarray = np.array([*known, -1], np.int32)[
            column.indices.fill_null(-1).to_numpy(zero_copy_only=False)
        ]
        return found

    @property
    def names(self) -> list[str]:
        """The strings, in the order of their numbers."""
        return list(self._code)


class _Columns:
    """The columns of a file of predictions, as they are read.

    Codes are those of the `Words` beside them; the rest is as in `Evaluated`, before anything is checked.
    """

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self.categories, self.splits, self.roles = Words(), Words(), Words()
        self.ids: list[pa.Array] = []
        self.split, self.role = np.empty(rows, np.int8), np.empty(rows, np.int8)
        self.truth, self.predicted, self.rank = (np.empty(rows, np.int32) for _ in range(3))
        self.rejected = np.empty(rows, bool)
        self.floats: dict[str, np.ndarray] = {}

    def read(self, batch: pa.RecordBatch, start: int) -> None:
        """Take the rows of a batch."""
        part = slice(start, start + batch.num_rows)
        self.ids.append(batch.column("product_id"))
        self.split[part] = self.splits.codes(batch.column("split"))
        self.role[part] = self.roles.codes(batch.column("role"))
        if max(len(self.splits.names), len(self.roles.names)) > _WORDS:
            raise ValueError("its products have too many different splits or roles")
        truth = self.truth[part] = self.categories.codes(batch.column("category"))
        if len(truth) and truth.min() < 0:
            raise ValueError(f"row {start + int(truth.argmin())} has no category")
        self.predicted[part] = self.categories.codes(batch.column("predicted"))
        self.rejected[part] = batch.column("rejected").is_valid().to_numpy(zero_copy_only=False)
        lists = batch.column("top5")
        lengths = lists.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
        row, starts = np.repeat(np.arange(batch.num_rows), lengths), np.cumsum(lengths) - lengths
        found = self.categories.codes(lists.flatten())
        self.rank[part] = _first_place(row, found == truth[row], starts, batch.num_rows)
        for name in {*batch.schema.names} - {*_TEXT} | {DEFAULT}:
            if name not in self.floats:
                self.floats[name] = np.empty(self.rows)
            self.floats[name][part] = batch.column(name).to_numpy(zero_copy_only=False).astype(np.float64)


def _open(path: Path, few: tuple[str, ...]) -> pq.ParquetFile:
    """Open a file whose columns of few different strings are decoded once for each of them."""
    schema = pq.read_metadata(path).schema
    paths = [schema.column(number).path for number in range(len(schema))]
    return pq.ParquetFile(path, read_dictionary=[name for name in paths if name.split(".")[0] in few])


def _read(path: Path, further: list[str]) -> _Columns:
    file = _open(path, _FEW)
    columns, start = _Columns(file.metadata.num_rows), 0
    for batch in file.iter_batches(batch_size=_PRODUCTS, columns=_TEXT + further):
        columns.read(batch, start)
        start += batch.num_rows
    if start != columns.rows:
        raise ValueError(f"{start} rows instead of {columns.rows}")
    for name in (DEFAULT, *further):
        columns.floats.setdefault(name, np.empty(0))
    return columns


def read_products(run_dir: Path, backend: str, like: Evaluated | None = None) -> Evaluated:
    """Read a backend's products.

    Parameters
    ----------
    run_dir : Path
    backend : str
    like : Evaluated, optional
        Products of another backend of this run: what is equal in both is held in memory once.

    Returns
    -------
    Evaluated

    Raises
    ------
    InputError
        If the file is damaged, lacks a column or a product of the split, or contains a NaN confidence.
    """
    path = run_dir / "predictions" / f"{file_stem(backend)}.parquet"
    with reading(path):
        names = pq.read_schema(path).names
        for name in _TEXT:
            if name not in names:
                raise LookupError(f"it has no column {name}")
        found = _read(path, [name for name in (*_MEASURED, "raw_confidence") if name in names])
        ids = pa.chunked_array(found.ids) if found.ids else pa.chunked_array([pa.array([], pa.int64())])
        product_id = _shared(ids.to_numpy(), None if like is None else like.product_id)
    confidence, rejected = found.floats[DEFAULT], found.rejected
    if np.isnan(confidence).any():
        raise InputError(
            f"{path}: the confidence of product {product_id[np.isnan(confidence).argmax()]} is NaN",
            "the backend returned no probability; run it again",
        )
    if len(confidence) and confidence.max() > _CERTAIN:
        raise InputError(
            f"{path}: the confidence of product {product_id[confidence.argmax()]} is {confidence.max():.3g}; a "
            "log-probability is at most 0",
            DELETE,
        )
    confidence[rejected] = -np.inf
    with reading(path):
        measures = {
            name: confidence if name == DEFAULT else measured(name, found.floats.pop(one.column), rejected, str(path))
            for name, one in MEASURES.items()
            if one.column in found.floats
        }
    split = _named(found.splits, found.split, None if like is None else like.split)
    if like is None or product_id is not like.product_id:
        if _twice(ids, product_id):
            raise InputError(f"{path} contains a product twice", DELETE)
        _check_complete(run_dir, path, ids, split)
    elif split is not like.split:
        _check_complete(run_dir, path, ids, split)
    keys, coded = _sorted(found.categories.names, found.truth)
    seen, raw = confidence > -np.inf, found.floats.get("raw_confidence")
    if raw is not None:
        raw[rejected] = -np.inf
    found.rank[~seen] = -1
    return Evaluated(
        split=split,
        role=_named(found.roles, found.role, None if like is None else like.role),
        truth=_shared(coded[found.truth], like.truth if like is not None and like.keys == keys else None),
        predicted=np.where(seen, coded[found.predicted], np.int32(-1)),
        confidence=confidence,
        rank=found.rank,
        keys=keys,
        product_id=product_id,
        measures=measures,
        raw_confidence=raw,
    )


def _twice(ids: pa.ChunkedArray, product_id: np.ndarray) -> bool:
    """Whether a product is there twice."""
    if product_id.dtype.kind in "iu":  # a table of hashes would be several times as large
        ordered = np.sort(product_id)
        return bool(np.any(ordered[1:] == ordered[:-1]))
    return int(pc.count_distinct(ids, mode="all").as_py()) != len(ids)


def _shared(values: np.ndarray, known: np.ndarray | None) -> np.ndarray:
    """Return an array that is known already, if the new one is equal to it."""
    return known if known is not None and np.array_equal(values, known) else values


def _named(words: Words, codes: np.ndarray, known: pd.Categorical | None) -> pd.Categorical:
    """Give codes their names, unless they are known already."""
    made: Any = pd.Categorical.from_codes(codes, categories=pd.Index(words.names))
    return known if known is not None and made.equals(known) else made


def _sorted(names: list[str], codes: np.ndarray) -> tuple[tuple[str, ...], np.ndarray]:
    """Sort the names that occur; and the code of each name among them, int32: -1 for the others, and in the end."""
    occurs = np.flatnonzero(np.bincount(codes, minlength=len(names)))
    order = sorted(occurs.tolist(), key=names.__getitem__)
    coded = np.full(len(names) + 1, -1, np.int32)
    coded[order] = np.arange(len(order))
    return tuple(names[code] for code in order), coded


def _check_complete(run_dir: Path, path: Path, ids: pa.ChunkedArray, split: pd.Categorical) -> None:
    """Make sure that every product of the split is there, or the denominators would be wrong."""
    manifest = run_dir / "split.parquet"
    if not manifest.is_file():
        return
    with reading(manifest):
        table = _open(manifest, ("split",)).read(columns=["product_id", "split"])
        words = Words()
        parts = [np.empty(0, np.int32), *map(words.codes, table["split"].chunks)]
        wanted = pd.Categorical.from_codes(np.concatenate(parts).astype(np.int8), categories=pd.Index(words.names))
        wanted_ids = table["product_id"]
        same = pa.types.is_integer(ids.type) == pa.types.is_integer(wanted_ids.type)
        same = same and len(ids) == len(wanted_ids) and ids.equals(wanted_ids.cast(ids.type))
        if same and all(np.array_equal(split == name, wanted == name) for name in SPLITS):
            return  # the order in which a run writes them
        numbers, wanted_numbers = ids.to_numpy(), wanted_ids.to_numpy()
    for name in SPLITS:
        missing = np.setdiff1d(wanted_numbers[wanted == name], numbers[split == name])
        if len(missing):
            raise InputError(
                f"{path} lacks {len(missing)} of {np.count_nonzero(wanted == name)} {name} "
                f"products (the first is {missing[0]})",
                DELETE,
            )


def _first_place(row: np.ndarray, hit: np.ndarray, starts: np.ndarray, rows: int) -> np.ndarray:
    """Return the position of the first hit in the list of every row, -1 without one."""
    place = np.full(rows, -1, dtype=np.int64)
    hits = np.flatnonzero(hit)[::-1]
    place[row[hits]] = hits - starts[row[hits]]
    return place


def read_images(run_dir: Path, backend: str, keys: tuple[str, ...]) -> Evaluated | None:
    """Read a backend's images of validation and test, batch by batch.

    Parameters
    ----------
    run_dir : Path
    backend : str
    keys : tuple of str
        Categories to code by, as in the backend's products.

    Returns
    -------
    Evaluated or None
        None if no scores are kept.

    Raises
    ------
    InputError
        If the file is damaged, or contains a NaN.
    """
    path = run_dir / "scores" / f"{file_stem(backend)}.parquet"
    if not path.is_file():
        return None
    value_set, words = pa.array(keys, pa.string()), Words()
    with reading(path):
        columns = ["product_id", "split", "category", "categories", "log_probabilities"]
        file = _open(path, ("split", "category"))
        batches = file.iter_batches(batch_size=_IMAGES, columns=columns)
        parts = [_read_batch(batch, value_set, words) for batch in batches]
    if not parts:
        return None
    ids, codes, truth, predicted, confidence, rank = (np.concatenate(part) for part in zip(*parts, strict=True))
    if np.isnan(confidence).any():
        raise InputError(f"{path}: the scores of image {int(np.isnan(confidence).argmax())} contain a NaN", DELETE)
    split: Any = pd.Categorical.from_codes(codes, categories=pd.Index(words.names))
    return Evaluated(
        split=split,
        role=split,
        truth=truth,
        predicted=predicted,
        confidence=confidence,
        rank=rank,
        keys=keys,
        product_id=ids,
    )


def _read_batch(batch: pa.RecordBatch, keys: pa.Array, words: Words) -> tuple[np.ndarray, ...]:
    lists = batch.column("categories")
    truth, rows = category_codes(batch.column("category"), keys), batch.num_rows
    lengths = lists.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
    row, starts = np.repeat(np.arange(rows), lengths), np.cumsum(lengths) - lengths
    scores = batch.column("log_probabilities").flatten().to_numpy(zero_copy_only=False)
    codes = category_codes(lists.flatten(), keys)
    if not len(row) == len(scores) == len(codes):
        raise pa.ArrowInvalid("categories and log_probabilities differ in length")
    confidence, predicted, rank = np.full(rows, -np.inf), np.full(rows, -1, np.int32), np.full(rows, -1, np.int32)
    filled = np.flatnonzero(lengths)
    if len(filled):
        # the file need not be sorted: the best category is searched for, and the true one's rank is counted
        confidence[filled] = np.maximum.reduceat(scores, starts[filled])
        best = _first_place(row, scores == confidence[row], starts, rows)
        sure = np.flatnonzero(best >= 0)  # a NaN has no rank; the caller refuses it
        predicted[sure] = codes[starts[sure] + best[sure]]
        place = _first_place(row, codes == truth[row], starts, rows)
        known = np.flatnonzero(place >= 0)
        own, at = np.full(rows, np.inf), np.full(rows, -1)
        own[known], at[known] = scores[starts[known] + place[known]], starts[known] + place[known]
        before = (scores > own[row]) | ((scores == own[row]) & (np.arange(len(row)) < at[row]))
        rank[known] = np.bincount(row[before], minlength=rows)[known]
    return (
        batch.column("product_id").to_numpy(zero_copy_only=False),
        words.codes(batch.column("split")).astype(np.int8),
        truth.astype(np.int32),
        predicted,
        confidence,
        rank,
    )
