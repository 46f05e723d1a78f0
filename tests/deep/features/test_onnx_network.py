"""Networks from ONNX files: both engines compute what the file says, and what is unclear is asked."""

import pickle
import warnings
from pathlib import Path

import numpy as np
import pytest

from shelfbench.base.errors import InputError, RunError
from shelfbench.plugins.backend import BackboneChoice
from shelfbench.plugins.conformance import CHECKS
from shelfbench_deep.backends import bottleneck_svm
from shelfbench_deep.features.onnx_network import onnx_extractor
from shelfbench_deep.features.settings import BottleneckSettings
from shelfbench_deep.networks.onnx_pooling import pooling
from shelfbench_deep.networks.onnx_settings import OnnxSettings
from tests.helpers.onnx_graphs import CHANNELS, SIDE, computed, graph

REFERENCE = Path(__file__).parents[2] / "helpers" / "efficientnet_lite0_224.npz"
MEAN, STD = (120.0, 110.0, 100.0), (50.0, 60.0, 70.0)
FLOAT32 = BottleneckSettings(precision="float32")
ENGINES = ("openvino", "onnxruntime")


def images(count=7, side=SIDE):
    return np.random.default_rng(3).integers(0, 256, (count, side, side, 3), dtype=np.uint8)


def opened(path, pixels=None, precision="float32", **settings):
    if "mean" not in settings:
        settings |= {"mean": MEAN, "std": STD}
    bottleneck = BottleneckSettings(precision=precision)
    return onnx_extractor(BackboneChoice(str(path), pixels=pixels), bottleneck, OnnxSettings(**settings))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    "form",
    [
        {},
        {"layout": "NHWC"},
        {"batch": 1},
        {"batch": 3},
        {"kind": "float16"},
        {"kind": "uint8"},
        {"kind": "uint8", "layout": "NHWC"},
        {"external": True},
        {"end": "map"},
        {"end": "map", "layout": "NHWC"},
        {"end": "scores"},
        {"end": "tokens"},
    ],
    ids=str,
)
def test_features_are_what_the_graph_says(tmp_path, engine, form):
    path = graph(tmp_path / "net.onnx", **form)
    prepared = {"kind": form.get("kind", "float32"), "layout": form.get("layout", "NCHW"), "mean": MEAN, "std": STD}
    for channels in ("rgb", "bgr"):
        extractor = pickle.loads(pickle.dumps(opened(path, engine=engine, channels=channels)))
        expected = computed(path, images(), channels=channels, **prepared)
        if form.get("end") == "map":
            expected = expected.mean(axis=(2, 3) if form.get("layout") != "NHWC" else (1, 2))
        elif form.get("end") == "tokens":  # 16 places, as a square of patches has
            expected = expected.mean(axis=1)
        features = extractor.extract(images())
        assert features.dtype == np.float32
        assert features.shape == (7, extractor.dimensions)
        near = 2e-3 if form.get("kind") == "float16" else 1e-5
        np.testing.assert_allclose(features, expected, atol=near, rtol=near)
        np.testing.assert_allclose(extractor.extract(images()[2:4]), features[2:4], atol=1e-6)
    assert extractor.extract(images(0)).shape == (0, extractor.dimensions)
    with pytest.raises(ValueError, match="expected images"):
        extractor.extract(images(2, SIDE + 1))


@pytest.mark.parametrize("engine", ENGINES)
def test_a_value_inside_the_graph_can_be_the_features(tmp_path, engine):
    path = graph(tmp_path / "net.onnx", end="scores", external=True)
    [note, advice] = opened(path).notes
    assert "'scores', 5 numbers" in note
    assert "--set onnx.output=row" in advice
    inner = opened(path, output="row", engine=engine)
    expected = computed(graph(tmp_path / "row.onnx"), images(), mean=MEAN, std=STD)
    np.testing.assert_allclose(inner.extract(images()), expected, atol=1e-5)
    assert len(inner.notes) == 1


