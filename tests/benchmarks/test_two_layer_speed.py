"""An epoch of a 2NN on a CPU against `model.fit` on NumPy arrays: the same loss curve first, then the times."""

from dataclasses import dataclass
from functools import partial

import numpy as np
import pytest

from shelfbench.base.console import Console
from shelfbench.base.processor import multiplies_bfloat16_faster
from shelfbench.plugins.backend import TrainingData
from shelfbench_deep.engines.keras import keras
from shelfbench_deep.engines.native import device_name
from shelfbench_deep.heads.two_layer import TwoLayer, two_layer
from shelfbench_deep.heads.two_layer_cpu import CPUTraining
from shelfbench_deep.heads.two_layer_openvino import OpenVINOTraining
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


def compiled(size, policy="float32", steps=1):
    """What a user writes: everything as Keras does it by default, or in lower precision and several steps a call."""
    keras.config.set_dtype_policy(policy)
    try:
        model = two_layer(size.dimensions, size.units, size.classes, SETTINGS)
    finally:
        keras.config.set_dtype_policy("float32")
    schedule = keras.optimizers.schedules.InverseTimeDecay(SETTINGS.learning_rate, 1, SETTINGS.decay)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(schedule), loss, metrics=["accuracy"], steps_per_execution=steps)
    return model


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_same_loss_curve(data, size, precision):
    features, labels = data
    ours, theirs = [], []
    for seed in range(size.seeds):
        classifier = TwoLayer(size.units, TwoLayerSettings(epochs=EPOCHS, precision=precision))
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
    model = compiled(size)
    race(
        Row(
            f"2NN, one epoch, {size.images:,} x {size.dimensions:,}, {size.units} units, float32",
            "Keras' model.fit on NumPy arrays",
            2,
        ),
        epochs(model, data, CPUTraining),
        lambda: model.fit(features, labels, batch_size=batch, verbose=0),
    )


# Where the CPU does not multiply bfloat16 faster, OpenVINO imitates it, and nobody asks for it.
@pytest.mark.skipif(not multiplies_bfloat16_faster(), reason="this CPU does not multiply bfloat16 faster")
@pytest.mark.parametrize(
    ("policy", "steps", "opponent", "goal"),
    [
        ("float32", 1, "Keras' model.fit on NumPy arrays, float32", 2),
        ("mixed_bfloat16", 16, "Keras' model.fit on NumPy arrays, mixed_bfloat16, 16 steps a call", 1),
    ],
)
def test_speed_in_bfloat16(data, size, race, policy, steps, opponent, goal):
    (features, labels), batch = data, SETTINGS.batch
    model = compiled(size, policy, steps)
    race(
        Row(f"2NN, one epoch, {size.images:,} x {size.dimensions:,}, {size.units} units, bfloat16", opponent, goal),
        epochs(model, data, partial(OpenVINOTraining, precision="bfloat16")),
        lambda: model.fit(features, labels, batch_size=batch, verbose=0),
    )


def epochs(model, data, kind):
    """Our own training from a model's weights: a function that trains it for an epoch."""
    (features, labels), batch, random = data, SETTINGS.batch, np.random.default_rng(0)
    arrays = {variable.path: np.asarray(variable.numpy()) for variable in model.weights}
    training = kind(arrays, SETTINGS, statistics=0.9, seed=0)

    def epoch():
        order = np.resize(random.permutation(len(labels)), (-(-len(labels) // batch), batch))
        training.epoch(features.__getitem__, labels, order, lambda: None)

    return epoch
