"""Parquet files in the Hugging Face image layout: shards with an image column ``{bytes, path}``."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from shelfbench.base.console import Console
from shelfbench.base.errors import InputError
from shelfbench.data.catalogue import Catalogue
from shelfbench.data.sources.split_words import split_within
from shelfbench.data.sources.tables import DatasetSettings, catalogue_from_rows, wanted_columns


class ParquetImages:
    """Encoded images in rows of Parquet files; keeps the row group read last."""

    def __init__(self, files: tuple[Path, ...], column: str, file: np.ndarray, row: np.ndarray) -> None:
        self.files = files
        self._names = names_of(files)
        self._column, self._file, self._row = column, file, row
        self._open: dict[int, tuple[Any, np.ndarray]] = {}
        self._held: tuple[int, int, Any] | None = None

    def __getstate__(self) -> dict:
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
            try:
                table = parquet.read_row_group(group, columns=[f"{self._column}.bytes"])
            except (pa.ArrowException, OSError) as error:
                raise InputError(
                    f"{self.files[file]}, row group {group} cannot be read ({first_line(error)})",
                    "fetch the file again",
                ) from None
            self._held = (file, group, table.column(0).combine_chunks())
        return self._held[2]

    def read(self, indices: Sequence[int] | np.ndarray) -> list[bytes]:
        """Read images; empty bytes for a null."""
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
            result.append(field[row - int(starts[group])].as_py() or b"")
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


def holds_bytes(kind: Any) -> bool:
    """Tell whether a type is a struct with a binary field ``bytes``."""
    import pyarrow as pa

    if not pa.types.is_struct(kind) or kind.get_field_index("bytes") < 0:
        return False
    field = kind.field("bytes").type
    return pa.types.is_binary(field) or pa.types.is_large_binary(field) or pa.types.is_binary_view(field)


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or its class if it has none."""
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def _class_names(metadata: dict[bytes, bytes] | None, column: str) -> dict[str, str]:
    """Read the display names of a ClassLabel column's integers from the Hugging Face metadata."""
    try:
        features = json.loads((metadata or {})[b"huggingface"])["info"]["features"]
        return {str(code): str(name) for code, name in enumerate(features[column]["names"])}
    except (KeyError, TypeError, ValueError):
        return {}


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
        The shards, in order.
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
    import pyarrow as pa
    import pyarrow.parquet as pq

    frames, display = [], {}
    names = names_of(files)
    for number, file in enumerate(files):
        try:
            schema = pq.read_schema(file)
            columns = wanted_columns(settings, schema.names, str(file))
            if settings.image not in schema.names:
                raise InputError(
                    f"{file} has no column {settings.image!r} (it has {', '.join(schema.names)})",
                    "name the column of images with --set dataset.image=COLUMN",
                )
            twice = [column for column in {*columns.values(), settings.image} if schema.names.count(column) > 1]
            if twice:
                raise InputError(f"{file} has the column {twice[0]!r} more than once", "rename one of them")
            kind = schema.field(settings.image).type
            if not holds_bytes(kind):
                raise InputError(
                    f"{file}: column {settings.image!r} is {kind}, not a struct of bytes and path",
                    "write the images in the Hugging Face image layout",
                )
            frame = pq.read_table(file, columns=sorted(set(columns.values()))).to_pandas()
        except (pa.ArrowException, OSError) as error:
            if isinstance(error, PermissionError):
                raise InputError(f"no permission to read {file}", "change its permissions") from None
            raise InputError(
                f"{file} is not a readable Parquet file ({first_line(error)})", "fetch the file again"
            ) from None
        display.update(_class_names(schema.metadata, columns["category"]))
        frame = pd.DataFrame({role: frame[column] for role, column in columns.items()})
        frame["file"], frame["row"] = number, np.arange(len(frame))
        frame["where"] = [f"{names[number]}, row {row}" for row in range(len(frame))]
        if "split" not in columns and (part := splits[number] if splits else split_within(file.stem)):
            frame["split"] = part
        frames.append(frame)
    rows = pd.concat(frames, ignore_index=True)
    if "split" in rows and rows["split"].isna().all():
        rows = rows.drop(columns="split")
    file_of, row_of = rows["file"].to_numpy(np.int32), rows["row"].to_numpy(np.int64)
    return catalogue_from_rows(
        name,
        rows.drop(columns=["file", "row"]),
        lambda numbers, where: ParquetImages(tuple(files), settings.image, file_of[numbers], row_of[numbers]),
        display,
    )