@pytest.mark.parametrize("engine", ENGINES)
def test_tokens_become_one_row_by_the_setting(tmp_path, engine):
    path = graph(tmp_path / "net.onnx", end="tokens")
    tokens = computed(path, images(), mean=MEAN, std=STD)
    for pool, expected in (("cls", tokens[:, 0]), ("mean", tokens.mean(axis=1))):
        np.testing.assert_allclose(opened(path, pool=pool, engine=engine).extract(images()), expected, atol=1e-5)


def test_the_key_follows_the_weights_and_the_preprocessing_and_not_the_path(tmp_path):
    (tmp_path / "a folder").mkdir()
    first = opened(graph(tmp_path / "net.onnx"))
    moved = opened(graph(tmp_path / "a folder" / "other.onnx"))
    assert first.describe() == moved.describe()
    others = [
        opened(graph(tmp_path / "seed.onnx", seed=1)),
        opened(tmp_path / "net.onnx", channels="bgr"),
        opened(tmp_path / "net.onnx", mean=(0.0,), std=(255.0,)),
        opened(tmp_path / "net.onnx", engine="onnxruntime"),
        opened(tmp_path / "net.onnx", output="relu"),
    ]
    keys = [str(extractor.describe()) for extractor in (first, *others)]
    assert len(set(keys)) == len(keys)
    # the weights lie in a file of their own, which changes while the graph does not
    before = opened(graph(tmp_path / "x.onnx", external=True)).describe()
    data = tmp_path / "x.onnx.data"
    data.write_bytes(bytes(reversed(data.read_bytes())))
    assert opened(tmp_path / "x.onnx").describe() != before


def test_sizes(tmp_path):
    fixed, free = graph(tmp_path / "fixed.onnx"), graph(tmp_path / "free.onnx", side="side")
    assert opened(fixed).fixed_size
    assert opened(fixed, pixels=SIDE).pixels == SIDE
    with pytest.raises(InputError, match=r"takes images of 16 pixels, and pixels is 32; omit pixels"):
        opened(fixed, pixels=32)
    with pytest.raises(InputError, match="any size, and nothing says which it was made for; set it"):
        opened(free)
    assert opened(free, pixels=24).extract(images(2, 24)).shape == (2, CHANNELS)


@pytest.mark.parametrize(
    ("shape", "wanted", "pool"),
    [
        ((4, 10), "", ""),
        ((4, 10, 7, 7), "", "mean_nchw"),
        ((4, 7, 7, 10), "", "mean_nhwc"),
        ((4, 10, 1, 1), "", "mean_nchw"),
        ((4, 7, 7, 7), "", "mean_nchw"),
        ((4, 196, 8), "", "mean"),
        ((4, 197, 8), "", "cls"),
        ((4, 201, 8), "mean", "mean"),
        ((4, 197, 8), "mean", "mean"),
    ],
)
def test_pooling(tmp_path, shape, wanted, pool):
    assert pooling(shape, wanted, "NCHW", tmp_path)[0] == pool


@pytest.mark.parametrize(
    ("shape", "wanted"), [((4, 201, 8), ""), ((4, 2, 3, 5), ""), ((4, 8, 7, 7), "cls"), ((4,), "")]
)
def test_unclear_pooling_is_asked(tmp_path, shape, wanted):
    with pytest.raises(InputError, match=r"set onnx\.pool|choose another with onnx\.output"):
        pooling(shape, wanted, "NCHW", tmp_path)


def test_values_that_are_not_numbers_are_refused(tmp_path):
    extractor = opened(graph(tmp_path / "net.onnx", kind="float16"), mean=(10.0,), std=(0.001,), engine="onnxruntime")
    with pytest.raises(RunError, match="values that are not numbers"):
        extractor.extract(images())


def test_an_operator_that_nobody_has(tmp_path):
    path = graph(tmp_path / "net.onnx", extra=["org.example:Magic"])
    with pytest.raises(
        InputError,
        match=(
            r"OpenVINO cannot take .*net\.onnx \([^)]* operations: org\.example\.Magic\), "
            r"and ONNX Runtime cannot take .*org\.example:Magic.*common opset"
        ),
    ):
        opened(path)


