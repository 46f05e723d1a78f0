"""Processes that share pixels and features through mapped files."""

import gc
import pickle

import numpy as np
import pytest

from baselines.hog import HogExtractor, HogSettings
from baselines.workers import CHUNK, Exchange


def brightness(features, images, factor):
    """Mean of each image times a factor; a factor of 0 is an error."""
    if not factor:
        raise ValueError("no factor")
    features[:, 0] = images.mean(axis=(1, 2, 3)) * factor


def images(count, side=8):
    return np.random.default_rng(count).integers(0, 256, (count, side, side, 3), np.uint8)


@pytest.mark.parametrize("count", [1, CHUNK, 5 * CHUNK + 3])
def test_every_row_is_computed_in_order(count):
    given = images(count)
    found = Exchange(5 * CHUNK + 3, given.shape[1:], (1,)).run(brightness, 2.0, given, 2)
    np.testing.assert_allclose(found[:, 0], 2 * given.mean(axis=(1, 2, 3)), rtol=1e-6)


def test_exchanges_of_other_shapes_take_turns():
    small, large = images(CHUNK), images(CHUNK, side=16)
    exchanges = [Exchange(CHUNK, part.shape[1:], (1,)) for part in (small, large)]
    for _ in range(2):
        for exchange, part in zip(exchanges, (small, large), strict=True):
            found = exchange.run(brightness, 1.0, part, 2)
            np.testing.assert_allclose(found[:, 0], part.mean(axis=(1, 2, 3)), rtol=1e-6)


def test_an_error_of_a_worker_is_raised_here():
    exchange = Exchange(CHUNK, (8, 8, 3), (1,))
    with pytest.raises(ValueError, match="no factor"):
        exchange.run(brightness, 0, images(CHUNK), 2)


def test_the_files_go_with_their_owner():
    exchange = Exchange(4, (8, 8, 3), (1,))
    folder = exchange.folder
    assert (folder / "images").stat().st_size == 4 * 8 * 8 * 3
    del exchange
    gc.collect()
    assert not folder.exists()


def test_more_images_than_before_and_a_copy_of_the_extractor():
    settings = HogSettings(pixels=32, cells=8)
    two, alone = HogExtractor(settings, workers=2), HogExtractor(settings)
    for count in (CHUNK + 1, two.batch + 40):
        given = images(count, side=32)
        np.testing.assert_array_equal(two.extract(given), alone.extract(given))
    copy = pickle.loads(pickle.dumps(two))
    given = images(2 * CHUNK, side=32)
    kept = copy.extract(given)
    copy.extract(given[::-1].copy())
    np.testing.assert_array_equal(kept, alone.extract(given))  # what was given is not written over
