"""Fine-tuning a backbone on a share of the products, and training a network end to end (C, §4.3, §4.4; X, §4)."""

from __future__ import annotations

import dataclasses
import json
import math
import shutil
import time
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from shelfbench.base.console import Console
from shelfbench.base.errors import InputError, RunError
from shelfbench.base.locking import locked
from shelfbench.base.storage import cache_dir, fingerprint, storage_errors, write_json, write_parquet
from shelfbench.data.ahead import Decoding, decoded_ahead
from shelfbench.plugins.backend import BackboneChoice, Tuned, TuningData

from shelfbench_deep.engines.versions import framework
from shelfbench_deep.features.settings import DEFAULT, BottleneckSettings, Engine
from shelfbench_deep.networks.backbones import Backbone, load_backbone
from shelfbench_deep.networks.inception import InceptionSettings
from shelfbench_deep.networks.xception import XceptionSettings, count_parameters, equal_parameters
from shelfbench_deep.training.augment import AugmentSettings
from shelfbench_deep.training.checkpoint import Checkpoint
from shelfbench_deep.training.freezing import boundary, freeze
from shelfbench_deep.training.loop import Course, Training, stratified_share
from shelfbench_deep.training.noise import noise
from shelfbench_deep.training.parallel import distributed, precision, predict, synchronise, train_step
from shelfbench_deep.training.recipes import RECIPES, Recipe, loss, set_weight_decay
from shelfbench_deep.training.settings import FinetuningSettings, FullSettings, TrainingSettings
from shelfbench_deep.training.tuned import Blueprint, OwnHead, TunedExtractor, copy_network, features_of, write_network

if TYPE_CHECKING:
    from shelfbench_deep.engines.loading import keras

# Raised when the same settings would train another network.
VERSION = 1
# Of the logistic regression that the layer of logits starts from, on standardised features of a few images a category.
_HEAD_C = 0.01


