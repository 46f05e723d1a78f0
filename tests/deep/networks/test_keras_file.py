"""Models that Keras saved: what is read is what Keras reads, and nothing that a file contains is run."""

import json
import zipfile

import h5py
import numpy as np
import pytest

from shelfbench.base.errors import InputError
from shelfbench_deep.engines.keras import keras
from shelfbench_deep.networks.keras_allowed import ALLOWED, allowed_architecture
from shelfbench_deep.networks.keras_file import build, input_side, open_keras, scales_itself


def inner():
    image = keras.Input((None, None, 3))
    values = keras.layers.Rescaling(1 / 127.5, offset=-1)(image)
    return keras.Model(image, keras.layers.Conv2D(4, 3, activation="relu", kernel_regularizer="l2")(values))


def whole():
    """A model as the tutorials make them: augmentation, a network within, an operation, a head."""
    image = keras.Input((16, 16, 3))
    values = inner()(keras.Sequential([keras.layers.RandomFlip(), keras.layers.RandomRotation(0.1)])(image))
    other = keras.layers.BatchNormalization()(values)
    values = keras.layers.LayerNormalization()(values * 2.0 + other)
    pooled = keras.layers.Dropout(0.2)(keras.layers.GlobalAveragePooling2D()(values))
    return keras.Model(image, keras.layers.Dense(3, activation="softmax")(pooled))


def preprocessed():
    image = keras.Input((16, 16, 3))
    scaled = keras.applications.mobilenet_v2.preprocess_input(image)
    return keras.Model(image, keras.layers.Flatten()(keras.layers.Conv2D(2, 3)(scaled)))


def bgr():
    image = keras.Input((16, 16, 3))
    scaled = keras.applications.resnet.preprocess_input(image)
    return keras.Model(image, keras.layers.Conv2D(2, 3)(scaled))


def adapted():
    normalise = keras.layers.Normalization()
    normalise.adapt(np.random.default_rng(0).uniform(0, 255, (64, 16, 16, 3)))
    return keras.Sequential([keras.Input((16, 16, 3)), normalise, keras.layers.Conv2D(2, 3), keras.layers.ReLU()])


MODELS = {
    "whole": (whole, "Rescaling"),
    "preprocessed": (preprocessed, "division by 127.5"),
    "adapted": (adapted, "Normalization"),
    "bgr": (bgr, ""),
}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved")
    models = {name: make() for name, (make, _) in MODELS.items()}
    models["whole"].compile("adam", "sparse_categorical_crossentropy")
    for name, model in models.items():
        for weight in model.weights:  # nothing is at its initial value
            if weight.dtype == "float32" and name != "adapted":
                weight.assign(np.random.default_rng(0).uniform(0.5, 1, weight.shape))
        model.save(folder / f"{name}.keras")
    return folder, models


@pytest.mark.parametrize("name", MODELS)
def test_a_model_is_what_keras_saved(name, saved):
    folder, models = saved
    file = open_keras(folder / f"{name}.keras")
    model = file.model()
    images = np.random.default_rng(1).uniform(0, 255, (3, 16, 16, 3)).astype(np.float32)
    np.testing.assert_array_equal(model.predict_on_batch(images), models[name].predict_on_batch(images))
    assert input_side(model) == 16
    assert scales_itself(model) == MODELS[name][1]


def test_the_hash_is_that_of_the_model_not_of_the_file(saved, tmp_path):
    folder, models = saved
    before = open_keras(folder / "whole.keras")
    models["whole"].save(tmp_path / "again.keras", zipped=True)
    again = open_keras(tmp_path / "again.keras")
    assert again.sha256 == before.sha256
    with zipfile.ZipFile(tmp_path / "again.keras") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    (tmp_path / "w.h5").write_bytes(members["model.weights.h5"])
    with h5py.File(tmp_path / "w.h5", "r+") as root:
        root["layers/dense/vars/1"][0] += 1e-3
    members["model.weights.h5"] = (tmp_path / "w.h5").read_bytes()
    repacked(tmp_path / "again.keras", members)
    assert open_keras(tmp_path / "again.keras").sha256 != before.sha256


