"""Bottlenecks in int8: close to float32, calibrated once, a feature space of their own; and files of strangers."""

import json
import subprocess
import sys

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from shelfbench.base import processor
from shelfbench.base.errors import InputError, RunError
from shelfbench.data.ahead import Decoding
from shelfbench.data.calibration import drawn_photos
from shelfbench.plugins.backend import BackboneChoice, as_record
from shelfbench_deep.engines import quantising
from shelfbench_deep.engines.versions import nncf_version
from shelfbench_deep.features import quantised, settings
from shelfbench_deep.features.bottleneck import BottleneckExtractor
from shelfbench_deep.features.choosing import load_features, network_features
from shelfbench_deep.features.settings import BottleneckSettings, Engine
from shelfbench_deep.networks.onnx_settings import OnnxSettings
from tests.benchmarks.inputs import jpegs
from tests.helpers.onnx_graphs import graph

PIXELS = 64
here = pytest.mark.skipif(
    bool(settings.why_not_openvino()) or nncf_version() is None, reason="OpenVINO or NNCF does not compute here"
)


class Kept(list):
    """Encoded photos in memory, as an `ImageBytes` gives them."""

    def read(self, rows):
        return [self[row] for row in rows]


def extractor(precision):
    return BottleneckExtractor(BackboneChoice(pixels=PIXELS), BottleneckSettings("openvino", precision))


