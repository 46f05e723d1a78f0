"""Letters in figures: scripts that the house font lacks, names that are too long, and legends off the curves."""

import io
import itertools
import warnings

import matplotlib as mpl
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib import font_manager
from matplotlib.figure import Figure
from PIL import Image

from shelfbench.base.console import Console
from shelfbench.report import fonts
from shelfbench.report.categories import figure7
from shelfbench.report.data import Picture, open_data
from shelfbench.report.figures import _gallery, cost, figure2, figure5
from shelfbench.report.fonts import fit_fonts, wrapped
from shelfbench.report.photos import _figure6
from shelfbench.report.render import drawn, write_section
from shelfbench.report.section import NamedFigure, Section
from shelfbench.report.style import STYLE
from tests.helpers.synthetic_run import BACKENDS, make_run
from tests.helpers.ugly_names import UGLY

PHOTOS = [
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (high, wide, 3), dtype=np.uint8))
    for high, wide in ((60, 80), (80, 80), (80, 30))
]
MISSING = "\U0001f45f"  # a shoe, which no font of a bare machine has


def written(text):
    figure = Figure(figsize=(4, 1))
    figure.text(0.05, 0.4, text, fontsize=20)
    return figure


@pytest.fixture
def no_other_fonts(monkeypatch):
    """A machine with the house font alone."""
    monkeypatch.setattr(font_manager, "findSystemFonts", list)
    fonts._families.cache_clear()
    yield
    fonts._families.cache_clear()


def test_letters_that_no_font_has_are_named_and_no_warning_reaches_the_screen(no_other_fonts, tmp_path, capfd):
    figure = NamedFigure(name="x", draw=lambda: written(f"衣服 한국 {MISSING} Shoes"), caption="Names.")
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        html = write_section(tmp_path, Section(title="t", figures=(figure,)))
    assert not [one for one in heard if not issubclass(one.category, DeprecationWarning)]  # Python hides those
    assert capfd.readouterr().err == ""
    for words in ("Names. Boxes stand for letters", "Chinese or Japanese (", "Korean (", f"symbols ({MISSING})"):
        assert words in html
    # the figure is shown again, without its photos at hand: so is the note
    with Image.open(tmp_path / "figures" / "x.png") as image:
        assert "Boxes stand for letters" in image.info["Comment"]
    kept = NamedFigure(name="x", draw=None, caption="Names.", kind="photos")
    assert "Boxes stand for letters" in write_section(tmp_path, Section(title="t", figures=(kept,)))
    hidden = NamedFigure(name="x", draw=lambda: written("衣"), on_page=False)
    assert "figures/x.png: Boxes stand for letters" in write_section(tmp_path, Section(title="t", figures=(hidden,)))


@pytest.mark.parametrize("text", ["Shoes", "Übergröße 50%", "Обувь", "παπούτσια", "a\nb", "e\u0301\ufe0f\u200d"])
def test_what_the_house_font_has_needs_no_other(text, monkeypatch):
    monkeypatch.setattr(fonts, "_families", lambda wanted: pytest.fail("looked for fonts"))
    figure = written(text)
    assert fit_fonts(figure) == ""
    assert figure.texts[0].get_fontfamily() == mpl.rcParams["font.family"]


def letters_of(path):
    """Letters of a font that can be drawn at any size; fonts of pictures of letters cannot."""
    try:
        font = font_manager.get_font(path)
    except RuntimeError:  # matplotlib before 3.11
        return set()
    return {chr(code) for code in font.get_charmap()}


@pytest.mark.parametrize("text", UGLY[:6])
def test_a_script_is_drawn_if_a_font_has_it_or_else_named(text):
    lacking = fonts._lacking(text)
    have = {
        letter
        for path in font_manager.findSystemFonts()
        if "LastResort" not in path
        for letter in lacking & letters_of(path)
    }
    with mpl.rc_context(STYLE), warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        figure = written(text)
        note = fit_fonts(figure)
        figure.savefig(io.BytesIO())
    assert ("Boxes stand for" in note) == (have != lacking)
    assert all(letter in note for letter in sorted(lacking - have)[:1])
    missing = [str(one.message) for one in heard if "missing from" in str(one.message)]
    assert bool(missing) == (have != lacking)


