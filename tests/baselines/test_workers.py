"""Processes that share pixels and features through mapped files."""

import gc
import os
import pickle
import time
from concurrent.futures import BrokenExecutor

import numpy as np
import pytest
from joblib import Parallel, delayed

from shelfbench_baselines.hog import HogExtractor, HogSettings
from shelfbench_baselines.workers import CHUNK, Exchange


def brightness(features, images, factor):
    """Compute the mean of each image times a factor; a factor of 0 is an error."""
    if not factor:
        raise ValueError("no factor")
    features[:, 0] = images.mean(axis=(1, 2, 3)) * factor


def images(count, side=8):
    return np.random.default_rng(count).integers(0, 256, (count, side, side, 3), np.uint8)


@pytest.mark.parametrize("workers", [2, 3])
@pytest.mark.parametrize("count", [1, CHUNK, 5 * CHUNK + 3])
def test_every_row_is_computed_in_order(count, workers):
    given = images(count)
    found = Exchange(len(given), workers, given.shape[1:], (1,)).run(brightness, 2.0, given)
    np.testing.assert_allclose(found[:, 0], 2 * given.mean(axis=(1, 2, 3)), rtol=1e-6)


def test_exchanges_of_different_shapes_take_turns():
    small, large = images(CHUNK), images(CHUNK, side=16)
    exchanges = [Exchange(CHUNK, 2, part.shape[1:], (1,)) for part in (small, large)]
    for _ in range(2):
        for exchange, part in zip(exchanges, (small, large), strict=True):
            found = exchange.run(brightness, 1.0, part)
            np.testing.assert_allclose(found[:, 0], part.mean(axis=(1, 2, 3)), rtol=1e-6)


def elsewhere(features, images, owner):
    """Note whether a process other than `owner` works; raise an error there if `owner` is negative."""
    time.sleep(0.02)  # no process finishes before the others have begun
    if owner < 0 and os.getpid() != -owner:
        raise ValueError("not here")
    features[:, 0] = os.getpid() != owner


@pytest.fixture(scope="module")
def begun():
    """Make an exchange whose other process has started."""
    given = images(20 * CHUNK)
    exchange = Exchange(len(given), 2, given.shape[1:], (1,))
    while not exchange.run(elsewhere, os.getpid(), given).any():
        pass
    return exchange, given


def test_this_process_and_its_workers_share_the_work(begun):
    exchange, given = begun
    found = exchange.run(elsewhere, os.getpid(), given)[:, 0]
    assert 5 * CHUNK <= found.sum() <= 15 * CHUNK
    assert not found[: 7 * CHUNK].any()  # the first three eighths belong to this process


def test_this_process_does_what_a_slow_worker_leaves(begun):
    exchange, given = begun
    found = exchange.run(slow_elsewhere, os.getpid(), given)[:, 0]
    assert 0 < found.sum() <= 5 * CHUNK


def slow_elsewhere(features, images, owner):
    time.sleep(0.1 if os.getpid() != owner else 0)
    features[:, 0] = os.getpid() != owner


def test_a_worker_error_is_raised_here_and_the_exchange_still_works(begun):
    exchange, given = begun
    with pytest.raises(ValueError, match="not here"):
        exchange.run(elsewhere, -os.getpid(), given)
    found = exchange.run(brightness, 1.0, given)
    np.testing.assert_allclose(found[:, 0], given.mean(axis=(1, 2, 3)), rtol=1e-6)


def end_elsewhere(features, images, owner):
    time.sleep(0.02)
    if os.getpid() != owner:
        os._exit(1)


def test_a_killed_worker_is_an_error_and_the_next_call_starts_another(begun):
    exchange, given = begun
    with pytest.raises(BrokenExecutor):
        exchange.run(end_elsewhere, os.getpid(), given)
    found = exchange.run(brightness, 1.0, given)
    np.testing.assert_allclose(found[:, 0], given.mean(axis=(1, 2, 3)), rtol=1e-6)


def test_joblib_still_works_beside_it(begun):
    exchange, given = begun
    for _ in range(2):
        exchange.run(brightness, 1.0, given)
        assert Parallel(n_jobs=2)(delayed(abs)(number) for number in (-1, -2, -3)) == [1, 2, 3]


def test_an_error_in_this_process_is_raised():
    with pytest.raises(ValueError, match="no factor"):
        Exchange(10 * CHUNK, 2, (8, 8, 3), (1,)).run(brightness, 0, images(10 * CHUNK))


def test_the_files_are_removed_with_their_owner():
    exchange = Exchange(6, 3, (8, 8, 3), (1,))
    folder = exchange.folder
    assert (folder / "images").stat().st_size == 2 * 3 * 8 * 8 * 3  # for the two other processes
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
    np.testing.assert_array_equal(kept, alone.extract(given))  # earlier results are not overwritten
