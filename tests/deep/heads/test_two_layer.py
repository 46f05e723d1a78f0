import json
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import log_softmax as scipy_log_softmax

from shelfbench.base.console import Console
from shelfbench.base.errors import InputError, RunError
from shelfbench.plugins.backend import TrainingData
from shelfbench_deep.engines.keras import keras
from shelfbench_deep.heads.softmax import log_softmax
from shelfbench_deep.heads.two_layer import TwoLayer, two_layer
from shelfbench_deep.heads.two_layer_settings import TwoLayerSettings

QUIET = Console(quiet=True)


def clusters(n=300, classes=4, tune=60, spread=0.7, d=12, seed=0):
    rng = np.random.default_rng(seed)
    centres = 3 * rng.normal(size=(classes, d)) + 5
    labels, tune_labels = rng.integers(0, classes, n), rng.integers(0, classes, tune)

    def around(codes):
        return (centres[codes] + spread * rng.normal(size=(len(codes), d))).astype(np.float32)

    return TrainingData(
        features=around(labels),
        labels=labels,
        classes=classes,
        tune_features=around(tune_labels),
        tune_labels=tune_labels,
    )


def fitted(data, seed=0, units=32, **changed):
    classifier = TwoLayer(units, TwoLayerSettings(**{"epochs": 4, "batch": 64, **changed}))
    classifier.fit(data, seed=seed, console=QUIET)
    return classifier


@pytest.fixture(scope="module")
def usual():
    data = clusters(n=700)
    return data, fitted(data, decay=0.05, standardise=True)


def precision(classifier, features, labels):
    return float((classifier.log_probabilities(features).argmax(axis=1) == labels).mean())


@pytest.mark.parametrize(
    ("units", "classes", "parameters"),
    [
        (512, 1000, 847_336),
        (512, 5270, 1_944_726),
        (2048, 1000, 4_172_776),
        (2048, 5270, 8_549_526),
        (4096, 1000, 10_441_704),
        (4096, 5270, 19_190_934),
    ],
)
def test_parameters_of_the_paper_sizes(units, classes, parameters):
    plain = two_layer(2048, units, classes, TwoLayerSettings(batch_norm="none"))
    assert plain.count_params() == parameters


@pytest.mark.parametrize(("units", "each"), [(512, 1_024), (2048, 4_096), (4096, 8_192)])
def test_parameters_of_batch_normalisation(units, each):
    none, one, several = (
        two_layer(64, units, 3, TwoLayerSettings(batch_norm=batch_norm)).count_params()
        for batch_norm in ("none", "one", "several")
    )
    assert (one - none, several - none) == (each, 2 * each)


@pytest.mark.parametrize(
    ("batch_norm", "at", "expected"),
    [
        ("none", "hidden", []),
        ("one", "hidden", ["hidden1_bn"]),
        ("several", "hidden", ["hidden1_bn", "hidden2_bn"]),
        ("none", "logits", []),
        ("one", "logits", ["logits_bn"]),
        ("several", "logits", ["hidden1_bn", "hidden2_bn", "logits_bn"]),
    ],
)
def test_order_of_layers(batch_norm, at, expected):
    names = [
        layer.name for layer in two_layer(8, 16, 3, TwoLayerSettings(batch_norm=batch_norm, batch_norm_at=at)).layers
    ]
    assert [name for name in names if name.endswith("_bn")] == expected
    assert [name for name in names if not name.endswith("_bn")] == [
        "features",
        "hidden1",
        "relu1",
        "dropout",
        "hidden2",
        "relu2",
        "logits",
    ]
    for name in expected:
        assert names.index(name) == names.index(name.removesuffix("_bn")) + 1


def test_learning_rate_of_the_paper():
    paper = TwoLayerSettings()
    updates = 1_000_000 // 256
    assert [round(paper.rate(n * updates), 4) for n in (1, 10, 50)] == [0.0785, 0.0268, 0.0068]
    assert paper.rate(0) == 0.1


def test_training_follows_that_rate(usual):
    data, classifier = usual
    assert classifier.history["step"].tolist() == [11, 22, 33, 44]
    last = classifier.history["lr"].iloc[-1]
    assert last == pytest.approx(0.1 / 3.2)
    classifier = fitted(data, decay=0.05, engine="keras")  # the other engine is compared with this one
    assert classifier.chosen["engine"] == "keras"
    assert float(classifier._model.optimizer.learning_rate) == pytest.approx(last, rel=1e-6)
    assert int(classifier._model.optimizer.iterations) == 44


