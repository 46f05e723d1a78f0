"""Vectors in the cells of a table, or in the rows of a NumPy file: read block by block, and checked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from shelfbench.base.arrays import guarded
from shelfbench.base.errors import InputError
from shelfbench.data.sources.columns import find_column, listed
from shelfbench.data.sources.json_tables import json_rows
from shelfbench.data.sources.table_files import JSON_SUFFIXES, TABLE_SUFFIXES, cells_of

ARRAYS = (".npy", ".npz")
"""Suffixes of files of arrays."""

# Rows at once: 24 MiB of 1,536 numbers.
_BLOCK = 4096
_NUMBERS = "write float32 numbers, as many in each row"
_WHOLE = "embeddings are numbers with fractions; if these are some, write them as float32"


@dataclass(frozen=True)
class Block:
    """Vectors of some of the rows that were asked for.

    Attributes
    ----------
    asked : ndarray of int64, shape (n,)
        Positions among the rows that were asked for.
    values : ndarray of float32, shape (n, dimensions)
    """

    asked: np.ndarray
    values: np.ndarray


class Vectors:
    """Vectors that must all be of the same length.

    Parameters
    ----------
    column : str
        Of tables; of ``*.npz``, the array.

    Attributes
    ----------
    dimensions : int
        Their length; 0 before the first one is read.
    """

    def __init__(self, column: str) -> None:
        self.column = column
        self.dimensions = 0
        self._first = ""

    def blocks(self, path: Path, lines: np.ndarray) -> Iterator[Block]:
        """Read the vectors of some rows.

        Parameters
        ----------
        path : Path
            A table, or a file of arrays.
        lines : ndarray of int64, shape (n,)
            The rows that are wanted, ascending, as in `shelfbench.data.catalogue.TableRows`.

        Yields
        ------
        Block
            In order; a row whose cell is empty or null is in none.

        Raises
        ------
        InputError
            If the file cannot be read, has no such column, or a wanted row holds something other than a vector; the
            message names the row.
        """
        suffix = path.suffix.lower()
        if suffix in ARRAYS:
            yield from self._of_array(path, lines)
        elif suffix == ".parquet":
            yield from self._of_parquet(path, lines)
        elif suffix in JSON_SUFFIXES:
            yield from self._of_rows(path, _json_cells(path, self.column), lines, "line")
        elif suffix in TABLE_SUFFIXES:
            cells, unit = cells_of(path, [self.column], lambda present: {"vector": self.found(path, present)})
            rows = zip(cells.lines.tolist(), map(_parsed, cells.columns["vector"]), strict=True)
            yield from self._of_rows(path, rows, lines, unit)
        else:
            raise InputError(f"{path} is not a table", "give embeddings as Parquet or *.npy")

    def expect(self, dimensions: int, whose: str) -> None:
        """Refuse vectors of any other length; `whose` has this one, for the message."""
        self.dimensions, self._first = dimensions, whose

    def found(self, path: Path, present: Sequence[str]) -> str:
        """Find the column among those of a table, or raise the line that lists them."""
        if (name := find_column(self.column, present, str(path))) is None:
            raise InputError(
                f"{path} has no column {self.column!r} of embeddings (it has {listed(present)})", "correct the name"
            )
        return name

    def _of_array(self, path: Path, lines: np.ndarray) -> Iterator[Block]:
        array = open_array(path, self.column)
        for start in range(0, len(lines), _BLOCK):
            asked = np.arange(start, min(start + _BLOCK, len(lines)))
            yield self._checked(asked, np.asarray(array[lines[asked]]), lambda row: f"{path}, row {lines[row]}")

    def _of_parquet(self, path: Path, lines: np.ndarray) -> Iterator[Block]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            # a buffer would hold the whole column
            with pq.ParquetFile(path, pre_buffer=False) as parquet:
                name = self.found(path, parquet.schema_arrow.names)
                check_type(parquet.schema_arrow.field(name).type, f"{path}: the column {name!r}")
                start = 0
                for batch in parquet.iter_batches(_BLOCK, columns=[name]):
                    asked = np.arange(*np.searchsorted(lines, [start, start + len(batch)]))
                    if len(asked):
                        cells = batch.column(0).take(pa.array(lines[asked] - start))
                        yield from self._of_arrow(path, cells, asked, lines)
                    start += len(batch)
        except UnicodeDecodeError:
            raise InputError(f"{path} has columns whose names are not UTF-8", "write it again") from None
        except (pa.ArrowException, OSError) as error:
            said = str(error).strip().partition("\n")[0]
            raise InputError(f"{path} is not a readable Parquet file ({said})", "write it again") from None

    def _of_arrow(self, path: Path, cells: Any, asked: np.ndarray, lines: np.ndarray) -> Iterator[Block]:
        import pyarrow as pa
        import pyarrow.compute as pc

        if isinstance(cells, pa.ExtensionArray):
            cells = cells.storage
        lengths = pc.list_value_length(cells).fill_null(0).to_numpy(zero_copy_only=False)
        there = np.flatnonzero(lengths)
        if len(there) < len(asked):
            cells, asked, lengths = cells.take(pa.array(there)), asked[there], lengths[there]
        if not len(asked):
            return

        def at(row: int) -> str:
            return f"{path}, row {lines[row]}"

        self._same_length(lengths, asked, at)
        flat = cells.flatten()
        if flat.null_count:
            row = int(np.flatnonzero(flat.is_null().to_numpy(zero_copy_only=False))[0]) // self.dimensions
            raise InputError(f"{at(asked[row])}: a number of the embedding is null", _NUMBERS)
        yield self._checked(asked, flat.to_numpy(zero_copy_only=False).reshape(len(asked), -1), at)

    def _of_rows(self, path: Path, rows: Iterator[tuple[int, Any]], lines: np.ndarray, unit: str) -> Iterator[Block]:
        """Read cells one after the other; `rows` yields the line and the cell of each."""

        def at(row: int) -> str:
            return f"{path}, {unit} {lines[row]}"

        asked: list[int] = []
        held: list[np.ndarray] = []
        next_asked = 0
        for line, cell in rows:
            if next_asked == len(lines):
                break
            if line != lines[next_asked]:
                continue
            row = next_asked
            next_asked += 1
            if cell is None or (isinstance(cell, list) and not cell):
                continue
            asked.append(row)
            held.append(_numbers(cell, at(row)))
            if len(held) == _BLOCK:
                yield self._stacked(asked, held, at)
                asked, held = [], []
        if next_asked < len(lines):
            raise InputError(f"{path} has changed since it was opened", "run the command again")
        if held:
            yield self._stacked(asked, held, at)

    def _stacked(self, asked: list[int], held: list[np.ndarray], at: Callable[[int], str]) -> Block:
        rows = np.array(asked)
        self._same_length(np.array([len(vector) for vector in held]), rows, at)
        return self._checked(rows, np.stack(held), at)

    def _same_length(self, lengths: np.ndarray, asked: np.ndarray, at: Callable[[int], str]) -> None:
        """Refuse a vector that is not as long as the first one."""
        if not len(asked):
            return
        if not self.dimensions:
            self.dimensions, self._first = int(lengths[0]), at(asked[0])
        if (wrong := np.flatnonzero(lengths != self.dimensions)).size:
            raise InputError(
                f"{at(asked[wrong[0]])}: the embedding has {lengths[wrong[0]]:,} numbers, but {self._first} has "
                f"{self.dimensions:,}",
                "give all of the same model",
            )

    def _checked(self, asked: np.ndarray, values: np.ndarray, at: Callable[[int], str]) -> Block:
        """Return the vectors as float32, and refuse one that is not finite."""
        self._same_length(np.full(len(asked), values.shape[1]), asked, at)
        with np.errstate(over="ignore"):
            numbers = np.ascontiguousarray(values, np.float32)
        if (wrong := np.flatnonzero(~np.isfinite(numbers).all(axis=1))).size:
            first = values[wrong[0]]
            what = "NaN" if np.isnan(first).any() else "infinity" if np.isinf(first).any() else "a number above 1e38"
            raise InputError(
                f"{at(asked[wrong[0]])}: the embedding contains {what}",
                "leave the cell empty where there is no embedding, or correct it",
            )
        return Block(asked, numbers)


def _json_cells(path: Path, column: str) -> Iterator[tuple[int, Any]]:
    """Yield the line and the cell of each row; rows may lack the column, but not all of them."""
    keys: dict[str, None] = {}
    name = None
    waiting: list[int] = []
    for line, row in json_rows(path)():
        if name is None:
            keys.update(dict.fromkeys(row))
            if (name := find_column(column, list(keys), str(path))) is None:
                waiting.append(line)
                continue
            yield from ((before, None) for before in waiting)
        yield line, row.get(name)
    if name is None:
        raise InputError(
            f"{path} has no column {column!r} of embeddings (it has {listed(list(keys))})", "correct the name"
        )


def _parsed(cell: Any) -> Any:
    """Read the list that a cell of text holds; what is none is returned as it is."""
    if not isinstance(cell, str):
        return cell
    try:
        return msgspec.json.decode(cell)
    except msgspec.DecodeError:
        return cell


def _numbers(cell: Any, where: str) -> np.ndarray:
    """Turn a list into a vector of float64."""
    what = type(cell).__name__ if not isinstance(cell, str) else f"the text {cell[:30]!r}"
    if not isinstance(cell, list):
        raise InputError(f"{where}: the embedding is {what}, not a list", "write it as JSON, such as [0.25, -1.5]")
    if any(isinstance(number, bool) or not isinstance(number, (int, float)) for number in cell):
        raise InputError(f"{where}: the embedding is not a list of numbers", _NUMBERS)
    return np.array(cell, np.float64)


def is_vectors(kind: Any) -> bool:
    """Tell whether an Arrow type holds one vector of floating-point numbers in each cell."""
    import pyarrow as pa

    kind = kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind
    lists = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    return bool(lists and pa.types.is_floating(kind.value_type))


def check_type(kind: Any, what: str) -> None:
    """Refuse a type that does not hold vectors.

    Parameters
    ----------
    kind : pyarrow.DataType
    what : str
        The column, for the message.

    Raises
    ------
    InputError
        If it holds something else.
    """
    import pyarrow as pa

    shape = getattr(kind, "shape", [0])
    if is_vectors(kind) and len(shape) == 1:
        return
    inner = getattr(kind, "value_type", None)
    if inner is not None and pa.types.is_integer(inner):
        raise InputError(f"{what} holds whole numbers ({kind})", _WHOLE)
    if inner is not None and (getattr(inner, "value_type", None) is not None or len(shape) > 1):
        raise InputError(f"{what} holds tables of numbers ({kind})", "pool them, so that each row has one vector")
    raise InputError(f"{what} holds {kind}, not lists of numbers", "name the column of embeddings")


def open_array(path: Path, name: str = "") -> np.ndarray:
    """Open a matrix with one vector a row; of ``*.npy``, nothing is read yet.

    Parameters
    ----------
    path : Path
        ``*.npy`` or ``*.npz``.
    name : str
        The array of ``*.npz``.

    Returns
    -------
    ndarray of float, shape (rows, dimensions)

    Raises
    ------
    InputError
        If it is damaged, holds objects, or is not such a matrix.
    """
    array = load_array(path, name)
    if array.dtype.kind in "iub":
        raise InputError(f"{path} holds whole numbers ({array.dtype})", _WHOLE)
    if array.dtype.kind != "f" or array.ndim != 2 or not array.shape[1]:
        raise InputError(
            f"{path} holds {array.dtype} of shape {array.shape}, not a matrix with one embedding a row", _NUMBERS
        )
    return array


def _loaded(path: Path, name: str) -> np.ndarray:
    if path.suffix.lower() == ".npz":
        # opened here, because NumPy leaves a damaged file open
        with open(path, "rb") as handle, np.load(handle, allow_pickle=False) as arrays:
            found: np.ndarray = arrays[name]
            return found
    found = np.load(path, mmap_mode="r", allow_pickle=False)
    return found


def load_array(path: Path, name: str = "") -> np.ndarray:
    """Load any array of a file without executing anything; see `open_array`."""
    try:
        return np.asanyarray(guarded(_loaded, path, name))
    except PermissionError:
        raise InputError(f"no permission to read {path}", "change its permissions") from None
    except (OSError, ValueError) as error:
        said = str(error).strip().partition("\n")[0][:160]
        if any(words in said for words in ("allow_pickle", "Object arrays", "Python objects")):
            said = "it holds Python objects, which are not loaded"
        raise InputError(f"{path} cannot be read ({said})", "write it again with numpy.save") from None
