"""EfficientNet-Lite0 on OpenVINO, built from its weights alone, against the network that Keras builds."""

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from shelfbench.base.errors import InputError
from shelfbench.plugins.backend import BackboneChoice
from shelfbench_deep.engines.native import engine
from shelfbench_deep.engines.openvino import CompiledNetwork, from_keras
from shelfbench_deep.features.bottleneck import BottleneckExtractor
from shelfbench_deep.features.settings import BottleneckSettings, Engine, why_not_openvino
from shelfbench_deep.features.trained import WEIGHTS, TrainedExtractor, load_network, save_bottleneck, write_network
from shelfbench_deep.networks.blueprint import Blueprint, features_of

pytestmark = [
    pytest.mark.skipif(bool(why_not_openvino()), reason="OpenVINO does not compute here"),
    pytest.mark.skipif(engine() != "tensorflow", reason="OpenVINO takes networks of Keras on TensorFlow"),
]
PIXELS = 64
IMAGES = np.random.default_rng(2).integers(0, 256, (9, PIXELS, PIXELS, 3), dtype=np.uint8)


def extractor(weights="imagenet"):
    return BottleneckExtractor(
        BackboneChoice("efficientnet_lite0", str(weights), PIXELS), BottleneckSettings("openvino", "float32")
    )


def computed(network, precision="float32"):
    return CompiledNetwork(network, precision, "efficientnet_lite0")(IMAGES)


@pytest.fixture(scope="module")
def default():
    return extractor()


@pytest.fixture(scope="module")
def by_keras(default):
    """What was computed before networks were built without Keras, and is in stored features."""
    return from_keras(default.model(), default.preprocess, PIXELS)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_features_are_those_of_the_network_of_keras(default, by_keras, precision):
    made = default.to_openvino()
    np.testing.assert_array_equal(computed(made, precision), computed(by_keras, precision))


def test_files_of_a_network_are_those_that_keras_writes(default, tmp_path):
    made, kept = tmp_path / "made", tmp_path / "kept"
    made.mkdir()
    kept.mkdir()
    save_bottleneck(default, made)
    write_network(kept, Blueprint(network=default.name, pixels=PIXELS, classes=0), default.model(), default.engine)
    assert sorted(path.name for path in made.iterdir()) == sorted(path.name for path in kept.iterdir())
    for path in made.iterdir():
        assert path.read_bytes() == (kept / path.name).read_bytes(), path.name


def test_a_network_that_was_trained_is_computed_without_keras(tmp_path):
    blueprint = Blueprint(network="efficientnet_lite0", pixels=PIXELS, classes=3, dropout=0.5)
    model = blueprint.build()
    random = np.random.default_rng(3)
    # variances stay above 0
    model.set_weights([random.uniform(0.5, 1.5, weight.shape).astype(np.float32) for weight in model.weights])
    write_network(tmp_path, blueprint, model, Engine("openvino", "float32"))
    trained = TrainedExtractor(tmp_path)
    reference = from_keras(features_of(load_network(tmp_path)), blueprint.preprocess, PIXELS)
    np.testing.assert_array_equal(trained.extract(IMAGES), computed(reference))
    arrays = load_file(tmp_path / WEIGHTS)
    arrays["00000.stem_conv/kernel"] = np.zeros((1, 1, 3, 32), np.float32)
    save_file(arrays, tmp_path / WEIGHTS)
    with pytest.raises(InputError, match="no readable network"):
        TrainedExtractor(tmp_path).extract(IMAGES)


def test_weights_in_a_file_by_path(default, tmp_path):
    arrays = {name: np.ascontiguousarray(array) for name, array in default.arrays().items()}
    save_file(arrays, tmp_path / "mine.safetensors")
    np.testing.assert_array_equal(extractor(tmp_path / "mine.safetensors").extract(IMAGES), default.extract(IMAGES))
    for wrong in ({"stem_conv/kernel": arrays["stem_conv/kernel"].T.copy()}, {"more": np.ones(1, np.float32)}):
        save_file(arrays | wrong, tmp_path / "other.safetensors")
        with pytest.raises(InputError, match=r"other\.safetensors does not fit efficientnet_lite0"):
            extractor(tmp_path / "other.safetensors").extract(IMAGES)


def test_random_weights_and_hdf5_are_left_to_keras(default, tmp_path):
    (tmp_path / "mine.weights.h5").touch()
    for weights in ("none", tmp_path / "mine.weights.h5"):
        assert extractor(weights).arrays() is None
    assert default.arrays() is not None
