"""The bootstrap of acceptance against sorting and looping in NumPy for every resample, at a reduced size."""

import numpy as np
import pytest
from pairs import Row

from bench.verdict.intervals import bootstrap_intervals

PRODUCTS, RESAMPLES = 50_000, 100


@pytest.fixture(scope="module")
def products():
    rng = np.random.default_rng(0)
    confidence = rng.beta(2.5, 1, PRODUCTS)
    return np.log(confidence), rng.random(PRODUCTS) < confidence


def ours(confidence, correct):
    found = bootstrap_intervals(confidence, correct, "0.9", resamples=RESAMPLES)
    return np.array([found.acceptance.low, found.acceptance.high])


def theirs(confidence, correct):
    rng, reached = np.random.default_rng(1), []
    for _ in range(RESAMPLES):
        drawn = rng.integers(0, PRODUCTS, PRODUCTS)
        order = np.argsort(-confidence[drawn])
        ordered, right = confidence[drawn][order], correct[drawn][order]
        precision = np.cumsum(right) / np.arange(1, PRODUCTS + 1)
        ends = np.append(ordered[1:] != ordered[:-1], True)
        feasible = np.flatnonzero(ends & (precision >= 0.9))
        reached.append((feasible[-1] + 1) / PRODUCTS if len(feasible) else 0.0)
    return np.quantile(reached, [0.025, 0.975])


def test_same_interval(products):
    np.testing.assert_allclose(ours(*products), theirs(*products), rtol=0, atol=0.012)


def test_speed(products, race):
    row = Row("bootstrap, 50,000 products, 100 resamples", "sort and loop in NumPy", "bootstrap", 10)
    race(row, lambda: ours(*products), lambda: theirs(*products))
