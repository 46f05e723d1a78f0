"""Reading a table's Markdown, to show that it is unambiguous."""

import re

from shelfbench.base.grid import _MARKDOWN, Grid


def read_markdown(written):
    """Read a table written by `Grid.markdown`; raise ValueError for anything else."""
    title, _, *rest = written.split("\n")
    lines = [line for line in rest if line]
    table = [line[2:-2].split(" | ") for line in lines if line.startswith("| ")]
    if len(table) < 2 or len({len(row) for row in table}) != 1 or not title.startswith("**"):
        raise ValueError("not a table")
    heads, marks, *rows = table
    best = {
        (number, column)
        for number, row in enumerate(rows)
        for column, cell in enumerate(row)
        if len(cell) > 4 and cell.startswith("**") and cell.endswith("**")
    }
    return Grid(
        title=_plain(title[2:-2]),
        headers=tuple(_plain(cell) for cell in heads),
        rows=tuple(
            tuple(_plain(cell[2:-2] if (number, column) in best else cell) for column, cell in enumerate(row))
            for number, row in enumerate(rows)
        ),
        numeric=frozenset(column for column, mark in enumerate(marks) if mark == "--:"),
        notes=tuple(_plain(line) for line in lines if not line.startswith("| ")),
        best=frozenset(best),
    )


def _plain(text):
    safe = {written: plain for plain, written in _MARKDOWN}
    return re.sub("|".join(map(re.escape, safe)), lambda found: safe[found[0]], text)
