"""A multi-label classifier on bottlenecks, trained and scored as in X on JFT (§4.1 to §4.3, §4.5.1)."""

from __future__ import annotations

import dataclasses
import math
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from shelfbench.base.console import Bar, Console
from shelfbench.base.errors import InputError, RunError
from shelfbench.plugins.backend import EARLIER
from shelfbench_deep.training.many_labels import cross_entropy, mean_average_precision
from shelfbench_deep.training.recipes import RECIPES, WEIGHT_DECAY, averaged, loss, set_weight_decay

if TYPE_CHECKING:
    from shelfbench_deep.engines.keras import keras

# Rows per prediction; always padded, so that a row's scores do not depend on the rows computed with it.
_ROWS = 512


@dataclass(frozen=True, kw_only=True)
class MultilabelSettings:
    """Section ``multilabel`` of a study.

    The optimiser is X's for JFT (X07: RMSprop, momentum 0.9, rate times 0.9 every 3,000,000 samples, Polyak averaging);
    its weight decay is that of X08 for the backbone, without dropout. X trains whole networks, as `networks` does;
    heads are trained on a frozen backbone.

    Attributes
    ----------
    backbones : tuple of str
        Frozen backbones of heads, one row of the table each; by default the study's backbone, or none if there are
        `networks`. All use the study's `weights` and `pixels`.
    units : int
        Units of each of the two fully connected layers (X, §4.5.1).
    epochs : int
        Maximum number of passes over the training images.
    patience : int
        Stop after this many epochs without a better MAP@100 on `tune`; 0 trains all of them.
    batch : int
        Images per update.
    learning_rate : float
        Before the first update.
    ema : float
        Share of itself that the average of the weights keeps at an update; 0 for no average. X states no value. Its
        networks train for 30 million updates; with a hundred updates per epoch, 0.99 forgets the start within a few
        epochs.
    networks : tuple of str
        Networks to train as wholes, ``inception_v3`` and ``xception``, each without and with fully connected layers,
        by the sections ``full``, ``training`` and the network's own.
    products : int
        Number of products to train the networks on, drawn with the study's seed so that each category keeps its share;
        0 for all.
    note : str
        What the study can and cannot show, for the page.

    Raises
    ------
    InputError
        If a value is not valid.
    """

    backbones: tuple[str, ...] = ()
    units: int = 4096
    epochs: int = 20
    patience: int = 5
    batch: int = 256
    learning_rate: float = 0.001
    ema: float = 0.99
    networks: tuple[str, ...] = field(default=(), metadata={EARLIER: ()})
    products: int = field(default=0, metadata={EARLIER: 0})
    note: str = field(default="", metadata={EARLIER: ""})

    def __post_init__(self) -> None:
        """Validate the settings."""
        for name in self.networks:
            if name not in WEIGHT_DECAY:
                raise InputError(f"multilabel.networks names {name!r}", f"choose from: {', '.join(WEIGHT_DECAY)}")
        if len(set(self.networks)) < len(self.networks):
            raise InputError(f"multilabel.networks is {list(self.networks)}", "name each only once")
        if len(set(self.backbones)) < len(self.backbones):
            raise InputError(f"multilabel.backbones is {list(self.backbones)}", "name each only once")
        for name, least in (("units", 1), ("epochs", 1), ("patience", 0), ("batch", 1), ("products", 0)):
            if getattr(self, name) < least:
                raise InputError(
                    f"multilabel.{name} is {getattr(self, name)}", f"give a whole number of at least {least}"
                )
        if not 0 < self.learning_rate < math.inf:
            raise InputError(f"multilabel.learning_rate is {self.learning_rate}", "give a positive number")
        if not 0 <= self.ema < 1:
            raise InputError(f"multilabel.ema is {self.ema}", "give a number from 0 to below 1")


@dataclass(frozen=True)
class LabelledImages:
    """Images of one role and their labels.

    Attributes
    ----------
    features : ndarray of float32, shape (readable, d)
    readable : ndarray of bool, shape (n,)
        Which images have features. An image that cannot be read predicts nothing, but its labels still count.
    targets : ndarray of bool, shape (n, labels)
    """

    features: np.ndarray
    readable: np.ndarray
    targets: np.ndarray


def multilabel_head(dimensions: int, labels: int, units: int) -> keras.Model:
    """Build the classifier on bottlenecks: logistic regression, or two ReLU layers before it.

    Parameters
    ----------
    dimensions : int
        Length of a bottleneck.
    labels : int
        Outputs (log-odds).
    units : int
        Of each fully connected layer; 0 for none.

    Returns
    -------
    keras.Model
        Not compiled.
    """
    from shelfbench_deep.engines.keras import keras

    x = features = keras.Input((dimensions,), name="features")
    for number in (1, 2) if units else ():
        x = keras.layers.Dense(units, activation="relu", name=f"fc{number}")(x)
    return keras.Model(features, keras.layers.Dense(labels, name="logits")(x), name="multilabel")


