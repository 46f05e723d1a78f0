"""The page in a real browser: it shows what Python counted."""

import os
import shutil

import pandas as pd
import pytest

from shelfbench.base.console import Console
from shelfbench.report.build import build_report
from shelfbench.report.explorer import TARGETS, explorer_data
from shelfbench.runs.directory import open_run
from tests.helpers.large_run import make_large_run
from tests.helpers.synthetic_run import BACKENDS, make_run
from tests.helpers.ugly_names import ugly_names

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (pip install playwright)")
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@pytest.fixture(scope="module")
def browser():
    """Chromium: the system's, that of $CHROMIUM, or playwright's own."""
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)
    with sync_api.sync_playwright() as playwright:
        try:
            # as root, as in containers, Chromium has no sandbox
            started = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        except sync_api.Error as error:
            pytest.skip(f"Chromium cannot be started ({str(error).splitlines()[0]}); playwright install chromium")
        yield started
        started.close()


@pytest.fixture
def page(browser, finished_run):
    """The page, opened; script errors and outside requests fail the test."""
    faults = []
    context = browser.new_context(viewport={"width": 1200, "height": 900}, offline=True)
    context.set_default_timeout(120_000)  # the load of the machine is not what is tested
    opened = context.new_page()
    opened.on("pageerror", lambda error: faults.append(str(error)))
    opened.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    opened.on(
        "request", lambda request: None if request.url.startswith(("file:", "data:")) else faults.append(request.url)
    )
    opened.goto((finished_run / "report.html").as_uri())
    yield opened
    context.close()
    assert not faults


@pytest.fixture(scope="module")
def ugly_run(tmp_path_factory):
    """A shop's own run: eleven backends, 120 categories with names of all kinds."""
    path = tmp_path_factory.mktemp("ugly") / "run"
    tuned = {f"tuned-{units}": ("Bottlenecks (fine-tuned)", units, 2.0, 0.3, 2640.0) for units in ("SVM", "2NN-4096")}
    more = {f"mine-{n}": (f"My own features, {n} of 4", "A long classifier", 1.2 + n / 5, 0.3, 50.0) for n in range(4)}
    backends = {**BACKENDS, **tuned, **more}
    make_run(path, products=2500, categories=120, names=ugly_names(120), own=True, backends=backends)
    build_report(path, None, Console(quiet=True))
    return path


@pytest.mark.parametrize("run", ["finished_run", "ugly_run"])
def test_no_table_is_wider_than_a_page_of_1280_pixels(browser, request, run):
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.goto((request.getfixturevalue(run) / "report.html").as_uri())
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    assert page.evaluate("document.documentElement.scrollWidth") <= 1280
    assert page.locator(".scroll").count() > 15
    over = page.eval_on_selector_all(
        ".scroll",
        "boxes => boxes.filter(b => b.scrollWidth > b.clientWidth).map(b => b.textContent.trim().slice(0, 40))",
    )
    # nothing is cut off to fit: a cell is at least as wide as what is in it
    cut = page.eval_on_selector_all("td, th", "cells => cells.filter(c => c.scrollWidth > c.clientWidth + 1).length")
    page.close()
    assert over == []
    assert cut == 0


def test_ugly_names_are_text_and_nothing_else(browser, ugly_run):
    faults = []
    page = browser.new_page()
    page.on("dialog", lambda dialog: (faults.append(dialog.message), dialog.dismiss()))
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.goto((ugly_run / "report.html").as_uri())
    assert page.locator("#curves .curve").count() == 11
    assert page.locator("img:not([alt]), img[onerror], img[src=x]").count() == 0
    assert page.locator("#bars").count() == 0
    page.fill("#target", "950")
    page.wait_for_timeout(100)
    broken = page.eval_on_selector_all("img", "images => images.filter(i => !i.naturalWidth).length")
    page.close()
    assert (faults, broken) == ([], 0)


def rows_shown(page):
    return page.eval_on_selector_all(
        "#taken tbody tr",
        "rows => rows.map(row => [row.dataset.backend, ...[...row.cells].slice(1).map(c => c.textContent)])",
    )


def rows_counted(data, place, mode):
    rows = []
    for one in data["backends"]:
        accepted, errors = (one["modes"][mode][key][place][0] for key in ("accepted", "errors"))
        precision = f"{100 * (1 - errors / accepted):.1f}%" if accepted else "–"
        rows.append(
            [
                one["name"],
                f"{100 * accepted / data['total']:.1f}%",
                f"{errors:,}",
                precision,
                f"{data['total'] - accepted:,}",
            ]
        )
    return sorted(rows, key=lambda row: int(row[4].replace(",", "")))


