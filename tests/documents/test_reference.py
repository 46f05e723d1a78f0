"""The pages that list commands, settings and public names say what the code says; the site has every page."""

import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec

import pytest

import shelfbench
from shelfbench.base.errors import InputError, NotInstalled, RunError
from shelfbench.decision.rule import Verdict
from shelfbench.report.gate import FINE, NOTHING, OTHER, WORSE
from shelfbench.study.model import ROOT_KEYS
from shelfbench.verdict.monitor import Status
from tests.helpers.option_pages import PAGES, ROOT_SETTINGS, settings_page
from tests.helpers.sources import ROOT

DOCS = ROOT / "docs"
# Verbs whose exit code is an answer.
CODED = ("decide", "watch", "compare --gate")


@pytest.mark.parametrize("place", PAGES)
def test_a_page_of_reference_is_what_the_code_says(place):
    written = (DOCS / place).read_text(encoding="utf-8")
    assert written == PAGES[place](), "write it again: python -m tests.helpers.option_pages"


def test_every_key_of_a_study_itself_is_listed():
    listed = re.findall(r"^\| `\[?(\w+)", ROOT_SETTINGS, re.MULTILINE)
    assert sorted(listed) == sorted(ROOT_KEYS)


def test_every_setting_says_what_it_does():
    """Names such as `batch` speak for themselves; a new one should have a word in its docstring."""
    silent = re.findall(r"^\| `([\w.]+)` \| [^|]* \|  \|$", settings_page(), re.MULTILINE)
    assert set(silent) == {"finetuning.batch", "full.batch", "timing.classes", "timing.repetitions"}


def test_the_reference_for_python_has_every_public_name():
    text = (DOCS / "python.md").read_text(encoding="utf-8")
    homes = dict(
        re.findall(r"^::: (shelfbench[\w.]+)\n    options:\n      heading: shelfbench\.(\w+)$", text, re.MULTILINE)
    )
    assert {name: home for home, name in homes.items()} == {
        name: f"{home}.{name}" for name, home in shelfbench._HOMES.items()
    }


def test_every_variable_of_the_environment_is_listed():
    code = [path for top in ("bench", "baselines", "deep") for path in (ROOT / top).rglob("*.py")]
    read = {name for path in code for name in re.findall(r'environ\.get\("(\w+)"', path.read_text(encoding="utf-8"))}
    listed = (DOCS / "command-line.md").read_text(encoding="utf-8").partition("## Environment")[2]
    assert read - {"PYTHONPATH"} == set(re.findall(r"`([A-Z_]{4,})`", listed))


def test_the_table_of_exit_codes_is_what_the_code_gives():
    text = (DOCS / "command-line.md").read_text(encoding="utf-8")
    rows = [[cell.strip() for cell in row.split("|")[1:-1]] for row in re.findall(r"^\| `.*$", text, re.MULTILINE)]
    [decided], [watched], [compared] = ([row for row in rows if row[0].startswith(f"`{name}")] for name in CODED)
    assert {one.value: one.exit_code for one in Verdict} == {decided[code + 1]: code for code in (0, 3, 4)}
    assert {one.value: one.exit_code for one in Status} == {watched[code + 1]: code for code in (0, 3, 4)}
    gate = {FINE: "fine", WORSE: "worse", NOTHING: "nothing measured", OTHER: "not comparable"}
    assert {code: compared[code + 1].partition(",")[0] for code in gate} == gate
    assert (RunError.exit_code, InputError.exit_code, NotInstalled.exit_code) == (1, 2, 2)
    signals = {"130": 2, "143": 15, "129": 1}
    assert all(f"{128 + number}" == code and code in text for code, number in signals.items())


def test_every_page_is_in_the_navigation_once():
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:\n")[2]
    shown = re.findall(r": ([\w/.-]+\.md)$", navigation, re.MULTILINE)
    there = {f"docs/{path.name}" for path in DOCS.glob("*.md")}
    assert {place for place in shown if place.startswith("docs/")} == there
    assert len(set(shown)) == len(shown)
    assert all((ROOT / place).is_file() for place in shown)


def test_the_readme_leads_to_every_page():
    linked = set(re.findall(r"\]\((docs/[\w-]+\.md)", (ROOT / "README.md").read_text(encoding="utf-8")))
    assert linked == {f"docs/{path.name}" for path in DOCS.glob("*.md")}


@pytest.mark.slow
@pytest.mark.skipif(find_spec("mkdocs") is None, reason="needs shelfbench[docs]")
def test_the_site_is_built_without_a_warning_and_needs_no_network(tmp_path):
    for name in ("mkdocs.yml", "noxfile.py", "LICENSE", "docs", "results", "bench", "baselines", "deep", "tests"):
        (tmp_path / name).symlink_to(ROOT / name)
    for page in ROOT.glob("*.md"):
        shutil.copy(page, tmp_path)
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")],
        cwd=tmp_path,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stderr
    assert "WARNING" not in built.stderr
    site = tmp_path / "site"
    pages = list(site.rglob("*.html"))
    assert len(pages) > 40
    outward = re.compile(r"<(?:script|link|img|iframe|source)[^>]*(?:src|href)=\"?(?:https?:)?//")
    assert not [page for page in pages if outward.search(page.read_text(encoding="utf-8"))]
    assert (site / "results" / "fashion" / "run.json").read_bytes() == (ROOT / "results/fashion/run.json").read_bytes()
    assert "Decision" in (site / "docs" / "python.html").read_text(encoding="utf-8")
    assert "certified" in (site / "search" / "search_index.js").read_text(encoding="utf-8")