def photos(seed, count=48):
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (count, 8, 8, 3), np.uint8)
    return coarse.repeat(PIXELS // 8, axis=1).repeat(PIXELS // 8, axis=2)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        patch.setenv("SHELFBENCH_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="module")
def small(cache):
    return extractor("int8").calibrated(photos(0))


@here
def test_close_to_float32_whatever_the_batch(small):
    given = photos(1, 23)
    exact, together = extractor("float32").extract(given), small.extract(given)
    cosine = (exact * together).sum(1) / np.linalg.norm(exact, axis=1) / np.linalg.norm(together, axis=1)
    assert together.dtype == np.float32
    assert 0.9 < cosine.min() < 0.99999
    np.testing.assert_array_equal(small.extract(given), together)
    np.testing.assert_array_equal(small.extract(given[::-1]), together[::-1])
    for part in (slice(0, 0), slice(0, 1), slice(5, 12), slice(22, 23)):
        np.testing.assert_array_equal(small.extract(given[part]), together[part])
    with pytest.raises(ValueError, match="expected images of uint8"):
        small.extract(given.astype(np.float32))


@here
def test_calibrated_once_and_a_feature_space_of_its_own(small, cache, monkeypatch):
    told = small.describe()
    assert told["precision"] == "int8"
    assert told["int8"]["photos"] == 48
    json.dumps(told)
    monkeypatch.setattr(quantised, "_arrays", lambda *_: pytest.fail("quantised again"))
    assert extractor("int8").calibrated(photos(0)).describe() == told
    with pytest.raises(pytest.fail.Exception, match="quantised again"):
        extractor("int8").calibrated(photos(2))


@pytest.mark.slow
@here
def test_a_damaged_network_in_the_cache_is_made_again(cache, small):
    before = small.extract(photos(1, 4))
    path = small.folder / "network-int8.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    again = extractor("int8").calibrated(photos(0))
    np.testing.assert_allclose(again.extract(photos(1, 4)), before, atol=1e-4)


@pytest.mark.slow
@here
def test_a_network_that_no_longer_tells_photos_apart_is_refused(cache):
    # with random weights, values become smaller from layer to layer, until int8 has no step left
    choice = BackboneChoice(weights="none", pixels=PIXELS)
    lost = BottleneckExtractor(choice, BottleneckSettings("openvino", "int8"))
    with pytest.raises(RunError, match=r"does not bear int8: the correlation .* is 0.00 on 48 training photos"):
        lost.calibrated(photos(0))


@here
def test_what_int8_changes_much_is_said(small, tmp_path):
    small.save(tmp_path)
    record = json.loads((tmp_path / "network.json").read_text())
    assert 0.9 < record["agreement"] < 1
    assert len(quantised.QuantisedExtractor(tmp_path).notes) == 1
    record["agreement"] = 0.72
    (tmp_path / "network.json").write_text(json.dumps(record))
    assert "is 0.72" in quantised.QuantisedExtractor(tmp_path).notes[1]


def test_without_calibration_nothing_is_computed():
    if settings.why_not_openvino() or nncf_version() is None:
        pytest.skip("not here")
    plain = extractor("int8")
    assert plain.calibration == 600
    assert extractor("float32").calibration == 0
    with pytest.raises(InputError, match="has not been calibrated"):
        plain.extract(photos(0, 1))
    with pytest.raises(InputError, match="none can be read"):
        plain.calibrated(photos(0, 0))


def test_photos_are_drawn_by_the_seed_and_those_that_cannot_be_read_are_passed_over():
    encoded = Kept(jpegs(90))
    encoded[3] = b""
    encoded[50] = b"not a photo"
    rows, decoding = np.arange(80), Decoding(16, "pad", 1)
    drawn = drawn_photos(encoded, rows, 60, decoding, 0)
    assert drawn.shape == (60, 16, 16, 3)
    np.testing.assert_array_equal(drawn, drawn_photos(encoded, rows, 60, decoding, 0))
    assert (drawn != drawn_photos(encoded, rows, 60, decoding, 1)).any()
    assert len(drawn_photos(encoded, rows, 600, decoding, 0)) == 78
    assert drawn_photos(encoded, rows[3:4], 5, decoding, 0).shape == (0, 16, 16, 3)
    later = drawn_photos(Kept([*encoded[:80], b""]), rows, 60, decoding, 0)
    np.testing.assert_array_equal(drawn, later)  # what is not in `rows` is not looked at


def test_auto_takes_int8_only_where_the_user_allows_it(monkeypatch):
    monkeypatch.setattr(settings, "why_not_openvino", lambda: "")
    monkeypatch.setattr(settings, "nncf_version", lambda: "3.4")
    for flags, settled in (("avx2 avx_vnni", "int8"), ("avx512_vnni", "int8"), ("amx_int8", "int8"), ("avx2", None)):
        monkeypatch.setattr(processor, "cpuinfo", lambda flags=flags: {"flags": flags})
        assert BottleneckSettings().settle().precision == "float32"
        assert BottleneckSettings(allow_int8=True).settle().precision == (settled or "float32")
        assert BottleneckSettings(precision="int8").settle() == Engine("openvino", "int8")
    monkeypatch.setattr(processor, "cpuinfo", lambda: {"flags": "avx512_vnni"})
    monkeypatch.setattr(settings, "nncf_version", lambda: None)
    assert BottleneckSettings(allow_int8=True).settle().precision == "float32"
    with pytest.raises(InputError, match="the package nncf is not installed") as error:
        BottleneckSettings(precision="int8").settle()
    assert "shelfbench[int8]" in error.value.remedy
    with pytest.raises(InputError, match="Keras computes bottlenecks in float32"):
        BottleneckSettings("keras", "int8")
    with pytest.raises(InputError, match="allow_int8 is 1"):
        BottleneckSettings(allow_int8=1)


def test_the_record_of_who_does_not_use_it_stays_as_it_was():
    assert as_record(BottleneckSettings()) == {"engine": "auto", "precision": "auto"}
    assert as_record(BottleneckSettings(allow_int8=True))["allow_int8"] is True


def changed(arrays, **new):
    return {**arrays, **{name: np.frombuffer(value, np.uint8) for name, value in new.items()}}


HOSTILE = {
    "another kind of file": lambda arrays: changed(arrays, graph=b"\x08\x07\x12\x07pytorch"),
    "a document type": lambda arrays: changed(
        arrays,
        graph=b'<?xml version="1.0"?><!DOCTYPE net [<!ENTITY a "b">]>' + arrays["graph"].tobytes().split(b"?>", 1)[1],
    ),
    "endless nesting": lambda arrays: changed(arrays, graph=b'<?xml version="1.0"?>' + b"<net>" * 10_000),
    "half a description": lambda arrays: changed(arrays, graph=arrays["graph"].tobytes()[:-500]),
    "numbers that are missing": lambda arrays: changed(arrays, numbers=arrays["numbers"].tobytes()[:-5000]),
    "another size": lambda arrays: changed(
        arrays, graph=arrays["graph"].tobytes().replace(b"16,64,64,3", b"16,32,32,3")
    ),
    "a million images at once": lambda arrays: changed(
        arrays, graph=arrays["graph"].tobytes().replace(b"16,64,64,3", b"4000000,64,64,3")
    ),
    "an operation of a stranger": lambda arrays: changed(
        arrays, graph=arrays["graph"].tobytes().replace(b'type="Convolution"', b'type="Evil"', 1)
    ),
    "another array": lambda arrays: {**arrays, "code": np.zeros(3, np.uint8)},
    "numbers of another type": lambda arrays: {**arrays, "numbers": arrays["numbers"].astype(np.float32)},
}


@here
@pytest.mark.parametrize("fault", HOSTILE)
def test_files_of_strangers(small, tmp_path, fault):
    arrays = load_file(small.folder / "network-int8.safetensors")
    save_file(HOSTILE[fault](arrays), tmp_path / "network-int8.safetensors")
    record = json.loads((small.folder / "network.json").read_text())
    record["sha256"] = quantised.file_sha256(tmp_path / "network-int8.safetensors")
    (tmp_path / "network.json").write_text(json.dumps(record))
    with pytest.raises(InputError, match="contains no readable network in int8") as error:
        load_features(tmp_path).extract(photos(0, 1))
    assert "\n" not in str(error.value)


@here
def test_a_network_that_may_never_end_is_refused():
    from openvino import Model
    from openvino import opset13 as ops

    images = ops.parameter([1, 8, 8, 3], np.uint8)
    features = ops.reduce_mean(ops.convert(images, "f32"), ops.constant([1, 2], np.int64), False)
    before = ops.parameter([1, 3], np.float32)
    after, on = ops.add(before, ops.constant(np.ones((1, 3), np.float32))), ops.constant(np.array([True]))
    loop = ops.loop(ops.constant(np.int64(2**40)), ops.constant(np.array(True)))
    loop.set_function(Model([ops.result(after), ops.result(on)], [before]))
    loop.set_special_body_ports([-1, 1])
    loop.set_merged_input(before, features.output(0), after.output(0))
    endless = Model([ops.result(loop.get_iter_value(after.output(0), -1))], [images])
    with pytest.raises(ValueError, match="it contains Loop"):
        quantising.from_arrays(quantising.to_arrays(endless), 8, 3)


@here
@pytest.mark.parametrize("wrong", [{"engine": {}}, {"sha256": ""}, {"description": []}, {"pixels": None}, {"name": 1}])
def test_records_of_strangers(small, tmp_path, wrong):
    small.save(tmp_path)
    record = json.loads((tmp_path / "network.json").read_text())
    (tmp_path / "network.json").write_text(json.dumps({**record, **wrong}))
    if "name" in wrong:
        assert load_features(tmp_path).name == "1"
        return
    with pytest.raises(InputError, match="contains no readable network in int8"):
        load_features(tmp_path)


@here
def test_nothing_is_reported_or_shown():
    code = """
import sys
import shelfbench_deep.engines.quantising as quantising
quantising._nncf()
print(any(name.startswith("openvino_telemetry.") for name in sys.modules))
"""
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (told.stdout, told.stderr) == ("False\n", "")


def other_networks():
    """A network of one convolution in ONNX, and a small transformer of timm."""
    return {"onnx": {"end": "row"}, "onnx of one image": {"batch": 1}, "timm": "timm:vit_tiny_patch16_224"}


@here
@pytest.mark.parametrize("kind", ["onnx", "onnx of one image", pytest.param("timm", marks=pytest.mark.slow)])
def test_networks_that_keras_does_not_build(cache, tmp_path, kind):
    name = other_networks()[kind]
    if kind == "timm":
        pytest.importorskip("timm")
        choice = BackboneChoice(name, "none", 224)
    else:
        choice = BackboneChoice(str(graph(tmp_path / "net.onnx", side=PIXELS, **name)))
    onnx = OnnxSettings(mean=(120.0, 110.0, 100.0), std=(50.0, 60.0, 70.0))
    made = [
        network_features(choice, {"bottleneck": BottleneckSettings("openvino", precision), "onnx": onnx}).features
        for precision in ("float32", "int8")
    ]
    assert made[1].calibration == 600
    with pytest.raises(InputError, match="has not been calibrated"):
        made[1].extract(np.zeros((1, made[1].pixels, made[1].pixels, 3), np.uint8))
    given = photos(5, 24).repeat(made[0].pixels // PIXELS + 1, axis=1).repeat(made[0].pixels // PIXELS + 1, axis=2)
    given = np.ascontiguousarray(given[:, : made[0].pixels, : made[0].pixels])
    small = made[1].calibrated(given)
    exact, close = made[0].extract(given), small.extract(given)
    cosine = (exact * close).sum(1) / np.linalg.norm(exact, axis=1) / np.linalg.norm(close, axis=1)
    assert 0.9 < cosine.min() < 1 - 1e-9
    assert getattr(small, "view", None) == getattr(made[1], "view", None)
    small.save(tmp_path)
    np.testing.assert_array_equal(load_features(tmp_path).extract(given), close)
