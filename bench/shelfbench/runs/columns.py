"""The types that the columns of a run's Parquet files must have: a file can be whole and still hold something else."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.types as of

from shelfbench.base.errors import InputError
from shelfbench.runs.record import AGAIN
from shelfbench.verdict.settings import AGGREGATIONS

TEXT, NUMBER, TRUTH, IDENTIFIER = "text", "numbers", "true or false", "text or whole numbers"
TEXTS, NUMBERS = "lists of text", "lists of numbers"

_SCORES = {
    **{"product_id": IDENTIFIER, "split": TEXT, "category": TEXT},
    **{"image": NUMBER, "categories": TEXTS, "log_probabilities": NUMBERS, "log_rest": NUMBER},
}
_AGGREGATED = {
    **{"product_id": IDENTIFIER, "role": TEXT, "images": NUMBER},
    **{f"{method}_correct": TRUTH for method in AGGREGATIONS},
    **{f"{method}_confidence": NUMBER for method in AGGREGATIONS},
}
_TIMINGS = {"backend": TEXT, "stage": TEXT, "seconds": NUMBER, "cached": TRUTH}
# By folder of the run directory, or by file.
_WANTED = {"scores": _SCORES, "aggregations": _AGGREGATED, "timings.parquet": _TIMINGS}


def check_columns(path: Path) -> None:
    """Make sure that the columns that are there are of the right type; only the file's footer is read.

    Parameters
    ----------
    path : Path
        A Parquet file of a run.

    Raises
    ------
    InputError
        If a column is of another type; the message names file, column and both types.
    """
    wanted = _WANTED.get(path.parent.name) or _WANTED.get(path.name, {})
    for column in pq.read_schema(path):
        kind = wanted.get(column.name)
        if kind is not None and not _fits(column.type, kind):
            raise InputError(
                f"{path}: the column {column.name} is of type {column.type}, not {kind}", f"delete it and {AGAIN}"
            )


def _fits(found: pa.DataType, kind: str) -> bool:
    if kind in (TEXTS, NUMBERS):
        listed = of.is_list(found) or of.is_large_list(found)
        return listed and _fits(found.value_type, TEXT if kind == TEXTS else NUMBER)
    if of.is_dictionary(found):
        return _fits(found.value_type, kind)
    text = of.is_string(found) or of.is_large_string(found) or of.is_string_view(found)
    if kind == TRUTH:
        return bool(of.is_boolean(found))
    if kind == NUMBER:
        return bool(of.is_integer(found) or of.is_floating(found))
    return text or (kind == IDENTIFIER and of.is_integer(found))
