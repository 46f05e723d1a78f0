"""Reading the heads that a study defines: the sections ``[heads.NAME]``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from shelfbench.base.errors import InputError
from shelfbench.plugins.backend import HeadSettings
from shelfbench.plugins.estimators import recipe_of_head
from shelfbench.plugins.finding import FEATURES, HEADS, available
from shelfbench.study.sections import did_you_mean

_KEYS = ("estimator", "parameters", "grid")
_EXAMPLE = 'write estimator = "sklearn.neighbors.KNeighborsClassifier"'
_PATH = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*")
_LIST = "give a list of values, like { C = [0.1, 1, 10] }"


def read_heads(tables: Any, label: str) -> dict[str, HeadSettings]:
    """Read the sections ``[heads.NAME]``. Nothing is imported: see `check_heads`.

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
    return {name: _read(table, f"{label}: heads.{name}", name) for name, table in tables.items()}


def _read(table: Any, where: str, name: str) -> HeadSettings:
    if not re.fullmatch(r"[A-Za-z0-9_]+", name):
        raise InputError(f"{where}: the name becomes part of a backend's name", "use letters, digits and '_'")
    if not isinstance(table, Mapping):
        raise InputError(f"{where} is {table!r}, but it must be a section", _EXAMPLE)
    for key in table:
        if key not in _KEYS:
            own = f"if it is the estimator's own, write parameters = {{ {key} = ... }}; "
            remedy = f"{did_you_mean(key, _KEYS) or own}known: {', '.join(_KEYS)}"
            raise InputError(f"{where}: unknown key {key!r}", remedy)
    parameters, grid = _table(table, "parameters", where), _table(table, "grid", where)
    for key, values in grid.items():
        if not isinstance(values, (list, tuple)) or not values:
            raise InputError(f"{where}.grid.{key} is {values!r}", _LIST)
        if key in parameters:
            raise InputError(f"{where}: {key!r} is in parameters and in grid", "keep one of them")
    made = [f"{feature}-{name}" for feature in available(FEATURES)]
    if taken := [backend for backend in made if name in available(HEADS) or backend in available()]:
        raise InputError(f"{where}: {taken[0]} is a backend that is installed", "give the head another name")
    return HeadSettings(estimator=_estimator(table.get("estimator"), where), parameters=parameters, grid=grid)


def _estimator(given: Any, where: str) -> str | tuple[str, ...]:
    if not given:
        raise InputError(f"{where} names no estimator", _EXAMPLE)
    steps = [given] if isinstance(given, str) else given
    if not isinstance(steps, (list, tuple)) or not all(isinstance(step, str) for step in steps):
        raise InputError(f"{where}.estimator is {given!r}", "give an import path in quotes, or a list of them")
    for step in steps:
        if not _PATH.fullmatch(step):
            raise InputError(f"{where}.estimator: {step!r} is not an import path", _EXAMPLE)
    return given if isinstance(given, str) else tuple(steps)


def _table(table: Mapping[str, Any], key: str, where: str) -> dict[str, Any]:
    values = table.get(key, {})
    if not isinstance(values, Mapping):
        raise InputError(f"{where}.{key} is {values!r}", "give a table, like { n_neighbors = 10 }")
    return dict(values)


def check_heads(heads: Mapping[str, HeadSettings], label: str) -> None:
    """Import the estimators of heads and check their parameters, before anything is computed.

    Parameters
    ----------
    heads : mapping of str to HeadSettings
        Those that are used.
    label : str
        The study, for messages.

    Raises
    ------
    InputError
        If an estimator cannot be imported, is not a classifier, or refuses a parameter.
    """
    for name, head in heads.items():
        try:
            recipe_of_head(name, head).check()
        except InputError as error:
            raise InputError(f"{label}: {error.message}", error.remedy) from None
