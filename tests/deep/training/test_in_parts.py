"""An update in parts is the update of the whole batch: weights, momentum, schedule and averages."""

import dataclasses

import numpy as np
import pytest

from shelfbench_deep.engines.keras import keras
from shelfbench_deep.training.parallel import train_step
from shelfbench_deep.training.recipes import RECIPES, averaged, loss, set_weight_decay

UPDATES, BATCH, WIDE = 5, 12, 6
RECIPE = dataclasses.replace(RECIPES["x-imagenet"], ema=0.7, decay_every=2, decay_unit="updates", decay_rate=0.5)


def _model(recipe, parts):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((WIDE,)), keras.layers.Dense(3)])
    set_weight_decay(model, 1e-2)
    accuracy = keras.metrics.SparseCategoricalAccuracy(name="accuracy")
    model.compile(recipe.build(BATCH, 10, parts), loss(), metrics=[accuracy], jit_compile=False)
    return model


def _course(recipe, parts):
    """Costs, weights, averages and learning rates of some updates."""
    rng = np.random.default_rng(0)
    model, found = _model(recipe, parts), []
    for update in range(UPDATES):
        images, labels = rng.normal(size=(BATCH, WIDE)).astype(np.float32), rng.integers(0, 3, BATCH)
        weights = rng.uniform(0.5, 1.5, BATCH).astype(np.float32) if update % 2 else None
        logs = train_step(model, images, labels, weights, parts)
        with averaged(model):
            average = np.concatenate([value.ravel() for value in model.get_weights()])
        weight = np.concatenate([value.ravel() for value in model.get_weights()])
        rate = float(keras.ops.convert_to_numpy(model.optimizer.learning_rate))
        found.append((logs["loss"], logs["accuracy"], rate, weight, average))
    return found, int(keras.ops.convert_to_numpy(model.optimizer.iterations))


@pytest.mark.parametrize("recipe", ["momentum", pytest.param("rmsprop", marks=pytest.mark.slow)])
def test_an_update_in_parts_is_that_of_the_whole_batch(recipe):
    recipe = RECIPE if recipe == "momentum" else dataclasses.replace(RECIPE, optimizer="rmsprop", learning_rate=0.01)
    whole, updates = _course(recipe, 1)
    parts, again = _course(recipe, 3)
    assert updates == again == UPDATES
    for one, other in zip(whole, parts, strict=True):
        for expected, value in zip(one, other, strict=True):
            np.testing.assert_allclose(value, expected, rtol=1e-4, atol=1e-6)
    rates = [rate for _, _, rate, _, _ in whole]
    assert rates[0] > rates[-1]  # the schedule did decay
    assert not np.allclose(whole[-1][3], whole[-1][4])  # and the averages are others than the weights
