"""Which layout a folder is: one is chosen, and signs of another stop with the two readings and what to do.

A wrong guess is worse than a question. What a layout's own files leave open (whether `train` is a part of a split or
a category of toys) is answered by what lies beside them, or not at all.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pandas as pd

from shelfbench.base.errors import InputError
from shelfbench.base.grid import number_of
from shelfbench.data.sources.contents import (
    Contents,
    Parts,
    as_paths,
    contents_of,
    is_metadata,
    is_table,
    path_of,
    shown,
)
from shelfbench.data.sources.labels import clean
from shelfbench.data.sources.missing_files import ARCHIVES
from shelfbench.data.sources.nesting import STRAYS, Nesting, nesting_of
from shelfbench.data.sources.settings import DatasetSettings
from shelfbench.data.sources.shards import embeds_photos, names_photos, rows_of, splits_of_shards
from shelfbench.data.sources.split_words import split_of, split_within
from shelfbench.data.sources.table_files import named_images

# So many image files beside a BSON file are not photos of a catalogue.
FEW = 3


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How a folder is read.

    Attributes
    ----------
    kind : {'bson', 'parquet', 'tar', 'tables', 'folders'}
    contents : Contents
    files : tuple of Path
        The BSON file, the shards (Parquet or tar) or the tables.
    splits : tuple of str
        The part of the split that each of `files` holds; empty if their folders name none.
    nesting : Nesting or None
        What the folders mean, if they are the categories.
    notes : tuple of str
        What was found on the way and is not certain.
    """

    kind: Literal["bson", "parquet", "tar", "tables", "folders"]
    contents: Contents
    files: tuple[Path, ...] = ()
    splits: tuple[str, ...] = ()
    nesting: Nesting | None = None
    notes: tuple[str, ...] = ()


def find_layout(root: Path, settings: DatasetSettings) -> Layout:
    """Find out how a folder is to be read.

    Parameters
    ----------
    root : Path
    settings : DatasetSettings
        With `folders`, the photos are read by their folders, whatever else is there.

    Returns
    -------
    Layout

    Raises
    ------
    InputError
        If nothing in the folder is a catalogue, or two readings of it are possible; the message names both.
    """
    held = contents_of(root)
    if settings.folders:
        return Layout(kind="folders", contents=held, nesting=nesting_of(held, settings.folders))
    bson = held.files(lambda name: name.lower().endswith(".bson"))
    tables = held.files(is_metadata)
    shards = [
        parts
        for parts in held.files(lambda name: name.lower().endswith(".parquet"))
        if not is_metadata(parts[-1]) and not names_photos(root.joinpath(*parts), settings)
    ]
    notes = _one_kind(held, settings, bson, shards, tables)
    if bson:
        return Layout(kind="bson", contents=held, files=as_paths(root, bson), notes=notes)
    if shards:
        splits = splits_of_shards(root, shards)
        return Layout(kind="parquet", contents=held, files=as_paths(root, shards), splits=splits, notes=notes)
    if tables:
        return _tables(held, tables)
    if not held.count() and (tars := held.files(lambda name: name.lower().endswith(".tar"))):
        return Layout(kind="tar", contents=held, files=as_paths(root, tars), splits=splits_of_shards(root, tars))
    return _folders(held, settings)


def _one_kind(
    held: Contents, settings: DatasetSettings, bson: list[Parts], shards: list[Parts], tables: list[Parts]
) -> tuple[str, ...]:
    """Refuse files of two layouts in one folder; return notes on what is left aside."""
    root = held.root
    if len(bson) > 1:
        raise InputError(
            f"{root} contains several BSON files ({shown(map(path_of, bson))})", f"name one: {root / path_of(bson[0])}"
        )
    photos = held.count()
    beside = [
        *([f"the BSON file {path_of(bson[0])}"] if bson else []),
        *([f"the Parquet file{'s' * (len(shards) > 1)} {shown(map(path_of, shards), 2)}"] if shards else []),
        *([f"the table{'s' * (len(tables) > 1)} {shown(map(path_of, tables), 2)}"] if tables else []),
    ]
    notes = []
    if len(beside) == 1 and photos and (bson or any(embeds_photos(path, settings) for path in as_paths(root, shards))):
        said = f"{number_of(photos, 'image file')} (in {path_of(next(iter(held.images)))})"
        if photos > (STRAYS * rows_of(as_paths(root, shards)) if shards else FEW):
            beside.append(said)
        else:  # the figures of a README, perhaps
            notes.append(f"not read, beside {beside[0]}: {said}")
    if len(beside) > 1:
        raise InputError(
            f"{root} contains {' and also '.join(beside)}, and either may be the catalogue",
            "move one of them elsewhere, or name the file or the folder that is meant",
        )
    return tuple(notes)


