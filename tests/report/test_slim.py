"""Figures in fewer bytes: thinned lines stay where they were, and what is drawn looks the same."""

import base64
import io
import itertools
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib import rc_context
from matplotlib.figure import Figure
from PIL import Image

from shelfbench.report.render import drawn
from shelfbench.report.slim import as_jpeg, slim_svg
from shelfbench.report.style import STYLE
from shelfbench.report.thin import SEEN, staircase, thin_staircase, thinned

SIZE = (3000.0, 800.0)


@st.composite
def frontiers(draw):
    """A falling staircase: what `AcceptanceCurve.frontier` returns."""
    total = draw(st.integers(1, 400))
    right = np.cumsum(np.random.default_rng(draw(st.integers(0, 99))).random(total) < draw(st.floats(0.1, 1)))
    precision = (right / np.arange(1, total + 1))[::-1]
    kept = np.flatnonzero(precision > np.concatenate([[-np.inf], np.maximum.accumulate(precision)[:-1]]))
    return precision[kept], np.arange(total, 0, -1)[kept] / total


def from_line(points, line):
    """Distance of each point from a line of corners."""
    nearest = np.full(len(points), np.inf)
    for start, end in itertools.pairwise(line):
        along = end - start
        length = along @ along
        share = np.clip((points - start) @ along / length, 0, 1) if length else np.zeros(len(points))
        nearest = np.minimum(nearest, np.linalg.norm(points - start - share[:, None] * along, axis=1))
    return nearest


@given(frontiers(), st.floats(0, 1))
def test_a_thinned_curve_stays_within_half_a_pixel_and_exact_at_its_ends_and_its_target(frontier, target):
    whole, thin = staircase(*frontier), thin_staircase(*frontier, SIZE, target)
    assert {(x, y) for x, y in zip(*thin, strict=True)} <= {(x, y) for x, y in zip(*whole, strict=True)}
    assert (thin[0][0], thin[1][0]) == (whole[0][0], whole[1][0])
    assert (thin[0][-1], thin[1][-1]) == (whole[0][-1], whole[1][-1])
    if target <= frontier[0][-1]:
        at = np.searchsorted(frontier[0], target)
        assert thin[1][np.searchsorted(thin[0], target)] == frontier[1][at]
    if len(thin[0]) > 1:
        points, line = (np.column_stack(one) * SIZE for one in (whole, thin))
        assert from_line(points, line).max() <= SEEN + 1e-9 < 0.5
        corners = np.column_stack(thin) * SIZE
        assert from_line((corners[:-1] + corners[1:]) / 2, points).max() <= SEEN + 1e-9


def test_a_long_curve_becomes_a_few_hundred_points():
    share = np.linspace(1, 0, 200_000)
    assert len(thinned(1 - share**3, share, SIZE)) < 300


@pytest.mark.parametrize("points", [0, 1, 2])
def test_there_is_nothing_to_thin(points):
    assert thinned(np.zeros(points), np.zeros(points), SIZE).tolist() == list(range(points))


def chart():
    figure = Figure(figsize=(5, 3), layout="constrained")
    axes = figure.subplots()
    x = np.linspace(0, 9, 300)
    for number in range(5):
        axes.plot(x, np.sin(x + number), label=f"line {number} & <more>")
    axes.plot([1], [0.5], "o")
    axes.fill_between(x, np.sin(x), np.cos(x), alpha=0.2)
    axes.set(xlabel="it's µ", title="One — two")
    axes.legend()
    return figure


def written(form, **values):
    image = io.BytesIO()
    with rc_context(STYLE):
        chart().savefig(image, format=form, dpi=150, **values)
    return image.getvalue()


def test_a_chart_in_256_colours_is_the_chart():
    with rc_context(STYLE):
        few = Image.open(io.BytesIO(drawn(chart(), "a note")[".png"]))
    assert few.mode == "P"
    assert few.text["Comment"] == "a note"
    assert few.info["dpi"] == pytest.approx((150, 150), abs=0.1)
    whole = np.asarray(Image.open(io.BytesIO(written("png"))).convert("RGB"), int)
    apart = np.abs(np.asarray(few.convert("RGB"), int) - whole)
    assert apart.max() <= 24
    assert (np.asarray(few.convert("RGB"))[whole.min(axis=2) == 255] == 255).all()


