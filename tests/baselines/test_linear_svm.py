"""The classifier: what is chosen on tune, log-probabilities, unusual data, and saving."""

import subprocess
import sys

import numpy as np
import pytest

import shelfbench_baselines.linear_svm as module
from shelfbench.base.console import Console
from shelfbench.base.errors import InputError, RunError
from shelfbench.plugins.backend import TrainingData
from shelfbench_baselines.linear_svm import LinearSVM, SVMSettings


def material(train=400, tune=150, dimensions=20, classes=6, seed=0, apart=0.5):
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(classes, dimensions)) * apart
    labels = np.concatenate([np.arange(classes), rng.integers(0, classes, train + tune - classes)])
    features = (centres[labels] + rng.normal(size=(train + tune, dimensions))).astype(np.float32)
    return TrainingData(
        features=features[:train],
        labels=labels[:train],
        classes=classes,
        tune_features=features[train:],
        tune_labels=labels[train:],
    )


def fitted(data, **settings):
    svm = LinearSVM(SVMSettings(**settings))
    svm.fit(data, seed=0, console=Console(quiet=True))
    return svm


def likelihood(svm, data, temperature):
    """Compute the mean log-probability of the true categories of `tune` at another temperature."""
    scores = temperature / svm.temperature * svm.log_probabilities(data.tune_features)
    scores -= np.log(np.exp(scores).sum(axis=1, keepdims=True))
    return scores[np.arange(len(scores)), data.tune_labels].mean()


def test_log_probabilities():
    data = material()
    scores = fitted(data).log_probabilities(data.tune_features)
    assert scores.dtype == np.float64
    assert scores.shape == (150, 6)
    np.testing.assert_allclose(np.exp(scores).sum(axis=1), 1, rtol=1e-12)
    assert np.mean(scores.argmax(1) == data.tune_labels) > 0.6


def test_c_is_chosen_on_tune_and_is_the_smaller_of_equals():
    data = material(apart=0.2, train=120, dimensions=60)
    grid = (1e-5, 1e-3, 0.1, 10.0)
    svm = fitted(data, C=grid, extend=False)
    alone = {}
    for C in grid:
        scores = fitted(data, C=C).log_probabilities(data.tune_features)
        alone[C] = np.mean(scores.argmax(1) == data.tune_labels)
    assert svm.chosen["C"] == max(grid, key=lambda C: alone[C])  # max returns the first of equals
    assert len(set(alone.values())) > 1
    assert [float(C) for C in svm.chosen["tune_precision"]] == list(grid)
    assert list(svm.chosen["tune_precision"].values()) == pytest.approx(list(alone.values()), abs=0.02)
    apart = material(apart=8.0)
    assert fitted(apart, C=(0.01, 0.1)).chosen["C"] == 0.01


def test_the_temperature_maximises_the_likelihood():
    data = material()
    svm = fitted(data)
    best = likelihood(svm, data, svm.temperature)
    assert svm.temperature == svm.chosen["margin_temperature"] != 1.0
    for factor in (0.8, 0.97, 1.03, 1.25, 1 / svm.temperature):
        assert likelihood(svm, data, factor * svm.temperature) < best


def test_scores_do_not_depend_on_the_number_of_rows():
    data = material()
    svm = fitted(data)
    whole = svm.log_probabilities(data.tune_features)
    single = np.concatenate([svm.log_probabilities(row[None]) for row in data.tune_features])
    np.testing.assert_allclose(single, whole, atol=1e-4)
    assert svm.log_probabilities(data.tune_features[:0]).shape == (0, 6)


def test_the_same_data_give_the_same_classifier():
    data = material()
    np.testing.assert_array_equal(
        fitted(data).log_probabilities(data.features), fitted(data).log_probabilities(data.features)
    )


def test_one_category():
    data = material(classes=1)
    svm = fitted(data)
    np.testing.assert_array_equal(svm.log_probabilities(data.tune_features), np.zeros((150, 1)))


def test_a_category_without_images_is_never_predicted():
    data = material(classes=6)
    kept = data.labels != 2
    rare = TrainingData(
        features=data.features[kept],
        labels=data.labels[kept],
        classes=6,
        tune_features=data.tune_features,
        tune_labels=data.tune_labels,
    )
    far = np.random.default_rng(1).normal(size=(500, 20)).astype(np.float32) * 5
    scores = fitted(rare).log_probabilities(far)
    assert np.isfinite(scores).all()
    assert not (scores.argmax(1) == 2).any()
    assert np.exp(scores[:, 2]).max() < 1e-6


def test_one_image_per_category():
    data = material(train=3, classes=3, apart=3.0)
    scores = fitted(data).log_probabilities(data.features)
    assert scores.argmax(1).tolist() == data.labels.tolist()


def test_a_single_image():
    data = material()
    one = TrainingData(
        features=data.features[:1],
        labels=np.array([3]),
        classes=6,
        tune_features=data.tune_features,
        tune_labels=data.tune_labels,
    )
    assert (fitted(one).log_probabilities(data.tune_features).argmax(1) == 3).all()


def test_without_tune_the_middle_of_the_grid_is_taken():
    data = material(tune=0)
    svm = fitted(data, C=[1.0, 1e-3, 1e-2])
    assert svm.chosen == {"C": 1e-2, "margin_temperature": 1.0, "tune_precision": {}}
    assert svm.log_probabilities(data.features).shape == (400, 6)


