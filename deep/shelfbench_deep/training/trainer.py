"""Training one network to the end, kept in the user's cache with its checkpoints.

`shelfbench_deep.training.finetuning` and `shelfbench_deep.training.full` define which network, and its training data.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from shelfbench.base.console import Console
from shelfbench.base.errors import InputError
from shelfbench.base.locking import waiting
from shelfbench.base.partial import aside_folder, put_folder
from shelfbench.base.storage import (
    cache_dir,
    file_stem,
    fingerprint,
    load_json,
    storage_errors,
    write_json,
    write_parquet,
)
from shelfbench.plugins.backend import TrainedNetwork, TrainingImages
from shelfbench_deep.engines.versions import framework
from shelfbench_deep.features.settings import BottleneckSettings, Engine
from shelfbench_deep.features.trained import TrainedExtractor, copy_network, write_network
from shelfbench_deep.heads.own_head import OwnHead
from shelfbench_deep.networks.blueprint import Blueprint
from shelfbench_deep.training.augment import AugmentSettings
from shelfbench_deep.training.checkpoint import Checkpoint
from shelfbench_deep.training.loop import Course, TrainingLoop
from shelfbench_deep.training.noise import noise
from shelfbench_deep.training.objective import Objective
from shelfbench_deep.training.parallel import precision, synchronise, train_step
from shelfbench_deep.training.recipes import Recipe, loss
from shelfbench_deep.training.settings import TrainingSettings

if TYPE_CHECKING:
    from shelfbench_deep.engines.keras import keras

# Increased whenever the same settings would train another network.
VERSION = 1
# Names in the user's cache; trainings of earlier versions are found under them.
_FOLDER, _RECORD, _HISTORY = "tuned", "tuned.json", "history.parquet"


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A network ready to be compiled, and its training data.

    Attributes
    ----------
    model : keras.Model
    blueprint : Blueprint
    recipe : Recipe
    rows : ndarray of int64
        Images to train on, as positions in ``data.train``.
    own_head : bool
        Whether its own layer of logits classifies; otherwise its features go to another classifier.
    chosen : dict
        For the record.
    objective : Objective
        What it learns.
    """

    model: keras.Model
    blueprint: Blueprint
    recipe: Recipe
    rows: np.ndarray
    own_head: bool
    chosen: dict[str, Any]
    objective: Objective


