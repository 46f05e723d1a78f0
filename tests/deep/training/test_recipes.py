"""The papers' optimisers: rates, averages and penalties, each against the definition."""

from __future__ import annotations

import importlib.util
import math
import os
import subprocess
import sys
import warnings
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shelfbench.base.errors import InputError
from shelfbench_deep.engines.keras import keras
from shelfbench_deep.engines.native import jit_compile
from shelfbench_deep.training.recipes import RECIPES, averaged, loss, set_weight_decay

CLASSES = 5


def network() -> keras.Model:
    """A little of everything that has weights: convolutions of three kinds, batch normalisation, dense."""
    keras.utils.set_random_seed(3)
    return keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            keras.layers.Conv2D(4, 3, bias_initializer="ones"),
            keras.layers.SeparableConv2D(6, 3, activation="relu"),
            keras.layers.DepthwiseConv2D(3),
            keras.layers.BatchNormalization(),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(CLASSES),
        ]
    )


def small() -> keras.Model:
    """Quick to compile: dense, batch normalisation, dense."""
    keras.utils.set_random_seed(3)
    layers = keras.layers
    return keras.Sequential(
        [keras.Input((8, 8, 3)), layers.Flatten(), layers.Dense(6), layers.BatchNormalization(), layers.Dense(CLASSES)]
    )


def compiled(recipe, build=small) -> keras.Model:
    model = build()
    model.compile(recipe.build(8, 2), loss(), metrics=["accuracy"], jit_compile=jit_compile())
    return model


@pytest.fixture(scope="module")
def batches():
    rng = np.random.default_rng(1)
    return [
        (rng.normal(size=(8, 8, 8, 3)).astype(np.float32), rng.integers(0, CLASSES, 8).astype(np.int64))
        for _ in range(5)
    ]


def values(variables) -> list[np.ndarray]:
    return [np.array(keras.ops.convert_to_numpy(variable)) for variable in variables]


def same(some: list[np.ndarray], others: list[np.ndarray]) -> bool:
    return all(a.tobytes() == b.tobytes() for a, b in zip(some, others, strict=True))


# -- learning rates


@pytest.mark.parametrize(
    ("name", "images", "batch", "after"),
    [
        ("c-bottlenecks", 1_000_000, 256, {1: 0.0785, 10: 0.0268, 50: 0.0068}),
        ("c-finetuning", 800_000, 128, {1: 0.0308, 10: 0.0069, 50: 0.0016}),
    ],
)
def test_rates_of_the_first_paper_after_epochs(name, images, batch, after):
    recipe = RECIPES[name]
    assert recipe.batch == batch
    steps = math.ceil(images / batch)
    for epochs, rate in after.items():
        assert round(recipe.rate(epochs * steps, batch, steps), 4) == rate
    assert recipe.rate(0, batch, steps) == recipe.learning_rate


def test_imagenet_rate_falls_every_second_epoch():
    recipe, steps = RECIPES["x-imagenet"], 40_037
    assert recipe.rate(2 * steps - 1, 32, steps) == 0.045
    assert recipe.rate(2 * steps, 32, steps) == pytest.approx(0.045 * 0.94)
    assert recipe.rate(20 * steps, 32, steps) == pytest.approx(0.045 * 0.94**10)


def test_jft_rate_by_samples_and_by_updates():
    recipe = RECIPES["x-jft"]
    assert recipe.rate(93_749, 32, 1) == 0.001
    assert recipe.rate(93_750, 32, 1) == pytest.approx(0.0009)
    assert recipe.rate(30_000_000, 32, 1) == pytest.approx(2.27e-18, rel=1e-2)
    by_updates = replace(recipe, decay_unit="updates")
    assert by_updates.rate(30_000_000, 32, 1) == pytest.approx(0.001 * 0.9**10)


