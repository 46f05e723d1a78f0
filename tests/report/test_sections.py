"""Sections: written once from memory, and put on the page in the order of their list."""

import base64
import io
import re
import threading
from html import unescape
from importlib.resources import files
from urllib.parse import unquote
from xml.etree.ElementTree import canonicalize

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image

from shelfbench.base.grid import Grid
from shelfbench.report.data import open_data
from shelfbench.report.render import fill, write_page, write_report
from shelfbench.report.section import NamedFigure, NamedTable, Section, SectionSpec
from shelfbench.report.sections import SECTIONS
from shelfbench.report.table4 import _best, _cheapest
from shelfbench.report.tables import deciles

EVIL = "<script>alert('x')</script>\"'&"


def table(name, title="t", **values):
    frame = pd.DataFrame({"value": [0.12345]})
    return NamedTable(name=name, grid=Grid(title=title, headers=("value",), rows=(("0.123",),)), frame=frame, **values)


def plot(kind="chart", **values):
    def draw():
        figure = Figure(figsize=(2, 2))
        figure.subplots().plot([0, 1], [0, 1])
        return figure

    return NamedFigure(name=f"a-{kind}", draw=draw, caption=f"A {kind}", kind=kind, **values)


def charts(page):
    """The SVG that a page embeds."""
    return [unquote(unescape(one)) for one in re.findall(r'src="data:image/svg\+xml,([^"]+)"', page)]


def section(title, **values):
    return lambda _: Section(title=title, **values)


def page_of(tmp_path, specs, data=None):
    write_page(tmp_path, "A report", write_report(tmp_path, specs, data))
    return (tmp_path / "report.html").read_text(encoding="utf-8")


def test_one_function_gives_every_form(tmp_path):
    page = page_of(tmp_path, [SectionSpec(section("New", grids=(table("new", "A new table"),), figures=(plot(),)))])
    assert (tmp_path / "tables" / "new.csv").read_text() == "value\n0.12345\n"
    assert (tmp_path / "tables" / "new.md").read_text().startswith("**A new table**")
    assert r"\caption{A new table}" in (tmp_path / "tables" / "new.tex").read_text()
    assert "<h2>New</h2>" in page
    assert "<figcaption>A new table</figcaption>" in page
    [shown] = charts(page)
    kept = (tmp_path / "figures" / "a-chart.svg").read_text("utf-8").replace(" xlink:href=", " href=")
    assert canonicalize(shown, strip_text=True) == canonicalize(kept, strip_text=True)
    assert (tmp_path / "figures" / "a-chart.png").read_bytes().startswith(b"\x89PNG")


def test_sections_stand_in_the_order_of_the_list_under_shared_titles_and_folds(tmp_path):
    specs = [
        SectionSpec(section("One", grids=(table("a", "first"),))),
        SectionSpec(section("One", grids=(table("b", "second"),)), fold="More"),
        SectionSpec(section("One", grids=(table("c", "third"),)), fold="More"),
        SectionSpec(lambda _: None),
        SectionSpec(section("One", grids=(table("d", "fourth"),))),
        SectionSpec(section("Two", grids=(table("e", "fifth", on_page=False),))),
        SectionSpec(section("Three", grids=(table("", "sixth"),))),
    ]
    page = page_of(tmp_path, specs)
    assert re.findall("<h2>(.*?)</h2>", page) == ["One", "Three"]
    assert page.count("<details>") == 1
    places = [page.index(f">{name}</figcaption>") for name in ("first", "second", "third", "fourth", "sixth")]
    assert places == sorted(places)
    assert page.index("<details>") < places[1] < places[2] < page.index("</details>") < places[3]
    assert (tmp_path / "tables" / "e.csv").is_file(), "too long for the page, yet in its files"
    assert "fifth" not in page


def test_turns_change_when_a_section_is_made_and_not_where_it_stands(tmp_path):
    made, tables = [], {}

    def make(name):
        def made_here(_):
            made.append((name, threading.current_thread() is threading.main_thread(), sorted(tables)))
            return Section(title=name, grids=(table(name.lower()),))

        return made_here

    specs = [
        SectionSpec(make("Last"), turn="last"),
        SectionSpec(make("Beside"), turn="beside"),
        SectionSpec(make("Own")),
    ]
    pieces = write_report(tmp_path, specs, None, tables=tables)
    assert [piece.title for piece in pieces] == ["Last", "Beside", "Own"]
    by_name = {name: (main, seen) for name, main, seen in made}
    assert by_name["Last"] == (True, ["beside", "own"])
    assert by_name["Own"][0]
    assert not by_name["Beside"][0]


