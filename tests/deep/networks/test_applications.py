import inspect
import re
import sys
from itertools import zip_longest

import numpy as np
import pytest

from shelfbench.base.errors import InputError, RunError
from shelfbench.plugins.backend import BackboneChoice
from shelfbench_deep.engines.keras import keras
from shelfbench_deep.features import settings as bottleneck_settings
from shelfbench_deep.features.bottleneck import BottleneckExtractor
from shelfbench_deep.features.settings import BottleneckSettings
from shelfbench_deep.features.trained import TrainedExtractor, save_bottleneck
from shelfbench_deep.networks.applications import APPLICATIONS
from shelfbench_deep.networks.backbones import load_backbone
from shelfbench_deep.networks.blueprint import Blueprint
from shelfbench_deep.networks.known import KNOWN, NETWORKS, find_network
from shelfbench_deep.training.freezing import boundary
from tests.helpers.sources import ROOT

OFFERED = sorted(name for name in dir(keras.applications) if name[0].isupper())


def module(name):
    return sys.modules[getattr(keras.applications, name).__module__]


def test_every_network_of_keras_has_a_name():
    by_application = {network.application for network in KNOWN.values() if network.application}
    assert by_application == set(OFFERED)
    assert {find_network(f"keras:{name}")[1].application for name in OFFERED} == set(OFFERED)


def test_the_documents_name_all_networks_and_their_sizes():
    text = (ROOT / "docs" / "networks.md").read_text(encoding="utf-8").partition("## keras:NAME")[2]
    rows = [row.split("|")[2:4] for row in text.partition("\n\nA name")[0].splitlines() if row.startswith("| ")][1:]
    told = {}
    for names, sizes in rows:
        for group, of_group in zip_longest(names.split(";"), sizes.split(";"), fillvalue=""):
            found = [name for part in group.split(",") for name in expanded(re.findall(r"`(\w+)`", part))]
            numbers = [int(size) for size in of_group.split(",")]
            told |= dict(zip(found, numbers * (len(found) if len(numbers) == 1 else 1), strict=True))
    assert told == {name: find_network(f"keras:{name}")[1].pixels for name in OFFERED}


def expanded(names):
    """``EfficientNetB0`` to ``EfficientNetB7``: all of them."""
    if len(names) < 2:
        return names
    return [names[0][:-1] + str(number) for number in range(int(names[0][-1]), int(names[1][-1]) + 1)]


@pytest.mark.parametrize("name", OFFERED)
def test_preprocessing_is_that_of_its_module(name):
    network = find_network(f"keras:{name}")[1]
    images = np.random.default_rng(0).integers(0, 256, (2, 5, 5, 3)).astype(np.float32)
    if network.only_published:  # test_efficientnets_scale_pixels_as_keras_does_for_imagenet
        assert name.startswith("EfficientNetB")
        return
    theirs = module(name).preprocess_input(images.copy())
    np.testing.assert_allclose(network.preprocess(images.copy()), theirs, atol=1e-4)


class Asked(Exception):
    """Stops Keras when it has said what it would do."""


@pytest.mark.parametrize("name", [name for name in OFFERED if not name.startswith("MobileNetV3")])
def test_sizes_are_those_of_keras(name, monkeypatch):
    def asked(*_, default_size, min_size, **__):
        raise Asked(default_size, min_size)

    monkeypatch.setattr("keras.src.applications.imagenet_utils.obtain_input_shape", asked)
    with pytest.raises(Asked) as caught:
        getattr(keras.applications, name)(weights=None)
    network = find_network(f"keras:{name}")[1]
    assert caught.value.args == (network.pixels, network.least)


def test_the_least_size_of_mobilenet_v3_is_that_of_keras():
    assert APPLICATIONS["MobileNetV3Small"].least == APPLICATIONS["MobileNetV3Large"].least == 32
    with pytest.raises(ValueError, match="at least 32x32"):
        keras.applications.MobileNetV3Small(weights=None, include_top=False, input_shape=(31, 31, 3))


@pytest.mark.parametrize("name", [name for name, network in APPLICATIONS.items() if network.digest])
def test_digests_are_those_of_keras(name):
    source = inspect.getsource(module(name.replace("V2", "") if name.startswith("ResNet") else name))
    assert APPLICATIONS[name].digest in source


@pytest.mark.parametrize(
    ("name", "side", "file"),
    [
        ("MobileNet", 128, "mobilenet_1_0_128_tf_no_top.h5"),
        ("MobileNet", 96, "mobilenet_1_0_224_tf_no_top.h5"),
        ("MobileNetV2", 96, "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_96_no_top.h5"),
    ],
)
@pytest.mark.filterwarnings("ignore")  # Keras warns of sizes without weights of their own
def test_weights_made_for_the_size_of_the_images_as_keras_takes_them(name, side, file, monkeypatch):
    def asked(fname, origin, **_):
        raise Asked(fname, origin)

    monkeypatch.setattr(module(name).file_utils, "get_file", asked)
    with pytest.raises(Asked) as caught:
        getattr(keras.applications, name)(weights="imagenet", include_top=False, input_shape=(side, side, 3))
    network = APPLICATIONS[name].at(side)
    assert network.file == file
    assert (network.file, network.url) == caught.value.args


