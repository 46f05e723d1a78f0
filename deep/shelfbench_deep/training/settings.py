"""The sections ``training``, ``finetuning`` and ``full`` of a study."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

from shelfbench.base.errors import InputError

from shelfbench_deep.training.augment import AugmentSettings
from shelfbench_deep.training.recipes import RECIPES, Recipe


def _whole(section: str, settings: Any, **least: int) -> None:
    for name, bound in least.items():
        value = getattr(settings, name)
        if isinstance(value, bool) or not isinstance(value, int) or value < bound:
            raise InputError(f"{section}.{name} is {value!r}", f"give a whole number of at least {bound}")


def _number(section: str, settings: Any, **bounds: tuple[float, float]) -> None:
    """Check that numbers are at least the first bound and below the second."""
    for name, (low, high) in bounds.items():
        value = getattr(settings, name)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value < high:
            until = "" if high == math.inf else f" and below {high:g}"
            raise InputError(f"{section}.{name} is {value!r}", f"give a number of at least {low:g}{until}")


def _choice(section: str, settings: Any, **allowed: tuple[str, ...]) -> None:
    for name, values in allowed.items():
        if getattr(settings, name) not in values:
            raise InputError(f"{section}.{name} is {getattr(settings, name)!r}", f"choose from: {', '.join(values)}")


@dataclass(frozen=True)
class TrainingSettings:
    """Section ``training``: how any network is trained end to end.

    Attributes
    ----------
    precision : {"float32", "mixed_bfloat16", "mixed_float16"}
        Keras' dtype policy.
    jit : {"auto", "on", "off"}
        XLA; ``auto`` leaves it off for TensorFlow on a CPU, where it is slower.
    devices : int
        Local devices that share each batch; 0 takes all.
    checkpoint_minutes : float
        How often the state is kept within an epoch.
    tensorboard : bool
        Whether logs for TensorBoard are written, into the cache beside the checkpoint.
    flip : bool
    crop, colour : float
        Augmentation (see `shelfbench_deep.training.augment`); off, as neither paper mentions any.
    class_weights : bool
        Whether an image counts as the inverse of its category's size; off, as in the papers.
    statistics : float
        Share that batch normalisation's running mean and variance keep at an update. Keras' .99 needs hundreds of
        updates to follow the network, more than small catalogues have; training for long, take .99.
    """

    precision: str = "float32"
    jit: str = "auto"
    devices: int = 0
    checkpoint_minutes: float = 10.0
    tensorboard: bool = False
    flip: bool = False
    crop: float = 0.0
    colour: float = 0.0
    class_weights: bool = False
    statistics: float = 0.9

    def __post_init__(self) -> None:
        _choice(
            "training",
            self,
            precision=("float32", "mixed_bfloat16", "mixed_float16"),
            jit=("auto", "on", "off"),
        )
        _whole("training", self, devices=0)
        _number("training", self, checkpoint_minutes=(0, math.inf), statistics=(0, 1))
        AugmentSettings(self.flip, self.crop, self.colour)

    def results(self) -> dict[str, Any]:
        """What of it can change the trained network (JSON)."""
        values = dataclasses.asdict(self)
        del values["checkpoint_minutes"], values["tensorboard"]
        return values


@dataclass(frozen=True)
class FinetuningSettings:
    """Section ``finetuning`` (C, §4.1, §4.3, §4.4).

    Attributes
    ----------
    share : float
        Of the training products, drawn by seed and of every category alike, at least one of each (C15).
    frozen : float
        Share of the layers that stay as they are, the first ones (C28).
    freeze : {"module", "literal"}
        Up to the module's end nearest to that share, or the share of the layers as counted.
    head : {"fitted", "random"}
        What the layer of logits starts from, which the paper does not give. ``fitted``: logistic regression on the
        features before fine-tuning.
    batch_norm : {"frozen", "trained"}
        Whether batch normalisation stays as it is in the other layers too. ``trained`` normalises by each batch, which
        a share of a small catalogue has too few updates to make good.
    epochs, patience : int
        Passes at most, and how many without a better precision on `tune` end it (0: none). The best epoch is kept.
    batch : int
    learning_rate, decay : float
        The rate after t updates is ``learning_rate / (1 + decay * t)`` (C25 to C27, the exponent read as negative).
    momentum, dropout : float
        The paper gives neither for this stage.
    """

    share: float = 0.05
    frozen: float = 0.4
    freeze: str = "module"
    head: str = "fitted"
    batch_norm: str = "frozen"
    epochs: int = 10
    patience: int = 3
    batch: int = 128
    learning_rate: float = 0.05
    decay: float = 1e-4
    momentum: float = 0.0
    dropout: float = 0.0

    def __post_init__(self) -> None:
        _whole("finetuning", self, epochs=1, patience=0, batch=1)
        _number("finetuning", self, frozen=(0, 1), decay=(0, math.inf), momentum=(0, 1), dropout=(0, 1))
        _choice(
            "finetuning",
            self,
            freeze=("module", "literal"),
            head=("fitted", "random"),
            batch_norm=("frozen", "trained"),
        )
        for name, most in (("share", 1.0), ("learning_rate", math.inf)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= most:
                raise InputError(f"finetuning.{name} is {value!r}", f"give a number above 0 and up to {most:g}")


@dataclass(frozen=True)
class FullSettings:
    """Section ``full``: training Inception V3 or Xception end to end.

    Attributes
    ----------
    recipe : {"x-imagenet", "x-jft", "c-finetuning", "c-bottlenecks"}
        See `shelfbench_deep.training.recipes`.
    epochs, patience : int
        Passes at most, and how many without a better precision on `tune` end it (0: none). The best epoch is kept.
    inception_v3_epochs, xception_epochs : int
        In place of `epochs` for one of the networks; 0 leaves it.
    batch : int
    start : str
        Initial weights: ``none`` (random, by seed), ``imagenet``, or the path of a file.
    inception_v3_pixels, xception_pixels : int
        Side of the images.
    learning_rate : float
        In place of the recipe's; 0 leaves it.
    decay_every : int
        In place of the recipe's, in its unit; 0 leaves it.
    ema, weight_decay, dropout : float
        In place of the recipe's; -1 leaves it. The recipe's average (.9999) needs tens of thousands of updates.
    equal_parameters : bool
        Whether a variant of Xception is widened or narrowed to the number of parameters of the plain one of the same
        ``xception.width``.
    """

    recipe: str = "x-imagenet"
    epochs: int = 8
    patience: int = 0
    inception_v3_epochs: int = 0
    xception_epochs: int = 0
    batch: int = 64
    start: str = "none"
    inception_v3_pixels: int = 299
    xception_pixels: int = 299
    learning_rate: float = 0.0
    decay_every: int = 0
    ema: float = -1.0
    weight_decay: float = -1.0
    dropout: float = -1.0
    equal_parameters: bool = False

    def __post_init__(self) -> None:
        _choice("full", self, recipe=tuple(RECIPES))
        _whole("full", self, epochs=1, patience=0, batch=1, inception_v3_pixels=75, xception_pixels=71, decay_every=0)
        _whole("full", self, inception_v3_epochs=0, xception_epochs=0)
        _number("full", self, learning_rate=(0, math.inf), weight_decay=(-1, math.inf), ema=(-1, 1), dropout=(-1, 1))
        if not isinstance(self.equal_parameters, bool):
            raise InputError(f"full.equal_parameters is {self.equal_parameters!r}", "give true or false")

    def recipe_of(self, network: str) -> Recipe:
        """The recipe for a network, with what this section replaces; its weight decay is a number."""
        recipe = RECIPES[self.recipe]
        return dataclasses.replace(
            recipe,
            batch=self.batch,
            learning_rate=self.learning_rate or recipe.learning_rate,
            decay_every=self.decay_every or recipe.decay_every,
            ema=recipe.ema if self.ema < 0 else self.ema,
            weight_decay=recipe.decay_for(network) if self.weight_decay < 0 else self.weight_decay,
            dropout=recipe.dropout if self.dropout < 0 else self.dropout,
        )
