"""What the columns of a Parquet file mean: where its photos are, and the names of its labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from shelfbench.base.errors import InputError
from shelfbench.base.storage import parse_json
from shelfbench.data.sources.columns import find_column, listed, suggestion
from shelfbench.data.sources.settings import DatasetSettings


@dataclass(frozen=True)
class Photos:
    """How a Parquet file holds its photos.

    Attributes
    ----------
    kind : {'bytes', 'paths', 'names', 'none'}
        Encoded images in the column; an image column ``{bytes, path}`` in which only the paths are filled; a column
        that names files and links; or no photos are wanted.
    column : str
    note : str
        Which column was taken, if the settings do not name it; else empty.
    """

    kind: str
    column: str
    note: str = ""


def _is_binary(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind))


def _has_field(kind: Any, name: str) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_struct(kind) and kind.get_field_index(name) >= 0)


def holds_bytes(kind: Any) -> bool:
    """Tell whether a type holds encoded images: binary, or a struct with a binary field ``bytes``."""
    return _is_binary(kind) or (_has_field(kind, "bytes") and _is_binary(kind.field("bytes").type))


def find_photos(file: Path, settings: DatasetSettings) -> Photos:
    """Find the photos of a Parquet file.

    Parameters
    ----------
    file : Path
    settings : DatasetSettings
        Names of the columns.

    Returns
    -------
    Photos

    Raises
    ------
    InputError
        If no column holds or names photos, or several may.
    pyarrow.ArrowException
        If the file is damaged.
    """
    import pyarrow.parquet as pq

    defaults = DatasetSettings()
    try:
        schema = pq.read_schema(file)
        present = schema.names
    except UnicodeDecodeError:
        raise InputError(f"{file} has columns whose names are not UTF-8", "write it again") from None
    named = find_column(settings.file_name, present, str(file))
    if named and settings.file_name != defaults.file_name and settings.image == defaults.image:
        return Photos("names", named)
    column = find_column(settings.image, present, str(file))
    note = ""
    if column is None and settings.image == defaults.image:
        structs = [name for name in present if _has_field(schema.field(name).type, "bytes")]
        if len(structs) > 1:
            raise InputError(
                f"{file} has the columns of images {', '.join(structs)}", "choose one with --set dataset.image=COLUMN"
            )
        if structs:
            column, note = structs[0], f"the photos are those of the column {structs[0]!r}"
    if column is None and named:
        return Photos("names", named)
    if column is None:
        remedy = "name the column of images with --set dataset.image=COLUMN"
        encoded = [name for name in present if _is_binary(schema.field(name).type)]
        if len(encoded) == 1:
            remedy = f"name the column of images, perhaps with --set dataset.image={encoded[0]}"
        elif "perhaps" in (other := suggestion("file_name", present)):
            remedy = other
        raise InputError(f"{file} has no column {settings.image!r} (it has {listed(present)})", remedy)
    kind = schema.field(column).type
    if holds_bytes(kind):
        only_paths = _has_field(kind, "path") and _all_null(file, f"{column}.bytes")
        return Photos("paths" if only_paths else "bytes", column, note)
    # a column in which every value is null has a type of its own
    if _has_field(kind, "path") and (not _has_field(kind, "bytes") or str(kind.field("bytes").type) == "null"):
        return Photos("paths", column, note)
    if named:
        return Photos("names", named)
    raise InputError(
        f"{file}: column {column!r} is {kind}, not a struct of bytes and path",
        "write the images in the Hugging Face image layout; "
        f"if it contains paths or links, --set dataset.file_name={column}",
    )


def _all_null(file: Path, path: str) -> bool:
    """Tell whether a column is null in every row, by the file's statistics if it has them."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(file) as parquet:
        metadata = parquet.metadata
        leaves = [metadata.schema.column(number).path for number in range(metadata.num_columns)]
        if path not in leaves:
            return False
        for group in range(metadata.num_row_groups):
            rows = metadata.row_group(group)
            # damaged statistics are an error here; asking for them below would end the process
            next(parquet.iter_batches(1, row_groups=[group], columns=[path]), None)
            statistics = rows.column(leaves.index(path)).statistics
            if statistics is not None and statistics.has_null_count:
                nulls = statistics.null_count
            else:
                column, field = path.rsplit(".", 1)
                values = parquet.read_row_group(group, columns=[path]).column(column).combine_chunks()
                nulls = values.field(field).null_count if len(values) else 0
            if nulls < rows.num_rows:
                return False
        return bool(metadata.num_rows > 0)


def class_names(metadata: dict[bytes, bytes] | None, column: str) -> tuple[str, ...] | None:
    """Read the names of a ClassLabel column's codes from the Hugging Face metadata.

    Parameters
    ----------
    metadata : dict of bytes or None
        Of the file's schema.
    column : str

    Returns
    -------
    tuple of str or None
        In the order of their codes; None for a column without names.
    """
    try:
        names = parse_json((metadata or {})[b"huggingface"])["info"]["features"][column]["names"]
        if isinstance(names, dict):
            return tuple(str(names[str(code)]) for code in range(len(names)))
        return tuple(map(str, names)) or None
    except (KeyError, TypeError, ValueError):
        return None


def same_names(found: Sequence[tuple[str, ...] | None], files: Sequence[Path], column: str) -> tuple[str, ...] | None:
    """Return the names that all files give to the codes of a column.

    Parameters
    ----------
    found : sequence of (tuple of str or None)
        Of each file.
    files : sequence of Path
    column : str

    Returns
    -------
    tuple of str or None

    Raises
    ------
    InputError
        If two files differ.
    """
    for file, names in zip(files, found, strict=True):
        if names != found[0]:
            raise InputError(
                f"{files[0]} and {file} give the codes of the column {column!r} different names",
                "use files of one version of the data",
            )
    return found[0] if found else None


def named_labels(codes: np.ndarray, names: tuple[str, ...]) -> tuple[np.ndarray, list[str]]:
    """Replace codes by their names.

    Parameters
    ----------
    codes : ndarray, shape (rows,)
        Integers, or None. -1 means that there is no label; so does a code without a name, which a note tells.
    names : tuple of str
        In the order of their codes.

    Returns
    -------
    values : ndarray of object, shape (rows,)
        Names where no two are equal, otherwise codes as text; None for no label.
    notes : list of str
    """
    texts = names if len(set(names)) == len(names) else tuple(map(str, range(len(names))))
    numbers = np.fromiter((-1 if code is None or code != code else int(code) for code in codes), np.int64, len(codes))
    outside = (numbers < 0) | (numbers >= len(names))
    strange = numbers[outside & (numbers != -1)]
    notes = []
    if len(strange):
        few = "1 photo has" if len(strange) == 1 else f"{len(strange):,} photos have"
        notes.append(f"{few} a code that the file gives no name, such as {strange[0]}, and count as without a category")
    return np.array([*texts, None], object)[np.where(outside, len(names), numbers)], notes