@settings(max_examples=40, deadline=None)
@given(
    name=st.sampled_from(sorted(RECIPES)),
    updates=st.integers(0, 2**24 - 1),
    batch=st.sampled_from([1, 32, 37, 256, 2048]),
    steps=st.integers(1, 60_000),
    near=st.integers(-1, 1),
)
def test_rate_is_what_keras_uses(name, updates, batch, steps, near):
    recipe = RECIPES[name]
    period = recipe.decay_steps(batch, steps)
    boundary = max(0, updates // period * period + near)  # where a staircase can go wrong
    optimizer = recipe.build(batch, steps)
    for t in (updates, boundary):
        optimizer.iterations.assign(t)
        expected = recipe.rate(t, batch, steps)
        if expected > 1e-30:  # float32 cannot go much lower
            assert float(optimizer.learning_rate) == pytest.approx(expected, rel=2e-4)


@pytest.mark.parametrize("name", ["c-bottlenecks", "x-imagenet"])
def test_the_rate_decays_while_training(name, batches):
    """Not by `decay=`, which Keras 3 takes with a warning and ignores."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        recipe = replace(RECIPES[name], decay_rate=0.5)
        model = compiled(recipe)
        for images, labels in batches:
            model.train_on_batch(images, labels)
    assert float(model.optimizer.learning_rate) == pytest.approx(recipe.rate(5, 8, 2), rel=1e-6)
    assert recipe.rate(5, 8, 2) < recipe.learning_rate


def test_recipes_hold_what_the_papers_say():
    for name, recipe in RECIPES.items():
        optimizer = recipe.build(32, 10)
        second = name.startswith("x-")
        assert isinstance(optimizer, keras.optimizers.RMSprop if name == "x-jft" else keras.optimizers.SGD)
        assert optimizer.momentum == (0.9 if second else 0.0)
        assert optimizer.use_ema == second
        assert optimizer.ema_momentum == (0.9999 if second else 0)
        assert optimizer.weight_decay is None  # decoupled; the papers mean L2
        assert recipe.decay_for("inception_v3") == (4e-5 if second else 0)
        assert recipe.decay_for("xception") == (1e-5 if second else 0)
        assert recipe.decay_for("vgg16") == 0
        assert recipe.dropout == (0.5 if name == "x-imagenet" else 0)
        assert recipe.label_smoothing == 0
    assert replace(RECIPES["x-jft"], weight_decay=3e-5).decay_for("xception") == 3e-5


def test_a_constant_rate_may_be_a_whole_number():
    recipe = replace(RECIPES["c-finetuning"], decay="constant", learning_rate=1)
    optimizer = recipe.build(8, 2)
    optimizer.iterations.assign(10**6)
    assert float(optimizer.learning_rate) == recipe.rate(10**6, 8, 2) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"optimizer": "adam"},
        {"decay": "cosine"},
        {"decay_unit": "hours"},
        {"batch": 0},
        {"decay_every": 2.5},
        {"learning_rate": 0.0},
        {"learning_rate": math.nan},
        {"epsilon": 0},
        {"momentum": 1.0},
        {"ema": -0.1},
        {"dropout": True},
        {"label_smoothing": 1},
        {"decay_rate": 1.1},
        {"weight_decay": -1e-5},
    ],
)
def test_impossible_recipes_are_refused_by_name(change):
    with pytest.raises(InputError, match=f"recipe.{next(iter(change))}"):
        replace(RECIPES["x-imagenet"], **change)


# -- averages of weights


@pytest.mark.parametrize("name", ["x-imagenet", "x-jft"])
def test_averages_equal_their_definition(name, batches):
    """The first update's weights, then ema * average + (1 - ema) * weights."""
    model = compiled(replace(RECIPES[name], ema=0.7))
    average: list[np.ndarray] = []
    for images, labels in batches:
        model.train_on_batch(images, labels)
        weights = [weight.astype(np.float64) for weight in values(model.trainable_variables)]
        average = [0.7 * a + 0.3 * w for a, w in zip(average, weights, strict=True)] if average else weights
        statistics = values(model.non_trainable_variables)
        with averaged(model):
            inside = values(model.trainable_variables)
            assert same(values(model.non_trainable_variables), statistics)
        for a, b in zip(average, inside, strict=True):
            np.testing.assert_allclose(b, a, rtol=2e-5, atol=1e-7)
    assert max(abs(a - w).max() for a, w in zip(average, weights, strict=True)) > 1e-3


def cost(model, images, labels):
    model.reset_metrics()  # Keras before 3.15 gives a mean over all calls
    return model.test_on_batch(images, labels, return_dict=True)["loss"]


def test_evaluating_averages_leaves_the_training_as_it_was(batches):
    """Weights, averages and velocities bit for bit, though JAX donates the buffers at each step."""
    recipe = replace(RECIPES["x-imagenet"], ema=0.9)
    disturbed, undisturbed = compiled(recipe), compiled(recipe)
    for images, labels in batches:
        disturbed.train_on_batch(images, labels)
        undisturbed.train_on_batch(images, labels)
        before = values(disturbed.variables)
        trained = cost(disturbed, images, labels)
        with averaged(disturbed):
            disturbed.predict_on_batch(images)
            inside = cost(disturbed, images, labels)
        if labels is not batches[0][1]:
            assert inside != trained
        assert cost(disturbed, images, labels) == trained
        trainable = len(disturbed.trainable_variables)
        assert same(values(disturbed.variables)[:trainable], before[:trainable])
    assert same(values(disturbed.trainable_variables), values(undisturbed.trainable_variables))
    assert same(values(disturbed.non_trainable_variables), values(undisturbed.non_trainable_variables))
    assert same(values(disturbed.optimizer.variables), values(undisturbed.optimizer.variables))


def test_trained_weights_are_back_after_an_exception(batches):
    model = compiled(RECIPES["x-jft"])
    for images, labels in batches[:2]:
        model.train_on_batch(images, labels)
    before = values(model.trainable_variables)

    def interrupted():
        with averaged(model):
            assert not same(values(model.trainable_variables), before)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert same(values(model.trainable_variables), before)


def test_frozen_layers_are_not_averaged(batches):
    model = small()
    model.layers[1].trainable = False
    model.compile(replace(RECIPES["x-imagenet"], ema=0.5).build(8, 2), loss(), jit_compile=jit_compile())
    for images, labels in batches[:3]:
        model.train_on_batch(images, labels)
    frozen, learning = values(model.layers[1].variables), values(model.layers[-1].variables)
    with averaged(model):
        assert same(values(model.layers[1].variables), frozen)
        assert not same(values(model.layers[-1].variables), learning)


def test_nothing_happens_without_averages(batches):
    images, labels = batches[0]
    plain = compiled(RECIPES["c-finetuning"])
    plain.train_on_batch(images, labels)
    early = compiled(RECIPES["x-imagenet"])  # Keras' averages are zeros until the first update
    early.optimizer.build(early.trainable_variables)
    for model in (plain, early):
        before = values(model.variables)
        with averaged(model):
            assert same(values(model.variables), before)


def test_averages_under_a_loss_scale(batches):
    """mixed_float16 wraps the optimiser."""
    model = small()
    inner = replace(RECIPES["x-imagenet"], ema=0.5).build(8, 2)
    model.compile(keras.optimizers.LossScaleOptimizer(inner), loss(), jit_compile=jit_compile())
    for images, labels in batches[:3]:
        model.train_on_batch(images, labels)
    before = values(model.trainable_variables)
    with averaged(model):
        assert same(values(model.trainable_variables), values(inner._model_variables_moving_average))
        assert not same(values(model.trainable_variables), before)
    assert same(values(model.trainable_variables), before)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="a strategy of TensorFlow")
