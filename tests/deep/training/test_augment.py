"""Augmentation: deterministic for each image, and only what was asked for."""

from __future__ import annotations

import numpy as np
import pytest

from shelfbench.base.errors import InputError
from shelfbench_deep.training.augment import AugmentSettings, augment

PIXELS = 24
ALL = AugmentSettings(flip=True, crop=0.3, colour=0.4)


@pytest.fixture(scope="module")
def images():
    """Smooth pictures without symmetry, in which every pixel differs from its neighbour."""
    y, x = np.mgrid[:PIXELS, :PIXELS]
    ramps = np.stack([8 * x + y, 3 * x + 6 * y, 200 - 5 * x - 2 * y], axis=-1)
    return (ramps + np.arange(200)[:, None, None, None] % 40).clip(0, 255).astype(np.uint8)


KEYS = np.arange(200) * 7919 + 3


def test_all_off_is_the_identity(images):
    before = images.tobytes()
    assert augment(images, KEYS, 3, 1, AugmentSettings()).tobytes() == before
    assert not AugmentSettings().active


@pytest.mark.parametrize("settings", [ALL, AugmentSettings(flip=True), AugmentSettings(crop=0.5)])
def test_an_image_does_not_depend_on_its_batch(images, settings):
    before = images.tobytes()
    whole = augment(images, KEYS, 2, 5, settings)
    order = np.random.default_rng(0).permutation(len(images))
    for batch in (1, 7, 64):
        again = np.empty_like(whole)
        for start in range(0, len(order), batch):
            rows = order[start : start + batch]
            again[rows] = augment(images[rows], KEYS[rows], 2, 5, settings)
        assert np.array_equal(again, whole)
    assert images.tobytes() == before
    assert whole.shape == images.shape
    assert whole.dtype == np.uint8


def test_epoch_seed_and_key_each_decide(images):
    same = np.repeat(images[:1], len(images), axis=0)

    def mirrored(keys, epoch, seed):
        changed = augment(same, keys, epoch, seed, AugmentSettings(flip=True))
        return (changed != same).any(axis=(1, 2, 3))

    base = mirrored(KEYS, 1, 0)
    assert 60 < base.sum() < 140
    for other in (mirrored(KEYS, 2, 0), mirrored(KEYS, 1, 1), mirrored(KEYS + 1, 1, 0), mirrored(KEYS, 0, 1)):
        assert 60 < (base != other).sum() < 140


def test_flips_are_exact_mirror_images_of_half(images):
    changed = augment(images, KEYS, 1, 0, AugmentSettings(flip=True))
    kept = (changed == images).all(axis=(1, 2, 3))
    mirrored = (changed == images[:, :, ::-1]).all(axis=(1, 2, 3))
    assert (kept ^ mirrored).all()
    assert 70 < mirrored.sum() < 130


def test_one_option_leaves_the_draws_of_the_others(images):
    flips = augment(images, KEYS, 1, 0, AugmentSettings(flip=True))
    coloured = AugmentSettings(colour=0.3)
    both = augment(images, KEYS, 1, 0, AugmentSettings(flip=True, colour=0.3))
    # the mean grey is summed in another order
    difference = both.astype(int) - augment(flips, KEYS, 1, 0, coloured)
    assert abs(difference).max() <= 1


def test_a_crop_is_a_window_of_at_least_the_share(images):
    """On a picture of coordinates the result shows which window it is: its side, its place, its bounds."""
    pixels = 100
    ramp = np.broadcast_to(np.arange(pixels, dtype=np.uint8) * 2, (pixels, pixels))
    picture = np.stack([ramp, ramp.T, ramp], axis=-1)
    keys = np.arange(300)
    crops = augment(np.repeat(picture[None], len(keys), axis=0), keys, 1, 0, AugmentSettings(crop=0.4))
    columns = crops[:, 50, :, 0].astype(float) / 2
    rows = crops[:, :, 50, 1].astype(float) / 2
    for places in (columns, rows):
        # slope of coordinates in the middle, where the border's pixels have no part
        share = (places[:, 90] - places[:, 10]) / 80
        assert share.min() > 0.58
        assert share.max() < 1.01
        assert share.std() > 0.08
        assert np.ptp(places[:, 0]) > 20  # not always the same corner
    assert np.allclose(columns[:, 90] - columns[:, 10], rows[:, 90] - rows[:, 10], atol=1.01)  # squares
    changed = augment(images, KEYS, 1, 0, AugmentSettings(crop=0.3))
    assert (changed != images).any(axis=(1, 2, 3)).mean() > 0.9


def test_colour_is_brightness_contrast_and_saturation(images):
    """Against the three steps one after the other in float64, with factors found again from the result."""
    rng = np.random.default_rng(0)
    inner = rng.integers(110, 140, (50, PIXELS, PIXELS, 3)).astype(np.uint8)  # nothing clipped
    changed = augment(inner, np.arange(50), 1, 0, AugmentSettings(colour=0.3)).astype(float)
    luma = np.array([0.299, 0.587, 0.114])
    for before, after in zip(inner.astype(float), changed, strict=True):
        grey = before @ luma
        basis = np.stack([before, np.repeat(grey[..., None], 3, axis=-1), np.ones_like(before)], axis=-1).reshape(-1, 3)
        (colours, greys, offset), *_ = np.linalg.lstsq(basis, after.reshape(-1), rcond=None)
        gain = colours + greys  # brightness x contrast
        brightness = gain + offset / grey.mean()
        contrast, saturation = gain / brightness, colours / gain
        for factor in (brightness, contrast, saturation):
            assert 0.67 < factor < 1.33  # found again within .03
        step = before * brightness
        step = contrast * step + (1 - contrast) * (step @ luma).mean()
        step = saturation * step + (1 - saturation) * (step @ luma)[..., None]
        assert abs(step - after).max() < 0.7  # half for rounding, the rest for the factors
    assert changed.mean(axis=(1, 2, 3)).std() > 5


def test_colour_never_wraps_around():
    pure = np.zeros((100, 4, 4, 3), np.uint8)
    pure[:, :2] = 255
    changed = augment(pure, np.arange(100), 1, 0, AugmentSettings(colour=1.0)).astype(int)
    assert (changed[:, :2] >= changed[:, 2:]).all()
    assert np.ptp(changed, axis=-1).max() == 0  # grey stays grey


def test_no_images():
    none = np.zeros((0, 8, 8, 3), np.uint8)
    assert augment(none, np.zeros(0, np.int64), 1, 0, ALL).shape == (0, 8, 8, 3)


@pytest.mark.parametrize(
    "values",
    [
        {"flip": 1},
        {"flip": "yes"},
        {"crop": -0.1},
        {"crop": 0.51},
        {"crop": float("nan")},
        {"crop": True},
        {"colour": 1.5},
        {"colour": "strong"},
    ],
)
def test_bad_values_are_refused_by_name(values):
    with pytest.raises(InputError, match=f"augment.{next(iter(values))}"):
        AugmentSettings(**values)
