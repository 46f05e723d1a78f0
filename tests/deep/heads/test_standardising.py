import numpy as np
import pytest

from shelfbench.base.errors import RunError
from shelfbench_deep.heads.standardising import check_finite, identity, moments


def test_moments_of_more_rows_than_a_block(tmp_path):
    rng = np.random.default_rng(0)
    features = np.lib.format.open_memmap(tmp_path / "features.npy", "w+", np.float32, (20_001, 3))
    features[:] = rng.normal([0, 1000, -3], [1, 5, 1], (20_001, 3))
    features[:, 2] = -3  # never varies
    mean, scale = moments(features)
    exact = features.astype(np.float64)
    np.testing.assert_allclose(mean, exact.mean(axis=0), rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(scale[:2], exact.std(axis=0)[:2], rtol=1e-5)
    assert scale[2] == 1  # nothing is divided by zero
    assert mean.dtype == scale.dtype == np.float32


def test_the_identity_changes_nothing():
    features = np.random.default_rng(0).normal(size=(4, 5)).astype(np.float32)
    mean, scale = identity(5)
    np.testing.assert_array_equal((features - mean) / scale, features)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_the_first_row_that_is_not_finite_is_named(bad):
    features = np.zeros((9000, 2), np.float32)
    check_finite(features, "training")
    features[8500, 1] = features[8700, 0] = bad
    with pytest.raises(RunError, match="training image 8500"):
        check_finite(features, "training")
