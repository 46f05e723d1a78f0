"""The page of a shop's own photos: what the papers measured is nowhere on it, nor in its tables."""

import html
import json
import re

import pytest

from shelfbench.base.console import Console
from shelfbench.data.named import title_of
from shelfbench.report.build import build_report
from shelfbench.runs.directory import open_run
from shelfbench.study.read import read_study, study_names
from tests.helpers.synthetic_run import make_run

QUIET = Console(quiet=True)
PAPERS = re.compile(
    r"paper|\bC, |Eq\. ?\d|\bof C\b|Li et al|Chollet|Cdiscount|\bbooks\b|\b8K\b|claims? \(|§|Table \d|Figure \d"
    r"|\bstars? are",
    re.IGNORECASE,
)


@pytest.fixture(scope="module")
def own_run(tmp_path_factory):
    path = make_run(tmp_path_factory.mktemp("own") / "run", products=1500, categories=20, own=True)
    return path, build_report(path, None, QUIET)


def words_of(run):
    """All that a reader of the page reads: text, legends drawn as paths, and labels."""
    page = (run / "report.html").read_text(encoding="utf-8")
    page = re.sub(r"<style>.*?</style>", "", page, flags=re.DOTALL)
    page = page.partition("<summary>The study</summary>")[0]  # settings have their own names
    page = re.sub(r"data:image/[^\"]*", "", page)
    drawn = "".join(path.read_text(encoding="utf-8") for path in sorted((run / "figures").glob("*.svg")))
    return html.unescape(page) + "\n".join(re.findall(r"<!-- (.*?) -->", drawn))


def test_nothing_of_the_papers_is_on_a_shops_own_page(own_run):
    path, text = own_run
    assert PAPERS.findall(words_of(path)) == []
    assert PAPERS.findall(text) == []
    for table in (path / "tables").iterdir():
        assert PAPERS.findall(table.read_text(encoding="utf-8")) == [], table.name
    assert "#b00020" not in (path / "figures" / "figure5.svg").read_text(encoding="utf-8")  # the papers' points


def test_a_study_of_the_papers_keeps_them(finished_run):
    words = words_of(finished_run)
    for wanted in (
        "Table 4. Precision",
        "The stars are the two points",
        "come from books",
        "8K",
        "Paper: cores",
        "C33",
    ):
        assert wanted in words


def test_the_page_is_named_after_the_data_and_has_no_departments_without_levels(own_run):
    path, text = own_run
    words = words_of(path)
    assert re.search(r"<h1>shop\b", words)
    assert "given by path: photos/shop" in words
    assert any(line.endswith(" · shop") for line in text.splitlines())
    assert "epartment" not in re.sub(r"<script.*?</script>", "", words, flags=re.DOTALL)
    assert 'id="bars"' not in words
    assert not (path / "tables" / "departments.csv").exists()


@pytest.mark.parametrize(
    ("place", "title"),
    [
        ("/home/me/My photos", "My photos"),
        ("photos/shop/", "shop"),
        ("products.csv", "products.csv"),
        ("hf:org/shoes", "shoes"),
        ("s3://bucket/folder/shop/", "shop"),
        ("s3://bucket", "bucket"),
        ("衣服", "衣服"),
    ],
)
def test_a_title_is_the_name_of_the_folder_or_file(place, title):
    assert title_of(place) == title


def test_the_folder_one_stands_in_has_a_name(tmp_path, monkeypatch):
    (tmp_path / "shop").mkdir()
    monkeypatch.chdir(tmp_path / "shop")
    assert title_of(".") == "shop"
    assert title_of("..") == tmp_path.name
    assert title_of("/") == "/"


def test_the_papers_stay_with_the_studies_that_reproduce_them_on_their_own_data():
    said = {name: read_study(name).report.papers for name in study_names()}
    assert {name for name, papers in said.items() if not papers} <= {"own", "classifiers"}
    other = [(["dataset", "name"], "photos")]
    assert read_study("fashion", [(["dataset", "name"], "fashion")]).report.papers
    assert not read_study("fashion", other).report.papers
    assert not read_study(read_study("fashion"), other).report.papers
    assert read_study("fashion", [*other, (["report", "papers"], True)]).report.papers


def test_a_shops_own_toml_has_no_papers_and_they_change_no_result(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('backends = ["hog-svm"]\n[dataset]\nname = "photos"\n', encoding="utf-8")
    study, with_papers = read_study(path), read_study(path, [(["report", "papers"], True)])
    assert not study.report.papers
    assert study.results_hash() == with_papers.results_hash()


@pytest.mark.parametrize(
    ("study", "source", "papers"),
    [("fashion", "https://example.org", True), ("default", "given by path", False), ("mine", "procedural", False)],
)
def test_a_record_from_before_the_setting_is_read(small_run, study, source, papers):
    path = small_run / "run.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    record["study"] = {"name": study, "report": {"targets": [0.9]}}
    record["dataset"]["source"] = source
    path.write_text(json.dumps(record), encoding="utf-8")
    assert open_run(small_run).papers == papers


def test_numbers_have_their_leading_zero_in_text_tables_and_figures(own_run, finished_run):
    for run in (own_run[0], finished_run):
        # a dot before digits and after nothing, but not a version or the end of a sentence
        assert (
            re.findall(r"(?<![\w.])[+−-]?\.\d+", re.sub(r"<script.*?</script>", "", words_of(run), flags=re.DOTALL))
            == []
        )
