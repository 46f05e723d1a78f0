"""The linear SVM's categories in blocks: the weights of one process, whoever solves which block."""

import numpy as np
import pytest

from shelfbench.base.console import Console
from shelfbench.data.shards import spreading
from shelfbench.plugins.backend import TrainingData
from shelfbench.spread.dask_spread import spread_over
from shelfbench_baselines.linear_svm import LinearSVM, SVMSettings
from tests.helpers.dask_processes import Processes

QUIET = Console(quiet=True)


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    centre = rng.normal(size=(40, 24))
    labels = rng.integers(0, 40, 900)
    features = (centre[labels] + rng.normal(size=(900, 24))).astype(np.float32)
    return TrainingData(
        features=features[:700],
        labels=labels[:700],
        classes=41,
        tune_features=features[700:],
        tune_labels=labels[700:],
    )


class Here:
    """Does pieces in an order of its own, and leaves some undone."""

    def __init__(self, seed, leave=0):
        self.seed, self.leave, self.did = seed, leave, []

    def share(self, pieces, folder):
        order = np.random.default_rng(self.seed).permutation(pieces.count)
        for number in order[self.leave :].tolist():
            pieces.compute(number)
            assert pieces.done(number)
            self.did.append(number)


def fitted(data, spread=None):
    svm = LinearSVM(SVMSettings(C=[1e-3, 1e-2], tol=1e-6))
    if spread is None:
        svm.fit(data, seed=0, console=QUIET)
    else:
        with spreading(spread):
            svm.fit(data, seed=0, console=QUIET)
    return svm


def test_blocks_solved_elsewhere_are_those_of_one_process(data, fresh_cache, monkeypatch):
    alone = fitted(data)
    idle = Here(0)
    assert np.array_equal(fitted(data, idle).coef, alone.coef)
    assert not idle.did  # too little work to hand out
    monkeypatch.setattr("shelfbench_baselines.spread.WORTH", 0)
    first, second = Here(1), Here(2, leave=5)
    one, other = fitted(data, first), fitted(data, second)
    assert len(first.did) == 14
    assert len(second.did) == 9
    assert np.array_equal(one.coef, other.coef)
    assert np.array_equal(one.intercept, other.intercept)
    assert np.allclose(one.coef, alone.coef, atol=2e-5)
    assert one.chosen["C"] == alone.chosen["C"]
    assert one.chosen["tune_precision"] == alone.chosen["tune_precision"]
    monkeypatch.setattr("shelfbench_baselines.spread._HELD", 0)
    streamed = fitted(data, Here(3))
    assert np.allclose(streamed.coef, alone.coef, atol=1e-3)
    assert streamed.chosen["tune_precision"] == alone.chosen["tune_precision"]
    assert not list((fresh_cache / "spread").iterdir())


@pytest.mark.slow
def test_workers_give_the_same_weights_however_many_they_are(data, fresh_cache, tmp_path, monkeypatch):
    monkeypatch.setattr("shelfbench_baselines.spread.WORTH", 0)
    here = fitted(data, Here(0))
    with Processes(tmp_path / "dask") as processes:
        for _ in range(2):
            processes.start_worker()
            processes.wait()
            with spread_over(processes.address, QUIET):
                found = fitted(data)
            assert np.array_equal(found.coef, here.coef)
            assert np.array_equal(found.intercept, here.intercept)
