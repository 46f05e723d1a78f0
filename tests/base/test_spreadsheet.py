"""Names that a spreadsheet would run as formulas, in every format that one opens."""

import csv
import re

import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shelfbench.base.grid import Grid
from shelfbench.base.spreadsheet import inert
from shelfbench.report.render import write_forms

BEGINS = re.compile(r"\s*[=+\-@]")
NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?")
NAMES = st.one_of(
    st.text(),
    st.builds(
        "{}{}{}".format, st.sampled_from(["", "'", "''", " ", "\ufeff"]), st.sampled_from("=+-@\t\r\n＝"), st.text()
    ),
)


def read(written):
    """Undo `inert`, as its documentation says."""
    return written[1:] if written.startswith("'") and inert(written[1:]) != written[1:] else written


@given(NAMES)
@example("=cmd|' /C calc'!A1")
@example("-5")
@example("'-5")
@example("-5-5")
def test_what_a_spreadsheet_would_run_gets_an_apostrophe_and_comes_back(name):
    safe = inert(name)
    assert safe in (name, f"'{name}")
    assert not BEGINS.match(safe) or NUMBER.fullmatch(safe)
    assert safe[:1] not in {"\t", "\r", "\n"}
    assert read(safe) == name


@pytest.mark.parametrize("name", ["Shoes", "-0.3", "+12", "3-pack", "a=b", "", "衣服", "'quoted'", "T-shirt", "–"])
def test_other_names_and_numbers_stay_as_they_are(name):
    assert inert(name) == name


@given(st.lists(st.tuples(NAMES, st.floats(-1, 1)), min_size=1, max_size=5))
def test_no_cell_of_a_table_is_run_and_our_numbers_stay(tmp_path_factory, rows):
    folder = tmp_path_factory.mktemp("tables")
    names, numbers = zip(*rows, strict=True)
    names = tuple(name.encode("utf-8", "replace").decode() for name in names)
    grid = Grid(
        title="t",
        headers=("name", "gain"),
        rows=tuple((name, f"{number:+.3f}") for name, number in zip(names, numbers, strict=True)),
        numeric=frozenset({1}),
    )
    write_forms(folder, "x", pd.DataFrame({"name": names, "gain": numbers}), grid)
    with open(folder / "x.csv", encoding="utf-8", newline="") as handle:
        written = list(csv.reader(handle))[1:]
    assert [read(name) for name, _ in written] == list(names)
    assert [float(number) for _, number in written] == list(numbers)
    for name, _ in written:
        assert not BEGINS.match(name) or NUMBER.fullmatch(name)
    for line in (folder / "x.md").read_text(encoding="utf-8").splitlines()[4:]:
        name = line.removeprefix("| ").partition(" | ")[0]
        assert not BEGINS.match(name) or NUMBER.fullmatch(name)


def test_the_other_cells_of_a_table_keep_their_types(tmp_path):
    frame = pd.DataFrame({"a": ["=1", None], "cores": pd.Series([2, None], dtype=object), "share": [0.5, None]})
    write_forms(tmp_path, "t", frame, Grid(title="t", headers=("a",), rows=()))
    assert (tmp_path / "t.csv").read_text(encoding="utf-8").split() == ["a,cores,share", "'=1,2,0.5", ",,"]
