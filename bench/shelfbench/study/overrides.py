"""Settings that replace those of a study: from the command line, and from Python."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from shelfbench.base.errors import InputError

Override = tuple[list[str], Any]
"""A setting's path and its value: ``["split", "min_products"]``, one root key, or ``["heads", "knn", "estimator"]`` and
further keys of a table in it."""

HEADS = "heads"
_DEEPEST = 4


def _names_setting(path: list[str]) -> bool:
    """Tell whether a path may name a setting: heads are sections with names, and tables in them."""
    deepest = _DEEPEST if path[:1] == [HEADS] else 2
    return bool(path) and all(path) and len(path) <= deepest


def parse_setting(text: str) -> Override:
    """Read one ``--set KEY=VALUE``.

    Parameters
    ----------
    text : str
        The value is read as TOML, or taken as plain text if it is not TOML.

    Returns
    -------
    tuple of list of str and object
        The setting's path and its value.

    Raises
    ------
    InputError
        If there is no key or no value.
    """
    if "\n" in text or len(text) > 10_000:
        raise InputError(f"--set {text[:40]!r} ... is not KEY=VALUE", "write one setting on one line")
    key, equals, raw = text.partition("=")
    path = key.strip().split(".")
    if not equals or not _names_setting(path):
        raise InputError(f"--set {text!r} is not KEY=VALUE", "write for example --set split.min_products=10")
    try:
        value = tomllib.loads(f"value = {raw}")["value"]
    except (ValueError, RecursionError):
        value = raw.strip()
    return path, value


def setting(key: str, value: Any) -> Override:
    """Take a setting given from Python.

    Parameters
    ----------
    key : str
        ``SECTION.KEY``, ``heads.NAME.KEY``, or a root key such as ``weights``.
    value : object
        A path becomes text.

    Returns
    -------
    tuple of list of str and object
        The setting's path and its value.

    Raises
    ------
    InputError
        If the key does not name a setting.
    """
    path = key.split(".") if isinstance(key, str) else []
    if not _names_setting(path):
        raise InputError(f"the setting {key!r} is not SECTION.KEY", "write for example {'split.min_products': 10}")
    return path, str(value) if isinstance(value, Path) else value
