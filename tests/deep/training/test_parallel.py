"""Several devices, and JAX: each in a process of its own, as virtual devices are made before an engine starts."""

import dataclasses
import importlib.util
import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from shelfbench.base.console import Console
from shelfbench.base.errors import InputError
from shelfbench_deep.engines.native import devices, distributed
from shelfbench_deep.training.checkpoint import Checkpoint
from shelfbench_deep.training.loop import Course, TrainingLoop
from shelfbench_deep.training.parallel import precision, predict, synchronise, train_step
from shelfbench_deep.training.recipes import RECIPES, averaged, loss, set_weight_decay
from tests.helpers.sources import PYTHONPATH
from tests.helpers.toy_training import PIXELS, toy_data

STEPS, BATCH = 8, 16


def _network(norm):
    """Two convolutions with batch normalisation or biases, L2, momentum and averages of the weights; compiled."""
    from shelfbench_deep.engines.keras import keras
    from shelfbench_deep.engines.native import jit_compile

    keras.utils.set_random_seed(0)
    images = x = keras.Input((PIXELS, PIXELS, 3))
    for channels in (8, 16):
        x = keras.layers.Conv2D(channels, 3, strides=2, use_bias=not norm)(x)
        x = keras.layers.ReLU()(keras.layers.BatchNormalization(momentum=0.9)(x) if norm else x)
    logits = keras.layers.Dense(3, dtype="float32")(keras.layers.GlobalAveragePooling2D()(x))
    model = keras.Model(images, logits)
    set_weight_decay(model, 1e-3)
    synchronise(model)
    model.compile(
        dataclasses.replace(RECIPES["x-imagenet"], ema=0.9).build(BATCH, STEPS),
        loss(),
        metrics=[keras.metrics.SparseCategoricalAccuracy(name="accuracy")],
        jit_compile=jit_compile(),
    )
    return model