@given(st.text(), st.integers(20, 200), st.integers(1, 3))
def test_a_wrapped_name_has_no_more_lines_than_asked_and_only_what_was_written(text, width, lines):
    found = wrapped(text, width, 7, lines)
    assert len(found.split("\n")) <= lines
    cut = "".join(found.removesuffix("…").split())
    whole = "".join(fonts._visible(text).split())
    assert whole.startswith(cut) if found.endswith("…") else whole == cut


def test_a_name_of_a_file_breaks_after_a_sign_and_not_within_a_word():
    for width in range(50, 75):
        first = wrapped("embeddings.parquet", width, 7, 3).split("\n")[0]
        assert first in ("embeddings.", "embeddings.parquet"), width
    assert wrapped("Sandals, women", 50, 7, 2) == "Sandals,\nwomen"


def overlaps(boxes):
    return [
        (one, other)
        for place, one in enumerate(boxes)
        for other in boxes[:place]
        if one.x0 < other.x1 and other.x0 < one.x1 and one.y0 < other.y1 and other.y0 < one.y1
    ]


@pytest.mark.parametrize("count", [1, 3, 5, 20])
def test_titles_of_photos_do_not_overlap(count):
    rows = [
        (
            PHOTOS[number % 3],
            {"category": UGLY[number % len(UGLY)], "predicted": UGLY[-number - 1], "probability": 0.9999},
        )
        for number in range(count)
    ]
    for draw in (lambda: _figure6(rows), lambda: _gallery([Picture(image, row["category"]) for image, row in rows])):
        with mpl.rc_context(STYLE), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Glyph .* missing from")
            figure = draw()
            fit_fonts(figure)
            drawn(figure)
            titles = [axes.title.get_window_extent() for axes in figure.axes if axes.title.get_text()]
            pictures = [axes.get_window_extent() for axes in figure.axes if axes.images]
        assert len(titles) == count
        assert overlaps(titles) == []
        assert overlaps([*pictures, *titles]) == []
        assert min(box.x0 for box in titles) >= 0
        assert max(box.x1 for box in titles) <= figure.bbox.x1
        assert max(box.y1 for box in titles) <= figure.bbox.y1 + 1


def covered(figure, box):
    """Lines of a figure that pass through a box."""
    found = []
    for line in (line for axes in figure.axes for line in axes.lines):
        points = np.asarray(line.get_transform().transform(line.get_xydata()), float).reshape(-1, 2)
        steps = np.concatenate([np.linspace(a, b, 20) for a, b in itertools.pairwise(points)] or [points])
        inside = (steps[:, 0] > box.x0) & (steps[:, 0] < box.x1) & (steps[:, 1] > box.y0) & (steps[:, 1] < box.y1)
        found += [line.get_label()] * bool(inside.any())
    return found


@pytest.mark.parametrize("length", [0, 30, 60])
def test_legends_cover_no_curve_and_are_whole_however_long_the_names(tmp_path, length):
    backends = {
        name: (f"{feature} {'x' * length}", *rest)
        for name, (feature, *rest) in itertools.islice(BACKENDS.items(), 1, None)
    }
    data = open_data(make_run(tmp_path / "run", products=400, categories=12, backends=backends))
    data.run.evaluate(data.run.targets, Console(quiet=True))
    for make in (figure2, figure5, figure7, cost):
        with mpl.rc_context(STYLE):
            figure = make(data).figures[0].draw()
            drawn(figure)
            [legend] = [*figure.legends, *(axes.get_legend() for axes in figure.axes if axes.get_legend())]
            box = legend.get_window_extent()
        assert covered(figure, box) == []
        assert box.x0 >= 0
        assert box.y0 >= 0
        assert box.x1 <= figure.bbox.x1 + 0.5  # the layout ends when it is within half a pixel
        assert box.y1 <= figure.bbox.y1
        assert all(axes.get_window_extent().width > 0.4 * figure.bbox.width / len(figure.axes) for axes in figure.axes)
