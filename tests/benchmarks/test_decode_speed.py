"""JPEGs to squares against Pillow in a loop: two grey levels apart at most, then the times of one core each."""

import io
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from shelfbench.data.images import decode_batch
from shelfbench.data.jpeg import engine
from tests.benchmarks import inputs
from tests.benchmarks.pairs import Row

PIXELS = 128


@pytest.fixture(scope="module")
def data(full_size):
    return inputs.jpegs(1000 if full_size else 60)


def ours(data):
    with ThreadPoolExecutor(1) as pool:
        return decode_batch(data, PIXELS, "pad", pool)[0]


def theirs(data):
    return np.stack(
        [
            np.asarray(Image.open(io.BytesIO(photo)).convert("RGB").resize((PIXELS, PIXELS), Image.Resampling.BICUBIC))
            for photo in data
        ]
    )


def test_same_pixels(data):
    difference = np.abs(ours(data[:60]).astype(int) - theirs(data[:60]))
    assert difference.max() <= 2
    assert difference.mean() < 0.01


@pytest.mark.skipif(engine() == "pillow", reason="simplejpeg or cykooz.resizer is not installed")
def test_speed(data, race):
    row = Row("JPEG of 180 px to 128 px, one core", "Pillow in a loop", goal=2.5)
    race(row, ours=lambda: ours(data), theirs=lambda: theirs(data))
