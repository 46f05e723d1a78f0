"""Mixed precision and XLA, on the engine of these tests and, in a process of its own, on JAX."""

import dataclasses
import importlib.util
import json
import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from shelfbench.base.console import Console
from shelfbench_deep.engines.keras import keras
from shelfbench_deep.engines.native import jit_compile
from shelfbench_deep.features.trained import TrainedExtractor, write_network
from shelfbench_deep.networks.blueprint import Blueprint
from shelfbench_deep.networks.xception import XceptionSettings
from shelfbench_deep.training.checkpoint import Checkpoint
from shelfbench_deep.training.parallel import precision, predict, train_step
from shelfbench_deep.training.recipes import RECIPES, averaged, loss, set_weight_decay
from tests.helpers.networks import randomise
from tests.helpers.sources import PYTHONPATH

STEPS, BATCH, PIXELS = 8, 16, 16
POLICIES = ("mixed_bfloat16", "mixed_float16")
# Greatest difference of the cost, of about 1, over 8 updates; bfloat16 has 8 bits, float16 has 11.
TOLERANCE = {"mixed_bfloat16": 0.01, "mixed_float16": 0.002}


def _network(jit="auto", policy="float32"):
    with precision(policy):
        keras.utils.set_random_seed(0)
        images = x = keras.Input((PIXELS, PIXELS, 3))
        for channels in (8, 16):
            x = keras.layers.Conv2D(channels, 3, strides=2, use_bias=False)(x)
            x = keras.layers.ReLU()(keras.layers.BatchNormalization(momentum=0.9)(x))
        logits = keras.layers.Dense(3, dtype="float32")(keras.layers.GlobalAveragePooling2D()(x))
        model = keras.Model(images, logits)
        set_weight_decay(model, 1e-3)
        model.compile(
            dataclasses.replace(RECIPES["x-imagenet"], ema=0.9).build(BATCH, STEPS),
            loss(),
            metrics=[keras.metrics.SparseCategoricalAccuracy(name="accuracy")],
            jit_compile=jit_compile() if jit == "auto" else jit == "on",
        )
        model.optimizer.build(model.trainable_variables)
    return model


def _batches():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, (STEPS, BATCH))
    images = rng.normal(0.3 * labels[..., None, None, None], 1, (STEPS, BATCH, PIXELS, PIXELS, 3))
    return list(zip(images.astype(np.float32), labels, strict=True))


def _weights(model):
    return [np.array(value) for value in model.get_weights()]


@contextmanager
def _unchanged(model):
    before = _weights(model)
    yield
    for a, b in zip(before, _weights(model), strict=True):
        np.testing.assert_array_equal(a, b)


def _curve(jit="auto", policy="float32"):
    model = _network(jit, policy)
    return [train_step(model, *batch, None)["loss"] for batch in _batches()]


def _curves():
    """Costs by what differs from float32 and the engine's own choice of XLA."""
    return {
        "float32": _curve(),
        **{policy: _curve(policy=policy) for policy in POLICIES},
        **{jit: _curve(jit) for jit in ("on", "off")},
    }


def _half(folder):
    """What a network in float16 must do: dtypes, averages, a checkpoint, an update that overflows."""
    model, batches = _network(policy="mixed_float16"), _batches()
    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    _dtypes(model, "float16")
    for batch in batches[:4]:
        train_step(model, *batch, None)

    # the averages are those of the optimizer inside
    inner = model.optimizer.inner_optimizer
    assert int(keras.ops.convert_to_numpy(inner.iterations)) == 4
    with _unchanged(model), averaged(model):
        averages = [keras.ops.convert_to_numpy(value) for value in inner._model_variables_moving_average]
        for variable, average in zip(model.trainable_variables, averages, strict=True):
            np.testing.assert_array_equal(keras.ops.convert_to_numpy(variable), average)
        assert any(np.abs(a - b).max() > 1e-4 for a, b in zip(model.get_weights(), _weights(_network()), strict=True))

    # an update whose gradients are infinite is left out, and the next cost is scaled by half as much
    scale = float(keras.ops.convert_to_numpy(model.optimizer.dynamic_scale))
    before = [np.array(keras.ops.convert_to_numpy(value)) for value in model.trainable_variables]
    train_step(model, *batches[4], np.full(BATCH, 1e30, np.float32))
    for variable, value in zip(model.trainable_variables, before, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(variable), value)
    assert float(keras.ops.convert_to_numpy(model.optimizer.dynamic_scale)) == scale / 2

    # a checkpoint holds the scale, the averages and the weights
    checkpoint = Checkpoint(folder / "half", "half")
    checkpoint.write(model, [], {})
    other = _network(policy="mixed_float16")
    assert checkpoint.read(other, Console(quiet=True)) == ([], {})
    assert float(keras.ops.convert_to_numpy(other.optimizer.dynamic_scale)) == scale / 2
    for network in (model, other):
        for batch in batches[5:]:
            train_step(network, *batch, None)
    for a, b in zip(_weights(model), _weights(other), strict=True):
        np.testing.assert_array_equal(a, b)


def _dtypes(model, compute):
    """Weights and logits are of float32, all layers between compute in less."""
    assert {value.dtype for value in model.variables} <= {"float32", "uint32"}
    assert {layer.compute_dtype for layer in model.layers[1:-1]} == {compute}
    assert predict(model, _batches()[0][0]).dtype == np.float32


def _main(folder):
    _half(Path(folder))
    bfloat16 = _network(policy="mixed_bfloat16")
    _dtypes(bfloat16, "bfloat16")
    return _curves()


@pytest.fixture(scope="module", params=["here", pytest.param("jax", marks=pytest.mark.slow)])
def curves(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("precision")
    if request.param == "here":
        return _main(folder)
    if importlib.util.find_spec("jax") is None:
        pytest.skip("jax is not installed")
    environment = {**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "PYTHONPATH": PYTHONPATH}
    command = [sys.executable, __file__, str(folder)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("policy", POLICIES)
def test_mixed_precision_follows_float32(curves, policy):
    np.testing.assert_allclose(curves[policy], curves["float32"], rtol=0, atol=TOLERANCE[policy])
    assert curves[policy] != curves["float32"]


@pytest.mark.parametrize("jit", ["on", "off"])
def test_xla_changes_nothing_but_rounding(curves, jit):
    np.testing.assert_allclose(curves[jit], curves["float32"], rtol=0, atol=1e-5)


def test_features_of_a_network_trained_in_bfloat16_are_float32(tmp_path):
    blueprint = Blueprint(
        network="xception",
        pixels=71,
        classes=3,
        settings=dataclasses.asdict(XceptionSettings(stack=True, width=1 / 16)),
    )
    with precision("mixed_bfloat16"):
        trained = blueprint.build()
    randomise(trained)
    write_network(tmp_path, blueprint, trained)
    extractor = TrainedExtractor(tmp_path)
    images = np.random.default_rng(0).integers(0, 256, (3, 71, 71, 3), np.uint8)
    features = extractor.extract(images)
    assert features.dtype == np.float32
    reference = blueprint.build()
    reference.set_weights(trained.get_weights())
    logits = predict(reference, blueprint.preprocess(images.astype(np.float32)))
    kernel, bias = reference.layers[-1].get_weights()
    np.testing.assert_allclose(features @ kernel + bias, logits, rtol=0, atol=1e-6)
    # the network as it was trained computes in bfloat16, and differs
    assert np.abs(predict(trained, blueprint.preprocess(images.astype(np.float32))) - logits).max() > 5e-5


if __name__ == "__main__":
    print(json.dumps(_main(*sys.argv[1:])))
