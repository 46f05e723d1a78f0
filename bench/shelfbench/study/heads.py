"""Reading the heads that a study defines: the sections ``[heads.NAME]``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from shelfbench.base.errors import InputError
from shelfbench.plugins.backend import HeadSettings
from shelfbench.plugins.finding import FEATURES, available

_KEYS = {"estimator": str, "parameters": Mapping, "grid": Mapping}
_EXAMPLE = 'write estimator = "sklearn.neighbors.KNeighborsClassifier"'


def read_heads(tables: Any, label: str) -> dict[str, HeadSettings]:
    """Read the sections ``[heads.NAME]``.

    Parameters
    ----------
    tables : object
        The key ``heads`` of the study.
    label : str
        The study, for messages.

    Returns
    -------
    dict of str to HeadSettings

    Raises
    ------
    InputError
        If a section lacks its estimator or contains something else, or its name is taken.
    """
    if not isinstance(tables, Mapping):
        raise InputError(f"{label}: heads is {tables!r}", "write [heads.NAME]")
    heads = {}
    for name, table in tables.items():
        where = f"{label}: heads.{name}"
        if not re.fullmatch(r"[A-Za-z0-9_]+", name):
            raise InputError(f"{where}: the name becomes part of a backend's name", "use letters, digits and '_'")
        if not isinstance(table, Mapping):
            raise InputError(f"{where} is {table!r}, but it must be a section", _EXAMPLE)
        for key, value in table.items():
            if key not in _KEYS:
                raise InputError(f"{where}: unknown key {key!r}", f"known: {', '.join(_KEYS)}")
            if not isinstance(value, _KEYS[key]):
                kind = "text in quotes" if _KEYS[key] is str else "a table, like { n_neighbors = 10 }"
                raise InputError(f"{where}.{key} is {value!r}", f"give {kind}")
        if not table.get("estimator"):
            raise InputError(f"{where} names no estimator", _EXAMPLE)
        if taken := [backend for feature in available(FEATURES) if (backend := f"{feature}-{name}") in available()]:
            raise InputError(f"{where}: {taken[0]} is a backend that is installed", "give the head another name")
        heads[name] = HeadSettings(
            estimator=table["estimator"],
            parameters=dict(table.get("parameters", {})),
            grid=dict(table.get("grid", {})),
        )
    return heads
