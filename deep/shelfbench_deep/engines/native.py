"""Everything that needs a particular engine: TensorFlow, JAX and PyTorch are imported in this file only.

The rest of the package speaks Keras 3. Every engine is optional: only the one that Keras runs on is imported.

Training on several local devices cuts each batch into equal parts, one per device, and the weights are the same
everywhere after an update. JAX compiles one program for the whole batch, so that batch normalisation and dropout behave
as they do on one device. TensorFlow runs a program on each device for its part: batch normalisation has to be told to
compute its statistics over all of them (`shelfbench_deep.training.parallel.synchronise`), and dropout draws one mask
for all parts. Keras cannot do this with PyTorch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from typing import Any

import numpy as np

from shelfbench.base.errors import InputError
from shelfbench.base.processes import this_process
from shelfbench_deep.engines.keras import keras

Step = Callable[[Any, Any], Any]


def engine() -> str:
    """Name of the engine under Keras."""
    return str(keras.backend.backend())


def jit_compile() -> bool | str:
    """Value for ``Model.compile(jit_compile=)``.

    XLA makes TensorFlow several times slower on a CPU; everywhere else Keras chooses.
    """
    if engine() != "tensorflow":
        return "auto"
    import tensorflow as tf

    return "auto" if tf.config.list_physical_devices("GPU") else False


def accelerator() -> str:
    """Name of the accelerator that computes; empty if a CPU does."""
    if engine() == "jax":
        import jax

        device = jax.local_devices()[0]
        return "" if device.platform == "cpu" else str(device.device_kind)
    if engine() == "torch":
        import torch

        return torch.cuda.get_device_name(0) if torch.cuda.is_available() else ""
    if engine() == "tensorflow":
        import tensorflow as tf

        for found in tf.config.list_physical_devices("GPU")[:1]:
            return str(tf.config.experimental.get_device_details(found).get("device_name", "gpu"))
    return ""


def device_name() -> str:
    """Name of the device that computes, for the record: ``cpu``, or that of the accelerator."""
    return accelerator() or "cpu"


def devices(count: int) -> list[str]:
    """Choose the local devices that share each batch.

    Parameters
    ----------
    count : int
        How many; 0 takes all accelerators or, on a machine without any, the CPU: one device, unless the engine was
        told to split it into several virtual ones. Devices of processes that train with this one count too.

    Returns
    -------
    list of str
        In the engine's own names.

    Raises
    ------
    InputError
        If there are fewer, or the engine trains on one only.
    """
    if engine() == "torch":
        import torch

        if count > 1:
            raise InputError(
                f"training.devices is {count}, and Keras trains on one device with PyTorch",
                "set training.devices=1, or KERAS_BACKEND to jax or tensorflow",
            )
        return ["cuda:0" if torch.cuda.is_available() else "cpu"]
    if engine() == "jax":
        import jax

        local = this_process().count == 1
        found = [f"{device.platform}:{device.id}" for device in (jax.local_devices() if local else jax.devices())]
        if not local and count not in (0, len(found)):
            raise InputError(
                f"training.devices is {count}, and the processes that train together have {len(found)}",
                "set training.devices=0, and show each process only the devices that it may use",
            )
    else:
        import tensorflow as tf

        logical = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
        found = [device.name for device in logical]
    if count > len(found):
        raise InputError(
            f"training.devices is {count}, and this machine has only {len(found)} ({', '.join(found)})",
            "give no more than that, or 0 for all",
        )
    return found[: count or None]


@contextmanager
def distributed(count: int, jit: str = "auto") -> Iterator[int]:
    """Build, compile, train and evaluate a network inside, on a number of devices (see `devices`).

    Enter `shelfbench_deep.training.parallel.precision` before.

    Parameters
    ----------
    count : int
    jit : {"auto", "on", "off"}
        The value of ``training.jit``, which is checked.

    Yields
    ------
    int
        Number of devices. With one, nothing changes for the network or its training.

    Raises
    ------
    InputError
        If there are fewer devices or, on several with TensorFlow, XLA or float16 is requested.
    """
    chosen = devices(count)
    if len(chosen) == 1:
        yield 1
    elif engine() == "jax":
        before = keras.distribution.distribution()
        keras.distribution.set_distribution(keras.distribution.DataParallel(devices=chosen))
        try:
            yield len(chosen)
        finally:
            keras.distribution.set_distribution(before)
    elif jit == "on":
        raise InputError(
            f"training.jit is 'on', and TensorFlow's XLA compiles for one device, not for {len(chosen)}",
            'set training.jit="auto", or training.devices=1',
        )
    elif keras.config.dtype_policy().name == "mixed_float16":
        # Keras checks only the first device's gradients for infinities, and applies infinite ones of the others.
        raise InputError(
            f"training.precision is 'mixed_float16', which Keras does not scale correctly on {len(chosen)} devices"
            " with TensorFlow",
            'set training.precision="mixed_bfloat16", training.devices=1, or KERAS_BACKEND to jax',
        )
    else:
        with _mirrored(tuple(chosen)).scope():
            yield len(chosen)


@cache
def _mirrored(chosen: tuple[str, ...]) -> Any:
    """Return one strategy for all trainings of a process: each numbers its reductions from 0, and two would clash."""
    import tensorflow as tf

    return tf.distribute.MirroredStrategy(chosen)


def strategy_of(model: keras.Model) -> Any:
    """TensorFlow's strategy in which a network was built, if it has several devices; else None."""
    strategy = getattr(model, "distribute_strategy", None)
    return strategy if strategy is not None and strategy.num_replicas_in_sync > 1 else None


