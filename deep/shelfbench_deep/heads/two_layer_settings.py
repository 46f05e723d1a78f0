"""The section ``two_layer`` of a study."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import NamedTuple

from shelfbench.base.errors import InputError
from shelfbench.base.processor import multiplies_bfloat16_faster
from shelfbench.plugins.backend import EARLIER
from shelfbench_deep.engines.versions import openvino_version

ENGINES = ("auto", "numpy", "openvino", "keras")
PRECISIONS = ("auto", "float32", "bfloat16")


class Engine(NamedTuple):
    """What trains, settled for a machine: ``numpy``, ``openvino`` or ``keras``, and the type of its products."""

    name: str
    precision: str = "float32"


@dataclass(frozen=True, kw_only=True)
class TwoLayerSettings:
    """Section ``two_layer`` of a study.

    Batch, learning rate and its decay are the paper's (C22 to C24, the exponent of the decay read as negative). The
    paper states no momentum, dropout rate, activation or number of epochs. Momentum, dropout, batch normalisation and
    the lack of standardising are the best of a few that were tried on the `tune` half of ``fashion``.

    Attributes
    ----------
    epochs : int
        Maximum number of passes over the training images.
    patience : int
        Stop after this many epochs without a better precision on `tune`; 0 trains all of them. The best epoch on
        `tune` is kept in either case.
    batch : int
        Images per update.
    learning_rate : float
        Before the first update.
    decay : float
        The rate after t updates is ``learning_rate / (1 + decay * t)``.
    momentum : float
        Of stochastic gradient descent.
    dropout : float
        Share of the first hidden layer's outputs that each update drops (C29).
    batch_norm : {"none", "one", "several"}
        Layers of batch normalisation (C44, Figure 3).
    batch_norm_at : {"hidden", "logits"}
        How to read C44's "logits". ``hidden``: the pre-activations of the first hidden layer (one) or of both
        (several). ``logits``: the output (one), or the output and both hidden layers (several).
    standardise : bool
        Whether to scale each feature to mean 0 and standard deviation 1 over the training images first.
    engine : {"auto", "numpy", "openvino", "keras"}
        The engine that trains: NumPy (`shelfbench_deep.heads.two_layer_cpu`) or OpenVINO
        (`shelfbench_deep.heads.two_layer_openvino`) on the CPU, or Keras, wherever its engine computes. ``auto`` is
        Keras on an accelerator, OpenVINO where the CPU multiplies bfloat16 faster, and NumPy elsewhere. They all do the
        same, but draw different dropout masks.
    precision : {"auto", "float32", "bfloat16"}
        Of the matrix products; everything else is float32. bfloat16 is OpenVINO's, and ``auto`` takes it where the CPU
        multiplies it faster (AMX, or AVX512_BF16 on AMD).
    window : int
        Images that are shuffled together. 0 shuffles all of them if their features fit into half of the free memory,
        and otherwise as many as take 512 MiB (`shelfbench_deep.heads.order`). The results of a machine with more
        memory may differ then; the number of all training images, or more, is the order of a machine with enough.

    Raises
    ------
    InputError
        If a value is not valid.
    """

    epochs: int = 20
    patience: int = 0
    batch: int = 256
    learning_rate: float = 0.1
    decay: float = 7e-5
    momentum: float = 0.0
    dropout: float = 0.5
    batch_norm: str = "several"
    batch_norm_at: str = "hidden"
    standardise: bool = False
    engine: str = "auto"
    precision: str = field(default="auto", metadata={EARLIER: "auto"})
    window: int = field(default=0, metadata={EARLIER: 0})

    def __post_init__(self) -> None:
        for name, least in (("epochs", 1), ("patience", 0), ("batch", 1), ("window", 0)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise InputError(f"two_layer.{name} is {value!r}", f"give a whole number of at least {least}")
        for name in ("learning_rate", "decay", "momentum", "dropout"):
            value = getattr(self, name)
            number = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf
            if not number or (name == "learning_rate" and value == 0):
                raise InputError(f"two_layer.{name} is {value!r}", "give a positive number")
            if name in ("momentum", "dropout") and value >= 1:
                raise InputError(f"two_layer.{name} is {value!r}", "give a number from 0 to below 1")
        choices = {
            "batch_norm": ("none", "one", "several"),
            "batch_norm_at": ("hidden", "logits"),
            "engine": ENGINES,
            "precision": PRECISIONS,
        }
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise InputError(f"two_layer.{name} is {getattr(self, name)!r}", f"choose from: {', '.join(allowed)}")
        if not isinstance(self.standardise, bool):
            raise InputError(f"two_layer.standardise is {self.standardise!r}", "give true or false")
        if self.precision == "bfloat16" and self.engine in ("numpy", "keras"):
            raise InputError(
                f"two_layer.precision is 'bfloat16', and two_layer.engine={self.engine} trains in float32",
                "set two_layer.engine=openvino, or omit one of them",
            )

    def settle(self, device: str) -> Engine:
        """Choose the engine and its precision for this machine.

        Parameters
        ----------
        device : str
            Where Keras computes: ``cpu``, or an accelerator's name.

        Returns
        -------
        Engine

        Raises
        ------
        InputError
            If OpenVINO is requested and not installed.
        """
        if self.engine in ("numpy", "keras"):
            return Engine(self.engine)
        fast = multiplies_bfloat16_faster()
        if self.engine == "auto" and self.precision != "bfloat16":
            if device != "cpu":
                return Engine("keras")
            if self.precision == "float32" or not fast or openvino_version() is None:
                return Engine("numpy")
        if openvino_version() is None:
            raise InputError(
                "OpenVINO, which is to train the 2NN, is not installed",
                "python -m pip install openvino, or set two_layer.engine=numpy and omit two_layer.precision",
            )
        if self.precision == "auto":
            return Engine("openvino", "bfloat16" if fast else "float32")
        return Engine("openvino", self.precision)

    def rate(self, updates: int) -> float:
        """Learning rate after a number of updates."""
        return self.learning_rate / (1 + self.decay * updates)

    def normalised(self) -> frozenset[str]:
        """Names of the dense layers that batch normalisation follows."""
        if self.batch_norm == "none":
            return frozenset()
        if self.batch_norm_at == "hidden":
            return frozenset({"hidden1"} if self.batch_norm == "one" else {"hidden1", "hidden2"})
        return frozenset({"logits"} if self.batch_norm == "one" else {"hidden1", "hidden2", "logits"})
