"""Arguments of the public functions, checked before anything is done with them."""

from __future__ import annotations

import operator
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shelfbench.base.errors import InputError

_LONGEST = 255  # bytes of a file's name, on every common file system


def path_argument(value: Any, name: str) -> Path:
    """Check a path.

    Parameters
    ----------
    value : str or path
    name : str
        What the argument is called.

    Returns
    -------
    Path

    Raises
    ------
    InputError
        If it is empty, cannot be the path of a file, or is of another type.
    """
    text = value if isinstance(value, str) else os.fspath(value) if isinstance(value, os.PathLike) else None
    if not isinstance(text, str) or not text or "\0" in text:
        raise InputError(f"{name} is {value!r}", "give the path of a file or folder")
    if any("\ud800" <= character <= "\udfff" for character in text):  # bytes that Python could not decode
        raise InputError(f"{name} is {text[:80]!r}, which is not UTF-8", "rename it, or choose another place")
    path = Path(text)
    if any(len(os.fsencode(part)) > _LONGEST for part in path.parts):
        raise InputError(
            f"{name} {text[:40]!r} ... contains a name too long (more than {_LONGEST} bytes)", "shorten it"
        )
    return path


def count_argument(value: Any, name: str) -> int:
    """Check a whole number of at least 1; NumPy's count too.

    Parameters
    ----------
    value : int
    name : str
        What the argument is called.

    Returns
    -------
    int

    Raises
    ------
    InputError
        If it is another number, or no number.
    """
    try:
        number = 0 if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = 0
    if number < 1:
        raise InputError(f"{name} is {value!r}", "give a whole number of at least 1")
    return number


def settings_argument(value: Any) -> Mapping[Any, Any]:
    """Check settings; their keys and values are checked where they are used.

    Parameters
    ----------
    value : mapping or None

    Returns
    -------
    mapping

    Raises
    ------
    InputError
        If it is not a mapping.
    """
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise InputError(f"settings is {value!r}", "write for example {'split.min_products': 10}")
    return value
