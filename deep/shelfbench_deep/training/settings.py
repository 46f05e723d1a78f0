"""The sections ``training``, ``finetuning`` and ``full`` of a study."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Any

from shelfbench.base.errors import InputError
from shelfbench.plugins.backend import EARLIER, as_record
from shelfbench_deep.training.augment import AugmentSettings
from shelfbench_deep.training.recipes import RECIPES, Recipe


def _whole(section: str, settings: Any, **least: int) -> None:
    for name, bound in least.items():
        value = getattr(settings, name)
        if isinstance(value, bool) or not isinstance(value, int) or value < bound:
            raise InputError(f"{section}.{name} is {value!r}", f"give a whole number of at least {bound}")


def _number(section: str, settings: Any, **bounds: tuple[float, float]) -> None:
    """Check that numbers are at least their first bound and below the second."""
    for name, (low, high) in bounds.items():
        value = getattr(settings, name)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value < high:
            until = "" if high == math.inf else f" and below {high:g}"
            raise InputError(f"{section}.{name} is {value!r}", f"give a number of at least {low:g}{until}")


def _one_of(section: str, settings: Any, **allowed: tuple[str, ...]) -> None:
    for name, values in allowed.items():
        if getattr(settings, name) not in values:
            raise InputError(f"{section}.{name} is {getattr(settings, name)!r}", f"choose from: {', '.join(values)}")


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """Section ``training``: how any network is trained end to end.

    Attributes
    ----------
    precision : {"float32", "mixed_bfloat16", "mixed_float16"}
        Keras' dtype policy.
    jit : {"auto", "on", "off"}
        XLA; ``auto`` leaves it off for TensorFlow on a CPU, where it is slower.
    devices : int
        Number of local devices that share each batch; 0 takes all.
    checkpoint_minutes : float
        How often the state is saved within an epoch.
    tensorboard : bool
        Whether to write logs for TensorBoard, into the cache next to the checkpoint.
    flip : bool
        Augmentation (see `shelfbench_deep.training.augment`); off, as neither paper mentions any.
    crop : float
        Likewise.
    colour : float
        Likewise.
    class_weights : bool
        Whether an image's weight is the inverse of its category's size; off, as in the papers.
    statistics : float
        Share that batch normalisation's running mean and variance keep at an update. Keras' 0.99 needs hundreds of
        updates to follow the network, more than small catalogues have; use 0.99 for long trainings.
    memory_gib : float
        What training a network on a CPU may hold; from it follows how many images are in the network at a time
        (`shelfbench_deep.training.memory`). The same everywhere, so that the network is the same on every machine that
        has as much; one with less takes smaller parts.
    part : int
        Images of an update that are in the network at a time; 0 lets `memory_gib` decide. A part as large as the batch
        takes it whole, as versions before 0.2 did, whatever that needs.

    Raises
    ------
    InputError
        If a value is not valid.
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
    memory_gib: float = field(default=6.0, metadata={EARLIER: 6.0})
    part: int = field(default=0, metadata={EARLIER: 0})

    def __post_init__(self) -> None:
        _one_of(
            "training",
            self,
            precision=("float32", "mixed_bfloat16", "mixed_float16"),
            jit=("auto", "on", "off"),
        )
        _whole("training", self, devices=0, part=0)
        _number("training", self, checkpoint_minutes=(0, math.inf), statistics=(0, 1), memory_gib=(0.5, math.inf))
        AugmentSettings(self.flip, self.crop, self.colour)

    def results(self) -> dict[str, Any]:
        """Return the settings that can change the trained network (JSON)."""
        values = as_record(self)
        del values["checkpoint_minutes"], values["tensorboard"]
        return values


@dataclass(frozen=True, kw_only=True)
class FinetuningSettings:
    """Section ``finetuning`` (C, §4.1, §4.3, §4.4).

    Attributes
    ----------
    share : float
        Of the training products, drawn by seed, the same share of every category, and at least one of each (C15).
    frozen : float
        Share of the layers that stay fixed, the first ones (C28).
    freeze : {"module", "literal"}
        Up to the end of the module that is nearest to that share, or up to the share of the layers as counted.
    head : {"fitted", "random"}
        How the layer of logits is initialised, which the paper does not say. ``fitted``: logistic regression on the
        features before fine-tuning.
    batch_norm : {"frozen", "trained"}
        Whether batch normalisation stays fixed in the other layers too. ``trained`` normalises by each batch; a share
        of a small catalogue has too few updates to adapt to that.
    epochs : int
        Maximum number of passes. The best epoch is kept.
    patience : int
        Epochs without a better precision on `tune` after which it stops; 0 trains all of them.
    batch : int
    learning_rate : float
        Before the first update.
    decay : float
        The rate after t updates is ``learning_rate / (1 + decay * t)`` (C25 to C27, the exponent read as negative).
    momentum : float
        The paper does not state it for this stage.
    dropout : float
        The paper does not state it for this stage.

    Raises
    ------
    InputError
        If a value is not valid.
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
        _one_of(
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


@dataclass(frozen=True, kw_only=True)
class FullSettings:
    """Section ``full``: training Inception V3 or Xception end to end.

    Attributes
    ----------
    recipe : {"x-imagenet", "x-jft", "c-finetuning", "c-bottlenecks"}
        See `shelfbench_deep.training.recipes`.
    epochs : int
        Maximum number of passes. The best epoch is kept.
    patience : int
        Epochs without a better precision on `tune` after which it stops; 0 trains all of them.
    inception_v3_epochs : int
        Replaces `epochs` for this network; 0 keeps `epochs`.
    xception_epochs : int
        Likewise.
    batch : int
    start : str
        Initial weights: ``none`` (random, by seed), ``imagenet``, or the path of a file.
    inception_v3_pixels : int
        Side of the images.
    xception_pixels : int
        Side of the images.
    learning_rate : float
        Replaces that of the recipe; 0 keeps it.
    decay_every : int
        Replaces that of the recipe, in its unit; 0 keeps it.
    ema : float
        Replaces that of the recipe; -1 keeps it. The recipe's average (0.9999) needs tens of thousands of updates.
    weight_decay : float
        Replaces that of the recipe; -1 keeps it.
    dropout : float
        Replaces that of the recipe; -1 keeps it.
    equal_parameters : bool
        Whether a variant of Xception is widened or narrowed to the number of parameters of the plain network with the
        same ``xception.width``.

    Raises
    ------
    InputError
        If a value is not valid.
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
        _one_of("full", self, recipe=tuple(RECIPES))
        _whole("full", self, epochs=1, patience=0, batch=1, inception_v3_pixels=75, xception_pixels=71, decay_every=0)
        _whole("full", self, inception_v3_epochs=0, xception_epochs=0)
        _number("full", self, learning_rate=(0, math.inf), weight_decay=(-1, math.inf), ema=(-1, 1), dropout=(-1, 1))
        if not isinstance(self.equal_parameters, bool):
            raise InputError(f"full.equal_parameters is {self.equal_parameters!r}", "give true or false")

    def pixels_of(self, network: str) -> int:
        """Side of a network's images."""
        return self.xception_pixels if network == "xception" else self.inception_v3_pixels

    def epochs_of(self, network: str) -> int:
        """Maximum number of passes for a network."""
        return (self.xception_epochs if network == "xception" else self.inception_v3_epochs) or self.epochs

    def recipe_of(self, network: str) -> Recipe:
        """Return the recipe for a network, with this section's changes; its weight decay is a number."""
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
