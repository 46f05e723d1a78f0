"""Tables as text: which encoding and which delimiter a file has, and its cells."""

from __future__ import annotations

import codecs
import csv
import io
import re
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from shelfbench.base.errors import InputError
from shelfbench.data.sources.columns import plain_header

DELIMITERS = (",", ";", "\t", "|")
# Characters and records from which the delimiter is found.
HEAD, SAMPLE = 1 << 18, 200
# Lines in which the column names are looked for.
ABOVE = 20
# Characters in one cell; Python's own limit (131,072) is too low for descriptions in HTML.
LONGEST_CELL = 1 << 24
# Distinct values of a column up to which equal cells share one text.
SHARED = 50_000

_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# How files begin that are called a table of text and are not.
_OTHERS = (
    (b"PK\x03\x04", "a workbook or an archive", "call it *.xlsx if it is a workbook"),
    (b"\xd0\xcf\x11\xe0", "a workbook in the old Excel format", "save it as *.xlsx, or as CSV UTF-8"),
    (b"\x1f\x8b", "compressed", "unpack it"),
    (b"PAR1", "Parquet", "call it *.parquet"),
    (b"%PDF", "PDF", "export a table"),
    (b"version https://git-lfs", "a Git LFS pointer", "fetch the file with git lfs pull"),
    (b"<html", "a web page", "export a table"),
    (b"<!doctype", "a web page", "export a table"),
)
# Words that hardly stand in Windows-1252, but in other encodings read as it: Cyrillic, Greek, Chinese, Mac OS Roman.
_STRANGE = re.compile(
    "[\xaa-\xba\xbc-\xffŠŒŽšœžŸƒ]{3,}|[a-zß-öø-ÿšœž][ŠŒŽŸÀ-ÖØ-Þ]|ƒ\\w|\\wƒ"
    "|[A-Za-zÀ-ÿ][‚„†‡ˆ‰‹›˜“”¡-§¨ª-¬¯±¶¸º»¿][a-zà-ÿ]"
)
_WORD = re.compile(r"[^\s,;|\"]+")
_SEP = re.compile(r"^\"?sep=(.)\"?[\r\n]*$", re.IGNORECASE)

_SAVE = "save the table as UTF-8 (in Excel: CSV UTF-8)"

ColumnsOf = Callable[[list[str]], dict[str, str]]


@dataclass(frozen=True, kw_only=True)
class Cells:
    """Cells of a table by role.

    Attributes
    ----------
    columns : dict of str to ndarray of object
        By role; None for an empty cell.
    lines : ndarray of int64, shape (rows,)
        Where each row begins in the file: its line or row, counted from 1.
    note : str
        What is unsure about how the file was read; empty if nothing is.
    """

    columns: dict[str, np.ndarray]
    lines: np.ndarray
    note: str = ""


def find_encoding(path: Path) -> tuple[str, str]:
    """Find the encoding of a text file: by its byte order mark, UTF-8 if it is that, else Windows-1252.

    Parameters
    ----------
    path : Path

    Returns
    -------
    encoding : str
        As Python names it.
    note : str
        Says so if the encoding is a guess (Windows-1252); else empty.

    Raises
    ------
    InputError
        If it is none of these, or lines differ in their encoding; the message names the line.
    """
    with open(path, "rb") as handle:
        head = handle.read(4096)
        for start, what, remedy in _OTHERS:
            if head[: len(start)].lower() == start.lower():
                raise InputError(f"{path} is not a table of text, but {what}", remedy)
        for mark, encoding in _BOMS:
            if head.startswith(mark):
                return encoding, ""
        zeros = [sum(byte == 0 for byte in head[start::2]) for start in (0, 1)]
        if len(head) > 3 and max(zeros) > len(head) // 4 and min(zeros) < max(zeros) // 4:
            return ("utf-16-le" if zeros[1] > zeros[0] else "utf-16-be"), ""
        handle.seek(0)
        decoder = codecs.getincrementaldecoder("utf-8")()
        try:
            while piece := handle.read(1 << 20):
                decoder.decode(piece)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return "cp1252", _windows(path)
    return "utf-8", ""


