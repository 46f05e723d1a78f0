"""A 2NN whose images are shuffled within windows."""

from dataclasses import replace

import numpy as np
import pytest

from shelfbench.data.rows import Rows
from tests.deep.heads.test_two_layer import clusters, fitted


@pytest.mark.parametrize("engine", ["numpy", "keras"])
def test_windows_learn_as_well_on_sorted_data_and_are_on_record(engine, tmp_path):
    data = clusters(n=700, spread=1.5)
    order = np.argsort(data.labels, kind="stable")  # as a folder of folders is
    np.save(tmp_path / "sorted.npy", data.features[order])
    mapped = replace(data, features=np.load(tmp_path / "sorted.npy", mmap_mode="r"), labels=data.labels[order])
    whole, cut = (fitted(mapped, engine=engine, batch=16, window=window) for window in (700, 128))
    assert "window" not in whole.chosen
    assert cut.chosen["window"] == 128
    assert len(cut.history) == len(whole.history)
    assert cut.history["step"].tolist() == whole.history["step"].tolist()
    assert whole.history["val_accuracy"].max() > 0.9
    assert cut.history["val_accuracy"].max() > whole.history["val_accuracy"].max() - 0.05


@pytest.mark.parametrize("engine", ["numpy", "keras"])
def test_features_that_stay_on_disk_give_the_same_network_bit_for_bit(engine, tmp_path):
    data = clusters(n=300)
    held = np.concatenate([data.features, np.zeros((5, 12), np.float32), data.tune_features])
    np.save(tmp_path / "features.npy", held)
    mapped = np.load(tmp_path / "features.npy", mmap_mode="r")
    tune = Rows(mapped, np.arange(305, len(held)))  # without rows of photos that cannot be read
    on_disk = replace(data, features=mapped[:300], tune_features=tune)
    first, second = (fitted(some, engine=engine, epochs=2) for some in (data, on_disk))
    assert first.history.drop(columns="seconds").equals(second.history.drop(columns="seconds"))
    assert first.log_probabilities(data.tune_features).tobytes() == second.log_probabilities(tune).tobytes()