def test_the_slider_moves_the_numbers_to_what_python_counts(page, finished_run):
    data = explorer_data(open_run(finished_run))
    assert rows_shown(page) == rows_counted(data, TARGETS.index(900), "certified")
    seen = set()
    for mode in data["modes"]:
        page.check(f"input[name=mode][value={mode}]")
        assert page.inner_text("#dots") == mode
        for target in (500, 700, 850, 900, 950, 990):
            page.fill("#target", str(target))
            shown = rows_shown(page)
            assert sorted(shown) == sorted(rows_counted(data, TARGETS.index(target), mode))
            assert page.inner_text("#target-value") == f"{target / 10:.1f}%"
            seen.add(str(shown))
    assert len(seen) > 10


def test_the_keys_move_the_slider_and_the_departments(page, finished_run):
    data = explorer_data(open_run(finished_run))
    page.focus("#target")
    for _ in range(6):
        page.keyboard.press("ArrowRight")
    assert page.inner_text("#target-value") == "93.0%"
    page.select_option("#shown", "1")
    page.check("input[name=mode][value=plain]")
    chosen = data["backends"][1]["modes"]["plain"]
    place = TARGETS.index(930)
    shown = page.eval_on_selector_all(
        "#bars tr", "rows => rows.map(r => [r.cells[0].textContent, r.cells[2].textContent])"
    )
    wanted = [
        [name, f"{100 * accepted / size:.1f}% of {size:,}, {wrong:,} wrong"]
        for name, accepted, wrong, size in zip(
            data["departments"], chosen["accepted"][place][1:], chosen["errors"][place][1:], data["sizes"], strict=True
        )
    ]
    assert shown == wanted
    widths = page.eval_on_selector_all("#bars .bar", "bars => bars.map(b => [...b.children].map(s => s.style.width))")
    right = 100 * (chosen["accepted"][place][1] - chosen["errors"][place][1]) / data["sizes"][0]
    assert float(widths[0][0].rstrip("%")) == pytest.approx(right, abs=0.01)


def test_table_4_sorts_by_its_columns(page, finished_run):
    names = "rows => rows.map(row => row.cells[0].textContent.replace(' (chosen)', ''))"
    rows = "section:has(h2:text-is('Table 4')) tbody tr"
    table = pd.read_csv(finished_run / "tables" / "table4.csv").query("split == 'test'")
    expected = list(table.sort_values("precision", ascending=False)["backend"])
    button = page.get_by_role("button", name="Test prec.")
    button.click()
    assert page.eval_on_selector_all(rows, names) == expected
    assert page.locator("th[aria-sort=descending]").count() == 1
    button.focus()
    page.keyboard.press("Enter")
    assert page.eval_on_selector_all(rows, names) == expected[::-1]


@pytest.mark.parametrize("width", [360, 1400])
def test_a_name_that_is_one_long_word_does_not_stick_out(page, width):
    page.set_viewport_size({"width": width, "height": 800})
    for name in ("h1", "#bars th", "#taken tbody th", "p.verdict"):
        page.evaluate("name => { document.querySelector(name).textContent = 'x'.repeat(300); }", name)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, name
        assert page.evaluate("name => document.querySelector(name).getBoundingClientRect().right", name) <= width, name


@pytest.mark.parametrize("width", [360, 768, 1400])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_sticks_out_and_text_can_be_read(page, width, scheme):
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    ink, paper = (
        page.evaluate(f"getComputedStyle(document.body).{name}.match(/\\d+/g).map(Number)")
        for name in ("color", "backgroundColor")
    )
    light = [sum(values) / 3 for values in (ink, paper)]
    assert abs(light[0] - light[1]) > 150
    assert (light[1] < 128) == (scheme == "dark")


def test_it_prints(page):
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert len(page.pdf()) > 20_000


@pytest.mark.slow
def test_twenty_backends_on_a_hundred_thousand_products_open_at_once(browser, tmp_path):
    run = make_large_run(tmp_path / "run")
    build_report(run, None, Console(quiet=True))
    assert (run / "report.html").stat().st_size < 12 * 2**20
    page = browser.new_page()
    page.goto((run / "report.html").as_uri())
    took = page.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd")
    page.fill("#target", "950")
    assert rows_shown(page)[0] == rows_counted(explorer_data(open_run(run)), TARGETS.index(950), "certified")[0]
    page.close()
    assert took < 2000
