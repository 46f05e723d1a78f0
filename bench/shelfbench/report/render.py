"""Rendering sections, once and from memory: CSV, Markdown, LaTeX, PNG, SVG and the page."""

from __future__ import annotations

import base64
import io
import re
import warnings
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import groupby
from pathlib import Path
from typing import Any
from urllib.parse import quote

import matplotlib as mpl
import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure
from PIL import Image

from shelfbench.base.console import Console
from shelfbench.base.grid import MISSING, Grid
from shelfbench.base.spreadsheet import inert
from shelfbench.base.storage import LineFeeds, write_text, write_whole
from shelfbench.report.fonts import fit_fonts
from shelfbench.report.section import Data, NamedFigure, Section, SectionSpec
from shelfbench.report.slim import as_webp, slim_png, slim_svg
from shelfbench.report.style import STYLE

_NOTE = "Comment"  # of a PNG
# Letters of an SVG that stand in the page as they are: none that a URL or an attribute gives a meaning to
_AS_IT_IS = "<> =/:;,.-_+*!?$@~[]{}|^`"


@dataclass(frozen=True)
class Piece:
    """A section as the page shows it.

    Attributes
    ----------
    title, fold : str
        As in `shelfbench.report.section.Section` and `SectionSpec`.
    html : Markup
    """

    title: str
    fold: str
    html: Markup


def write_report(
    directory: Path,
    sections: Sequence[SectionSpec[Data]],
    data: Data,
    *,
    tables: dict[str, pd.DataFrame] | None = None,
    console: Console | None = None,
) -> list[Piece]:
    """Make every section of a report and write its tables and figures.

    Parameters
    ----------
    directory : Path
        The run directory.
    sections : sequence of SectionSpec
        Which sections the report has, in the order of the page.
    data : Data
        The data they are made from.
    tables : dict of str to DataFrame, optional
        Filled with every table that is written, by name, for sections that are made last.
    console : Console, optional

    Returns
    -------
    list of Piece
        For `write_page`.

    Raises
    ------
    InputError
        If a section finds the run damaged, or a file cannot be written.
    """
    console = console or Console(quiet=True)
    tables = {} if tables is None else tables
    pieces: dict[int, Piece] = {}
    turns = sorted(enumerate(sections), key=lambda item: ("", "beside", "last").index(item[1].turn))
    with ThreadPoolExecutor(1) as pool, console.progress(len(sections), "report", "sections") as bar:
        beside = {place: pool.submit(spec.make, data) for place, spec in turns if spec.turn == "beside"}
        for place, spec in turns:
            section = beside[place].result() if place in beside else spec.make(data)
            if section is not None:
                pieces[place] = Piece(section.title, spec.fold, write_section(directory, section))
                tables.update({table.name: table.frame for table in section.grids if table.frame is not None})
            bar.update(1)
    return [pieces[place] for place in sorted(pieces)]


def write_section(directory: Path, section: Section) -> Markup:
    """Write the tables and figures of a section into a run directory.

    Parameters
    ----------
    directory : Path
    section : Section

    Returns
    -------
    Markup
        The section as the page shows it, without its title.

    Raises
    ------
    InputError
        If a file cannot be written.
    """
    inside = [fill("note", text=note) for note in section.notes]
    for table in section.grids:
        if table.frame is not None:
            write_forms(directory / "tables", table.name, table.frame, table.grid)
        if table.on_page:
            inside.append(table_html(table.grid))
    inside.append(section.html)
    for figure in section.figures:
        image, note = _written_figure(directory / "figures" / figure.name, figure)
        if image is not None and figure.on_page:
            inside.append(figure_html(image, " ".join(filter(None, (figure.caption, note))), figure.kind))
        elif note:
            inside.append(fill("note", text=f"figures/{figure.name}.png: {note}"))
    return Markup("\n").join(filter(None, inside))


def write_page(
    directory: Path,
    title: str,
    pieces: Iterable[Piece],
    *,
    header: Markup | None = None,
    console: Console | None = None,
    name: str = "report.html",
) -> None:
    """Write a page: one self-contained file with sortable tables.

    Parameters
    ----------
    directory : Path
        The run directory.
    title : str
        Title of the document, and its heading if there is no `header`.
    pieces : iterable of Piece
        From `write_report`.
    header : Markup, optional
        The page's head: title, verdict, warnings (templates ``header`` and ``verdict``).
    console : Console, optional
    name : str
        Of the file.
    """
    sections = [
        fill(
            "section",
            title=heading,
            folds=[
                (fold, Markup("\n").join(piece.html for piece in inside if piece.html))
                for fold, inside in groupby(group, key=lambda piece: piece.fold)
            ],
        )
        for heading, group in groupby((piece for piece in pieces if piece.html), key=lambda piece: piece.title)
    ]
    style, script = (
        Markup((files("shelfbench.report") / f"page.{kind}").read_text(encoding="utf-8")) for kind in ("css", "js")
    )
    head = fill("header", title=title, verdict="", lines=(), warnings=()) if header is None else header
    page = fill("document", title=title, style=style, script=script, header=head, sections=sections)
    write_text(directory / name, page + "\n")
    (console or Console(quiet=True)).log(f"report: {directory / name}")


