"""Columns of plain text on a screen: they fold, stand below each other or become lists, but no name is cut."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from shelfbench.base.screen import folded, longest_word, padded, width_of

# Width of lines where nothing limits them.
NO_LIMIT = 1 << 30


@dataclass(frozen=True)
class TextTable:
    """A table of harmless cells.

    Attributes
    ----------
    rows : sequence of sequence of str
        The first row is the heads.
    right : frozenset of int
        Columns of numbers, which stand on the right; those before the first one name the row.
    starred : frozenset of int
        Columns whose cells end with a star or a blank; the gap after them is narrower.
    """

    rows: Sequence[Sequence[str]]
    right: frozenset[int] = frozenset()
    starred: frozenset[int] = frozenset()

    def lines(self, width: int | None) -> list[str]:
        """Lay out the table.

        Parameters
        ----------
        width : int or None
            In columns of the screen; None for no limit.

        Returns
        -------
        list of str
            One table if it fits when its cells fold at blanks; otherwise, several below each other, each with the names
            of the rows; on a screen too narrow for these, a list for each row.
        """
        limit = width or NO_LIMIT
        every = list(range(len(self.rows[0])))
        for blocks in ([every], self._blocks(limit)):
            laid_out = [self._block(columns, limit) for columns in blocks]
            if blocks and all(laid_out):
                return [line for block in laid_out for line in block]
        return list(self._lists(limit))

    def _column(self, column: int) -> list[str]:
        return [row[column] for row in self.rows]

    def _natural(self, column: int) -> int:
        return max(map(width_of, self._column(column)))

    def _least(self, column: int) -> int:
        return max(2, *map(longest_word, self._column(column)))

    def _gap(self, column: int) -> int:
        return 1 if column in self.starred else 2

    def _blocks(self, limit: int) -> list[list[int]]:
        """Share the columns out among blocks that fit; none if there are no such blocks."""
        every = range(len(self.rows[0]))
        names = list(range(min(self.right, default=1) or 1))
        takes = sum(self._natural(column) + self._gap(column) for column in names)
        if takes > limit // 2:
            takes = sum(self._least(column) + self._gap(column) for column in names)
        blocks: list[list[int]] = []
        left = 0
        for column in every[len(names) :]:
            size = min(self._natural(column), max(self._least(column), limit - takes))
            if not blocks or size > left:
                blocks.append(list(names))
                left = limit - takes
            blocks[-1].append(column)
            left -= size + self._gap(column)
        return blocks

    def _block(self, columns: list[int], limit: int) -> list[str]:
        """Lay out some columns side by side; no lines if not even their longest words fit."""
        gaps = [self._gap(column) for column in columns[:-1]]
        widths = {column: self._natural(column) for column in columns}
        least = {column: self._least(column) for column in columns}
        for _ in range(sum(widths.values()) + sum(gaps) - limit):  # the widest column that can still fold gives way
            foldable = [column for column in columns if widths[column] > least[column]]
            if not foldable:
                return []
            widths[max(foldable, key=lambda column: widths[column])] -= 1
        rule = "─" * (sum(widths.values()) + sum(gaps))
        head, *body = (self._row(row, widths, [*gaps, 0]) for row in self.rows)
        return [*head, rule, *(line for row in body for line in row), rule]

    def _row(self, row: Sequence[str], widths: dict[int, int], gaps: list[int]) -> list[str]:
        parts = {column: folded(row[column], width) for column, width in widths.items()}
        return [
            "".join(
                padded(part[number] if number < len(part) else "", widths[column], column in self.right) + " " * gap
                for (column, part), gap in zip(parts.items(), gaps, strict=True)
            ).rstrip()
            for number in range(max(map(len, parts.values())))
        ]

    def _lists(self, limit: int) -> Iterator[str]:
        rule = "─" * min(limit, 20)
        yield rule
        for row in self.rows[1:]:
            for head, cell in zip(self.rows[0], row, strict=True):
                yield from folded(f"{head}: {cell}".rstrip(), limit)
            yield rule