def test_what_openvino_cannot_take_is_left_to_onnx_runtime(tmp_path):
    path = graph(tmp_path / "net.onnx", extra=["ai.onnx.ml:Binarizer"])
    extractor = opened(path)
    assert extractor.describe()["framework"]["engine"] == "onnxruntime"
    assert "ONNX Runtime in float32, as OpenVINO cannot take" in extractor.notes[0]
    assert "ai.onnx.ml.Binarizer': it can be compared with others, and not be deployed" in extractor.notes[1]
    row = computed(graph(tmp_path / "row.onnx"), images(), mean=MEAN, std=STD)
    np.testing.assert_allclose(extractor.extract(images()), row > 0)
    with pytest.raises(InputError, match=r"OpenVINO cannot take .*; omit onnx\.engine"):
        opened(path, engine="openvino")


def test_operators_of_onnx_runtime_that_check_nothing_are_not_run(tmp_path):
    with pytest.raises(InputError, match=r"'com\.microsoft\.Inverse', which ONNX Runtime does not run safely"):
        opened(graph(tmp_path / "net.onnx", extra=["com.microsoft:Inverse"]))
    fused = graph(tmp_path / "fused.onnx", extra=["com.microsoft:FastGelu"])
    by_both = [opened(fused, engine=engine).extract(images()) for engine in ENGINES]
    np.testing.assert_allclose(*by_both, atol=1e-3)


def test_without_onnx_runtime_the_line_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setattr("shelfbench_deep.features.onnx_network.onnxruntime_version", lambda: None)
    with pytest.raises(InputError, match=r"not installed; python -m pip install 'shelfbench\[onnxruntime\]'"):
        opened(graph(tmp_path / "one.onnx"), engine="onnxruntime")
    with pytest.raises(InputError, match=r"OpenVINO cannot take.*python -m pip install 'shelfbench\[onnxruntime\]'"):
        opened(graph(tmp_path / "net.onnx", extra=["org.example:Magic"]))


@pytest.mark.slow
def test_one_network_three_ways(tmp_path):
    """EfficientNet-Lite0 with its ImageNet weights, ours, timm's, and timm's exported to ONNX, as its makers ran it."""
    import torch

    from shelfbench_deep.features.bottleneck import BottleneckExtractor
    from tests.helpers.lite_weights import timm_lite

    reference = np.load(REFERENCE)
    squares = reference["images"]
    network = timm_lite(0)
    with torch.no_grad():
        given = (torch.from_numpy(squares).permute(0, 3, 1, 2).float() - 127) / 128
        by_timm = network(given).numpy()
    path = tmp_path / "lite0.onnx"
    axes = {"input": {0: "batch"}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch recommends its newer exporter, which needs another package
        torch.onnx.export(network, (given,), str(path), input_names=["input"], dynamic_axes=axes, dynamo=False)
    expected = {"timm": by_timm, "the reference": reference["pooled_features"]}
    expected["ours"] = BottleneckExtractor(BackboneChoice(pixels=224), FLOAT32).extract(squares)
    for engine in ENGINES:
        features = opened(path, mean=(127.0,), std=(128.0,), engine=engine).extract(squares)
        for name, values in expected.items():
            np.testing.assert_allclose(features, values, atol=1e-4, err_msg=f"{engine} against {name}")
    both = opened(path, mean=(127.0,), std=(128.0,), precision="bfloat16").extract(squares)
    cosine = (both * by_timm).sum(1) / np.linalg.norm(both, axis=1) / np.linalg.norm(by_timm, axis=1)
    assert cosine.min() > 0.99


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_a_backend_on_an_onnx_file_conforms(tmp_path, check):
    path = graph(tmp_path / "net.onnx", external=True)
    sections = {name: kind() for name, kind in bottleneck_svm.sections.items()}
    sections |= {"onnx": OnnxSettings(mean=MEAN, std=STD), "bottleneck": FLOAT32}
    check(lambda: bottleneck_svm.build(sections, BackboneChoice(str(path)), 1))
