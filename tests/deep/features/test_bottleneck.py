import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from shelfbench.base.errors import InputError
from shelfbench.plugins.backend import BackboneChoice
from shelfbench_deep.features.bottleneck import BottleneckExtractor
from shelfbench_deep.features.settings import BottleneckSettings

REFERENCE = Path(__file__).parents[2] / "helpers" / "efficientnet_lite0_224.npz"


@pytest.fixture(scope="module")
def small():
    return BottleneckExtractor(BackboneChoice(pixels=32))


def images(n, pixels=32):
    return np.random.default_rng(1).integers(0, 256, (n, pixels, pixels, 3), dtype=np.uint8)


def test_pooled_features_of_the_reference():
    reference = np.load(REFERENCE)
    extractor = BottleneckExtractor(BackboneChoice(pixels=224), BottleneckSettings(precision="float32"))
    features = extractor.extract(reference["images"])
    assert features.dtype == np.float32
    np.testing.assert_allclose(features, reference["pooled_features"], atol=1e-3)


def test_features_do_not_depend_on_the_batch(small):
    given = images(small.batch + 7)
    together = small.extract(given)
    assert together.shape == (small.batch + 7, small.dimensions)
    for part in (slice(0, 1), slice(5, 12), slice(small.batch - 1, small.batch + 3)):
        np.testing.assert_allclose(small.extract(given[part]), together[part], atol=1e-6)
    np.testing.assert_allclose(small.extract(given[::-1]), together[::-1], atol=1e-6)
    assert np.ptp(together, axis=0).max() > 0.1


def test_the_images_are_left_as_they_were(small):
    given = images(3)
    before = given.copy()
    small.extract(given)
    np.testing.assert_array_equal(given, before)


def test_no_images(small):
    features = small.extract(images(0))
    assert features.shape == (0, small.dimensions)
    assert features.dtype == np.float32


@pytest.mark.parametrize("given", [images(2, 33), images(2).astype(np.float32), images(2)[..., :1]])
def test_other_images_are_refused(small, given):
    with pytest.raises(ValueError, match="uint8"):
        small.extract(given)


def test_pickles_before_use_and_describes_itself_the_same():
    extractor = BottleneckExtractor(BackboneChoice("efficientnet_lite0", "none", 32))
    copy = pickle.loads(pickle.dumps(extractor))
    assert copy.describe() == extractor.describe()
    np.testing.assert_array_equal(copy.extract(images(2)), extractor.extract(images(2)))


def test_description_changes_with_everything_that_changes_features(monkeypatch):
    choices = [
        BackboneChoice(),
        BackboneChoice(pixels=160),
        BackboneChoice(weights="none"),
        BackboneChoice("vgg16", "none", 128),
        BackboneChoice("xception", "none", 128),
    ]
    described = [BottleneckExtractor(choice).describe() for choice in choices]
    assert all(described[i] != described[j] for i in range(5) for j in range(i))
    assert described[0] == BottleneckExtractor(BackboneChoice()).describe()
    assert set(described[0]) >= {"network", "pixels", "pooling", "preprocessing", "weights", "precision", "framework"}


def test_a_bad_choice_is_told_when_it_is_made():
    with pytest.raises(InputError, match="unknown backbone"):
        BottleneckExtractor(BackboneChoice("efficientnet_lite9"))


def test_describing_loads_no_engine():
    code = """
import sys
from shelfbench.plugins.backend import BackboneChoice
from shelfbench.plugins.finding import find
backend = find("bottleneck-svm")
from shelfbench_deep.features.bottleneck import BottleneckExtractor
extractor = BottleneckExtractor(BackboneChoice(pixels=32))
extractor.describe()
assert not {"keras", "tensorflow", "jax", "torch"} & set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
