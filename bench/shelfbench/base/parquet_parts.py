"""Parquet files that are written in parts and appear whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from shelfbench.base.storage import storage_errors, whole_file

# Rows of a row group: a file with fewer is the same, byte for byte, as if it had been written at once.
ROWS = 1 << 20


class ParquetParts:
    """Rows on their way into a file; those of one row group are held in memory.

    Parameters
    ----------
    path : Path
        The final place, for messages.
    aside : Path
        Where they are written to; nothing is, before the first table has come.
    rows : int
        Rows of a row group.
    """

    def __init__(self, path: Path, aside: Path, rows: int) -> None:
        self._path = path
        self._aside = aside
        self._rows = rows
        self._writer: pq.ParquetWriter | None = None
        self._held: list[pa.Table] = []

    def add(self, table: pa.Table) -> None:
        """Add rows; every table has the same schema.

        Parameters
        ----------
        table : Table
        """
        self._held.append(table)
        while sum(map(len, self._held)) >= self._rows:
            held = pa.concat_tables(self._held)
            self._held = [held.slice(self._rows)]
            self._write(held.slice(0, self._rows))

    def finish(self) -> None:
        """Write what is left, and close the file."""
        left = pa.concat_tables(self._held)
        if len(left) or self._writer is None:
            self._write(left)
        if self._writer is not None:
            with storage_errors(self._path):
                self._writer.close()

    def give_up(self) -> None:
        """Close the file as it is: nobody will read it."""
        if self._writer is not None:
            with suppress(OSError, pa.ArrowException):
                self._writer.close()

    def _write(self, group: pa.Table) -> None:
        with storage_errors(self._path):
            if self._writer is None:
                self._writer = pq.ParquetWriter(self._aside, group.schema, compression="zstd")
            # one piece for each column: pages would end where pieces do
            self._writer.write_table(group.combine_chunks(), row_group_size=self._rows)


@contextmanager
def parquet_in_parts(path: Path, rows: int = ROWS) -> Iterator[ParquetParts]:
    """Write a Parquet file (zstd) in parts; it appears when the block ends, and not at all if the block fails.

    Parameters
    ----------
    path : Path
        The final place; its folder is created if necessary.
    rows : int
        Rows of a row group, which is what is held in memory.

    Yields
    ------
    ParquetParts
        Add at least one table, which may be empty.

    Raises
    ------
    InputError
        If the folder cannot be written to.
    RunError
        If the disk is full.
    """
    with whole_file(path) as aside:
        parts = ParquetParts(path, aside, rows)
        try:
            yield parts
            parts.finish()
        except BaseException:
            parts.give_up()
            raise