@dataclass(frozen=True, kw_only=True)
class NetworkTrainer:
    """Trains one network, as a `shelfbench.plugins.backend.Trainer`.

    Finished trainings and checkpoints are kept in the user's cache.

    Attributes
    ----------
    name : str
        For folders, logs and messages.
    design : dict
        Everything that determines the training apart from its length, data and seed (JSON).
    epochs : int
        A longer training resumes from the end of a shorter one.
    patience : int
    training : TrainingSettings
    prepare : callable
        ``prepare(data, seed)`` returns the `Prepared` network.
    bottleneck : BottleneckSettings
        Engine for the features of the trained network.
    """

    name: str
    design: dict[str, Any]
    epochs: int
    patience: int
    training: TrainingSettings
    prepare: Callable[[TrainingImages, int], Prepared]
    bottleneck: BottleneckSettings

    def describe(self) -> dict[str, Any]:
        """Describe everything that determines the result apart from data and seed (JSON)."""
        return {
            "version": VERSION,
            "plan": self.design,
            "training": self.training.results(),
            "engine": framework().engine,
            "epochs": self.epochs,
            "patience": self.patience,
        }

    def train(self, data: TrainingImages, *, seed: int, console: Console) -> TrainedNetwork:
        """Train, resume an interrupted training, or return a finished one.

        Parameters
        ----------
        data : TrainingImages
        seed : int
        console : Console

        Returns
        -------
        TrainedNetwork

        Raises
        ------
        RunError
            If there is nothing to train on, or the cost becomes infinite.
        """
        description = self.describe()
        lasting = {key: value for key, value in description.items() if key not in ("epochs", "patience")}
        identity = fingerprint([lasting, data.identity, seed])
        folder = cache_dir() / _FOLDER / f"{file_stem(self.name)}-{identity}"
        done = folder / f"epochs-{self.epochs}-patience-{self.patience}"
        cached = (done / _RECORD).is_file()
        console.detail(f"the trained network is kept in {done}")
        if not cached:
            with storage_errors(folder):
                folder.mkdir(parents=True, exist_ok=True)
            with waiting(folder, f"the same network ({self.name})", console):
                if not (done / _RECORD).is_file():
                    self._train(data, seed, Checkpoint(folder / "checkpoint.safetensors", identity), done, console)
        return _read(done, cached, self.bottleneck.settle())

    def trial(self, classes: int) -> dict[str, float]:
        """Time updates on noise, for ``shelfbench plan``.

        Parameters
        ----------
        classes : int

        Returns
        -------
        dict
            ``seconds_per_image``, ``epochs``, and the ``share`` of the training images that is used.
        """
        from shelfbench_deep.engines.native import distributed

        data = noise(2 * max(classes, 32), classes)
        with precision(self.training.precision), distributed(self.training.devices, self.training.jit) as devices:
            prepared = self.prepare(data, 0)
            batch, _ = self._compile(prepared, devices)
            images = np.zeros((batch, prepared.blueprint.pixels, prepared.blueprint.pixels, 3), np.float32)
            labels, seconds = prepared.objective.targets(np.arange(batch) % len(data.train)), []
            for _ in range(4):
                begun = time.perf_counter()
                train_step(prepared.model, images, labels, None)
                seconds.append(time.perf_counter() - begun)
        share = float(self.design.get("share", 1.0))
        return {"seconds_per_image": float(np.median(seconds[1:])) / batch, "epochs": self.epochs, "share": share}

    def _compile(self, prepared: Prepared, devices: int) -> tuple[int, int]:
        """Compile a network for a number of devices; return its batch, and the updates in an epoch."""
        from shelfbench_deep.engines.keras import keras
        from shelfbench_deep.engines.native import jit_compile

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
            loss(prepared.recipe.label_smoothing, prepared.objective.multi_label),
            metrics=[prepared.objective.accuracy()],
            jit_compile=jit_compile() if self.training.jit == "auto" else self.training.jit == "on",
        )
        return batch, steps

    def _train(self, data: TrainingImages, seed: int, checkpoint: Checkpoint, done: Path, console: Console) -> None:
        from shelfbench_deep.engines.native import device_name, distributed

        training, folder = self.training, done.parent
        with precision(training.precision), distributed(training.devices, training.jit) as devices:
            prepared = self.prepare(data, seed)
            batch, steps = self._compile(prepared, devices)
            course = Course(
                name=self.name,
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
                objective=prepared.objective,
            )
            loop = TrainingLoop(prepared.model, data, prepared.rows, course, checkpoint=checkpoint, console=console)
            history = loop.run()
        if training.tensorboard:
            console.log(f"{self.name}: the logs for TensorBoard are in {course.log}")
        record = {
            **self.describe(),
            "own_head": prepared.own_head,
            "chosen": {
                "epoch": loop.best,
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
        }
        _write(done, prepared, history, record)


def _write(done: Path, prepared: Prepared, history: pd.DataFrame, record: dict[str, Any]) -> None:
    """Write a finished training into a folder, whole or not at all."""
    with storage_errors(done.parent), aside_folder(done) as aside:
        write_network(aside, prepared.blueprint, prepared.model)
        write_parquet(aside / _HISTORY, history)
        write_json(aside / _RECORD, record)
        put_folder(aside, done)


def _read(done: Path, cached: bool, engine: Engine) -> TrainedNetwork:
    try:
        record = load_json(done / _RECORD)
        history = pd.read_parquet(done / _HISTORY)
        head = None
        if record["own_head"]:
            kernel, bias = _head(done)
            head = partial(OwnHead, kernel, bias)
        return TrainedNetwork(
            features=TrainedExtractor(done, engine),
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
