from functools import partial

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from shelfbench.base.console import Console
from shelfbench.base.errors import InputError, RunError
from shelfbench.plugins.backend import TrainingData, as_record
from shelfbench_deep.engines.openvino import library
from shelfbench_deep.heads import two_layer_settings
from shelfbench_deep.heads.two_layer import TwoLayer
from shelfbench_deep.heads.two_layer_cpu import CPUTraining, Weights
from shelfbench_deep.heads.two_layer_openvino import OpenVINOTraining
from shelfbench_deep.heads.two_layer_settings import TwoLayerSettings


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(7, 20))
    labels = rng.integers(0, 7, 500)
    features = np.maximum(centres[labels] + 1.5 * rng.normal(size=(500, 20)), 0).astype(np.float32)
    return TrainingData(
        features=features[:400], labels=labels[:400], classes=7, tune_features=features[400:], tune_labels=labels[400:]
    )


def fitted(data, units=256, seed=0, **changed):
    classifier = TwoLayer(units, TwoLayerSettings(**{"epochs": 3, "batch": 64, **changed}))
    classifier.fit(data, seed=seed, console=Console(quiet=True))
    return classifier


def on_openvino(data, precision, **changed):
    return fitted(data, engine="openvino", precision=precision, **changed)


def weights_of(classifier):
    return {variable.path: variable.numpy() for variable in classifier.network().weights}


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"decay": 0.1, "standardise": True, "units": 200},
        {"momentum": 0.9, "learning_rate": 0.02},
        {"batch_norm": "none", "momentum": 0.5},
        {"batch_norm": "one"},
        {"batch_norm": "several", "batch_norm_at": "logits"},
        {"batch_norm": "one", "batch_norm_at": "logits", "units": 2},
    ],
)
def test_the_steps_of_keras(data, changed):
    """Without dropout, which each draws for itself, weights and history are the same but for rounding."""
    theirs = fitted(data, dropout=0.0, engine="keras", **changed)
    expected = weights_of(theirs)
    for engine in ("numpy", "openvino"):
        ours = fitted(data, dropout=0.0, engine=engine, precision="float32", **changed)
        assert (ours.chosen["engine"], theirs.chosen["engine"]) == (engine, "keras")
        mine = weights_of(ours)
        assert mine.keys() == expected.keys()
        for name, array in expected.items():
            np.testing.assert_allclose(mine[name], array, rtol=2e-3, atol=2e-4, err_msg=f"{engine} {name}")
        columns = ["loss", "accuracy", "val_loss", "val_accuracy", "lr"]
        np.testing.assert_allclose(ours.history[columns], theirs.history[columns], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("engine", "precision", "dropout"),
    [
        ("numpy", "float32", 0.5),
        ("openvino", "bfloat16", 0.5),
        pytest.param("numpy", "float32", 0.2, marks=pytest.mark.slow),
        pytest.param("openvino", "float32", 0.2, marks=pytest.mark.slow),
    ],
)
def test_the_loss_curve_of_keras_with_dropout(data, engine, precision, dropout):
    ours, theirs = (
        np.array([fitted(data, dropout=dropout, seed=seed, **chosen).history["loss"] for seed in range(4)])
        for chosen in ({"engine": engine, "precision": precision}, {"engine": "keras"})
    )
    # the same seed gives both the same start and order, so that dropout alone differs
    noise = (ours - theirs).std(axis=0, ddof=1) / 2
    assert (np.abs((ours - theirs).mean(axis=0)) < 6 * noise).all()
    without = fitted(data, dropout=0.0, engine=engine, precision=precision).history["loss"].iloc[-1]
    assert ours[:, -1].min() > without + 2 * noise[-1]


def test_threads_matter_by_rounding_alone(data):
    found = []
    for threads in (1, 3):
        with threadpool_limits(threads):
            found.append(weights_of(fitted(data, units=512, dropout=0.0, engine="numpy")))
    for name, array in found[0].items():
        np.testing.assert_allclose(found[1][name], array, rtol=1e-3, atol=1e-4, err_msg=name)


@pytest.mark.parametrize(("engine", "precision"), [("numpy", "float32"), ("openvino", "bfloat16")])
def test_the_same_again_with_several_threads(data, engine, precision):
    with threadpool_limits(3):
        first, again = (
            weights_of(fitted(data, units=512, engine=engine, precision=precision, momentum=0.5)) for _ in range(2)
        )
    for name, array in first.items():
        np.testing.assert_array_equal(again[name], array)


def test_bfloat16_learns_what_float32_learns(data, tmp_path):
    """The same dropout: what differs is the rounding of products, which is not that of float32 and stays small."""
    exact, rounded = (on_openvino(data, precision, epochs=8) for precision in ("float32", "bfloat16"))
    assert exact.framework.startswith("openvino (training)")
    assert (exact.precision, rounded.precision) == ("float32", "bfloat16")
    assert "precision" not in exact.chosen
    assert rounded.chosen["precision"] == "bfloat16"
    losses = [found.history["loss"].to_numpy() for found in (exact, rounded)]
    assert not np.array_equal(*losses)
    np.testing.assert_allclose(losses[1], losses[0], rtol=0.02)
    assert losses[0][-1] < 0.7 * losses[0][0]
    kernels = [weights_of(found)["hidden2/kernel"] for found in (exact, rounded)]
    assert kernels[1].dtype == np.float32
    assert (kernels[1].view(np.uint32) & 0xFFFF).any()  # the weights themselves are not rounded to bfloat16
    assert 0 < np.linalg.norm(kernels[1] - kernels[0]) < 0.05 * np.linalg.norm(kernels[0])
    rounded.save(tmp_path)
    loaded = TwoLayer.load(tmp_path)
    np.testing.assert_array_equal(loaded.log_probabilities(data.features), rounded.log_probabilities(data.features))
    assert loaded.settings == rounded.settings


