"""Networks of timm: the features are timm's own, at other sizes too, and what is unclear is refused."""

import json
import pickle
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from shelfbench.base.errors import InputError, RunError
from shelfbench.data.view import View, view_for
from shelfbench.plugins.backend import BackboneChoice
from shelfbench_deep.features import timm_network as features
from shelfbench_deep.features.choosing import load_features, network_features
from shelfbench_deep.features.settings import BottleneckSettings
from shelfbench_deep.features.timm_network import TorchEngine, settle
from tests.helpers.timm_weights import lite_folder, random_weights

timm = pytest.importorskip("timm", reason="timm is not installed")
torch = pytest.importorskip("torch", reason="torch is not installed")

REFERENCE = Path(__file__).parents[2] / "helpers" / "efficientnet_lite0_224.npz"
FLOAT32 = {"precision": "float32"}
TORCH = {"precision": "float32", "engine": "torch"}


def parts(name, weights="none", pixels=None, **settings):
    return network_features(
        BackboneChoice(f"timm:{name}", str(weights), pixels), {"bottleneck": BottleneckSettings(**settings)}
    )


def extractor(name, weights="none", pixels=None, **settings):
    return parts(name, weights, pixels, **settings).features


def photos(count=5, pixels=160):
    return np.random.default_rng(2).integers(0, 256, (count, pixels, pixels, 3), dtype=np.uint8)


def computed(model, images, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)):
    """Compute the features as timm's documentation does: its normalisation, its network without its head."""
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    with torch.inference_mode():
        return model((pixels - torch.tensor(mean).view(1, 3, 1, 1)) / torch.tensor(std).view(1, 3, 1, 1)).numpy()


@pytest.mark.parametrize("engine", ["openvino", "torch"])
def test_real_weights_compute_the_reference_features(tmp_path, engine):
    reference = np.load(REFERENCE)
    made = extractor("tf_efficientnet_lite0", lite_folder(tmp_path), engine=engine, **FLOAT32)
    assert made.describe()["framework"]["engine"] == engine
    found = made.extract(reference["images"])
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, reference["pooled_features"], atol=1e-4)


@pytest.mark.parametrize("kind", [pytest.param(".safetensors", marks=pytest.mark.slow), ".pth"])
def test_weights_from_a_file(tmp_path, kind):
    path = tmp_path / f"weights{kind}"
    model = random_weights("test_vit", path)
    made = extractor("test_vit", path, **FLOAT32)
    np.testing.assert_allclose(made.extract(photos()), computed(model, photos()), rtol=1e-3, atol=1e-4)
    assert made.describe()["weights"] != extractor("test_vit", **FLOAT32).describe()["weights"]
    again = pickle.loads(pickle.dumps(made))
    np.testing.assert_array_equal(again.extract(photos(2)), made.extract(photos(2)))


@pytest.mark.slow
def test_a_transformer_at_another_size_is_what_timm_makes_of_it(tmp_path):
    path = tmp_path / "weights.safetensors"
    random_weights("test_vit", path)
    expected = timm.create_model(
        "test_vit",
        pretrained=True,
        pretrained_cfg_overlay={"file": str(path)},
        num_classes=0,
        dynamic_img_size=True,
    ).eval()
    images = photos(3, 96)
    made = extractor("test_vit", path, 96, **FLOAT32)
    np.testing.assert_allclose(made.extract(images), computed(expected, images), rtol=1e-3, atol=1e-4)
    assert made.fixed_size
    with pytest.raises(InputError, match=r"patches of 16 pixels.*set pixels=96"):
        extractor("test_vit", path, 100)


def test_features_do_not_depend_on_the_batch():
    made = extractor("test_resnet", **TORCH)
    images = photos(made.batch + 3, 64)
    made = extractor("test_resnet", pixels=64, **TORCH)
    together = made.extract(images)
    np.testing.assert_allclose(made.extract(images[-2:]), together[-2:], atol=1e-6)
    assert made.extract(images[:0]).shape == (0, made.dimensions)
    with pytest.raises(ValueError, match="uint8"):
        made.extract(images.astype(np.float32))


def test_networks_pool_as_they_were_made_to():
    found = {
        name: extractor(name).network.pooling
        for name in (
            "vit_small_patch14_dinov2.lvd142m",
            "vit_base_patch16_siglip_224",
            "vit_base_patch32_clip_224.openai",
            "convnext_atto",
        )
    }
    assert list(found.values()) == ["token", "map", "token", "avg"]


