import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from shelfbench.base.errors import InputError
from shelfbench.plugins.backend import BackboneChoice
from shelfbench_deep.features import settings as bottleneck_settings
from shelfbench_deep.features.bottleneck import BottleneckExtractor
from shelfbench_deep.features.settings import BottleneckSettings, Engine
from shelfbench_deep.features.trained import TrainedExtractor, copy_network, save_bottleneck

REFERENCE = Path(__file__).parents[2] / "helpers" / "efficientnet_lite0_224.npz"
# without importing it: only `shelfbench_deep.engines.openvino` keeps it from reporting to its makers
pytestmark = pytest.mark.skipif(bool(bottleneck_settings.why_not_openvino()), reason="OpenVINO does not compute here")


def extractor(precision, pixels=32, weights="imagenet"):
    choice = BackboneChoice("efficientnet_lite0", weights, pixels)
    return BottleneckExtractor(choice, BottleneckSettings("openvino", precision))


@pytest.fixture(scope="module")
def small():
    return extractor("float32")


def images(n, pixels=32):
    return np.random.default_rng(1).integers(0, 256, (n, pixels, pixels, 3), dtype=np.uint8)


@pytest.mark.parametrize(("precision", "most"), [("float32", 1e-4), ("bfloat16", 0.1)])
def test_pooled_features_of_the_reference(precision, most):
    reference = np.load(REFERENCE)
    features = extractor(precision, 224).extract(reference["images"])
    expected = reference["pooled_features"]
    assert features.dtype == np.float32
    assert (np.linalg.norm(features - expected, axis=1) < most * np.linalg.norm(expected, axis=1)).all()


def test_an_activation_leaves_no_output_of_its_own():
    from shelfbench_deep.engines.keras import keras
    from shelfbench_deep.engines.openvino import CompiledNetwork, from_keras

    image = keras.Input((32, 32, 3))
    maps = keras.layers.Conv2D(4, 3, activation="swish")(image)  # TensorFlow has a gradient of its own for it
    model = keras.Model(image, keras.layers.GlobalAveragePooling2D()(maps))
    found = CompiledNetwork(from_keras(model, lambda images: images, 32), "float32", "swish")(images(5))
    expected = model.predict_on_batch(images(5).astype(np.float32))
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())


def test_features_do_not_depend_on_the_batch_the_order_or_the_run(small):
    given = images(23)
    together = small.extract(given)
    np.testing.assert_array_equal(small.extract(given), together)
    np.testing.assert_array_equal(small.extract(given[::-1]), together[::-1])
    for part in (slice(0, 1), slice(5, 12), slice(22, 23)):
        np.testing.assert_array_equal(small.extract(given[part]), together[part])
    assert np.ptp(together, axis=0).max() > 0.1


def test_engine_and_precision_are_part_of_the_key(small):
    keras = BottleneckExtractor(BackboneChoice(pixels=32), BottleneckSettings("keras")).describe()
    told = [keras, small.describe(), extractor("bfloat16").describe()]
    assert [one["precision"] for one in told] == ["float32", "float32", "bfloat16"]
    assert [one["framework"]["engine"] for one in told] == ["tensorflow", "openvino", "openvino"]
    assert keras["batch"] == 64, "features that Keras computed before are still found"


def test_a_network_on_disk_is_computed_as_it_was(small, tmp_path, monkeypatch, capsys):
    given, copied = images(5), tmp_path / "copied"
    save_bottleneck(small, tmp_path)
    again = TrainedExtractor(tmp_path)
    assert again.engine == small.engine
    np.testing.assert_array_equal(again.extract(given), small.extract(given))
    copied.mkdir()
    copy_network(tmp_path, copied, Engine())
    np.testing.assert_allclose(TrainedExtractor(copied).extract(given), small.extract(given), atol=1e-4)
    monkeypatch.setattr(bottleneck_settings, "openvino_version", lambda: None)
    assert TrainedExtractor(tmp_path).engine == Engine()
    assert "differ slightly: openvino is not installed" in capsys.readouterr().err
    record = json.loads((tmp_path / "network.json").read_text())
    for wrong in ({"name": "cuda"}, {"name": "keras", "precision": "bfloat16"}, {"path": "x"}, []):
        (tmp_path / "network.json").write_text(json.dumps({**record, "engine": wrong}))
        with pytest.raises(InputError, match="no readable network"):
            TrainedExtractor(tmp_path)


def test_without_openvino_keras_computes_and_says_so(monkeypatch, capsys):
    monkeypatch.setattr(bottleneck_settings, "openvino_version", lambda: None)
    bottleneck_settings._warn.cache_clear()
    for settings in (BottleneckSettings(), BottleneckSettings("openvino"), BottleneckSettings("openvino", "bfloat16")):
        assert settings.settle() == Engine()
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "by Keras in float32: openvino is not installed" in told
    assert BottleneckSettings("keras").settle() == Engine()


@pytest.mark.parametrize(
    ("values", "match"),
    [
        ({"engine": "onnx"}, "bottleneck.engine is 'onnx'; choose from: auto, keras, openvino"),
        ({"precision": "int4"}, "bottleneck.precision is 'int4'"),
        ({"engine": "keras", "precision": "bfloat16"}, "Keras computes bottlenecks in float32"),
    ],
)
def test_wrong_settings(values, match):
    with pytest.raises(InputError, match=match):
        BottleneckSettings(**values)
    with pytest.raises(dataclasses.FrozenInstanceError):
        BottleneckSettings().engine = "keras"


def test_another_engine_under_keras_falls_back_and_nothing_is_reported():
    code = """
import sys
from shelfbench_deep.features.settings import BottleneckSettings
print(BottleneckSettings().settle().name)
import shelfbench_deep.engines.openvino as engine
engine.library()
print(any(name.startswith("openvino_telemetry.") for name in sys.modules))
"""
    told = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "KERAS_BACKEND": "jax"}, capture_output=True, text=True
    )
    assert told.stdout.split() == ["keras", "False"]
    assert "Keras runs on jax" in told.stderr