def _windows(path: Path) -> str:
    """Check that a file may be Windows-1252, and say that it is a guess, with an example."""
    utf8 = windows = words = strange = 0
    example = doubtful = ""
    with open(path, "rb") as handle:
        for number, line in enumerate(handle, 1):
            if line.isascii():
                continue
            try:
                line.decode("utf-8")
                utf8 = utf8 or number
            except UnicodeDecodeError:
                windows = windows or number
                try:
                    text = line.decode("cp1252")
                except UnicodeDecodeError as error:
                    byte = line[error.start]
                    raise InputError(
                        f"{path}, line {number}: the byte 0x{byte:02x} is neither UTF-8 nor Windows-1252", _SAVE
                    ) from None
                for word in (word for word in _WORD.findall(text) if not word.isascii()):
                    words += 1
                    example = example or word
                    if _STRANGE.search(word):
                        strange += 1
                        doubtful = doubtful or word
            if utf8 and windows:
                raise InputError(f"{path}: line {utf8} is UTF-8, but line {windows} is not", _SAVE)
    if strange * 10 >= words:
        raise InputError(f"{path} is not UTF-8, and as Windows-1252 it would contain words such as {doubtful!r}", _SAVE)
    return f"{path.name} is not UTF-8 and was read as Windows-1252, with words such as {example!r}; if not so, {_SAVE}"


@contextmanager
def open_text(path: Path, encoding: str) -> Iterator[TextIO]:
    """Open a text file, line breaks as they are; what cannot be decoded becomes one line.

    Parameters
    ----------
    path : Path
    encoding : str

    Yields
    ------
    file

    Raises
    ------
    InputError
        If the file is not text in this encoding.
    """
    with open(path, encoding=encoding, newline="") as handle:
        try:
            yield handle
        except UnicodeError as error:
            said = error.reason if isinstance(error, UnicodeDecodeError) else str(error)
            raise InputError(
                f"{path} is damaged: it begins as {encoding}, but {said}", "save the table again as UTF-8"
            ) from None


def find_delimiter(lines: list[str], needed: Sequence[str], path: Path) -> str:
    """Find the delimiter of a text table: the one by which the header contains the needed columns.

    Where that leaves several, it is the one by which all rows have as many cells as the header. Where no header
    contains them, it is the one by which most rows agree, so that the message can name the columns.

    Parameters
    ----------
    lines : list of str
        The beginning of the file.
    needed : sequence of str
        Names of columns.
    path : Path
        For messages.

    Returns
    -------
    str
        One of `DELIMITERS`.

    Raises
    ------
    InputError
        If several delimiters are possible.
    """
    wanted = {plain_header(name) for name in needed}
    found: list[tuple[int, bool, int, str]] = []
    for delimiter in DELIMITERS:
        rows: list[list[str]] = []
        with suppress(csv.Error):  # where it is damaged is found when it is read
            rows.extend(islice(csv.reader(lines, delimiter=delimiter), SAMPLE))
        rows = [row for row in rows if any(cell.strip() for cell in row)]
        if not rows:
            continue
        header = {plain_header(cell) for cell in rows[0]}
        # the last record may have been cut off
        even = all(len(row) == len(rows[0]) for row in rows[1:-1])
        found.append((len(wanted & header), even, len(rows[0]), delimiter))
    if not found:
        return ","
    most = max(count for count, *_ in found)
    best = [entry for entry in found if entry[0] == most]
    if not most:  # no header has any of them
        best = [max(best, key=lambda entry: (entry[1] and entry[2] > 1, entry[2]))]
    elif len(best) > 1:
        widths = {entry[2] for entry in best}
        if widths == {1}:
            return ","  # a single column
        best = [entry for entry in best if entry[1]] or best
    if len(best) > 1:
        names = " or ".join(repr(entry[3]) for entry in best)
        raise InputError(f"{path}: it is unclear whether {names} separates the cells", "separate them by commas")
    return best[0][3]


def read_text(path: Path, needed: Sequence[str], columns_of: ColumnsOf) -> Cells:
    """Read the cells of a text table.

    Parameters
    ----------
    path : Path
    needed : sequence of str
        Columns that the table must have, from which the delimiter is found.
    columns_of : callable
        Takes the header and returns the column to read by role.

    Returns
    -------
    Cells

    Raises
    ------
    InputError
        If the file is empty or not text, or a row has too many or too few cells; the message names the line.
    """
    encoding, note = find_encoding(path)
    with open_text(path, encoding) as handle:
        head = list(io.StringIO(handle.read(HEAD), newline=""))
    given = _SEP.match(head[0]) if head else None
    above = 1 if given else _above(head, needed)
    head = head[above:]
    notes = [note] if note else []
    if above and not given:
        notes.append(f"the column names are in line {above + 1} of {path.name}, and what is above was not read")
    delimiter = given[1] if given else find_delimiter(head, needed, path)
    spaced = _quotes_after_blanks(head, delimiter)
    before = csv.field_size_limit(LONGEST_CELL)
    try:
        with open_text(path, encoding) as handle:
            for _ in range(above):
                handle.readline()
            reader = csv.reader(handle, delimiter=delimiter, strict=True, skipinitialspace=spaced)
            columns, lines, again = _cells(_records(reader, path, above), path, columns_of)
    finally:
        csv.field_size_limit(before)
    if again:
        notes.append(names_again(path, again))
    return Cells(columns=columns, lines=lines, note="; ".join(notes))


