"""HOG against `skimage.feature.hog` in a loop, one core each: equal features first, then the times."""

import numpy as np
import pytest
from pairs import assert_floor
from PIL import Image
from skimage import data
from skimage.feature import hog

from baselines.hog import HogExtractor, HogSettings

SIZES = {cells: HogSettings(cells=cells) for cells in (16, 8)}


@pytest.fixture(scope="module")
def images():
    """Photographs that come with scikit-image, and noise."""
    photos = [data.astronaut(), data.coffee(), data.chelsea(), data.rocket()]
    shown = [np.asarray(Image.fromarray(photo).resize((180, 180))) for photo in photos]
    noise = np.random.default_rng(0).integers(0, 256, (4, 180, 180, 3), np.uint8)
    return np.concatenate([np.stack(shown), noise])


def ours(images, settings):
    return HogExtractor(settings).extract(images)


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
def test_no_slower_than_the_floor(images, cells, pytestconfig):
    settings = SIZES[cells]
    assert_floor(f"hog-{cells}", lambda: ours(images, settings), lambda: theirs(images, settings), pytestconfig)


@pytest.mark.parametrize("method", [ours, theirs])
@pytest.mark.parametrize("cells", SIZES)
def test_seconds(benchmark, images, cells, method):
    benchmark.group = f"HOG of 8 images of 180 pixels, cells of {cells}"
    benchmark.pedantic(method, args=(images, SIZES[cells]), rounds=5, warmup_rounds=1)
