"""Reading the files of a run directory: predictions, scores, timings and history."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from shelfbench.base.errors import InputError
from shelfbench.base.storage import file_stem
from shelfbench.runs.columns import check_columns
from shelfbench.runs.entries import BackendEntry
from shelfbench.runs.labels import feature_labels
from shelfbench.runs.record import AGAIN, RunRecord
from shelfbench.verdict.confidence import MEASURES, measure

SPLITS = ("train", "validation", "test")
DELETE = f"delete it and {AGAIN}"
_MEASURED = sorted({found.column for found in MEASURES.values()} - {"confidence"})
_CERTAIN = 1e-2  # a log-probability is at most 0, but for rounding
COST_STAGES = ("tune", "extract", "fit", "predict")


@dataclass(frozen=True)
class BackendLabel:
    """The name of a backend in Table 4 and the figures."""

    feature: str
    classifier: str
    fine_tuning: str
    short: str


@dataclass(frozen=True, eq=False, kw_only=True)
class Evaluated:
    """Rows of one backend: products, or images.

    Attributes
    ----------
    split, role : ndarray of str, shape (n,)
        `role` repeats `split` for images.
    truth, predicted : ndarray of int64, shape (n,)
        Codes in `keys`; `predicted` is -1 where rejected.
    confidence : ndarray of float64, shape (n,)
        Log-probability; -inf where rejected.
    rank : ndarray of int64, shape (n,)
        Place of the true category among those stored; -1 if it is not one of them.
    keys : tuple of str
        The true categories, sorted.
    product_id : ndarray of int64 or str, shape (n,)
    measures : mapping of str to ndarray of float64, shape (n,)
        The measures of confidence in the file (`shelfbench.verdict.confidence`); empty for images.
    raw_confidence : ndarray of float64, shape (n,), or None
        The log-probability before calibration, -inf where rejected; None for images and files of earlier versions.
    """

    split: np.ndarray
    role: np.ndarray
    truth: np.ndarray
    predicted: np.ndarray
    confidence: np.ndarray
    rank: np.ndarray
    keys: tuple[str, ...]
    product_id: np.ndarray
    measures: Mapping[str, np.ndarray] = field(default_factory=dict)
    raw_confidence: np.ndarray | None = None

    def by(self, name: str) -> Evaluated:
        """Use another measure as the confidence."""
        return replace(self, confidence=self.measures[name])

    def where(self, mask: np.ndarray) -> Evaluated:
        """Keep the rows selected by a mask."""
        rows = np.flatnonzero(mask)  # once: indexing with the mask would search it again for every array
        return Evaluated(
            split=self.split[rows],
            role=self.role[rows],
            truth=self.truth[rows],
            predicted=self.predicted[rows],
            confidence=self.confidence[rows],
            rank=self.rank[rows],
            keys=self.keys,
            product_id=self.product_id[rows],
            measures={name: values[rows] for name, values in self.measures.items()},
            raw_confidence=None if self.raw_confidence is None else self.raw_confidence[rows],
        )

    @property
    def correct(self) -> np.ndarray:
        """Rows that are right, bool, shape (n,)."""
        return (self.truth == self.predicted) & (self.confidence > -np.inf)


@dataclass(frozen=True)
class Cost:
    """Seconds of all stages together; NaN if nothing was timed."""

    seconds: float
    cached: bool


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn the errors of a missing or damaged file into one line that names it."""
    try:
        yield
    except FileNotFoundError as error:
        raise InputError(f"{path} is missing", AGAIN) from error
    except (pa.ArrowException, OSError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        # a column of another type fails in whatever is done with it first
        reason = str(error).splitlines()[0][:160] if str(error) else type(error).__name__
        raise InputError(f"{path} cannot be read ({reason})", DELETE) from error


def read_frame(path: Path) -> pd.DataFrame:
    """Read a whole Parquet file of a run; a damaged one is named."""
    with reading(path):
        return pq.read_table(path).to_pandas()


def label_backends(record: RunRecord[BackendEntry], backends: tuple[str, ...]) -> dict[str, BackendLabel]:
    """Name the backends as in Table 4; if two would have the same name, the full name tells them apart."""
    named = {}
    features = feature_labels(
        {name: record.backends.get(name, BackendEntry()).columns.get("Feature", name) for name in backends},
        {name: record.backends.get(name, BackendEntry()).settings for name in backends},
    )
    for name, feature in features.items():
        columns = record.backends.get(name, BackendEntry()).columns
        classifier, tuned = columns.get("Classifier", "–"), columns.get("Fine-tuning", "–")
        short = feature if classifier in ("–", "its own") else f"{feature} + {classifier}"
        named[name] = BackendLabel(feature, classifier, tuned, short + (", fine-tuned" if tuned == "yes" else ""))
    counts = [label.short for label in named.values()]
    return {
        name: label
        if counts.count(label.short) == 1
        else BackendLabel(label.feature, label.classifier, label.fine_tuning, name)
        for name, label in named.items()
    }


def _strings(column: pa.ChunkedArray | pa.Array) -> pa.ChunkedArray | pa.Array:
    return column.cast(pa.string())


def _few_strings(column: pa.ChunkedArray | pa.Array) -> np.ndarray:
    """Turn a column with few different strings into an ndarray of str; each string is converted once."""
    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    parts = [chunk if isinstance(chunk, pa.DictionaryArray) else chunk.dictionary_encode() for chunk in chunks]
    return np.concatenate(
        [
            np.array([*part.dictionary.to_pylist(), None], str)[
                part.indices.fill_null(-1).to_numpy(zero_copy_only=False)
            ]
            for part in parts
        ]
        or [np.zeros(0, str)]
    )


def category_codes(values: pa.ChunkedArray | pa.Array, keys: pa.Array) -> np.ndarray:
    """Return codes in `keys`, -1 where a value is absent or null."""
    if isinstance(values, pa.DictionaryArray):
        table = category_codes(_strings(values.dictionary), keys)
        return np.append(table, -1)[values.indices.fill_null(len(table)).to_numpy(zero_copy_only=False)]
    found = pc.fill_null(pc.index_in(_strings(values), value_set=keys), -1)
    return np.asarray(found.to_numpy(), dtype=np.int64)


def _first_place(row: np.ndarray, hit: np.ndarray, starts: np.ndarray, rows: int) -> np.ndarray:
    """Return the position of the first hit in the list of every row, -1 without one."""
    place = np.full(rows, -1, dtype=np.int64)
    hits = np.flatnonzero(hit)[::-1]
    place[row[hits]] = hits - starts[row[hits]]
    return place


def read_products(run_dir: Path, backend: str) -> Evaluated:
    """Read a backend's products.

    Parameters
    ----------
    run_dir : Path
    backend : str

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
        columns = ["product_id", "split", "role", "category", "predicted", "confidence", "top5", "rejected"]
        further = [name for name in (*_MEASURED, "raw_confidence") if name in pq.read_schema(path).names]
        table = pq.read_table(path, columns=columns + further).combine_chunks()
        ids, confidence = table["product_id"].to_numpy(), table["confidence"].to_numpy().astype(np.float64)
        rejected = table["rejected"].is_valid().to_numpy()
        keys = pc.unique(_strings(table["category"])).sort()
        truth, predicted = category_codes(table["category"], keys), category_codes(table["predicted"], keys)
        lists = table["top5"].chunk(0) if table.num_rows else pa.array([], pa.list_(pa.string()))
        lengths = lists.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
        row, starts = np.repeat(np.arange(len(ids)), lengths), np.cumsum(lengths) - lengths
        rank = _first_place(row, category_codes(lists.flatten(), keys) == truth[row], starts, len(ids))
        split, role = _few_strings(table["split"]), _few_strings(table["role"].cast(pa.string()).fill_null(""))
        raw = table["raw_confidence"].to_numpy().astype(np.float64) if "raw_confidence" in further else None
    if np.isnan(confidence).any():
        raise InputError(
            f"{path}: the confidence of product {ids[np.isnan(confidence).argmax()]} is NaN",
            "the backend returned no probability; run it again",
        )
    if len(confidence) and confidence.max() > _CERTAIN:
        raise InputError(
            f"{path}: the confidence of product {ids[confidence.argmax()]} is {confidence.max():.3g}; a "
            "log-probability is at most 0",
            DELETE,
        )
    with reading(path):
        known = [name for name, found in MEASURES.items() if found.column in table.column_names]
        measures = {name: measure(table, name, str(path)) for name in known}
    rising = bool(np.all(ids[1:] > ids[:-1]))  # the order in which a run writes them
    if not rising and len(np.unique(ids)) != len(ids):
        raise InputError(f"{path} contains a product twice", DELETE)
    _check_complete(run_dir, path, ids, split)
    confidence = np.where(rejected, -np.inf, confidence)
    return Evaluated(
        split=split,
        role=role,
        truth=truth,
        predicted=np.where(confidence > -np.inf, predicted, -1),
        confidence=confidence,
        rank=np.where(confidence > -np.inf, rank, -1),
        keys=tuple(keys.to_pylist()),
        product_id=ids,
        measures=measures,
        raw_confidence=None if raw is None else np.where(rejected, -np.inf, raw),
    )


def _check_complete(run_dir: Path, path: Path, ids: np.ndarray, split: np.ndarray) -> None:
    """Make sure that every product of the split is there, or the denominators would be wrong."""
    manifest = run_dir / "split.parquet"
    if not manifest.is_file():
        return
    with reading(manifest):
        table = pq.read_table(manifest, columns=["product_id", "split"])
        wanted_ids, wanted = table["product_id"].to_numpy(), _few_strings(table["split"])
    if np.array_equal(ids, wanted_ids) and np.array_equal(split, wanted):  # the order in which a run writes them
        return
    for name in SPLITS:
        missing = np.setdiff1d(wanted_ids[wanted == name], ids[split == name])
        if len(missing):
            raise InputError(
                f"{path} lacks {len(missing)} of {np.count_nonzero(wanted == name)} {name} "
                f"products (the first is {missing[0]})",
                DELETE,
            )


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
    value_set = pa.array(keys, pa.string())
    with reading(path):
        columns = ["product_id", "split", "category", "categories", "log_probabilities"]
        batches = pq.ParquetFile(path).iter_batches(batch_size=1 << 15, columns=columns)
        parts = [_read_batch(batch, value_set) for batch in batches]
    if not parts:
        return None
    ids, split, truth, predicted, confidence, rank = (np.concatenate(part) for part in zip(*parts, strict=True))
    if np.isnan(confidence).any():
        raise InputError(f"{path}: the scores of image {int(np.isnan(confidence).argmax())} contain a NaN", DELETE)
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


def _read_batch(batch: pa.RecordBatch, keys: pa.Array) -> tuple[np.ndarray, ...]:
    lists = batch.column("categories")
    truth, rows = category_codes(batch.column("category"), keys), batch.num_rows
    lengths = lists.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
    row, starts = np.repeat(np.arange(rows), lengths), np.cumsum(lengths) - lengths
    scores = batch.column("log_probabilities").flatten().to_numpy(zero_copy_only=False)
    codes = category_codes(lists.flatten(), keys)
    if not len(row) == len(scores) == len(codes):
        raise pa.ArrowInvalid("categories and log_probabilities differ in length")
    confidence, predicted, rank = np.full(rows, -np.inf), np.full(rows, -1), np.full(rows, -1)
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
        _few_strings(batch.column("split")),
        truth,
        predicted,
        confidence,
        rank,
    )


def read_costs(run_dir: Path, backends: tuple[str, ...]) -> dict[str, Cost]:
    """Add up the seconds of each backend's stages (epochs are part of their stage)."""
    path = run_dir / "timings.parquet"
    if not path.is_file():
        return {name: Cost(float("nan"), False) for name in backends}
    with reading(path):
        check_columns(path)
        timings = pq.read_table(path, columns=["backend", "stage", "seconds", "cached"]).to_pandas()
        timings = timings[timings["stage"].isin(COST_STAGES)]
        costs = {}
        for name in backends:
            rows = timings[timings["backend"] == name]
            costs[name] = Cost(
                float(rows["seconds"].sum()) if len(rows) else float("nan"),
                bool(rows["cached"].fillna(False).astype(bool).any()),
            )
    return costs


def read_history(run_dir: Path, backends: tuple[str, ...], stage: str = "") -> dict[str, pd.DataFrame]:
    """Read the training history of the backends that have one.

    Parameters
    ----------
    run_dir : Path
    backends : tuple of str
    stage : str
        ``tuning`` for the history of the fine-tuned network below a backend; empty for the backend's own.

    Returns
    -------
    dict of str to DataFrame
        The columns epoch, step and lr, by backend.
    """
    histories = {}
    for name in backends:
        path = run_dir / "history" / f"{file_stem(name)}{'.' * bool(stage)}{stage}.parquet"
        if path.is_file():
            with reading(path):
                histories[name] = pq.read_table(path, columns=["epoch", "step", "lr"]).to_pandas()
    return histories
