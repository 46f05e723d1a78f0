"""A section: one table or figure of a report, or a few that belong together, held in memory until it is rendered.

A report is a list. Each `SectionSpec` in it names a function that takes the data of a run and returns a `Section`, or
None if the run has nothing to show. To add a table, write such a function and add one line to the list::

    def hardest(data: RunData) -> Section:
        frame = pd.DataFrame(...)
        grid = Grid(title="The hardest products", headers=("Product", "Backends wrong"), rows=...)
        return Section(title=ERRORS, grids=(NamedTable(name="hardest", grid=grid, frame=frame),))

    SECTIONS = (..., SectionSpec(hardest))

`shelfbench.report.render` writes the files of a section and puts it on the page.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, Literal, TypeVar

import pandas as pd
from markupsafe import Markup
from matplotlib.figure import Figure

from shelfbench.base.grid import Grid

Data = TypeVar("Data")


@dataclass(frozen=True, kw_only=True, eq=False)
class NamedTable:
    """A table and the name of its files.

    Attributes
    ----------
    name : str
        ``tables/NAME.csv``, ``.md`` and ``.tex``; empty for a table that only the page shows.
    grid : Grid
        The table as Markdown, LaTeX, the page and the terminal show it.
    frame : DataFrame or None
        The contents of the CSV, unrounded. None for a table that only the page shows.
    on_page : bool
        False for a table that is too long for the page.
    """

    name: str
    grid: Grid
    frame: pd.DataFrame | None = None
    on_page: bool = True


@dataclass(frozen=True, kw_only=True, eq=False)
class NamedFigure:
    """A figure and the name of its files.

    Attributes
    ----------
    name : str
        ``figures/NAME.png`` and ``.svg``.
    draw : callable or None
        Draws it, in the house style. None for photos, which can be drawn only while the run has its data: those that
        the run left are shown, if any.
    caption : str
    kind : {"chart", "photos"}
        The page shows charts as SVG, which stays sharp, and photos as PNG.
    on_page : bool
        False for a figure that is only written to files.
    """

    name: str
    draw: Callable[[], Figure] | None
    caption: str = ""
    kind: Literal["chart", "photos"] = "chart"
    on_page: bool = True


@dataclass(frozen=True, kw_only=True, eq=False)
class Section:
    """One table or figure, or a few that belong together; a report's functions return these.

    Attributes
    ----------
    title : str
        Heading on the page; sections that follow each other under the same title share it.
    grids : tuple of NamedTable
    figures : tuple of NamedFigure
    notes : tuple of str
        Paragraphs above the tables.
    html : Markup
        Shown on the page between tables and figures; made by a template.
    """

    title: str
    grids: tuple[NamedTable, ...] = ()
    figures: tuple[NamedFigure, ...] = ()
    notes: tuple[str, ...] = ()
    html: Markup = field(default_factory=Markup)


@dataclass(frozen=True)
class SectionSpec(Generic[Data]):
    """One line in the list that says which sections a report has, in the order of the page.

    Attributes
    ----------
    make : callable
        Makes the section from the data that all sections of the report share; None leaves it out.
    fold : str
        Summary of the fold that hides the section until a reader opens it; consecutive sections with the same title
        and summary share it. Empty for a section that is always open.
    turn : {"", "beside", "last"}
        When it is made: in order, concurrently in a thread of its own (where drawing is not safe), or after all others,
        whose tables it may look at.
    """

    make: Callable[[Data], Section | None]
    fold: str = ""
    turn: Literal["", "beside", "last"] = ""
