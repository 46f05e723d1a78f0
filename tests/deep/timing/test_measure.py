"""The basis of the timings: multiply-accumulates, photos, decoding ahead, steps that learn, parts that fail alone."""

import json
import os
import subprocess
import sys
from contextlib import closing

import numpy as np
import pytest

from shelfbench.base.console import Console
from shelfbench.base.errors import InputError, RunError
from shelfbench.cost.measurements import MatrixPeak, Measurements, Part, Repeated, read_measurements
from shelfbench.data.images import decode
from shelfbench_deep.measure import main
from shelfbench_deep.timing import measuring
from shelfbench_deep.timing.feeding import fed_from_jpeg
from shelfbench_deep.timing.measuring import measure, slug
from shelfbench_deep.timing.settings import TimingSettings
from shelfbench_deep.timing.synthetic import Decoder, photos
from tests.helpers.sources import PYTHONPATH

QUIET = Console(quiet=True)
# docs/papers.md: G multiply-accumulates of the networks with 1,000 classes at 299, 224 and 180 pixels
GIGA = {
    "InceptionV3": (5.713, 2.838, 1.712),
    "Xception": (8.357, 4.553, 2.861),
    "VGG16": (26.994, 15.470, 9.812),
    "ResNet152": (20.886, 11.282, 8.110),
}
SIZES = (299, 224, 180)


def built(application, pixels):
    from shelfbench_deep.engines.keras import keras

    with keras.device("cpu"):
        build = getattr(keras.applications, application)
        return build(weights=None, input_shape=(pixels, pixels, 3), classifier_activation=None)


@pytest.mark.parametrize(
    ("application", "number"),
    [
        pytest.param(
            name, number, marks=[] if (name, number) in {("InceptionV3", 0), ("Xception", 2)} else pytest.mark.slow
        )
        for name in GIGA
        for number in range(3)
    ],
)
def test_multiply_accumulates_are_the_known_ones(application, number):
    from shelfbench_deep.timing.flops import multiply_accumulates

    counted = multiply_accumulates(built(application, SIZES[number]))
    assert f"{counted / 1e9:.3f}" == f"{GIGA[application][number]:.3f}"


def test_multiply_accumulates_of_every_kind_of_layer_by_hand():
    from shelfbench_deep.engines.keras import keras
    from shelfbench_deep.timing.flops import multiply_accumulates

    layers = keras.layers
    inner_input = keras.Input((8, 8, 4))
    inner = keras.Model(inner_input, layers.Conv2D(6, 3, padding="same", groups=2)(inner_input))
    images = keras.Input((16, 16, 3))
    x = layers.Conv2D(4, 3, strides=2, padding="same")(images)  # 8 x 8 x 4, from 3 x 3 x 3
    x = inner(x)  # 8 x 8 x 6, each from 3 x 3 x 2
    x = layers.DepthwiseConv2D(3, padding="valid")(x)  # 6 x 6 x 6, each from 3 x 3
    x = layers.SeparableConv2D(5, 3, padding="same")(x)  # 6 x 6 x 6 from 3 x 3, then x 5 from 6
    model = keras.Model(images, layers.Dense(7)(layers.Flatten()(layers.BatchNormalization()(x))))
    expected = 64 * 4 * 27 + 64 * 6 * 18 + 36 * 6 * 9 + 36 * (6 * 9 + 5 * 6) + 36 * 5 * 7
    assert multiply_accumulates(model) == expected


def test_photos_are_distinct_jpegs_of_a_shops_size():
    drawn = photos(20, 180)
    assert len(set(drawn)) == 20
    assert photos(20, 180) == drawn != photos(20, 180, seed=1)
    assert all(data[:2] == b"\xff\xd8" for data in drawn)
    # 58 GB for 12.4 million photos: 4.7 kB each
    assert 2500 < np.mean([len(data) for data in drawn]) < 10_000


@pytest.mark.parametrize("processes", [False, True], ids=["threads", "processes"])
def test_batches_hold_the_photos_in_order(processes):
    encoded = photos(7, 40)
    with closing(Decoder(encoded, 24, 5, 2, processes).batches()) as batches:
        given = [next(batches).copy() for _ in range(6)]
    expected = [decode(data, 24) for data in encoded]
    for number, image in enumerate(np.concatenate(given)):
        assert np.array_equal(image, expected[number % 7]), number


def test_a_step_learns_and_gives_a_value_to_wait_for():
    from shelfbench_deep.engines.keras import keras
    from shelfbench_deep.engines.native import put, wait
    from shelfbench_deep.timing.on_device import training_step

    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((12,)), keras.layers.Dense(16, activation="relu"), keras.layers.Dense(3)])
    step = training_step(model, keras.optimizers.SGD(0.5))
    random = np.random.default_rng(0)
    labels = random.integers(0, 3, 64)
    inputs = put((np.eye(12)[labels] + 0.1 * random.standard_normal((64, 12))).astype(np.float32))
    costs = []
    for _ in range(30):
        value = step(inputs, put(labels))
        wait(value)
        costs.append(float(np.asarray(value)))
    assert costs[-1] < 0.5 * costs[0]  # with Keras before 3.15, each is a mean over the steps until then