def split(strategy: Any, *arrays: np.ndarray | None) -> tuple[Any, ...]:
    """Cut arrays into one part per device of a strategy, in order."""
    import tensorflow as tf

    count = strategy.num_replicas_in_sync

    def part(context: Any) -> tuple[Any, ...]:
        number = context.replica_id_in_sync_group
        return tuple(
            None if array is None else tf.convert_to_tensor(np.split(array, count)[number]) for array in arrays
        )

    found: tuple[Any, ...] = strategy.experimental_distribute_values_from_function(part)
    return found


def traced(compute: Callable[[Any], Any], shape: tuple[int, ...]) -> Any:
    """Trace a computation as a graph of TensorFlow, for OpenVINO.

    Parameters
    ----------
    compute : callable
        From images of float32, 0 to 255, to the outputs.
    shape : tuple of int
        Of the graph's input, images of uint8.

    Returns
    -------
    tensorflow.ConcreteFunction
    """
    import tensorflow as tf

    def whole(images: Any) -> Any:
        return compute(tf.cast(images, "float32"))

    return tf.function(whole).get_concrete_function(tf.TensorSpec(shape, "uint8"))


def wait(value: Any) -> None:
    """Wait until the device has computed a value.

    Engines return before the device is done; read no clock before this has returned.
    """
    if engine() == "jax":
        import jax

        jax.block_until_ready(value)
    elif value is not None:
        np.asarray(keras.ops.convert_to_numpy(value))


def put(array: np.ndarray) -> Any:
    """Copy an array into the device's memory and wait for it; the array may be overwritten afterwards."""
    if engine() == "jax":
        import jax

        # a CPU would use the array's own memory, without a copy
        host = np.array(array) if jax.local_devices()[0].platform == "cpu" else np.asarray(array)
        return jax.block_until_ready(jax.device_put(host))
    return keras.ops.convert_to_tensor(np.array(array))


def device_memory() -> float | None:
    """Peak MiB in use on the device since this process began; None if the engine does not report it."""
    if engine() == "jax":
        import jax

        known = jax.local_devices()[0].memory_stats() or {}
        if "peak_bytes_in_use" in known:
            return float(known["peak_bytes_in_use"] / 2**20)
    return None


def compiled_step(model: keras.Model, optimizer: keras.optimizers.Optimizer, loss: keras.losses.Loss) -> Step | None:
    """Compile a training step into one call that gives up its old state as it runs, and keeps the weights itself.

    Parameters
    ----------
    model : keras.Model
    optimizer : keras.optimizers.Optimizer
    loss : keras.losses.Loss

    Returns
    -------
    callable or None
        ``step(inputs, labels)`` updates and returns the cost; None on engines other than JAX.
    """
    if engine() != "jax":
        return None
    import jax

    update = jax.jit(_update(model, optimizer, loss), donate_argnums=0)
    state = _state(model, optimizer)

    def step(inputs: Any, labels: Any) -> Any:
        nonlocal state
        state, cost = update(state, inputs, labels)
        return cost

    return step


def compiled_forward(model: keras.Model) -> Step | None:
    """Compile a step without training; ``step(inputs, anything)`` returns the outputs. JAX only, otherwise None."""
    if engine() != "jax":
        return None
    import jax

    def forward(weights: Any, inputs: Any) -> Any:
        return model.stateless_call(*weights, inputs, training=False)[0]

    compiled: Any = jax.jit(forward)
    weights = _values(model.trainable_variables), _values(model.non_trainable_variables)
    return lambda inputs, _: compiled(weights, inputs)


def compiled_epoch(
    model: keras.Model,
    optimizer: keras.optimizers.Optimizer,
    *,
    images: int,
    dimensions: int,
    classes: int,
    batch: int,
) -> Callable[[], Any] | None:
    """Compile a whole epoch of training on random features in the device's memory into one call.

    Parameters
    ----------
    model : keras.Model
        From features to logits.
    optimizer : keras.optimizers.Optimizer
    images : int
        Those that do not fill the last batch are left out; every call draws a new order, on the device.
    dimensions : int
    classes : int
    batch : int

    Returns
    -------
    callable or None
        Runs an epoch and returns a value to `wait` for; None on engines other than JAX.
    """
    if engine() != "jax":
        return None
    import jax
    import jax.numpy as jnp

    steps = images // batch
    update = _update(model, optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True))

    @partial(jax.jit, static_argnums=1)
    def draw(key: Any, rows: int) -> Any:
        # bottlenecks are means of rectified values, so none is below 0
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
    """Copy values, as the model's own arrays must outlive a step that gives up its state."""
    import jax.numpy as jnp

    return [jnp.array(variable.value, copy=True) for variable in variables]