def test_tune_of_unknown_categories_counts_as_wrong():
    data = material()
    labels = data.tune_labels.copy()
    labels[::2] = -1
    half = fitted(
        TrainingData(
            features=data.features, labels=data.labels, classes=6, tune_features=data.tune_features, tune_labels=labels
        ),
        C=0.01,
    )
    known = fitted(
        TrainingData(
            features=data.features,
            labels=data.labels,
            classes=6,
            tune_features=data.tune_features[1::2],
            tune_labels=labels[1::2],
        ),
        C=0.01,
    )
    precision = half.chosen["tune_precision"]["0.01"]
    assert precision == pytest.approx(known.chosen["tune_precision"]["0.01"] / 2)
    assert half.temperature == known.temperature
    none = fitted(
        TrainingData(
            features=data.features,
            labels=data.labels,
            classes=6,
            tune_features=data.tune_features,
            tune_labels=labels * 0 - 1,
        )
    )
    assert (none.temperature, none.chosen["C"]) == (1.0, min(SVMSettings().C))


def test_a_constant_feature_changes_nothing():
    data = material()
    constant = [np.pad(part, ((0, 0), (0, 1)), constant_values=7.3) for part in (data.features, data.tune_features)]
    more = fitted(
        TrainingData(
            features=constant[0], labels=data.labels, classes=6, tune_features=constant[1], tune_labels=data.tune_labels
        )
    )
    np.testing.assert_allclose(
        more.log_probabilities(constant[1]), fitted(data).log_probabilities(data.tune_features), atol=1e-3
    )


def test_bad_features_are_named():
    data = material()
    svm = fitted(data)
    bad = data.tune_features.copy()
    bad[77, 3] = np.nan
    with pytest.raises(RunError, match="image 77"):
        svm.log_probabilities(bad)
    with pytest.raises(RunError, match="not finite"):
        fitted(
            TrainingData(
                features=data.features, labels=data.labels, classes=6, tune_features=bad, tune_labels=data.tune_labels
            )
        )
    with pytest.raises(RunError, match="feature 3 of training image 77"):
        fitted(
            TrainingData(
                features=bad,
                labels=data.tune_labels,
                classes=6,
                tune_features=data.tune_features,
                tune_labels=data.tune_labels,
            )
        )
    with pytest.raises(RunError, match="20 features"):
        svm.log_probabilities(data.tune_features[:, :5])


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.array([0, 1, 6]), "range from 0 to 6"),
        (np.array([0, -1, 2]), "range from -1"),
        (np.array([0, 1]), "do not fit"),
    ],
)
def test_bad_labels_are_named(labels, message):
    data = material()
    with pytest.raises(RunError, match=message):
        fitted(
            TrainingData(
                features=data.features[:3],
                labels=labels,
                classes=6,
                tune_features=data.tune_features,
                tune_labels=data.tune_labels,
            )
        )


def test_no_training_images_are_refused():
    data = material()
    with pytest.raises(RunError, match="no training images"):
        fitted(
            TrainingData(
                features=data.features[:0],
                labels=data.labels[:0],
                classes=6,
                tune_features=data.tune_features,
                tune_labels=data.tune_labels,
            )
        )


def test_stopping_before_the_optimum_warns(capsys):
    fitted(material(), C=10.0, max_iter=1)
    assert "svm.max_iter" in capsys.readouterr().err


@pytest.mark.parametrize(
    "bad",
    [
        {"C": []},
        {"C": [0.1, -1]},
        {"C": ["1"]},
        {"C": [float("nan")]},
        {"C": True},
        {"C": None},
        {"tol": 0},
        {"max_iter": 0},
        {"max_iter": 1.5},
        {"standardise": 1},
        {"intercept_scaling": 0},
    ],
)
def test_wrong_settings_are_refused(bad):
    with pytest.raises(InputError, match=f"svm.{next(iter(bad))}"):
        SVMSettings(**bad)


def test_grid_from_toml():
    assert SVMSettings(C=[1, 0.01, 0.01]).C == (0.01, 1.0)
    assert SVMSettings(C=3e-3).C == (3e-3,)


def test_a_classifier_loaded_in_another_process_predicts_the_same(tmp_path):
    data = material()
    svm = fitted(data, C=[1e-3, 1e-2], intercept_scaling=3.0)
    svm.save(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["classifier.json", "weights.safetensors"]
    np.save(tmp_path / "features.npy", data.tune_features)
    code = (
        "import sys, numpy as np; from pathlib import Path; from shelfbench_baselines.linear_svm import LinearSVM; "
        "folder = Path(sys.argv[1]); svm = LinearSVM.load(folder); "
        "np.save(folder / 'scores.npy', svm.log_probabilities(np.load(folder / 'features.npy')))"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
    np.testing.assert_array_equal(np.load(tmp_path / "scores.npy"), svm.log_probabilities(data.tune_features))
    again = LinearSVM.load(tmp_path)
    assert (again.chosen, again.settings) == (svm.chosen, svm.settings)


@pytest.mark.parametrize("damage", ["missing", "json", "settings", "weights"])
def test_a_damaged_folder_is_refused(tmp_path, damage):
    fitted(material()).save(tmp_path)
    record, weights = tmp_path / "classifier.json", tmp_path / "weights.safetensors"
    if damage == "missing":
        record.unlink()
    elif damage == "json":
        record.write_text("{")
    elif damage == "settings":
        record.write_text(record.read_text().replace("max_iter", "iterations"))
    else:
        weights.write_bytes(weights.read_bytes()[:-40])
    with pytest.raises(InputError, match="does not contain a linear SVM"):
        LinearSVM.load(tmp_path)


def test_temperature_stays_in_its_bounds():
    labels = np.arange(4)
    low, high = module.TEMPERATURES
    assert 10 < module._temperature(np.eye(4) * 2 - 1, labels) <= high
    assert module._temperature(1 - np.eye(4) * 2, labels) == pytest.approx(low, rel=0.01)