def test_averages_of_variables_spread_over_devices(batches):
    """They are no plain variables there, if only on one device."""
    import tensorflow as tf

    with tf.distribute.MirroredStrategy(["CPU:0"]).scope():
        model = compiled(replace(RECIPES["x-imagenet"], ema=0.5))
        for images, labels in batches[:2]:
            model.train_on_batch(images, labels)
        before = values(model.trainable_variables)
        with averaged(model):
            assert same(values(model.trainable_variables), values(model.optimizer._model_variables_moving_average))
            assert not same(values(model.trainable_variables), before)
        assert same(values(model.trainable_variables), before)


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="JAX is not installed")
@pytest.mark.skipif(keras.backend.backend() == "jax", reason="this is JAX already")
def test_the_same_averages_on_jax():
    """An engine is chosen when Keras is imported, hence another process."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-k",
        "(averag or exception) and not jax",
        __file__,
    ]
    environment = os.environ | {"KERAS_BACKEND": "jax"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]


# -- L2


def squares(model: keras.Model) -> tuple[float, int]:
    kernels = [v for v in model.trainable_variables if v.name.endswith("kernel")]
    return sum(float((value.astype(np.float64) ** 2).sum()) for value in values(kernels)), len(kernels)


def test_the_cost_holds_the_penalty_exactly(batches):
    images, labels = batches[0]
    recipe = replace(RECIPES["c-finetuning"], learning_rate=1e-9)
    plain, decayed = compiled(recipe, network), compiled(recipe, network)
    set_weight_decay(decayed, 0.01)
    total, kernels = squares(decayed)
    assert kernels == 5  # Conv2D, depthwise and pointwise, DepthwiseConv2D, Dense
    for step in ("train_on_batch", "test_on_batch"):
        costs = [getattr(model, step)(images, labels, return_dict=True)["loss"] for model in (plain, decayed)]
        assert float(costs[1]) - float(costs[0]) == pytest.approx(0.01 * total, rel=1e-5)
    cost = decayed.evaluate(images, labels, verbose=0, return_dict=True)["loss"]
    assert cost - plain.evaluate(images, labels, verbose=0, return_dict=True)["loss"] == pytest.approx(
        0.01 * total, rel=1e-5
    )


def test_a_step_follows_the_penalty(batches):
    """One step of plain descent differs by -rate * 2 * decay * w on kernels, and by nothing elsewhere."""
    images, labels = batches[0]
    recipe = replace(RECIPES["c-finetuning"], decay="constant", learning_rate=0.1)
    plain, decayed = compiled(recipe, network), compiled(recipe, network)
    start = values(plain.trainable_variables)
    set_weight_decay(decayed, 0.5)
    plain.train_on_batch(images, labels)
    decayed.train_on_batch(images, labels)
    after = zip(
        plain.trainable_variables,
        start,
        values(plain.trainable_variables),
        values(decayed.trainable_variables),
        strict=True,
    )
    for variable, before, without, with_penalty in after:
        expected = without - 0.1 * before if variable.name.endswith("kernel") else without
        np.testing.assert_allclose(with_penalty, expected, rtol=1e-4, atol=1e-6, err_msg=variable.path)


def test_penalties_on_an_application():
    """Every convolution of a published network is found, nested ones as well, and no batch normalisation."""
    inner = keras.applications.MobileNet(weights=None, include_top=False, alpha=0.25, input_shape=(32, 32, 3))
    model = keras.Sequential([inner, keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(3)])
    set_weight_decay(model, 4e-5)
    total, kernels = squares(model)
    assert kernels == 28
    assert sum(v.regularizer is not None for v in model.variables) == 28
    assert float(sum(model.losses)) == pytest.approx(4e-5 * total, rel=1e-5)
    inner.trainable = False
    assert len(model.losses) == 1  # what does not learn costs nothing
    set_weight_decay(model, 0)
    assert not model.losses
    with pytest.raises(InputError, match="weight decay"):
        set_weight_decay(model, -1.0)
