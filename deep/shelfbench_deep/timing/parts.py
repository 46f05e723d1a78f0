"""Measuring each part of the timings; every part runs in a process of its own (`shelfbench_deep.timing.child`)."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from shelfbench.cost.measurements import MatrixPeak, Repeated
from shelfbench_deep.timing.feeding import BUFFERED, fed_from_jpeg
from shelfbench_deep.timing.settings import PORT, TimingSettings
from shelfbench_deep.timing.synthetic import Decoder, photos

if TYPE_CHECKING:
    from shelfbench_deep.engines.keras import keras

# Sides of the matrices whose product may reach the peak of a device; the fastest counts.
_SIDES = {"gpu": (4096, 8192, 16384), "cpu": (1024, 2048, 4096)}
# On a GPU, images have the size that each network was made for (X, Table 1).
_MADE_FOR = {"inception_v3": 299, PORT: 299, "xception": 299}
_OTHERS = 224
_PHOTOS = 512
_ROWS = 8192


# Takes what has been measured of a part so far.
Keep = Callable[[dict[str, Any]], object]


def measure_part(name: str, settings: TimingSettings, processes: bool, keep: Keep) -> dict[str, Any]:
    """Measure one part in this process.

    Parameters
    ----------
    name : str
        ``device``, or one of `TimingSettings.names`.
    settings : TimingSettings
        With everything that depends on the device filled in, except for ``device``.
    processes : bool
        Whether photos are decoded in processes rather than threads.
    keep : callable
        Is given what has been measured so far, in the same form.

    Returns
    -------
    dict
        Fields of `shelfbench.cost.measurements.Part` (JSON); for ``device``, the fields ``device`` and ``peaks``.
    """
    kind, _, subject = name.partition(" ")
    if kind == "decode":
        return _decode(settings, keep)
    from shelfbench_deep.engines.keras import keras

    if kind == "device":
        return _device(settings)
    keras.config.set_dtype_policy(settings.precision)
    keras.utils.set_random_seed(0)
    if kind == "head":
        return _head(int(subject), settings, keep)
    return _network(subject, kind == "full", settings, processes, keep)


def _device(settings: TimingSettings) -> dict[str, Any]:
    from shelfbench_deep.timing.on_device import device

    here = device()
    peaks = []
    for precision in ("float32", "bfloat16"):
        try:
            found = [_matrix_peak(precision, side, settings) for side in _SIDES[here.kind]]
            peaks.append(asdict(max(found, key=lambda peak: peak.flops)))
        except Exception:  # a device without this type has no peak in it
            continue
    return {"device": asdict(here), "peaks": peaks}


def _matrix_peak(precision: str, side: int, settings: TimingSettings) -> MatrixPeak:
    from shelfbench_deep.engines.keras import keras
    from shelfbench_deep.engines.native import wait

    left = keras.random.normal((side, side), dtype=precision)
    # keeps the length of every row about the same, however often it is multiplied
    right = keras.random.normal((side, side), stddev=side**-0.5, dtype=precision)

    def products(count: int) -> float:
        value = left
        wait(right)
        started = time.perf_counter()
        for _ in range(count):
            value = keras.ops.matmul(value, right)
        wait(value[:1, :1])
        return time.perf_counter() - started

    products(1)
    count = max(1, math.ceil(settings.seconds / 4 / products(1)))
    products(count)
    rates = [2 * side**3 * count / products(count) for _ in range(settings.repetitions)]
    low, middle, high = np.quantile(rates, [0.25, 0.5, 0.75])
    return MatrixPeak(precision=precision, side=side, flops=float(middle), low=float(low), high=float(high))


def _steps(seconds: float, settings: TimingSettings) -> int:
    """Number of steps in a repetition, from the seconds that one takes."""
    return min(10_000, max(2, math.ceil(settings.seconds / max(seconds, 1e-6))))


def _decode(settings: TimingSettings, keep: Keep) -> dict[str, Any]:
    pixels = settings.pixels or _MADE_FOR["inception_v3"]
    found: dict[str, Any] = {"pixels": pixels, "batch": settings.batch, "measured": []}
    for way in ("threads", "processes"):
        found["measured"].append(asdict(_decoding(way, pixels, settings)))
        keep(found)
    return found


def _decoding(way: str, pixels: int, settings: TimingSettings) -> Repeated:
    encoded = photos(_PHOTOS, settings.photo)
    decoder = Decoder(encoded, pixels, settings.batch, settings.workers, way == "processes")
    with closing(decoder.batches()) as batches:

        def repetition(steps: int) -> None:
            for _ in range(steps):
                next(batches)

        first = _clock(lambda: repetition(1))
        steps = _steps(_clock(lambda: repetition(BUFFERED)) / BUFFERED, settings)
        warm_up = _clock(lambda: repetition(steps))
        seconds = tuple(_clock(lambda: repetition(steps)) for _ in range(settings.repetitions))
    return Repeated(
        stage="decode",
        way=way,
        images=steps * settings.batch,
        steps=steps,
        first=first,
        warm_up=warm_up,
        seconds=seconds,
    )


def _clock(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _network(name: str, training: bool, settings: TimingSettings, processes: bool, keep: Keep) -> dict[str, Any]:
    """Train a network, or extract its bottlenecks, with batches on the device and from JPEG."""
    from shelfbench_deep.engines.keras import keras
    from shelfbench_deep.engines.native import put
    from shelfbench_deep.timing.flops import multiply_accumulates
    from shelfbench_deep.timing.on_device import forward_step, peak_memory, training_step

    pixels = settings.pixels or _MADE_FOR.get(name, _OTHERS)
    model = _classifier(name, pixels, settings.classes) if training else _extractor(name, pixels)
    # X06 without the schedule, which costs nothing
    step = training_step(model, keras.optimizers.SGD(0.045, momentum=0.9)) if training else forward_step(model)
    stage = "full_epoch" if training else "extract"
    random = np.random.default_rng(0)
    labels = put(random.integers(0, settings.classes, settings.batch))
    images = put(random.integers(0, 256, (settings.batch, pixels, pixels, 3), dtype=np.uint8))
    resident = _resident(stage, lambda: step(images, labels), settings)
    memory, memory_of = peak_memory()
    found = {
        "pixels": pixels,
        "batch": settings.batch,
        "precision": settings.precision,
        "parameters": sum(math.prod(variable.shape) for variable in model.trainable_variables),
        "multiply_accumulates": multiply_accumulates(model),
        "memory_mib": round(memory, 1),
        "memory_of": memory_of,
        "measured": [asdict(resident)],
    }
    keep(found)
    decoder = Decoder(photos(_PHOTOS, settings.photo), pixels, settings.batch, settings.workers, processes)
    fed = fed_from_jpeg(stage, step, decoder, labels, steps=resident.steps, settings=settings)
    return {**found, "measured": [asdict(resident), asdict(fed)]}


def _classifier(name: str, pixels: int, classes: int) -> keras.Model:
    """Build a network with its top, from bytes to logits, with random weights; of ``keras.applications``, or `PORT`."""
    from shelfbench_deep.engines.keras import keras
    from shelfbench_deep.networks.inception import InceptionSettings, inception_v3
    from shelfbench_deep.networks.known import NETWORKS

    if name == PORT:
        return _from_bytes(inception_v3(pixels, classes, InceptionSettings(port_2016=True)), pixels)
    build = getattr(keras.applications, NETWORKS[name].application)
    shape = (pixels, pixels, 3)
    return _from_bytes(build(weights=None, input_shape=shape, classes=classes, classifier_activation=None), pixels)


def _extractor(name: str, pixels: int) -> keras.Model:
    from shelfbench_deep.networks.backbones import Backbone

    return _from_bytes(Backbone(name, "none", pixels).model(), pixels)


def _from_bytes(network: keras.Model, pixels: int) -> keras.Model:
    """Put the preprocessing into the network, so that only a quarter of the bytes goes to the device."""
    from shelfbench_deep.engines.keras import keras

    images = keras.Input((pixels, pixels, 3), dtype="uint8")
    return keras.Model(images, network(keras.layers.Rescaling(1 / 127.5, offset=-1)(images)))


def _resident(stage: str, step: Callable[[], Any], settings: TimingSettings) -> Repeated:
    from shelfbench_deep.engines.native import wait

    first = _clock(lambda: wait(step()))
    steps = _steps(min(_clock(lambda: wait(step())) for _ in range(2)), settings)

    def repetition() -> None:
        for _ in range(steps):
            value = step()
        wait(value)

    warm_up = _clock(repetition)
    seconds = tuple(_clock(repetition) for _ in range(settings.repetitions))
    return Repeated(
        stage=stage,
        way="resident",
        images=steps * settings.batch,
        steps=steps,
        first=first,
        warm_up=warm_up,
        seconds=seconds,
    )


def _head(units: int, settings: TimingSettings, keep: Keep) -> dict[str, Any]:
    """An epoch of a 2NN: batch by batch from the host's memory, and in one compiled call on the device."""
    from shelfbench_deep.engines.keras import keras
    from shelfbench_deep.engines.native import compiled_epoch, wait
    from shelfbench_deep.heads.two_layer import two_layer
    from shelfbench_deep.heads.two_layer_settings import TwoLayerSettings
    from shelfbench_deep.timing.on_device import peak_memory

    dimensions, batch, head = 2048, settings.head_batch, TwoLayerSettings()

    def fresh() -> tuple[keras.Model, keras.optimizers.Optimizer]:
        schedule = keras.optimizers.schedules.InverseTimeDecay(head.learning_rate, 1, head.decay)
        return two_layer(dimensions, units, settings.classes, head), keras.optimizers.SGD(schedule)

    model, optimizer = fresh()
    sizes = {
        "batch": batch,
        "precision": settings.precision,
        "parameters": sum(math.prod(variable.shape) for variable in model.trainable_variables),
        "multiply_accumulates": sum(math.prod(v.shape) for v in model.trainable_variables if len(v.shape) == 2),
    }

    def answer(measured: list[Repeated]) -> dict[str, Any]:
        memory, memory_of = peak_memory()
        about = {"memory_mib": round(memory, 1), "memory_of": memory_of}
        return {**sizes, **about, "measured": [asdict(found) for found in measured]}

    whole, its_optimizer = fresh()
    run = compiled_epoch(
        whole,
        its_optimizer,
        images=settings.images,
        dimensions=dimensions,
        classes=settings.classes,
        batch=batch,
    )
    on_device = []
    if run is not None:
        steps = settings.images // batch
        first, warm_up = (_clock(lambda: wait(run())) for _ in range(2))
        seconds = tuple(_clock(lambda: wait(run())) for _ in range(settings.repetitions))
        on_device = [
            Repeated(
                stage="head_epoch",
                way="on device",
                images=steps * batch,
                steps=steps,
                first=first,
                warm_up=warm_up,
                seconds=seconds,
            )
        ]
        keep(answer(on_device))
    return answer([_ordinary(model, optimizer, settings), *on_device])


