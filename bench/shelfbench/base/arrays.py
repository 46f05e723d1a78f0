"""NumPy's files, read so that whatever a flipped bit or a stranger did to them is one error."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

T = TypeVar("T")


def load_array(path: Path, *, mapped: bool = False) -> np.ndarray:
    """Read an array that ``numpy.save`` wrote.

    Parameters
    ----------
    path : Path
    mapped : bool
        Whether it stays on disk, as a read-only memory map.

    Returns
    -------
    ndarray
        Without Python objects; as long as its header says.

    Raises
    ------
    ValueError
        If it is damaged, in its header or by its length.
    OSError
        If it cannot be read.
    """
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("not a regular file")
    with open(path, "rb") as handle:
        shape, kind, start = _header(handle)
        needed = kind.itemsize * int(np.prod(shape, dtype=object))
        if start + needed != status.st_size:
            raise ValueError(f"it has {status.st_size:,} bytes, not {start + needed:,}")
    # NumPy parses the header as Python and may raise anything
    return guarded(np.load, path, mmap_mode="r" if mapped else None, allow_pickle=False)


def load_arrays(path: Path) -> dict[str, np.ndarray]:
    """Read the arrays that ``numpy.savez`` wrote.

    Parameters
    ----------
    path : Path

    Returns
    -------
    dict of str to ndarray

    Raises
    ------
    ValueError
        If the file is damaged.
    OSError
        If it cannot be read.
    """
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise ValueError("not a regular file")
    return guarded(_all_of, path)


def _all_of(path: Path) -> dict[str, np.ndarray]:
    # opened here, because NumPy leaves a damaged file open
    with open(path, "rb") as handle, np.load(handle, allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}


def _header(handle: Any) -> tuple[tuple[int, ...], np.dtype, int]:
    """Read what the header says of shape and type, and where the numbers begin."""

    def read() -> tuple[tuple[int, ...], np.dtype, int]:
        version = np.lib.format.read_magic(handle)
        if version not in ((1, 0), (2, 0)):
            raise ValueError(f"format {version}")
        reader = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, kind = reader(handle)
        if kind.hasobject or any(size < 0 for size in shape):
            raise ValueError("its header is not that of numbers")
        return shape, kind, handle.tell()

    return guarded(read)


def guarded(read: Callable[..., T], *arguments: Any, **settings: Any) -> T:
    """Call a reader that may raise anything on a damaged file.

    Parameters
    ----------
    read : callable
    *arguments : Any
        Passed on.
    **settings : Any
        Passed on.

    Returns
    -------
    object
        What it returns.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        For any other error.
    """
    try:
        return read(*arguments, **settings)
    except (OSError, ValueError):
        raise
    except Exception as error:  # SyntaxError, TokenError, BadZipFile, zlib.error, RuntimeError, MemoryError ...
        said = str(error).splitlines()
        raise ValueError(f"{type(error).__name__}{f': {said[0][:160]}' if said else ''}") from error
