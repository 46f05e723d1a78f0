"""Files with one image each: which files below a folder are images, and their bytes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from shelfbench.base.errors import InputError

SUFFIXES = {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".gif", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".avif"}


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
