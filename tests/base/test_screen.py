"""Text on a screen: no name does anything there, and nothing of it is lost."""

import io
import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shelfbench.base.grid import Grid
from shelfbench.base.screen import (
    CODE,
    folded,
    on_screen,
    padded,
    printable,
    printable_lines,
    screen_width,
    show,
    width_of,
)

# any character, the dangerous ones often
NAMES = st.text(st.characters() | st.sampled_from("\n\r\t\x00\x1b\x7f\x85\x9b\u2028\u2029\u202e\u2066\u200f\ufeff 商"))
TURNING = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}


def harmless(text):
    """Tell whether text holds no control character, no separator of lines and nothing that turns its direction."""
    return not any(
        unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp")
        or unicodedata.bidirectional(character) in TURNING
        or character in "\u200e\u200f\u061c\ufeff"
        for character in text
    )


@given(NAMES)
def test_whatever_a_name_contains_it_is_one_harmless_line(name):
    shown = printable(name)
    assert harmless(shown)
    assert printable(shown) == shown
    assert shown == name or not harmless(name)


@given(NAMES)
def test_only_line_feeds_stay_between_lines(name):
    assert all(map(harmless, printable_lines(name).split("\n")))
    assert printable_lines(name).count("\n") == name.count("\n")


def test_escapes_are_readable():
    assert printable("a\nb\r\tc\x1b[2J\x9b\u202e\u2028é商") == r"a\nb\r\tc\x1b[2J\x9b\u202e\u2028é商"


@given(NAMES.map(printable), st.integers(2, 40))
def test_folding_loses_nothing_and_fits(line, width):
    lines = folded(line, width)
    assert all(width_of(part) <= width for part in lines)
    assert "".join(lines).replace(" ", "") == line.replace(" ", "")


def test_words_stay_whole_where_they_fit():
    assert folded("a threshold that is certified", 12) == ["a threshold", "that is", "certified"]
    assert folded("bottleneck-2nn-4096@xception", 10) == ["bottleneck", "-2nn-4096@", "xception"]


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("abc", 3),
        ("日本語", 6),
        ("한국어", 6),
        ("é", 1),
        ("e\u0301", 1),
        ("👟", 2),
        ("ｱｲ", 2),
        ("न\u094d", 1),
        ("\u200d", 0),
    ],
)
def test_columns_of_scripts(text, columns):
    assert width_of(text) == columns
    assert width_of(padded(text, 8)) == width_of(padded(text, 8, right=True)) == 8


@given(st.text(st.characters(categories=["Lu", "Ll", "Lo", "Nd", "Po", "Mn"])))
def test_columns_agree_with_wcwidth(text):
    wcwidth = pytest.importorskip("wcwidth")
    for character in text:
        if unicodedata.category(character) == "Mn" and wcwidth.wcwidth(character) != 0:
            continue  # the two have different versions of Unicode
        assert abs(width_of(character) - max(0, wcwidth.wcwidth(character))) <= (0 if character < "\u0300" else 1)


@given(st.lists(st.tuples(NAMES, NAMES, NAMES), max_size=4), st.sampled_from([None, 20, 40, 80]), NAMES)
def test_a_table_on_the_screen_is_harmless_whole_and_fits(rows, width, name):
    grid = Grid(
        title=name,
        headers=("Category", name, "N"),
        rows=tuple(rows),
        numeric=frozenset({2}),
        notes=(name,),
        best=frozenset({(0, 2)}),
    )
    text = grid.text(width)
    assert all(map(harmless, text.split("\n")))
    if width is not None:
        assert max(map(width_of, text.split("\n"))) <= width
    bare = re.sub(r"[\s─]", "", text)
    for row in rows:
        for cell in row:
            if len(rows) == 1 and width is None:
                assert re.sub(r"[\s─]", "", printable(cell)) in bare


WIDE = Grid(
    title="T",
    headers=("Backend", "Tuned", "Precision", "Acceptance", "Seconds"),
    rows=(
        ("bottleneck-2nn-4096", "no", "0.863", "0.900 [0.877, 0.921]", "103"),
        ("hog-svm", "no", "0.825", "0.816 [0.789, 0.835]", "27"),
    ),
    numeric=frozenset({2, 3, 4}),
    best=frozenset({(0, 3)}),
)


def test_a_wide_table_folds_then_stands_in_blocks_then_becomes_lists():
    whole = WIDE.text(80).split("\n")
    assert len(whole) == 6
    assert whole[3].split() == ["bottleneck-2nn-4096", "no", "0.863", "0.900", "[0.877,", "0.921]*", "103"]
    assert len(WIDE.text(62).split("\n")) == 8, "the intervals are folded"
    blocks = WIDE.text(56).split("\n")
    assert [line.split() for line in blocks if line.startswith("Backend")] == [
        ["Backend", "Tuned", "Precision"],
        ["Backend", "Tuned", "Acceptance"],
        ["Backend", "Tuned", "Seconds"],
    ]
    assert sum(line.startswith("bottleneck-2nn-4096  no") for line in blocks) == 3, "each block names the rows"
    lists = WIDE.text(30).split("\n")
    assert lists[2:5] == ["Backend: bottleneck-2nn-4096", "Tuned: no", "Precision: 0.863"]


def test_sentences_fold_on_a_terminal_and_paths_do_not(monkeypatch, capsys):
    text = "PASS: hog\n  accepts products that are sure enough\nresults/a-very-long-name/of-a-run/report.html is it"
    show(text)
    assert capsys.readouterr().out == text + "\n"
    monkeypatch.setattr("shelfbench.base.screen.screen_width", lambda: 24)
    show(text)
    lines = ["PASS: hog", "  accepts products that", "  are sure enough", text.split("\n")[2]]
    assert capsys.readouterr().out.splitlines() == lines


def test_a_command_is_not_folded_so_that_it_can_be_copied(monkeypatch, capsys):
    monkeypatch.setattr("shelfbench.base.screen.screen_width", lambda: 24)
    command = f"{CODE}shelfbench decide my run hog-svm --out decision"
    show(command)
    assert capsys.readouterr().out.splitlines() == [command]


class Terminal(io.StringIO):
    """Says that it is one."""

    def isatty(self):
        return True


def test_data_for_a_pipe_stay_as_they_are_and_on_a_screen_are_harmless():
    row = 'a"\x1b[2J\nb",90\n'
    pipe, screen = io.StringIO(), Terminal()
    on_screen(pipe).write(row)
    stream = on_screen(screen)
    stream.write(row)
    stream.writelines(["c\x07\n"])
    assert pipe.getvalue() == row
    assert screen.getvalue() == 'a"\\x1b[2J\\nb",90\nc\\x07\n'


def test_the_width_is_the_terminals_and_nothing_limits_a_pipe(monkeypatch):
    monkeypatch.setenv("COLUMNS", "66")
    monkeypatch.setattr("sys.stdout", io.StringIO())
    assert screen_width() is None
    monkeypatch.setattr("sys.stdout", Terminal())
    assert screen_width() == 66
    monkeypatch.setattr("sys.stdout", None)
    assert screen_width() is None