@dataclass(frozen=True)
class NetworkTuner:
    """Trains one network, as a `shelfbench.plugins.backend.Tuner`; done trainings and checkpoints are kept in the user's cache.

    Attributes
    ----------
    name : str
        For folders, logs and messages.
    plan : dict
        Everything that decides the training apart from its length, data and seed (JSON).
    epochs, patience : int
        A longer training goes on from where a shorter one ended.
    training : TrainingSettings
    prepare : callable
        ``prepare(data, seed, console)`` gives the `_Prepared` training.
    bottleneck : BottleneckSettings
        What computes the features of the trained network.
    """

    name: str
    plan: dict[str, Any]
    epochs: int
    patience: int
    training: TrainingSettings
    prepare: Callable[[TuningData, int, Console], _Prepared]
    bottleneck: BottleneckSettings

    def describe(self) -> dict[str, Any]:
        """Everything that decides the result apart from data and seed (JSON)."""
        return {
            "version": VERSION,
            "plan": self.plan,
            "training": self.training.results(),
            "engine": framework().engine,
            "epochs": self.epochs,
            "patience": self.patience,
        }

    def tune(self, data: TuningData, *, seed: int, console: Console) -> Tuned:
        """Train, or go on with a training that was stopped, or give one that is done.

        Raises
        ------
        RunError
            If there is nothing to learn from, or the cost becomes infinite.
        InputError
            If another process trains the same network now.
        """
        description = self.describe()
        lasting = {key: value for key, value in description.items() if key not in ("epochs", "patience")}
        identity = fingerprint([lasting, data.identity, seed])
        folder = cache_dir() / "tuned" / f"{self.name}-{identity}"
        done = folder / f"epochs-{self.epochs}-patience-{self.patience}"
        cached = (done / "tuned.json").is_file()
        if not cached:
            with storage_errors(folder):
                folder.mkdir(parents=True, exist_ok=True)
            with locked(folder):
                self._train(data, seed, console, folder, done, identity)
        return _read(done, cached, self.bottleneck.settle())

    def trial(self, classes: int) -> dict[str, float]:
        """Time updates on noise, for ``shelfbench plan``: seconds an image, epochs, share of the training images."""
        data = noise(2 * max(classes, 32), classes)
        with precision(self.training.precision), distributed(self.training.devices, self.training.jit) as devices:
            prepared = self.prepare(data, 0, Console(quiet=True))
            batch, _ = self._compile(prepared, devices)
            images = np.zeros((batch, prepared.blueprint.pixels, prepared.blueprint.pixels, 3), np.float32)
            labels, seconds = np.arange(batch) % classes, []
            for _ in range(4):
                begun = time.perf_counter()
                train_step(prepared.model, images, labels, None)
                seconds.append(time.perf_counter() - begun)
        share = float(self.plan.get("share", 1.0))
        return {"seconds_per_image": float(np.median(seconds[1:])) / batch, "epochs": self.epochs, "share": share}

    def _compile(self, prepared: _Prepared, devices: int) -> tuple[int, int]:
        """Make a network ready to be trained on so many devices; give its batch, and updates of an epoch."""
        from shelfbench_deep.engines.loading import jit_compile, keras

        for layer in prepared.model.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.momentum = self.training.statistics
        batch = min(prepared.recipe.batch, max(1, len(prepared.rows)))
        if batch % devices:
            raise InputError(
                f"{self.name}: a batch of {batch} images cannot be cut into {devices} equal parts, one per device",
                "set its batch to a multiple of the devices, not above the number of images, or training.devices=1",
            )
        steps = math.ceil(len(prepared.rows) / batch)
        synchronise(prepared.model)
        prepared.model.compile(
            prepared.recipe.build(batch, steps),
            loss(prepared.recipe.label_smoothing),
            metrics=[keras.metrics.SparseCategoricalAccuracy(name="accuracy")],
            jit_compile=jit_compile() if self.training.jit == "auto" else self.training.jit == "on",
        )
        return batch, steps

    def _train(self, data: TuningData, seed: int, console: Console, folder: Path, done: Path, identity: str) -> None:
        from shelfbench_deep.engines.loading import device_name

        training = self.training
        with precision(training.precision), distributed(training.devices, training.jit) as devices:
            prepared = self.prepare(data, seed, console)
            batch, steps = self._compile(prepared, devices)
            course = Course(
                epochs=self.epochs,
                patience=self.patience,
                batch=batch,
                pixels=prepared.blueprint.pixels,
                seed=seed,
                rate=partial(prepared.recipe.rate, batch=batch, steps_per_epoch=steps),
                preprocess=prepared.blueprint.preprocess,
                augment=AugmentSettings(training.flip, training.crop, training.colour),
                class_weights=training.class_weights,
                checkpoint_minutes=training.checkpoint_minutes,
                log=folder / "tensorboard" if training.tensorboard else None,
            )
            checkpoint = Checkpoint(folder / "checkpoint.safetensors", identity)
            course_of = Training(prepared.model, data, prepared.rows, course, checkpoint, console, self.name)
            history = course_of.run()
        if training.tensorboard:
            console.log(f"{self.name}: TensorBoard's logs are in {course.log}")
        aside = folder / f".partial-{uuid.uuid4().hex[:12]}"
        with storage_errors(folder):
            try:
                aside.mkdir()
                write_network(aside, prepared.blueprint, prepared.model)
                write_parquet(aside / "history.parquet", history)
                write_json(
                    aside / "tuned.json",
                    {
                        **self.describe(),
                        "own_head": prepared.own_head,
                        "chosen": {
                            "epoch": course_of.best,
                            "epochs": len(history),
                            "parameters": prepared.model.count_params(),
                            "trainable": int(sum(np.prod(w.shape) for w in prepared.model.trainable_weights)),
                            "images": len(prepared.rows),
                            "batch": batch,
                            "data_wait": round(float(history["data_wait"].sum() / history["seconds"].sum()), 4),
                            **prepared.chosen,
                        },
                        "images": len(prepared.rows),
                        "batch": batch,
                        "device": device_name(),
                        "devices": devices,
                        "framework": framework().engine,
                        "precision": training.precision,
                        "seconds": float(history["seconds"].sum()),
                    },
                )
                shutil.rmtree(done, ignore_errors=True)
                aside.rename(done)
            finally:
                shutil.rmtree(aside, ignore_errors=True)


