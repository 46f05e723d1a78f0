"""How the networks of both papers are optimised: four configurations and what belongs to them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from shelfbench.base.errors import InputError
from shelfbench_deep.training.in_parts import in_parts

if TYPE_CHECKING:
    from shelfbench_deep.engines.keras import keras

# X, §4.3 (X08)
WEIGHT_DECAY = {"inception_v3": 4e-5, "xception": 1e-5}

_ALLOWED = {
    "optimizer": ("sgd", "rmsprop"),
    "decay": ("inverse", "staircase", "constant"),
    "decay_unit": ("updates", "epochs", "samples"),
}


def _is_number(value: object) -> bool:
    """Whether a value is a finite number of at least 0."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value >= 0


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One configuration of the optimiser; others are derived from it with `dataclasses.replace`.

    Attributes
    ----------
    name : str
    where : str
        Paper and section.
    optimizer : {"sgd", "rmsprop"}
    learning_rate : float
        Before the first update.
    decay : {"inverse", "staircase", "constant"}
        With s updates in `decay_every` units, the rate after t updates is ``learning_rate / (1 + decay_rate * t / s)``,
        ``learning_rate * decay_rate ** floor(t / s)``, or ``learning_rate``.
    decay_rate : float
    decay_every : int
    decay_unit : {"updates", "epochs", "samples"}
        X07 prints 3,000,000 samples, which makes the rate vanish (2e-18) within the paper's 30M updates, if these have
        32 images; ``updates`` is the other reading, with 10 decays in all.
    momentum : float
        C states none.
    rho : float
        Of RMSprop. X does not state it: 0.9 was used for Inception V3, and is Keras' default as well.
    epsilon : float
        Of RMSprop. X does not state it: this is Keras' default, under the root. (Inception V3's authors used 1.0.)
    ema : float
        Share of itself that the average of the weights keeps at an update (Polyak averaging, see `averaged`); 0 for no
        average. X states no rate; 0.9999 is that of Inception V3's published training code. An average with such a
        long memory is only useful after tens of thousands of updates: after t of them, the weights after the first one
        still make up ``ema ** (t - 1)`` of it.
    batch : int
        Images per update; 32, per device, is our choice for X, which does not state it.
    weight_decay : float or None
        L2 rate for `set_weight_decay`; None for the network's own (`decay_for`).
    dropout : float
        Before the logits (X08).
    label_smoothing : float
        Neither paper mentions any.

    Raises
    ------
    InputError
        If a value is not valid.
    """

    name: str
    where: str
    optimizer: str
    learning_rate: float
    decay: str
    decay_rate: float
    batch: int
    decay_every: int = 1
    decay_unit: str = "updates"
    momentum: float = 0.0
    rho: float = 0.9
    epsilon: float = 1e-7
    ema: float = 0.0
    weight_decay: float | None = 0.0
    dropout: float = 0.0
    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        for name, allowed in _ALLOWED.items():
            if getattr(self, name) not in allowed:
                raise InputError(f"recipe.{name} is {getattr(self, name)!r}", f"choose from: {', '.join(allowed)}")
        for name in ("batch", "decay_every"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise InputError(f"recipe.{name} is {value!r}", "give a whole number of at least 1")
        for name in ("learning_rate", "epsilon"):
            if not _is_number(getattr(self, name)) or getattr(self, name) <= 0:
                raise InputError(f"recipe.{name} is {getattr(self, name)!r}", "give a positive number")
        for name in ("momentum", "rho", "ema", "dropout", "label_smoothing"):
            if not _is_number(getattr(self, name)) or getattr(self, name) >= 1:
                raise InputError(f"recipe.{name} is {getattr(self, name)!r}", "give a number from 0 to below 1")
        if not _is_number(self.decay_rate) or (self.decay == "staircase" and not 0 < self.decay_rate <= 1):
            raise InputError(
                f"recipe.decay_rate is {self.decay_rate!r}", "give at least 0; for a staircase above 0 and at most 1"
            )
        if self.weight_decay is not None and not _is_number(self.weight_decay):
            raise InputError(f"recipe.weight_decay is {self.weight_decay!r}", "give a number of at least 0")

    def decay_for(self, network: str) -> float:
        """Rate of weight decay for a network; 0 if it depends on the network and the paper does not train this one."""
        return WEIGHT_DECAY.get(network, 0.0) if self.weight_decay is None else self.weight_decay

    def decay_steps(self, batch: int, steps_per_epoch: int) -> int:
        """Updates between two decays, at least 1.

        Parameters
        ----------
        batch : int
            Images per update, over all devices.
        steps_per_epoch : int
            Updates per epoch.

        Returns
        -------
        int
        """
        if self.decay_unit == "epochs":
            return self.decay_every * max(1, steps_per_epoch)
        return max(1, round(self.decay_every / batch)) if self.decay_unit == "samples" else self.decay_every

    def rate(self, updates: int, batch: int, steps_per_epoch: int) -> float:
        """Learning rate after a number of updates, exactly; the other parameters are those of `decay_steps`."""
        steps = self.decay_steps(batch, steps_per_epoch)
        if self.decay == "inverse":
            return self.learning_rate / (1 + self.decay_rate * updates / steps)
        return self.learning_rate * (self.decay_rate ** (updates // steps) if self.decay == "staircase" else 1)

    def build(self, batch: int, steps_per_epoch: int, parts: int = 1) -> keras.optimizers.Optimizer:
        """Make the optimiser including its schedule; the first parameters are those of `decay_steps`.

        `parts` is the number of steps in which the images of an update come (`shelfbench_deep.training.in_parts`).
        Keras computes the schedule in float32: up to 2^24 updates it equals `rate` within rounding; later it may decay
        one update too early or too late.
        """
        from shelfbench_deep.engines.keras import keras

        steps = self.decay_steps(batch, steps_per_epoch)
        schedules = keras.optimizers.schedules
        rate: object = float(self.learning_rate)
        if self.decay == "inverse":
            rate = schedules.InverseTimeDecay(self.learning_rate, steps, self.decay_rate)
        elif self.decay == "staircase":
            rate = schedules.ExponentialDecay(self.learning_rate, steps, self.decay_rate, staircase=True)
        common = {
            "learning_rate": rate,
            "momentum": self.momentum,
            "use_ema": self.ema > 0,
            "ema_momentum": self.ema,
        }
        if self.optimizer == "sgd":
            return in_parts(keras.optimizers.SGD, parts, **common)
        return in_parts(keras.optimizers.RMSprop, parts, rho=self.rho, epsilon=self.epsilon, **common)

    @property
    def slots(self) -> int:
        """Variables that the optimiser keeps for each weight."""
        return int(self.momentum > 0) + int(self.ema > 0) + int(self.optimizer == "rmsprop")


RECIPES = {
    recipe.name: recipe
    for recipe in (
        # C22 to C27; the printed exponents of the decay, 7·10^5 and 10^4, are read as negative.
        Recipe(
            name="c-bottlenecks",
            where="C, §4.2",
            optimizer="sgd",
            learning_rate=0.1,
            decay="inverse",
            decay_rate=7e-5,
            batch=256,
        ),
        Recipe(
            name="c-finetuning",
            where="C, §4.3",
            optimizer="sgd",
            learning_rate=0.05,
            decay="inverse",
            decay_rate=1e-4,
            batch=128,
        ),
        Recipe(
            name="x-imagenet",
            where="X, §4.2 and §4.3",
            optimizer="sgd",
            learning_rate=0.045,
            decay="staircase",
            decay_rate=0.94,
            batch=32,
            decay_every=2,
            decay_unit="epochs",
            momentum=0.9,
            ema=0.9999,
            weight_decay=None,
            dropout=0.5,
        ),
        Recipe(
            name="x-jft",
            where="X, §4.2 and §4.3",
            optimizer="rmsprop",
            learning_rate=0.001,
            decay="staircase",
            decay_rate=0.9,
            batch=32,
            decay_every=3_000_000,
            decay_unit="samples",
            momentum=0.9,
            ema=0.9999,
            weight_decay=None,
        ),
    )
}


@contextmanager
def averaged(model: keras.Model) -> Iterator[None]:
    """Evaluate with the averages of the weights that the optimiser keeps (X, §4.2), without training from them.

    Inside, the trainable variables hold the averages; afterwards, also after an exception, the trained weights are back
    bit for bit. Nothing happens if the optimiser keeps no averages, or has not made an update yet.

    Keras (``use_ema=True``; the same on each engine) starts with averages of zeros, sets them to the weights at the end
    of the first update, and after each later one takes ``ema * average + (1 - ema) * weights``. There is no bias
    correction, and `train_on_batch` never writes them into the model (only `fit` does, at its end). They are variables
    of the optimiser, so that a checkpoint contains them. Only trainable variables are averaged: the means and variances
    of batch normalisation stay those of the training.

    Parameters
    ----------
    model : keras.Model
        Compiled.
    """
    from shelfbench_deep.engines.keras import keras

    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)  # mixed_float16 wraps it
    to_numpy = keras.ops.convert_to_numpy  # also reads a variable that is spread over devices
    if not (optimizer and optimizer.use_ema and optimizer.built and to_numpy(optimizer.iterations) > 0):
        yield
        return
    averages = optimizer._model_variables_moving_average
    # Copies on the host: on JAX, two variables that share a buffer break its donation to the next step; on the other
    # engines, a view would follow the variable.
    kept = [(variable, np.array(to_numpy(variable))) for variable in optimizer._trainable_variables]
    try:
        for (variable, _), average in zip(kept, averages, strict=True):
            variable.assign(np.array(to_numpy(average)))
        yield
    finally:
        for variable, weights in kept:
            variable.assign(weights)


def set_weight_decay(model: keras.Model, rate: float) -> None:
    """Give every kernel of a built model an L2 penalty (X08), replacing any it has.

    Kernels are those of convolutions (also depthwise and pointwise ones) and dense layers; biases and batch
    normalisation have no penalty. Call it before the first step, as engines compile the cost. The cost that Keras then
    reports includes ``rate * sum(w ** 2)`` over the trainable kernels. TF-Slim, with which Inception V3 was first
    trained, means half of that: its 4e-5 is 2e-5 here. This is not the optimisers' ``weight_decay=``, which is
    decoupled from the cost.

    Parameters
    ----------
    model : keras.Model
    rate : float
        At least 0; 0 removes the penalties.

    Raises
    ------
    InputError
        If the rate is not such a number.
    """
    from shelfbench_deep.engines.keras import keras

    if not _is_number(rate):
        raise InputError(f"the weight decay is {rate!r}", "give a number of at least 0")
    penalty = keras.regularizers.L2(rate) if rate else None
    for variable in model.variables:
        if variable.name.endswith("kernel"):
            variable.regularizer = penalty


def class_weights(labels: np.ndarray, classes: int) -> np.ndarray:
    """Weights that make each category present count the same: ``n / (present * count)``, as in scikit-learn.

    Parameters
    ----------
    labels : ndarray of int, shape (n,)
        Codes 0 .. classes - 1.
    classes : int

    Returns
    -------
    ndarray of float32, shape (classes,)
        0 for a category without images; the mean over the images is 1.

    Raises
    ------
    ValueError
        If a label is out of range.
    """
    counts = np.bincount(labels, minlength=classes)
    if len(counts) > classes:
        raise ValueError(f"label {len(counts) - 1} is not among {classes} classes")
    present = counts > 0
    weights = np.zeros(classes, np.float32)
    weights[present] = len(labels) / (present.sum() * counts[present])
    return weights


def loss(label_smoothing: float = 0.0, multi_label: bool = False) -> keras.losses.Loss:
    """Cross-entropy from logits, averaged over the images.

    Parameters
    ----------
    label_smoothing : float
        Share of the target that is spread evenly: over all classes or, with `multi_label`, between 0 and 1.
    multi_label : bool
        False: softmax; targets are codes, shape (n,) or (n, 1). True: sigmoid (X, §4.1), also averaged over the
        classes; targets are 0 or 1, shape (n, classes).

    Returns
    -------
    keras.losses.Loss

    Raises
    ------
    InputError
        If the smoothing is out of range.
    """
    from shelfbench_deep.engines.keras import keras

    if not _is_number(label_smoothing) or label_smoothing >= 1:
        raise InputError(f"the label smoothing is {label_smoothing!r}", "give a number from 0 to below 1")
    if multi_label:
        return keras.losses.BinaryCrossentropy(from_logits=True, label_smoothing=label_smoothing)
    if not label_smoothing:
        return keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    class SmoothedCrossentropy(keras.losses.Loss):
        """Smoothing of codes, as Keras smooths one-hot targets only."""

        def call(self, y_true: Any, y_pred: Any) -> Any:
            codes = keras.ops.cast(keras.ops.reshape(y_true, (-1,)), "int32")
            targets = keras.ops.one_hot(codes, y_pred.shape[-1], dtype=y_pred.dtype)
            return keras.losses.categorical_crossentropy(
                targets, y_pred, from_logits=True, label_smoothing=label_smoothing
            )

    return SmoothedCrossentropy(name="smoothed_crossentropy")
