"""Helpers for tests of networks: counting without memory, and weights that all matter."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from shelfbench_deep.engines.keras import keras


@contextmanager
def shapes_only() -> Iterator[None]:
    """Networks built inside have shapes but no values, and the names that Keras gives in a fresh process."""
    keras.utils.clear_session(free_memory=False)
    try:
        with keras.StatelessScope(initialize_variables=False):
            yield
    finally:
        # Keras would give them values when the next network is built.
        keras.utils.clear_session(free_memory=False)


def counts(model: keras.Model) -> tuple[int, int, int]:
    """Parameters: total, trainable, not trainable."""
    total, trainable, fixed = (
        sum(math.prod(variable.shape) for variable in variables)
        for variables in (model.weights, model.trainable_weights, model.non_trainable_weights)
    )
    return total, trainable, fixed


def randomise(model: keras.Model, seed: int = 0) -> None:
    """Give every weight a random value, running means and variances too, that keeps activations within bounds."""
    rng = np.random.default_rng(seed)
    values = []
    for weight in model.weights:
        if weight.name in ("gamma", "moving_variance"):
            values.append(rng.uniform(0.5, 1.5, weight.shape))
        elif weight.name in ("beta", "bias", "moving_mean"):
            values.append(rng.normal(0, 0.1, weight.shape))
        else:
            values.append(rng.normal(0, math.sqrt(2 / math.prod(weight.shape[:-1])), weight.shape))
    model.set_weights(values)
