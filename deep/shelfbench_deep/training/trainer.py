"""Training one network to the end, kept in the user's cache with its checkpoints.

`shelfbench_deep.training.finetuning` and `shelfbench_deep.training.full` define which network, and its training data.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from shelfbench.base.console import Console
from shelfbench.base.errors import InputError
from shelfbench.base.locking import waiting
from shelfbench.base.processes import this_process
from shelfbench.base.storage import (
    cache_dir,
    file_stem,
    fingerprint,
    load_json,
    storage_errors,
    whole_folder,
    write_json,
    write_parquet,
)
from shelfbench.base.using import used
from shelfbench.plugins.backend import TrainedNetwork, TrainingImages
from shelfbench_deep.engines.versions import framework
from shelfbench_deep.features.settings import BottleneckSettings, Engine
from shelfbench_deep.features.trained import TrainedExtractor, copy_network, write_network
from shelfbench_deep.heads.own_head import OwnHead
from shelfbench_deep.training.augment import AugmentSettings
from shelfbench_deep.training.checkpoint import Checkpoint
from shelfbench_deep.training.loop import Course, TrainingLoop
from shelfbench_deep.training.memory import GIB, Circumstances, Parts, choose_parts, need_of
from shelfbench_deep.training.noise import noise
from shelfbench_deep.training.parallel import precision, synchronise, train_step
from shelfbench_deep.training.prepared import Prepared, Sketch
from shelfbench_deep.training.recipes import loss
from shelfbench_deep.training.settings import TrainingSettings

# Increased whenever the same settings would train another network.
VERSION = 1
# Names in the user's cache; trainings of earlier versions are found under them.
_FOLDER, _RECORD, _HISTORY = "tuned", "tuned.json", "history.parquet"


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
    sketch : callable
        ``sketch(data, seed)`` returns its `Sketch`, in a few seconds.
    bottleneck : BottleneckSettings
        Engine for the features of the trained network.
    """

    name: str
    design: dict[str, Any]
    epochs: int
    patience: int
    training: TrainingSettings
    prepare: Callable[[TrainingImages, int], Prepared]
    sketch: Callable[[TrainingImages, int], Sketch]
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
        checkpoint, done = self._kept(data, seed)
        folder = done.parent
        cached = (done / _RECORD).is_file()
        console.detail(f"the trained network is kept in {done}")
        if not cached:
            with storage_errors(folder):
                folder.mkdir(parents=True, exist_ok=True)
            with waiting(folder, f"the same network ({self.name})", console):
                if not (done / _RECORD).is_file():
                    self._train(data, seed, checkpoint, done, console)
        return _read(done, cached, self.bottleneck.settle())

    def train_together(self, data: TrainingImages, *, seed: int, console: Console, last: bool) -> None:
        """Train with the other processes of `shelfbench.base.processes`; the network is then in the cache they share.

        Parameters
        ----------
        data : TrainingImages
        seed : int
        console : Console
        last : bool
            Whether no other network follows, so that the processes part.

        Raises
        ------
        RunError
            If there is nothing to train on, the cost becomes infinite, or another process ends.
        InputError
            If the processes do not agree on what they train.
        """
        import shelfbench_deep.engines.keras  # noqa: F401 - which joins the other processes
        from shelfbench_deep.engines.processes import agreed, kept_together, of_first, part_company

        with kept_together():
            checkpoint, done = self._kept(data, seed)
            finished = (done / _RECORD).is_file()
            agreed(f"{self.name}, which is kept in {done.parent}", finished, *_as_numbers(checkpoint.identity))
            if not finished:
                with storage_errors(done.parent):
                    done.parent.mkdir(parents=True, exist_ok=True)
                first = this_process().first
                with waiting(done.parent, f"the same network ({self.name})", console) if first else nullcontext():
                    # a process of another run may have made it while the first one waited
                    if not of_first(np.array([(done / _RECORD).is_file()]))[0]:
                        self._train(data, seed, checkpoint, done, console)
            if last:
                part_company()

    def check_memory(self, data: TrainingImages, *, seed: int) -> None:
        """Make sure that the training fits into the memory that is free; a finished one needs none.

        Parameters
        ----------
        data : TrainingImages
        seed : int

        Raises
        ------
        InputError
            If it does not fit.
        """
        from shelfbench_deep.engines.native import devices

        checkpoint, done = self._kept(data, seed)
        if not (done / _RECORD).is_file():
            with precision(self.training.precision):
                sketch = self.sketch(data, seed)
            self._parts(sketch, len(devices(self.training.devices)), checkpoint)

    def _kept(self, data: TrainingImages, seed: int) -> tuple[Checkpoint, Path]:
        """Name the checkpoint of a training, and the folder that it ends in."""
        lasting = {key: value for key, value in self.describe().items() if key not in ("epochs", "patience")}
        identity = fingerprint([lasting, data.identity, seed])
        folder = cache_dir() / _FOLDER / f"{file_stem(self.name)}-{identity}"
        used(folder)
        checkpoint = Checkpoint(folder / "checkpoint.safetensors", identity)
        return checkpoint, folder / f"epochs-{self.epochs}-patience-{self.patience}"

    def _parts(self, sketch: Sketch, devices: int, checkpoint: Checkpoint | None = None) -> Parts:
        """Choose how many images are in the network at a time."""
        from shelfbench_deep.engines.native import accelerator, engine

        part, settled = self.training.part, None if checkpoint is None else checkpoint.begun()
        batch = min(sketch.recipe.batch, max(1, sketch.images))
        if batch % devices:
            raise InputError(
                f"{self.name}: a batch of {batch} images cannot be cut into {devices} equal parts, one per device",
                "set its batch to a multiple of the devices, not above the number of images, or training.devices=1",
            )
        if engine() == "tensorflow" and devices > 1:
            if 0 < part < batch:
                raise InputError(
                    f"training.part is {part}, and TensorFlow adds gradients up on one device only",
                    "set training.part=0, training.devices=1, or KERAS_BACKEND to jax",
                )
            part = batch
        return choose_parts(
            need_of(sketch.model, sketch.recipe.slots).shared(this_process().count),
            Circumstances(
                name=self.name,
                batch=batch,
                devices=devices,
                part=part,
                begun=settled,
                limit=self.training.memory_gib * GIB,
                host=not accelerator(),
                checkpoint=None if checkpoint is None else checkpoint.path,
            ),
        )

    def trial(self, classes: int) -> dict[str, float]:
        """Time updates on noise, for ``shelfbench plan``.

        Parameters
        ----------
        classes : int

        Returns
        -------
        dict
            ``seconds_per_image``, ``epochs``, the ``share`` of the training images that is used, and ``memory_mib``,
            what the process then takes.
        """
        from shelfbench_deep.engines.native import distributed

        data = noise(2 * max(classes, 32), classes)
        with precision(self.training.precision), distributed(self.training.devices, self.training.jit) as devices:
            prepared = self.prepare(data, 0)
            parts = self._parts(prepared.sketch, devices)
            self._compile(prepared, parts)
            images = np.zeros((parts.part, prepared.blueprint.pixels, prepared.blueprint.pixels, 3), np.float32)
            labels, seconds = prepared.objective.targets(np.arange(parts.part) % len(data.train)), []
            for _ in range(4):
                begun = time.perf_counter()
                train_step(prepared.model, images, labels, None)
                seconds.append(time.perf_counter() - begun)
        share = float(self.design.get("share", 1.0))
        return {
            "seconds_per_image": float(np.median(seconds[1:])) / parts.part,
            "epochs": self.epochs,
            "share": share,
            "memory_mib": parts.process / 2**20,
        }

    def _compile(self, prepared: Prepared, parts: Parts) -> int:
        """Compile a network to be trained in parts; return the number of updates in an epoch."""
        from shelfbench_deep.engines.keras import keras
        from shelfbench_deep.engines.native import jit_compile

        for layer in prepared.model.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                # over an update, as much is kept however many parts it has
                layer.momentum = self.training.statistics ** (1 / parts.count)
        steps = math.ceil(len(prepared.rows) / parts.batch)
        synchronise(prepared.model)
        prepared.model.compile(
            prepared.recipe.build(parts.batch, steps, parts.count),
            loss(prepared.recipe.label_smoothing, prepared.objective.multi_label),
            metrics=[prepared.objective.accuracy()],
            jit_compile=jit_compile() if self.training.jit == "auto" else self.training.jit == "on",
        )
        return steps

    def _train(self, data: TrainingImages, seed: int, checkpoint: Checkpoint, done: Path, console: Console) -> None:
        from shelfbench_deep.engines.native import device_name, distributed
        from shelfbench_deep.engines.processes import gathered

        training, folder = self.training, done.parent
        with precision(training.precision), distributed(training.devices, training.jit) as devices:
            prepared = self.prepare(data, seed)
            parts = self._parts(prepared.sketch, devices, checkpoint)
            # of several processes, the one with the least memory decides
            parts = parts.cut(int(gathered(np.array([parts.part], np.int32)).min()))
            if parts.count > 1:
                checkpoint = replace(checkpoint, part=parts.part)
                console.log(f"{self.name}: {parts.words}")
            batch, steps = parts.batch, self._compile(prepared, parts)
            course = Course(
                name=self.name,
                epochs=self.epochs,
                patience=self.patience,
                batch=batch,
                parts=parts.count,
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
                **parts.record,
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
        if this_process().first:
            _write(done, prepared, history, record)


def _as_numbers(identity: str) -> tuple[int, ...]:
    """Cut a hash into numbers that float32 holds exactly."""
    return tuple(int(identity[i : i + 4], 16) for i in range(0, 16, 4))


def _write(done: Path, prepared: Prepared, history: pd.DataFrame, record: dict[str, Any]) -> None:
    """Write a finished training into a folder, whole or not at all."""
    with whole_folder(done) as aside:
        used(done.parent)
        write_network(aside, prepared.blueprint, prepared.model)
        write_parquet(aside / _HISTORY, history)
        write_json(aside / _RECORD, record)


def _read(done: Path, cached: bool, engine: Engine) -> TrainedNetwork:
    try:
        used(done)
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
