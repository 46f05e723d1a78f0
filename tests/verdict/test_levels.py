"""Sums over the categories of a department: against a plain computation, and what few products can drive."""

import numpy as np
import pytest

from shelfbench.verdict import levels
from shelfbench.verdict.levels import Level, Photos, fit_level, group_answers
from shelfbench.verdict.predictions import image_scores


def scores_of(rng, photos, classes, spread=2.0):
    values = rng.normal(0, spread, (photos, classes))
    return values - np.logaddexp.reduce(values, axis=1)[:, None]


def summed(values, groups, temperature):
    """Group probabilities, class by class; the categories beyond the 100 best share what is left."""
    kept = np.argsort(-values, axis=1, kind="stable")[:, :100]
    filled = values.copy()
    if values.shape[1] > 100:
        for row, best in enumerate(kept):
            others = np.setdiff1d(np.arange(values.shape[1]), best)
            filled[row, others] = np.logaddexp.reduce(values[row, others]) - np.log(len(others))
    power = np.exp(filled / temperature)
    power /= power.sum(axis=1, keepdims=True)
    sums = np.zeros((len(values), groups.max() + 1))
    for row, best in enumerate(kept):
        for category in best:
            if groups[category] >= 0:
                sums[row, groups[category]] += power[row, category]
    return sums


@pytest.mark.parametrize("classes", [7, 130])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_a_department_has_the_summed_probability_of_its_categories(classes, temperature, monkeypatch):
    monkeypatch.setattr(
        levels, "row_blocks", lambda shape: (slice(at, min(at + 3, shape[0])) for at in range(0, shape[0], 3))
    )
    rng = np.random.default_rng(0)
    owner = np.array([0, 0, 1, 3, 3, 3, 3, 3, 4, 6])  # products 2 and 5 have no photo
    values = scores_of(rng, len(owner), classes)
    groups = rng.integers(-1, 3, classes)
    groups[:3] = [0, 1, 2]
    group, confidence = group_answers(Photos(image_scores(values), owner), Level(groups, 3), temperature, 7)
    sums = summed(values, groups, temperature)
    for product in range(7):
        if product in (2, 5):
            assert (group[product], confidence[product]) == (-1, -np.inf)
            continue
        mean = sums[owner == product].mean(axis=0)
        assert group[product] == mean.argmax()
        assert np.exp(confidence[product]) == pytest.approx(mean.max(), rel=1e-5)


def test_the_temperature_is_found_from_departments_alone():
    rng = np.random.default_rng(1)
    values, groups = scores_of(rng, 4000, 12, 3.0), np.arange(12) % 4
    chance = np.exp(values / 2.5)
    chance /= chance.sum(axis=1, keepdims=True)
    truth = groups[(chance.cumsum(axis=1) > rng.random((4000, 1))).argmax(axis=1)]
    photos = Photos(image_scores(values), np.arange(4000))
    assert fit_level(photos, Level(groups, 4), truth) == pytest.approx(2.5, rel=0.12)


def test_a_few_right_products_do_not_make_every_department_certain():
    rng = np.random.default_rng(2)
    values, groups = scores_of(rng, 30, 6, 1.0), np.arange(6) % 3
    photos = Photos(image_scores(values), np.arange(30))
    group, _ = group_answers(photos, Level(groups, 3), 1.0, 30)
    found = fit_level(photos, Level(groups, 3), group)  # every one of them is right
    assert 0.1 < found < 1
    _, confidence = group_answers(photos, Level(groups, 3), found, 30)
    assert np.exp(confidence).min() < 0.999


def test_nothing_to_learn_from_leaves_the_temperature_at_one():
    photos = Photos(image_scores(scores_of(np.random.default_rng(0), 3, 4)), np.arange(3))
    level = Level(np.array([0, 0, 1, 1]), 2)
    assert fit_level(photos, level, np.full(3, -1)) == 1.0
    assert fit_level(photos, Level(np.zeros(4, np.int64), 1), np.zeros(3, np.int64)) == 1.0
