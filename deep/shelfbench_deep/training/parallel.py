"""Training in mixed precision and on several local devices: all that must know the engine by name for it stands here.

Each batch is cut into equal parts, one per device, and after an update the weights are the same everywhere. JAX
compiles one program for the whole batch, so that batch normalisation and dropout do what they do on one device.
TensorFlow runs the program of a part on each device: batch normalisation must be told to take its statistics over all
of them (`synchronise`), and dropout draws one mask for all parts. Keras has no such thing for PyTorch.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from shelfbench.base.errors import InputError

if TYPE_CHECKING:
    from shelfbench_deep.engines.loading import keras


@contextmanager
def precision(policy: str) -> Iterator[None]:
    """Build and train in this precision (Keras' dtype policy); what is built after is float32 again."""
    from shelfbench_deep.engines.loading import keras

    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy("float32")


def devices(count: int) -> list[str]:
    """Choose the local devices that share each batch.

    Parameters
    ----------
    count : int
        How many; 0 takes all accelerators, or, on a machine without any, the CPU: one device, unless the engine was
        told to make several virtual ones of it.

    Returns
    -------
    list of str
        In the engine's own names.

    Raises
    ------
    InputError
        If there are fewer, or the engine trains on one only.
    """
    from shelfbench_deep.engines.loading import keras

    engine = keras.backend.backend()
    if engine == "torch":
        import torch

        if count > 1:
            raise InputError(
                f"training.devices is {count}, and Keras trains on one device with PyTorch",
                "set training.devices=1, or KERAS_BACKEND to jax or tensorflow",
            )
        return ["cuda:0" if torch.cuda.is_available() else "cpu"]
    if engine == "jax":
        import jax

        found = [f"{device.platform}:{device.id}" for device in jax.local_devices()]
    else:
        import tensorflow as tf

        logical = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
        found = [device.name for device in logical]
    if count > len(found):
        raise InputError(
            f"training.devices is {count}, and this machine has {len(found)} for it ({', '.join(found)})",
            "give no more than that, or 0 for all",
        )
    return found[: count or None]


@contextmanager
def distributed(count: int, jit: str = "auto") -> Iterator[int]:
    """Build, compile, train and judge a network inside, on so many devices (see `devices`); inside `precision`.

    Parameters
    ----------
    count : int
    jit : {"auto", "on", "off"}
        As in ``training.jit``, which it checks.

    Yields
    ------
    int
        Number of devices. With one, nothing changes for the network or its training.

    Raises
    ------
    InputError
        If there are not so many devices, or, on several with TensorFlow, XLA or float16 is asked for.
    """
    from shelfbench_deep.engines.loading import keras

    chosen = devices(count)
    if len(chosen) == 1:
        yield 1
    elif keras.backend.backend() == "jax":
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
        # Keras asks the first device alone whether its gradients are finite, and applies infinite ones of the others
        raise InputError(
            f"training.precision is 'mixed_float16', which Keras does not scale right on {len(chosen)} devices"
            " with TensorFlow",
            'set training.precision="mixed_bfloat16", training.devices=1, or KERAS_BACKEND to jax',
        )
    else:
        with _mirrored(tuple(chosen)).scope():
            yield len(chosen)


@cache
def _mirrored(chosen: tuple[str, ...]) -> Any:
    """One strategy for all trainings of a process: each numbers its reductions anew, and two would mix theirs up."""
    import tensorflow as tf

    return tf.distribute.MirroredStrategy(chosen)


def synchronise(model: keras.Model) -> None:
    """Let batch normalisation take its statistics over the whole batch; call it before compiling.

    Only TensorFlow has to be told, and only on several devices.
    """
    from shelfbench_deep.engines.loading import keras

    if _strategy(model) is not None:
        for layer in model._flatten_layers():
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.synchronized = True


def train_step(
    model: keras.Model, images: np.ndarray, labels: np.ndarray, sample_weight: np.ndarray | None
) -> dict[str, float]:
    """Update a compiled network once, as its ``train_on_batch`` does on one device.

    Parameters
    ----------
    model : keras.Model
    images, labels, sample_weight : ndarray
        As many of each as the number of devices divides.

    Returns
    -------
    dict
        ``loss`` and metrics on this batch, before the update.
    """
    model.reset_metrics()  # some engines accumulate over calls, others do not
    if (strategy := _strategy(model)) is None:
        logs = model.train_on_batch(images, labels, sample_weight=sample_weight, return_dict=True)
    else:
        # train_on_batch would give each device the whole batch; Keras' step scales the cost by the number of devices
        model._maybe_symbolic_build(data_batch=(images, labels, sample_weight))
        model.make_train_function()
        logs = model.train_function(iter([_split(strategy, images, labels, sample_weight)]))
    return {name: float(value) for name, value in logs.items()}


def predict(model: keras.Model, images: np.ndarray) -> np.ndarray:
    """Compute a network's outputs for a batch of any size, as its ``predict_on_batch`` does on one device."""
    from shelfbench_deep.engines.loading import keras

    strategy, distribution = _strategy(model), keras.distribution.distribution()
    if strategy is None and distribution is None:
        return np.asarray(model.predict_on_batch(images))
    count = distribution.device_mesh.devices.size if strategy is None else strategy.num_replicas_in_sync
    filled = np.concatenate([images, np.zeros((-len(images) % count, *images.shape[1:]), images.dtype)])
    if strategy is None:
        layout = distribution.get_data_layout(filled.shape)
        outputs = model.predict_on_batch(keras.distribution.distribute_tensor(filled, layout))
    else:  # predict_on_batch would give each device the whole batch, and all their outputs
        model.make_predict_function()
        outputs = model.predict_function([_split(strategy, filled)])
    return np.asarray(outputs)[: len(images)]


def _strategy(model: keras.Model) -> Any:
    """TensorFlow's strategy that a network was built in, where it has several devices; else None."""
    strategy = getattr(model, "distribute_strategy", None)
    return strategy if strategy is not None and strategy.num_replicas_in_sync > 1 else None


def _split(strategy: Any, *arrays: np.ndarray | None) -> tuple[Any, ...]:
    """Cut arrays into a part per device, in order."""
    import tensorflow as tf

    count = strategy.num_replicas_in_sync

    def part(context: Any) -> tuple[Any, ...]:
        number = context.replica_id_in_sync_group
        return tuple(
            None if array is None else tf.convert_to_tensor(np.split(array, count)[number]) for array in arrays
        )

    return strategy.experimental_distribute_values_from_function(part)
