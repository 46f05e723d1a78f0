"""Steps as a device runs them best, and how to wait for it: what the timings must know of each engine.

On JAX a step is one compiled call of Keras' stateless functions, whose old state is given up as it runs; on the other
engines it is Keras' own.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from shelfbench.cost.timing import machine

from shelfbench_deep.engines.loading import jit_compile, keras

Step = Callable[[Any, Any], Any]


@dataclass(frozen=True)
class Device:
    """Where Keras computes.

    Attributes
    ----------
    name : str
        As the engine calls it; of a CPU, the processor's name.
    kind : {'gpu', 'cpu'}
        Anything but a CPU counts as the former.
    engine : str
    """

    name: str
    kind: str
    engine: str


def engine() -> str:
    """Name of the engine under Keras."""
    return str(keras.backend.backend())


def device() -> Device:
    """Say where Keras computes."""
    name = ""
    if engine() == "jax":
        import jax

        first = jax.local_devices()[0]
        name = "" if first.platform == "cpu" else str(first.device_kind)
    elif engine() == "tensorflow":
        import tensorflow as tf

        for found in tf.config.list_physical_devices("GPU")[:1]:
            name = str(tf.config.experimental.get_device_details(found).get("device_name", "GPU"))
    elif engine() == "torch":
        import torch

        name = torch.cuda.get_device_name(0) if torch.cuda.is_available() else ""
    return Device(name or str(machine()["cpu"]), "gpu" if name else "cpu", engine())


def wait(value: Any) -> None:
    """Wait until the device has computed a value.

    Frameworks answer before the device is done; no clock may be read before this has come back.
    """
    if engine() == "jax":
        import jax

        jax.block_until_ready(value)
    elif value is not None:
        np.asarray(keras.ops.convert_to_numpy(value))


def put(array: np.ndarray) -> Any:
    """Copy an array into the device's memory and wait for that; the array may be overwritten afterwards."""
    if engine() == "jax":
        import jax

        # a CPU would take an array as its own memory without a copy
        host = np.array(array) if jax.local_devices()[0].platform == "cpu" else np.asarray(array)
        return jax.block_until_ready(jax.device_put(host))
    return keras.ops.convert_to_tensor(np.array(array))


def peak_memory() -> tuple[float, str]:
    """MiB in use at the most since this process began; of the ``device`` if the engine tells, or ``process``."""
    if engine() == "jax":
        import jax

        known = jax.local_devices()[0].memory_stats() or {}
        if "peak_bytes_in_use" in known:
            return known["peak_bytes_in_use"] / 2**20, "device"
    if os.name == "posix":
        import resource

        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most / (2**20 if sys.platform == "darwin" else 2**10), "process"
    import psutil

    return psutil.Process().memory_info().peak_wset / 2**20, "process"


def training_step(model: keras.Model, optimizer: keras.optimizers.Optimizer) -> Step:
    """Make a step of training on sparse labels and logits.

    Returns
    -------
    callable
        ``step(inputs, labels)`` updates and gives a value to `wait` for. On JAX the weights live in the step and no
        longer in `model`.
    """
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    if engine() != "jax":
        model.compile(optimizer, loss, jit_compile=jit_compile())
        return lambda inputs, labels: model.train_on_batch(inputs, labels)
    import jax

    update = jax.jit(_update(model, optimizer, loss), donate_argnums=0)
    state = _state(model, optimizer)

    def step(inputs: Any, labels: Any) -> Any:
        nonlocal state
        state, cost = update(state, inputs, labels)
        return cost

    return step


def forward_step(model: keras.Model) -> Step:
    """Make a step without training: ``step(inputs, anything)`` gives the outputs."""
    if engine() != "jax":
        model.compile(jit_compile=jit_compile())
        return lambda inputs, _: model.predict_on_batch(inputs)
    import jax

    @jax.jit
    def forward(weights: Any, inputs: Any) -> Any:
        return model.stateless_call(*weights, inputs, training=False)[0]

    weights = _values(model.trainable_variables), _values(model.non_trainable_variables)
    return lambda inputs, _: forward(weights, inputs)


def epoch_on_device(
    model: keras.Model, optimizer: keras.optimizers.Optimizer, images: int, dimensions: int, classes: int, batch: int
) -> Callable[[], Any] | None:
    """Make a whole epoch of training over random features that lie on the device, as one compiled call.

    Parameters
    ----------
    model, optimizer
        From features to logits.
    images, dimensions, classes, batch : int
        Images that do not fill the last batch are left out; the order is drawn anew in every call, on the device.

    Returns
    -------
    callable or None
        Runs an epoch and gives a value to `wait` for; None on engines other than JAX.
    """
    if engine() != "jax":
        return None
    import jax
    import jax.numpy as jnp

    steps = images // batch
    update = _update(model, optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True))

    @partial(jax.jit, static_argnums=1)
    def draw(key: Any, rows: int) -> Any:
        # bottlenecks are means of rectified values, none below 0
        return jnp.abs(jax.random.normal(key, (rows, dimensions), model.compute_dtype))

    features = draw(jax.random.key(0), images)
    labels = jax.random.randint(jax.random.key(1), (images,), 0, classes)

    @partial(jax.jit, donate_argnums=0)
    def epoch(state: Any, key: Any, features: Any, labels: Any) -> Any:
        order = jax.random.permutation(key, images)[: steps * batch].reshape(steps, batch)
        return jax.lax.scan(lambda state, rows: update(state, features[rows], labels[rows]), state, order)

    state, number = _state(model, optimizer), 2
    jax.block_until_ready((features, labels))

    def run() -> Any:
        nonlocal state, number
        number += 1
        state, costs = epoch(state, jax.random.key(number), features, labels)
        return costs

    return run


def _update(model: keras.Model, optimizer: keras.optimizers.Optimizer, loss: keras.losses.Loss) -> Callable[..., Any]:
    """Make a pure function from state and batch to the new state and the cost (JAX)."""
    import jax

    def cost(trainable: Any, rest: Any, inputs: Any, labels: Any) -> Any:
        logits, rest = model.stateless_call(trainable, rest, inputs, training=True)
        return loss(labels, logits), rest

    def update(state: Any, inputs: Any, labels: Any) -> Any:
        trainable, rest, slots = state
        (value, rest), gradients = jax.value_and_grad(cost, has_aux=True)(trainable, rest, inputs, labels)
        trainable, slots = optimizer.stateless_apply(slots, gradients, trainable)
        return (trainable, rest, slots), value

    return update


def _state(model: keras.Model, optimizer: keras.optimizers.Optimizer) -> Any:
    optimizer.build(model.trainable_variables)
    return tuple(
        _values(part) for part in (model.trainable_variables, model.non_trainable_variables, optimizer.variables)
    )


def _values(variables: list[Any]) -> list[Any]:
    """Copies, as the model's own arrays must outlive a step that gives its state up."""
    import jax.numpy as jnp

    return [jnp.array(variable.value, copy=True) for variable in variables]
