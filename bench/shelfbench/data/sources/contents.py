"""What lies in a folder: its photos, its tables and shards, by the folder in which each lies."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from shelfbench.data.sources.files import files_below, is_folder
from shelfbench.data.sources.table_files import METADATA, TABLE_SUFFIXES

# Folders below a folder, by name: ("train", "shoes").
Parts = tuple[str, ...]

# What systems and programs leave behind, in small letters.
LITTER = ("__macosx", "__pycache__", "@eadir", "$recycle.bin", "system volume information", "lost+found")
# Hidden folders of programs, which are not worth a word.
_TOOLS = (".git", ".cache", ".huggingface", ".idea", ".vscode", "__pycache__")


def is_litter(folder: str) -> bool:
    """Whether a folder of this name is hidden, or left behind by a system or a program."""
    return folder.startswith(".") or folder.lower() in LITTER


def shown(names: Iterable[str], most: int = 5) -> str:
    """List names for a message; the first few if there are many."""
    listed = list(names)
    return ", ".join(listed[:most]) + (", ..." if len(listed) > most else "")


def path_of(parts: Parts) -> str:
    """Write a folder as a path, ``.`` for the root."""
    return os.path.join(*parts) if parts else "."


@dataclass(frozen=True)
class Contents:
    """The files below a folder that are not litter.

    Attributes
    ----------
    root : Path
    images : dict of tuple of str to list of str
        Names of the image files in each folder that has any, in the order of the folders.
    others : dict of tuple of str to list of str
        The same of other files.
    """

    root: Path
    images: dict[Parts, list[str]] = field(default_factory=dict)
    others: dict[Parts, list[str]] = field(default_factory=dict)

    @cached_property
    def _tree(self) -> tuple[dict[Parts, list[str]], dict[Parts, int]]:
        """The folders in each folder, and the number of images, at any depth."""
        below: dict[Parts, dict[str, None]] = {}
        counts: Counter[Parts] = Counter()
        for parts, names in self.images.items():
            for depth in range(len(parts) + 1):
                counts[parts[:depth]] += len(names)
                if depth < len(parts):
                    below.setdefault(parts[:depth], {})[parts[depth]] = None
        return {parts: list(names) for parts, names in below.items()}, counts

    def children(self, parts: Parts) -> list[str]:
        """Name the folders in a folder with an image at any depth, in order."""
        return self._tree[0].get(parts, [])

    def count(self, parts: Parts = ()) -> int:
        """Count the images at any depth in a folder."""
        return self._tree[1].get(parts, 0)

    def paths(self) -> list[str]:
        """List the images, relative to the root."""
        return [os.path.join(*parts, name) for parts, names in self.images.items() for name in names]

    def files(self, wanted: Callable[[str], bool]) -> list[Parts]:
        """List the other files whose name is wanted, as their folders and their name."""
        return [(*parts, name) for parts, names in self.others.items() for name in names if wanted(name)]

    def folders_without(self, parts: Parts) -> tuple[list[str], list[str]]:
        """Name the folders in a folder that contain no image at any depth; those that are litter apart."""
        children = set(self.children(parts))
        plain: list[str] = []
        litter: list[str] = []
        with os.scandir(self.root.joinpath(*parts)) as entries:
            for name in sorted(entry.name for entry in entries if is_folder(entry) and entry.name not in children):
                if name not in _TOOLS:
                    (litter if is_litter(name) else plain).append(name)
        return plain, litter


def is_metadata(name: str) -> bool:
    """Whether a file of this name is the table of the images beside it."""
    return name.lower() in METADATA


def is_table(name: str) -> bool:
    """Whether a file of this name may be a table of images, by its suffix; a ``*.txt`` mostly is not."""
    suffix = os.path.splitext(name.lower())[1]
    return suffix in TABLE_SUFFIXES and suffix not in (".txt", ".json") and name.lower() != "category_names.csv"


def contents_of(root: Path) -> Contents:
    """List the files below a folder, once."""
    found, others = files_below(root)
    held = Contents(root)
    start = len(str(root / "x")) - 1  # "." stands before none of the paths
    for paths, by_folder in ((found, held.images), (others, held.others)):
        last, names = "", None
        for path in paths:
            folder, _, name = str(path)[start:].rpartition(os.sep)
            if names is None or folder != last:
                parts = tuple(folder.split(os.sep)) if folder else ()
                names = [] if any(is_litter(part) for part in parts) else by_folder.setdefault(parts, [])
                last = folder
            names.append(name)
    return held


def as_paths(root: Path, files: Sequence[Parts]) -> tuple[Path, ...]:
    """Turn files below a root into paths."""
    return tuple(root.joinpath(*parts) for parts in files)