def test_the_key_names_weights_and_preprocessing():
    made = extractor("test_convnext")
    described = made.describe()
    assert described["network"] == "test_convnext.r160_in1k"
    assert described["mean"] == list(timm.get_pretrained_cfg("test_convnext").mean)
    assert len(described["weights"]["sha256"]) == 64
    assert json.loads(json.dumps(described)) == described
    assert made.name == "timm:test_convnext.r160_in1k"
    assert view_for(made, "pad") == View(fit="center", resample="bicubic", crop=0.95, background=(0, 0, 0))
    assert view_for(extractor("test_convnext", transform="study"), "pad") == View(fit="pad")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("tf_efficientnet_lite9", "did you mean tf_efficientnet_lite"),
        ("dinov2", "did you mean .*vit_small_patch14_dinov2"),
        ("ConvNeXt_Tiny", "did you mean convnext_tiny"),
        ("vit_base_patch14_dinov2.lvd", "no weights 'lvd'.*choose from: lvd142m"),
        ("hf-hub:timm/resnet18.a1_in1k", "set weights=PATH"),
        ("local-dir:/somewhere", "no network"),
        ("", "no network"),
        ("vit_base_patch16_sapiens2", "768 x 1024"),
    ],
)
def test_wrong_names_come_with_a_suggestion(name, message):
    if name.endswith("sapiens2") and name not in timm.list_models():
        pytest.skip("this timm does not have it yet")
    with pytest.raises(InputError, match=f"(?s){message}"):
        extractor(name)


class Surprise:
    def __reduce__(self):
        return (Path("executed").write_text, ("x",))


def test_files_that_are_no_weights_are_refused_and_nothing_is_executed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": Surprise()}, tmp_path / "odd.pth")
    with pytest.raises(InputError, match=r"odd\.pth cannot be read as weights"):
        extractor("test_vit", tmp_path / "odd.pth").describe()
    assert not Path("executed").exists()
    (tmp_path / "odd.safetensors").write_bytes(b"\0" * 20)
    with pytest.raises(InputError, match="cannot be read as weights"):
        extractor("test_vit", tmp_path / "odd.safetensors").describe()
    (tmp_path / "a.txt").write_text("")
    with pytest.raises(InputError, match=r"of kind '\.txt'"):
        extractor("test_vit", tmp_path / "a.txt")
    with pytest.raises(InputError, match="there is no file"):
        extractor("test_vit", tmp_path / "none.pth")


def test_weights_of_another_network_are_refused(tmp_path):
    path = tmp_path / "weights.safetensors"
    random_weights("test_resnet", path)
    with pytest.raises(InputError, match=r"lacks .* of the weights of test_vit"):
        extractor("test_vit", path).describe()
    random_weights("test_vit", path, embed_dim=32)
    with pytest.raises(InputError, match="does not fit test_vit"):
        extractor("test_vit", path).describe()


def test_a_description_beside_the_weights_comes_first(tmp_path):
    path = tmp_path / "model.safetensors"
    model = random_weights("test_vit", path)
    seen = {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6], "crop_pct": 1.0, "crop_mode": "border"}
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"architecture": "test_vit", "pretrained_cfg": seen}))
    made = extractor("test_vit", path, **FLOAT32)
    assert made.view == View(fit="border", resample="bicubic", crop=1.0, background=(26, 51, 76))
    expected = computed(model, photos(), seen["mean"], seen["std"])
    np.testing.assert_allclose(made.extract(photos()), expected, rtol=1e-3, atol=1e-4)
    for broken, message in (
        ({"architecture": "resnet18"}, "is about 'resnet18'"),
        ({"architecture": "test_vit", "model_args": {"global_pool": "avg"}}, "changes the network"),
        ({"architecture": "test_vit", "pretrained_cfg": {"std": [0, 1, 1]}}, "unclear how"),
        ({"architecture": "test_vit", "pretrained_cfg": {"crop_mode": "random"}}, "unclear how"),
        ([1], "cannot be read"),
    ):
        config.write_text(json.dumps(broken))
        with pytest.raises(InputError, match=message):
            extractor("test_vit", path)


def test_weights_that_cannot_be_fetched_come_with_their_address(monkeypatch):
    def unknown(*_):
        raise OSError("Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    for variable in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(variable, raising=False)
    made = extractor("test_resnet", "imagenet")
    address = "https://huggingface.co/timm/test_resnet.r160_in1k/resolve/main/model.safetensors"
    with pytest.raises(RunError, match=f"(?s)cannot be fetched.*{address}.*weights=PATH"):
        made.describe()


def test_weights_in_the_hub_s_cache_are_used_without_asking_it(tmp_path, monkeypatch):
    path = tmp_path / "model.safetensors"
    model = random_weights("test_resnet", path)
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_, **__: str(path))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: pytest.fail("the hub was asked"))
    found = extractor("test_resnet", "imagenet", **TORCH).extract(photos())
    cfg = timm.get_pretrained_cfg("test_resnet")
    np.testing.assert_allclose(found, computed(model, photos(), cfg.mean, cfg.std), rtol=1e-3, atol=1e-4)


