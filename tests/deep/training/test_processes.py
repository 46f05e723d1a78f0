"""Two processes on this machine train one network together, on JAX; and what the variables that number them say."""

import json
import os
import socket
import subprocess
import sys

import numpy as np
import pytest

from shelfbench.base import processes
from shelfbench.base.errors import InputError
from shelfbench.base.processes import ADDRESS, COUNT, NUMBER, Process
from shelfbench_deep.engines.processes import own_share
from tests.helpers.sources import PYTHONPATH

EPOCHS = 2


@pytest.fixture
def alone(monkeypatch):
    """Let a test enter as one of several processes, and be alone again afterwards."""
    monkeypatch.setattr(processes, "_here", Process())
    monkeypatch.setattr(processes, "_done", False)
    for name in (COUNT, NUMBER, ADDRESS):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def _given(alone, count, number, address="127.0.0.1:9400"):
    for name, value in ((COUNT, count), (NUMBER, number), (ADDRESS, address)):
        alone.setenv(name, value)


def test_without_the_variables_or_with_a_count_of_one_a_process_is_alone(alone):
    assert processes.enter() == Process()
    alone.setenv(COUNT, "1")
    assert processes.enter().first


def test_a_process_is_told_apart_by_its_number(alone):
    _given(alone, "3", "2", "first:9400,second:9400")
    here = processes.enter()
    assert (here.number, here.count, here.address, here.first) == (2, 3, "first:9400", False)
    with pytest.raises(InputError, match="trained together already"):
        processes.enter()
    processes.leave()
    assert processes.this_process().count == 1


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (("two", "0"), "KERAS_DISTRIBUTION_NUM_PROCESSES is 'two'"),
        (("2", ""), "KERAS_DISTRIBUTION_PROCESS_ID is ''"),
        (("2", "-1"), "KERAS_DISTRIBUTION_PROCESS_ID is '-1'"),
        (("2", "2"), "KERAS_DISTRIBUTION_PROCESS_ID is 2, and KERAS_DISTRIBUTION_NUM_PROCESSES is 2"),
        (("2", "1", "somewhere"), "KERAS_DISTRIBUTION_JOB_ADDRESSES is 'somewhere'"),
        (("2", "1", ":9400"), "KERAS_DISTRIBUTION_JOB_ADDRESSES is ':9400'"),
    ],
)
def test_variables_that_do_not_fit_are_named(alone, values, says):
    _given(alone, *values)
    with pytest.raises(InputError, match=says):
        processes.enter()


@pytest.mark.parametrize("parts", [1, 3])
def test_the_processes_share_every_part_of_a_batch(alone, parts):
    rows, shares = np.arange(12), []
    for number in range(2):
        alone.setattr(processes, "_here", Process(number, 2, "x:1"))
        shares.append(own_share(rows, parts).reshape(parts, -1))
    # put side by side, they are the parts that one process would take one after the other
    np.testing.assert_array_equal(np.concatenate(shares, axis=1).ravel(), rows)


def _network(parts):
    from shelfbench_deep.engines.keras import keras
    from shelfbench_deep.training.recipes import RECIPES, loss
    from tests.helpers.toy_training import PIXELS

    keras.utils.set_random_seed(0)
    images = keras.Input((PIXELS, PIXELS, 3))
    x = keras.layers.Conv2D(8, 3, strides=2, use_bias=False)(images)
    x = keras.layers.ReLU()(keras.layers.BatchNormalization(momentum=0.9)(x))
    model = keras.Model(images, keras.layers.Dense(3)(keras.layers.GlobalAveragePooling2D()(x)))
    accuracy = keras.metrics.SparseCategoricalAccuracy(name="accuracy")
    model.compile(RECIPES["c-finetuning"].build(8, 6, parts), loss(), metrics=[accuracy])
    return model


def _train(folder, parts):
    """Train in this process, which may be one of several."""
    from pathlib import Path

    here = processes.enter()
    from shelfbench_deep.engines.native import distributed
    from shelfbench_deep.engines.processes import part_company
    from tests.helpers.toy_training import toy_data, toy_training

    with distributed(0) as devices:
        model = _network(parts)
        training = toy_training(model, toy_data(), Path(folder) / "checkpoint", epochs=EPOCHS, parts=parts)
        history = training.run()
        weights = [np.asarray(value, np.float64).ravel().tolist() for value in model.get_weights()]
    if here.count > 1:
        part_company()
    return {"devices": devices, "weights": weights, "history": history[["loss", "val_loss"]].to_numpy().tolist()}


def _started(folder, parts, number=0, count=1, port=0):
    environment = {
        **os.environ,
        "KERAS_BACKEND": "jax",
        "JAX_PLATFORMS": "cpu",
        "CUDA_VISIBLE_DEVICES": "",
        "PYTHONPATH": PYTHONPATH,
        COUNT: str(count),
        NUMBER: str(number),
        ADDRESS: f"127.0.0.1:{port}",
    }
    command = [sys.executable, __file__, str(folder), str(parts)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def _ended(process):
    out, err = process.communicate(timeout=600)
    assert process.returncode == 0, err[-4000:]
    return json.loads(out.splitlines()[-1])


def _port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.mark.slow
@pytest.mark.parametrize("parts", [1, 2])
def test_two_processes_end_with_the_weights_of_one(tmp_path, parts):
    pytest.importorskip("jax")
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    one = _ended(_started(tmp_path / "one", parts))
    port = _port()
    both = [_started(tmp_path / "two", parts, number, 2, port) for number in range(2)]
    try:
        first, second = (_ended(process) for process in both)
    finally:
        for process in both:
            process.kill()
    assert (one["devices"], first["devices"], second["devices"]) == (1, 2, 2)
    assert first == second
    assert len(one["history"]) == EPOCHS
    np.testing.assert_allclose(first["history"], one["history"], rtol=0, atol=1e-5)
    for a, b in zip(one["weights"], first["weights"], strict=True):
        np.testing.assert_allclose(b, a, rtol=0, atol=1e-5)


if __name__ == "__main__":
    print(json.dumps(_train(sys.argv[1], int(sys.argv[2]))))