def test_loss_and_accuracy_are_means_over_the_epoch():
    data = clusters(n=256)
    still = fitted(data, epochs=2, learning_rate=1e-12, batch_norm="none", dropout=0.0, precision="float32")
    scores = still.log_probabilities(data.features)
    assert still.history["loss"].tolist() == pytest.approx([-scores[np.arange(256), data.labels].mean()] * 2, rel=1e-4)
    assert still.history["accuracy"].tolist() == [(scores.argmax(axis=1) == data.labels).mean()] * 2


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"batch_norm": "none", "standardise": True},
        {"batch_norm": "several", "batch_norm_at": "logits"},
        {"momentum": 0.9, "learning_rate": 0.02, "dropout": 0.0},
    ],
)
def test_learns_clusters(changed):
    data = clusters()
    classifier = fitted(data, epochs=10, **changed)
    assert precision(classifier, data.tune_features, data.tune_labels) > 0.95
    assert list(classifier.history) == [
        "epoch",
        "step",
        "loss",
        "accuracy",
        "val_loss",
        "val_accuracy",
        "lr",
        "seconds",
    ]
    assert classifier.history["loss"].iloc[-1] < classifier.history["loss"].iloc[0] / 2


def test_scores_are_the_networks_own(usual):
    data, classifier = usual
    standardised = (data.features - data.features.mean(0)) / data.features.std(0)
    logits = keras.ops.convert_to_numpy(classifier._model(standardised, training=False))
    np.testing.assert_allclose(
        classifier.log_probabilities(data.features), scipy_log_softmax(logits.astype(np.float64), axis=1), atol=1e-4
    )


def test_a_seed_decides_everything(usual):
    data, first = usual
    again, other = (fitted(data, decay=0.05, standardise=True, seed=seed) for seed in (0, 1))
    scores = first.log_probabilities(data.features)
    np.testing.assert_array_equal(again.log_probabilities(data.features), scores)
    assert first.history.drop(columns="seconds").equals(again.history.drop(columns="seconds"))
    assert not np.array_equal(other.log_probabilities(data.features), scores)


def test_scores_do_not_depend_on_the_other_rows(usual):
    data, classifier = usual
    scores = classifier.log_probabilities(data.features)
    np.testing.assert_array_equal(classifier.log_probabilities(data.features[600:]), scores[600:])
    assert classifier.log_probabilities(data.features[:0]).shape == (0, 4)


@pytest.mark.slow  # the harness asks the same of a whole run
def test_predicts_the_same_in_another_process(tmp_path, usual):
    data, classifier = usual
    np.save(tmp_path / "features.npy", data.features)
    classifier.save(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"features.npy", "weights.safetensors", "classifier.json"}
    code = """
import sys
from pathlib import Path
import numpy as np
from shelfbench_deep.heads.two_layer import TwoLayer
folder = Path(sys.argv[1])
loaded = TwoLayer.load(folder)
np.save(folder / "scores.npy", loaded.log_probabilities(np.load(folder / "features.npy")))
"""
    done = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    np.testing.assert_array_equal(np.load(tmp_path / "scores.npy"), classifier.log_probabilities(data.features))
    loaded = TwoLayer.load(tmp_path)
    assert (loaded.chosen, loaded.settings, loaded.units) == (classifier.chosen, classifier.settings, classifier.units)


def test_a_damaged_model_is_named(tmp_path, usual):
    with pytest.raises(InputError, match=str(tmp_path)):
        TwoLayer.load(tmp_path)
    usual[1].save(tmp_path)
    record = json.loads((tmp_path / "classifier.json").read_text())
    (tmp_path / "classifier.json").write_text(json.dumps({**record, "dimensions": 13}))
    with pytest.raises(InputError, match="no readable 2NN"):
        TwoLayer.load(tmp_path)
    (tmp_path / "classifier.json").write_text(json.dumps(record))
    whole = (tmp_path / "weights.safetensors").read_bytes()
    (tmp_path / "weights.safetensors").write_bytes(whole[:-10])
    with pytest.raises(InputError, match="no readable 2NN"):
        TwoLayer.load(tmp_path)


def test_sure_predictions_can_still_be_told_apart():
    logits = np.array([[40, 0, 1], [60, 0, 1], [200, 0, 1]], np.float32)
    scores = log_softmax(logits)
    saturated = np.exp(logits - logits.max(1, keepdims=True), dtype=np.float32)
    assert ((saturated / saturated.sum(1, keepdims=True))[:, 0] == 1).all()
    assert (np.diff(scores[:, 0]) > 0).all()
    assert (scores[:, 0] < 0).all()


@settings(max_examples=100, deadline=None)
@given(arrays(np.float32, st.tuples(st.integers(0, 5), st.integers(1, 6)), elements=st.floats(-300, 300, width=32)))
def test_log_softmax_is_that_of_scipy(logits):
    scores = log_softmax(logits)
    assert scores.dtype == np.float64
    np.testing.assert_allclose(scores, scipy_log_softmax(logits.astype(np.float64), axis=1), atol=1e-12)
    np.testing.assert_allclose(np.exp(scores).sum(axis=1), 1, rtol=1e-12)


def noisy(**changed):
    """Training labels say nothing of `tune`, so that its precision goes up and down."""
    data = clusters(spread=4)
    labels = np.random.default_rng(7).permutation(data.tune_labels)
    return TrainingData(
        features=data.features, labels=data.labels, classes=4, tune_features=data.tune_features, tune_labels=labels
    )