@cache
def _templates() -> Environment:
    found = Environment(
        loader=PackageLoader("shelfbench.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters["anchor"] = lambda title: re.sub(r"\W+", "-", title.lower()).strip("-")
    return found


def fill(template: str, **values: Any) -> Markup:
    """Fill in a template of ``report/templates``; all values are escaped, except Markup."""
    return Markup(_templates().get_template(f"{template}.html.j2").render(**values))


def table_html(grid: Grid) -> Markup:
    """A table with its title and notes; it scrolls on its own if it is too wide."""
    return Markup(grid.html())


def figure_html(image: bytes, caption: str, kind: str = "chart") -> Markup:
    """A figure (PNG for photos, SVG otherwise) with its caption; inside an <img>, no script of an SVG can run."""
    source = _photos_url(image) if kind == "photos" else _svg_url(image)
    return fill("figure", caption=caption, kind=kind, source=source)


def _photos_url(image: bytes) -> str:
    """A PNG as the page holds it; one that is damaged as it is, so that the page shows that it is."""
    try:
        kind, image = "webp", as_webp(image)
    except (OSError, ValueError, SyntaxError):
        kind = "png"
    return f"data:image/{kind};base64,{base64.b64encode(image).decode('ascii')}"


def _svg_url(image: bytes) -> Markup:
    """An SVG as text, which takes three quarters of what it takes in Base64; nothing in it can end the attribute."""
    text = image.decode("utf-8")
    # browsers know the shorter name of a link
    inside = text[text.index("<svg") :].replace(">\n<", "><").replace("\n", " ").replace(" xlink:href=", " href=")
    inside = inside.replace("'", "&apos;")
    return Markup("data:image/svg+xml," + quote(inside, safe=_AS_IT_IS).replace("%22", "'"))


def pairs_html(rows: Iterable[tuple[str, object]]) -> Markup:
    """Names and values; names without a value are skipped."""
    return fill("pairs", rows=[row for row in rows if row[1] not in (None, "", MISSING)])


def write_forms(folder: Path, name: str, frame: pd.DataFrame, grid: Grid) -> None:
    """Write a table into a folder as CSV, Markdown and LaTeX; no spreadsheet runs a name in it."""
    write_csv(folder / f"{name}.csv", frame)
    write_text(folder / f"{name}.md", grid.markdown())
    write_text(folder / f"{name}.tex", grid.latex())


def write_csv(path: Path, frame: pd.DataFrame) -> None:
    """Write a table as CSV, whole or not at all; no spreadsheet runs a name in it."""

    def as_csv(aside: Path) -> None:
        with open(aside, "w", encoding="utf-8", newline="") as handle:
            lines: Any = LineFeeds(handle)
            _inert(frame).to_csv(lines, index=False, lineterminator="\r\n")

    write_whole(path, as_csv)


def _inert(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a frame whose texts no spreadsheet runs; everything else, and every type, stays as it is."""
    safe = frame.copy()
    for number, kind in enumerate(frame.dtypes):
        if pd.api.types.is_object_dtype(kind) or isinstance(kind, pd.StringDtype):
            values = [inert(value) if isinstance(value, str) else value for value in frame.iloc[:, number]]
            safe.isetitem(number, pd.Series(values, index=frame.index, dtype=kind))
    return safe


def _written_figure(path: Path, figure: NamedFigure) -> tuple[bytes | None, str]:
    """Draw and write a figure; return its bytes for the page, or None if there is nothing to show, and a note."""
    suffix = ".png" if figure.kind == "photos" else ".svg"
    if figure.draw is None:
        # The only things a report reads back are photos (Figure 1, and the thumbnails of Figure 6 in
        # `shelfbench.report.photos`): they can be made only by a run that has access to its data. A report remade from
        # the run directory alone shows the photos that the run left.
        kept = path.with_name(path.name + suffix)
        return (kept.read_bytes(), _kept_note(kept)) if kept.is_file() else (None, "")
    with mpl.rc_context(STYLE):
        picture = figure.draw()
        note = fit_fonts(picture)
        images = drawn(picture, note, photos=figure.kind == "photos")
    for ending, image in images.items():
        write_whole(path.with_name(path.name + ending), lambda aside, image=image: aside.write_bytes(image))  # type: ignore[misc]
    return images[suffix], note


def _kept_note(path: Path) -> str:
    """Read the note that `drawn` left in a PNG; the page that embeds the file shows whether it is damaged."""
    try:
        with Image.open(path) as image:
            return str(image.info.get(_NOTE, ""))
    except (OSError, ValueError, SyntaxError):
        return ""


def drawn(figure: Figure, note: str = "", *, photos: bool = False) -> dict[str, bytes]:
    """A figure as PNG, with a note in it if there is one, and as SVG, by suffix; the same bytes each time."""
    png = _saved(figure, "png", {"Software": "shelfbench", **({_NOTE: note} if note else {})})
    svg = _saved(figure, "svg", {"Date": None, "Creator": "shelfbench"}).decode("utf-8")
    # 256 colours are too few for photos
    return {".png": png if photos else slim_png(png), ".svg": slim_svg(svg).encode("utf-8")}


def _saved(figure: Figure, form: str, metadata: dict[str, str | None]) -> bytes:
    image = io.BytesIO()
    with warnings.catch_warnings():
        # letters that no font has are boxes, and the caption says so
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure.savefig(image, format=form, dpi=150, metadata=metadata)
    return image.getvalue()
