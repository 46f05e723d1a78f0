"""Trials of classifiers: how they grow, that they stay within their limit, and what they say of all images."""

from types import SimpleNamespace

import numpy as np
import pytest

from shelfbench.cost import fitting
from shelfbench.cost.fitting import LIMIT, tried_fitting
from shelfbench.cost.planning import _shortened
from shelfbench.cost.sizes import Sizes
from shelfbench.study.read import read_study

SIZES = Sizes(images=50_000, train=40_000, tune=2500, held_out=10_000, classes=1000)


class Clock:
    """Stands still unless a classifier is fitted."""

    now = 0.0

    def __enter__(self):
        self.began = self.now
        return self

    def __exit__(self, *_):
        self.seconds = self.wall = Clock.now - self.began


class Taking:
    """A classifier whose fit takes as long as a function of its images and categories says."""

    history = None

    def __init__(self, cost, fits):
        self.cost, self.fits = cost, fits

    def fit(self, data, *, seed, console):
        self.classes = data.classes
        self.fits.append((len(data.labels), data.classes))
        Clock.now += self.cost(*self.fits[-1])

    def log_probabilities(self, features):
        return np.full((len(features), self.classes), -np.log(self.classes))

    def save(self, folder):
        (folder / "classifier.json").write_text("{}")


@pytest.fixture
def tried(monkeypatch):
    """Try a classifier of a cost; returns what is found, its fits and what was said."""
    monkeypatch.setattr(fitting, "Undisturbed", Clock)
    monkeypatch.setattr(Clock, "now", 0.0)
    for name in ("choosing", "predicting"):
        monkeypatch.setattr(fitting, name, lambda *_: 0.0)

    def trial(cost, sizes=SIZES):
        fits, said = [], []
        backend = SimpleNamespace(features=SimpleNamespace(dimensions=16), classifier=lambda: Taking(cost, fits))
        return tried_fitting(backend, sizes, read_study("default"), said.append), fits, said

    return trial


def test_a_quick_classifier_is_tried_on_all_categories_until_that_takes_long_enough(tried):
    found, fits, said = tried(lambda images, classes: 0.1 + 0.0005 * images)
    assert fits == [fitting._PROBES[0], *fitting._PROBES, (512, 1000), (2048, 1000)]
    assert found.seconds(SIZES) == pytest.approx(0.1 + 0.0005 * 40_000)
    assert (found.shortened, said) == ("", [])


@pytest.mark.parametrize(
    ("cost", "told"),
    [
        (lambda images, classes: 0.02 * classes + 0.0002 * images * classes, True),  # trees for each category
        (lambda images, classes: 0.01 * images, True),
        (lambda images, classes: 3.0 + 1e-4 * images, True),
        (lambda images, classes: 1e-7 * images**3, False),  # more than a line through two fits can tell
    ],
)
def test_no_trial_takes_longer_than_its_limit(tried, cost, told):
    found, fits, _ = tried(cost)
    assert Clock.now <= LIMIT + cost(*fits[0]), fits
    if told:
        assert found.seconds(SIZES) == pytest.approx(cost(SIZES.train, SIZES.classes), rel=0.2), fits


def test_a_trial_that_was_cut_short_says_what_it_rests_on(tried):
    found, fits, said = tried(lambda images, classes: 0.02 * classes + 0.0002 * images * classes)
    images, classes = fits[-1]
    assert found.shortened == f"{images:,} images in {classes:,} categories"
    assert said
    [line] = _shortened([SimpleNamespace(job=SimpleNamespace(name="mine"), trial=SimpleNamespace(fitting=found))])
    assert line.startswith("mine: its trial was cut short")
    assert found.shortened in line


def test_where_the_first_fit_takes_all_the_time_it_is_the_only_one_and_tells_nothing(tried):
    found, fits, _ = tried(lambda images, classes: 70.0)
    assert fits == [(32, 4)]
    assert found.shortened == "32 images in 4 categories"
    assert np.isnan(found.seconds(SIZES))
    [line] = _shortened([SimpleNamespace(job=SimpleNamespace(name="mine"), trial=SimpleNamespace(fitting=found))])
    assert line.startswith("mine: what its fit takes is not known, because one of 32 images in 4 categories took")
    small = Sizes(images=200, train=160, tune=10, held_out=40, classes=4)
    assert tried(lambda images, classes: 40.0, small)[0].seconds(small) == pytest.approx(40.0 * 160 / 32)


def test_a_fit_that_starts_slowly_is_not_given_up_and_few_images_tell_nothing_of_many(tried):
    found, fits, _ = tried(lambda images, classes: 8.0 + 1e-3 * images)
    assert fits[:3] == [(32, 4), (32, 4), (64, 4)]
    assert Clock.now <= LIMIT + 8.1, "the first one may have started a library"
    assert np.isnan(found.seconds(SIZES))


def test_a_small_catalogue_is_fitted_once_all_of_it_is(tried):
    small = Sizes(images=50, train=40, tune=3, held_out=10, classes=3)
    found, fits, _ = tried(lambda images, classes: 0.5, small)
    assert fits == [(32, 3), (40, 3)]
    assert found.seconds(small) == pytest.approx(0.5)
