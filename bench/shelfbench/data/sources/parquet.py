"""Parquet files in the Hugging Face image layout: shards with an image column ``{bytes, path}``."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from shelfbench.base.console import Console
from shelfbench.base.errors import InputError, first_line
from shelfbench.data.catalogue import Absent, Catalogue, ImageBytes, TableRows
from shelfbench.data.sources.files import MOST_BYTES, NoPhotos, too_large
from shelfbench.data.sources.parquet_columns import Photos, class_names, find_photos, named_labels, same_names
from shelfbench.data.sources.places import images_named
from shelfbench.data.sources.settings import DatasetSettings
from shelfbench.data.sources.split_words import split_within
from shelfbench.data.sources.table_files import column_values
from shelfbench.data.sources.table_paths import located
from shelfbench.data.sources.table_products import perhaps_products, shared_products
from shelfbench.data.sources.table_rows import same_split, settled_split
from shelfbench.data.sources.tables import LABEL, catalogue_from_rows, perhaps_splits, wanted_columns


class ParquetImages:
    """Encoded images in rows of Parquet files; keeps the row group read last."""

    def __init__(
        self, files: tuple[Path, ...], column: str, file: np.ndarray, row: np.ndarray, *, most: int = MOST_BYTES
    ) -> None:
        self._most = most
        self.files = files
        self._names = names_of(files)
        self._column, self._file, self._row = column, file, row
        self._open: dict[int, tuple[Any, np.ndarray]] = {}
        self._held: tuple[int, int, Any] | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Drop the open files."""
        return {**self.__dict__, "_open": {}, "_held": None}

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self._file)

    def _group(self, file: int, group: int) -> Any:
        import pyarrow as pa
        import pyarrow.parquet as pq

        if self._held is None or self._held[:2] != (file, group):
            parquet: pq.ParquetFile = self._open[file][0]
            within = ".bytes" if pa.types.is_struct(parquet.schema_arrow.field(self._column).type) else ""
            try:
                table = parquet.read_row_group(group, columns=[self._column + within])
            except (pa.ArrowException, OSError) as error:
                raise InputError(
                    f"{self.files[file]}, row group {group} cannot be read ({first_line(error)})",
                    "fetch the file again",
                ) from None
            self._held = (file, group, table.column(0).combine_chunks())
        return self._held[2]

    def read(self, indices: Sequence[int] | np.ndarray) -> list[bytes]:
        """Read images; `Absent` for a null."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        result: list[bytes] = []
        for index in np.asarray(indices).tolist():
            file, row = int(self._file[index]), int(self._row[index])
            if file not in self._open:
                parquet = pq.ParquetFile(self.files[file], memory_map=True)
                sizes = [parquet.metadata.row_group(i).num_rows for i in range(parquet.num_row_groups)]
                self._open[file] = (parquet, np.cumsum([0, *sizes]))
            starts = self._open[file][1]
            group = int(np.searchsorted(starts, row, side="right")) - 1
            structs = self._group(file, group)
            field = structs.field("bytes") if isinstance(structs, pa.StructArray) else structs
            value = field[row - int(starts[group])].as_py()
            if not value:
                value = Absent("null in the Parquet file" if value is None else "no bytes in the Parquet file")
            result.append(value if len(value) <= self._most else too_large(self._most))
        return result

    def where(self, index: int) -> str:
        """Name the file and row."""
        return f"{self._names[int(self._file[index])]}, row {self._row[index]}"

    def identity(self) -> bytes:
        """Hash column, files and rows."""
        return hashlib.sha256(self._column.encode() + b"\0" + self._file.tobytes() + self._row.tobytes()).digest()


def names_of(files: Sequence[Path]) -> list[str]:
    """Name each file in as few words as tell it from the others: relative to the folder that holds them all."""
    common = os.path.commonpath([file.parent for file in files])
    return [os.path.relpath(file, common) for file in files]


def read_parquet(
    files: Sequence[Path],
    name: str,
    settings: DatasetSettings,
    console: Console | None = None,
    splits: Sequence[str] = (),
) -> Catalogue:
    """Read a catalogue from Parquet files.

    Parameters
    ----------
    files : sequence of Path
        The shards, in order. They hold photos (a column ``{bytes, path}`` or of encoded images), or name them.
    name : str
        Name of the dataset, for messages.
    settings : DatasetSettings
        Names of the columns.
    console : Console, optional
    splits : sequence of str, optional
        The part of the split that each shard holds. By default, shards named ``train-...``, ``validation-...`` and
        ``test-...`` come with a split.

    Returns
    -------
    Catalogue

    Raises
    ------
    InputError
        If a file is damaged or a column is missing; the message names the file.
    """
    shards = [_read_shard(file, settings) for file in files]
    kinds = {(shard.photos.kind, shard.photos.column) for shard in shards}
    if len(kinds) > 1:
        other = next(i for i, shard in enumerate(shards) if shard.photos != shards[0].photos)
        raise InputError(
            f"{files[0]} and {files[other]} hold their photos in different ways", "give them one after the other"
        )
    photos = shards[0].photos
    notes = [photos.note] if photos.note else []
    display = _name_labels(shards, files, notes)
    names = names_of(files)
    parts: list[str | None] = [*splits] or [split_within(file.stem) for file in files]
    several = len(set(parts) - {None}) > 1
    frames = []
    for number, shard in enumerate(shards):
        frame = pd.DataFrame({role: pd.Series(values, dtype=values.dtype) for role, values in shard.values.items()})
        frame["file"], frame["row"] = np.int32(number), np.arange(len(frame))
        frame["where"] = pd.Series([f"{names[number]}, row {row}" for row in range(len(frame))], dtype=object)
        if several:
            same_split(frame, pd.Series([parts[number]] * len(frame), dtype=object))
        if "split" not in frame and several and parts[number]:
            frame["split"] = parts[number]
        frames.append(frame)
    rows = pd.concat(frames, ignore_index=True)
    if "split" in rows and rows["split"].isna().all():
        rows = rows.drop(columns="split")
    rows, said = settled_split(rows)
    rows, alike = shared_products(rows, name)
    notes += [*said, *alike]
    if photos.kind == "bytes":
        file_of, row_of = rows["file"].to_numpy(np.int32), rows["row"].to_numpy(np.int64)

        def images_of(numbers: np.ndarray, where: np.ndarray) -> ImageBytes:
            return ParquetImages(tuple(files), photos.column, file_of[numbers], row_of[numbers], most=settings.most)

    elif photos.kind == "none":

        def images_of(numbers: np.ndarray, where: np.ndarray) -> ImageBytes:
            return NoPhotos(tuple(files), where)

    else:
        root = Path(os.path.commonpath([file.absolute().parent for file in files]))
        found = [named_in(file, root, photos) for file in files]
        rows["where"] = pd.Series(np.concatenate([paths for paths, _ in found]), dtype=object)
        notes += [note for _, remarks in found for note in remarks]
        quiet = console or Console(quiet=True)

        def images_of(numbers: np.ndarray, where: np.ndarray) -> ImageBytes:
            return images_named(root, where, settings, quiet)

    tables = TableRows(tuple(files), rows["file"].to_numpy(np.int32), rows["row"].to_numpy(np.int64))
    return catalogue_from_rows(name, rows.drop(columns=["file", "row"]), images_of, display, notes, tables=tables)


@dataclass(frozen=True)
class _Shard:
    """A file's columns by role, the names of its labels, and where its photos are."""

    photos: Photos
    values: dict[str, np.ndarray]
    names: dict[str, tuple[str, ...] | None]


