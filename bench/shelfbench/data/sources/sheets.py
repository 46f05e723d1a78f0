"""Tables as Excel workbooks, with cells as a person sees them."""

from __future__ import annotations

import datetime
import re
import warnings
import zipfile
from array import array
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from shelfbench.base.errors import InputError
from shelfbench.data.sources.columns import plain_header
from shelfbench.data.sources.text_tables import ABOVE, Cells, ColumnsOf, names_again


def read_sheet(path: Path, needed: Sequence[str], columns_of: ColumnsOf) -> Cells:
    """Read the cells of the sheet that contains the needed columns.

    Parameters
    ----------
    path : Path
        An ``*.xlsx`` or ``*.xlsm`` file.
    needed : sequence of str
        Columns that the sheet must have.
    columns_of : callable
        Takes the header and returns the column to read by role.

    Returns
    -------
    Cells
        Texts as a person sees them: 7 rather than 7.0, and leading zeros that the format of the cell shows.

    Raises
    ------
    InputError
        If openpyxl is missing, the file is damaged, several sheets may be meant, or a wanted cell holds an error or a
        formula without a value.
    """
    try:
        import openpyxl
    except ImportError:
        raise InputError(
            f"reading {path} needs the package openpyxl", "python -m pip install 'shelfbench[excel]', or save it as CSV"
        ) from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # styles and extensions that openpyxl does not know
            book = openpyxl.load_workbook(path, read_only=True, data_only=True)
            try:
                return _read(book, path, needed, columns_of)
            finally:
                book.close()
    except InputError:
        raise
    except PermissionError:
        raise
    except Exception as error:  # openpyxl lets the errors of zipfile, of XML and its own through
        damaged = not zipfile.is_zipfile(path)
        raise InputError(
            f"{path} cannot be read ({'it is not a workbook' if damaged else error})",
            "save it in Excel as *.xlsx, or as CSV UTF-8",
        ) from None


def _read(book: Any, path: Path, needed: Sequence[str], columns_of: ColumnsOf) -> Cells:
    sheet, number, header, above = _choose(book, path, needed)
    columns = columns_of(header)
    positions = {role: header.index(column) for role, column in columns.items()}
    cells: dict[str, list[str | None]] = {role: [] for role in columns}
    lines = array("q")
    empty: list[tuple[int, int]] = []
    again: list[int] = []
    plain = [plain_header(name) for name in header]
    notes = []
    if number > 1 and above:
        notes.append(f"the column names are in row {number} of {path.name}, and what is above was not read")
    for line, row in _rows(sheet):
        if line <= number or all(cell.value is None for cell in row):
            continue
        if len(header) > 1 and [plain_header(name) for name in _header(row[: len(header)])] == plain:
            again.append(line)
            continue
        for role, position in positions.items():
            cell = row[position] if position < len(row) else None
            value = None if cell is None else _shown(cell, path, sheet.title)
            if value is None:
                empty.append((line, position))
            cells[role].append(value)
        lines.append(line)
    if empty:
        _refuse_formulas(path, sheet.title, set(empty))
    return Cells(
        columns={role: np.array(column, object) for role, column in cells.items()},
        lines=np.frombuffer(lines, np.int64) if lines else np.empty(0, np.int64),
        note="; ".join([*notes, *([names_again(path, again)] if again else [])]),
    )


def _rows(sheet: Any) -> Iterator[tuple[int, Any]]:
    sheet.reset_dimensions()  # some programs write wrong ones
    return enumerate(sheet.iter_rows(), 1)


def _header(row: Any) -> list[str]:
    return ["" if cell.value is None else str(cell.value) for cell in row]


def _choose(book: Any, path: Path, needed: Sequence[str]) -> tuple[Any, int, list[str], bool]:
    """Return the sheet with the needed columns, the row of its header, the header, and whether rows stand above it."""
    wanted = {plain_header(name) for name in needed}
    found: list[tuple[Any, int, list[str], bool]] = []
    for sheet in book.worksheets:
        top: tuple[Any, int, list[str], bool] | None = None
        for line, row in islice(_rows(sheet), ABOVE):
            header = _header(row)
            there = wanted & {plain_header(name) for name in header}
            if top is None and any(header):
                top = (sheet, line, header, False)
                if there:
                    break
            elif there == wanted:
                top = (sheet, line, header, True)
                break
        if top:
            found.append(top)
    if not found:
        raise InputError(f"{path} is empty", "give a table with a row of column names and a row for each photo")
    fit = [entry for entry in found if wanted <= {plain_header(name) for name in entry[2]}]
    if len(fit) > 1:
        names = " and ".join(repr(entry[0].title) for entry in fit)
        raise InputError(
            f"{path}: the sheets {names} may both be meant", "save the one that is meant in a file of its own"
        )
    return fit[0] if fit else found[0]


def _shown(cell: Any, path: Path, title: str) -> str | None:
    """Return the text of a cell as a person sees it."""
    value = cell.value
    if value is None or value == "":
        return None
    if cell.data_type == "e":
        raise InputError(f"{path}: the cell {cell.coordinate} of {title!r} holds the error {value}", "correct it")
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, int | float):
        return _number(value, str(cell.number_format or "General"))
    if isinstance(value, datetime.datetime):
        return str(value.date() if value.time() == datetime.time() else value)
    return str(value)


def _number(value: float, form: str) -> str:
    whole = float(value).is_integer()
    zeros = re.fullmatch(r"(0+)(?:;.*|_\))?", form)
    if zeros and whole and value >= 0:
        return str(int(value)).zfill(len(zeros[1]))
    if form in ("0%", "0.00%"):
        return f"{value:.{0 if form == '0%' else 2}%}"
    return str(int(value)) if whole and abs(value) < 1e15 else repr(value)


def _refuse_formulas(path: Path, title: str, empty: set[tuple[int, int]]) -> None:
    """Stop at a wanted cell whose formula has never been computed, which looks like an empty cell."""
    import openpyxl

    book = openpyxl.load_workbook(path, read_only=True)
    try:
        for line, row in _rows(book[title]):
            for position, cell in enumerate(row):
                if (line, position) in empty and cell.data_type == "f":
                    raise InputError(
                        f"{path}: the cell {cell.coordinate} of {title!r} is a formula without a value",
                        "open the file in Excel and save it, or save it as CSV UTF-8",
                    )
    finally:
        book.close()
