"""A table as text: Markdown and LaTeX keep cells whole, and numbers have one form."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shelfbench.base.grid import Grid, duration, number_of, promise, seconds, share


def test_latex_escapes_what_it_must():
    rows = (("a_b", "~^\\"), ("$5", "3–4 †"))
    text = Grid(title="50% of A_B & C", headers=("#1", "{x}"), rows=rows, best=frozenset({(0, 0)})).latex()
    assert r"50\% of A\_B \& C" in text
    assert r"\textbf{a\_b} & \textasciitilde{}\textasciicircum{}\textbackslash{} \\" in text
    assert r"\$5 & 3--4 $^{\dagger}$" in text
    bare = re.sub(r"\\[{}]", "", text)
    assert bare.count("{") == bare.count("}")


def test_markdown_keeps_cells_whole():
    text = Grid(title="T", headers=("a",), rows=(("x|y <b> *z*\nw",),)).markdown()
    assert "| x\\|y &lt;b&gt; \\*z\\* w |" in text


def test_formats():
    assert [share(value) for value in (0.8388, 1.0, 0.0, 0.9999, float("nan"), None)] == [
        "0.839",
        "1.000",
        "0.000",
        "1.000",
        "–",
        "–",
    ]
    assert [seconds(8.25), seconds(1234.4, cached=True), seconds(float("nan"))] == ["8.2", "1,234†", "–"]
    assert [duration(value) for value in (42, 810, 7560)] == ["42 seconds", "13.5 minutes", "2.1 hours"]


@given(st.floats(1e-6, 1 - 1e-6))
def test_a_promise_is_never_rounded_up_and_never_certain(level):
    said = promise(level)
    assert 0 < float(said) <= level + 1e-12  # as far as twelve digits go
    assert float(said) >= level - 0.1 * min(level, 1 - level)
    assert "e" not in said or len(f"{level:.12g}") <= 9


@pytest.mark.parametrize(
    ("level", "said"),
    [(0.95, "0.95"), (0.9999999, "0.9999999"), (1 - 0.05 / 6, "0.9916"), (1 - 0.56 / 3, "0.81"), (1 / 300, "0.0033")],
)
def test_a_promise_is_said_as_it_was_asked_or_in_two_digits(level, said):
    assert promise(level) == said


def test_no_name_breaks_out_of_its_cell():
    names = (
        "[5pt] x",
        "*",
        "a`b",
        "![x](http://evil.example/x.png)",
        "[x][y]",
        "~~gone~~",
        "$x$",
        "\x1b[31mred",
        "a\u2028b",
    )
    grid = Grid(title="T", headers=("a",), rows=tuple((name,) for name in names))
    latex = grid.latex()
    assert not re.search(r"\\\\\n[\[*]", latex)  # an option of the end of the row before
    assert "{}[5pt] x" in latex
    text = grid.markdown()
    assert "](" not in text.replace("]\\(", "")
    assert "\\~\\~gone\\~\\~" in text
    assert "\\$x\\$" in text
    for written in (latex, text):
        assert "\x1b" not in written
        assert "a b" in written


def test_one_of_a_thing_is_not_several():
    assert [number_of(number, "product") for number in (0, 1, 1200)] == ["0 products", "1 product", "1,200 products"]
    assert number_of(1, "category", "categories") == "1 category"
    assert number_of(2, "category", "categories") == "2 categories"
