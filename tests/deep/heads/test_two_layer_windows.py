"""A 2NN whose images are shuffled within windows."""

from dataclasses import replace

import numpy as np
import pytest

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
