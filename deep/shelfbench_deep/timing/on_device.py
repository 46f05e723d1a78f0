"""Steps as a device runs them best, and facts about the device.

On JAX a step is one compiled call (see `shelfbench_deep.engines.native`); on the other engines it is Keras' own.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass

from shelfbench.cost.timing import machine
from shelfbench_deep.engines.keras import keras
from shelfbench_deep.engines.native import (
    Step,
    accelerator,
    compiled_forward,
    compiled_step,
    device_memory,
    engine,
    jit_compile,
)


@dataclass(frozen=True)
class Device:
    """Where Keras computes.

    Attributes
    ----------
    name : str
        The engine's name for an accelerator; for a CPU, the processor's name.
    kind : {'gpu', 'cpu'}
        Every accelerator counts as ``gpu``.
    engine : str
    """

    name: str
    kind: str
    engine: str


def device() -> Device:
    """Find out where Keras computes."""
    name = accelerator()
    return Device(name or str(machine()["cpu"]), "gpu" if name else "cpu", engine())


def peak_memory() -> tuple[float, str]:
    """Peak MiB in use since this process began: of the ``device`` if the engine reports it, else of the ``process``."""
    if (on_device := device_memory()) is not None:
        return on_device, "device"
    if os.name == "posix":
        import resource

        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most / (2**20 if sys.platform == "darwin" else 2**10), "process"
    import psutil

    return psutil.Process().memory_info().peak_wset / 2**20, "process"


def training_step(model: keras.Model, optimizer: keras.optimizers.Optimizer) -> Step:
    """Make a training step on sparse labels and logits.

    Parameters
    ----------
    model : keras.Model
    optimizer : keras.optimizers.Optimizer

    Returns
    -------
    callable
        ``step(inputs, labels)`` updates and returns a value to `wait` for. On JAX the weights then live in the step and
        no longer in `model`.
    """
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    if (step := compiled_step(model, optimizer, loss)) is not None:
        return step
    model.compile(optimizer, loss, jit_compile=jit_compile())
    return lambda inputs, labels: model.train_on_batch(inputs, labels)


def forward_step(model: keras.Model) -> Step:
    """Make a step without training: ``step(inputs, anything)`` returns the outputs."""
    if (step := compiled_forward(model)) is not None:
        return step
    model.compile(jit_compile=jit_compile())
    return lambda inputs, _: model.predict_on_batch(inputs)
