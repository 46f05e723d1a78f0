"""A small training for tests: three classes of 16 x 16 images, a network with dropout and batch normalisation."""

import hashlib
import io
import os
import random
import signal
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image

from shelfbench.base.console import Console
from shelfbench.plugins.backend import TrainingImages

PIXELS = 16


class Pictures:
    """Encoded images in memory, as a `shelfbench.data.catalogue.ImageBytes`."""

    files = ()

    def __init__(self, encoded):
        self.encoded = encoded

    def __len__(self):
        return len(self.encoded)

    def read(self, indices):
        return [self.encoded[int(i)] for i in indices]

    def where(self, index):
        return f"picture {index}"

    def identity(self):
        return None


def pictures(count=54, classes=3, broken=(), seed=0):
    """Images whose brightness shows their class, and their labels."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    encoded = []
    for number, label in enumerate(labels):
        pixels = np.clip(rng.normal(60 + 70 * label, 25, (PIXELS, PIXELS, 3)), 0, 255).astype(np.uint8)
        with io.BytesIO() as file:
            Image.fromarray(pixels).save(file, "PNG")
            encoded.append(b"no image" if number in broken else file.getvalue())
    return Pictures(encoded), labels.astype(np.int64)


def toy_data(count=54, classes=3, broken=(), tune=12):
    """Most images to train, the last `tune` to choose; each image is its own product."""
    images, labels = pictures(count, classes, broken)
    rows = np.arange(count)
    train, held = rows[:-tune], rows[-tune:]
    return TrainingImages(
        images=images,
        fit="pad",
        train=train,
        train_labels=labels[train],
        train_products=train,
        tune=held,
        tune_labels=labels[held],
        classes=classes,
        identity=f"toy-{count}",
        workers=2,
    )


def preprocess(images):
    return images / np.float32(127.5) - np.float32(1)


def toy_model(classes=3, seed=0, recipe="x-imagenet", batch=8, steps=6, **changes):
    """Compile a network with dropout and batch normalisation, and an optimiser with momentum and averages."""
    from dataclasses import replace

    from shelfbench_deep.engines.keras import keras
    from shelfbench_deep.engines.native import jit_compile
    from shelfbench_deep.training.recipes import RECIPES, loss

    keras.utils.set_random_seed(seed)
    images = keras.Input((PIXELS, PIXELS, 3))
    x = keras.layers.Conv2D(8, 3, strides=2, use_bias=False)(images)
    x = keras.layers.ReLU()(keras.layers.BatchNormalization(momentum=0.9)(x))
    x = keras.layers.Dropout(0.3)(keras.layers.GlobalAveragePooling2D()(x))
    model = keras.Model(images, keras.layers.Dense(classes, dtype="float32")(x))
    model.compile(
        replace(RECIPES[recipe], ema=0.9, **changes).build(batch, steps),
        loss(),
        metrics=[keras.metrics.SparseCategoricalAccuracy(name="accuracy")],
        jit_compile=jit_compile(),
    )
    return model


def toy_training(model, data, checkpoint, minutes=10.0, rows=None, **changes):
    """Make a training of `toy_model` on `toy_data`, with changes of its course."""
    from shelfbench_deep.training.augment import AugmentSettings
    from shelfbench_deep.training.checkpoint import Checkpoint
    from shelfbench_deep.training.loop import Course, TrainingLoop

    settings = {
        "name": "toy",
        "epochs": 4,
        "patience": 0,
        "batch": 8,
        "pixels": PIXELS,
        "seed": 7,
        "rate": lambda updates: 0.045,
        "preprocess": preprocess,
        "augment": AugmentSettings(flip=True, colour=0.2),
        "checkpoint_minutes": minutes,
    }
    course = Course(**settings | changes)
    rows = np.arange(len(data.train)) if rows is None else rows
    saved = Checkpoint(Path(checkpoint), "toy")
    return TrainingLoop(model, data, rows, course, checkpoint=saved, console=Console(quiet=True))


def digest(model, history):
    """Hash of all weights and of the history without its times."""
    state = hashlib.sha256()
    for value in model.get_weights():
        state.update(np.ascontiguousarray(value).tobytes())
    state.update(history.drop(columns=["seconds", "data_wait"]).to_csv().encode())
    return state.hexdigest()


def _train(checkpoint):
    model = toy_model()
    return digest(model, toy_training(model, toy_data(), checkpoint, minutes=0.0).run())


def _child(folder, work):
    """Fork, work, and write the result to a file; TensorFlow is loaded but has not computed yet."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        (folder / "result").write_text(work())
        code = 0
    finally:
        os._exit(code)


def kill_and_resume(folder, kills, seed=0):
    """Kill trainings at random moments until there have been `kills` kills.

    Returns
    -------
    tuple of (str, list of (str, int))
        Digest of the undisturbed training, and of every other with the number of times it was killed.
    """
    folder, rng = Path(folder), random.Random(seed)
    whole = float("inf")
    for _ in range(2):  # the first also reads the framework's files from the disk
        started = time.perf_counter()
        child = _child(folder, lambda: _train(folder / "undisturbed"))
        assert os.waitpid(child, 0)[1] == 0
        whole = min(whole, time.perf_counter() - started)
        (folder / "undisturbed").unlink()
    expected, results, total = (folder / "result").read_text(), [], 0
    while total < kills:
        checkpoint, killed = folder / f"run-{len(results)}", 0
        while True:
            (folder / "result").unlink(missing_ok=True)
            child = _child(folder, lambda at=checkpoint: _train(at))
            # a training that was killed often is left alone, so that slow machines finish too
            deadline = time.perf_counter() + (rng.uniform(0.2, 1.0) if killed < 8 else 100.0) * whole
            while time.perf_counter() < deadline and os.waitpid(child, os.WNOHANG) == (0, 0):
                time.sleep(0.002)
            if (folder / "result").exists():
                break
            try:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
            except (ProcessLookupError, ChildProcessError):
                raise RuntimeError("the training failed by itself") from None
            killed += 1
        total += killed
        results.append(((folder / "result").read_text(), killed))
    return expected, results


if __name__ == "__main__":
    from shelfbench_deep.engines.keras import keras  # noqa: F401 - loaded once, before all forks

    undisturbed, others = kill_and_resume(sys.argv[1], int(sys.argv[2]))
    differ = [run for run in others if run[0] != undisturbed]
    print(f"{sum(killed for _, killed in others)} kills, {len(others)} trainings, {len(differ)} differ")
    sys.exit(1 if differ else 0)