@dataclass(frozen=True)
class _Prepared:
    """A network ready to be compiled, and what it learns from.

    Attributes
    ----------
    model : keras.Model
    blueprint : Blueprint
    recipe : Recipe
    rows : ndarray of int64
        Which of ``data.train``.
    own_head : bool
        Whether its own layer of logits classifies; otherwise its features go to another classifier.
    chosen : dict
        For the record.
    """

    model: keras.Model
    blueprint: Blueprint
    recipe: Recipe
    rows: np.ndarray
    own_head: bool
    chosen: dict[str, Any]


def _read(done: Path, cached: bool, engine: Engine) -> Tuned:
    try:
        record = json.loads((done / "tuned.json").read_text(encoding="utf-8"))
        history = pd.read_parquet(done / "history.parquet")
        head = None
        if record["own_head"]:
            kernel, bias = _head(done)
            head = partial(OwnHead, kernel, bias)
        return Tuned(
            features=TunedExtractor(done, engine),
            classifier=head,
            history=history,
            chosen=record["chosen"],
            images=record["images"],
            batch=record["batch"],
            device=record["device"],
            framework=record["framework"],
            precision=record["precision"],
            seconds=record["seconds"],
            cached=cached,
            save=partial(copy_network, done, engine=engine),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{done} is damaged ({error})", "delete that folder and run the study again") from error


def _head(done: Path) -> tuple[np.ndarray, np.ndarray]:
    """Kernel and bias of the logits: the last two arrays of the file."""
    from safetensors import safe_open

    with safe_open(done / "network.safetensors", framework="numpy") as file:
        kernel, bias = sorted(file.keys())[-2:]
        return file.get_tensor(kernel), file.get_tensor(bias)


def finetuner(
    choice: BackboneChoice,
    settings: FinetuningSettings,
    training: TrainingSettings,
    bottleneck: BottleneckSettings = DEFAULT,
) -> NetworkTuner:
    """Make the tuner of the backends ``finetuned-*`` (C15, C25 to C28)."""
    backbone = load_backbone(choice)
    plan = {"kind": "finetuned", "backbone": backbone.describe(), **asdict(settings)}
    del plan["epochs"], plan["patience"]
    prepare = partial(_prepare_finetuning, backbone, settings)
    return NetworkTuner(
        f"finetuned-{choice.name}", plan, settings.epochs, settings.patience, training, prepare, bottleneck
    )


def _prepare_finetuning(
    backbone: Backbone, settings: FinetuningSettings, data: TuningData, seed: int, console: Console
) -> _Prepared:
    from shelfbench_deep.engines.loading import keras

    blueprint = Blueprint(backbone.name, backbone.pixels, data.classes, dropout=settings.dropout)
    rows = stratified_share(data.train_labels, data.train_products, settings.share, seed)
    base = backbone.model()
    count = boundary(backbone.name, base, settings.frozen, settings.freeze)
    weights, last = base.get_weights(), base.layers[count - 1].name if count else ""
    keras.utils.set_random_seed(seed)
    model = blueprint.build()
    head = model.layers[-1]
    model.set_weights([*weights, *head.get_weights()])
    if settings.head == "fitted":
        head.set_weights(_fitted_head(model, blueprint, data, rows))
    freeze(model, count, batch_norm=settings.batch_norm == "frozen")
    recipe = dataclasses.replace(
        RECIPES["c-finetuning"],
        batch=settings.batch,
        learning_rate=settings.learning_rate,
        decay_rate=settings.decay,
        momentum=settings.momentum,
    )
    chosen = {"frozen_layers": count, "layers": len(base.layers), "frozen_up_to": last}
    return _Prepared(model, blueprint, recipe, rows, False, chosen)


def _fitted_head(model: keras.Model, blueprint: Blueprint, data: TuningData, rows: np.ndarray) -> list[np.ndarray]:
    """Logistic regression on the features before fine-tuning, so that its first updates do not undo the backbone."""
    from sklearn.linear_model import LogisticRegression

    network, found, labels = features_of(model), [], []
    parts = [rows[i : i + 64] for i in range(0, len(rows), 64)]
    decoded = decoded_ahead(
        data.images,
        (data.train[part] for part in parts),
        Decoding(blueprint.pixels, data.fit, data.workers),
        then=lambda _, images, reasons: (blueprint.preprocess(images.astype(np.float32)), reasons),
    )
    filled = np.zeros((64, blueprint.pixels, blueprint.pixels, 3), np.float32)
    for part, (images, reasons) in zip(parts, decoded, strict=True):
        filled[: len(images)] = images
        found.append(predict(network, filled)[: len(images)].astype(np.float64))
        labels.append(data.train_labels[np.delete(part, list(reasons))])
    features, codes = np.concatenate(found), np.concatenate(labels)
    if len(np.unique(codes)) < 2:
        raise RunError("fine-tuning needs readable images of at least two categories", "look at the split")
    mean, scale = features.mean(axis=0), features.std(axis=0)
    scale[scale < 1e-6] = 1
    fitted = LogisticRegression(C=_HEAD_C, max_iter=200).fit((features - mean) / scale, codes)
    kernel = np.zeros((features.shape[1], data.classes))
    bias = np.full(data.classes, min(-10.0, float(np.min(fitted.intercept_))))
    coefficients, intercept = fitted.coef_, fitted.intercept_
    if len(fitted.classes_) == 2:  # scikit-learn gives one row for two classes
        coefficients = np.concatenate([-coefficients, coefficients]) / 2
        intercept = np.concatenate([-intercept, intercept]) / 2
    kernel[:, fitted.classes_] = (coefficients / scale).T
    bias[fitted.classes_] = intercept - (coefficients / scale) @ mean
    return [kernel.astype(np.float32), bias.astype(np.float32)]


def full_tuner(
    network: str,
    settings: FullSettings,
    training: TrainingSettings,
    xception: XceptionSettings,
    inception: InceptionSettings,
    bottleneck: BottleneckSettings = DEFAULT,
) -> NetworkTuner:
    """Make the tuner of ``full-inception_v3`` or ``full-xception``."""
    pixels = settings.xception_pixels if network == "xception" else settings.inception_v3_pixels
    start = load_backbone(BackboneChoice(network, settings.start, pixels))
    own: XceptionSettings | InceptionSettings = xception if network == "xception" else inception
    if settings.start != "none" and (own.width != 1 or getattr(own, "port_2016", False)):
        raise InputError(
            f"full.start is {settings.start!r} and {network} is not of the published shape", 'set full.start="none"'
        )
    plan = {"kind": "full", "start": start.describe(), "network": asdict(own), **asdict(settings)}
    for name in [key for key in plan if key.endswith(("epochs", "patience", "_pixels"))]:
        del plan[name]
    epochs = (settings.xception_epochs if network == "xception" else settings.inception_v3_epochs) or settings.epochs
    prepare = partial(_prepare_full, start, settings, own)
    return NetworkTuner(f"full-{network}", plan, epochs, settings.patience, training, prepare, bottleneck)


def _prepare_full(
    start: Backbone,
    settings: FullSettings,
    own: XceptionSettings | InceptionSettings,
    data: TuningData,
    seed: int,
    console: Console,
) -> _Prepared:
    from shelfbench_deep.engines.loading import keras

    recipe = settings.recipe_of(start.name)
    if recipe.dropout:
        own = dataclasses.replace(own, dropout=recipe.dropout)
    if settings.equal_parameters and isinstance(own, XceptionSettings):
        plain = XceptionSettings(width=own.width, dropout=own.dropout)
        own = equal_parameters(own, data.classes, count_parameters(plain, data.classes))
    blueprint = Blueprint(start.name, start.pixels, data.classes, asdict(own))
    keras.utils.set_random_seed(seed)
    model = blueprint.build()
    if start.weights != "none":
        loaded, new = start.model().get_weights(), model.get_weights()
        model.set_weights([*loaded, *new[len(loaded) :]])
    set_weight_decay(model, recipe.decay_for(start.name))
    rows = np.arange(len(data.train))
    return _Prepared(model, blueprint, recipe, rows, True, {"recipe": recipe.name, "width": own.width})
