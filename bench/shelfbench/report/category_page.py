"""What ``shelfbench errors`` prints and writes: the categories that err most, or one of them, with its photos."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from shelfbench.base.console import Console
from shelfbench.base.errors import InputError, ShelfbenchError
from shelfbench.base.grid import Grid
from shelfbench.base.screen import CODE, printable
from shelfbench.report.data import RunData, open_data
from shelfbench.report.one_category import CategoryErrors, category_errors
from shelfbench.report.photos import grouped_photos
from shelfbench.report.render import Piece, fill, table_html, write_csv, write_page
from shelfbench.report.which_category import errors_command, find_category, most_errors
from shelfbench.runs.photos_again import photos_again

_ON_SCREEN, _ON_PAGE = 15, 100  # rows of a table
_PHOTOS, _OF_A_GROUP = 60, 14  # two rows of them
_PAIR = 3  # errors from which on a pair of label and answer has photos of its own
_FORMS = (".csv", ".html")


def errors_text(
    run_dir: Path,
    category: str | None = None,
    *,
    backend: str | None = None,
    out: Path | None = None,
    data: Path | None = None,
    console: Console | None = None,
) -> str:
    """Say why a category errs, or which ones err most; write its errors to a file if one is named.

    Parameters
    ----------
    run_dir : Path
        The run directory of a comparison.
    category : str, optional
        A key or a display name; without it, the categories are listed.
    backend : str, optional
        By default the chosen one.
    out : Path, optional
        ``*.csv`` for all errors of the category, or ``*.html`` for a page with photos.
    data : Path, optional
        Where to look for the data first, whose photos the page shows.
    console : Console, optional
        Told which file is written, and warned if the page has no photos.

    Returns
    -------
    str
        For the terminal.

    Raises
    ------
    InputError
        If the directory has no readable predictions, the backend or the category is unknown, or the file cannot be
        written.
    """
    console = console or Console(quiet=True)
    _check(category, out, data)
    opened = open_data(run_dir, console=console)
    backend = opened.chosen if backend is None else backend
    opened.run.products(backend)  # refuses one that is not there
    if category is None:
        return _list(opened, backend)
    found = category_errors(opened, find_category(opened, category), backend)
    if out is not None and out.suffix.lower() == ".csv":
        write_csv(out, found.frame)
    elif out is not None:
        _write_page(found, out, data, console)
    lines = [
        "\n".join(map(printable, found.head)),
        *(_cut(grid, _ON_SCREEN).text() for grid in found.tables),
        printable(found.advice),
    ]
    if out is not None:
        console.log(f"errors: {out}")
    elif len(found.frame):
        lines.append(
            f"All of them with photos, or as a table (errors.csv):\n\n{CODE}{_command(found, '--out', 'errors.html')}"
        )
    return "\n\n".join(lines)


def _check(category: str | None, out: Path | None, data: Path | None) -> None:
    """Refuse a place or options that cannot be used before anything is computed."""
    if out is not None:
        if category is None:
            raise InputError("--out is for the errors of one category", "name a category, or leave it out")
        if out.suffix.lower() not in _FORMS:
            raise InputError(f"{out} is neither a table nor a page", "name a file *.csv or *.html")
        if out.is_dir():
            raise InputError(f"{out} is a folder", "name a file *.csv or *.html")
    if data is not None and (out is None or out.suffix.lower() != ".html"):
        raise InputError("--data says where the photos of a page are", "add --out FILE.html, or leave it out")


def _list(data: RunData, backend: str) -> str:
    grid = most_errors(data, backend)
    if not grid.rows:
        products = len(data.held_out[backend].truth)
        return f"{backend} makes no error on the {products:,} products of tune and test."
    other = ["--backend", backend] if backend != data.chosen else []
    command = errors_command(data, grid.rows[0][0], *other)
    return f"{_cut(grid, _ON_SCREEN).text()}\n\nTo see why one of them errs:\n\n{CODE}{command}"


def _command(found: CategoryErrors, *more: str) -> str:
    other = ["--backend", found.backend] if found.backend != found.data.chosen else []
    return errors_command(found.data, found.key, *other, *more)


def _cut(grid: Grid, most: int) -> Grid:
    """Keep the first rows, and say how many there are besides."""
    more = len(grid.rows) - most
    return replace(grid, rows=grid.rows[:most], notes=(f"And {more:,} more.", *grid.notes)) if more > 0 else grid


def _write_page(found: CategoryErrors, out: Path, data: Path | None, console: Console) -> None:
    photos, doubts = _photos(found, data, console)
    for doubt in doubts:
        console.warn(doubt)
    title = f"Why does {found.name} err?"
    header = fill("header", title=title, verdict=found.advice, lines=found.head, warnings=doubts)
    tables = [table_html(_cut(grid, _ON_PAGE)) for grid in found.tables]  # the last one lists the errors
    pieces = [
        Piece("Where its errors go", "", Markup("\n").join(tables[:-1])),
        Piece("Photos of its errors", "", photos),
        Piece("One by one", "", Markup("\n").join(tables[-1:])),
    ]
    write_page(out.parent, title, pieces, header=header, name=out.name)


def _photos(found: CategoryErrors, data: Path | None, console: Console) -> tuple[Markup, list[str]]:
    """Thumbnails of the errors, and what to doubt about them."""
    answered = found.frame[found.frame["predicted_key"] != ""]
    if not len(answered):
        return Markup(), []
    try:
        again = photos_again(found.data.run, data, console)
    except ShelfbenchError as error:
        return Markup(), [f"no photos: {error}"]
    shown = grouped_photos(replace(found.data, photograph=again.of_product), _pictured(found, answered))
    doubts = []
    if again.relabelled:
        doubts.append(
            f"products of the run that have another category in the data now: {again.relabelled:,}; no photos of these"
        )
    if not shown:
        doubts.append("no photos: none of these products' photos can be read")
        return shown, doubts
    return fill("note", text="Photos as they are in the data now.") + shown, doubts


def _pictured(found: CategoryErrors, answered: pd.DataFrame) -> pd.DataFrame:
    """The errors to show: the surest ones of each pair of label and answer, the most frequent pairs first."""
    rows = pd.DataFrame(
        {
            "product_id": answered["product_id"],
            "category": [found.shown[key] for key in answered["key"]],
            "predicted": [found.shown[key] for key in answered["predicted_key"]],
            "probability": answered["probability"],
            "note": [_note(row) for row in answered.to_dict("records")],
        }
    )
    pair = rows["category"] + " → " + rows["predicted"]
    size = pair.map(pair.value_counts())
    alone = size < _PAIR
    some = np.where(size > _OF_A_GROUP, f" errors, the {_OF_A_GROUP} surest", " errors")
    others = f"Other errors: {int(alone.sum()):,}"
    rows["group"] = (pair + ": " + size.map("{:,}".format) + some).mask(alone, others)
    order = rows.assign(size=-size.mask(alone, 0)).sort_values(["size", "group"], kind="stable").index
    return rows.loc[order].groupby("group", sort=False).head(_OF_A_GROUP).head(_PHOTOS)


def _note(row: dict[Hashable, Any]) -> str:
    marks = (("accepted", "accepted"), ("check_label", "label to check"))
    return ", ".join(words for column, words in marks if row.get(column))
