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

from shelfbench.base.errors import InputError, first_line
from shelfbench.base.storage import file_stem
from shelfbench.runs.columns import check_columns
from shelfbench.runs.entries import BackendEntry
from shelfbench.runs.labels import feature_labels
from shelfbench.runs.record import AGAIN, RunRecord

SPLITS = ("train", "validation", "test")
DELETE = f"delete it and {AGAIN}"
NOT_KEPT = "run the study again: kept results are tables without predictions"
COST_STAGES = ("tune", "extract", "fit", "predict")


class NothingMeasured(InputError):
    """A run has no predictions, or no products to compare on."""


@dataclass(frozen=True)
class BackendLabel:
    """What Table 4 says about a backend, beside its name."""

    feature: str
    classifier: str
    fine_tuning: str


@dataclass(frozen=True, eq=False, kw_only=True)
class Evaluated:
    """Rows of one backend: products, or images.

    Attributes
    ----------
    split, role : Categorical of str, shape (n,)
        `role` repeats `split` for images. A byte a row: comparing with a name gives an ndarray of bool.
    truth, predicted : ndarray of int32, shape (n,)
        Codes in `keys`; `predicted` is -1 where rejected.
    confidence : ndarray of float64, shape (n,)
        Log-probability; -inf where rejected.
    rank : ndarray of int32, shape (n,)
        Place of the true category among those stored; -1 if it is not one of them.
    keys : tuple of str
        The true categories, sorted.
    product_id : ndarray of int64 or str, shape (n,)
    measures : mapping of str to ndarray of float64, shape (n,)
        The measures of confidence in the file (`shelfbench.verdict.confidence`); empty for images.
    raw_confidence : ndarray of float64, shape (n,), or None
        The log-probability before calibration, -inf where rejected; None for images and files of earlier versions.
    """

    split: pd.Categorical
    role: pd.Categorical
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

    def bare(self) -> Evaluated:
        """Leave out the measures of confidence and what it was before calibration: half of the memory."""
        return replace(self, measures={}, raw_confidence=None)

    def where(self, mask: np.ndarray) -> Evaluated:
        """Keep the rows selected by a mask."""
        rows = np.flatnonzero(mask)  # once: indexing with the mask would search it again for every array
        confidence = self.confidence[rows]
        return Evaluated(
            split=self.split[rows],
            role=self.role[rows],
            truth=self.truth[rows],
            predicted=self.predicted[rows],
            confidence=confidence,
            rank=self.rank[rows],
            keys=self.keys,
            product_id=self.product_id[rows],
            measures={
                name: confidence if values is self.confidence else values[rows]
                for name, values in self.measures.items()
            },
            raw_confidence=None if self.raw_confidence is None else self.raw_confidence[rows],
        )

    @property
    def correct(self) -> np.ndarray:
        """Rows that are right, bool, shape (n,)."""
        found: np.ndarray = (self.truth == self.predicted) & (self.confidence > -np.inf)
        return found


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
        reason = f"it has no {first_line(error)}" if isinstance(error, KeyError) else first_line(error)
        raise InputError(f"{path} cannot be read ({reason})", DELETE) from error


def read_frame(path: Path) -> pd.DataFrame:
    """Read a whole Parquet file of a run; a damaged one is named."""
    with reading(path):
        file = pq.ParquetFile(path)
        # one by one: Arrow does not join row groups with lists of encoded text, such as large files of scores
        groups = [file.read_row_group(number) for number in range(file.num_row_groups)]
        found: pd.DataFrame = (pa.concat_tables(groups) if groups else file.read()).to_pandas()
        return found


def label_backends(record: RunRecord[BackendEntry], backends: tuple[str, ...]) -> dict[str, BackendLabel]:
    """Say what the columns of Table 4 say about each backend."""
    entries = {name: record.backends.get(name, BackendEntry()) for name in backends}
    features = feature_labels(
        {name: entry.columns.get("Feature", name) for name, entry in entries.items()},
        {name: entry.settings for name, entry in entries.items()},
    )
    return {
        name: BackendLabel(features[name], entry.columns.get("Classifier", "–"), entry.columns.get("Fine-tuning", "–"))
        for name, entry in entries.items()
    }


def category_codes(values: pa.ChunkedArray | pa.Array, keys: pa.Array) -> np.ndarray:
    """Return codes in `keys`, -1 where a value is absent or null."""
    if isinstance(values, pa.DictionaryArray):
        table = category_codes(values.dictionary, keys)
        result: np.ndarray = np.append(table, -1)[values.indices.fill_null(len(table)).to_numpy(zero_copy_only=False)]
        return result
    found = pc.fill_null(pc.index_in(values.cast(pa.string()), value_set=keys), -1)
    return np.asarray(found.to_numpy(), dtype=np.int64)


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
