"""An epoch of a 2NN on a CPU against `model.fit` on NumPy arrays: the same loss curve first, then the times."""

from dataclasses import dataclass

import numpy as np
import pytest

from shelfbench.base.console import Console
from shelfbench.plugins.backend import TrainingData
from shelfbench_deep.engines.keras import keras
from shelfbench_deep.engines.native import device_name
from shelfbench_deep.heads.two_layer import TwoLayer, two_layer
from shelfbench_deep.heads.two_layer_cpu import CPUTraining
from shelfbench_deep.heads.two_layer_settings import TwoLayerSettings
from tests.benchmarks import inputs
from tests.benchmarks.pairs import Row

pytestmark = pytest.mark.skipif(device_name() != "cpu", reason="on an accelerator Keras takes the steps")

SETTINGS = TwoLayerSettings()
EPOCHS = 3


@dataclass(frozen=True, kw_only=True)
class Size:
    images: int
    dimensions: int
    classes: int
    units: int
    seeds: int


@pytest.fixture(scope="module")
def size(full_size):
    if full_size:
        return Size(images=35_000, dimensions=1280, classes=90, units=4096, seeds=2)
    return Size(images=3_000, dimensions=320, classes=20, units=512, seeds=2)


@pytest.fixture(scope="module")
def data(size):
    return inputs.overlapping(size.images, size.dimensions, size.classes)


def compiled(size):
    """What a user writes: everything as Keras does it by default."""
    model = two_layer(size.dimensions, size.units, size.classes, SETTINGS)
    schedule = keras.optimizers.schedules.InverseTimeDecay(SETTINGS.learning_rate, 1, SETTINGS.decay)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(schedule), loss, metrics=["accuracy"])
    return model


def test_same_loss_curve(data, size):
    features, labels = data
    ours, theirs = [], []
    for seed in range(size.seeds):
        classifier = TwoLayer(size.units, TwoLayerSettings(epochs=EPOCHS, engine="numpy"))
        none = TrainingData(
            features=features, labels=labels, classes=size.classes, tune_features=features[:0], tune_labels=labels[:0]
        )
        classifier.fit(none, seed=seed, console=Console(quiet=True))
        ours.append(classifier.history["loss"])
        keras.utils.set_random_seed(seed)
        fitted = compiled(size).fit(features, labels, batch_size=SETTINGS.batch, epochs=EPOCHS, verbose=0)
        theirs.append(fitted.history["loss"])
    ours, theirs = np.array(ours), np.array(theirs)
    noise = np.sqrt((ours.var(axis=0, ddof=1) + theirs.var(axis=0, ddof=1)) / size.seeds)
    np.testing.assert_array_less(
        np.abs(ours.mean(axis=0) - theirs.mean(axis=0)), 4 * noise + 0.02 * theirs.mean(axis=0)
    )
    assert ours[:, -1].mean() < 0.9 * ours[:, 0].mean()


def test_speed(data, size, race):
    (features, labels), batch = data, SETTINGS.batch
    model, random = compiled(size), np.random.default_rng(0)
    arrays = {variable.path: np.asarray(variable.numpy()) for variable in model.weights}
    training = CPUTraining(arrays, SETTINGS, statistics=0.9, seed=0)

    def ours():
        order = np.resize(random.permutation(len(labels)), (-(-len(labels) // batch), batch))
        training.epoch(features.__getitem__, labels, order, lambda: None)

    race(
        Row(
            f"2NN, one epoch, {size.images:,} x {size.dimensions:,}, {size.units} units, float32",
            "Keras' model.fit on NumPy arrays",
            2,
        ),
        ours,
        lambda: model.fit(features, labels, batch_size=batch, verbose=0),
    )