def _read_shard(file: Path, settings: DatasetSettings) -> _Shard:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        schema = pq.read_schema(file)
        photos = find_photos(file, settings) if settings.photos else Photos("none", "")
        columns = wanted_columns(settings, schema.names, str(file))
        columns |= perhaps_splits(columns, schema.names) | perhaps_products(columns, schema.names)
        table = pq.read_table(file, columns=sorted(set(columns.values())))
        values = {role: column_values(table.column(column)) for role, column in columns.items()}
    except UnicodeDecodeError:
        raise InputError(f"{file} contains text that is not UTF-8", "write it as UTF-8") from None
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, PermissionError):
            raise InputError(f"no permission to read {file}", "change its permissions") from None
        raise InputError(
            f"{file} is not a readable Parquet file ({first_line(error)})", "fetch the file again"
        ) from None
    labelled = [role for role in columns if role == "category" or role.startswith(("level", LABEL))]
    named = {
        role: class_names(schema.metadata, columns[role])
        for role in labelled
        if pa.types.is_integer(schema.field(columns[role]).type)
    }
    return _Shard(photos, values, named)


def _name_labels(shards: Sequence[_Shard], files: Sequence[Path], notes: list[str]) -> dict[str, str]:
    """Put the names of labels in the place of their codes; return display names of categories that keep their codes."""
    display: dict[str, str] = {}
    for role in shards[0].values:
        names = same_names([shard.names.get(role) for shard in shards], files, role.removeprefix(LABEL))
        if names is None:
            continue
        for shard in shards:
            shard.values[role], remarks = named_labels(shard.values[role], names)
            notes += remarks
        if role == "category":
            display = {str(code): text for code, text in enumerate(names)} if len(set(names)) < len(names) else {}
    return display


def named_in(
    file: Path, root: Path, photos: Photos, refused: dict[int, str] | None = None
) -> tuple[np.ndarray, list[str]]:
    """Return the files that a Parquet file names.

    Parameters
    ----------
    file : Path
    root : Path
        Folder that the names are made relative to; contains the file.
    photos : Photos
    refused : dict of int to str, optional
        See `located`.

    Returns
    -------
    names : ndarray of object, shape (rows,)
    notes : list of str

    Raises
    ------
    InputError
        If the file holds paths where there are no photos.
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    def at(row: int) -> str:
        return f"{file}, row {row}"

    column = photos.column if photos.kind == "names" else f"{photos.column}.path"
    try:
        with pq.ParquetFile(file) as parquet:
            values = parquet.read(columns=[column]).column(0)
        names = column_values(values if photos.kind == "names" else pc.struct_field(values, "path"))
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"{file}: the column {column!r} cannot be read ({first_line(error)})", "write it again"
        ) from None
    try:
        return located(names, at, file, root, refused)
    except InputError as error:
        if photos.kind == "names":
            raise
        raise InputError(
            f"the column {photos.column!r} of {file} holds paths, not photos: {error.message}",
            "put the photos there, or write their bytes into the file",
        ) from None
