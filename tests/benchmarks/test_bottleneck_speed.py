"""Bottlenecks on a CPU against Keras' `model.predict`: the same features first, then the times; and fed with JPEG."""

import numpy as np
import pytest

from shelfbench.base.console import Console
from shelfbench.data.feature_store import FeatureStore
from shelfbench.data.images import ImageSettings
from shelfbench.data.sources.folder import read_folder
from shelfbench.data.sources.settings import DatasetSettings
from shelfbench.plugins.backend import BackboneChoice
from shelfbench_deep.features.bottleneck import BottleneckExtractor
from shelfbench_deep.features.settings import DEFAULT, BottleneckSettings
from tests.benchmarks import inputs
from tests.benchmarks.pairs import Row

PIXELS = 180
NETWORKS = ("inception_v3", "xception", "efficientnet_lite0")
# Of the pooled features, in the norm of a batch: measured 5e-2 (EfficientNet-Lite0), 5e-3 (the others) and 3e-6.
APART = {"bfloat16": 0.1, "float32": 1e-4}

pytestmark = pytest.mark.skipif(DEFAULT.settle().name != "openvino", reason="bottlenecks are Keras' own here")


@pytest.fixture(scope="module", params=NETWORKS)
def network(request):
    """Ours, and the model of Keras with its preprocessing; random weights take as long as any."""
    if request.param != NETWORKS[-1] and not request.config.getoption("benchmark_enable"):
        pytest.skip("the ordinary suite builds the smallest network alone")
    choice = BackboneChoice(request.param, "none", PIXELS)
    keras = BottleneckExtractor(choice, BottleneckSettings("keras"))
    return BottleneckExtractor(choice), keras.model(), keras.preprocess


@pytest.fixture(scope="module")
def squares(network, full_size):
    return inputs.squares(1024 if full_size else 16, PIXELS)


def test_same_features(network, squares):
    ours, model, preprocess = network
    given = squares[:16]
    expected = model.predict(preprocess(given.astype(np.float32)), verbose=0)
    apart = np.linalg.norm(ours.extract(given) - expected) / np.linalg.norm(expected)
    assert apart < APART[ours.engine.precision]


def test_speed(network, squares, race):
    ours, model, preprocess = network
    prepared = preprocess(squares.astype(np.float32))
    race(
        Row(
            f"bottlenecks, {ours.name}, {PIXELS} px, CPU, {ours.engine.precision}",
            "Keras' model.predict on TensorFlow, float32, pixels ready",
            5,
        ),
        lambda: ours.extract(squares),
        lambda: model.predict(prepared, batch_size=32, verbose=0),
    )


@pytest.fixture(scope="module")
def catalogue(squares, tmp_path_factory):
    """A folder of JPEG photos of that size."""
    folder = tmp_path_factory.mktemp("jpeg")
    inputs.write_jpegs(folder, squares)
    return read_folder(folder, "jpeg", DatasetSettings(name=str(folder)))


def test_speed_from_jpeg(network, squares, catalogue, tmp_path_factory, race):
    ours, rows = network[0], np.arange(len(squares))
    digests = np.array([number.to_bytes(16, "big") for number in rows.tolist()], "V16")

    def stored():
        store = FeatureStore(ours, ImageSettings(), Console(quiet=True), 2, tmp_path_factory.mktemp("store"))
        assert store.features(catalogue, rows, digests).computed == len(rows)

    race(
        Row(
            f"from JPEG to stored features, {ours.name}, {PIXELS} px, CPU, {ours.engine.precision}",
            "the same network on pixels that lie ready",
            0.9,
        ),
        stored,
        lambda: ours.extract(squares),
    )