def test_photos_are_shown_compressed_and_stay_where_they_cannot_be_made_again(tmp_path):
    page_of(tmp_path, [SectionSpec(section("Photos", figures=(plot("photos"),)))])
    left = (tmp_path / "figures" / "a-photos.png").read_bytes()
    assert left.startswith(b"\x89PNG")
    kept = NamedFigure(name="a-photos", draw=None, caption="kept", kind="photos")
    page = page_of(tmp_path, [SectionSpec(section("Photos", figures=(kept,)))])
    [shown] = re.findall(r'<img class="photos" alt="kept" src="data:image/webp;base64,([^"]+)">', page)
    photos = [np.asarray(Image.open(io.BytesIO(one)).convert("RGB"), int) for one in (base64.b64decode(shown), left)]
    assert np.abs(photos[0] - photos[1]).mean() < 2
    assert (tmp_path / "figures" / "a-photos.png").read_bytes() == left
    missing = NamedFigure(name="none", draw=None, caption="none", kind="photos")
    assert "<img" not in page_of(tmp_path, [SectionSpec(section("Photos", figures=(missing,)))])


def test_everything_that_a_template_is_given_is_escaped(tmp_path):
    grid = Grid(title=EVIL, headers=(EVIL,), rows=((EVIL,), ("a",), ("b",)), notes=(EVIL,))
    chart = NamedFigure(name="a", draw=plot().draw, caption=EVIL)
    whole = Section(title=EVIL, grids=(NamedTable(name="x", grid=grid),), figures=(chart,), notes=(EVIL,))
    pieces = write_report(tmp_path, [SectionSpec(lambda _: whole, fold=EVIL)], None)
    head = fill("header", title=EVIL, verdict=EVIL, lines=(EVIL,), warnings=(EVIL,))
    write_page(tmp_path, EVIL, pieces, header=head)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert page.count("<script>") == 1
    assert "alert('x')" not in page
    for name, values in {
        "thumbnails": {
            "groups": [
                (EVIL, [dict.fromkeys(("data", "category", "predicted", "probability", "product", "note"), EVIL)])
            ],
        },
        "pairs": {"rows": [(EVIL, EVIL)]},
        "code": {"text": EVIL},
        "verdict": {
            **dict.fromkeys(("title", "verdict", "next", "command"), EVIL),
            **{"lines": [EVIL], "doubts": [EVIL], "numbers": [(EVIL, EVIL)], "warnings": [EVIL]},
        },
    }.items():
        assert "<script" not in fill(name, **values), name


def test_every_template_is_shipped_and_used():
    kept = {path.name for path in (files("shelfbench.report") / "templates").iterdir()}
    text = "".join(
        path.read_text(encoding="utf-8")
        for path in [
            *files("shelfbench.report").iterdir(),
            *(files("shelfbench.report") / "templates").iterdir(),
        ]
        if path.name.endswith((".py", ".j2"))
    )
    used = set(re.findall(r'fill\(\s*"(\w+)"', text)) | set(re.findall(r'include "(\w+)\.html\.j2"', text))
    assert kept == {f"{name}.html.j2" for name in used}


def test_a_title_is_used_again_only_right_after_itself(finished_run):
    """Sections of one title in two places of the list would be two sections of the page."""
    page = (finished_run / "report.html").read_text(encoding="utf-8")
    titles = re.findall("<h2>(.*?)</h2>", page)
    assert len(titles) == len(set(titles))
    assert len(titles) == 12
    assert len(SECTIONS) == len({spec.make for spec in SECTIONS})


def test_a_missing_value_of_a_template_is_an_error():
    with pytest.raises(Exception, match="is undefined"):
        fill("code")


def test_nothing_is_the_best_that_chance_may_explain():
    assert _best([1.0, 0.4, np.nan], [0.0, 0.3, np.nan]) == set()
    assert _best([0.9, 0.4, 0.9], [0.8, 0.3, 0.8]) == {0, 2}
    assert _best([0.9], [0.8]) == set()
    assert _cheapest([60.0, 20.0, np.nan], [0.0, 0.0, 0.0]) == {1}
    # wall times differ by as much by themselves, and other programs may be why the second took so long
    assert _cheapest([60.0, 20.0, 22.0], [0.0, 0.0, 0.0]) == set()
    assert _cheapest([60.0, 20.0], [0.6, 0.0]) == set()
    assert _cheapest([20.0], [0.0]) == set()


def test_deciles_of_few_categories_are_left_to_the_files(finished_run, small_run):
    assert [table.on_page for run in (finished_run, small_run) for table in deciles(open_data(run)).grids] == [
        True,
        False,
    ]