def test_what_openvino_cannot_take_is_computed_by_pytorch_and_said_once(fresh_cache, monkeypatch, capsys):
    tried = []

    def refuse(*_):
        tried.append(1)
        raise RunError("OpenVINO cannot take the network (odd)", "set bottleneck.engine=keras")

    features._warn.cache_clear()
    monkeypatch.setattr("shelfbench_deep.engines.pytorch.from_torch", refuse)
    for _ in range(2):
        made = extractor("test_resnet", **FLOAT32)
        assert made.describe()["framework"]["engine"] == "torch"
        assert made.framework == "torch"
    assert len(tried) == 1, "the answer is kept"
    assert capsys.readouterr().err.count("is computed by PyTorch: OpenVINO cannot take") == 1
    with pytest.raises(RunError, match=r"set bottleneck\.engine=torch"):
        extractor("test_resnet", engine="openvino").describe()


def test_engines_and_precisions(monkeypatch):
    assert settle(BottleneckSettings(engine="torch")) == TorchEngine("torch", "float32")
    assert settle(BottleneckSettings(precision="bfloat16")) == TorchEngine("openvino", "bfloat16")
    for settings in ({"engine": "keras"}, {"precision": "float16"}, {"engine": "torch", "precision": "int8"}):
        with pytest.raises(InputError):
            settle(BottleneckSettings(**settings))
    for settings in ({"engine": "torch"}, {"precision": "float16"}):
        with pytest.raises(InputError, match="for networks of timm"):
            BottleneckSettings(**settings).settle()
    with pytest.raises(ValueError, match="no engine"):
        TorchEngine("openvino", "float16")
    monkeypatch.setattr(features, "_on_gpu", lambda: True)
    monkeypatch.setattr("shelfbench_deep.engines.pytorch.half_precision", lambda: "float16")
    assert settle(BottleneckSettings()) == TorchEngine("torch", "float16")
    assert settle(BottleneckSettings(precision="bfloat16")) == TorchEngine("torch", "bfloat16")
    assert settle(BottleneckSettings(engine="openvino", precision="float32")) == TorchEngine("openvino", "float32")


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision_in_pytorch_is_close(precision):
    exact = extractor("test_resnet", **TORCH).extract(photos())
    made = extractor("test_resnet", **TORCH)
    made._uses(TorchEngine("torch", precision))
    found = made.extract(photos())
    assert found.dtype == np.float32
    assert 0 < np.abs(found - exact).max() < 0.05 * np.abs(exact).max()


def test_a_network_is_taken_along_and_checked(tmp_path):
    made = parts("test_vit", pixels=96, **FLOAT32)
    folder = tmp_path / "decision"
    folder.mkdir()
    made.save_features(folder)
    loaded = load_features(folder)
    images = photos(4, 96)
    np.testing.assert_array_equal(loaded.extract(images), made.features.extract(images))
    assert loaded.view == made.features.view
    assert (loaded.pixels, loaded.dimensions) == (96, made.features.dimensions)

    record = json.loads((folder / "network.json").read_text())
    for change, message in (
        ({"network": "hf-hub:someone/else"}, "cannot be read"),
        ({"network": "test_resnet"}, "does not fit|cannot be read"),
        ({"network": "no_such_network"}, "no network"),
        ({"sha256": "0" * 64}, "does not hold the weights"),
        ({"engine": {"name": "openvino", "precision": "int3"}}, "no engine"),
        ({"view": {**record["view"], "crop": 1e-9}}, "not between"),
        ({"pixels": 100}, "not a multiple"),
        ({"more": 1}, "cannot be read"),
    ):
        (folder / "network.json").write_text(json.dumps({**record, **change}))
        with pytest.raises(InputError, match=message):
            load_features(folder)
    (folder / "network.json").write_text(json.dumps(record))
    random_weights("test_vit2", folder / "network.safetensors")
    with pytest.raises(InputError, match=r"network.safetensors cannot be read"):
        load_features(folder)
    shutil.rmtree(folder)


def test_a_network_of_timm_is_not_fine_tuned():
    from shelfbench.plugins.finding import find

    spec = find("finetuned-svm")
    sections = {name: kind() for name, kind in spec.sections.items()}
    with pytest.raises(InputError, match="cannot be fine-tuned"):
        spec.build(sections, BackboneChoice("timm:test_vit", "none"), 1)


@pytest.mark.slow
def test_networks_of_keras_and_of_timm_compute_in_one_process():
    """Triton, which PyTorch would load, crashes a process in which TensorFlow is; tests load it nowhere."""
    code = """
import sys
import numpy, tensorflow
from shelfbench.plugins.backend import BackboneChoice
from shelfbench_deep.features.choosing import network_features
from shelfbench_deep.features.settings import BottleneckSettings
sections = {"bottleneck": BottleneckSettings("torch")}
parts = network_features(BackboneChoice("timm:mobilenetv3_small_050", "none", 32), sections)
print(parts.features.extract(numpy.zeros((2, 32, 32, 3), numpy.uint8)).shape)
"""
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (told.returncode, told.stdout) == (0, "(2, 1024)\n"), told.stderr[-2000:]