def test_the_best_epoch_on_tune_is_kept():
    data = noisy()
    classifier = fitted(data, epochs=12)
    history, kept = classifier.history, classifier.chosen["epoch"]
    assert kept < 12
    best = history[history["val_accuracy"] == history["val_accuracy"].max()]
    assert kept == best.loc[best["val_loss"].idxmin(), "epoch"]
    assert precision(classifier, data.tune_features, data.tune_labels) == history["val_accuracy"].max()


def test_patience_stops_early():
    classifier = fitted(noisy(), epochs=60, patience=3)
    assert len(classifier.history) == classifier.chosen["epochs"] == classifier.chosen["epoch"] + 3 < 60


def test_unknown_categories_of_tune_are_wrong_and_free_of_cost():
    data = clusters()
    unknown = data.tune_labels.copy()
    unknown[::2] = -1
    classifier = fitted(
        TrainingData(
            features=data.features, labels=data.labels, classes=4, tune_features=data.tune_features, tune_labels=unknown
        ),
        epochs=8,
    )
    assert classifier.history["val_accuracy"].max() == pytest.approx(0.5, abs=0.02)
    assert np.isfinite(classifier.history["val_loss"]).all()
    every = TrainingData(
        features=data.features,
        labels=data.labels,
        classes=4,
        tune_features=data.tune_features,
        tune_labels=np.full_like(unknown, -1),
    )
    assert (fitted(every, epochs=1).history["val_accuracy"] == 0).all()


@pytest.mark.parametrize(("n", "classes", "tune"), [(1, 1, 0), (1, 3, 2), (70, 1, 5), (40, 3, 0)])
def test_little_data(n, classes, tune):
    data = clusters(n=n, classes=classes, tune=tune)
    classifier = fitted(data)
    scores = classifier.log_probabilities(data.features)
    assert scores.shape == (n, classes)
    assert np.isfinite(scores).all()
    np.testing.assert_allclose(np.exp(scores).sum(axis=1), 1)
    if classes == 1:
        assert classifier.history["accuracy"].tolist() == [1] * 4
    if tune == 0:
        assert classifier.chosen["epoch"] == 4
        assert classifier.history["val_accuracy"].isna().all()


def test_a_category_without_images_is_not_predicted():
    data = clusters(classes=4)
    present = data.labels != 2
    classifier = fitted(
        TrainingData(
            features=data.features[present],
            labels=data.labels[present],
            classes=4,
            tune_features=data.tune_features,
            tune_labels=data.tune_labels,
        ),
        epochs=8,
    )
    assert 2 not in classifier.log_probabilities(data.features[present]).argmax(axis=1)


def test_constant_features_are_no_division_by_zero():
    data = clusters()
    flat = data.features.copy()
    flat[:, 3] = 1.25
    classifier = fitted(
        TrainingData(
            features=flat, labels=data.labels, classes=4, tune_features=data.tune_features, tune_labels=data.tune_labels
        ),
        epochs=1,
        standardise=True,
    )
    assert np.isfinite(classifier.log_probabilities(flat)).all()


def test_training_that_cannot_work_says_so():
    data = clusters(n=64)
    broken = data.features.copy()
    broken[3, 3] = np.nan
    with pytest.raises(RunError, match="training image 3 are not finite"):
        fitted(
            TrainingData(
                features=broken,
                labels=data.labels,
                classes=4,
                tune_features=data.tune_features,
                tune_labels=data.tune_labels,
            )
        )
    with pytest.raises(RunError, match=r"cost is (nan|inf) in epoch \d+; lower two_layer\.learning_rate"):
        fitted(data, learning_rate=1e30, batch_norm="none")
    with pytest.raises(RunError, match="no training images"):
        fitted(
            TrainingData(
                features=data.features[:0],
                labels=data.labels[:0],
                classes=4,
                tune_features=data.tune_features,
                tune_labels=data.tune_labels,
            )
        )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", 0),
        ("epochs", 2.5),
        ("epochs", True),
        ("patience", -1),
        ("batch", 0),
        ("learning_rate", 0),
        ("learning_rate", float("nan")),
        ("learning_rate", "0.1"),
        ("decay", -1e-5),
        ("momentum", 1),
        ("dropout", 1.0),
        ("dropout", -0.1),
        ("batch_norm", "two"),
        ("batch_norm_at", "output"),
        ("standardise", "yes"),
        ("engine", "torch"),
        ("precision", "int8"),
    ],
)
def test_impossible_settings_are_named(name, value):
    with pytest.raises(InputError, match=rf"two_layer\.{name} is"):
        TwoLayerSettings(**{name: value})


def test_units_come_in_pairs():
    with pytest.raises(InputError, match="2NN of 513 units"):
        TwoLayer(513, TwoLayerSettings())
