"""Tables that name images: finding them and reading their rows."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from shelfbench.base.errors import InputError, first_line
from shelfbench.data.sources.columns import find_column, listed, suggestion
from shelfbench.data.sources.files import NO_PHOTO
from shelfbench.data.sources.json_tables import read_json
from shelfbench.data.sources.settings import DatasetSettings
from shelfbench.data.sources.sheets import read_sheet
from shelfbench.data.sources.table_paths import located
from shelfbench.data.sources.table_products import perhaps_product, perhaps_products, shared_products
from shelfbench.data.sources.table_rows import settled_split
from shelfbench.data.sources.tables import optional_column, perhaps_splits, wanted_columns
from shelfbench.data.sources.text_tables import Cells, ColumnsOf, read_text

TEXT_SUFFIXES = (".csv", ".tsv", ".tab", ".txt")
JSON_SUFFIXES = (".jsonl", ".ndjson", ".json")
SHEET_SUFFIXES = (".xlsx", ".xlsm")
# Suffixes of files that are tables; Parquet may also hold the photos themselves.
TABLE_SUFFIXES = (*TEXT_SUFFIXES, *JSON_SUFFIXES, *SHEET_SUFFIXES, ".parquet")
# Rows of a column of text that are turned into objects at once.
_PIECE = 1 << 16
# Names of the table that comes with a folder of images.
METADATA = tuple(f"metadata{suffix}" for suffix in (".csv", ".jsonl", ".parquet", ".tsv", ".ndjson", ".json", ".xlsx"))

# A cell that names a photo, which no header is.
_PHOTO = re.compile(r"\.(jpe?g|png|webp|gif|bmp|tiff?|heic|avif)$", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class NamedImages:
    """Rows of a table that names images.

    Attributes
    ----------
    rows : DataFrame
        ``where``, the file of each row's image relative to the root, or its URL; and columns by role, as
        `catalogue_from_rows` takes them.
    notes : tuple of str
        What was unsure about reading the table.
    lines : ndarray of int64, shape (rows,)
        See `shelfbench.data.catalogue.TableRows`.
    refused : dict of int to str
        Why rows name no file, by row; an error where the table must have categories.
    """

    rows: pd.DataFrame
    notes: tuple[str, ...]
    lines: np.ndarray
    refused: dict[int, str] = field(default_factory=dict)


def read_cells(path: Path, settings: DatasetSettings, *, labelled: bool = True) -> tuple[Cells, str]:
    """Read the wanted cells of a table, whatever its format.

    Parameters
    ----------
    path : Path
        A file with a suffix among `TABLE_SUFFIXES`.
    settings : DatasetSettings
        Names of the columns.
    labelled : bool
        Whether the table must have a column of categories; otherwise only files and products are read.

    Returns
    -------
    cells : Cells
        By role: ``file_name`` and the roles of `wanted_columns`.
    unit : str
        What the rows of such a file are called: line or row.

    Raises
    ------
    InputError
        If the table cannot be read or lacks a column.
    """

    def columns_of(present: list[str]) -> dict[str, str]:
        file_name = None if settings.photos else find_column(settings.file_name, present, str(path))
        if file_name is None and (settings.photos or settings.file_name != DatasetSettings.file_name):
            file_name = _file_column(present, settings, path, labelled)
        named = {"file_name": file_name} if file_name else {}
        return {**named, **_other_columns(present, settings, path, labelled)}

    return cells_of(path, [settings.file_name, *([settings.category] if labelled else [])], columns_of)


def cells_of(path: Path, needed: Sequence[str], columns_of: ColumnsOf) -> tuple[Cells, str]:
    """Read some columns of a table, whatever its format.

    Parameters
    ----------
    path : Path
        A file with a suffix among `TABLE_SUFFIXES`.
    needed : sequence of str
        Names of columns by which the header and the delimiter are recognised.
    columns_of : callable
        Takes the names of all columns and returns the column to read by role.

    Returns
    -------
    cells : Cells
    unit : str
        What the rows of such a file are called: line or row.

    Raises
    ------
    InputError
        If the table cannot be read.
    """
    suffix = path.suffix.lower()
    try:
        if suffix in TEXT_SUFFIXES:
            return read_text(path, needed, columns_of), "line"
        if suffix in JSON_SUFFIXES:
            return read_json(path, columns_of), "line"
        if suffix in SHEET_SUFFIXES:
            return read_sheet(path, needed, columns_of), "row"
        if suffix == ".parquet":
            return _read_parquet(path, columns_of), "row"
    except PermissionError:
        raise InputError(f"no permission to read {path}", "change its permissions") from None
    except OSError as error:
        said = error.strerror or first_line(error)  # Arrow's have several lines
        raise InputError(f"{path} cannot be read ({said})", "correct the path, or write the table again") from None
    raise InputError(f"{path} is not a table that can be read", f"save it as one of {', '.join(TABLE_SUFFIXES)}")


def _file_column(present: Sequence[str], settings: DatasetSettings, path: Path, labelled: bool) -> str:
    name = find_column(settings.file_name, present, str(path))
    if name is None:
        headless = any(_PHOTO.search(column) for column in present)
        remedy = "begin the table with a line of column names, such as file_name,category"
        if len(present) == 1 and settings.file_name.casefold() in present[0].casefold():
            headless = True
            remedy = "separate its cells by commas, semicolons or tabs, without quotation marks around whole lines"
        # all that is missing at once: nobody likes to be asked twice
        missing = ["file_name"]
        if labelled and not headless and find_column(settings.category, present, str(path)) is None:
            missing.append("category")
        names = " and none ".join(repr(getattr(settings, role)) for role in missing)
        raise InputError(
            f"{path} has no column {names} (it has {listed(present)})",
            remedy if headless else suggestion(missing, present) + perhaps_product(settings, present, str(path)),
        )
    return name


def _other_columns(present: list[str], settings: DatasetSettings, path: Path, labelled: bool) -> dict[str, str]:
    if labelled:
        columns = wanted_columns(settings, present, str(path))
        return {**columns, **perhaps_splits(columns, present), **perhaps_products(columns, present)}
    product = optional_column("product_id", settings, present, str(path))
    return {"product_id": product} if product else perhaps_products({}, present)


def _read_parquet(path: Path, columns_of: Any) -> Cells:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        columns = columns_of(pq.read_schema(path).names)
        # one after the other: Arrow's copy of a column is gone before the next is read
        cells = {role: column_values(pq.read_table(path, columns=[name]).column(0)) for role, name in columns.items()}
        count = pq.read_metadata(path).num_rows
        if odd := [name for role, name in columns.items() if len(cells[role]) != count]:
            raise InputError(
                f"{path} is damaged: column {odd[0]!r} has not as many rows as the table", "write it again"
            )
    except UnicodeDecodeError:
        raise InputError(f"{path} contains text that is not UTF-8", "write it as UTF-8") from None
    except pa.ArrowException as error:
        raise InputError(f"{path} is not a readable Parquet file ({first_line(error)})", "write it again") from None
    return Cells(columns=cells, lines=np.arange(count, dtype=np.int64))


def column_values(column: Any) -> np.ndarray:
    """Return a column of an Arrow table as an array of integers, or of objects with None for null.

    Parameters
    ----------
    column : pyarrow.ChunkedArray

    Returns
    -------
    ndarray, shape (rows,)
        Equal texts are one object, if they are not far from each other.
    """
    import pyarrow as pa

    if pa.types.is_integer(column.type) and not column.null_count:
        found: np.ndarray = column.to_numpy()
        return found
    text = pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
    if text or pa.types.is_dictionary(column.type):
        chunks = column.chunks
        if text:  # piece by piece, because a dictionary of a million different texts would take as much as they do
            slices = (chunk.slice(at, _PIECE) for chunk in chunks for at in range(0, len(chunk), _PIECE))
            chunks = (piece.dictionary_encode() for piece in slices)
        parts = []
        for chunk in chunks:
            values = np.array([*chunk.dictionary.to_pylist(), None], object)
            parts.append(values[chunk.indices.fill_null(len(values) - 1).to_numpy(zero_copy_only=False)])
        return np.concatenate(parts) if parts else np.empty(0, object)
    return np.fromiter(column.to_pylist(), object, len(column))


def named_images(path: Path, root: Path, settings: DatasetSettings, *, labelled: bool = True) -> NamedImages:
    """Read a table that names images.

    Parameters
    ----------
    path : Path
        A file with a suffix among `TABLE_SUFFIXES`.
    root : Path
        Folder that the names in ``where`` are relative to; contains the table.
    settings : DatasetSettings
        Names of the columns.
    labelled : bool
        Whether the table must have a column of categories; otherwise only files and products are read.

    Returns
    -------
    NamedImages

    Raises
    ------
    InputError
        If the table cannot be read, lacks a column, or names files that are not below `root`.
    """
    cells, unit = read_cells(path, settings, labelled=labelled)
    columns = dict(cells.columns)

    def at(row: int) -> str:
        return f"{path}, {unit} {cells.lines[row]}"

    refused: dict[int, str] | None = None if labelled else {}
    names = columns.pop("file_name", None)
    rows = pd.DataFrame({role: pd.Series(values, dtype=values.dtype) for role, values in columns.items()})
    if not settings.photos:
        given = np.full(len(cells.lines), None) if names is None else names
        places = (f"{path.name}, {unit} {line}" for line in cells.lines.tolist())
        named = [str(name) if name is not None else place for name, place in zip(given, places, strict=True)]
        return _rows(rows.assign(where=pd.Series(named, dtype=object)), path, cells, [])
    assert names is not None
    bare = np.fromiter((name is None or (isinstance(name, str) and not name.strip()) for name in names), bool)
    if labelled and bare.any() and not bare.all():
        of = np.flatnonzero(~bare)
        where = np.empty(len(names), object)
        where[bare] = [f"{path.name}, {unit} {line}{NO_PHOTO}" for line in cells.lines[bare].tolist()]
        where[of], notes = located(names[of], lambda row: at(int(of[row])), path, root, None)
        kept, said = _without_photo(rows, bare, [f"{unit} {line}" for line in cells.lines[bare].tolist()], path)
        notes += said
    else:
        where, notes = located(names, at, path, root, refused)
        kept = np.ones(len(names), bool)
    rows["where"] = pd.Series(where, dtype=object)
    found = _rows(rows if kept.all() else rows[kept].reset_index(drop=True), path, cells, notes)
    return replace(found, lines=cells.lines[kept], refused=refused or {})


def _rows(rows: pd.DataFrame, path: Path, cells: Cells, notes: Sequence[str]) -> NamedImages:
    """Settle what columns of other names mean."""
    rows, said = settled_split(rows)
    rows, alike = shared_products(rows, path.name)
    remarks = (*([cells.note] if cells.note else []), *notes, *said, *alike)
    return NamedImages(rows=rows, notes=remarks, lines=cells.lines)


def _without_photo(
    rows: pd.DataFrame, bare: np.ndarray, lines: Sequence[str], path: Path
) -> tuple[np.ndarray, list[str]]:
    """Tell which rows to keep where some name no photo: those of products that have a category and no other row."""
    labelled = rows["category"].map(lambda cell: cell is not None and cell == cell and str(cell).strip() != "")
    dropped = bare & ~labelled.to_numpy(bool)
    if "product_id" in rows:
        other = set(rows["product_id"].map(str)[~bare & labelled])
        dropped |= bare & rows["product_id"].map(str).isin(other).to_numpy()
    notes = []
    for which, what, then in (
        (dropped, "names no photo and was skipped", "name no photo and were skipped"),
        (bare & ~dropped, "names no photo, so its product has none", "name no photo, so their products have none"),
    ):
        if count := int(which.sum()):
            first = lines[int(np.flatnonzero(which[bare])[0])]
            notes.append(
                f"1 row of {path.name} {what} ({first})"
                if count == 1
                else f"{count:,} rows of {path.name} {then} (the first is {first})"
            )
    return ~dropped, notes
