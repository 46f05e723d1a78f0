"""Measures of confidence: how sure a backend is of a product."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from shelfbench.base.errors import InputError


@dataclass(frozen=True)
class Measure:
    """A measure of confidence.

    Attributes
    ----------
    name : str
        Its name in tables.
    column : str
        The column of ``predictions/BACKEND.parquet`` that it is computed from.
    surer : callable
        Turns that column, as float64, into the measure: the larger, the surer.
    """

    name: str
    column: str
    surer: Callable[[np.ndarray], np.ndarray]


DEFAULT = "confidence"
MEASURES = {
    "confidence": Measure("log-probability", "confidence", lambda values: values),
    "margin": Measure("margin", "margin", lambda values: values),
    "entropy": Measure("entropy", "entropy", np.negative),
}


def measure(table: pa.Table, name: str, source: str = "the predictions") -> np.ndarray:
    """Compute a measure of confidence for every product of a predictions table.

    Parameters
    ----------
    table : Table
        With the measure's column and ``rejected``.
    name : str
        One of `MEASURES`: ``confidence`` (the largest log-probability, after the temperature), ``margin`` (its distance
        to the second largest; a temperature does not change the order of margins) or ``entropy``.
    source : str
        What to call the table in messages, usually its file.

    Returns
    -------
    ndarray of float64, shape (n,)
        The larger, the surer; -inf for rejected products.

    Raises
    ------
    InputError
        If there is no such measure, the table has no such column (it was written by an earlier version), or a value is
        NaN.
    """
    if name not in MEASURES:
        raise InputError(f"unknown measure of confidence {name!r}", f"choose from: {', '.join(MEASURES)}")
    found = MEASURES[name]
    if found.column not in table.column_names:
        raise InputError(
            f"{source} has no column {found.column!r} (it was written by an earlier version)",
            "use another measure, or run the study again in a new directory",
        )
    rejected = table["rejected"].is_valid().to_numpy()
    return measured(name, table[found.column].to_numpy(), rejected, source)


def measured(name: str, column: np.ndarray, rejected: np.ndarray, source: str) -> np.ndarray:
    """Compute a measure from its column.

    Parameters
    ----------
    name : str
        One of `MEASURES`.
    column : ndarray, shape (n,)
    rejected : ndarray of bool, shape (n,)
    source : str
        What to call the predictions in messages.

    Returns
    -------
    ndarray of float64, shape (n,)
        As from `measure`.

    Raises
    ------
    InputError
        If a value is NaN.
    """
    values = np.where(rejected, -np.inf, MEASURES[name].surer(column.astype(np.float64, copy=False)))
    if np.isnan(values).any():
        raise InputError(
            f"{source}: the {MEASURES[name].column} of row {int(np.isnan(values).argmax())} is NaN",
            "run the backend again",
        )
    return values
