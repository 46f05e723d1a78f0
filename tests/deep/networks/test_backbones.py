import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from shelfbench.base.errors import InputError, RunError
from shelfbench.plugins.backend import BackboneChoice
from shelfbench_deep.engines.keras import keras
from shelfbench_deep.engines.versions import framework, keras_home
from shelfbench_deep.networks.backbones import load_backbone
from shelfbench_deep.networks.efficientnet_lite import efficientnet_lite0, set_torch_weights
from shelfbench_deep.networks.known import NETWORKS
from shelfbench_deep.networks.torch_weights import read_torch_weights
from shelfbench_deep.networks.weights import hash_of_arrays, packaged_weights

REFERENCE = Path(__file__).parents[2] / "helpers" / "efficientnet_lite0_224.npz"
MODULES = {"inception_v3": "inception_v3", "xception": "xception", "vgg16": "vgg16", "resnet152": "resnet"}


def test_efficientnet_lite0_equals_the_reference():
    reference = np.load(REFERENCE)
    model = efficientnet_lite0(224, classes=1000)
    set_torch_weights(model, read_torch_weights(packaged_weights()))
    both = keras.Model(model.input, [model.get_layer("pooling").output, model.output])
    images = NETWORKS["efficientnet_lite0"].preprocess(reference["images"].astype(np.float32))
    pooled, logits = (np.asarray(output) for output in both.predict_on_batch(images))
    np.testing.assert_allclose(pooled, reference["pooled_features"], atol=1e-3)
    np.testing.assert_allclose(logits, reference["logits"], atol=1e-3)
    assert logits[:3].argmax(axis=1).tolist() == [285, 967, 450]
    assert model.count_params() - sum(np.prod(w.shape) for w in model.non_trainable_weights) == 4_652_008


@pytest.mark.parametrize("broken", ["missing", "shape"])
def test_other_torch_weights_are_refused(broken):
    arrays = read_torch_weights(packaged_weights())
    if broken == "missing":
        del arrays["_blocks.3._bn1.running_var"]
    else:
        arrays["_blocks.3._bn1.running_var"] = np.ones(7, np.float32)
    with pytest.raises(InputError, match=r"_blocks\.3\._bn1|block3_depthwise_bn"):
        set_torch_weights(efficientnet_lite0(32), arrays)


@pytest.mark.parametrize("name", MODULES)
def test_preprocessing_is_that_of_keras(name):
    images = np.random.default_rng(0).integers(0, 256, (2, 5, 5, 3)).astype(np.float32)
    theirs = getattr(keras.applications, MODULES[name]).preprocess_input(images.copy())
    np.testing.assert_allclose(NETWORKS[name].preprocess(images), theirs, atol=1e-4)


@pytest.mark.parametrize("name", MODULES)
def test_published_weights_are_those_that_keras_names(name):
    module = importlib.import_module(f"keras.src.applications.{MODULES[name]}")
    source = inspect.getsource(module)
    network = NETWORKS[name]
    assert network.digest in source
    ending = network.file.removeprefix(name)  # Keras before 3.14 adds it to the name
    assert any(file in source for file in (network.file, f"{{weights_name}}{ending}", f'weights_name + "{ending}"'))
    theirs = getattr(module, "WEIGHTS_PATH_NO_TOP", None) or module.BASE_WEIGHTS_PATH + network.file
    assert network.url == theirs


@pytest.mark.parametrize("name", ["inception_v3", "xception", "vgg16"])
def test_networks_take_their_least_size_and_pool_to_their_dimensions(name):
    backbone = load_backbone(BackboneChoice(name, "none", NETWORKS[name].least))
    assert backbone.model().output_shape == (None, NETWORKS[name].dimensions)


@pytest.mark.parametrize("name", NETWORKS)
def test_too_small_images_are_refused_with_the_least_size(name):
    least = NETWORKS[name].least
    with pytest.raises(InputError, match=f"{name} cannot take images of {least - 1} pixels.*pixels={least}"):
        load_backbone(BackboneChoice(name, "none", least - 1))


