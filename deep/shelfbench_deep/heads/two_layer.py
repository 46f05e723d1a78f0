"""2NN: two equal hidden layers on bottlenecks, trained as in the paper (C, §4.2, §4.4, §5.2)."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from shelfbench.base.console import Bar, Console
from shelfbench.base.errors import InputError, RunError
from shelfbench.base.storage import load_json, write_json, write_whole
from shelfbench.plugins.backend import TrainingData
from shelfbench_deep.engines.versions import check_keras, framework
from shelfbench_deep.heads.epoch import Epoch, better, mean_of
from shelfbench_deep.heads.order import passes, window_of
from shelfbench_deep.heads.softmax import log_softmax
from shelfbench_deep.heads.standardising import check_finite, identity, moments
from shelfbench_deep.heads.two_layer_settings import TwoLayerSettings

if TYPE_CHECKING:
    import pandas as pd

    from shelfbench_deep.engines.keras import keras
    from shelfbench_deep.heads.two_layer_cpu import CPUTraining
    from shelfbench_deep.heads.two_layer_openvino import OpenVINOTraining

# Rows per prediction; always padded, so that a row's scores do not depend on the rows computed with it.
_ROWS = 512
# Rows of `tune` whose scores are in memory at once; a multiple of the rows per prediction.
_JUDGED = 8 * _ROWS
# Share that batch normalisation's running mean and variance keep at an update. Keras' 0.99 needs hundreds of updates
# to forget its start, more than a small catalogue has.
_STATISTICS = 0.9
# Goes through the rows of the given steps; returns the mean cost and accuracy.
Train = Callable[[TrainingData, np.ndarray, Bar], tuple[float, float]]
_WEIGHTS, _SETTINGS = "weights.safetensors", "classifier.json"


def two_layer(dimensions: int, units: int, classes: int, settings: TwoLayerSettings) -> keras.Model:
    """Build the network: dense, ReLU, dropout, dense, ReLU, dense.

    Parameters
    ----------
    dimensions : int
        Length of a bottleneck.
    units : int
        Hidden units in total, half of them in each layer.
    classes : int
        Outputs (logits).
    settings : TwoLayerSettings

    Returns
    -------
    keras.Model
        From float32 of shape (n, dimensions) to logits of shape (n, classes); not compiled.
    """
    from shelfbench_deep.engines.keras import keras

    normalised = settings.normalised()

    def dense(x: keras.KerasTensor, width: int, name: str) -> keras.KerasTensor:
        x = keras.layers.Dense(width, name=name)(x)
        if name not in normalised:
            return x
        return keras.layers.BatchNormalization(momentum=_STATISTICS, name=f"{name}_bn")(x)

    features = keras.Input((dimensions,), name="features")
    x = keras.layers.ReLU(name="relu1")(dense(features, units // 2, "hidden1"))
    if settings.dropout:
        x = keras.layers.Dropout(settings.dropout, name="dropout")(x)
    x = keras.layers.ReLU(name="relu2")(dense(x, units // 2, "hidden2"))
    return keras.Model(features, dense(x, classes, "logits"), name=f"2nn_{units}")


class TwoLayer:
    """A 2NN as a `shelfbench.plugins.backend.Classifier`.

    Parameters
    ----------
    units : int
        Hidden units in total: 512, 2048 or 4096 in the paper.
    settings : TwoLayerSettings

    Attributes
    ----------
    framework, device, precision : str
        The engine that trained and the one under Keras, the device that it computed on, and the type of its products.
    batch : int
        Images per update.
    chosen : dict
        ``epoch`` (the one kept), ``epochs`` (the number trained), ``parameters``, ``engine`` (of the training:
        ``numpy``, ``openvino`` or ``keras``), unless it is float32 its ``precision``, and the ``window`` if images were
        shuffled within one.
    history : DataFrame or None
        One row per epoch, the columns of `Epoch`; ``loss`` and ``accuracy`` are means over the epoch's updates, with
        dropout on. None if loaded.

    Raises
    ------
    InputError
        If the units cannot be halved.
    """

    def __init__(self, units: int, settings: TwoLayerSettings) -> None:
        if units < 2 or units % 2:
            raise InputError(f"a 2NN of {units} units", "give an even number: two equal hidden layers")
        self.units = units
        self.settings = settings
        self.framework, self.device, self.precision = framework().engine, "", "float32"
        self.batch = settings.batch
        self.chosen: dict[str, Any] = {}
        self.history: pd.DataFrame | None = None
        self._model: keras.Model | None = None
        self._mean = self._scale = np.zeros(0, np.float32)

    def fit(self, data: TrainingData, *, seed: int, console: Console) -> None:
        """Train, and keep the epoch with the best precision on `tune` (in a tie, the lowest cost).

        A `tune` label of -1 always counts as wrong and does not enter the cost; without `tune` images the last epoch
        is kept.

        Parameters
        ----------
        data : TrainingData
        seed : int
            Of initial weights, dropout and the order of images. The same seed produces the same weights on a CPU with
            the same number of threads (in NumPy each draws the dropout of its own units).
        console : Console

        Raises
        ------
        RunError
            If there are no training images, a feature is not finite, or the cost becomes infinite.
        """
        import pandas as pd

        from shelfbench_deep.engines.keras import keras
        from shelfbench_deep.engines.native import device_name

        self.device = device_name()
        n, dimensions = data.features.shape
        if n == 0:
            raise RunError("a 2NN has no training images to learn from", "check the split of this dataset")
        check_finite(data.features, "training")
        check_finite(data.tune_features, "tune")
        settings = self.settings
        self._mean, self._scale = moments(data.features) if settings.standardise else identity(dimensions)
        keras.utils.set_random_seed(seed)
        self._model = model = two_layer(dimensions, self.units, data.classes, settings)
        engine, self.precision = settings.settle(self.device)
        under_keras = framework().engine
        self.framework = under_keras if engine == "keras" else f"{engine} (training), {under_keras} (scores)"
        train = self._with_keras() if engine == "keras" else self._by_hand(engine, seed)
        order, batch = np.random.default_rng(seed), min(settings.batch, n)
        steps = math.ceil(n / batch)
        window = window_of(data.features, batch, settings.window)
        if window:
            console.log(f"2NN-{self.units}: features do not fit in memory, so {window:,} images are shuffled at a time")
        epochs: list[Epoch] = []
        best, weights = 0, model.get_weights()
        with console.progress(settings.epochs * steps, f"2NN-{self.units}", "batches") as bar:
            for epoch in range(1, settings.epochs + 1):
                started = time.perf_counter()
                costs = [(len(rows), *train(part, rows, bar)) for part, rows in passes(data, batch, window, order)]
                loss, accuracy = mean_of(costs)
                val_loss, val_accuracy = self._score(data.tune_features, data.tune_labels)
                if not math.isfinite(loss):
                    raise RunError(
                        f"2NN-{self.units}: the cost is {loss} in epoch {epoch}",
                        "lower two_layer.learning_rate or two_layer.momentum",
                    )
                epochs.append(
                    Epoch(
                        epoch=epoch,
                        step=epoch * steps,
                        loss=loss,
                        accuracy=accuracy,
                        val_loss=val_loss,
                        val_accuracy=val_accuracy,
                        lr=settings.rate(epoch * steps),
                        seconds=time.perf_counter() - started,
                    )
                )
                if not best or better(epochs[-1], epochs[best - 1]):
                    best, weights = epoch, model.get_weights()
                elif settings.patience and epoch - best >= settings.patience:
                    break
        model.set_weights(weights)
        self.history = pd.DataFrame(epochs, columns=list(Epoch._fields))
        self.chosen = {
            "epoch": best,
            "epochs": len(epochs),
            "parameters": model.count_params(),
            "engine": engine,
        }
        if self.precision != "float32":
            self.chosen["precision"] = self.precision
        if window:
            self.chosen["window"] = window

    def log_probabilities(self, features: np.ndarray) -> np.ndarray:
        """Log-probabilities of the categories.

        Parameters
        ----------
        features : ndarray of float32, shape (n, d)

        Returns
        -------
        ndarray of float64, shape (n, classes)
            Log-softmax of the logits in float64, so that very confident predictions can still be told apart.
        """
        model = self.network()
        scores = np.empty((len(features), model.output_shape[1]))
        filled = np.zeros((_ROWS, model.input_shape[1]), np.float32)
        for start in range(0, len(features), _ROWS):
            part = features[start : start + _ROWS]
            filled[: len(part)] = self.standardised(part)
            filled[len(part) :] = 0
            logits = np.asarray(model.predict_on_batch(filled))[: len(part)]
            scores[start : start + len(part)] = log_softmax(logits)
        return scores

    def standardised(self, features: Any) -> Any:
        """Standardise features (an array, or a symbolic tensor) for the network."""
        return (features - self._mean) / self._scale

    def network(self) -> keras.Model:
        """Return the network, from standardised features to logits."""
        if self._model is None:
            raise RuntimeError("fit or load the 2NN first")
        return self._model

    def save(self, folder: Path) -> None:
        """Write ``weights.safetensors`` and ``classifier.json`` into an existing folder."""
        from safetensors.numpy import save_file

        model = self.network()
        arrays = {variable.path: np.ascontiguousarray(variable.numpy()) for variable in model.weights}
        arrays |= {"mean": self._mean, "scale": self._scale}
        write_whole(folder / _WEIGHTS, lambda aside: save_file(arrays, aside))
        write_json(
            folder / _SETTINGS,
            {
                "kind": "two_layer",
                "units": self.units,
                "dimensions": model.input_shape[1],
                "classes": model.output_shape[1],
                "settings": asdict(self.settings),
                "chosen": self.chosen,
            },
        )

    @classmethod
    def load(cls, folder: Path) -> TwoLayer:
        """Read a 2NN written by `save`.

        Parameters
        ----------
        folder : Path

        Returns
        -------
        TwoLayer

        Raises
        ------
        InputError
            If a file is missing, damaged, or does not match the other, or Keras is not installed.
        """
        from safetensors.numpy import load_file

        check_keras("a 2NN")
        from shelfbench_deep.engines.native import jit_compile

        folder = Path(folder)
        try:
            record = load_json(folder / _SETTINGS)
            if record["kind"] != "two_layer":
                raise ValueError(f"a classifier of kind {record['kind']!r}")
            classifier = cls(int(record["units"]), TwoLayerSettings(**record["settings"]))
            arrays = load_file(folder / _WEIGHTS)
            _check_arrays(arrays, record)
            model = two_layer(int(record["dimensions"]), classifier.units, int(record["classes"]), classifier.settings)
            for variable in model.weights:
                variable.assign(arrays[variable.path])
            model.compile(jit_compile=jit_compile())
            classifier._mean, classifier._scale = arrays["mean"], arrays["scale"]
            classifier.chosen = record["chosen"]
        except Exception as error:  # safetensors and Keras raise all sorts of errors
            raise InputError(
                f"{folder} contains no readable 2NN ({type(error).__name__}: {error})",
                "run the study again to train it again",
            ) from error
        classifier._model = model
        return classifier

    def _with_keras(self) -> Train:
        """Train with Keras, one call per step."""
        from shelfbench_deep.engines.keras import keras
        from shelfbench_deep.engines.native import jit_compile

        model, settings = self.network(), self.settings
        schedule = keras.optimizers.schedules.InverseTimeDecay(settings.learning_rate, 1, settings.decay)
        model.compile(
            keras.optimizers.SGD(schedule, momentum=settings.momentum),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=[keras.metrics.SparseCategoricalAccuracy(name="accuracy")],
            jit_compile=jit_compile(),
        )

        def train(data: TrainingData, order: np.ndarray, bar: Bar) -> tuple[float, float]:
            sums = np.zeros(2)
            for rows in order:
                model.reset_metrics()  # some engines accumulate over calls, others do not
                logs = model.train_on_batch(self._taken(data, rows), data.labels[rows], return_dict=True)
                sums += [float(logs["loss"]), float(logs["accuracy"])]
                bar.update()
            loss, accuracy = sums / len(order)
            return float(loss), float(accuracy)

        return train

    def _by_hand(self, engine: str, seed: int) -> Train:
        """Train with our own steps, in NumPy or OpenVINO; Keras' network gets the weights after each epoch."""
        from shelfbench_deep.engines.native import jit_compile

        model = self.network()
        model.compile(jit_compile=jit_compile())
        arrays = {variable.path: np.asarray(variable.numpy()) for variable in model.weights}
        training = self._steps(engine, arrays, seed)

        def train(data: TrainingData, order: np.ndarray, bar: Bar) -> tuple[float, float]:
            costs = training.epoch(partial(self._taken, data), data.labels, order, bar.update)
            for variable in model.weights:
                # a copy: some engines would use the array as their own memory
                variable.assign(training.arrays[variable.path].copy())
            return costs

        return train

    def _steps(self, engine: str, arrays: dict[str, np.ndarray], seed: int) -> CPUTraining | OpenVINOTraining:
        if engine == "numpy":
            from shelfbench_deep.heads.two_layer_cpu import CPUTraining

            return CPUTraining(arrays, self.settings, statistics=_STATISTICS, seed=seed)
        from shelfbench_deep.heads.two_layer_openvino import OpenVINOTraining

        return OpenVINOTraining(arrays, self.settings, statistics=_STATISTICS, seed=seed, precision=self.precision)

    def _taken(self, data: TrainingData, rows: np.ndarray) -> np.ndarray:
        features = data.features[rows]
        found: np.ndarray = self.standardised(features) if self.settings.standardise else features
        return found

    def _score(self, features: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
        """Cost and precision on `tune`; NaN without images."""
        if len(labels) == 0:
            return math.nan, math.nan
        own, right = np.zeros(len(labels)), np.zeros(len(labels), bool)
        for start in range(0, len(labels), _JUDGED):
            part = slice(start, start + _JUDGED)
            scores = self.log_probabilities(features[part])
            own[part] = scores[np.arange(len(scores)), labels[part]]
            right[part] = scores.argmax(axis=1) == labels[part]
        known = labels >= 0
        loss = float(np.abs(own[known]).mean()) if known.any() else math.nan
        return loss, float(right.mean())


def _check_arrays(arrays: dict[str, np.ndarray], record: dict[str, Any]) -> None:
    """Refuse a record that does not match the arrays, before a network of that size is built."""
    dimensions, width = int(record["dimensions"]), int(record["units"]) // 2
    expected = {
        "hidden1/kernel": (dimensions, width),
        "hidden2/kernel": (width, width),
        "logits/kernel": (width, int(record["classes"])),
        "mean": (dimensions,),
        "scale": (dimensions,),
    }
    for name, shape in expected.items():
        if arrays[name].shape != shape:
            raise ValueError(f"{name} of shape {arrays[name].shape}, not {shape}")
    for name, array in arrays.items():
        if array.dtype != np.float32:
            raise ValueError(f"{name[:60]} of {array.dtype}, not float32")
