"""One update and one prediction of a network, in any precision and on any number of local devices."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from shelfbench.base.processes import this_process

if TYPE_CHECKING:
    from shelfbench_deep.engines.keras import keras


@contextmanager
def precision(policy: str) -> Iterator[None]:
    """Build and train inside in this precision (Keras' dtype policy); what is built afterwards is float32 again."""
    from shelfbench_deep.engines.keras import keras

    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy("float32")


def synchronise(model: keras.Model) -> None:
    """Make batch normalisation compute its statistics over the whole batch; call it before compiling.

    Only TensorFlow has to be told, and only on several devices (see `shelfbench_deep.engines.native`).
    """
    from shelfbench_deep.engines.keras import keras
    from shelfbench_deep.engines.native import strategy_of

    if strategy_of(model) is not None:
        for layer in model._flatten_layers():
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.synchronized = True


def train_step(
    model: keras.Model, images: np.ndarray, labels: np.ndarray, sample_weight: np.ndarray | None, parts: int = 1
) -> dict[str, float]:
    """Update a compiled network once, as its ``train_on_batch`` does on one device.

    Parameters
    ----------
    model : keras.Model
    images : ndarray
        As many as the number of devices divides; the same goes for labels and weights.
    labels : ndarray
    sample_weight : ndarray or None
    parts : int
        Equal parts in which the images go through the network, one after the other; the optimiser was made for as many.

    Returns
    -------
    dict
        ``loss`` and metrics on this batch, before the update.
    """
    size, logs = len(images) // parts, []
    for begin in range(0, size * parts, size):
        part = slice(begin, begin + size)
        logs.append(_step(model, images[part], labels[part], None if sample_weight is None else sample_weight[part]))
    return {name: math.fsum(one[name] for one in logs) / parts for name in logs[0]}


def _step(
    model: keras.Model, images: np.ndarray, labels: np.ndarray, sample_weight: np.ndarray | None
) -> dict[str, float]:
    from shelfbench_deep.engines.native import split, strategy_of

    model.reset_metrics()  # some engines accumulate over calls, others do not
    if (strategy := strategy_of(model)) is None:
        logs = model.train_on_batch(images, labels, sample_weight=sample_weight, return_dict=True)
    else:
        # train_on_batch would give each device the whole batch; Keras' step scales the cost by the number of devices
        model._maybe_symbolic_build(data_batch=(images, labels, sample_weight))
        model.make_train_function()
        logs = model.train_function(iter([split(strategy, images, labels, sample_weight)]))
    return {name: float(value) for name, value in logs.items()}


def predict(model: keras.Model, images: np.ndarray) -> np.ndarray:
    """Compute a network's outputs for a batch of any size, as its ``predict_on_batch`` does on one device.

    Of several processes that train together, each gives its share of a batch, and has the outputs of all.
    """
    from shelfbench_deep.engines.keras import keras
    from shelfbench_deep.engines.native import split, strategy_of
    from shelfbench_deep.engines.processes import outputs_of_all

    if this_process().count > 1:
        return outputs_of_all(model, images)
    strategy, distribution = strategy_of(model), keras.distribution.distribution()
    if strategy is None and distribution is None:
        return np.asarray(model.predict_on_batch(images))
    count = distribution.device_mesh.devices.size if strategy is None else strategy.num_replicas_in_sync
    filled = np.concatenate([images, np.zeros((-len(images) % count, *images.shape[1:]), images.dtype)])
    if strategy is None:
        layout = distribution.get_data_layout(filled.shape)
        outputs = model.predict_on_batch(keras.distribution.distribute_tensor(filled, layout))
    else:  # predict_on_batch would give each device the whole batch, and return all their outputs
        model.make_predict_function()
        outputs = model.predict_function([split(strategy, filled)])
    return np.asarray(outputs)[: len(images)]