def test_random_weights_are_the_same_every_time():
    choice = BackboneChoice("efficientnet_lite0", "none", 32)
    first, second = (load_backbone(choice).model().get_weights() for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    assert load_backbone(choice).describe() != load_backbone(BackboneChoice(pixels=32)).describe()


@pytest.mark.parametrize("suffix", [".weights.h5", ".h5", ".safetensors"])
def test_weights_from_a_file(tmp_path, suffix):
    keras.utils.set_random_seed(5)
    source = keras.applications.VGG16(weights=None, include_top=False, input_shape=(32, 32, 3))
    path = tmp_path / f"own{suffix}"
    if suffix == ".weights.h5":
        source.save_weights(path)
    elif suffix == ".h5":
        source.save(path)
    else:
        save_file({variable.path: keras.ops.convert_to_numpy(variable) for variable in source.weights}, path)
    backbone = load_backbone(BackboneChoice("vgg16", str(path), 32))
    for ours, theirs in zip(backbone.model().get_weights(), source.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    before = backbone.describe()["weights"]
    assert len(before["sha256"]) == 64
    source.get_layer("block3_conv2").bias.assign_add(np.full(256, 1e-3, np.float32))
    if suffix == ".safetensors":
        save_file({variable.path: keras.ops.convert_to_numpy(variable) for variable in source.weights}, path)
    else:
        path.unlink()
        (source.save_weights if suffix == ".weights.h5" else source.save)(path)
    assert backbone.describe()["weights"] != before


def test_pth_files_are_for_lite0_alone():
    packaged = load_backbone(BackboneChoice(weights=str(packaged_weights()), pixels=32)).describe()["weights"]
    assert packaged["sha256"] == load_backbone(BackboneChoice(pixels=32)).describe()["weights"]["sha256"]
    with pytest.raises(InputError, match=r"'\.pth' cannot be read for vgg16"):
        load_backbone(BackboneChoice("vgg16", str(packaged_weights())))


def test_weights_of_another_network_are_refused(tmp_path):
    other = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    other.save_weights(tmp_path / "other.weights.h5")
    save_file({"dense/kernel": np.zeros((3, 2), np.float32)}, tmp_path / "other.safetensors")
    (tmp_path / "broken.h5").write_bytes(b"\x89HDF\r\n\x1a\nnothing")
    for name in ("other.weights.h5", "other.safetensors", "broken.h5"):
        with pytest.raises(InputError, match=name):
            load_backbone(BackboneChoice("vgg16", str(tmp_path / name), 32)).model()


def test_wrong_choices(tmp_path):
    with pytest.raises(InputError, match="unknown backbone 'alexnet'; choose from: efficientnet_lite0"):
        load_backbone(BackboneChoice("alexnet"))
    (tmp_path / "hub" / "onnx").mkdir(parents=True)
    (tmp_path / "hub" / "onnx" / "model.onnx").write_bytes(b"")
    with pytest.raises(InputError, match=r"hub is a folder; name the file in it: .*hub/onnx/model\.onnx"):
        load_backbone(BackboneChoice(str(tmp_path / "hub")))
    with pytest.raises(InputError, match=r"no file of weights at /no/where\.h5"):
        load_backbone(BackboneChoice("vgg16", "/no/where.h5"))
    (tmp_path / "model.keras").write_bytes(b"")
    with pytest.raises(InputError, match=r"kind '\.keras'"):
        load_backbone(BackboneChoice("vgg16", str(tmp_path / "model.keras")))


def test_unreachable_weights_say_which_file_belongs_where(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    with pytest.raises(RunError) as caught:
        load_backbone(BackboneChoice("vgg16")).describe()
    message = str(caught.value)
    assert str(tmp_path / "models" / NETWORKS["vgg16"].file) in message
    assert NETWORKS["vgg16"].url in message
    assert "weights=none|PATH" in message
    assert "\n" not in message
    assert capsys.readouterr().out == ""


def test_hash_covers_names_shapes_types_and_values():
    base = {"a": np.arange(6, dtype=np.float32), "b": np.ones(2, np.float32)}
    variants = [
        base,
        {**base, "a": base["a"].reshape(2, 3)},
        {**base, "a": base["a"].view(np.int32)},
        {**base, "b": np.array([1, 1.0001], np.float32)},
        {"a": base["a"], "c": base["b"]},
        {"a": base["a"]},
    ]
    hashes = [hash_of_arrays(iter(arrays.items())) for arrays in variants]
    assert len(set(hashes)) == len(variants)
    assert hash_of_arrays(iter(reversed(base.items()))) == hashes[0]


@pytest.mark.parametrize("settings", ["", '{"backend": "jax"}'])
def test_the_engine_is_known_without_loading_it(tmp_path, settings):
    if settings:
        (tmp_path / "keras.json").write_text(settings)
    code = (
        "import sys; from shelfbench_deep.engines.versions import framework; "
        "print(framework().engine, 'keras' in sys.modules)"
    )
    told = subprocess.run(
        [sys.executable, "-c", code], env={"KERAS_HOME": str(tmp_path)}, capture_output=True, text=True, check=True
    )
    assert told.stdout.split() == ["jax" if settings else "tensorflow", "False"]


def test_versions_are_those_of_keras_itself():
    from keras.src.backend.config import keras_home as theirs

    assert framework().engine == keras.backend.backend()
    assert framework().keras_version == keras.__version__
    assert framework().engine_version != "unknown"
    assert str(keras_home()) == str(Path(theirs()).expanduser())
