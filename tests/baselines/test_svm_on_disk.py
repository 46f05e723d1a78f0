"""The linear SVM learns the same, bit for bit, whether features are in memory or stay on disk."""

from dataclasses import replace

import numpy as np
import pytest

from shelfbench.data.rows import Rows
from tests.baselines.test_linear_svm import fitted, material


@pytest.mark.parametrize("standardise", [True, False])
def test_features_that_stay_on_disk_give_the_same_classifier(standardise, tmp_path):
    data = material()
    held = np.concatenate([data.features, np.zeros((30, 20), np.float32), data.tune_features])
    np.save(tmp_path / "features.npy", held)
    mapped = np.load(tmp_path / "features.npy", mmap_mode="r")
    # as in a run: train is a part of the file, and rows of photos that cannot be read are left out of tune
    tune = Rows(mapped, np.arange(len(data.features) + 30, len(held)))
    on_disk = replace(data, features=mapped[: len(data.features)], tune_features=tune)
    first, second = (fitted(some, standardise=standardise) for some in (data, on_disk))
    assert first.chosen == second.chosen
    for name in ("coef", "intercept", "mean", "scale"):
        assert getattr(first, name).tobytes() == getattr(second, name).tobytes()
    assert first.log_probabilities(data.tune_features).tobytes() == second.log_probabilities(tune).tobytes()
