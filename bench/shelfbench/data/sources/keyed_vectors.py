"""Files of embeddings beside a dataset: which row belongs to which image, by its path or its product."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from shelfbench.base.errors import InputError
from shelfbench.base.grid import number_of
from shelfbench.data.catalogue import Catalogue
from shelfbench.data.sources.columns import find_column, listed, usual
from shelfbench.data.sources.labels import as_key
from shelfbench.data.sources.settings import DatasetSettings
from shelfbench.data.sources.table_files import TABLE_SUFFIXES, cells_of
from shelfbench.data.sources.vectors import ARRAYS, check_type, is_vectors, load_array, open_array

IMAGE, PRODUCT = "file_name", "product_id"
_BY = (IMAGE, PRODUCT)
# The column of embeddings in a table of text, where types do not tell.
_USUAL = "embedding"
_FILE = re.compile(rf"(.+?(?:{'|'.join(map(re.escape, (*ARRAYS, *TABLE_SUFFIXES)))}))(?::(.+))?", re.IGNORECASE)


def split_source(source: str) -> tuple[Path | None, str]:
    """Take apart what follows ``features:``.

    Parameters
    ----------
    source : str
        A column of the dataset's table, or a file of embeddings, perhaps with the column in it: ``PATH:COLUMN``.

    Returns
    -------
    path : Path or None
        None for a column of the dataset's own table.
    column : str
        Empty if the file is to say it.
    """
    if (match := _FILE.fullmatch(source)) is None:
        return None, source
    return Path(match[1]).expanduser(), match[2] or ""


@dataclass(frozen=True)
class KeyedFile:
    """A file of embeddings with a key for each row.

    Attributes
    ----------
    path : Path
    column : str
        Of the embeddings; the array's name in ``*.npz``, and empty for ``*.npy``.
    keys : dict of str to ndarray of object
        The keys as text by what they name: ``file_name``, ``product_id`` or both.
    lines : ndarray of int64, shape (rows,)
        See `shelfbench.data.catalogue.TableRows`.
    """

    path: Path
    column: str
    keys: dict[str, np.ndarray]
    lines: np.ndarray


def open_keyed(path: Path, column: str, settings: DatasetSettings) -> KeyedFile:
    """Find the keys and the embeddings of a file.

    Parameters
    ----------
    path : Path
    column : str
        Empty if there is only one of embeddings.
    settings : DatasetSettings
        Names of the columns ``file_name`` and ``product_id``, if they differ from these.

    Returns
    -------
    KeyedFile

    Raises
    ------
    InputError
        If the file is missing, or it is unclear which values are keys or embeddings.
    """
    if not path.is_file():
        raise InputError(
            f"no file of embeddings at {path}",
            "correct the path; a column of the dataset's table is given by its name alone",
        )
    suffix = path.suffix.lower()
    if suffix == ".npy":
        return _of_npy(path, column, settings)
    if suffix == ".npz":
        return _of_npz(path, column, settings)
    found = column or (_vector_column(path) if suffix == ".parquet" else _USUAL)
    keys, lines = _keys(path, settings)
    return KeyedFile(path, found, keys, lines)


def _of_npy(path: Path, column: str, settings: DatasetSettings) -> KeyedFile:
    if column:
        raise InputError(f"{path} has no columns", f"omit :{column}")
    count = len(open_array(path))
    beside = [other for suffix in TABLE_SUFFIXES if (other := path.with_suffix(suffix)).is_file()]
    example = path.with_suffix(".csv").name
    if len(beside) != 1:
        what = f"{' and '.join(other.name for other in beside)} both lie" if beside else "no table lies"
        raise InputError(
            f"{what} beside {path}, so it is unclear whose embeddings its {count:,} rows are",
            f"give one table {example} with a column file_name or product_id, and its rows in the same order",
        )
    keys, lines = _keys(beside[0], settings)
    if len(lines) != count:
        raise InputError(
            f"{path} has {number_of(count, 'row')}, but {beside[0].name} has {len(lines):,}", "make them the same"
        )
    return KeyedFile(path, "", keys, np.arange(count))


def _of_npz(path: Path, column: str, settings: DatasetSettings) -> KeyedFile:
    try:
        with open(path, "rb") as handle, np.load(handle, allow_pickle=False) as arrays:
            names = list(arrays.files)
    except Exception:
        load_array(path)  # says what is wrong with it
        raise
    found = {by: name for by in _BY if (name := find_column(getattr(settings, by), names, str(path)))}
    _require_key(found, names, path)
    matrices = [column] if column else [name for name in names if name not in found.values()]
    if len(matrices) != 1:
        raise InputError(f"{path} has the arrays {listed(names)}", f"say which holds embeddings: {path.name}:NAME")
    if matrices[0] not in names:
        raise InputError(f"{path} has no array {column!r} (it has {listed(names)})", "correct the name")
    count = len(open_array(path, matrices[0]))
    keys = {}
    for by, name in found.items():
        values = load_array(path, name)
        if values.shape != (count,) or values.dtype.kind not in "iuUS":
            raise InputError(
                f"{path}: {name} is {values.dtype} of shape {values.shape}, not a key for each of {count:,} rows",
                "write texts or whole numbers",
            )
        keys[by] = _as_keys(values.tolist(), by, path)
    return KeyedFile(path, matrices[0], keys, np.arange(count))


def _vector_column(path: Path) -> str:
    """Find the only column of embeddings of a Parquet file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        schema = pq.read_schema(path)
        names = schema.names
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        said = str(error).strip().partition("\n")[0]
        raise InputError(f"{path} is not a readable Parquet file ({said})", "write it again") from None
    vectors = [name for name in names if is_vectors(schema.field(name).type)]
    if len(vectors) > 1:
        raise InputError(f"{path} has the columns of embeddings {listed(vectors)}", f"choose: {path.name}:{vectors[0]}")
    if not vectors:
        nested = [name for name in names if hasattr(schema.field(name).type, "value_type")]
        if len(nested) == 1:
            check_type(schema.field(nested[0]).type, f"{path}: the column {nested[0]!r}")
        raise InputError(f"{path} has no column of embeddings (it has {listed(names)})", "give lists of numbers")
    return str(vectors[0])


