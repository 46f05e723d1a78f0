"""A table of text on a screen of any width: nothing is wider than the screen, and no word of a cell is lost."""

from hypothesis import given
from hypothesis import strategies as st

from shelfbench.base.screen import longest_word, width_of
from shelfbench.base.text_table import TextTable

WORDS = st.text(st.characters(codec="ascii", categories=("L", "N")), min_size=1, max_size=8)
CELLS = st.lists(WORDS, min_size=1, max_size=3).map(" ".join)


@st.composite
def tables(draw):
    columns = draw(st.integers(2, 6))
    rows = draw(st.lists(st.lists(CELLS, min_size=columns, max_size=columns), min_size=2, max_size=5))
    first = draw(st.integers(1, columns - 1))
    return TextTable(rows, right=frozenset(range(first, columns)))


@given(table=tables(), width=st.integers(9, 90))
def test_no_line_is_wider_than_the_screen_and_no_word_is_lost(table, width):
    lines = table.lines(width)
    # a list says "head: cell", and only a word may be wider than the screen
    allowed = max(width, 1 + max(longest_word(cell) for row in table.rows for cell in row))
    assert max(map(width_of, lines)) <= allowed
    shown = " ".join(lines).replace(":", " ").split()
    for row in table.rows[1:]:
        for cell in row:
            for word in cell.split():
                assert word in shown, word


@given(table=tables())
def test_without_a_limit_each_row_is_a_line_in_order(table):
    head, rule, *body, last = table.lines(None)
    assert [line.split() for line in (head, *body)] == [" ".join(row).split() for row in table.rows]
    assert set(rule) == set(last) == {"─"}


def test_numbers_stand_on_the_right():
    lines = TextTable([["name", "products"], ["a", "7"], ["bb", "1,234"]], right=frozenset({1})).lines(40)
    assert [line[-1] for line in (lines[0], *lines[2:4])] == ["s", "7", "4"]
    assert len({len(line) for line in (lines[0], *lines[2:4])}) == 1