PLACES = re.compile(r"[A-Za-z]|-?\d*\.?\d+")


def places(path):
    """All places that a path goes through, control points included, in its own unit."""
    tokens, at, start, command, found = PLACES.findall(path), (0.0, 0.0), (0.0, 0.0), "", []
    while tokens:
        if tokens[0].isalpha():
            command = tokens.pop(0)
        if command in "zZ":
            at = start
            continue
        count = {"m": 2, "l": 2, "h": 1, "v": 1, "q": 4, "c": 6}[command.lower()]
        numbers = [float(tokens.pop(0)) for _ in range(count)]
        if command in "hv":
            numbers = [numbers[0], 0] if command == "h" else [0, numbers[0]]
        moved = np.reshape(numbers, (-1, 2)) + (at if command.islower() else (0, 0))
        found.extend(map(tuple, moved))
        at = found[-1]
        start = at if command in "Mm" else start
    return np.array(found)


def test_the_svg_draws_the_same_lines_in_half_the_bytes():
    whole = written("svg", metadata={"Date": None}).decode()
    slim = slim_svg(whole)
    assert len(slim) < 0.65 * len(whole)
    before, after = (re.findall(r'<path[^>]*? d="([^"]*)"', text) for text in (whole, slim))
    assert len(before) == len(after)
    for old, new in zip(before, after, strict=True):
        assert places(new) == pytest.approx(places(old.replace("\n", " ")), abs=0.006)
    assert re.findall(r"<!-- (.*?) -->", slim) == re.findall(r"<!-- (.*?) -->", whole)
    referred, named = set(re.findall(r'(?:href="|url\()#([^")]+)', slim)), re.findall(r' id="([^"]+)"', slim)
    assert referred == set(named)
    assert len(named) == len(set(named))


@pytest.mark.parametrize(
    "word", ["data:image/png;base64,zz", 'data:image/png;base64,zz"', 'an id="b" style="c: d" x="1.999"']
)
def test_words_that_look_like_a_drawing_stay_words(word):
    figure = Figure(figsize=(2, 2))
    figure.suptitle(word)
    assert f"<!-- {word} -->" in drawn(figure)[".svg"].decode()


def test_photos_in_an_svg_are_compressed_as_photos():
    figure = Figure(figsize=(2, 2))
    ramp = np.linspace(0, 255, 90, dtype=np.uint8)
    noise = np.random.default_rng(0).integers(0, 40, (90, 90, 3), dtype=np.uint8)
    figure.subplots().imshow(ramp[:, None, None] // 2 + noise)
    images = drawn(figure, photos=True)
    assert Image.open(io.BytesIO(images[".png"])).mode in ("RGB", "RGBA")
    assert b"data:image/jpeg;base64," in images[".svg"]
    assert b"image/png" not in images[".svg"]


@pytest.mark.parametrize("side", [1, 8, 60, 200])
def test_noise_is_compressed_too(side):
    noise = Image.fromarray(np.random.default_rng(side).integers(0, 256, (side, side, 3), dtype=np.uint8))
    written = io.BytesIO()
    noise.save(written, "PNG")
    back = Image.open(io.BytesIO(base64.b64decode(as_jpeg(base64.b64encode(written.getvalue()).decode()))))
    assert back.size == (side, side)


def test_what_is_drawn_twice_is_held_once():
    path = "M 0 0 " + " ".join(f"L {number} {number % 7}.5" for number in range(1, 100)) + " z"
    text = f'<svg><defs></defs><path d="{path}" style="stroke: #fff"/><path d="{path}" style="fill: #000"/></svg>'
    slim = slim_svg(text)
    assert slim.count(" d=") == 1
    assert slim.count("<use ") == 2
    assert "stroke:#fff" in slim
    assert "fill:#000" in slim