def _curves(count, norm):
    """Train on a number of devices: costs and accuracies, then the resulting network."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, (STEPS, BATCH))
    images = rng.normal(0.3 * labels[..., None, None, None], 1, (STEPS, BATCH, PIXELS, PIXELS, 3)).astype(np.float32)
    weights = rng.uniform(0.5, 1.5, (STEPS, BATCH)).astype(np.float32)
    with distributed(count) as found:
        model = _network(norm)
        logs = [train_step(model, images[i], labels[i], weights[i] if i % 2 else None) for i in range(STEPS)]
        with averaged(model):
            outputs = predict(model, images[0, :5])
        wrong = None
        if found > 1:
            try:
                train_step(model, images[0, :5], labels[0, :5], None)
            except Exception as error:  # each engine has its own
                wrong = type(error).__name__
    return {
        "devices": found,
        "loss": [log["loss"] for log in logs],
        "accuracy": [log["accuracy"] for log in logs],
        "outputs": outputs.tolist(),
        "weights": [np.asarray(value, np.float64).ravel().tolist() for value in model.get_weights()],
        "wrong": wrong,
    }


@dataclasses.dataclass(frozen=True)
class _Copying(Checkpoint):
    """Keeps a copy of what is written in the middle of the second epoch."""

    def write(self, model, best, state):
        super().write(model, best, state)
        if (state["epoch"], state["step"]) == (2, 1):
            shutil.copyfile(self.path, self.path.with_suffix(".aside"))


def _training(model, checkpoint):
    course = Course(
        name="toy",
        epochs=3,
        patience=0,
        batch=BATCH,
        pixels=PIXELS,
        seed=7,
        rate=lambda updates: 0.045,
        preprocess=lambda images: images / np.float32(255),
        class_weights=True,
        checkpoint_minutes=0,
    )
    data = toy_data(54)
    return TrainingLoop(
        model, data, np.arange(len(data.train)), course, checkpoint=checkpoint, console=Console(quiet=True)
    )


def _order(training):
    """Which images come in the second epoch, after the first batch."""
    return [[float(images.sum(dtype=np.float64)), labels.tolist()] for images, labels in training._batches(2, 1)]


def _resumed(count, folder):
    """Train to the end, and again from a checkpoint of the middle."""
    with distributed(count) as found:
        whole = _network(True)
        training = _training(whole, _Copying(folder / f"on-{found}", "toy"))
        history = training.run()
        resumed = _network(True)
        second = _training(resumed, Checkpoint(folder / f"on-{found}.aside", "toy"))
        again = second.run()
    same = [bool((a == b).all()) for a, b in zip(whole.get_weights(), resumed.get_weights(), strict=True)]
    times = ["seconds", "data_wait"]
    return {
        "devices": found,
        "same": same,
        "history": history.drop(columns=times).to_numpy().tolist(),
        "again": again.drop(columns=times).to_numpy().tolist(),
        "order": _order(training),
    }


def _in_child(engine, what, *given):
    """Run one of the above with four virtual devices."""
    if importlib.util.find_spec(engine) is None:
        pytest.skip(f"{engine} is not installed")
    environment = {
        **os.environ,
        "KERAS_BACKEND": engine,
        "XLA_FLAGS": "--xla_force_host_platform_device_count=4",
        "CUDA_VISIBLE_DEVICES": "",
        "JAX_PLATFORMS": "cpu",
        "PYTHONPATH": PYTHONPATH,
    }
    command = [sys.executable, __file__, what, *map(str, given)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout.splitlines()[-1])


# each starts a process with an engine of its own, and trains twice there
@pytest.fixture(
    scope="module",
    params=[
        pytest.param(("jax", "plain"), marks=pytest.mark.slow),
        pytest.param(("tensorflow", "batch norm"), marks=pytest.mark.slow),
        pytest.param(("tensorflow", "plain"), marks=pytest.mark.slow),
        pytest.param(("jax", "batch norm"), marks=pytest.mark.slow),
    ],
    ids=" ".join,
)
def curves(request):
    engine, network = request.param
    return _in_child(engine, "curves", network)


def test_one_and_four_devices_train_alike(curves):
    one, four = curves["counts"]
    assert (one["devices"], four["devices"]) == (1, 4)
    np.testing.assert_allclose(four["loss"], one["loss"], rtol=0, atol=1e-5)
    assert four["accuracy"] == one["accuracy"]
    assert len(set(one["loss"])) == STEPS
    for a, b in zip(one["weights"], four["weights"], strict=True):
        np.testing.assert_allclose(b, a, rtol=0, atol=1e-5)
    # the averages of the weights, on a batch that four devices do not divide
    assert np.shape(four["outputs"]) == (5, 3)
    np.testing.assert_allclose(four["outputs"], one["outputs"], rtol=0, atol=1e-4)
    assert four["wrong"]  # five images are not given to four devices silently


@pytest.mark.slow
@pytest.mark.parametrize(("engine", "counts"), [("tensorflow", [4]), ("jax", [1, 4])])
def test_a_training_resumes_from_the_middle_of_an_epoch(engine, counts, tmp_path):
    here = _order(_training(None, Checkpoint(tmp_path / "none", "toy")))
    for found, count in zip(_in_child(engine, "resumed", tmp_path, *counts), counts, strict=True):
        assert found["devices"] == count
        assert all(found["same"])
        assert found["again"] == found["history"]
        assert len(found["history"]) == 3
        assert all(math.isfinite(value) for row in found["history"] for value in row)
        # the order of the images is that of any engine
        assert [labels for _, labels in here] == [labels for _, labels in found["order"]]
        np.testing.assert_allclose([s for s, _ in found["order"]], [s for s, _ in here], rtol=1e-12)


def test_devices_that_are_not_there_are_named():
    from shelfbench_deep.engines.keras import keras

    have = len(devices(0))
    assert devices(1) == devices(0)[:1]
    with pytest.raises(InputError, match=r"training\.devices is 1000"):
        devices(1000)
    if have == 1 or keras.backend.backend() == "torch":
        with distributed(0) as count:
            assert count == 1


def test_xla_and_float16_on_several_devices_are_refused_on_tensorflow_alone(curves):
    on_tensorflow = curves["engine"] == "tensorflow"
    assert ("training.jit" in curves["xla"]) == on_tensorflow
    assert ("training.precision" in curves["float16"]) == on_tensorflow


@pytest.mark.slow
def test_pytorch_trains_on_one_device():
    assert "PyTorch" in _in_child("torch", "refused")


def _refused(policy, jit):
    try:
        with precision(policy), distributed(4, jit):
            return ""
    except InputError as error:
        return str(error)


def _main(what, *given):
    from shelfbench_deep.engines.keras import keras

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 4)
    if what == "curves":
        return {
            "engine": keras.backend.backend(),
            "xla": _refused("float32", "on"),
            "float16": _refused("mixed_float16", "auto"),
            "counts": [_curves(count, given[0] == "batch norm") for count in (1, 4)],
        }
    if what == "resumed":
        return [_resumed(int(count), Path(given[0])) for count in given[1:]]
    return _refused("float32", "auto")


if __name__ == "__main__":
    print(json.dumps(_main(*sys.argv[1:])))
