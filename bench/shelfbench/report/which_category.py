"""Which category to look at: those that err most, and the one that is meant by what somebody writes."""

from __future__ import annotations

import shlex
from collections import Counter

import numpy as np

from shelfbench.base.errors import InputError
from shelfbench.base.grid import Grid, count, interval
from shelfbench.base.screen import printable
from shelfbench.report.data import ERRORS, RunData, held_out
from shelfbench.report.render import fill
from shelfbench.report.section import Section
from shelfbench.runs.category_names import Spellings
from shelfbench.runs.next_step import as_word
from shelfbench.study.sections import did_you_mean
from shelfbench.verdict.typology import by_group, confusions

UNREADABLE = "no readable photo"


def find_category(data: RunData, text: str) -> str:
    """Find the category that is meant by a key or a display name.

    Parameters
    ----------
    data : RunData
    text : str
        A key, a name as it is written, or either in other capitals.

    Returns
    -------
    str
        Its key.

    Raises
    ------
    InputError
        If no category is called that, or several are.
    """
    names = _names(data)
    found = sorted(Spellings(names).meant(text))
    if len(found) == 1:
        return found[0]
    if found:
        raise InputError(f"{text[:60]!r} is the name of several categories", f"give the key: {', '.join(found)}")
    likely = did_you_mean(text, [*names, *names.values()])
    raise InputError(
        f"{data.run.path} has no category {text[:60]!r}",
        f"{likely}give a key or a name; without one, the command lists the categories that err most",
    )


def most_errors(data: RunData, backend: str) -> Grid:
    """List the categories with errors on tune and test, those with the most first.

    Parameters
    ----------
    data : RunData
    backend : str

    Returns
    -------
    Grid
        Without rows if nothing is wrong.
    """
    held, shown, names = held_out(data.run.products(backend)), shown_names(data), _names(data)
    found = by_group(held.truth, held.correct, len(held.keys))
    answers: dict[int, str] = {}
    for pair in confusions(held.truth, held.predicted, len(held.truth)):
        answers.setdefault(pair.truth, f"{shown[held.keys[pair.predicted]]} ({pair.products:,})")
    with_keys = any(key != name for key, name in names.items())
    order = [code for code in np.argsort(-found.errors, kind="stable").tolist() if found.errors[code]]
    rows = tuple(
        (
            *((held.keys[code],) if with_keys else ()),
            names[held.keys[code]],
            count(int(found.products[code])),
            count(int(found.errors[code])),
            interval(*(float(ends[code]) for ends in (found.right, found.low, found.high))),
            answers.get(code, UNREADABLE),
        )
        for code in order
    )
    first = 1 + with_keys
    return Grid(
        title=f"The categories that err most: {backend}, products of tune and test",
        headers=(
            *(("Key",) if with_keys else ()),
            "Category",
            "Products",
            "Errors",
            "Right [95%]",
            "Most often taken for",
        ),
        rows=rows,
        numeric=frozenset(range(first, first + 3)),
    )


def errors_command(data: RunData, key: str, *options: str) -> str:
    """Write the command that shows one category by itself."""
    return printable(shlex.join(["shelfbench", "errors", as_word(data.run.path), key, *options]))


def link_to_category(data: RunData) -> Section | None:
    """How to see one category by itself, such as the one with the most errors; None if nothing is wrong."""
    held = data.held_out[data.chosen]
    errors = np.bincount(held.truth[~held.correct], minlength=len(held.keys))
    if not errors.any():
        return None
    text = (
        "Why one category errs, with photos and what to do, says this command; here for the one with the most errors "
        "on tune and test:"
    )
    command = errors_command(data, held.keys[int(errors.argmax())], "--out", "errors.html")
    return Section(title=ERRORS, html=fill("note", text=text) + fill("code", text=command))


def shown_names(data: RunData) -> dict[str, str]:
    """Display names by key; with the key in parentheses where several categories share a name."""
    names = _names(data)
    often = Counter(names.values())
    return {key: name if often[name] == 1 else f"{name} ({key})" for key, name in names.items()}


def _names(data: RunData) -> dict[str, str]:
    """Display names of the categories of the split, by key."""
    keys = data.run.products(data.run.backends[0]).keys
    return {key: data.run.categories.get(key, key) for key in keys}
