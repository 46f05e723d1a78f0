"""Folders: whatever layout one is, read as one catalogue."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from shelfbench.base.console import Console
from shelfbench.base.errors import InputError
from shelfbench.data.catalogue import Catalogue, ImageBytes, TableRows
from shelfbench.data.sources.cdiscount import read_bson
from shelfbench.data.sources.contents import Contents, Parts, shown
from shelfbench.data.sources.files import skipped
from shelfbench.data.sources.layout import Layout, find_layout
from shelfbench.data.sources.nesting import nesting_of
from shelfbench.data.sources.parquet import read_parquet
from shelfbench.data.sources.places import images_named
from shelfbench.data.sources.settings import DatasetSettings
from shelfbench.data.sources.split_words import split_of, split_within
from shelfbench.data.sources.table_files import NamedImages, named_images
from shelfbench.data.sources.table_rows import folders_of, other_folders, same_split, split_by_folder
from shelfbench.data.sources.tables import catalogue_from_rows
from shelfbench.data.sources.webdataset import read_webdataset

# Settings that name columns.
COLUMNS = ("category", "product_id", "split", "image", "file_name", "levels", "labels")


def read_folder(root: Path, name: str, settings: DatasetSettings, console: Console | None = None) -> Catalogue:
    """Read a catalogue from a folder.

    Parameters
    ----------
    root : Path
        In one of the layouts of docs/data.md.
    name : str
        Name of the dataset, for messages.
    settings : DatasetSettings
        Names of the columns, or what the folders mean.
    console : Console, optional

    Returns
    -------
    Catalogue

    Raises
    ------
    InputError
        If the folder contains no catalogue, or can be read in two ways.
    """
    quiet = console or Console(quiet=True)
    layout = find_layout(root, settings)
    if layout.kind in ("bson", "parquet"):
        catalogue = (
            read_bson(layout.files[0], name, settings, quiet)
            if layout.kind == "bson"
            else read_parquet(layout.files, name, settings, quiet, layout.splits)
        )
        return replace(catalogue, notes=(*layout.notes, *catalogue.notes))
    if layout.kind == "tar":
        return read_webdataset(layout.files, name, settings, quiet, layout.splits)
    tables: TableRows | None = None
    if layout.kind == "tables":
        rows, notes, tables = _rows_of_tables(layout, replace(settings, photos=True))
    else:
        rows, notes = _rows_of_folders(layout, settings)

    def images_of(numbers: np.ndarray, where: np.ndarray) -> ImageBytes:
        return images_named(root, where, settings, quiet)

    return catalogue_from_rows(name, rows, images_of, notes=notes, tables=tables)


def _rows_of_folders(layout: Layout, settings: DatasetSettings) -> tuple[pd.DataFrame, list[str]]:
    """Make a row of each photo, from the folders in which it lies."""
    held, nesting = layout.contents, layout.nesting
    assert nesting is not None
    if named := [name for name in COLUMNS if getattr(settings, name) != getattr(DatasetSettings, name)]:
        raise InputError(
            f"{held.root} is a folder of categories, which has no columns",
            f"omit {' and '.join(f'dataset.{name}' for name in named)}, or put a metadata.csv with the columns there",
        )
    depth = len(nesting.roles)
    columns: dict[str, list[str]] = {}
    for parts, names in held.images.items():
        if len(parts) < depth:
            if settings.folders:
                folders = "folder" if len(parts) == 1 else "folders"
                raise InputError(
                    f"{os.path.join(held.root, *parts, names[0])} lies in {len(parts)} {folders}, "
                    f"but dataset.folders ({settings.folders}) says what {depth} mean",
                    "move it, or correct dataset.folders",
                )
            continue  # a stray, which is told
        columns.setdefault("where", []).extend(os.path.join(*parts, name) for name in names)
        for role, value in _meaning(parts, nesting.roles, held.root).items():
            columns.setdefault(role, []).extend([value] * len(names))
    rows = pd.DataFrame(columns, dtype=object)
    others = [held.root.joinpath(*parts, name) for parts, names in held.others.items() if parts for name in names]
    return rows, [*layout.notes, *nesting.notes, *([skipped(others)] if others else [])]


def _meaning(parts: Parts, roles: Sequence[str], root: Path) -> dict[str, str]:
    """Return what the folders of a photo say of it."""
    said = {role: part for role, part in zip(roles, parts, strict=False) if role != "-"}
    if "split" in said:
        split = split_of(said["split"]) or split_within(said["split"])
        if split is None:
            raise InputError(
                f"{root.joinpath(*parts)}: {said['split']} is not a part of a split",
                "call the folders train, validation and test, or correct dataset.folders",
            )
        said["split"] = split
    if "product_id" in said:  # the same name in another folder is another product
        said["product_id"] = os.path.join(*parts[: roles.index("product_id") + 1])
    levels = sorted(role for role in said if role.startswith("level"))
    if levels:  # so is the same name below another level
        said["category"] = "/".join([*(said[level] for level in levels), said["category"]])
    return said


def _rows_of_tables(layout: Layout, settings: DatasetSettings) -> tuple[pd.DataFrame, list[str], TableRows]:
    """Read the tables of a folder, and hold them against the photos that are there."""
    held = layout.contents
    tables = [_named(path, held, settings) for path in layout.files]
    rows = pd.concat([table.rows for table in tables], ignore_index=True)
    if layout.splits:
        split = pd.Series(np.repeat(np.array(layout.splits, object), [len(table.rows) for table in tables]))
        same_split(rows, split)
        rows["split"] = split
    notes = [*layout.notes, *(note for table in tables for note in table.notes)]
    below = [folders_of(table.rows, path, held.root) for path, table in zip(layout.files, tables, strict=True)]
    folders = pd.concat(below, ignore_index=True)
    notes += other_folders(rows, folders, layout.files[0])
    if not layout.splits:
        rows, more = split_by_folder(rows, folders, layout.files[0])
        notes += more
    there = held.paths()
    named = set(rows["where"]) if there else set()
    if left_out := [path for path in there if path not in named]:
        leaves = f"{layout.files[0].name} leaves" if len(layout.files) == 1 else "the tables leave"
        count, photos = f"{len(left_out):,}", f"{len(there):,}"
        notes.append(f"{leaves} out {count} of the {photos} photos that are there: {shown(left_out, 3)}")
    number = np.repeat(np.arange(len(tables), dtype=np.int32), [len(table.rows) for table in tables])
    lines = np.concatenate([table.lines for table in tables])
    return rows, notes, TableRows(tuple(layout.files), number, lines)


def _named(path: Path, held: Contents, settings: DatasetSettings) -> NamedImages:
    """Read one table; where it is not one of photos, the folders may be the categories after all."""
    try:
        return named_images(path, held.root, settings)
    except InputError as error:
        try:
            nesting = nesting_of(held)
        except InputError:
            raise error from None
        if nesting.categories(held) < 2:
            raise
        remedy = f"{error.remedy}; if the folders are the categories: --set dataset.folders={'/'.join(nesting.roles)}"
        raise InputError(error.message, remedy) from None
