"""Features of models that Keras saved, and of their copies in a decision."""

import json
import pickle

import numpy as np
import pytest

from shelfbench.base.errors import InputError
from shelfbench.plugins.backend import BackboneChoice
from shelfbench_deep.engines.keras import keras
from shelfbench_deep.features import keras_network
from shelfbench_deep.features.choosing import check_trainable, load_features, network_features
from shelfbench_deep.features.settings import BottleneckSettings, Engine, why_not_openvino
from shelfbench_deep.networks.onnx_settings import OnnxSettings

FLOAT32 = BottleneckSettings(precision="float32")
IMAGES = np.random.default_rng(0).integers(0, 256, (5, 24, 24, 3), dtype=np.uint8)


def features(path, keys=OnnxSettings(), **more):  # noqa: B008 - frozen
    parts = network_features(BackboneChoice(str(path), **more), {"bottleneck": FLOAT32, "onnx": keys})
    return parts.features, parts


def saved(path, head=None, side=24, scaled=True, flat=False):
    image = keras.Input((side, side, 3))
    values = keras.layers.Rescaling(1 / 255)(image) if scaled else image
    values = keras.layers.Conv2D(6, 3, activation="relu", name="maps")(values)
    if flat:
        values = keras.layers.Reshape((-1, 6))(values)
    elif head is not None:
        values = keras.layers.GlobalAveragePooling2D(name="pooled")(values)
        values = keras.layers.Dense(4, activation=head, name="categories")(values)
    model = keras.Model(image, values)
    model.save(path)
    return model


def close(found, expected):
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize(("head", "layer"), [("softmax", "pooled"), (None, None), ("linear", "categories")])
def test_features_are_those_of_keras(head, layer, tmp_path):
    model = saved(tmp_path / "own.keras", head)
    extractor, _ = features(tmp_path / "own.keras")
    expected = keras.Model(model.input, model.get_layer(layer).output if layer else model.output)
    expected = expected.predict_on_batch(IMAGES.astype(np.float32))
    found = pickle.loads(pickle.dumps(extractor)).extract(IMAGES)
    close(found, expected.mean(axis=(1, 2)) if layer is None else expected)
    assert extractor.fixed_size
    assert (extractor.pixels, extractor.dimensions) == (24, found.shape[1])
    assert ("layer of categories" in extractor.notes[0]) == (head == "softmax")
    assert "it scales pixels itself (Rescaling)" in extractor.notes[0]


def test_a_decision_takes_the_model_along(tmp_path):
    saved(tmp_path / "own.keras", "softmax")
    extractor, parts = features(tmp_path / "own.keras")
    folder = tmp_path / "decision"
    folder.mkdir()
    parts.save_features(folder)
    assert sorted(path.name for path in folder.iterdir()) == ["network.json", "network.safetensors"]
    expected = extractor.extract(IMAGES)
    (tmp_path / "own.keras").unlink()
    copy = load_features(folder)
    np.testing.assert_array_equal(copy.extract(IMAGES), expected)
    assert copy.describe() == json.loads(json.dumps(extractor.describe()))


def test_a_strangers_copy_is_checked_like_a_file(tmp_path):
    saved(tmp_path / "own.keras", "softmax")
    _, parts = features(tmp_path / "own.keras")
    parts.save_features(tmp_path)
    record = json.loads((tmp_path / "network.json").read_text())
    architecture = json.loads(record["architecture"])
    architecture["config"]["layers"][-1] |= {"class_name": "Lambda", "config": {"function": "print"}}
    for changed, message in [
        ({"architecture": json.dumps(architecture)}, "Lambda"),
        ({"plan": record["plan"] | {"std": [1, 1, 0]}}, "std"),
        ({"plan": record["plan"] | {"output": "nothing"}}, "No such layer"),
        ({"sha256": "0" * 64}, "hash differs"),
        ({"dimensions": 7}, r"makes features of shape \(None, 6\)"),
        ({"engine": {"name": "shell", "precision": "float32"}}, "no engine 'shell'"),
        ({"more": 1}, "more"),
    ]:
        (tmp_path / "network.json").write_text(json.dumps(record | changed))
        with pytest.raises(InputError, match=message):
            load_features(tmp_path).extract(IMAGES)