def _tables(held: Contents, tables: list[Parts]) -> Layout:
    """Read tables: one of all photos, or one of each part or shard."""
    root = held.root
    folders = [parts[:-1] for parts in tables]
    for above, below in ((one, other) for one in tables for other in tables if one is not other):
        if below[: len(above) - 1] == above[:-1]:
            raise InputError(
                f"{root} contains {path_of(above)} and also {path_of(below)}: either may be the table of the photos",
                "leave one of them, or name the one that is meant",
            )
    outside = [path_of(parts) for parts in held.images if not any(parts[: len(folder)] == folder for folder in folders)]
    if outside:
        raise InputError(
            f"{root} contains {shown(map(path_of, tables), 2)}, but also photos outside of its folder "
            f"({shown(outside, 3)}), whose categories it does not say",
            "move the others elsewhere, or name the folder or the table that is meant",
        )
    paths, notes = as_paths(root, tables), []
    depth = 0
    while all(len(folder) > depth and folder[depth] == folders[0][depth] for folder in folders):
        depth += 1
    if len(tables) == 1:
        if depth:
            notes = [f"the table is {path_of(tables[0])}, the only one"]
        return Layout(kind="tables", contents=held, files=paths, notes=tuple(notes))
    tops = [folder[depth] for folder in folders]
    words = [split_of(name) or split_within(name) for name in tops]
    if all(words) and len(set(words)) > 1:
        return Layout(kind="tables", contents=held, files=paths, splits=tuple(map(str, words)))
    if any(split_of(name) for name in tops) and not all(words):
        raise InputError(
            f"{root} contains tables in folders of which some are named after parts of a split "
            f"({shown(name for name, word in zip(tops, words, strict=True) if word)}) and others are not "
            f"({shown(name for name, word in zip(tops, words, strict=True) if not word)})",
            "rename the folders, or give the tables a column split and no folder the name of a part",
        )
    notes = [f"{len(tables)} tables are read as one catalogue: {shown(map(path_of, tables), 3)}"]
    return Layout(kind="tables", contents=held, files=paths, notes=tuple(notes))


def _folders(held: Contents, settings: DatasetSettings) -> Layout:
    """Read folders as categories, unless a table that is not called metadata may be what says them."""
    loose = [parts for parts in held.files(is_table) if not held.images.get(parts[:-1]) or len(parts) == 1]
    root, problem = held.root, None
    try:
        nesting = nesting_of(held)
    except InputError as error:
        problem = error
    if problem and not loose:
        raise problem
    if loose and (problem or nesting.categories(held) < 2):
        named = [parts for parts in loose if split_within(Path(parts[-1]).stem) in (None, "train")] or loose
        largest = max(named, key=lambda parts: root.joinpath(*parts).stat().st_size)
        words = {split_of(Path(parts[-1]).stem) or split_within(Path(parts[-1]).stem) for parts in loose} - {None}
        all_of_them = (
            "; to read the parts of a split, put all rows into one, with a column split" if len(words) > 1 else ""
        )
        raise InputError(
            f"{root} contains no folders of categories and no metadata.csv, but {shown(map(path_of, loose), 3)}",
            f"if {path_of(largest)} names the photos and their categories, give it by itself: "
            f"--dataset {root.joinpath(*largest)}{all_of_them}",
        ) from problem
    for parts in loose[:5]:
        table = root.joinpath(*parts)
        try:
            rows = named_images(table, table.parent, settings).rows
        except InputError:
            continue  # a table of something else
        if _says_the_same(rows, parts[:-1], nesting):
            continue
        raise InputError(
            f"{root} contains folders of categories, but also {path_of(parts)}, which says the category of "
            f"{number_of(len(rows), 'photo')}",
            f"give the table by itself (--dataset {table}), or move it elsewhere",
        )
    unread = [
        path_of(parts)
        for parts in (*loose, *held.files(lambda name: name.lower().endswith(ARCHIVES)))
        if len(parts) == 1
    ]
    notes = (f"not read, beside the folders: {shown(unread)}",) if unread else ()
    return Layout(kind="folders", contents=held, nesting=nesting, notes=notes)


def _says_the_same(rows: pd.DataFrame, below: Parts, nesting: Nesting) -> bool:
    """Whether a table, which lies in a folder, names each photo's folder of categories as its category."""
    at = nesting.roles.index("category")
    return "split" not in rows and all(
        len(found := (*below, *where.split(os.sep))) > at + 1 and clean(found[at]) == clean(str(category))
        for where, category in zip(rows["where"], rows["category"], strict=True)
    )
