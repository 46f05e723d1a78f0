"""The page, and the choice of backend that it announces."""

import base64
import html.parser
import json
import re
from dataclasses import replace
from importlib.resources import files

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import escape
from PIL import Image

from shelfbench.base.console import Console
from shelfbench.base.errors import InputError
from shelfbench.base.grid import Grid
from shelfbench.base.screen import CODE
from shelfbench.base.spreadsheet import inert
from shelfbench.report.build import build_report, report_again
from shelfbench.runs.directory import open_run
from shelfbench.runs.record import RunRecord
from tests.helpers.markdown import read_markdown
from tests.helpers.synthetic_run import make_run

QUIET = Console(quiet=True)
ONE_LINE = st.characters(exclude_categories=("Cc", "Cs"), exclude_characters="\u2028\u2029")
EVIL = "<script>alert('x')</script>\"'&"


class Tags(html.parser.HTMLParser):
    """Every tag with its attributes, and whether all are closed in order."""

    VOID = frozenset({"meta", "img", "br", "input"})

    def __init__(self, text):
        super().__init__()
        self.tags, self.open = [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def page_of(run):
    return (run / "report.html").read_text(encoding="utf-8")


OWN = [f"\n{(files('shelfbench.report') / name).read_text(encoding='utf-8')}" for name in ("explorer.js", "page.js")]


def scripts_of(run):
    """Contents of the page's script elements: the data, then two scripts."""
    return re.findall(r"<script[^>]*>(.*?)</script>", page_of(run), re.DOTALL)


def verdict_of(run):
    return re.search(r'<p class="verdict">(.*?)</p>', page_of(run))[1]


def test_the_page_is_whole_and_needs_nothing_from_outside(finished_run):
    parsed = Tags(page_of(finished_run))
    assert not parsed.open
    sources = [attributes["src"] for tag, attributes in parsed.tags if tag == "img"]
    assert len(sources) == len(list((finished_run / "figures").glob("*.svg"))) >= 5
    assert all(source.startswith("data:image/") for source in sources)
    assert {tag for tag, _ in parsed.tags}.isdisjoint({"link", "iframe", "object"})
    assert not [attributes for tag, attributes in parsed.tags if tag == "script" and "src" in attributes]
    assert scripts_of(finished_run)[1:] == OWN
    assert (finished_run / "report.html").stat().st_size < 12 * 2**20
    assert "url(" not in page_of(finished_run)
    assert all(attributes.get("alt") for tag, attributes in parsed.tags if tag == "img")


def test_the_tables_of_the_run_stand_on_the_page(finished_run):
    page = page_of(finished_run)
    for name in ("certified", "comparison_matrix", "worst_categories", "departments", "confusions", "label_noise"):
        title = read_markdown((finished_run / "tables" / f"{name}.md").read_text(encoding="utf-8")).title
        assert f"<figcaption>{escape(title)}</figcaption>" in page
    assert (
        page.index("What can be promised") < page.index("Which backend is better") < page.index("Where the errors are")
    )


def test_photos_of_the_surest_errors_stand_on_the_page_and_names_in_them_are_inert(small_run):
    folder = small_run / "figures" / "confusions"
    folder.mkdir(parents=True)
    Image.new("RGB", (8, 8), "red").save(folder / "01.jpg")
    entry = {"file": "../confusions/01.jpg", "category": EVIL, "predicted": "b", "probability": 0.5, "product_id": 3}
    (folder / "confusions.json").write_text(json.dumps([entry]), encoding="utf-8")
    build_report(small_run, None, QUIET)
    photo = base64.b64encode((folder / "01.jpg").read_bytes()).decode()
    assert f'src="data:image/jpeg;base64,{photo}"' in page_of(small_run)
    assert escape(EVIL) in page_of(small_run)
    assert not Tags(page_of(small_run)).open
    (folder / "confusions.json").write_text("[{}]", encoding="utf-8")
    with pytest.raises(InputError, match=r"confusions\.json cannot be read"):
        build_report(small_run, None, QUIET)


@given(
    st.text(ONE_LINE),
    st.integers(1, 4).flatmap(lambda width: st.lists(st.tuples(*[st.text(ONE_LINE)] * width), min_size=1, max_size=4)),
    st.lists(st.text(ONE_LINE, min_size=1), max_size=3),
)
def test_a_table_is_read_back_from_its_markdown(title, rows, notes):
    width = len(rows[0])
    grid = Grid(
        title=title,
        headers=rows[0],
        rows=tuple(rows[1:]),
        numeric=frozenset(range(1, width)),
        notes=tuple(notes),
    )
    # the first column has names, which may begin like a formula
    safe = replace(grid, rows=tuple((inert(row[0]), *row[1:]) for row in grid.rows))
    assert read_markdown(grid.markdown()) == safe


def test_a_table_of_names_with_line_breaks_is_one():
    grid = Grid(title="t", headers=("a", "b"), rows=(("car\rret", "new\n\nline"), ("win\r\ndows", "")))
    assert read_markdown(grid.markdown()).rows == (("car ret", "new line"), ("win dows", ""))
    assert "\n\n" not in grid.latex()
    assert "\r" not in grid.latex()


def test_bold_cells_are_read_back_and_other_text_is_no_table():
    grid = Grid(
        title="t",
        headers=("a", "b"),
        rows=(("**x", "1"), ("y|*", "")),
        numeric=frozenset({1}),
        notes=("| note",),
        best=frozenset({(0, 1), (1, 0)}),
    )
    assert read_markdown(grid.markdown()) == grid
    for text in ("", "**t**", "# title\n\n| a |\n| :-- |\n", "**t**\n\n| a | b |\n| :-- |\n"):
        with pytest.raises(ValueError, match=r"not a table|unpack"):
            read_markdown(text)


def test_the_verdict_comes_first_and_agrees_with_table_4(finished_run):
    page = page_of(finished_run)
    table = pd.read_csv(finished_run / "tables" / "table4.csv").query("split == 'test'").set_index("backend")
    row = table.loc["bottleneck-2nn-4096"]
    assert page.index('class="verdict"') < page.index("<table")
    found = open_run(finished_run).certified.query("backend == 'bottleneck-2nn-4096' and target == 0.9").iloc[0]
    promised = f"takes {found['certified_acceptance']:.0%} of the products at 90% precision (certified with 95%"
    assert verdict_of(finished_run).startswith(f"bottleneck-2nn-4096 {promised}")
    tiles = re.search(r'<ul class="numbers">(.*?)</ul>', page, re.DOTALL)[1]
    for key in ("certified_acceptance", "certified_precision_test", "mix_precision"):
        assert f"{100 * found[key]:.1f}%" in tiles
    [plain] = re.findall(r"<p>(On test, the best threshold would have taken .*?)</p>", page)
    assert f"taken {100 * row['acceptance_90']:.1f}% of the products" in plain
    assert f"{100 * row['acceptance_90_low']:.1f}% to {100 * row['acceptance_90_high']:.1f}%" in plain
    assert "fitted on test itself, so it is not a promise" in plain
    assert "13.5 minutes" in plain


def test_the_terminal_ends_with_the_sentences_of_the_page(finished_run):
    text, page = build_report(finished_run, None, QUIET), page_of(finished_run)
    said = [part for part in text.split("\n\n") if not part.startswith("Table 4")]
    assert len(said) == len(text.split("\n\n")) - 1 >= 4
    assert said[-1].strip().startswith("shelfbench decide ")
    for sentence in said:
        assert f">{escape(sentence.strip())}</{'pre' if sentence.startswith(CODE) else 'p'}>" in page
    assert f"{CODE}shelfbench decide {finished_run} " in text


def test_the_record_and_the_command_are_on_the_page(finished_run):
    page = page_of(finished_run)
    for text in (
        "shelfbench run default --seed 0",
        "truncated JPEG",
        "fewer than 20 products",
        "5f1d0c3a9b",
        "across splits 5",
        "AMD EPYC 7B13",
        "Without a category",
    ):
        assert text in page


def test_names_from_the_data_are_inert(tmp_path):
    run = make_run(tmp_path / "run", products=300, categories=8, names={"c00": EVIL})
    record = json.loads((run / "run.json").read_text(encoding="utf-8"))
    record["command"] = f"shelfbench run {EVIL}"
    record["study"] = {EVIL: EVIL}
    record["dataset"] |= {
        "title": EVIL,
        "source": EVIL,
        "levels": [EVIL],
        "duplicates": {EVIL: EVIL},
        "unreadable": [{"record": EVIL, "reason": EVIL}],
        "category_level1": {"c00": EVIL},
    }
    record["machine"]["cpu"] = EVIL
    record["backends"]["hog-svm"]["columns"]["Feature"] = EVIL
    record["backends"]["bottleneck-svm"] |= {"chosen": {EVIL: EVIL}, "settings": {EVIL: EVIL}}
    record["backends"]["other"] = {"status": "failed", "reason": EVIL}
    (run / "run.json").write_text(json.dumps(record), encoding="utf-8")
    build_report(run, None, QUIET)
    parsed = Tags(page_of(run))
    assert not parsed.open
    data, *scripts = scripts_of(run)
    assert scripts == OWN
    assert EVIL in json.loads(data)["departments"]
    assert "&lt;script&gt;" in page_of(run)
    assert not [name for _, attributes in parsed.tags for name in attributes if name.startswith("on")]


def test_no_backend_that_reaches_the_precision_is_said_plainly(small_run):
    for path in (small_run / "predictions").iterdir():
        table = pq.read_table(path)
        keys = table["category"].to_numpy(zero_copy_only=False)
        wrong = pa.array(np.where(keys == "c00", "c01", "c00"))
        place = table.column_names.index("predicted")
        pq.write_table(table.set_column(place, "predicted", wrong), path)
    text = build_report(small_run, None, QUIET)
    nothing = "no backend reaches a precision of 90% on any share of the 34 products"
    assert nothing in verdict_of(small_run)
    assert nothing in text


def test_nothing_that_a_report_wrote_is_read_back(small_run):
    build_report(small_run, None, QUIET)
    page = page_of(small_run)
    kept = {path: path.read_bytes() for folder in ("tables", "figures") for path in (small_run / folder).iterdir()}
    for path in kept:
        path.write_bytes(b"not what it was")
    build_report(small_run, None, QUIET)
    assert page_of(small_run) == page
    assert {path: path.read_bytes() for path in kept} == kept


def test_a_report_is_made_again_whatever_the_study_was(tmp_path, small_run):
    assert "Table 4" in report_again(small_run, QUIET)
    with pytest.raises(InputError, match="is not a run directory"):
        report_again(tmp_path, QUIET)
    record = json.loads((small_run / "run.json").read_text())
    record.setdefault("study", RunRecord())["experiment"] = "no-such"
    (small_run / "run.json").write_text(json.dumps(record))
    with pytest.raises(InputError, match="unknown experiment"):
        report_again(small_run, QUIET)


def test_every_acceptance_says_which_it_is(finished_run):
    kinds = re.compile("plain|certified|oracle|fixed on tune", re.IGNORECASE)
    for path in (finished_run / "tables").glob("*.md"):
        written = path.read_text(encoding="utf-8")
        assert kinds.search(written) or not re.search(r"acceptance\b|\bacc\.", written, re.IGNORECASE), path.name
    for name in ("figure5", "figure7", "cost"):
        texts = re.findall(r"<!-- (.*?) -->", (finished_run / "figures" / f"{name}.svg").read_text(encoding="utf-8"))
        assert kinds.search(" ".join(texts)), name
    numbers = re.search(r'<ul class="numbers">(.*?)</ul>', page_of(finished_run), re.DOTALL)
    assert kinds.search(numbers[1])
    assert kinds.search(OWN[0].split('class: "axis"')[2])


def test_the_settings_of_a_network_in_a_file_name_only_what_it_has(small_run):
    record = json.loads((small_run / "run.json").read_text(encoding="utf-8"))
    record["backends"]["hog-svm"]["settings"] = {
        "backbone": {"name": "nets/own.onnx", "weights": "imagenet", "pixels": None},
        "network": {"pool": "", "layout": "NCHW"},
    }
    (small_run / "run.json").write_text(json.dumps(record), encoding="utf-8")
    build_report(small_run)
    page = (small_run / "report.html").read_text(encoding="utf-8")
    assert "backbone (name nets/own.onnx), network (layout NCHW)" in page
