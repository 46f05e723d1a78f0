"""The rows that ``shelfbench watch`` reads: a table, some thousand rows at a time, its cells as text.

CSV (any delimiter), JSON Lines, Parquet or a pandas frame.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from datetime import date, datetime
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shelfbench.base.errors import InputError, first_line
from shelfbench.base.spreadsheet import inert
from shelfbench.data.sources.columns import find_column, listed
from shelfbench.data.sources.json_tables import json_rows
from shelfbench.data.sources.text_tables import HEAD, find_delimiter, find_encoding, open_text

if TYPE_CHECKING:
    import pandas as pd

NEEDED = ("product_id", "predicted", "category")
OPTIONAL = ("confidence", "time", "accepted", "reason", "level")
BLOCK = 20_000
_LONGEST = 10_000  # characters of a cell that is read
_CLASSIFIED = {"product", "suggestion", "reason"}  # columns of what classify writes

Row = tuple[int, dict[str, str]]
"""Where a row stands in its file, and its cells by role; an empty text is a cell that says nothing."""


def blocks(source: Path | pd.DataFrame) -> Iterator[list[Row]]:
    """Read a table in blocks.

    Parameters
    ----------
    source : Path or DataFrame
        With the columns `NEEDED`, and perhaps `OPTIONAL`; others are not read.

    Yields
    ------
    list of Row
        At most `BLOCK` rows.

    Raises
    ------
    InputError
        If it cannot be read or lacks a column; the message names the line or row.
    """
    if not isinstance(source, Path):
        yield from _cut(_frame(source))
        return
    suffix = source.suffix.lower()
    if source.is_dir() or not source.exists():
        what = "is a folder" if source.is_dir() else "does not exist"
        raise InputError(f"{source} {what}", "name a table (*.csv, *.jsonl or *.parquet)")
    try:
        if suffix in (".csv", ".tsv", ".txt"):
            yield from _cut(_text(source))
        elif suffix in (".jsonl", ".ndjson", ".json"):
            yield from _cut(_json(source))
        elif suffix == ".parquet":
            yield from _cut(_parquet(source))
        else:
            raise InputError(f"{source} is not a table that can be read", "save it as *.csv, *.jsonl or *.parquet")
    except PermissionError:
        raise InputError(f"no permission to read {source}", "change its permissions") from None
    except OSError as error:
        said = error.strerror or str(error).strip().partition("\n")[0]
        raise InputError(f"{source} cannot be read ({said})", "correct the path, or write the table again") from None


def _cut(rows: Iterator[Row]) -> Iterator[list[Row]]:
    while block := list(islice(rows, BLOCK)):
        yield block


def columns(present: Sequence[str], where: str) -> dict[str, str]:
    """Find the columns of a table by role.

    Parameters
    ----------
    present : sequence of str
        The columns that it has.
    where : str
        Its name, for messages.

    Returns
    -------
    dict of str to str
        Every role of `NEEDED`, and those of `OPTIONAL` that are there.

    Raises
    ------
    InputError
        If one is missing or may be two.
    """
    found = {role: find_column(role, present, where) for role in (*NEEDED, *OPTIONAL)}
    if missing := [role for role in NEEDED if found[role] is None]:
        what = f"{where} has no column {' and no column '.join(missing)} (it has {listed(present)})"
        if set(present) >= _CLASSIFIED:
            raise InputError(
                f"{what}: it is what classify wrote, which knows no true categories",
                "rename product to product_id and suggestion to predicted, drop category, and put the true category of "
                "the products that someone has labelled into a new column category",
            )
        raise InputError(what, "name its columns product_id, predicted and category, the true one where it is known")
    return {role: column for role, column in found.items() if column is not None}


def _text(path: Path) -> Iterator[Row]:
    encoding, _ = find_encoding(path)
    with open_text(path, encoding) as handle:
        head = list(io.StringIO(handle.read(HEAD), newline=""))
        delimiter = find_delimiter(head, NEEDED, path)
        handle.seek(0)
        reader = csv.reader(handle, delimiter=delimiter, strict=True)
        header: list[str] = []
        begins = 1
        try:
            for record in reader:
                line, begins = begins, reader.line_num + 1
                if not any(cell.strip() for cell in record):
                    continue
                if not header:
                    header = [record[0].removeprefix("\ufeff"), *record[1:]]
                    places = {role: header.index(name) for role, name in columns(header, str(path)).items()}
                    continue
                if len(record) < len(header) or any(cell.strip() for cell in record[len(header) :]):
                    raise InputError(
                        f"{path}, line {line} has {len(record)} cells, but the header has {len(header)}",
                        "correct the table; a cell that contains the delimiter needs quotation marks",
                    )
                yield line, {role: _bare(_short(record[at], path, line)) for role, at in places.items()}
        except csv.Error as error:
            raise InputError(f"{path}, line {begins} is not CSV ({error})", "correct the table") from None
    if not header:
        raise InputError(f"{path} is empty", f"give a table with the columns {', '.join(NEEDED)}")


def _bare(cell: str) -> str:
    """Take away the apostrophe that shelfbench writes before what a spreadsheet would run."""
    return cell[1:] if cell.startswith("'") and inert(cell[1:]) == cell else cell


def _json(path: Path) -> Iterator[Row]:
    """Go through objects: a key that only some of them have is a column all the same."""
    rows = json_rows(path)
    keys: dict[str, None] = {}
    for number, value in rows():
        if not isinstance(value, dict):
            raise InputError(f"{path}, line {number} is not an object", "write one object for each product")
        keys.update(dict.fromkeys(value))
    if not keys:
        raise InputError(f"{path} is empty", f"give objects with the keys {', '.join(NEEDED)}")
    places = columns(list(keys), str(path))
    for number, value in rows():
        yield number, {role: _shown(value.get(name), path, number) for role, name in places.items()}


def _parquet(path: Path) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        with pq.ParquetFile(path) as file:
            places = columns(file.schema_arrow.names, str(path))
            for batch in file.iter_batches(BLOCK, columns=list(places.values())):
                read = [batch.column(name).to_pylist() for name in places.values()]
                for values in zip(*read, strict=True):
                    number += 1
                    yield number, {r: _shown(v, path, number) for r, v in zip(places, values, strict=True)}
    except (pa.ArrowException, ValueError) as error:
        raise InputError(f"{path} cannot be read ({first_line(error)})", "write it again") from None


def _frame(frame: pd.DataFrame) -> Iterator[Row]:
    places = columns([str(name) for name in frame.columns], "the frame")
    wanted = frame.set_axis([str(name) for name in frame.columns], axis=1)[list(places.values())]
    parts = (wanted.iloc[start : start + BLOCK] for start in range(0, len(wanted), BLOCK))
    for number, values in enumerate(chain.from_iterable(zip(*_lists(part), strict=True) for part in parts), 1):
        yield number, {r: _shown(v, "the frame", number) for r, v in zip(places, values, strict=True)}


def _lists(part: pd.DataFrame) -> list[list[Any]]:
    return [part[name].astype(object).where(part[name].notna(), None).tolist() for name in part.columns]


def _shown(value: Any, where: Path | str, number: int) -> str:
    """Write a cell of a typed table as text; a whole number without its point, since pandas adds one."""
    if value is None or value != value:
        return ""
    if isinstance(value, str):
        return _short(value, where, number)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (date, datetime)):
        return value.isoformat()
    item = value.item() if hasattr(value, "item") else value
    if isinstance(item, bool):
        return "true" if item else "false"
    if isinstance(item, float) and item.is_integer():
        return str(int(item))
    if isinstance(item, (int, float)):
        return repr(item)
    raise InputError(f"{where}, row {number} has a cell that is neither text nor a number nor a time", "write text")


def _short(cell: str, where: Path | str, number: int) -> str:
    if len(cell) > _LONGEST:
        raise InputError(f"{where}, row {number} has a cell of {len(cell):,} characters", "correct the table")
    return cell
