"""JPEGs to squares against Pillow in a loop: two grey levels apart at most, then the times of one core each.

Photos of 800 px are decoded at a half, as Pillow's `draft` does, and how far that is from the whole is measured too.
"""

import io
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from shelfbench.data.images import decode_batch
from shelfbench.data.jpeg import engine
from shelfbench.data.view import View
from tests.benchmarks import inputs
from tests.benchmarks.pairs import Row

PIXELS = 128
# From a large photo to the size of most networks.
LARGE, SMALL = 800, 224
needs_simplejpeg = pytest.mark.skipif(engine() == "pillow", reason="simplejpeg or cykooz.resizer is not installed")


@pytest.fixture(scope="module")
def data(full_size):
    return inputs.jpegs(1000 if full_size else 60)


@pytest.fixture(scope="module")
def large(full_size):
    return inputs.jpegs(200 if full_size else 10, LARGE)


def ours(data, pixels=PIXELS, view="pad"):
    with ThreadPoolExecutor(1) as pool:
        return decode_batch(data, pixels, view, pool)[0]


def theirs(data, pixels=PIXELS, draft=False):
    squares = []
    for photo in data:
        image = Image.open(io.BytesIO(photo))
        if draft:
            image.draft("RGB", (pixels, pixels))
        squares.append(np.asarray(image.convert("RGB").resize((pixels, pixels), Image.Resampling.BICUBIC)))
    return np.stack(squares)


def test_same_pixels(data):
    difference = np.abs(ours(data[:60]).astype(int) - theirs(data[:60]))
    assert difference.max() <= 2
    assert difference.mean() < 0.01


@needs_simplejpeg
def test_same_pixels_as_draft(large):
    scaled = ours(large[:10], SMALL, View(scaled=True)).astype(int)
    assert np.abs(scaled - theirs(large[:10], SMALL, draft=True)).max() <= 2
    difference = np.abs(scaled - ours(large[:10], SMALL))
    assert 0 < difference.mean() < 1
    assert np.percentile(difference, 99.9) <= 16


@needs_simplejpeg
def test_speed(data, race):
    row = Row("JPEG of 180 px to 128 px, one core", "Pillow in a loop", goal=2.5)
    race(row, ours=lambda: ours(data), theirs=lambda: theirs(data))


@needs_simplejpeg
@pytest.mark.parametrize(("opponent", "draft", "goal"), [("Pillow's draft", True, 2.5), ("Pillow", False, 5)])
def test_speed_of_large_photos(large, race, opponent, draft, goal):
    row = Row(f"JPEG of {LARGE} px to {SMALL} px at a half, one core", f"{opponent} in a loop", goal=goal)
    race(row, ours=lambda: ours(large, SMALL, View(scaled=True)), theirs=lambda: theirs(large, SMALL, draft))
