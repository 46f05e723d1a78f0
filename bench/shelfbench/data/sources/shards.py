"""Shards in a folder: which Parquet files hold photos, and which part of a split each shard holds."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path

from shelfbench.base.errors import InputError
from shelfbench.data.sources.contents import Parts, path_of, shown
from shelfbench.data.sources.parquet_columns import find_photos
from shelfbench.data.sources.settings import DatasetSettings
from shelfbench.data.sources.split_words import split_of, split_within


def names_photos(path: Path, settings: DatasetSettings) -> bool:
    """Whether a Parquet file has a column of paths and none of images; False for a file that cannot be read."""
    return _kind(path, settings) == "names"


def embeds_photos(path: Path, settings: DatasetSettings) -> bool:
    """Whether a Parquet file holds photos, and not only their paths; True for a file that cannot be read."""
    return _kind(path, settings) in ("bytes", "")


def rows_of(files: Sequence[Path]) -> int:
    """Count the rows of Parquet files; those that cannot be read have none."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = 0
    for file in files:
        with contextlib.suppress(pa.ArrowException, OSError):
            rows += pq.read_metadata(file).num_rows
    return rows


def _kind(path: Path, settings: DatasetSettings) -> str:
    """Return how a file holds its photos; empty if it cannot be read, of which its reader says why."""
    import pyarrow as pa

    try:
        return find_photos(path, settings).kind
    except (InputError, pa.ArrowException, OSError, ValueError):
        return ""


def splits_of_shards(root: Path, shards: Sequence[Parts]) -> tuple[str, ...]:
    """Find the part of the split that each shard holds, from the folders.

    Parameters
    ----------
    root : Path
    shards : sequence of tuple of str
        Folders and name of each, below `root`.

    Returns
    -------
    tuple of str
        Empty if the shards lie in one folder, where their names say it.

    Raises
    ------
    InputError
        If they lie in folders that are not all parts of one split.
    """
    common = Path(os.path.commonpath([os.path.join(".", *parts[:-1]) for parts in shards])).parts
    below = [parts[len(common) :] for parts in shards]
    if all(len(parts) == 1 for parts in below):
        words = {parts[-1]: split_within(Path(parts[-1]).stem) for parts in below}
        without = [name for name, word in words.items() if word is None]
        if without and len(without) < len(words):
            named = next(name for name, word in words.items() if word)
            raise InputError(
                f"{root.joinpath(*common)} contains {named}, which is named after a part of a split, and "
                f"{shown(without, 3)}, which is not",
                "rename the shards after their parts (train, validation, test), or move the others elsewhere",
            )
        return ()
    folders = list(dict.fromkeys(parts[0] if len(parts) > 1 else "" for parts in below))
    if "" in folders:
        lies = next(parts for parts, rest in zip(shards, below, strict=True) if len(rest) == 1)
        raise InputError(
            f"{root} contains shards in a folder ({path_of(common)}: {lies[-1]}) and in folders below it "
            f"({shown(name for name in folders if name)}), which may be two catalogues",
            "name the folder or the file that is meant",
        )
    splits = {folder: split_of(folder) or split_within(folder) for folder in folders}
    if not all(splits.values()):
        first = os.path.join(str(root), *common, folders[0])
        if all("=" in folder for folder in folders):
            raise InputError(
                f"{root} contains a table in parts whose folders ({shown(folders, 3)}) hold one of its columns",
                "write that column into the files: pyarrow.dataset.dataset(PATH, partitioning='hive').to_table()",
            )
        raise InputError(
            f"{root} contains shards in the folders {shown(folders)}, which may be several catalogues "
            "or configurations",
            f"name one of them, such as {first}; folders that are parts of a split are called train, validation, test",
        )
    for shard, parts in zip(shards, below, strict=True):
        said = {split_of(Path(part).stem) for part in parts} - {None}
        if len(said) > 1:
            raise InputError(
                f"{root.joinpath(*shard)} is named after two parts of the split ({shown(sorted(map(str, said)))})",
                "rename the file or its folder",
            )
    return tuple(str(splits[parts[0]]) for parts in below)