def test_small_changes_are_not_lost_in_bfloat16(data):
    """Steps far below a weight's own rounding in bfloat16 add up, because the weights are kept in float32."""
    changed = {"learning_rate": 1e-4, "decay": 0.0, "dropout": 0.0, "epochs": 20}
    start, exact, rounded = (
        weights_of(on_openvino(data, precision, **changed | more))["hidden1/kernel"]
        for precision, more in (("float32", {"learning_rate": 1e-12}), ("float32", {}), ("bfloat16", {}))
    )
    moved = np.linalg.norm(exact - start)
    assert np.abs(exact - start).max() < 2.0**-9 * np.abs(start).max()
    assert np.linalg.norm(rounded - exact) < 0.1 * moved


@pytest.mark.parametrize(
    ("fast", "installed", "device", "chosen", "expected"),
    [
        (True, "2026.1", "cpu", {}, ("openvino", "bfloat16")),
        (False, "2026.1", "cpu", {}, ("numpy", "float32")),
        (True, None, "cpu", {}, ("numpy", "float32")),
        (True, "2026.1", "cpu", {"precision": "float32"}, ("numpy", "float32")),
        (True, "2026.1", "cpu", {"engine": "numpy"}, ("numpy", "float32")),
        (True, "2026.1", "H200", {}, ("keras", "float32")),
        (True, "2026.1", "H200", {"precision": "float32"}, ("keras", "float32")),
        (False, "2026.1", "cpu", {"precision": "bfloat16"}, ("openvino", "bfloat16")),
        (False, "2026.1", "cpu", {"engine": "openvino"}, ("openvino", "float32")),
        (True, "2026.1", "cpu", {"engine": "openvino", "precision": "float32"}, ("openvino", "float32")),
    ],
)
def test_the_engine_that_a_machine_gets(monkeypatch, fast, installed, device, chosen, expected):
    monkeypatch.setattr(two_layer_settings, "multiplies_bfloat16_faster", lambda: fast)
    monkeypatch.setattr(two_layer_settings, "openvino_version", lambda: installed)
    assert TwoLayerSettings(**chosen).settle(device) == expected


def test_an_engine_that_cannot_do_it(monkeypatch):
    with pytest.raises(InputError, match=r"bfloat16.*engine=numpy.*engine=openvino"):
        TwoLayerSettings(engine="numpy", precision="bfloat16")
    monkeypatch.setattr(two_layer_settings, "openvino_version", lambda: None)
    with pytest.raises(InputError, match="python -m pip install openvino"):
        TwoLayerSettings(engine="openvino").settle("cpu")


def test_the_record_of_a_run_that_chooses_no_precision_is_as_before():
    assert "precision" not in as_record(TwoLayerSettings())
    assert as_record(TwoLayerSettings(precision="bfloat16"))["precision"] == "bfloat16"


def test_a_gradient_is_added_in_tiles_of_the_cache():
    rng = np.random.default_rng(0)
    start = rng.normal(size=(3000, 400)).astype(np.float32)
    inputs = rng.normal(size=(5, 2000)).astype(np.float32)
    steps = rng.normal(size=(5, 300)).astype(np.float32)
    weights = Weights({"kernel": start}, momentum=0.0)
    weights.add_product("kernel", (slice(1000, 3000), slice(100, 400)), inputs, steps)
    expected = start.copy()
    expected[1000:, 100:] += inputs.T @ steps
    np.testing.assert_allclose(weights.arrays["kernel"], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", [CPUTraining, partial(OpenVINOTraining, precision="bfloat16")])
def test_what_goes_wrong_in_a_thread_ends_the_epoch(data, kind):
    training = kind(weights_of(fitted(data, engine="numpy")), TwoLayerSettings(), statistics=0.9, seed=0)

    def take(rows):
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        training.epoch(take, data.labels, np.arange(400).reshape(4, 100), lambda: None)


def test_openvino_that_cannot_compute_is_one_line(data, monkeypatch):
    training = OpenVINOTraining(
        weights_of(fitted(data, engine="numpy")), TwoLayerSettings(), statistics=0.9, seed=0, precision="bfloat16"
    )

    class Core:
        def compile_model(self, model, device, hints):
            raise RuntimeError("no such instruction\nand a stack of C++")

    monkeypatch.setattr(library(), "Core", Core)
    with pytest.raises(RunError, match=r"cannot train the 2NN \(no such instruction\); set two_layer\.engine=numpy"):
        training.epoch(data.features.__getitem__, data.labels, np.arange(400).reshape(4, 100), lambda: None)
