"""One table of text, as Markdown, LaTeX, HTML and plain text, and how numbers are written in it."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from decimal import ROUND_FLOOR, Decimal
from functools import cache
from typing import TYPE_CHECKING

from shelfbench.base.screen import NOTE, folded, printable, screen_width
from shelfbench.base.spreadsheet import inert
from shelfbench.base.text_table import NO_LIMIT, TextTable

if TYPE_CHECKING:
    from jinja2 import Template

MISSING = "–"
# Characters up to which a probability was asked for by somebody, and not computed.
_ASKED = 9
_DIGITS = 12  # of a probability that is nearly 1
_ROOM = 1090  # pixels of a table on a page that is 1,280 wide
_NUMBER = 36  # characters at most; longer cells of numeric columns are sentences

_LATEX = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "&": r"\&",
        "%": r"\%",
        "$": r"\$",
        "#": r"\#",
        "_": r"\_",
        "{": r"\{",
        "}": r"\}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        "`": "{`}",
        "–": "--",
        "†": r"$^{\dagger}$",
        "‡": r"$^{\ddagger}$",
        "≥": r"$\geq$",
        "×": r"$\times$",
        "§": r"\S{}",
        "·": r"$\cdot$",
    }
)


@dataclass(frozen=True, kw_only=True)
class Grid:
    """A table, formatted cell by cell.

    Attributes
    ----------
    title : str
        Caption.
    headers : tuple of str
    rows : tuple of tuple of str
    numeric : frozenset of int
        Right-aligned columns.
    notes : tuple of str
        Lines below the table.
    best : frozenset of (int, int)
        Cells to highlight, as (row, column).
    marked : frozenset of int
        Rows that the page sets apart from the others.
    """

    title: str
    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numeric: frozenset[int] = frozenset()
    notes: tuple[str, ...] = ()
    best: frozenset[tuple[int, int]] = frozenset()
    marked: frozenset[int] = frozenset()

    def markdown(self) -> str:
        """GitHub's Markdown; the best cells are bold."""

        def line(cells: list[str]) -> str:
            return "| " + " | ".join(cells) + " |\n"

        text = f"**{_markdown(self.title)}**\n\n" + line([_markdown(cell) for cell in self.headers])
        text += line(["--:" if column in self.numeric else ":--" for column in range(len(self.headers))])
        for number, row in enumerate(self.rows):
            text += line(
                [
                    f"**{_markdown(cell)}**" if (number, column) in self.best else _markdown(cell)
                    for column, cell in enumerate(self._inert(row))
                ]
            )
        return text + "".join(f"\n{_markdown(note)}\n" for note in self.notes)

    def _inert(self, row: tuple[str, ...]) -> list[str]:
        """Cells that no spreadsheet runs; in columns of numbers all that is written is ours."""
        return [cell if column in self.numeric else inert(cell) for column, cell in enumerate(row)]

    def text(self, width: int | None = None) -> str:
        """Columns of plain text; a star marks the best cells.

        Parameters
        ----------
        width : int, optional
            Columns of the screen. By default those of the terminal; if stdout is not a terminal, lines are as long as
            they need to be. Where a table is too wide, see `shelfbench.base.text_table`. No name is ever cut.

        Returns
        -------
        str
            Without control characters except line feeds between its lines.
        """
        width = screen_width() if width is None else width
        starred = {column for _, column in self.best}
        heads = [printable(head) for head in self.headers]
        rows = [
            [
                printable(cell) + ("*" if (number, column) in self.best else " ") * (column in starred)
                for column, cell in enumerate(row)
            ]
            for number, row in enumerate(self.rows)
        ]
        title = folded(printable(self.title), width or NO_LIMIT) if self.title else []
        notes = [line for note in self.notes for line in folded(printable(note), min(width or NOTE, NOTE))]
        table = TextTable([heads, *rows], right=self.numeric, starred=frozenset(starred))
        return "\n".join([*title, *table.lines(width), *notes])

    def latex(self) -> str:
        """A `table` environment that needs no package; the best cells are bold."""
        form = "".join("r" if column in self.numeric else "l" for column in range(len(self.headers)))
        lines = [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{latex_escape(self.title)}}}",
            rf"\begin{{tabular}}{{{form}}}",
            r"\hline",
            " & ".join(latex_escape(cell) for cell in self.headers) + r" \\",
            r"\hline",
        ]
        for number, row in enumerate(self.rows):
            lines.append(
                " & ".join(
                    rf"\textbf{{{latex_escape(cell)}}}" if (number, column) in self.best else latex_escape(cell)
                    for column, cell in enumerate(row)
                )
                + r" \\"
            )
        lines += [r"\hline", r"\end{tabular}"]
        lines += [rf"\par\smallskip{{\footnotesize {latex_escape(note)}}}" for note in self.notes]
        return "\n".join([*lines, r"\end{table}"]) + "\n"

    def _crowded(self) -> bool:
        """Whether the page must set the table in smaller letters: at full size, what cannot fold is too wide for it."""
        least = 0.0
        for column, head in enumerate(self.headers):
            cells = [row[column] for row in self.rows]
            longest = max(map(len, cells), default=0)
            pieces = [
                piece for cell in cells for piece in (_together(cell) if column in self.numeric else cell).split(" ")
            ]
            word = max(map(len, [*pieces, *head.split()]), default=0)
            least += 16 + (256 if longest > 48 else min(8.0 * word, 160) if column not in self.numeric else 8.0 * word)
        return least > _ROOM

    def html(self) -> str:
        """A `figure` with the table (``templates/table.html.j2``), everything in it escaped."""
        return _table().render(grid=self, together=_together, one_line=_one_line, crowded=self._crowded())