def test_time_spent_waiting_for_data_is_counted():
    """With photos slower than steps nearly all of the time is waiting; the other way round, none."""
    import time

    class Slow(Decoder):
        def batches(self):
            for batch in super().batches():
                time.sleep(0.03)
                yield batch

    settings = TimingSettings(repetitions=3)
    encoded = photos(4, 24)
    slow = Slow(encoded, 16, 2, 1, False)
    hungry = fed_from_jpeg("extract", lambda images, _: np.zeros(1), slow, None, steps=8, settings=settings)
    assert hungry.waited_share > 0.7

    def busy(images, _):
        time.sleep(0.03)
        return np.zeros(1)

    fed = fed_from_jpeg("extract", busy, Decoder(encoded, 16, 2, 1, False), None, steps=8, settings=settings)
    assert fed.waited_share < 0.3
    assert fed.quantile(0.5) > 8 * 0.03
    assert len(fed.waited) == len(fed.seconds) == 3


TINY = {
    "networks": ("inception_v3",),
    "units": (8,),
    "classes": 5,
    "pixels": 74,
    "batch": 2,
    "images": 512,
    "photo": 32,
    "repetitions": 2,
    "seconds": 0.05,
    "workers": 1,
}


def answers(failing=()):
    """A stand-in for the processes of parts, which records what each was asked to do."""

    asked = []

    def child(part, settings, processes=False, seconds=None):
        asked.append(part)
        if part == "device":
            peaks = [{"precision": "float32", "side": 8, "flops": 1e9, "low": 9e8, "high": 2e9}]
            return {
                "status": "done",
                "device": {"name": "Test (R) 9", "kind": "cpu", "engine": "tensorflow"},
                "peaks": peaks,
            }
        if part in failing:
            raise KeyboardInterrupt
        times = {"first": 1.0, "warm_up": 0.5, "seconds": [1.0, 2.0], "waited": []}
        repeated = {"stage": "decode", "way": "threads", "images": 10, "steps": 5, **times}
        return {"status": "done", "measured": [repeated]}

    return child, asked


def test_the_file_is_written_after_every_part_and_resumed(tmp_path, monkeypatch):
    settings = TimingSettings(**TINY)
    child, asked = answers(failing=("full inception_v3_2016",))
    monkeypatch.setattr(measuring, "measure_in_child", child)
    with pytest.raises(KeyboardInterrupt):
        measure(settings, tmp_path, "", QUIET)
    stored = read_measurements(tmp_path / "test-9.json")
    assert [part.name for part in stored.parts] == ["decode", "full inception_v3", "head 8", "extract inception_v3"]
    child, asked = answers()
    monkeypatch.setattr(measuring, "measure_in_child", child)
    found, path = measure(settings, tmp_path, "", QUIET)
    assert asked == ["device", "full inception_v3_2016"]
    assert [part.name for part in found.parts] == settings.names()
    assert path == tmp_path / "test-9.json"
    with pytest.raises(InputError, match="measured with other settings"):
        measure(TimingSettings(**TINY | {"batch": 3}), tmp_path, "", QUIET)


def test_measurements_survive_their_file(tmp_path):
    found = Repeated(
        stage="head_epoch",
        way="ordinary",
        images=512,
        steps=2,
        first=0.25,
        warm_up=0.5,
        seconds=(1.0, 2.0, 4.0),
        waited=(0.5, 0.25, 0.0),
    )
    part = Part(name="head 8", status="done", batch=256, precision="float32", parameters=9, measured=(found,))
    peaks = (MatrixPeak(precision="float32", side=8, flops=1.0, low=0.5, high=2.0),)
    before = Measurements(
        device="X",
        kind="cpu",
        engine="jax",
        machine={"cores": 2},
        versions={"jax": "1"},
        settings={"batch": 2},
        peaks=peaks,
        parts=(part,),
    )
    before.write(tmp_path / "device.json")
    assert read_measurements(tmp_path / "device.json") == before
    assert before.part("head 8").way("ordinary").waited_share == pytest.approx(0.75 / 7)
    assert before.peak("mixed_float32") == peaks[0]
    assert before.peak("mixed_bfloat16") is None
    (tmp_path / "run.json").write_text('{"study": {}}', encoding="utf-8")
    assert read_measurements(tmp_path / "run.json") is None
    values = json.loads((tmp_path / "device.json").read_text(encoding="utf-8"))
    values["parts"][0]["measured"][0]["seconds"] = []
    (tmp_path / "device.json").write_text(json.dumps(values), encoding="utf-8")
    with pytest.raises(InputError, match=r"device\.json cannot be read as measurements"):
        read_measurements(tmp_path / "device.json")