def _keys(path: Path, settings: DatasetSettings) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Read the columns of keys of a table, and where its rows are."""

    def columns_of(present: list[str]) -> dict[str, str]:
        found = {by: name for by in _BY if (name := find_column(getattr(settings, by), present, str(path)))}
        _require_key(found, present, path)
        return found

    cells, _ = cells_of(path, [settings.file_name, settings.product_id], columns_of)
    return {by: _as_keys(values.tolist(), by, path) for by, values in cells.columns.items()}, cells.lines


def _require_key(found: dict[str, str], present: Sequence[str], path: Path) -> None:
    if found:
        return
    perhaps = [f"{name} may be {by}" for by in _BY for name in usual(by, present)[:2]]
    said = f"; {', '.join(perhaps)}" if perhaps else ""
    raise InputError(
        f"{path} has no column file_name or product_id that says whose embeddings these are "
        f"(it has {listed(present)}{said})",
        "call the key file_name or product_id",
    )


def _as_keys(values: Sequence[Any], by: str, path: Path) -> np.ndarray:
    """Return keys as text, None for a row without one."""
    try:
        texts: Iterator[str | None] = (
            None if value is None or value != value else _path(as_key(value)) if by == IMAGE else as_key(value)
            for value in values
        )
        return np.fromiter(texts, object, len(values))
    except TypeError:
        raise InputError(f"{path}: a {by} is not a plain value", "write text or a number") from None


def _path(name: str) -> str:
    return name.replace("\\", "/").removeprefix("./")


@dataclass(frozen=True)
class Matched:
    """Which row of a file belongs to each image.

    Attributes
    ----------
    by : str
        ``file_name`` or ``product_id``.
    row : ndarray of int64, shape (images,)
        The first row with its key; -1 without one.
    again : dict of int to list of int
        Further rows with the key of a row that an image has.
    """

    by: str
    row: np.ndarray
    again: dict[int, list[int]]


def match(file: KeyedFile, catalogue: Catalogue) -> Matched:
    """Find the row of each image of a catalogue.

    Parameters
    ----------
    file : KeyedFile
        By the paths of images if any of these is found, and otherwise by products.
    catalogue : Catalogue

    Returns
    -------
    Matched

    Raises
    ------
    InputError
        If no image has a row.
    """
    tried = []
    for by, keys in file.keys.items():
        if by == IMAGE:
            wanted = np.array([_path(catalogue.images.where(i)) for i in range(len(catalogue.images))], object)
        else:
            wanted = np.array([as_key(value) for value in catalogue.product_id.tolist()], object)
        index = pd.Index(keys)
        repeated = index.duplicated() & pd.notna(keys)
        first = np.flatnonzero(~index.duplicated())
        found = index[first].get_indexer(wanted)
        if (found < 0).all():
            own = next((str(key) for key in keys if key is not None), "nothing")
            tried.append(f"its {by} are such as {own!r}, and those of {catalogue.name} such as {wanted[0]!r}")
            continue
        row = np.where(found >= 0, first[found], -1)
        again: dict[int, list[int]] = {}
        if repeated.any():
            used = set(row.tolist())
            others = np.flatnonzero(repeated)
            for other, one in zip(others.tolist(), first[index[first].get_indexer(keys[others])].tolist(), strict=True):
                if one in used:
                    again.setdefault(one, []).append(other)
        return Matched(by, row if by == IMAGE else row[catalogue.image_product], again)
    raise InputError(f"{file.path} has no embedding of this dataset: {'; '.join(tried)}", "make the keys the same")
