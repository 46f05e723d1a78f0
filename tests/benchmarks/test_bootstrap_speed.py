"""The acceptance curve and the bootstrap of acceptance, against sorting and looping in NumPy for every resample."""

import numpy as np
import pytest

from shelfbench.verdict.intervals import bootstrap_intervals
from shelfbench.verdict.metrics import acceptance, acceptance_curve
from tests.benchmarks import inputs
from tests.benchmarks.pairs import Row


@pytest.fixture(scope="module")
def resamples(full_size):
    return 2_000 if full_size else 100


@pytest.fixture(scope="module")
def products(full_size):
    return inputs.beta_confidences(2_000_000 if full_size else 50_000)


def ours(confidence, correct, resamples):
    found = bootstrap_intervals(confidence, correct, "0.9", resamples=resamples)
    return np.array([found.acceptance.low, found.acceptance.high])


def theirs(confidence, correct, resamples):
    count = len(confidence)
    rng, reached = np.random.default_rng(1), []
    for _ in range(resamples):
        drawn = rng.integers(0, count, count)
        reached.append(sorted_acceptance(confidence[drawn], correct[drawn]))
    return np.quantile(reached, [0.025, 0.975])


def sorted_acceptance(confidence, correct):
    order = np.argsort(-confidence)
    ordered, right = confidence[order], correct[order]
    precision = np.cumsum(right) / np.arange(1, len(order) + 1)
    ends = np.append(ordered[1:] != ordered[:-1], True)
    feasible = np.flatnonzero(ends & (precision >= 0.9))
    return (feasible[-1] + 1) / len(order) if len(feasible) else 0.0


def test_same_interval(products):
    assert acceptance(*products).acceptance == sorted_acceptance(*products)
    few = [part[:50_000] for part in products]  # the opponent takes ten minutes of the full size
    np.testing.assert_allclose(ours(*few, 100), theirs(*few, 100), rtol=0, atol=0.012)


def test_speed(products, resamples, race):
    row = Row(
        f"bootstrap interval of acceptance, {len(products[0]):,} products, {resamples:,} resamples",
        "sort and loop in NumPy for every resample",
        10,
    )
    race(row, lambda: ours(*products, resamples), lambda: theirs(*products, resamples))


def test_speed_of_the_curve(products, race):
    row = Row(f"acceptance curve, {len(products[0]):,} products", "", goal_seconds=1)
    race(row, lambda: acceptance_curve(*products))
