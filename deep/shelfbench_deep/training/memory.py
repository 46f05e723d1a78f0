"""How much memory a training takes, and how many images it may hold at a time so that it fits the machine.

The images of one update need not be in memory together: their gradients are added up over parts of the batch
(`shelfbench_deep.training.in_parts`). Only batch normalisation notices, as it then sees the images of one part.

What is chosen depends on the network, its images and a limit that is the same on every machine
(`TrainingSettings.memory_gib`), so that a study trains the same network wherever that much is free; only a machine with
less takes smaller parts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shelfbench.base.errors import InputError
from shelfbench.base.processor import free_memory

if TYPE_CHECKING:
    from shelfbench_deep.engines.keras import keras

GIB = 2**30
# Bytes that the process has taken before a network is trained: Python, the engine and its compiled steps.
_ENGINE = {"tensorflow": 1.1 * GIB, "jax": 0.6 * GIB, "torch": 0.7 * GIB}
# Bytes held at the peak of a step, per byte of all outputs of the layers that are trained (measured by
# tests/benchmarks/training_memory.py, results/scale/training.csv).
_KEPT = {"tensorflow": 1.15, "jax": 1.0, "torch": 1.2}
# Copies of the weights besides themselves: gradients, their sums, the best epoch's, and a checkpoint being written.
_COPIES = 5
# Batches that wait, decoded, for the device.
_WAITING = 5
# Images below which batch normalisation's statistics are too uncertain to choose.
LEAST = 8


@dataclass(frozen=True, kw_only=True)
class Need:
    """Bytes that a training takes on a CPU, beyond those of the engine.

    Attributes
    ----------
    weights : float
        However many images are in memory.
    image : float
        Each image of a part.
    waiting : float
        Each image of a batch, of which several wait for the device.
    normalises : bool
        Whether batch normalisation is trained, so that the images of a part influence each other.
    """

    weights: float
    image: float
    waiting: float
    normalises: bool

    def of(self, batch: int, part: int) -> float:
        """Bytes of a training in parts of so many images."""
        return self.weights + part * self.image + batch * self.waiting

    def shared(self, processes: int) -> Need:
        """What each of some processes needs that take an equal share of every part."""
        return replace(self, image=self.image / processes, waiting=self.waiting / processes)


def engine_bytes() -> float:
    """Bytes that a process has taken with the engine under Keras, before it trains."""
    from shelfbench_deep.engines.native import engine

    return _ENGINE.get(engine(), max(_ENGINE.values()))


def need_of(model: keras.Model, slots: int) -> Need:
    """Work out what a network needs, before it is trained.

    Parameters
    ----------
    model : keras.Model
        Built, with what stays fixed frozen.
    slots : int
        Variables that the optimiser keeps for each weight.

    Returns
    -------
    Need
    """
    from shelfbench_deep.engines.keras import keras
    from shelfbench_deep.engines.native import engine

    layers = model.layers
    first = next((i for i, layer in enumerate(layers) if layer.trainable_weights), len(layers))
    outputs = sum(_outputs(layer) for layer in layers[first:])
    trained = sum(math.prod(weight.shape) for weight in model.trainable_weights)
    return Need(
        weights=4.0 * (model.count_params() + (slots + _COPIES) * trained),
        image=4.0 * outputs * _KEPT.get(engine(), max(_KEPT.values())),
        waiting=4.0 * math.prod(model.input.shape[1:]) * _WAITING,
        normalises=any(
            isinstance(layer, keras.layers.BatchNormalization) and layer.trainable for layer in layers[first:]
        ),
    )


def _outputs(layer: keras.Layer) -> int:
    """Numbers that a layer computes of one image, between its two convolutions as well, if it has two."""
    from shelfbench_deep.engines.keras import keras

    outputs = layer.output if isinstance(layer.output, list) else [layer.output]
    count = sum(math.prod(output.shape[1:]) for output in outputs)
    if isinstance(layer, keras.layers.SeparableConv2D):
        count += math.prod(layer.output.shape[1:-1]) * int(layer.input.shape[-1]) * layer.depth_multiplier
    return int(count)


@dataclass(frozen=True, kw_only=True)
class Parts:
    """How the images of one update go through the network.

    Attributes
    ----------
    batch : int
        Images of an update.
    part : int
        Images at a time.
    bytes : float
        What the training then takes, beyond the engine's own.
    normalises : bool
        As in `Need`.
    """

    batch: int
    part: int
    bytes: float
    normalises: bool

    @property
    def count(self) -> int:
        """Number of parts of an update."""
        return self.batch // self.part

    def cut(self, part: int) -> Parts:
        """Take parts of another size, which divides the batch."""
        return self if part == self.part else replace(self, part=part, batch=self.batch // part * part)

    @property
    def process(self) -> float:
        """Bytes of the whole process."""
        return engine_bytes() + self.bytes

    @property
    def words(self) -> str:
        """Say what it does, for the log."""
        seen = f"batch normalisation sees {self.part} images at a time" if self.normalises else "nothing else changes"
        return (
            f"the {self.batch} images of an update go through the network in {self.count} parts of {self.part}, for "
            f"which this process needs {self.process / GIB:.1f} GiB of memory; {seen}"
        )

    @property
    def record(self) -> dict[str, Any]:
        """For the record of the training (JSON); empty for whole batches, as it was before there were parts."""
        if self.count == 1:
            return {}
        seen = {"batch_norm": f"over {self.part} images"} if self.normalises else {}
        return {"images_at_a_time": self.part, **seen}


def _parts(batch: int, part: int, need: Need) -> Parts:
    return Parts(batch=batch, part=part, bytes=need.of(batch, part), normalises=need.normalises)


def given(batch: int, part: int, need: Need, devices: int = 1) -> Parts:
    """Cut a batch into parts of at most so many images, of equal size; a few images of the batch may be left out."""
    part = max(devices, min(part, batch) // devices * devices)
    count = math.ceil(batch / part)
    part = max(devices, batch // count // devices * devices)
    return _parts(part * count, part, need)


def largest(batch: int, need: Need, *, most: float, devices: int = 1) -> Parts:
    """Find the largest parts that take at most so many bytes.

    Parameters
    ----------
    batch : int
        A multiple of `devices`.
    need : Need
    most : float
        Bytes.
    devices : int
        That share each part.

    Returns
    -------
    Parts
        The smallest that are sensible (`LEAST` images, or one for each device if nothing is normalised by them) if
        none fits. Parts that divide the batch come before others.
    """
    least = min(batch, max(devices, LEAST if need.normalises else 1))
    sizes = sorted({batch // count // devices * devices for count in range(1, batch + 1)} - {0}, reverse=True)
    sizes = [size for size in sizes if size >= least]
    fitting = [size for size in sizes if need.of(batch, size) <= most] or sizes[-1:]
    chosen = next((size for size in fitting if batch % size == 0), fitting[0])
    return _parts(chosen * (batch // chosen), chosen, need)


@dataclass(frozen=True, kw_only=True)
class Circumstances:
    """On what the choice of `Parts` depends, besides the network.

    Attributes
    ----------
    name : str
        Of the training, for messages.
    batch : int
        Images of an update, a multiple of `devices`.
    devices : int
    part : int
        As the settings say; 0 leaves it to this module.
    begun : int or None
        The `part` with which the training has begun, 0 for whole batches; None if it has not.
    limit : float
        Bytes that the process may take for it.
    host : bool
        Whether it is trained in this machine's memory, and not in that of an accelerator.
    checkpoint : Path or None
        Where the training has begun.
    """

    name: str
    batch: int
    devices: int
    part: int
    begun: int | None
    limit: float
    host: bool
    checkpoint: Path | None = None


def choose_parts(need: Need, around: Circumstances) -> Parts:
    """Choose how many images are in the network at a time.

    A training goes on as it has begun; then come the settings, and then the largest parts that fit into the limit and
    into what is free.

    Parameters
    ----------
    need : Need
    around : Circumstances

    Returns
    -------
    Parts

    Raises
    ------
    InputError
        If not even the smallest sensible parts fit into what is free.
    """
    batch, devices, free = around.batch, around.devices, float(free_memory())
    settled = around.part if around.begun is None else around.begun
    if settled or around.begun is not None or not around.host:
        parts = given(batch, settled or batch, need, devices)
    else:
        parts = largest(batch, need, most=min(around.limit - engine_bytes(), free), devices=devices)
    if not around.host or parts.bytes <= free:
        return parts
    if around.begun is not None:
        remedy = f"free some memory, or delete {around.checkpoint}: the training then starts over in smaller parts"
    elif around.part and (smaller := largest(batch, need, most=free, devices=devices)).bytes <= free:
        remedy = f"set training.part={smaller.part}, or 0 to leave the choice to what is free"
    elif (fewer := largest(batch, replace(need, normalises=False), most=free, devices=devices)).bytes <= free:
        remedy = f"set training.part={fewer.part}, though batch normalisation then sees no more images at a time"
    else:
        remedy = "set fewer pixels, free some memory, or use another machine"
    raise InputError(
        f"{around.name} needs {parts.bytes / GIB:.1f} GiB of memory to be trained, {parts.part} images at a time, and "
        f"{free / GIB:.1f} GiB is free",
        remedy,
    )
