"""What scoring leaves of a block of products, as rows of the run's tables, and the files that they go into."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from shelfbench.base.parquet_parts import ParquetParts, parquet_in_parts
from shelfbench.base.storage import file_stem
from shelfbench.data.material import Material
from shelfbench.runs.parquet import aggregations_table, predictions_table, scores_table
from shelfbench.verdict.predictions import ImageScores

# Images of a row group of scores: with 100 categories each, 420 MB. Fewer images are one group, which other programs
# read whole; those of several groups they have to read one by one.
SCORES = 1 << 19


@dataclass(frozen=True)
class Scored:
    """Scores and predictions of one backend.

    Attributes
    ----------
    predictions : Table
        One row per product (``predictions/BACKEND.parquet``); a product without a readable image is rejected.
    scores : Table
        One row per readable image of validation and test (``scores/BACKEND.parquet``).
    aggregations : Table
        One row per product of tune and test (``aggregations/BACKEND.parquet``): product_id, role, images, and for every
        aggregation whether its prediction is correct (``mean_correct``, ...) and its log-probability before any
        temperature (``mean_confidence``, ...); -inf where the product is rejected.
    """

    predictions: pa.Table
    scores: pa.Table
    aggregations: pa.Table

    @classmethod
    def joined(cls, parts: list[Scored]) -> Scored:
        """Put parts below each other."""
        names = ("predictions", "scores", "aggregations")
        return cls(*(pa.concat_tables([getattr(part, name) for part in parts]).combine_chunks() for name in names))


@dataclass(frozen=True, eq=False, kw_only=True)
class ScoredBlock:
    """What was found for a block of whole products.

    Attributes
    ----------
    products : slice
        Rows of the material's frame.
    images : slice
        Their images.
    columns : mapping of str to ndarray
        The columns of `shelfbench.verdict.predictions.product_rows`, one entry a product.
    held_out : ndarray of int64, shape (n,)
        Readable images of validation and test, ascending.
    scores : ImageScores
        Of these images.
    correct : ndarray of bool, shape (aggregations, products of the block)
        See `shelfbench.runs.parquet.aggregations_table`.
    confidence : ndarray of float64, same shape
    reasons : mapping of int to str
        Why the first image of a product cannot be read, by the product's row in the frame.
    """

    products: slice
    images: slice
    columns: Mapping[str, np.ndarray]
    held_out: np.ndarray
    scores: ImageScores
    correct: np.ndarray
    confidence: np.ndarray
    reasons: Mapping[int, str]

    def tables(self, material: Material) -> Scored:
        """Return the rows of the block.

        Parameters
        ----------
        material : Material

        Returns
        -------
        Scored
        """
        frame = material.frame.iloc[self.products].reset_index(drop=True)
        images = np.bincount(material.owner[self.images] - self.products.start, minlength=len(frame))
        compared = frame["role"].isin(["tune", "test"]).to_numpy()  # only the certifying test may read `certify`
        reason = np.full(len(frame), None, object)
        for row in np.flatnonzero(self.columns["predicted"] == "").tolist():
            if (why := self.reasons.get(self.products.start + row)) is not None:
                reason[row] = f"no readable image: {why}"
        table = frame.assign(
            **{name: pd.Series(values, dtype=values.dtype) for name, values in self.columns.items()},
            images=images,
            rejected=pd.Series(reason, dtype=object),
        )
        of_images = frame.iloc[material.owner[self.held_out] - self.products.start]
        return Scored(
            predictions_table(table),
            scores_table(
                identifiers=of_images["product_id"],
                position=material.position[self.held_out],
                split=of_images["split"].to_numpy(),
                category=of_images["category"].to_numpy(),
                scores=self.scores,
                classes=material.classes,
            ),
            aggregations_table(
                frame[compared], images[compared], self.correct[:, compared], self.confidence[:, compared]
            ),
        )


@dataclass(frozen=True)
class ScoredFiles:
    """The files of one backend, written a row group at a time."""

    predictions: ParquetParts
    scores: ParquetParts
    aggregations: ParquetParts

    def add(self, rows: Scored) -> None:
        """Add some rows.

        Parameters
        ----------
        rows : Scored
        """
        self.predictions.add(rows.predictions)
        self.scores.add(rows.scores)
        self.aggregations.add(rows.aggregations)


@contextmanager
def scored_files(out: Path, backend: str) -> Iterator[ScoredFiles]:
    """Write the predictions, scores and aggregations of a backend; the files appear when the block ends.

    Parameters
    ----------
    out : Path
        The run directory.
    backend : str

    Yields
    ------
    ScoredFiles

    Raises
    ------
    InputError
        If a folder cannot be written to.
    RunError
        If the disk is full.
    """
    paths = [out / folder / f"{file_stem(backend)}.parquet" for folder in ("predictions", "aggregations", "scores")]
    # the last to open is the first to appear: a backend is done once its predictions exist
    with (
        parquet_in_parts(paths[0]) as predictions,
        parquet_in_parts(paths[1]) as aggregations,
        parquet_in_parts(paths[2], SCORES) as scores,
    ):
        yield ScoredFiles(predictions, scores, aggregations)