def test_unreachable_weights_name_the_file_of_the_size(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    with pytest.raises(RunError, match=r"mobilenet_1_0_160_tf_no_top\.h5 .*weights=none\|PATH"):
        load_backbone(BackboneChoice("keras:MobileNet", pixels=160)).describe()
    with pytest.raises(
        RunError, match=r"keras-applications/efficientnetb3_notop\.h5 elsewhere .*, or --set weights=none$"
    ):
        load_backbone(BackboneChoice("keras:EfficientNetB3")).describe()


@pytest.mark.slow
def test_efficientnets_scale_pixels_as_keras_does_for_imagenet(tmp_path, monkeypatch):
    # Keras puts a layer into these networks only if it loads ImageNet's weights by their name
    build = keras.applications.EfficientNetB0
    source = build(weights=None, include_top=False, input_shape=(32, 32, 3))
    published = tmp_path / "models" / APPLICATIONS["EfficientNetB0"].file
    published.parent.mkdir()
    normalise = next(layer for layer in source.layers if isinstance(layer, keras.layers.Normalization))
    normalise.set_weights([np.array([0.485, 0.456, 0.406]), np.square([0.229, 0.224, 0.225]), np.array(0)])
    source.save(published)
    monkeypatch.setattr(module("EfficientNetB0").file_utils, "get_file", lambda *_, **__: str(published))
    theirs = build(weights="imagenet", include_top=False, pooling="avg", input_shape=(32, 32, 3))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    backbone = load_backbone(BackboneChoice("keras:EfficientNetB0", pixels=32))
    images = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3)).astype(np.float32)
    ours = backbone.model().predict_on_batch(backbone.network.preprocess(images))
    expected = theirs.predict_on_batch(module("EfficientNetB0").preprocess_input(images))
    unscaled = backbone.model().predict_on_batch(images)
    close = 1e-4 * np.abs(expected).max()
    np.testing.assert_allclose(ours, expected, atol=close)
    assert np.abs(unscaled - expected).max() > 10 * close, "the layer matters"
    folder = tmp_path / "decision"
    folder.mkdir()
    extractor = BottleneckExtractor(BackboneChoice("keras:EfficientNetB0", pixels=32), BottleneckSettings("keras"))
    save_bottleneck(extractor, folder)
    copy = TrainedExtractor(folder).model().predict_on_batch(backbone.network.preprocess(images))
    np.testing.assert_array_equal(copy, ours, "the weights reach the layer that normalises, which keeps copies of them")
    with pytest.raises(InputError, match=r"not the file that Keras publishes.*model\.save\('network\.keras'\)"):
        load_backbone(BackboneChoice("keras:EfficientNetB0", str(published), 32))


def test_networks_of_the_papers_keep_their_names_and_features():
    for name, network in NETWORKS.items():
        if network.application:
            alias = load_backbone(BackboneChoice(f"keras:{network.application}", "none"))
            assert alias == load_backbone(BackboneChoice(name, "none"))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("keras:ConvNextTiny", "no network 'ConvNextTiny'; did you mean keras:ConvNeXtTiny"),
        ("keras:EfficientNetV2-B2", "did you mean keras:EfficientNetV2B2"),
        ("keras:resnet50v2", "did you mean keras:ResNet50V2"),
        ("keras:exception", "did you mean xception"),
        ("keras:", "no network ''; choose from: keras:ConvNeXtBase"),
        ("keras:applications", "no network 'applications'; choose from"),
        ("MobileNetV3Small", "unknown backbone 'MobileNetV3Small'; did you mean keras:MobileNetV3Small"),
        ("inceptionv3", "unknown backbone 'inceptionv3'; did you mean keras:InceptionV3"),
    ],
)
def test_a_wrong_name_gets_the_nearest(name, message):
    with pytest.raises(InputError, match=message):
        load_backbone(BackboneChoice(name, "none"))


@pytest.mark.parametrize(
    "network", ["keras:Xception", "keras:ConvNeXt", "ConvNeXtTiny", "keras:keras", 7, None, "k" * 10**7]
)
def test_a_stranger_names_only_networks_of_the_list(network):
    with pytest.raises(ValueError, match="unknown network"):
        Blueprint(network=network, pixels=64, classes=0)
    with pytest.raises(ValueError, match="pixels is 31"):
        Blueprint(network="keras:ConvNeXtTiny", pixels=31, classes=0)


@pytest.fixture(scope="module", params=["MobileNetV3Small", pytest.param("ConvNeXtTiny", marks=pytest.mark.slow)])
def extractor(request):
    settings = BottleneckSettings("keras" if bottleneck_settings.why_not_openvino() else "openvino", "auto")
    if settings.engine == "openvino":
        settings = BottleneckSettings("openvino", "float32")
    return BottleneckExtractor(BackboneChoice(f"keras:{request.param}", "none", 32), settings)


def test_features_of_a_network_and_of_its_copy(extractor, tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), dtype=np.uint8)
    features = extractor.extract(images)
    expected = extractor.model().predict_on_batch(extractor.preprocess(images.astype(np.float32)))
    assert features.shape == (6, extractor.dimensions)
    np.testing.assert_allclose(features, expected, atol=1e-4 * np.abs(expected).max())
    assert extractor.model().count_params() == KNOWN[extractor.name].parameters
    frozen = extractor.model().layers[boundary(extractor.name, extractor.model(), 0.4, "module") - 1].name
    assert frozen in ("expanded_conv_4_add", "convnext_tiny_stage_2_block_0_identity"), "the end of a block"
    save_bottleneck(extractor, tmp_path)
    np.testing.assert_array_equal(TrainedExtractor(tmp_path).extract(images), features)