def repacked(path, members, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def members_of(saved, name="whole"):
    with zipfile.ZipFile(saved[0] / f"{name}.keras") as archive:
        return {one: archive.read(one) for one in archive.namelist()}


def with_layer(members, **changes):
    """The archive with other values in its last layer."""
    config = json.loads(members["config.json"])
    config["config"]["layers"][-1].update(changes)
    return {**members, "config.json": json.dumps(config)}


OBJECTS = [
    {"module": "keras.layers", "class_name": "Lambda", "config": {"function": "print"}, "registered_name": None},
    {"module": "keras.layers", "class_name": "TFSMLayer", "config": {"filepath": "/"}, "registered_name": None},
    {"module": "keras.layers", "class_name": "TorchModuleWrapper", "config": {"module": "x"}, "registered_name": None},
    {"module": "keras.layers", "class_name": "StringLookup", "config": {"vocabulary": "/etc/passwd"}},
    {"module": "os", "class_name": "system", "config": {"command": "true"}, "registered_name": None},
    {"module": "builtins", "class_name": "function", "config": "exec", "registered_name": "function"},
    {"module": "keras.utils", "class_name": "get_file", "config": {"fname": "x", "origin": "y"}},
    {"module": "keras.config", "class_name": "enable_unsafe_deserialization", "config": {}, "registered_name": None},
    {"module": "mine", "class_name": "Dense", "config": {"units": 3}, "registered_name": "mine>Dense"},
    {"module": "keras.layers", "class_name": "Dense", "config": {"units": 3}, "registered_name": "mine>Dense"},
    {"class_name": "__lambda__", "config": {"value": "4wAAAA=="}},
    {"class_name": "__typespec__", "spec_name": "system", "module": "os", "registered_name": None, "config": []},
    {"module": "keras.layers", "class_name": ["Dense"], "config": {}, "registered_name": None},
    {"module": "keras", "class_name": "DTypePolicy", "config": {"name": "int8_from_float32"}, "registered_name": None},
]


@pytest.mark.parametrize("stranger", OBJECTS, ids=lambda one: str(one["class_name"]))
@pytest.mark.parametrize("where", ["layer", "setting"])
def test_what_may_run_code_is_refused_before_keras_sees_it(stranger, where, saved, tmp_path, monkeypatch):
    def seen(*_, **__):
        raise AssertionError("Keras has seen it")

    monkeypatch.setattr(keras.saving, "deserialize_keras_object", seen)
    members = members_of(saved)
    if where == "layer":
        changed = with_layer(members, **{"spec_name": None, **stranger} if "spec_name" in stranger else stranger)
    else:
        config = json.loads(members["config.json"])
        config["config"]["layers"][-1]["config"]["activation"] = stranger
        changed = {**members, "config.json": json.dumps(config)}
    with pytest.raises(InputError, match=r"hostile\.keras cannot be used: it (contains|computes in)"):
        open_keras(repacked(tmp_path / "hostile.keras", changed))


def test_only_classes_of_keras_that_compute_are_allowed():
    assert {module.partition(".")[0] for module, _ in ALLOWED} == {"keras"}
    for module, name in ALLOWED:
        if module == "keras.layers":
            assert issubclass(getattr(keras.layers, name), keras.layers.Layer)
    for name in ("Lambda", "TFSMLayer", "JaxLayer", "FlaxLayer", "TorchModuleWrapper", "TextVectorization", "Wrapper"):
        assert ("keras.layers", name) not in ALLOWED


def test_how_it_was_trained_is_not_read(saved):
    members = members_of(saved)
    config = json.loads(members["config.json"])
    assert config["compile_config"]
    config["compile_config"]["loss"] = OBJECTS[4]
    config["config"]["layers"][-1]["config"]["kernel_initializer"] = OBJECTS[4]
    config["config"]["layers"][-1]["build_config"] = OBJECTS[4]
    text = json.dumps(allowed_architecture(config))
    assert '"os"' not in text
    assert "GlorotUniform" not in text


def bomb(tmp_path, members):
    return {**members, "model.weights.h5": b"\0" * (200 << 20)}


def larger(tmp_path, members):
    config = json.loads(members["config.json"])
    config["config"]["layers"][-1]["config"]["units"] = 10**12
    return {**members, "config.json": json.dumps(config)}


def external(tmp_path, members):
    (tmp_path / "secret").write_bytes(b"\0" * 4096)
    return {**members, "model.weights.h5": changed_weights(tmp_path, members, _external)}


def _external(root):
    place = root["layers/dense/vars"]
    shape = place["0"].shape
    del place["0"]
    place.create_dataset("0", shape, "f4", external=[("secret", 0, h5py.h5f.UNLIMITED)])


def soft(tmp_path, members):
    def change(root):
        del root["layers/dense/vars/0"]
        root["layers/dense/vars/0"] = h5py.ExternalLink("/etc/passwd", "/")

    return {**members, "model.weights.h5": changed_weights(tmp_path, members, change)}


def hollow(tmp_path, members):
    def change(root):
        del root["layers/dense/vars/0"]
        root["layers/dense/vars"].create_dataset("0", (10**6, 10**6), "f4", chunks=(1000, 1000))

    return {**members, "model.weights.h5": changed_weights(tmp_path, members, change)}


def changed_weights(tmp_path, members, change):
    path = tmp_path / "changed.h5"
    path.write_bytes(members["model.weights.h5"])
    with h5py.File(path, "r+") as root:
        change(root)
    return path.read_bytes()


BROKEN = {
    "more files": (lambda _, m: {**m, "assets/x.txt": b"x"}, "contains 'assets/x.txt'"),
    "no weights": (lambda _, m: {"config.json": m["config.json"]}, "not a model that Keras 3 saved"),
    "no JSON": (lambda _, m: {**m, "config.json": b"{"}, "cannot be used"),
    "deep JSON": (lambda _, m: {**m, "config.json": b"[" * 100_000}, "cannot be used"),
    "nesting": (lambda _, m: with_layer(m, deep=json.loads("[" * 200 + "]" * 200)), "nested too deeply"),
    "infinite": (lambda _, m: with_layer(m, name=float("inf")), "not finite"),
    "a bomb": (bomb, "packed much more tightly"),
    "more weights than it holds": (larger, r"its layers have .* weights, and it holds"),
    "weights of another file": (external, "lead elsewhere"),
    "a link to another file": (soft, "lead elsewhere"),
    "hollow weights": (hollow, "declared larger than they are"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_damaged_or_hostile_file_gets_one_line(name, saved, tmp_path):
    change, message = BROKEN[name]
    kind = zipfile.ZIP_DEFLATED if name == "a bomb" else zipfile.ZIP_STORED
    path = repacked(tmp_path / "bad.keras", change(tmp_path, members_of(saved)), kind)
    with pytest.raises(InputError, match=message) as caught:
        open_keras(path).model()
    assert "\n" not in str(caught.value)


def test_a_layer_that_would_fill_the_memory_is_refused():
    image = keras.Input((16, 16, 3))
    model = keras.Model(image, keras.layers.GlobalAveragePooling2D()(keras.layers.UpSampling2D(2)(image)))
    config = json.dumps(keras.saving.serialize_keras_object(model))
    assert build(config, 0).count_params() == 0
    with pytest.raises(ValueError, match=r"makes values of shape \(None, 16000000, 16000000, 3\)"):
        build(config.replace('"size": [2, 2]', '"size": [1000000, 1000000]'), 0)


def test_no_file_of_keras(tmp_path):
    path = tmp_path / "text.keras"
    path.write_text("not a zip")
    with pytest.raises(InputError, match=r"text\.keras cannot be used: File is not a zip file"):
        open_keras(path)


def test_a_model_of_a_strangers_class_is_refused():
    with pytest.raises(ValueError, match="only functional and sequential models"):
        allowed_architecture({"module": "mine", "class_name": "MyModel", "config": {}})
    with pytest.raises(ValueError, match="only functional"):
        build("[]", 1)


def test_what_is_no_square_image_is_refused():
    image = keras.Input((16, 20, 3))
    with pytest.raises(ValueError, match="not square images"):
        input_side(keras.Model(image, keras.layers.Flatten()(image)))
