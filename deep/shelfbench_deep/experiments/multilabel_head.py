"""A multi-label classifier on bottlenecks, trained and scored as X does on JFT (§4.1 to §4.3, §4.5.1)."""

from __future__ import annotations

import dataclasses
import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from shelfbench.base.console import Bar, Console
from shelfbench.base.errors import InputError, RunError
from shelfbench.verdict.ranking import Best, average_precisions, best_per_image, weighted_mean

from shelfbench_deep.training.recipes import RECIPES, averaged, loss, set_weight_decay

if TYPE_CHECKING:
    from shelfbench_deep.engines.loading import keras

BEST = 100  # X, §4.1
# Rows at once where nothing is learnt; always filled up, so that a row's scores do not depend on its company.
_ROWS = 512


@dataclass(frozen=True)
class MultilabelSettings:
    """Section ``multilabel`` of a study.

    The optimiser is X's for JFT (X07: RMSprop, momentum .9, rate times .9 every 3,000,000 samples, Polyak averaging),
    its weight decay that of X08 for the backbone, without dropout. X trains whole networks; here the backbone is
    frozen.

    Attributes
    ----------
    backbones : tuple of str
        One row of the table each; by default the study's. Each takes the study's `weights` and `pixels`.
    units : int
        Of each of the two fully connected layers (X, §4.5.1).
    epochs : int
        Passes over the training images at most.
    patience : int
        Stop after so many epochs without a better MAP@100 on `tune`; 0 goes through all.
    batch : int
        Images per update.
    learning_rate : float
        Before the first update.
    ema : float
        Share of itself that the average of the weights keeps at an update; 0 for none. X gives none. Its networks
        learn for 30 million updates; where an epoch has a hundred, .99 forgets the start within a few epochs.

    Raises
    ------
    InputError
        If a value is not possible.
    """

    backbones: tuple[str, ...] = ()
    units: int = 4096
    epochs: int = 20
    patience: int = 5
    batch: int = 256
    learning_rate: float = 0.001
    ema: float = 0.99

    def __post_init__(self) -> None:
        """Refuse values that mean nothing."""
        if len(set(self.backbones)) < len(self.backbones):
            raise InputError(f"multilabel.backbones is {list(self.backbones)}", "name each once")
        for name, least in (("units", 1), ("epochs", 1), ("patience", 0), ("batch", 1)):
            if getattr(self, name) < least:
                raise InputError(
                    f"multilabel.{name} is {getattr(self, name)}", f"give a whole number of at least {least}"
                )
        if not 0 < self.learning_rate < math.inf:
            raise InputError(f"multilabel.learning_rate is {self.learning_rate}", "give a positive number")
        if not 0 <= self.ema < 1:
            raise InputError(f"multilabel.ema is {self.ema}", "give a number from 0 to below 1")


@dataclass(frozen=True)
class Part:
    """Images of one role, and what they carry.

    Attributes
    ----------
    features : ndarray of float32, shape (readable, d)
    readable : ndarray of bool, shape (n,)
        Which images have features. One that cannot be read predicts nothing, and its labels still count.
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
    """
    from shelfbench_deep.engines.loading import keras

    x = features = keras.Input((dimensions,), name="features")
    for number in (1, 2) if units else ():
        x = keras.layers.Dense(units, activation="relu", name=f"fc{number}")(x)
    return keras.Model(features, keras.layers.Dense(labels, name="logits")(x), name="multilabel")


class MultilabelHead:
    """A multi-label classifier on bottlenecks.

    Parameters
    ----------
    units : int
        0 for no fully connected layers.
    settings : MultilabelSettings
    weight_decay : float

    Attributes
    ----------
    history : DataFrame or None
        One row an epoch: epoch, step, loss (mean over its updates), val_loss, val_map_100 (class-weighted, on
        `tune`, with averaged weights), lr (after it), seconds.
    chosen : dict
        ``epoch`` (the one kept), ``epochs`` (gone through) and ``parameters``.
    """

    def __init__(self, units: int, settings: MultilabelSettings, weight_decay: float = 0.0) -> None:
        self.units, self.settings, self.weight_decay = units, settings, weight_decay
        self.recipe = dataclasses.replace(
            RECIPES["x-jft"], learning_rate=settings.learning_rate, ema=settings.ema, batch=settings.batch
        )
        self.history: pd.DataFrame | None = None
        self.chosen: dict[str, Any] = {}
        self._model: keras.Model | None = None

    def fit(self, train: Part, tune: Part, shares: np.ndarray, *, seed: int, console: Console) -> None:
        """Learn, and keep the averaged weights of the epoch with the best class-weighted MAP@100 on `tune`.

        Parameters
        ----------
        train, tune : Part
        shares : ndarray of float, shape (labels,)
            Class weights of the MAP; training weights no class.
        seed : int
        console : Console

        Raises
        ------
        RunError
            If the cost becomes infinite.
        """
        from shelfbench_deep.engines.loading import jit_compile, keras

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
        """One pass; the last batch is filled up with the pass's first images, so that all have one shape."""
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


def cross_entropy(logits: np.ndarray, targets: np.ndarray) -> float:
    """Sigmoid cross-entropy, the mean over images and labels; NaN without images."""
    if not len(logits):
        return math.nan
    values = np.asarray(logits, np.float64)
    return float((np.logaddexp(0, values) - values * targets).mean())


def score(logits: np.ndarray, part: Part, shares: np.ndarray) -> dict[str, float]:
    """MAP@100 of the images of a part, class-weighted and not.

    Parameters
    ----------
    logits : ndarray of float, shape (readable, labels)
    part : Part
    shares : ndarray of float, shape (labels,)
    """
    found = best_per_image(logits, BEST)
    code = np.full((len(part.readable), found.code.shape[1]), -1, np.int32)
    value = np.zeros(code.shape)
    code[part.readable], value[part.readable] = found.code, found.score
    precisions = average_precisions(Best(code, value, found.classes), part.targets, BEST)
    return {"map_100": weighted_mean(precisions, shares), "map_100_unweighted": weighted_mean(precisions)}
