"""Replicates of one backend, drawn block by block: the same distribution as when every product is drawn."""

import itertools

import numpy as np
import pytest
from scipy import stats

from shelfbench.base.errors import InputError
from shelfbench.verdict import resampling
from shelfbench.verdict.metrics import acceptance
from shelfbench.verdict.resampling import replicates, replicates_alone

SMALL = {
    "mixed": ([-0.1, -0.2, -0.3, -0.4, -0.5], [1, 1, 0, 1, 0]),
    "ties": ([-0.1, -0.2, -0.2, -0.2, -0.5], [1, 0, 1, 1, 1]),
    "rejected": ([-0.1, -0.2, -0.3, -np.inf, -np.inf], [1, 0, 1, 0, 1]),
    "the most confident one is wrong": ([-0.1, -0.2, -0.3, -0.4, -0.5], [0, 1, 1, 1, 1]),
    "one alone": ([-0.1], [1]),
}


@pytest.mark.parametrize("target", ["0.6", "0.75", "1"])
@pytest.mark.parametrize("case", SMALL)
def test_every_outcome_is_as_likely_as_counted(case, target):
    confidence, correct = np.array(SMALL[case][0]), np.array(SMALL[case][1], bool)
    rows, right = len(confidence), correct & (confidence > -np.inf)
    expected = {}
    for drawn in itertools.product(range(rows), repeat=rows):
        drawn = list(drawn)
        reached = acceptance(confidence[drawn], right[drawn], target)
        outcome = round(right[drawn].mean() * rows), round(reached.acceptance * rows)
        expected[outcome] = expected.get(outcome, 0) + 1 / rows**rows
    found = replicates_alone(confidence, correct, target, resamples=20_000, seed=1)
    outcomes = np.rint(np.stack([found.precision[0], found.acceptance[0]], axis=1) * rows).astype(int)
    seen, counts = np.unique(outcomes, axis=0, return_counts=True)
    counted = dict(zip(map(tuple, seen.tolist()), counts.tolist(), strict=True))
    assert set(counted) <= set(expected)
    common = [outcome for outcome, chance in expected.items() if chance > 0.001]
    observed = [counted.get(outcome, 0) for outcome in common]
    rare = 20_000 - sum(observed)
    chances = [expected[outcome] for outcome in common]
    if rare or sum(chances) < 1 - 1e-9:
        observed, chances = [*observed, rare], [*chances, 1 - sum(chances)]
    if len(observed) > 1:
        assert stats.chisquare(observed, 20_000 * np.array(chances) / sum(chances)).pvalue > 1e-4


@pytest.mark.parametrize("ties", [False, True])
def test_many_blocks_give_what_drawing_every_product_gives(ties):
    rng = np.random.default_rng(2)
    chance = rng.beta(5, 1, 3000)
    correct = rng.random(3000) < chance
    confidence = np.log(np.round(chance, 2) if ties else chance)
    confidence[::50] = -np.inf
    alone = replicates_alone(confidence, correct, "0.9", resamples=4000, seed=3)
    plain = replicates(confidence[None], correct[None], "0.9", resamples=4000, seed=4)
    for name in ("precision", "acceptance"):
        drawn, reference = getattr(alone, name)[0], getattr(plain, name)[0]
        assert stats.ks_2samp(drawn, reference).pvalue > 1e-3
        assert drawn.std() == pytest.approx(reference.std(), rel=0.06)


def test_parts_of_the_resamples_and_order_of_blocks_do_not_matter(monkeypatch):
    rng = np.random.default_rng(5)
    confidence, correct = np.log(rng.random(500)), rng.random(500) < 0.95
    whole = replicates_alone(confidence, correct, resamples=50, seed=6)
    again = replicates_alone(confidence, correct, resamples=50, seed=6)
    np.testing.assert_array_equal(whole.acceptance, again.acceptance)
    monkeypatch.setattr(resampling, "_HELD", 1)  # one resample at a time
    cut = replicates_alone(confidence, correct, resamples=400, seed=6)
    assert cut.acceptance.mean() == pytest.approx(whole.acceptance.mean(), abs=4 * whole.acceptance.std() / 50**0.5)


def test_all_right_or_all_wrong_leave_no_choice():
    confidence = np.log(np.linspace(0.1, 1, 300))
    for correct, share in ((True, 1.0), (False, 0.0)):
        found = replicates_alone(confidence, np.full(300, correct), resamples=20)
        assert (found.precision == share).all()
        assert (found.acceptance == share).all()


def test_bad_rows_are_refused():
    for confidence, correct in (([], []), ([0.0, np.nan], [True, True]), ([0.0], [True, False]), ([[0.0]], [[True]])):
        with pytest.raises(InputError):
            replicates_alone(np.array(confidence), np.array(correct, bool))