def names_again(path: Path, lines: Sequence[int]) -> str:
    """Say that a table names its columns once more further down, as tables do that were put together.

    Parameters
    ----------
    path : Path
    lines : sequence of int
        Lines or rows, which are not read.

    Returns
    -------
    str
    """
    more = f" and {len(lines) - 1:,} more" if len(lines) > 1 else ""
    return f"{path.name} repeats its column names in line {lines[0]}{more}, which was not read as a photo"


def _above(head: list[str], needed: Sequence[str]) -> int:
    """Count the lines above the header: titles and the like, if a later line has all the needed columns.

    A first line that has any of them is the header.
    """
    wanted = {plain_header(name) for name in needed}
    for number, line in enumerate(head[:ABOVE]):
        for delimiter in DELIMITERS:
            try:
                there = wanted & {plain_header(cell) for row in csv.reader([line], delimiter=delimiter) for cell in row}
            except csv.Error:
                continue
            if there == wanted:
                return number
            if there and number == 0:
                return 0
    return 0


def _quotes_after_blanks(head: list[str], delimiter: str) -> bool:
    """Tell whether a blank follows every delimiter, also before quoted cells: ``a, "b"``."""
    try:
        rows = list(islice(csv.reader(head, delimiter=delimiter), SAMPLE))
    except csv.Error:
        return False
    cells = [cell for row in rows for cell in row[1:]]
    return all(cell.startswith(" ") for cell in cells) and any(cell.lstrip().startswith('"') for cell in cells)


def _records(reader: Any, path: Path, skipped: int) -> Iterator[tuple[int, list[str]]]:
    """Yield the line on which each record begins, and its cells; records without any text are left out."""
    begins = skipped + 1
    try:
        for record in reader:
            if any(record) and (record[0].strip() or any(cell.strip() for cell in record)):
                yield begins, record
            begins = reader.line_num + skipped + 1
    except csv.Error as error:
        if "expected after" in str(error):
            raise InputError(
                f"{path}, line {reader.line_num + skipped}: text follows a closing quotation mark",
                'write quotation marks within a cell twice, as in "5"" pipe"',
            ) from None
        said = "a quotation mark is opened and never closed"
        if "field limit" in str(error):
            said = f"a cell has more than {LONGEST_CELL:,} characters, perhaps because {said}"
        raise InputError(f"{path}, line {begins}: {said}", "correct the table") from None


def _cells(
    records: Iterator[tuple[int, list[str]]], path: Path, columns_of: ColumnsOf
) -> tuple[dict[str, np.ndarray], np.ndarray, list[int]]:
    """Return the cells by role, the line of each row, and the lines in which the header occurs again."""
    _, header = next(records, (0, []))
    if not header:
        raise InputError(f"{path} is empty", "give a table with a line of column names and a line for each photo")
    columns = columns_of(header)
    width = len(header)
    positions = [header.index(column) for column in columns.values()]
    cells: list[list[str | None]] = [[] for _ in positions]
    shared: list[dict[str, str]] = [{} for _ in positions]
    into = list(zip(positions, cells, shared, strict=True))
    lines = array("q")
    again: list[int] = []
    plain, last = [plain_header(name) for name in header], header[-1].lower()
    for line, record in records:
        if record[-1].lower() == last and width > 1 and [plain_header(cell) for cell in record] == plain:
            again.append(line)
            continue
        if len(record) != width and (len(record) < width or any(cell.strip() for cell in record[width:])):
            few = "only " if len(record) < width else ""
            raise InputError(
                f"{path}, line {line} has {few}{len(record)} cells, but the header has {width}",
                "correct the table; a cell that contains the delimiter needs quotation marks",
            )
        for position, column, known in into:
            cell = record[position]
            if len(known) < SHARED:  # a million rows of ten categories need ten texts
                cell = known.setdefault(cell, cell)
            column.append(cell or None)
        lines.append(line)
    arrays = {role: np.array(column, object) for role, column in zip(columns, cells, strict=True)}
    return arrays, np.frombuffer(lines, np.int64) if lines else np.empty(0, np.int64), again
