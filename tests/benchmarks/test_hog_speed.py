"""HOG against `skimage.feature.hog` in a loop, one core each: equal features first, then the times."""

import numpy as np
import pytest
from skimage.feature import hog

from shelfbench_baselines.hog import HogExtractor, HogSettings
from tests.benchmarks import inputs
from tests.benchmarks.pairs import Row

SIZES = {cells: HogSettings(cells=cells) for cells in (16, 8)}


@pytest.fixture(scope="module")
def images(full_size):
    return inputs.crops_and_noise(192 if full_size else 16)


def ours(images, settings, workers=1):
    return HogExtractor(settings, workers).extract(images)


def theirs(images, settings):
    return np.stack(
        [
            hog(image, 9, (settings.cells,) * 2, (2, 2), block_norm="L2-Hys", channel_axis=-1).astype(np.float32)
            for image in images
        ]
    )


@pytest.mark.parametrize("cells", SIZES)
def test_same_features(images, cells):
    np.testing.assert_allclose(ours(images, SIZES[cells]), theirs(images, SIZES[cells]), rtol=0, atol=1e-5)


@pytest.mark.parametrize("cells", SIZES)
def test_speed(images, cells, race, one_core):
    settings = SIZES[cells]
    row = Row(f"HOG, 180 px, cells of {cells}, one core", "skimage.feature.hog in a loop", 10)
    race(row, lambda: ours(images, settings), lambda: theirs(images, settings))


@pytest.mark.parametrize("cells", SIZES)
def test_speed_of_two_cores(images, cells, race, one_core):
    """The second core, against ours on one."""
    settings = SIZES[cells]
    row = Row(f"HOG, 180 px, cells of {cells}, two cores", "the same on one core", 1.8)
    many = np.resize(images, (HogExtractor.batch, *images.shape[1:]))
    two = HogExtractor(settings, workers=2)  # keeps its processes, as in a run
    race(row, lambda: two.extract(many), lambda: ours(many, settings))
