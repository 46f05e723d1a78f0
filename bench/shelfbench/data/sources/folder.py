"""Folders of image files: a subfolder per category, with or without split folders, or a metadata table."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from shelfbench.base.console import Console
from shelfbench.base.errors import InputError
from shelfbench.data.catalogue import Catalogue, ImageBytes
from shelfbench.data.sources.files import files_below, skipped
from shelfbench.data.sources.places import images_named
from shelfbench.data.sources.split_words import SPLIT_NAMES
from shelfbench.data.sources.table_files import find_metadata, named_images
from shelfbench.data.sources.tables import DatasetSettings, catalogue_from_rows


def _subfolders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def split_folders(root: Path) -> dict[Path, str]:
    """Return the split folders of a root: {folder: 'train' | 'validation' | 'test'}; empty if there are none."""
    folders = _subfolders(root)
    names = {path: SPLIT_NAMES.get(path.name.lower()) for path in folders if path.name != "__MACOSX"}
    strangers = [path.name for path, split in names.items() if split is None]
    if "train" not in names.values() or (strangers and len(strangers) == len(names) - 1):
        return {}
    if strangers:
        raise InputError(
            f"{root} contains split folders, but also {', '.join(strangers[:5])}",
            "move the others elsewhere, or rename the categories train, validation and test",
        )
    return {path: str(split) for path, split in names.items()}


def read_folder(root: Path, name: str, settings: DatasetSettings, console: Console | None = None) -> Catalogue:
    """Read a catalogue from a folder of image files.

    Parameters
    ----------
    root : Path
        One subfolder per category; or ``train``, ``validation`` (``val``) and ``test`` holding those; or images with
        ``metadata.csv`` or ``metadata.parquet`` whose column ``file_name`` names them, with or without split folders.
    name : str
        Name of the dataset, for messages.
    settings : DatasetSettings
        Names of the columns of the metadata.
    console : Console, optional

    Returns
    -------
    Catalogue

    Raises
    ------
    InputError
        If the folder contains no images in such a layout.
    """
    splits = split_folders(root)
    notes: list[str] = []
    table = find_metadata(root)
    if table:
        named = named_images(table, root, settings)
        rows = named.rows
        notes += named.notes
    elif splits and any(find_metadata(folder) for folder in splits):
        frames = []
        for folder, split in splits.items():
            if (table := find_metadata(folder)) is None:
                raise InputError(
                    f"{folder} has no metadata.csv, but another split folder has one", "add it, or remove the other"
                )
            named = named_images(table, root, settings)
            frames.append(named.rows.assign(split=split))
            notes += named.notes
        rows = pd.concat(frames, ignore_index=True)
    else:
        frames = []
        others: list[Path] = []
        for top, split in (splits or {root: ""}).items():
            for folder in _subfolders(top):
                found, other = files_below(folder)
                others += other
                frame = pd.DataFrame(
                    {"where": [str(path.relative_to(root)) for path in found], "category": folder.name}
                )
                frames.append(frame.assign(split=split) if split else frame)
        rows = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame({"where": [], "category": []})
        if others:
            notes.append(skipped(others))
    if table is None and settings != replace(DatasetSettings(), name=settings.name, truncated=settings.truncated):
        raise InputError(f"{root} is a folder of categories, which has no columns", "omit the dataset.* settings")
    if rows.empty:
        loose, _ = files_below(root)
        hint = (
            "put each image into a folder named after its category, or list them in metadata.csv"
            if loose
            else "give a *.bson file, Parquet files, or a folder with one subfolder per category"
        )
        raise InputError(
            f"{root} contains {len(loose)} images but no category" if loose else f"{root} contains no product images",
            hint,
        )
    quiet = console or Console(quiet=True)

    def images_of(numbers: np.ndarray, where: np.ndarray) -> ImageBytes:
        return images_named(root, where, settings, quiet)

    return catalogue_from_rows(name, rows, images_of, notes=notes)