def _ordinary(model: keras.Model, optimizer: keras.optimizers.Optimizer, settings: TimingSettings) -> Repeated:
    """Train as `TwoLayer` does with Keras: features in the host's memory, one call of Keras per batch."""
    from shelfbench_deep.engines.keras import keras
    from shelfbench_deep.engines.native import jit_compile

    batch, random = settings.head_batch, np.random.default_rng(0)
    features = np.abs(random.standard_normal((max(_ROWS, batch), 2048), np.float32))
    labels = random.integers(0, settings.classes, len(features))
    model.compile(
        optimizer,
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=[keras.metrics.SparseCategoricalAccuracy(name="accuracy")],
        jit_compile=jit_compile(),
    )

    def repetition(steps: int) -> None:
        order = random.permutation(len(features))
        for number in range(steps):
            rows = np.take(order, range(number * batch, number * batch + batch), mode="wrap")
            model.reset_metrics()
            # the answer is fetched from the device, which waits until it is computed
            model.train_on_batch(features[rows], labels[rows], return_dict=True)

    first = _clock(lambda: repetition(1))
    steps = _steps(_clock(lambda: repetition(4)) / 4, settings)
    warm_up = _clock(lambda: repetition(steps))
    seconds = tuple(_clock(lambda: repetition(steps)) for _ in range(settings.repetitions))
    return Repeated(
        stage="head_epoch",
        way="ordinary",
        images=steps * batch,
        steps=steps,
        first=first,
        warm_up=warm_up,
        seconds=seconds,
    )