class MultilabelHead:
    """A multi-label classifier on bottlenecks.

    Parameters
    ----------
    units : int
        Of each fully connected layer; 0 for none.
    settings : MultilabelSettings
    weight_decay : float

    Attributes
    ----------
    history : DataFrame or None
        One row per epoch: epoch, step, loss (mean over its updates), val_loss, val_map_100 (class-weighted, on
        `tune`, with averaged weights), lr (after it), seconds.
    chosen : dict
        ``epoch`` (the one kept), ``epochs`` (the number trained) and ``parameters``.
    """

    def __init__(self, units: int, settings: MultilabelSettings, weight_decay: float = 0.0) -> None:
        self.units, self.settings, self.weight_decay = units, settings, weight_decay
        self.recipe = dataclasses.replace(
            RECIPES["x-jft"], learning_rate=settings.learning_rate, ema=settings.ema, batch=settings.batch
        )
        self.history: pd.DataFrame | None = None
        self.chosen: dict[str, Any] = {}
        self._model: keras.Model | None = None

    def fit(
        self, train: LabelledImages, tune: LabelledImages, shares: np.ndarray, *, seed: int, console: Console
    ) -> None:
        """Train, and keep the averaged weights of the epoch with the best class-weighted MAP@100 on `tune`.

        Parameters
        ----------
        train : LabelledImages
        tune : LabelledImages
        shares : ndarray of float, shape (labels,)
            Class weights of the MAP; the training itself weights all classes alike.
        seed : int
        console : Console

        Raises
        ------
        RunError
            If the cost becomes infinite.
        """
        from shelfbench_deep.engines.keras import keras
        from shelfbench_deep.engines.native import jit_compile

        settings, labels = self.settings, len(shares)
        targets = train.targets[train.readable]
        batch = min(settings.batch, len(targets))
        steps = math.ceil(len(targets) / batch)
        keras.utils.set_random_seed(seed)
        self._model = model = multilabel_head(train.features.shape[1], labels, self.units)
        set_weight_decay(model, self.weight_decay)
        model.compile(self.recipe.build(batch, steps), loss(multi_label=True), jit_compile=jit_compile())
        order = np.random.default_rng(seed)
        rows: list[dict[str, float]] = []
        best, weights = 0, model.get_weights()
        with console.progress(settings.epochs * steps, "multi-label head", "batches") as bar:
            for epoch in range(1, settings.epochs + 1):
                started = time.perf_counter()
                cost = self._epoch(train.features, targets, order.permutation(len(targets)), batch, bar)
                if not math.isfinite(cost):
                    raise RunError(f"the cost is {cost} in epoch {epoch}", "lower multilabel.learning_rate")
                with averaged(model):
                    logits = self.logits(tune.features)
                    found = score(logits, tune, shares)["map_100"]
                    if not rows or found > rows[best - 1]["val_map_100"]:
                        best, weights = epoch, model.get_weights()
                rows.append(
                    {
                        "epoch": epoch,
                        "step": epoch * steps,
                        "loss": cost,
                        "val_loss": cross_entropy(logits, tune.targets[tune.readable]),
                        "val_map_100": found,
                        "lr": self.recipe.rate(epoch * steps, batch, steps),
                        "seconds": time.perf_counter() - started,
                    }
                )
                if settings.patience and epoch - best >= settings.patience:
                    break
        model.set_weights(weights)
        self.history = pd.DataFrame(rows)
        self.chosen = {"epoch": best, "epochs": len(rows), "parameters": model.count_params()}

    def logits(self, features: np.ndarray) -> np.ndarray:
        """Log-odds of every label: float32, shape (n, labels)."""
        if self._model is None:
            raise RuntimeError("fit the head first")
        result = np.empty((len(features), self._model.output_shape[1]), np.float32)
        filled = np.zeros((_ROWS, features.shape[1]), np.float32)
        for start in range(0, len(features), _ROWS):
            part = features[start : start + _ROWS]
            filled[: len(part)] = part
            filled[len(part) :] = 0
            result[start : start + len(part)] = np.asarray(self._model.predict_on_batch(filled))[: len(part)]
        return result

    def _epoch(self, features: np.ndarray, targets: np.ndarray, order: np.ndarray, batch: int, bar: Bar) -> float:
        """Train one pass; the last batch is filled up with the first images of the pass, so that all have one shape."""
        assert self._model is not None
        order = np.concatenate([order, order[: -len(order) % batch]])
        total = 0.0
        for start in range(0, len(order), batch):
            rows = order[start : start + batch]
            self._model.reset_metrics()  # some engines accumulate over calls, others do not
            logs = self._model.train_on_batch(features[rows], targets[rows].astype(np.float32), return_dict=True)
            total += float(logs["loss"])
            bar.update()
        return total / (len(order) // batch)


def score(logits: np.ndarray, images: LabelledImages, shares: np.ndarray) -> dict[str, float]:
    """Compute MAP@100 of some images, with and without class weights.

    Parameters
    ----------
    logits : ndarray of float, shape (readable, labels)
    images : LabelledImages
    shares : ndarray of float, shape (labels,)

    Returns
    -------
    dict
        ``map_100`` and ``map_100_unweighted``.
    """
    return mean_average_precision(logits, images.readable, images.targets, shares)
