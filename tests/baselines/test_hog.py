"""Histograms of oriented gradients equal scikit-image's, in one process or several."""

import pickle
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from skimage.feature import hog

from shelfbench.base.errors import InputError, RunError
from shelfbench_baselines.gradients import Histograms
from shelfbench_baselines.hog import HogExtractor, HogSettings


def pictures(count, pixels, seed=0):
    """Make smooth colour gradients with noise, which have directions."""
    rng = np.random.default_rng(seed)
    ramps = np.cumsum(rng.normal(size=(count, pixels, pixels, 3)), axis=1 + seed % 2) * 12 + 128
    return np.clip(ramps, 0, 255).astype(np.uint8)


# docs/papers.md, "Histograms of oriented gradients"
@pytest.mark.parametrize(
    ("pixels", "cells", "blocks", "dimensions"),
    [
        (180, 8, 2, 15876),
        (180, 8, 3, 32400),
        (180, 16, 2, 3600),
        (180, 16, 3, 6561),
        (224, 8, 2, 26244),
        (224, 8, 3, 54756),
        (224, 16, 2, 6084),
        (224, 16, 3, 11664),
    ],
)
def test_dimensions(pixels, cells, blocks, dimensions):
    extractor = HogExtractor(HogSettings(pixels=pixels, cells=cells, blocks=blocks))
    assert extractor.dimensions == dimensions
    assert extractor.extract(pictures(1, pixels)).shape == (1, dimensions)


@pytest.mark.parametrize("engine", ["numpy", "skimage"])
@pytest.mark.parametrize(
    "sizes",
    [
        {},
        {"cells": 8},
        {"pixels": 50, "cells": 8, "blocks": 3, "orientations": 6},
        {"pixels": 33, "cells": 7, "blocks": 1, "orientations": 4},
        {"pixels": 16, "cells": 1, "blocks": 2, "orientations": 180},
    ],
)
def test_equals_scikit_image_one_by_one(engine, sizes):
    settings = HogSettings(engine=engine, **sizes)
    images = pictures(3, settings.pixels)
    features = HogExtractor(settings).extract(images)
    assert features.dtype == np.float32
    for row, image in zip(features, images, strict=True):
        expected = hog(
            image,
            settings.orientations,
            (settings.cells,) * 2,
            (settings.blocks,) * 2,
            block_norm="L2-Hys",
            channel_axis=-1,
        )
        np.testing.assert_allclose(row, expected, atol=1e-6)
        assert np.ptp(row) > 0.05


@given(st.integers(2, 20), st.integers(1, 7), st.integers(1, 3), st.integers(1, 18), st.data())
@settings(max_examples=60, deadline=None)
def test_our_engine_equals_scikit_image_on_few_values(pixels, cells, blocks, orientations, given_data):
    """Few values cause ties between channels, and gradients on the edges of bins."""
    cells = min(cells, pixels // blocks)
    assume(cells)
    few = given_data.draw(st.sampled_from([(0, 1), (0, 255), (7, 8, 9), tuple(range(256))]))
    image = given_data.draw(arrays(np.uint8, (1, pixels, pixels, 3), elements=st.sampled_from(few)))
    sizes = {"pixels": pixels, "cells": cells, "blocks": blocks, "orientations": orientations}
    own, reference = (HogExtractor(HogSettings(engine=name, **sizes)).extract(image) for name in ("numpy", "skimage"))
    np.testing.assert_allclose(own, reference, rtol=0, atol=1e-5)


def test_an_image_does_not_affect_the_next():
    images = pictures(6, 40)
    images[2], images[3] = 0, 255  # flat images in between
    together, alone = (np.empty((6, HogSettings(pixels=40, cells=8).dimensions), np.float32) for _ in range(2))
    histograms = Histograms(40, 8, 2, 9)
    histograms.fill(together, images)
    for row in (5, 2, 0, 3, 1, 4):
        Histograms(40, 8, 2, 9).fill(alone[row : row + 1], images[row : row + 1])
    np.testing.assert_array_equal(together, alone)
    again = np.empty_like(together)
    histograms.fill(again[::-1], images[::-1])
    np.testing.assert_array_equal(again, together)


@pytest.mark.parametrize("engine", ["numpy", "skimage"])
def test_workers_and_batches_change_nothing(engine):
    settings, images = HogSettings(pixels=48, engine=engine), pictures(45, 48)
    alone = HogExtractor(settings, workers=1)
    expected = alone.extract(images)
    pool = pickle.loads(pickle.dumps(HogExtractor(settings, workers=2)))
    np.testing.assert_array_equal(pool.extract(images), expected)
    np.testing.assert_array_equal(pool.extract(images[::-1])[::-1], expected)
    np.testing.assert_array_equal(np.concatenate([alone.extract(images[:7]), alone.extract(images[7:])]), expected)


def test_no_images():
    assert HogExtractor(HogSettings(), workers=2).extract(np.empty((0, 180, 180, 3), np.uint8)).shape == (0, 3600)


def test_a_flat_image_has_no_directions():
    flat = np.full((1, 64, 64, 3), 255, np.uint8)
    np.testing.assert_array_equal(HogExtractor(HogSettings(pixels=64)).extract(flat), 0)


def test_colour_edges_of_equal_brightness_are_seen():
    image = np.zeros((1, 64, 64, 3), np.uint8)
    image[:, :, :32, 0], image[:, :, 32:, 1] = 200, 200
    assert HogExtractor(HogSettings(pixels=64)).extract(image).max() > 0.1


@pytest.mark.parametrize(
    "images",
    [np.zeros((2, 64, 64, 3), np.float32), np.zeros((2, 32, 64, 3), np.uint8), np.zeros((2, 64, 64), np.uint8)],
)
def test_wrong_images_are_refused(images):
    with pytest.raises(RunError, match="HOG takes uint8 images"):
        HogExtractor(HogSettings(pixels=64)).extract(images)


@pytest.mark.parametrize(
    "bad",
    [
        {"pixels": 0},
        {"pixels": 180.0},
        {"orientations": -1},
        {"cells": True},
        {"blocks": "2"},
        {"engine": "opencv"},
        {"pixels": 31, "cells": 16, "blocks": 2},
    ],
)
def test_wrong_settings_are_refused(bad):
    with pytest.raises(InputError, match=r"hog\."):
        HogSettings(**bad)


def test_no_workers_are_refused():
    with pytest.raises(InputError, match="workers"):
        HogExtractor(HogSettings(), workers=0)


def test_every_setting_is_described():
    texts = [
        str(HogExtractor(settings).describe())
        for settings in (
            HogSettings(),
            HogSettings(pixels=181),
            HogSettings(orientations=8),
            HogSettings(cells=15),
            HogSettings(blocks=3),
            HogSettings(engine="skimage"),
        )
    ]
    assert len(set(texts)) == 6
    assert "scikit-image" in texts[5]


def test_the_backend_imports_nothing_heavy():
    code = (
        "import sys, shelfbench_baselines.backends; "
        "print([name for name in ('skimage', 'sklearn', 'scipy', 'joblib', 'keras') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