def _together(text: str) -> str:
    """Keep a number's parts on one line of the page; an interval may go to the next: 0.839 [0.829, 0.849]."""
    text = _one_line(text)
    if len(text) > _NUMBER:
        return text
    return re.sub("\u00a0(?=[\\[(])", " ", text.replace(" ", "\u00a0"))


@cache
def _table() -> Template:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    kept = Environment(
        loader=PackageLoader("shelfbench.base"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return kept.get_template("table.html.j2")


def latex_escape(text: str) -> str:
    """Make text safe for LaTeX, where an empty line would end a cell, and [ or * after a row would be its option."""
    line = _one_line(text)
    return ("{}" if line.lstrip().startswith(("[", "*")) else "") + line.translate(_LATEX)


_MARKDOWN = (
    ("\\", "\\\\"),
    ("&", "&amp;"),
    ("<", "&lt;"),
    (">", "&gt;"),
    ("|", "\\|"),
    ("*", "\\*"),
    ("_", "\\_"),
    ("`", "\\`"),
    ("~", "\\~"),
    ("$", "\\$"),
    # a link, or an image that would be fetched from elsewhere
    ("](", "]\\("),
    ("][", "]\\["),
)


def _markdown(text: str) -> str:
    for plain, safe in _MARKDOWN:
        text = text.replace(plain, safe)
    return _one_line(text)


_BREAKS = re.compile("[\r\n\v\f\x1c-\x1f\x85\u2028\u2029]+")
_CONTROLS = re.compile("[\0-\x08\x0e-\x1b\x7f-\x84\x86-\x9f]")


def _one_line(text: str) -> str:
    """Turn line breaks of all kinds into blanks, and other control characters, which few formats may have, into �."""
    return _CONTROLS.sub("\ufffd", _BREAKS.sub(" ", text))


def share(value: float | None, digits: int = 3) -> str:
    """A share as written in tables: 0.839, 1.000, or – if there is none."""
    if value is None or math.isnan(value):
        return MISSING
    return f"{value:.{digits}f}"


def asked(value: float) -> str:
    """A requested share, unrounded: 0.9, 0.9999."""
    return MISSING if math.isnan(value) else f"{value:.9g}"


def percent(value: float) -> str:
    """A share in words: 86.3%."""
    return MISSING if math.isnan(value) else f"{100 * value:.1f}%"


def interval(value: float, low: float, high: float) -> str:
    """A share with its interval: 0.839 [0.829, 0.849]."""
    return MISSING if math.isnan(value) else f"{share(value)} [{share(low)}, {share(high)}]"


def count(value: object) -> str:
    """A whole number with thousands separators, or – if there is none."""
    return f"{value:,}" if isinstance(value, int) else MISSING


def number_of(things: int, one: str, many: str = "") -> str:
    """A number of things in words: 1 product, 1,200 products."""
    return f"{things:,} {one if things == 1 else many or f'{one}s'}"


def seconds(value: float, cached: bool = False) -> str:
    """Seconds, marked with † if the features had been computed earlier."""
    if math.isnan(value):
        return MISSING
    return (f"{value:,.1f}" if value < 100 else f"{value:,.0f}") + ("†" if cached else "")


def duration(value: float) -> str:
    """Seconds in words: 42 seconds, 13.5 minutes, 2.1 hours."""
    if math.isnan(value):
        return "an unmeasured time"
    if value < 100:
        return f"{value:.0f} second{'s' * (round(value) != 1)}"
    return f"{value / 60:.1f} minutes" if value < 5400 else f"{value / 3600:.1f} hours"


def span(seconds: float) -> str:
    """Seconds in a suitable unit: 76.4 days, 27.8 hours, 3.1 minutes, 1.84 s."""
    if math.isnan(seconds):
        return MISSING
    for unit, size, least in (("days", 86400.0, 2 * 86400.0), ("hours", 3600.0, 2 * 3600.0), ("minutes", 60.0, 120.0)):
        if seconds >= least:
            return f"{seconds / size:,.1f} {unit}"
    return f"{digits(seconds)} s"


def digits(value: float) -> str:
    """Three significant digits, never a power of ten."""
    if math.isnan(value):
        return MISSING
    if value == 0:
        return "0"
    return f"{value:,.{max(0, 2 - math.floor(math.log10(abs(value))))}f}"


def probability(logarithm: float) -> str:
    """Write a probability by its logarithm, rounded to four digits, and down to as many as tell it from 1.

    Parameters
    ----------
    logarithm : float
        At most 0.

    Returns
    -------
    str
        0.4198, 0.9999968; 1 only if it is 1.
    """
    gap = -math.expm1(logarithm)
    if gap <= 0:
        return "1"
    if gap > 1e-4:
        return f"{math.exp(logarithm):.4f}"
    gap = max(gap, 10**-_DIGITS)
    digits = min(math.ceil(-math.log10(gap)) + 1, _DIGITS)
    return str((1 - Decimal(gap)).quantize(Decimal(10) ** -digits, ROUND_FLOOR))


def promise(level: float) -> str:
    """Write the probability of a promise: as it was asked for, or, if it was computed, rounded down.

    Parameters
    ----------
    level : float
        Between 0 and 1.

    Returns
    -------
    str
        0.95 and 0.9999999 as they are; 0.9916 for 1 - 0.05 / 6, and 0.9999952 for 1 - 0.0001 / 21.
    """
    text = f"{level:.12g}"
    if len(text) <= _ASKED:
        return text
    exact = Decimal(repr(float(level)))
    digits = 1 - min(exact.adjusted(), (1 - exact).adjusted(), -1)
    return f"{exact.quantize(Decimal(10) ** -digits, ROUND_FLOOR).normalize():f}"
