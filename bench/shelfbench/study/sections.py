"""Sections of a study: dataclasses from tables, and values checked against their types."""

from __future__ import annotations

import dataclasses
import difflib
import math
import typing
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, time
from typing import Any

import msgspec

from shelfbench.base.errors import InputError

_REMEDIES: dict[Any, str] = {
    bool: "give true or false",
    int: "give a whole number",
    float: "give a number",
    str: "give text in quotes",
    tuple[int, ...]: "give whole numbers, like [1, 2]",
    tuple[float, ...]: "give numbers, like [0.5, 1]",
    tuple[str, ...]: 'give texts in quotes, like ["a", "b"]',
}


def build_section(kind: type, table: Any, section: str, source: str) -> Any:
    """Build the settings of one section.

    Parameters
    ----------
    kind : type
        A dataclass with defaults, whose annotations define the type of each value.
    table : dict
        The section in the study.
    section : str
        Its name.
    source : str
        Where the table comes from, for messages.

    Returns
    -------
    object
        An instance of `kind`.

    Raises
    ------
    InputError
        If a key is unknown or a value has the wrong type.
    """
    if not isinstance(table, Mapping):
        raise InputError(f"{source}: {section} is {table!r}, but it must be a section", f"write {section}.KEY = VALUE")
    names = [item.name for item in dataclasses.fields(kind)]
    for key in table:
        if key not in names:
            raise InputError(f"{source}: unknown key {section}.{key}", suggest(key, names))
    try:
        kinds = typing.get_type_hints(kind)
    except NameError as error:
        raise InputError(
            f"section {section!r} has an annotation that cannot be read ({error})",
            f"{kind.__module__} must import the types of its settings at run time",
        ) from None
    return kind(**{key: value_of(value, kinds[key], f"{source}: {section}.{key}") for key, value in table.items()})


def value_of(value: Any, kind: Any, where: str) -> Any:
    """Check a value against its type; a single value counts as a list of one if a list is expected.

    Parameters
    ----------
    value : object
    kind : type
    where : str
        Its place in the study, for messages.

    Returns
    -------
    object

    Raises
    ------
    InputError
        If it is of another type.
    """
    if typing.get_origin(kind) is tuple and not isinstance(value, (list, tuple)):
        value = [value]
    try:
        return msgspec.convert(value, kind)
    except (msgspec.ValidationError, OverflowError, UnicodeEncodeError):  # the last: half a character
        raise InputError(f"{where} is {value!r}", _REMEDIES.get(kind, f"give a value of type {kind}")) from None


def check_recordable(value: Any, where: str) -> None:
    """Make sure that settings can be written down: JSON knows neither NaN nor half a character.

    Parameters
    ----------
    value : object
        Tables of settings, or what is in them.
    where : str
        Their place in the study, for messages.

    Raises
    ------
    InputError
        If a number is not finite, or a text is not Unicode, such as the name of a file that is not UTF-8.
    """
    if isinstance(value, Mapping):
        for key, inner in value.items():
            check_recordable(str(key), where)
            check_recordable(inner, f"{where}.{key}" if ": " in where else f"{where}: {key}")  # study X: dataset.levels
    elif isinstance(value, list | tuple):
        for inner in value:
            check_recordable(inner, where)
    elif isinstance(value, date | time):
        raise InputError(f"{where} is the time {value}", "write it as text in quotes")
    elif isinstance(value, float) and not math.isfinite(value):
        raise InputError(f"{where} is {value}", "give a finite number")
    elif isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            raise InputError(f"{where}: {value[:80]!r} is not UTF-8", "write it in UTF-8, or rename the file") from None


def suggest(word: str, known: Sequence[str]) -> str:
    """Say which words are known, the nearest first.

    Parameters
    ----------
    word : str
    known : sequence of str

    Returns
    -------
    str
    """
    return f"{did_you_mean(word, known)}known: {', '.join(known)}"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Ask whether the nearest of many words was meant, in capitals or not.

    Parameters
    ----------
    word : str
    known : iterable of str

    Returns
    -------
    str
        With a blank at its end; empty if none is near.
    """
    plain = {one.casefold(): one for one in known}
    close = difflib.get_close_matches(word.casefold(), plain, 1)
    return f"did you mean {plain[close[0]]!r}? " if close else ""
