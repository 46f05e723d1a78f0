"""Files with one photo each: which files below a folder are photos, by their content, and their bytes."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from shelfbench.base.errors import InputError
from shelfbench.data.catalogue import Absent
from shelfbench.data.signatures import HEAD, kind_of
from shelfbench.data.sources.settings import LARGEST

# Files with these count as photos without a look into them.
SUFFIXES = frozenset(
    {
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".gif", ".bmp", ".dib", ".webp", ".tif", ".tiff"),
        *(".ppm", ".pgm", ".pbm", ".pnm", ".avif", ".jp2", ".j2k", ".j2c", ".jpc", ".jpx", ".jpf", ".tga", ".pcx"),
        *(".heic", ".heif", ".hif", ".jxl"),
    }
)
# What file managers leave behind.
LEFT_BEHIND = frozenset({"thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "@eadir", "$recycle.bin"})
# Larger photos are not read, unless the settings say so.
MOST_BYTES = LARGEST << 20
# Ends what stands for the name of a file in a row of a table that names none.
NO_PHOTO = ", which names no photo"
_NAMED = 3


class FileImages:
    """Images in files of their own."""

    def __init__(self, root: Path, names: np.ndarray, most: int = MOST_BYTES) -> None:
        self.files: tuple[Path, ...] = (root,)
        self._root, self._names, self._most = str(root), names, most

    def __len__(self) -> int:
        """Return the number of files."""
        return len(self._names)

    def read(self, indices: Sequence[int] | np.ndarray) -> list[bytes]:
        """Read files; `Absent` for one that cannot be opened."""
        return [read_file(os.path.join(self._root, name), self._most) for name in self._names[indices]]

    def where(self, index: int) -> str:
        """Name the file, relative to the folder."""
        return str(self._names[index])

    def identity(self) -> None:
        """Return None, because a folder does not show whether its files changed."""
        return None


class NoPhotos:
    """Rows of tables of which no photo is wanted."""

    def __init__(self, files: tuple[Path, ...], names: np.ndarray) -> None:
        self.files = files
        self._names = names

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self._names)

    def read(self, indices: Sequence[int] | np.ndarray) -> list[bytes]:
        """Return `Absent` for each."""
        return [Absent("photos are not read")] * len(indices)

    def where(self, index: int) -> str:
        """Name what the table names, or else the row."""
        return str(self._names[index])

    def identity(self) -> None:
        """Return None, because there is no content."""
        return None


def read_file(path: str | Path, most: int = MOST_BYTES) -> bytes:
    """Read a photo.

    Parameters
    ----------
    path : str or Path
    most : int
        Larger files, in bytes, are not read.

    Returns
    -------
    bytes
        `Absent`, with the reason, if there is nothing to read.
    """
    if str(path).endswith(NO_PHOTO):
        return Absent("no photo is named")
    try:
        # a pipe must not be waited for
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except (FileNotFoundError, NotADirectoryError):
        return Absent("a link to a file that does not exist" if os.path.islink(path) else "the file does not exist")
    except PermissionError:
        return Absent("a folder, not a photo" if os.path.isdir(path) else "no permission to read the file")
    except ValueError:
        return Absent("its name is not the name of a file")
    except OSError as error:
        return Absent(f"the file cannot be opened ({error.strerror or error})")
    try:
        status = os.fstat(handle)
        if stat.S_ISDIR(status.st_mode):
            return Absent("a folder, not a photo")
        if not stat.S_ISREG(status.st_mode):
            return Absent("a pipe or a device, not a photo")
        if status.st_size > most:
            return too_large(most)
        data = os.read(handle, status.st_size + 1)  # one byte more than there is shows that this was all
        while len(data) < status.st_size and (more := os.read(handle, status.st_size + 1 - len(data))):
            data += more
        return data or Absent("the file is empty")
    except OSError as error:
        return Absent(f"the file cannot be read ({error.strerror or error})")
    finally:
        os.close(handle)


def too_large(most: int) -> Absent:
    """Say that a photo has more than so many bytes."""
    return Absent(f"larger than {most >> 20:,} MiB (dataset.largest)")


def is_photo(path: str | Path) -> bool:
    """Tell whether a file is a photo, readable or not: by its suffix, or else by its first bytes.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    bool
    """
    if os.path.splitext(path)[1].lower() in SUFFIXES:
        return True
    try:
        with open(path, "rb", buffering=0) as file:
            kind = kind_of(file.read(HEAD))
    except (OSError, ValueError):
        return False
    return kind is not None and kind.photo


def files_below(folder: Path) -> tuple[list[Path], list[Path]]:
    """List the photos below a folder and its other files.

    Parameters
    ----------
    folder : Path

    Returns
    -------
    photos : list of Path
        In the order of the folders, and by name within each. Links are followed; a folder that contains itself is
        listed once.
    others : list of Path
        In the same order, without hidden files.

    Raises
    ------
    InputError
        If a name is not UTF-8.
    """
    photos: list[Path] = []
    others: list[Path] = []
    seen: set[tuple[int, int]] = set()
    waiting = [str(folder)]
    while waiting:
        where = waiting.pop()
        try:
            status = os.stat(where)
            if (status.st_dev, status.st_ino) in seen:  # a link back to a folder above
                continue
            seen.add((status.st_dev, status.st_ino))
            with os.scandir(where) as entries:
                listed = sorted(entries, key=_name)
        except PermissionError:
            raise
        except OSError:  # it vanished
            continue
        _check_names(folder, where, listed)
        below, at = [], Path(where)
        for entry in listed:
            name = entry.name
            if name[0] == "." and not name.endswith(".icloud"):  # which stands for a photo that is not on this machine
                continue
            if is_folder(entry):
                if name.lower() not in LEFT_BEHIND:
                    below.append(entry.path)
            elif name.lower() not in LEFT_BEHIND and _taken(entry):
                photos.append(at / name)
            else:
                others.append(at / name)
        waiting.extend(reversed(below))
    return photos, others


def _name(entry: os.DirEntry[str]) -> str:
    return entry.name


def _check_names(folder: Path, where: str, entries: Iterable[os.DirEntry[str]]) -> None:
    for name in (os.path.basename(where), *(entry.name for entry in entries)):
        try:
            name.encode()
        except UnicodeEncodeError:
            place = folder.parent if name == os.path.basename(where) and where == str(folder) else where
            at = os.fsencode(place).decode(errors="backslashreplace")
            raise InputError(f"{at}: the name {os.fsencode(name)!r} is not UTF-8", "rename it") from None


def _taken(entry: os.DirEntry[str]) -> bool:
    """Tell whether an entry that is not a folder is a photo; a link to nothing is one by its suffix."""
    try:
        file = entry.is_file() or (entry.is_symlink() and not os.path.exists(entry.path))
    except OSError:  # a link that leads back to itself
        file = True
    return file and is_photo(entry.path)


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Tell whether an entry is a folder, or a link to one.

    Parameters
    ----------
    entry : DirEntry

    Returns
    -------
    bool
        False for a link that leads back to itself.
    """
    try:
        return entry.is_dir()
    except OSError:
        return False


def skipped(others: Sequence[Path]) -> str:
    """Say which files were skipped because they are not images; the first few by name, all by suffix."""
    if len(others) == 1:
        return f"skipped 1 file that is not an image: {others[0].name}"
    names = ", ".join(path.name for path in others[:_NAMED])
    more = ", ..." if len(others) > _NAMED else ""
    suffixes = Counter(path.suffix.lower() or "without a suffix" for path in others).most_common()
    counts = ", ".join(f"{count:,} {suffix}" for suffix, count in suffixes[: 2 * _NAMED])
    rest = sum(count for _, count in suffixes[2 * _NAMED :])
    kinds = f" ({counts}{f', {rest:,} others' if rest else ''})" if more else ""
    return f"skipped {len(others):,} files that are not images: {names}{more}{kinds}"
