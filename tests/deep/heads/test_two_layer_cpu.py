import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from shelfbench.base.console import Console
from shelfbench.plugins.backend import TrainingData
from shelfbench_deep.heads.two_layer import TwoLayer
from shelfbench_deep.heads.two_layer_cpu import CPUTraining, Weights
from shelfbench_deep.heads.two_layer_settings import TwoLayerSettings


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(7, 20))
    labels = rng.integers(0, 7, 500)
    features = np.maximum(centres[labels] + 1.5 * rng.normal(size=(500, 20)), 0).astype(np.float32)
    return TrainingData(
        features=features[:400], labels=labels[:400], classes=7, tune_features=features[400:], tune_labels=labels[400:]
    )


def fitted(data, units=256, seed=0, **changed):
    classifier = TwoLayer(units, TwoLayerSettings(**{"epochs": 3, "batch": 64, **changed}))
    classifier.fit(data, seed=seed, console=Console(quiet=True))
    return classifier


def weights_of(classifier):
    return {variable.path: variable.numpy() for variable in classifier.network().weights}


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"decay": 0.1, "standardise": True, "units": 200},
        {"momentum": 0.9, "learning_rate": 0.02},
        {"batch_norm": "none", "momentum": 0.5},
        {"batch_norm": "one"},
        {"batch_norm": "several", "batch_norm_at": "logits"},
        {"batch_norm": "one", "batch_norm_at": "logits", "units": 2},
    ],
)
def test_the_steps_of_keras(data, changed):
    """Without dropout, which each draws for itself, weights and history are the same but for rounding."""
    ours, theirs = (fitted(data, dropout=0.0, engine=engine, **changed) for engine in ("numpy", "keras"))
    assert (ours.chosen["engine"], theirs.chosen["engine"]) == ("numpy", "keras")
    mine, expected = weights_of(ours), weights_of(theirs)
    assert mine.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_allclose(mine[name], array, rtol=2e-3, atol=2e-4, err_msg=name)
    columns = ["loss", "accuracy", "val_loss", "val_accuracy", "lr"]
    np.testing.assert_allclose(ours.history[columns], theirs.history[columns], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("dropout", [0.5, pytest.param(0.2, marks=pytest.mark.slow)])
def test_the_loss_curve_of_keras_with_dropout(data, dropout):
    curves = {
        engine: [fitted(data, dropout=dropout, engine=engine, seed=seed).history["loss"] for seed in range(4)]
        for engine in ("numpy", "keras")
    }
    ours, theirs = (np.array(curves[engine]) for engine in ("numpy", "keras"))
    # the same seed gives both the same start and order, so that dropout alone differs
    noise = (ours - theirs).std(axis=0, ddof=1) / 2
    assert (np.abs((ours - theirs).mean(axis=0)) < 6 * noise).all()
    without = fitted(data, dropout=0.0, engine="numpy").history["loss"].iloc[-1]
    assert ours[:, -1].min() > without + 2 * noise[-1]


def test_threads_matter_by_rounding_alone(data):
    found = []
    for threads in (1, 3):
        with threadpool_limits(threads):
            found.append(weights_of(fitted(data, units=512, dropout=0.0, engine="numpy")))
    for name, array in found[0].items():
        np.testing.assert_allclose(found[1][name], array, rtol=1e-3, atol=1e-4, err_msg=name)


def test_the_same_again_with_several_threads(data):
    with threadpool_limits(3):
        first, again = (weights_of(fitted(data, units=512, engine="numpy")) for _ in range(2))
    for name, array in first.items():
        np.testing.assert_array_equal(again[name], array)


def test_a_gradient_is_added_in_tiles_of_the_cache():
    rng = np.random.default_rng(0)
    start = rng.normal(size=(3000, 400)).astype(np.float32)
    inputs = rng.normal(size=(5, 2000)).astype(np.float32)
    steps = rng.normal(size=(5, 300)).astype(np.float32)
    weights = Weights({"kernel": start}, momentum=0.0)
    weights.add_product("kernel", (slice(1000, 3000), slice(100, 400)), inputs, steps)
    expected = start.copy()
    expected[1000:, 100:] += inputs.T @ steps
    np.testing.assert_allclose(weights.arrays["kernel"], expected, rtol=1e-5, atol=1e-5)


def test_what_goes_wrong_in_a_thread_ends_the_epoch(data):
    training = CPUTraining(weights_of(fitted(data, engine="numpy")), TwoLayerSettings(), statistics=0.9, seed=0)

    def take(rows):
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        training.epoch(take, data.labels, np.arange(400).reshape(4, 100), lambda: None)
