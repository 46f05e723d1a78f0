"""Folders of image files: a subfolder per category, with or without split folders, or a metadata table."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from shelfbench.base.errors import InputError
from shelfbench.data.catalogue import Catalogue
from shelfbench.data.sources.tables import SPLIT_NAMES, DatasetSettings, catalogue_from_rows, wanted_columns

SUFFIXES = {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".gif", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".avif"}
METADATA = ("metadata.csv", "metadata.parquet")


class FileImages:
    """Images in files of their own."""

    def __init__(self, root: Path, names: np.ndarray) -> None:
        self.files: tuple[Path, ...] = (root,)
        self._root, self._names = root, names

    def __len__(self) -> int:
        """Return the number of files."""
        return len(self._names)

    def read(self, indices: Sequence[int] | np.ndarray) -> list[bytes]:
        """Read files; empty bytes for one that cannot be opened."""
        result = []
        for name in self._names[indices]:
            try:
                result.append((self._root / name).read_bytes())
            except OSError:
                result.append(b"")
        return result

    def where(self, index: int) -> str:
        """Name the file, relative to the folder."""
        return str(self._names[index])

    def identity(self) -> None:
        """Return None, because a folder does not show whether its files changed."""
        return None


def files_below(folder: Path) -> tuple[list[Path], list[Path]]:
    """List the image files below a folder and the other files, both in the order of the folders."""
    found: list[Path] = []
    others: list[Path] = []
    seen = set()
    for where, folders, names in os.walk(folder, followlinks=True):
        status = os.stat(where)
        if (status.st_dev, status.st_ino) in seen:  # a link back to a folder above
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in (where, *names):
            try:
                name.encode()
            except UnicodeEncodeError:
                raise InputError(f"{folder.parent}: the name {os.fsencode(name)!r} is not UTF-8", "rename it") from None
        for name in sorted(names):
            path = Path(where) / name
            if name.startswith("."):
                continue
            if path.suffix.lower() in SUFFIXES and (path.is_file() or not path.exists()):
                found.append(path)
            else:
                others.append(path)
    return found, others


def skipped(others: Sequence[Path]) -> str:
    """Say which files were skipped because they are not images; the first few by name."""
    if len(others) == 1:
        return f"skipped 1 file that is not an image: {others[0].name}"
    names = ", ".join(path.name for path in others[:3])
    return f"skipped {len(others):,} files that are not images: {names}{', ...' if len(others) > 3 else ''}"


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


def find_metadata(folder: Path) -> Path | None:
    """Return the metadata table of a Hugging Face ImageFolder, if there is one."""
    return next((folder / name for name in METADATA if (folder / name).is_file()), None)


def read_table(path: Path) -> pd.DataFrame:
    """Read ``metadata.csv`` or ``metadata.parquet``.

    Parameters
    ----------
    path : Path

    Returns
    -------
    DataFrame
        Cells of a CSV file are text.

    Raises
    ------
    InputError
        If the table cannot be read or has no column ``file_name``.
    """
    try:
        table = (
            pd.read_csv(path, dtype=str, keep_default_na=False, na_values=[""])
            if path.suffix == ".csv"
            else pd.read_parquet(path)
        )
    except PermissionError:
        raise InputError(f"no permission to read {path}", "change its permissions") from None
    except (ValueError, OSError) as error:  # pandas' and Arrow's parsing errors are ValueErrors
        raise InputError(
            f"{path} cannot be read ({str(error).splitlines()[0] if str(error) else 'empty'})", "correct the table"
        ) from None
    if "file_name" not in table.columns:
        raise InputError(
            f"{path} has no column 'file_name' (it has {', '.join(map(str, table.columns))})",
            "name the images in a column file_name",
        )
    return table


def metadata_names(table: pd.DataFrame, path: Path, root: Path) -> list[str]:
    """Return the path of each row's image, relative to `root`.

    Parameters
    ----------
    table : DataFrame
        With a column ``file_name``, relative to the table's folder.
    path : Path
        File of the table.
    root : Path

    Returns
    -------
    list of str

    Raises
    ------
    InputError
        If a row has no name, or its path leads out of `root`.
    """
    names = []
    for line, name in enumerate(table["file_name"], 2):
        if pd.isna(name) or "\0" in str(name):
            raise InputError(f"{path}, line {line}: no file_name", "correct the table")
        target = Path(os.path.normpath(path.parent.absolute() / str(name)))
        if not target.resolve().is_relative_to(root.resolve()) or not target.is_relative_to(root.absolute()):
            raise InputError(f"{path}, line {line}: file_name {name!r} is not a file below {root}", "correct the table")
        names.append(str(target.relative_to(root.absolute())))
    return names


def _read_metadata(path: Path, settings: DatasetSettings, root: Path) -> pd.DataFrame:
    table = read_table(path)
    columns = wanted_columns(settings, [str(column) for column in table.columns], str(path))
    rows = pd.DataFrame({role: table[column] for role, column in columns.items()})
    rows["where"] = metadata_names(table, path, root)
    return rows


def read_folder(root: Path, name: str, settings: DatasetSettings) -> Catalogue:
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
        rows = _read_metadata(table, settings, root)
    elif splits and any(find_metadata(folder) for folder in splits):
        frames = []
        for folder, split in splits.items():
            if (table := find_metadata(folder)) is None:
                raise InputError(
                    f"{folder} has no metadata.csv, but another split folder has one", "add it, or remove the other"
                )
            frames.append(_read_metadata(table, settings, root).assign(split=split))
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
    return catalogue_from_rows(name, rows, lambda numbers, where: FileImages(root, where), notes=notes)
