"""Training a network on images: batches decoded ahead of the device, checkpoints, the best epoch on `tune`."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from shelfbench.base.console import Bar, Console
from shelfbench.base.errors import RunError
from shelfbench.base.processes import this_process
from shelfbench.data.ahead import Decoding, decoded_ahead
from shelfbench.data.images import decode_batch
from shelfbench.plugins.backend import TrainingImages
from shelfbench_deep.engines.processes import agreed, of_first, own_share
from shelfbench_deep.training.augment import AugmentSettings, augment
from shelfbench_deep.training.checkpoint import Checkpoint
from shelfbench_deep.training.forward import outputs
from shelfbench_deep.training.objective import Objective, OneLabel
from shelfbench_deep.training.parallel import train_step
from shelfbench_deep.training.recipes import averaged, class_weights
from shelfbench_deep.training.scalars import ScalarLog

if TYPE_CHECKING:
    from shelfbench_deep.engines.keras import keras

COLUMNS = ("epoch", "step", "loss", "accuracy", "val_loss", "val_accuracy", "lr", "seconds", "data_wait")


@dataclass(frozen=True, kw_only=True)
class Course:
    """The course of a training.

    Attributes
    ----------
    name : str
        For logs and messages.
    epochs : int
    patience : int
        Epochs without a better precision on `tune` after which it stops; 0 trains all of them.
    batch : int
        Images per update; the last batch of an epoch is filled up with the epoch's first images.
    parts : int
        Equal parts of an update, of which one at a time is in the network.
    pixels : int
    seed : int
        Of the order of images and of augmentation.
    rate : callable
        Learning rate after a number of updates, for the history.
    preprocess : callable
        From float32 RGB of 0 to 255 to the network's input.
    augment : AugmentSettings
    class_weights : bool
        Whether an image's weight is the inverse of its category's size.
    checkpoint_minutes : float
        How often the state is saved within an epoch; it is always saved at the end.
    log : Path or None
        Folder for TensorBoard.
    objective : Objective or None
        What the network learns; None for the one category of each image.
    """

    name: str
    epochs: int
    patience: int
    batch: int
    parts: int = 1
    pixels: int
    seed: int
    rate: Callable[[int], float]
    preprocess: Callable[[np.ndarray], np.ndarray]
    augment: AugmentSettings = field(default_factory=AugmentSettings)
    class_weights: bool = False
    checkpoint_minutes: float = 10.0
    log: Path | None = None
    objective: Objective | None = None


@dataclass(kw_only=True)
class _State:
    """The progress of a training, all of which is in its checkpoint."""

    epoch: int = 1
    step: int = 0
    loss: float = 0.0
    accuracy: float = 0.0
    counted: int = 0
    seconds: float = 0.0
    data_wait: float = 0.0
    best: int = 0
    rows: list[dict[str, float]] = field(default_factory=list)


class TrainingLoop:
    """One training of a compiled network, which can be interrupted and resumed.

    Parameters
    ----------
    model : keras.Model
        From preprocessed images to logits; compiled with one metric named ``accuracy``.
    data : TrainingImages
    rows : ndarray of int64
        Images to train on, as positions in ``data.train``.
    course : Course
    checkpoint : Checkpoint
    console : Console

    Raises
    ------
    RunError
        If there are no images to train on.
    """

    def __init__(
        self,
        model: keras.Model,
        data: TrainingImages,
        rows: np.ndarray,
        course: Course,
        checkpoint: Checkpoint,
        console: Console,
    ) -> None:
        if len(rows) == 0:
            raise RunError(f"{course.name} has no training images to learn from", "check the split of this dataset")
        self._model, self._data, self._rows, self._course = model, data, rows, course
        self._checkpoint, self._console, self._name = checkpoint, console, course.name
        self._objective = OneLabel(data) if course.objective is None else course.objective
        self._batch = min(course.batch, len(rows))
        self.steps = math.ceil(len(rows) / self._batch)
        self._weights = class_weights(data.train_labels[rows], data.classes) if course.class_weights else None
        self._best: list[np.ndarray] = []
        self._state = _State()
        self._log = None if course.log is None else ScalarLog(course.log)

    def run(self) -> pd.DataFrame:
        """Train to the end and leave the best epoch's weights in the model.

        Returns
        -------
        DataFrame
            One row per epoch, `COLUMNS`: means over its updates, then the results on `tune` at its end (with averaged
            weights if the optimiser keeps averages). ``data_wait``: seconds that the device waited for images. The
            score on `tune` is named as the objective says.

        Raises
        ------
        RunError
            If the cost becomes infinite, or no image can be read.
        """
        course, state = self._course, self._state
        self._model.optimizer.build(self._model.trainable_variables)
        if (kept := self._checkpoint.read(self._model, self._console)) is not None:
            self._best, values = kept
            state = self._state = _State(**values)
        agreed("where the training resumes", state.epoch, state.step)
        if kept is not None:
            self._console.log(
                f"{self._name}: resumes in epoch {state.epoch} after {state.step} of {self.steps} updates"
            )
        with self._console.progress(course.epochs * self.steps, self._name, "batches") as bar:
            bar.update((state.epoch - 1) * self.steps + state.step)
            while state.epoch <= course.epochs and not self._exhausted():
                self._epoch(bar)
                self._end_epoch()
        if self._best:
            self._model.set_weights(self._best)
        rows = pd.DataFrame(state.rows, columns=list(COLUMNS)).astype({"epoch": int, "step": int})
        return rows.rename(columns={"val_accuracy": self._objective.score})

    @property
    def best(self) -> int:
        """The epoch that was kept, counted from 1."""
        return self._state.best

    def _exhausted(self) -> bool:
        state, patience = self._state, self._course.patience
        return bool(patience and state.best and state.epoch - 1 - state.best >= patience)

    def _epoch(self, bar: Bar) -> None:
        state, model = self._state, self._model
        begun = saved = time.perf_counter()
        seconds = state.seconds
        batches = self._batches(state.epoch, state.step)
        while state.step < self.steps:
            asked = time.perf_counter()
            images, labels = next(batches)
            state.data_wait += time.perf_counter() - asked
            if len(images):
                weights = None if self._weights is None else self._weights[labels]
                logs = train_step(model, images, labels, weights, self._course.parts)
                state.loss += logs["loss"]
                state.accuracy += logs["accuracy"]
                state.counted += 1
            state.step += 1
            bar.update()
            now = time.perf_counter()
            state.seconds = seconds + now - begun
            if now - saved > 60 * self._course.checkpoint_minutes and state.step < self.steps:
                self._save()
                saved = time.perf_counter()
        batches.close()

    def _end_epoch(self) -> None:
        """Evaluate on `tune`, note the epoch, and save the state at the start of the next one."""
        state = self._state
        if not state.counted:
            raise RunError(f"{self._name}: no training image can be read", "check the files")
        loss = state.loss / state.counted
        updates = state.epoch * self.steps
        if not math.isfinite(loss):
            raise RunError(
                f"{self._name}: the cost is {loss} in epoch {state.epoch}", "lower the learning rate of the training"
            )
        with averaged(self._model):
            val_loss, val_accuracy = self._evaluate()
            row = {
                "epoch": state.epoch,
                "step": updates,
                "loss": loss,
                "accuracy": state.accuracy / state.counted,
                "val_loss": val_loss,
                "val_accuracy": val_accuracy,
                "lr": self._course.rate(updates),
                "seconds": state.seconds,
                "data_wait": state.data_wait,
            }
            if not state.best or _better(row, state.rows[state.best - 1]):
                state.best, self._best = state.epoch, [np.array(value) for value in self._model.get_weights()]
        state.rows.append(row)
        words = self._objective.words
        self._console.log(
            f"{self._name}: epoch {state.epoch} of {self._course.epochs}: cost {loss:.3f}, {words[0]} "
            f"{row['accuracy']:.3f}, {words[1]} {val_accuracy:.3f}; {state.seconds:.0f} s, of which "
            f"{100 * state.data_wait / max(state.seconds, 1e-9):.0f}% waiting for images"
        )
        if self._log is not None:
            self._log.write(updates, row)
        state.epoch += 1
        state.step = state.counted = 0
        state.loss = state.accuracy = state.seconds = state.data_wait = 0.0
        self._save()

    def _save(self) -> None:
        if this_process().first:
            self._checkpoint.write(self._model, self._best, dataclasses.asdict(self._state))

    def _batches(self, epoch: int, first: int) -> Generator[tuple[np.ndarray, np.ndarray], None, None]:
        """Batches of an epoch, starting at `first`; their images depend on the seed and the epoch only."""
        data, course = self._data, self._course
        order = np.random.default_rng([course.seed, epoch]).permutation(self._rows)
        order = np.concatenate([order, np.resize(order, -len(order) % self._batch)])
        whole = [order[i : i + self._batch] for i in range(first * self._batch, len(order), self._batch)]
        parts = [own_share(rows, course.parts) for rows in whole]
        position = iter(zip(parts, whole, strict=True))

        def ready(batch: np.ndarray, pixels: np.ndarray, reasons: dict[int, str]) -> tuple[np.ndarray, np.ndarray]:
            own, all_rows = next(position)
            rows = np.delete(own, list(reasons))
            if not len(rows) and len(own) < len(all_rows):  # what this process reads of the batch cannot be read
                rows, pixels = self._decoded(all_rows)
            if not len(rows):
                return np.empty((0, *pixels.shape[1:]), np.float32), self._objective.targets(rows)
            if len(rows) < len(own):  # readable images replace the others, so that all batches have one size
                again = np.resize(np.arange(len(rows)), len(own))
                rows, pixels = rows[again], pixels[again]
            pixels = augment(pixels, rows, epoch, course.seed, course.augment)
            return course.preprocess(pixels.astype(np.float32)), self._objective.targets(rows)

        return decoded_ahead(
            data.images,
            (data.train[part] for part in parts),
            Decoding(course.pixels, data.fit, data.workers),
            then=ready,
            ahead=3,
        )

    def _decoded(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Decode images at once; return the rows that can be read, and their pixels."""
        data = self._data
        with ThreadPoolExecutor(data.workers) as pool:
            pixels, reasons = decode_batch(data.images.read(data.train[rows]), self._course.pixels, data.fit, pool)
        return np.delete(rows, list(reasons)), pixels

    def _evaluate(self) -> tuple[float, float]:
        """Cost and score on `tune`; NaN without images."""
        data, course, judge = self._data, self._course, self._objective.judge()
        for rows, logits in outputs(
            self._model,
            data.images,
            data.tune,
            size=min(self._batch // course.parts, 64),
            decoding=Decoding(course.pixels, data.fit, data.workers),
            preprocess=course.preprocess,
        ):
            judge.add(rows, logits)
        # of several processes, the first one's: sums may differ in the last digit from one processor to another
        cost, score = of_first(np.array(judge.result()))
        return float(cost), float(score)


def _better(new: dict[str, float], old: dict[str, float]) -> bool:
    if math.isnan(new["val_accuracy"]):
        return True
    return (new["val_accuracy"], -new["val_loss"]) > (old["val_accuracy"], -old["val_loss"])
