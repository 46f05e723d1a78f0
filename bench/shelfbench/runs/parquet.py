"""The Parquet tables of a run: predictions of products, scores of images, and results of every aggregation."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa

from shelfbench.verdict.predictions import ImageScores
from shelfbench.verdict.settings import AGGREGATIONS

PREDICTION_SCHEMA = [
    ("split", pa.string()),
    ("role", pa.string()),
    ("category", pa.string()),
    ("predicted", pa.string()),
    ("confidence", pa.float64()),
    ("margin", pa.float64()),
    ("entropy", pa.float64()),
    ("raw_confidence", pa.float64()),
    ("top5", pa.list_(pa.string())),
    ("top5_confidence", pa.list_(pa.float64())),
    ("images", pa.int32()),
    ("rejected", pa.string()),
]


def predictions_table(frame: pd.DataFrame) -> pa.Table:
    """Give the columns of ``predictions/BACKEND.parquet`` their types.

    Parameters
    ----------
    frame : DataFrame
        With ``product_id`` and the columns of `PREDICTION_SCHEMA`.

    Returns
    -------
    Table
        One row per product.
    """
    schema = pa.schema([("product_id", _id_type(frame["product_id"])), *PREDICTION_SCHEMA])
    schema = pa.Table.from_pandas(frame.iloc[:0], schema=schema, preserve_index=False).schema  # with pandas' notes
    return pa.Table.from_arrays([_column(frame[field.name], field.type) for field in schema], schema=schema)


def _column(values: pd.Series, kind: pa.DataType) -> pa.Array | pa.ChunkedArray:
    """Give a column its type; lists go as one array of their values, since one by one they take most of the time."""
    if not pa.types.is_list(kind):
        return pa.array(values, kind)
    lists = values.tolist()
    ends = np.cumsum([len(each) for each in lists], dtype=np.int32)
    inside = pa.array(np.concatenate(lists) if lists else [], kind.value_type, from_pandas=True)
    return pa.ListArray.from_arrays(pa.array(np.append(np.int32(0), ends)), inside)


def aggregations_table(
    frame: pd.DataFrame, images: np.ndarray, correct: np.ndarray, confidence: np.ndarray
) -> pa.Table:
    """Make ``aggregations/BACKEND.parquet``: results of every aggregation for the products of tune and test.

    Parameters
    ----------
    frame : DataFrame
        With the columns ``product_id`` and ``role``.
    images : ndarray of int, shape (products,)
        Readable images of each product.
    correct : ndarray of bool, shape (aggregations, products)
        Whether the prediction is right, in the order of `AGGREGATIONS`.
    confidence : ndarray of float64, shape (aggregations, products)
        Its log-probability, in the same order.

    Returns
    -------
    Table
        One row per product.
    """
    columns = {
        "product_id": pa.array(frame["product_id"], _id_type(frame["product_id"])),
        "role": pa.array(frame["role"], pa.string()),
        "images": pa.array(images, pa.int32()),
    }
    for number, method in enumerate(AGGREGATIONS):
        columns[f"{method}_correct"] = pa.array(correct[number])
        columns[f"{method}_confidence"] = pa.array(confidence[number])
    return pa.table(columns)


def _id_type(identifiers: pd.Series) -> pa.DataType:
    return pa.int64() if identifiers.dtype == np.int64 else pa.string()


def scores_table(
    identifiers: pd.Series,
    position: np.ndarray,
    split: np.ndarray,
    category: np.ndarray,
    scores: ImageScores,
    classes: np.ndarray,
) -> pa.Table:
    """Make a part of ``scores/BACKEND.parquet``.

    Parameters
    ----------
    identifiers : Series
        Product of each image.
    position : ndarray of int32
        Number of the image within its product.
    split : ndarray of object
        Split of its product.
    category : ndarray of object
        True category of its product.
    scores : ImageScores
        Scores of the images.
    classes : ndarray of object
        Keys of the categories, in the order of the codes.

    Returns
    -------
    Table
        One row per image: product_id, image, split, category, categories, log_probabilities, log_rest.
    """
    count = scores.codes.shape[1]
    offsets = pa.array(np.arange(len(scores.codes) + 1, dtype=np.int32) * count)
    keys = pa.DictionaryArray.from_arrays(pa.array(scores.codes.ravel()), pa.array(classes, pa.string()))
    return pa.table(
        {
            "product_id": pa.array(identifiers, _id_type(identifiers)),
            "image": pa.array(position, pa.int32()),
            "split": pa.array(split, pa.string()),
            "category": pa.array(category, pa.string()),
            "categories": pa.ListArray.from_arrays(offsets, keys),
            "log_probabilities": pa.ListArray.from_arrays(offsets, pa.array(scores.log_probabilities.ravel())),
            "log_rest": pa.array(scores.log_rest),
        }
    )
