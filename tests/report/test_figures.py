"""Figures: they appear, say what they must, and are the same each time."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from shelfbench.base.console import Console
from shelfbench.report.data import Picture
from shelfbench.report.figures import figure1, pareto_front
from shelfbench.report.style import marks
from shelfbench.report.thin import thin_staircase
from shelfbench.runs.directory import open_run
from shelfbench.verdict.metrics import acceptance, acceptance_curve
from tests.helpers.reports import write_sections

QUIET = Console(quiet=True)


def pictures(count):
    rng = np.random.default_rng(0)
    captions = ("Shoes $x_2$ & <b>", "An extremely long name of a category, which cannot fit", "衣服")
    return [
        Picture(Image.fromarray(rng.integers(0, 255, (40 + number, 60, 3), dtype=np.uint8)), captions[number % 3])
        for number in range(count)
    ]


def test_every_figure_is_written_twice_over(finished_run):
    names = {path.name for path in (finished_run / "figures").iterdir()}
    drawn = ("figure2", "figure5", "figure7", "cost", "reliability")
    assert names == {f"{name}.{kind}" for name in drawn for kind in ("png", "svg")}
    for path in (finished_run / "figures").glob("*.png"):
        with Image.open(path) as image:
            assert image.width > 900
            assert image.info["dpi"] == pytest.approx((150, 150), abs=0.1)


def test_svg_has_no_date_and_names_every_backend(finished_run):
    text = (finished_run / "figures" / "figure5.svg").read_text(encoding="utf-8")
    assert "dc:date" not in text
    comments = re.findall(r"<!-- (.*?) -->", text)  # text drawn as paths keeps its words as comments
    for name in ("hog-svm", "bottleneck-svm", "bottleneck-2nn-512", "bottleneck-2nn-4096"):
        assert any(comment.startswith(name) for comment in comments)
    assert [name.partition(":")[0] for name in comments if name.endswith(", chosen")] == ["bottleneck-2nn-4096"]
    assert "required: 0.9" in comments
    assert "#b00020" in text  # the paper's two points and their labels


def test_a_gallery_of_any_size_which_stays_without_pictures(small_run):
    path = small_run / "figures" / "figure1.png"
    for count in (12, 1):
        write_sections(small_run, figure1, pictures=pictures(count))
        with Image.open(path) as image:
            assert (np.asarray(image.convert("L")) < 250).mean() > 0.02 * count
    before = path.read_bytes()
    [piece] = write_sections(small_run, figure1)
    assert "data:image/webp;base64," in piece.html
    assert path.read_bytes() == before


def test_eleven_backends_are_drawn_all_unlike():
    styles = [marks(number) for number in range(11)]
    assert len({(style["color"], str(style["linestyle"])) for style in styles}) == 11
    assert len({style["marker"] for style in styles}) == 11


def test_the_curve_that_is_drawn_meets_table_4(finished_run):
    products = open_run(finished_run).products("bottleneck-2nn-2048")
    test = products.where(products.split == "test")
    curve = acceptance_curve(test.confidence, test.correct)
    for required in ("0.85", "0.9", "0.95"):
        precision, share = thin_staircase(*curve.frontier(), (3000, 800), float(required))
        at = np.searchsorted(precision, float(required))  # first drawn corner that is precise enough
        assert share[at] == acceptance(test.confidence, test.correct, required).acceptance


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=12))
def test_the_pareto_front_is_what_no_other_row_beats(rows):
    cost, gain = np.array(rows, float).T
    front = pareto_front(cost, gain)

    def beaten(a):
        return any(x <= cost[a] and y >= gain[a] and (x, y) != (cost[a], gain[a]) for x, y in rows)

    assert {tuple(rows[place]) for place in front} == {
        tuple(row) for place, row in enumerate(rows) if not beaten(place)
    }
    assert len({rows[place] for place in front}) == len(front)
    assert (np.diff(cost[front]) > 0).all()
    assert (np.diff(gain[front]) > 0).all()
