"""How figures look: colours that colour-blind readers can tell apart, lines and markers that differ in grey print."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

# Okabe and Ito's colours, which colour-blind readers can tell apart; lines and markers differ too, for grey print.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#333333")
LINES: tuple[Any, ...] = ("-", (0, (6, 2)), (0, (2, 1.4)), (0, (7, 2, 1.5, 2)), (0, (1, 1)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "h")
INK, MUTED, PAPER_RED = "#222222", "#666666", "#B00020"
FAMILY = "DejaVu Sans"
STYLE: Any = {
    "svg.hashsalt": "shelfbench",
    "svg.fonttype": "path",
    "text.parse_math": False,
    "font.family": FAMILY,
    "font.size": 9.5,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.titlepad": 12,
    "axes.labelsize": 9.5,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#E4E4E4",
    "grid.linewidth": 0.7,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "lines.linewidth": 1.9,
}


def marks(number: int) -> dict[str, Any]:
    """Colour, line and marker of a backend; no two of the first 35 share colour and line."""
    return {
        "color": COLOURS[number % len(COLOURS)],
        "linestyle": LINES[number % len(LINES)],
        "marker": MARKERS[number % len(MARKERS)],
    }


def legend_columns(names: Iterable[str], width: float, most: int) -> int:
    """How many columns of a legend fit side by side in a figure of `width` inches, of `most` that are wanted."""
    longest = max(map(len, names), default=0)
    # of letters of 8.5 points, with a line and a marker before them
    return max(1, min(most, int(72 * width / (5.4 * longest + 48))))


def plain(value: float, _: object = None) -> str:
    """A tick without powers of ten."""
    return f"{value:,.0f}" if value >= 1 else f"{value:g}"
