"""From scores of images to predictions of products: one row per product."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa

BEST = 100
TOP = 5


@dataclass(frozen=True)
class ImageScores:
    """The best categories of some images.

    Attributes
    ----------
    codes : ndarray of int32, shape (n, k)
        The `k` = min(100, classes) best, the best first.
    log_probabilities : ndarray of float32, shape (n, k)
    log_rest : ndarray of float32, shape (n,)
        Log of the probability that is left for all others (-inf for none).
    """

    codes: np.ndarray
    log_probabilities: np.ndarray
    log_rest: np.ndarray


def best_categories(log_probabilities: np.ndarray, best: int) -> tuple[np.ndarray, np.ndarray]:
    """Give the `best` categories of each row, the best first; equals in order of code.

    Returns
    -------
    codes : ndarray of int32, shape (n, min(best, classes))
    values : ndarray of float64, same shape
    """
    classes = log_probabilities.shape[1]
    count = min(best, classes)
    codes = np.argsort(-log_probabilities, axis=1, kind="stable")[:, :count]
    return codes.astype(np.int32), np.take_along_axis(log_probabilities, codes, axis=1)


def image_scores(log_probabilities: np.ndarray) -> ImageScores:
    """Keep the 100 best categories of each image.

    Parameters
    ----------
    log_probabilities : ndarray of float64, shape (n, classes)
    """
    codes, values = best_categories(log_probabilities, BEST)
    if codes.shape[1] == log_probabilities.shape[1]:
        rest = np.full(len(codes), -np.inf)
    else:
        others = np.array(log_probabilities)
        np.put_along_axis(others, codes.astype(np.int64), -np.inf, axis=1)
        rest = np.logaddexp.reduce(others, axis=1)
    return ImageScores(codes, values.astype(np.float32), rest.astype(np.float32))


def aggregate(log_probabilities: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Mean probability over the images of each product, in float64 logarithms (SPEC section 7, the default).

    Parameters
    ----------
    log_probabilities : ndarray of float64, shape (images, classes)
        Images of one product stand together.
    starts : ndarray of int, shape (products,)
        First row of each product; every product has at least one row.

    Returns
    -------
    ndarray of float64, shape (products, classes)
    """
    counts = np.diff(np.append(starts, len(log_probabilities)))
    if np.all(counts == 1):
        return log_probabilities
    return np.logaddexp.reduceat(log_probabilities, starts, axis=0) - np.log(counts)[:, None]


def product_rows(log_probabilities: np.ndarray, classes: np.ndarray) -> dict[str, np.ndarray]:
    """Turn aggregated scores into columns of ``predictions/BACKEND.parquet``.

    Parameters
    ----------
    log_probabilities : ndarray of float64, shape (products, classes)
    classes : ndarray of object, shape (classes,)
        Keys of the categories.

    Returns
    -------
    dict
        ``predicted``, ``confidence`` (log-probability of it), ``margin`` (to the second, in log-probability; inf with
        one category), ``top5``, ``top5_confidence``.
    """
    codes, values = best_categories(log_probabilities, TOP)
    margin = values[:, 0] - values[:, 1] if values.shape[1] > 1 else np.full(len(values), np.inf)
    return {
        "predicted": classes[codes[:, 0]],
        "confidence": values[:, 0],
        "margin": margin,
        "top5": _row_lists(classes[codes]),
        "top5_confidence": _row_lists(values),
    }


def _row_lists(values: np.ndarray) -> np.ndarray:
    """Rows of a table as an array of arrays."""
    rows = np.empty(len(values), object)
    for number, row in enumerate(values):
        rows[number] = row
    return rows


def rejected_rows(count: int) -> dict[str, np.ndarray]:
    """Columns of products without a readable image: rejected, never dropped from the denominator."""
    return {
        "predicted": np.full(count, "", object),
        "confidence": np.full(count, -np.inf),
        "margin": np.full(count, -np.inf),
        "top5": _row_lists(np.empty((count, 0), object)),
        "top5_confidence": _row_lists(np.empty((count, 0))),
    }


PREDICTION_SCHEMA = [
    ("split", pa.string()),
    ("role", pa.string()),
    ("category", pa.string()),
    ("predicted", pa.string()),
    ("confidence", pa.float64()),
    ("margin", pa.float64()),
    ("top5", pa.list_(pa.string())),
    ("top5_confidence", pa.list_(pa.float64())),
    ("images", pa.int32()),
    ("rejected", pa.string()),
]


def predictions_table(frame: pd.DataFrame) -> pa.Table:
    """Give the columns of ``predictions/BACKEND.parquet`` their types."""
    schema = pa.schema([("product_id", _id_type(frame["product_id"])), *PREDICTION_SCHEMA])
    return pa.Table.from_pandas(frame, schema=schema, preserve_index=False)


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
    """Give one row an image: product_id, image, split, category, categories, log_probabilities, log_rest.

    Parameters
    ----------
    identifiers : Series
        Product of each image.
    position : ndarray of int32
        Ordinal of the image within its product.
    split, category : ndarray of object
        Split and true category of its product.
    scores : ImageScores
    classes : ndarray of object
        Keys of the categories that codes stand for.
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
