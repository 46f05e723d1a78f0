"""Products to classify by embeddings in a table, a block of rows at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from shelfbench.base.errors import InputError
from shelfbench.data.catalogue import gather_products
from shelfbench.data.embedding_names import GivenEmbeddings
from shelfbench.data.sources.columns import find_column
from shelfbench.data.sources.keyed_vectors import open_keyed
from shelfbench.data.sources.products import id_texts
from shelfbench.data.sources.settings import DatasetSettings
from shelfbench.data.sources.table_files import TABLE_SUFFIXES, cells_of
from shelfbench.data.sources.vectors import ARRAYS, Vectors


@dataclass(frozen=True)
class EmbeddedProducts:
    """Whole products with their embeddings.

    Attributes
    ----------
    keys : list of str
        Their ids.
    values : ndarray of float32, shape (n, dimensions)
    owner : ndarray of int64, shape (n,)
        The product of each embedding, as a position in `keys`, ascending; a product may have none.
    """

    keys: list[str]
    values: np.ndarray
    owner: np.ndarray


def embedded_products(
    paths: Sequence[Path], given: GivenEmbeddings, settings: DatasetSettings
) -> Iterator[EmbeddedProducts]:
    """Read the embeddings of products from tables, or from ``*.npy`` and ``*.npz`` with keys.

    Parameters
    ----------
    paths : sequence of Path
        Tables with the column that the decision rests on; rows with the same ``product_id`` are one product, and
        without that column each row is one, named by ``file_name`` or by its place.
    given : GivenEmbeddings
        The embeddings that the decision rests on.
    settings : DatasetSettings
        Names of columns.

    Yields
    ------
    EmbeddedProducts

    Raises
    ------
    InputError
        If a path is not such a table, or holds embeddings of another length.
    """
    for path in paths:
        if not path.exists():
            raise InputError(f"{path} does not exist", "correct the path")
        suffix = path.suffix.lower()
        if path.is_dir() or suffix not in (*TABLE_SUFFIXES, *ARRAYS):
            called = f"the column {given.column!r}" if given.column else "a matrix of rows with keys"
            raise InputError(
                f"{path} is not a table: this decision rests on embeddings of {given.dimensions:,} numbers that were "
                f"computed elsewhere ({given.source}), and cannot look at photos",
                f"give a table with {called}",
            )
        yield from _of_table(path, given, settings)


def _of_table(path: Path, given: GivenEmbeddings, settings: DatasetSettings) -> Iterator[EmbeddedProducts]:
    if path.suffix.lower() in ARRAYS:
        file = open_keyed(path, "", settings)
        column, lines = file.column, file.lines
        by = "product_id" if "product_id" in file.keys else "file_name"
        keys = id_texts(file.keys[by].tolist(), _places(path, "row", lines), path)
    else:
        column = given.column or "embedding"
        keys, lines = _ids(path, column, settings)
    table = gather_products(keys)
    code = np.empty(len(keys), np.int64)
    code[table.image_row] = table.image_product
    last = np.zeros(len(table.product_id), np.int64)
    last[code] = np.arange(len(keys))  # later rows replace earlier ones
    vectors = Vectors(column)
    vectors.expect(given.dimensions, "what the decision rests on")
    held_code = np.zeros(0, np.int64)
    held = np.zeros((0, given.dimensions), np.float32)
    waiting = np.argsort(last, kind="stable")  # products in the order in which they are complete
    for asked, values in _to_the_end(vectors, path, lines, given.dimensions):
        held_code, held = np.append(held_code, code[asked]), np.concatenate([held, values])
        upto = int(asked[-1]) if len(asked) else len(keys) - 1
        count = int(np.searchsorted(last[waiting], upto, side="right"))
        complete, waiting = waiting[:count], waiting[count:]
        if not len(complete):
            continue
        position = np.full(len(last), -1)
        position[complete] = np.arange(len(complete))
        owner = position[held_code]
        order = np.argsort(owner, kind="stable")
        order = order[owner[order] >= 0]
        yield EmbeddedProducts([str(key) for key in table.product_id[complete]], held[order], owner[order])
        held_code, held = held_code[owner < 0], held[owner < 0]


def _to_the_end(
    vectors: Vectors, path: Path, lines: np.ndarray, dimensions: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield blocks, and an empty one when there are no more."""
    for block in vectors.blocks(path, lines):
        yield block.asked, block.values
    yield np.zeros(0, np.int64), np.zeros((0, dimensions), np.float32)


def _ids(path: Path, column: str, settings: DatasetSettings) -> tuple[np.ndarray, np.ndarray]:
    """Name the product of each row, and say where the rows are."""

    def columns_of(present: list[str]) -> dict[str, str]:
        Vectors(column).found(path, present)
        found = {by: find_column(getattr(settings, by), present, str(path)) for by in ("product_id", "file_name")}
        if settings.product_id != DatasetSettings.product_id and found["product_id"] is None:
            raise InputError(f"{path} has no column {settings.product_id!r}", "correct --set dataset.product_id")
        return {by: name for by, name in found.items() if name}

    cells, unit = cells_of(path, [column, settings.product_id], columns_of)
    values = cells.columns.get("product_id", cells.columns.get("file_name"))
    ids = [None] * len(cells.lines) if values is None else values.tolist()
    return id_texts(ids, _places(path, unit, cells.lines), path), cells.lines


def _places(path: Path, unit: str, lines: np.ndarray) -> list[str]:
    """What names a row without an id."""
    return [f"{path.name}, {unit} {line}" for line in lines.tolist()]