def test_unclear_pixels_are_asked_for_and_the_section_answers(tmp_path):
    model = saved(tmp_path / "own.keras", scaled=False)
    with pytest.raises(InputError, match=r"does not say what its pixels are.*onnx\.mean=127\.5.*channels=bgr"):
        features(tmp_path / "own.keras")
    keys = OnnxSettings(mean=(103.939, 116.779, 123.68), std=(1,), channels="bgr")
    extractor, _ = features(tmp_path / "own.keras", keys)
    prepared = keras.applications.resnet.preprocess_input(IMAGES.astype(np.float32))
    close(extractor.extract(IMAGES), model.predict_on_batch(prepared).mean(axis=(1, 2)))
    other, _ = features(tmp_path / "own.keras", OnnxSettings(mean=(127.5,), std=(127.5,)))
    assert other.describe() != extractor.describe(), "the preprocessing is part of the store's key"


def test_any_size_is_asked_for(tmp_path):
    saved(tmp_path / "own.keras", side=None)
    with pytest.raises(InputError, match=r"images of any size.*--set pixels=224"):
        features(tmp_path / "own.keras")
    extractor, _ = features(tmp_path / "own.keras", pixels=20)
    assert (extractor.pixels, extractor.fixed_size) == (20, False)


def test_tokens_and_layers_are_chosen_by_the_section(tmp_path):
    model = saved(tmp_path / "own.keras", flat=True)  # 22 x 22 tokens
    expected = model.predict_on_batch(IMAGES.astype(np.float32))
    close(features(tmp_path / "own.keras")[0].extract(IMAGES), expected.mean(axis=1))
    close(features(tmp_path / "own.keras", OnnxSettings(pool="cls"))[0].extract(IMAGES), expected[:, 0])
    saved(tmp_path / "other.keras", "linear")
    assert features(tmp_path / "other.keras", OnnxSettings(output="pooled"))[0].dimensions == 6
    with pytest.raises(InputError, match=r"has no layer 'nothing'; its last ones are: .*pooled, categories"):
        features(tmp_path / "other.keras", OnnxSettings(output="nothing"))


def test_what_cannot_be(tmp_path):
    path = tmp_path / "own.keras"
    with pytest.raises(InputError, match=r"there is no file .*own\.keras"):
        features(path)
    saved(path)
    with pytest.raises(InputError, match="takes images of 24 pixels, and pixels is 32; omit pixels"):
        features(path, pixels=32)
    with pytest.raises(InputError, match=r"weights is 'none', and .*own\.keras holds its own"):
        features(path, weights="none")
    with pytest.raises(InputError, match="cannot be fine-tuned"):
        check_trainable(BackboneChoice(str(path)))
    extractor, _ = features(path)
    saved(path)
    with pytest.raises(InputError, match="it has changed since it was opened"):
        extractor.extract(IMAGES)


@pytest.mark.skipif(bool(why_not_openvino()), reason="OpenVINO does not compute here")
def test_keras_computes_what_openvino_cannot_take(tmp_path, monkeypatch, capsys):
    def fails(*_, **__):
        raise ValueError("no such operation")

    saved(tmp_path / "own.keras")
    taken = features(tmp_path / "own.keras")[0]
    keras_network._decided.cache_clear()
    monkeypatch.setattr("shelfbench_deep.engines.native.traced", fails)
    extractor, _ = features(tmp_path / "own.keras")
    assert extractor.engine == Engine("keras", "float32")
    assert "computed by Keras in float32: OpenVINO cannot take the network features (no such operation)" in (
        capsys.readouterr().err
    )
    assert extractor.describe() != taken.describe()
    monkeypatch.undo()
    close(extractor.extract(IMAGES), taken.extract(IMAGES))
