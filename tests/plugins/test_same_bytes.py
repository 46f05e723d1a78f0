"""An estimator that is written again has the same bytes, and is the same estimator."""

import numpy as np
import pytest
import skops.io
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from shelfbench.plugins.same_bytes import dump


@pytest.mark.parametrize(
    "make",
    [
        lambda: KNeighborsClassifier(3),
        lambda: make_pipeline(StandardScaler(), LogisticRegression(C=0.1)),
        lambda: RandomForestClassifier(3, random_state=0),
    ],
)
def test_what_is_fitted_and_written_again_has_the_same_bytes(tmp_path, make):
    features = np.random.default_rng(0).standard_normal((40, 5)).astype(np.float32)
    labels = np.arange(40) % 3
    fitted = [make().fit(features, labels) for _ in range(2)]
    for number, estimator in enumerate(fitted):
        dump(estimator, tmp_path / f"{number}.skops")
    files = [(tmp_path / f"{number}.skops").read_bytes() for number in range(2)]
    assert files[0] == files[1]
    trusted = skops.io.get_untrusted_types(file=tmp_path / "0.skops")
    loaded = skops.io.load(tmp_path / "0.skops", trusted=trusted)
    np.testing.assert_array_equal(loaded.predict_proba(features), fitted[0].predict_proba(features))