def test_a_machine_fills_in_the_settings_left_to_it():
    gpu, cpu = TimingSettings().on("gpu"), TimingSettings().on("cpu")
    assert (gpu.precision, cpu.precision) == ("mixed_bfloat16", "float32")
    assert (gpu.images, cpu.pixels) == (1_000_000, 96)
    assert cpu.workers >= 1
    asked = TimingSettings(pixels=80, batch=3, images=999, precision="float32", workers=5)
    assert asked.on("gpu") == asked.on("cpu") == asked
    assert "full efficientnet_lite0" not in asked.names()
    assert "extract efficientnet_lite0" in asked.names()


@pytest.mark.parametrize(
    "wrong",
    [
        {"networks": ("nothing",)},
        {"units": (7,)},
        {"precision": "half"},
        {"batch": -1},
        {"seconds": 0.0},
        {"images": 3},
    ],
)
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(InputError, match=rf"timing\.{next(iter(wrong))}"):
        TimingSettings(**wrong)


def test_names_of_devices_are_names_of_files():
    assert slug("NVIDIA H100 80GB HBM3") == "nvidia-h100-80gb-hbm3"
    assert slug("Intel(R) Xeon(R) Processor @ 2.20GHz") == "intel-xeon-processor-2-20ghz"


def test_wrong_use_of_the_script_is_one_line(tmp_path, capsys):
    assert main(["--out", str(tmp_path), "--networks", "nothing"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("shelfbench_deep.measure: timing.networks names 'nothing'")
    assert error.count("\n") == 1


def test_a_device_that_cannot_be_identified_says_why(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "nonsense")
    with pytest.raises(RunError, match="the device cannot be measured"):
        measure(TimingSettings(**TINY), tmp_path, "", QUIET)


def run_script(out, engine, words):
    environment = {**os.environ, "KERAS_BACKEND": engine, "PYTHONPATH": PYTHONPATH}
    tiny = ["--batch", "2", "--images", "512", "--photo", "32", "--units", "8", "--workers", "1", "--quick"]
    command = [sys.executable, "-m", "shelfbench_deep.measure", "--out", str(out), *tiny, *words]
    return subprocess.run(command, env=environment, cwd=out, capture_output=True, text=True, check=False)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["tensorflow", "jax"])
def test_the_script_measures_and_a_network_fails_alone(tmp_path, engine):
    pytest.importorskip(engine, reason=f"{engine} is not installed")
    # 74 pixels are too few for the first and enough for the others
    words = ["--pixels", "74", "--networks", "inception_v3", "efficientnet_lite0", "vgg16"]
    done = run_script(tmp_path, engine, words)
    assert done.returncode == 1, done.stderr
    [path] = tmp_path.glob("*.json")
    found = read_measurements(path)
    assert str(path) in done.stdout
    status = {part.name: part.status for part in found.parts}
    assert status.pop("full inception_v3") == status.pop("extract inception_v3") == "failed"
    assert set(status.values()) == {"done"}
    assert "at least 75x75" in found.part("full inception_v3").reason
    assert "full inception_v3 failed" in done.stdout
    trained = found.part("full vgg16")
    assert {found.way for found in trained.measured} == {"resident", "jpeg"}
    assert trained.memory_mib > 100
    assert trained.multiply_accumulates > 1e9
    ways = {found.way for found in found.part("head 8").measured}
    assert ways == ({"ordinary", "on device"} if engine == "jax" else {"ordinary"})
    assert found.engine == engine


@pytest.mark.slow
def test_an_epoch_on_the_device_learns_as_one_of_keras_does():
    """The compiled epoch and single steps update by the same rule: over the same images both reach the same cost."""
    pytest.importorskip("jax", reason="jax is not installed")
    code = """
import numpy as np
from shelfbench_deep.engines.keras import keras
from shelfbench_deep.engines.native import compiled_epoch, wait
def head():
    return keras.Sequential([keras.Input((8,)), keras.layers.Dense(16, activation="relu"), keras.layers.Dense(4)])
keras.utils.set_random_seed(0)
run = compiled_epoch(head(), keras.optimizers.SGD(0.1, momentum=0.9), images=64, dimensions=8, classes=4, batch=16)
costs = [np.asarray(run()) for _ in range(200)]
assert costs[0].shape == (4,), costs[0].shape
print(costs[0].mean(), costs[-1].mean())
assert costs[-1].mean() < 0.3 * costs[0].mean()
"""
    environment = {**os.environ, "KERAS_BACKEND": "jax", "PYTHONPATH": PYTHONPATH}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
