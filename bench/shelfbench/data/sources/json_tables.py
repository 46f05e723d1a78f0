"""Tables as JSON: an object a line, or a list of objects."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from shelfbench.base.errors import InputError
from shelfbench.base.storage import parse_json
from shelfbench.data.sources.text_tables import SHARED, Cells, ColumnsOf, find_encoding, open_text


def read_json(path: Path, columns_of: ColumnsOf) -> Cells:
    """Read the cells of a table in JSON.

    Parameters
    ----------
    path : Path
        One object a line (JSON Lines), or a list of objects. Objects may lack keys.
    columns_of : callable
        Takes the keys of all objects and returns the key to read by role.

    Returns
    -------
    Cells
        Texts, numbers and so on as they are; None for null, NaN, empty text and missing keys. The rows of a list are
        counted from 1.

    Raises
    ------
    InputError
        If the file is not JSON, or a row is not an object; the message names the line.
    """
    # the keys first: rows may lack some of them, and keeping all values would take too much memory
    return _cells(json_rows(path), path, columns_of, find_encoding(path)[1])


def json_rows(path: Path) -> Callable[[], Iterator[tuple[int, Any]]]:
    """Open a table in JSON.

    Parameters
    ----------
    path : Path
        See `read_json`.

    Returns
    -------
    callable
        Goes through the rows: the line, or the number from 1, and the value of each.

    Raises
    ------
    InputError
        If the file is not JSON; going through the rows raises it too.
    """
    encoding, _ = find_encoding(path)
    with open_text(path, encoding) as handle:
        first = handle.read(4096).lstrip("\ufeff \t\r\n")
        if first.startswith("["):
            handle.seek(0)
            return _listed(path, handle.read())
    return _lines(path, encoding)


def _parse(text: str | msgspec.Raw) -> Any:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:  # slower, but understands the NaN that Python and pandas write
        return parse_json(text if isinstance(text, str) else bytes(text))


def _lines(path: Path, encoding: str) -> Callable[[], Iterator[tuple[int, Any]]]:
    """Return a function that goes through the lines of a file."""

    def rows() -> Iterator[tuple[int, Any]]:
        with open_text(path, encoding) as handle:
            for number, line in enumerate(handle, 1):
                if not line.strip("\ufeff \t\r\n"):
                    continue
                try:
                    yield number, _parse(line.lstrip("\ufeff"))
                except (ValueError, RecursionError) as error:
                    if number == 1 and line.strip() == "{":
                        raise _not_rows(path) from None
                    raise InputError(f"{path}, line {number} is not JSON ({error})", "correct the table") from None

    return rows


def _listed(path: Path, text: str) -> Callable[[], Iterator[tuple[int, Any]]]:
    """Return a function that goes through the items of a list, each taken apart only when it is reached."""
    text = text.lstrip("\ufeff")
    try:
        try:
            items = msgspec.json.decode(text, type=list[msgspec.Raw])
        except msgspec.DecodeError:
            items = parse_json(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not JSON ({error})", "correct the table") from None

    def rows() -> Iterator[tuple[int, Any]]:
        for number, item in enumerate(items, 1):
            try:
                yield number, _parse(item) if isinstance(item, msgspec.Raw) else item
            except (ValueError, RecursionError) as error:
                raise InputError(f"{path}, item {number} is not JSON ({error})", "correct the table") from None

    return rows


def _not_rows(path: Path) -> InputError:
    return InputError(f"{path} is not a list of objects", "write one object for each photo, or one a line as *.jsonl")


def _cells(rows: Any, path: Path, columns_of: ColumnsOf, note: str) -> Cells:
    keys: dict[str, None] = {}
    last: Any = None
    total = 0
    for number, row in rows():
        if not isinstance(row, dict):
            raise InputError(f"{path}, line {number} is not an object", "write one object for each photo")
        total += 1
        if (these := row.keys()) != last:
            keys.update(dict.fromkeys(row))
            last = these
    if not total:
        raise InputError(f"{path} is empty", "give a table with an object for each photo")
    columns = columns_of(list(keys))
    cells: list[list[Any]] = [[] for _ in columns]
    shared: list[dict[str, str]] = [{} for _ in columns]
    into = list(zip(columns.values(), cells, shared, strict=True))
    lines = array("q")
    for number, row in rows():
        for key, column, known in into:
            value = row.get(key)
            if isinstance(value, str):
                if len(known) < SHARED:
                    value = known.setdefault(value, value)
            elif isinstance(value, float) and value != value:
                value = None
            column.append(None if value == "" else value)
        lines.append(number)
    return Cells(
        columns={role: np.fromiter(column, object, len(column)) for role, column in zip(columns, cells, strict=True)},
        lines=np.frombuffer(lines, np.int64),
        note=note,
    )
