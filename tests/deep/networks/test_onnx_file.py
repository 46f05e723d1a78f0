"""ONNX files as strangers bring them: what they say is read, and what is wrong with them is one line."""

import json

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from shelfbench.base.errors import InputError
from shelfbench.data.view import View
from shelfbench_deep.networks.onnx_file import find_onnx
from shelfbench_deep.networks.onnx_preprocessing import preprocessing_of
from shelfbench_deep.networks.onnx_settings import OnnxSettings
from shelfbench_deep.networks.onnx_wire import read_graph
from tests.helpers.onnx_graphs import graph


@pytest.mark.parametrize(
    "form", [{}, {"layout": "NHWC", "kind": "uint8"}, {"external": True}, {"end": "both"}], ids=str
)
def test_the_file_is_read_as_the_onnx_package_reads_it(tmp_path, form):
    path = graph(tmp_path / "net.onnx", metadata={"mean": "1, 2, 3", "author": "ü"}, **form)
    ours, theirs = read_graph(path), onnx.load(path, load_external_data=False)

    def values(entries):
        return [
            (
                entry.name,
                entry.type.tensor_type.elem_type,
                tuple(d.dim_value or d.dim_param for d in entry.type.tensor_type.shape.dim),
            )
            for entry in entries
        ]

    assert [(v.name, v.kind, v.shape) for v in ours.inputs] == values(theirs.graph.input)
    assert [(v.name, v.kind, v.shape) for v in ours.outputs] == values(theirs.graph.output)
    assert [(n.op, n.domain, n.inputs, n.outputs) for n in ours.nodes] == [
        (n.op_type, n.domain, tuple(n.input), tuple(n.output)) for n in theirs.graph.node
    ]
    assert ours.constants == {tensor.name for tensor in theirs.graph.initializer}
    assert ours.metadata == {entry.key: entry.value for entry in theirs.metadata_props}
    assert ours.opset == theirs.opset_import[0].version
    stored = [tensor for tensor in theirs.graph.initializer if tensor.external_data]
    assert len(ours.external) == len(stored)
    for mine, tensor in zip(ours.external, stored, strict=True):
        told = {entry.key: entry.value for entry in tensor.external_data}
        assert mine.location == told["location"]
        assert mine.end == int(told.get("offset", 0)) + int(told["length"])


def test_operators_inside_nodes_are_seen(tmp_path):
    branch = helper.make_graph(
        [helper.make_node("Magic", [], ["x"], domain="org.example")],
        "branch",
        [],
        [helper.make_empty_tensor_value_info("x")],
    )
    node = helper.make_node("If", ["pixels"], ["y"], then_branch=branch, else_branch=branch)
    pixels = helper.make_tensor_value_info("pixels", TensorProto.FLOAT, [1, 3, 8, 8])
    model = helper.make_model(helper.make_graph([node], "g", [pixels], [helper.make_empty_tensor_value_info("y")]))
    onnx.save_model(model, tmp_path / "net.onnx")
    assert {("org.example", "Magic"), ("", "If")} <= read_graph(tmp_path / "net.onnx").operators


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_files_are_one_line(tmp_path, data):
    whole = graph(tmp_path / "net.onnx", external=False).read_bytes()
    damaged = bytearray(whole[: data.draw(st.integers(0, len(whole)))])
    for _ in range(data.draw(st.integers(0, 3)) if damaged else 0):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "damaged.onnx"
    path.write_bytes(damaged)
    try:
        file = find_onnx(str(path))
        file.output(file.input().layout and "")
    except InputError as error:
        assert str(path) in str(error)
        assert "\n" not in str(error)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty; export or download it again"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "placeholder of Git LFS"),
        (b"PK\x03\x04rest", "is an archive"),
        (b"<!DOCTYPE html>", "is a web page"),
        (b"\x08\x08", "it contains no graph"),
        (b"hello, world", "cannot be read as ONNX"),
    ],
)
def test_other_files(tmp_path, content, says):
    path = tmp_path / "net.onnx"
    path.write_bytes(content)
    with pytest.raises(InputError, match=says):
        find_onnx(str(path))


def test_places(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my nets").mkdir()
    graph(tmp_path / "my nets" / "net.onnx")
    for name in ("~/my nets/net.onnx", "my nets/net.onnx", str(tmp_path / "my nets" / "net.onnx")):
        assert find_onnx(name).graph.nodes
    with pytest.raises(InputError, match=r"there is no network at nothing\.onnx \(looked for in /"):
        find_onnx("nothing.onnx")
    with pytest.raises(InputError, match=r"is a folder; name a file in it, such as .*my nets/net\.onnx"):
        find_onnx(str(tmp_path / "my nets"))


def test_weights_in_another_file(tmp_path):
    path = graph(tmp_path / "net.onnx", external=True)
    data = tmp_path / "net.onnx.data"
    whole = data.read_bytes()
    data.write_bytes(whole[:-10])
    with pytest.raises(InputError, match=r"net\.onnx\.data has [\d,]+ bytes, and net\.onnx looks for weights up to"):
        find_onnx(str(path))
    data.unlink()
    with pytest.raises(InputError, match=r"net\.onnx\.data is missing, and holds weights of net\.onnx"):
        find_onnx(str(path))
    for place in ("../net.onnx.data", "/etc/passwd", "..\\net.onnx.data"):
        model = onnx.load(path, load_external_data=False)
        for entry in model.graph.initializer[0].external_data:
            if entry.key == "location":
                entry.value = place
        (tmp_path / "odd.onnx").write_bytes(model.SerializeToString())
        with pytest.raises(InputError, match="outside its folder"):
            find_onnx(str(tmp_path / "odd.onnx"))


@pytest.mark.parametrize(
    ("shape", "kind", "says"),
    [
        (["n", 3, 32, 16], TensorProto.FLOAT, "takes images of 32 x 16 pixels"),
        (["n", 1, 28, 28], TensorProto.FLOAT, "takes images of 1 channels"),
        (["n", 10], TensorProto.FLOAT, r"takes float32 of shape \(\?, 10\), not images"),
        (["n", 7], TensorProto.INT64, "takes int64"),
    ],
)
def test_inputs_that_are_no_photos(tmp_path, shape, kind, says):
    value = helper.make_tensor_value_info("x", kind, shape)
    out = helper.make_tensor_value_info("y", kind, shape)
    model = helper.make_model(helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", [value], [out]))
    onnx.save_model(model, tmp_path / "net.onnx")
    with pytest.raises(InputError, match=says):
        find_onnx(str(tmp_path / "net.onnx")).input()


def test_layouts_that_only_names_tell(tmp_path):
    for shape, layout in (
        (["batch", "num_channels", "height", "width"], "NCHW"),
        (["a", "b", "c", "d"], ""),
        (["n", 3, "h", 3], ""),
    ):
        value = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
        out = helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)
        model = helper.make_model(helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", [value], [out]))
        onnx.save_model(model, tmp_path / "net.onnx")
        assert find_onnx(str(tmp_path / "net.onnx")).input().layout == layout


def test_several_outputs_are_asked_about(tmp_path):
    file = find_onnx(str(graph(tmp_path / "net.onnx", end="both")))
    with pytest.raises(
        InputError, match=r"2 outputs \(tokens: tokens, row: one row per image\); .*onnx\.output=tokens"
    ):
        file.output("")
    assert file.output("row") == "row"
    with pytest.raises(InputError, match="no output 'rows'; its outputs: tokens, row"):
        file.output("rows")


NOTHING = OnnxSettings()


def told(path, metadata=None, kind="float32", given=NOTHING):
    return preprocessing_of(path, kind, metadata or {}, given)


def test_unclear_preprocessing_is_asked_with_the_two_common_answers(tmp_path):
    with pytest.raises(InputError) as caught:
        told(tmp_path / "net.onnx")
    message = str(caught.value)
    assert "--set 'onnx.mean=[123.675, 116.28, 103.53]' --set 'onnx.std=[58.395, 57.12, 57.375]'" in message
    assert "--set onnx.mean=127.5 --set onnx.std=127.5" in message
    assert told(tmp_path / "net.onnx", kind="uint8").std == (1, 1, 1)


@pytest.mark.parametrize(
    ("metadata", "mean", "std", "channels"),
    [
        ({"Image.NominalPixelRange": "Normalized_1_1", "Image.BitmapPixelFormat": "Bgr8"}, 127.5, 127.5, "bgr"),
        ({"Image.NominalPixelRange": "NominalRange_0_255"}, 0, 1, "rgb"),
        ({"Image.NominalPixelRange": "Normalized_0_1"}, 0, 255, "rgb"),
        ({"mean": "[0.5, 0.5, 0.5]", "std": "0.5"}, 127.5, 127.5, "rgb"),
        ({"image_mean": "123 123 123", "image_std": "1"}, 123, 1, "rgb"),
    ],
)
def test_metadata(tmp_path, metadata, mean, std, channels):
    found = told(tmp_path / "net.onnx", metadata)
    assert found.mean == (mean,) * 3
    assert found.std == (std,) * 3
    assert found.channels == channels


@pytest.mark.parametrize(
    "metadata", [{"mean": "0", "std": "1"}, {"mean": "0.5"}, {"mean": "half", "std": "half"}, {"mean": "1", "std": "0"}]
)
def test_unclear_metadata(tmp_path, metadata):
    with pytest.raises(InputError, match="which is not clear"):
        told(tmp_path / "net.onnx", metadata)


def test_the_study_comes_first_and_means_from_blue_to_red_are_asked_about(tmp_path):
    given = OnnxSettings(mean=(1.0, 2.0, 3.0), std=(4.0,))
    found = told(tmp_path / "net.onnx", {"mean": "0.5", "std": "0.5", "channels": "BGR"}, given=given)
    assert (found.mean, found.std, found.channels) == ((1, 2, 3), (4, 4, 4), "bgr")
    caffe = OnnxSettings(mean=(103.939, 116.779, 123.68), std=(1.0,))
    with pytest.raises(InputError, match="blue, green and red; say which"):
        told(tmp_path / "net.onnx", given=caffe)


HF = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225], "rescale_factor": 1 / 255}


@pytest.mark.parametrize(
    ("config", "pixels", "view", "mean"),
    [
        (
            {**HF, "size": {"shortest_edge": 256}, "do_center_crop": True, "crop_size": {"height": 224, "width": 224}}
            | {"resample": 3},
            224,
            View(fit="center", resample="bicubic", crop=0.875),
            (123.675, 116.28, 103.53),
        ),
        (
            {"size": 224, "image_mean": [0.5] * 3, "image_std": [0.5] * 3, "resample": 2},
            224,
            View(fit="squash", resample="bilinear", crop=1.0),
            (127.5,) * 3,
        ),
        (
            {"size": {"height": 384, "width": 384}, "do_normalize": False, "do_rescale": False},
            384,
            View(fit="squash", resample="bilinear", crop=1.0),
            (0.0,) * 3,
        ),
        (
            {**HF, "size": {"shortest_edge": 224}, "crop_pct": 0.875, "resample": 3},
            224,
            View(fit="center", resample="bicubic", crop=0.875),
            (123.675, 116.28, 103.53),
        ),
        ({**HF, "do_resize": False}, None, None, (123.675, 116.28, 103.53)),
    ],
)
@pytest.mark.parametrize("above", [False, True])
def test_a_processor_of_hugging_face_beside_it(tmp_path, config, pixels, view, mean, above):
    folder = tmp_path / "onnx" if above else tmp_path
    folder.mkdir(exist_ok=True)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(config))
    found = told(folder / "model.onnx")
    assert found.pixels == pixels
    assert (View(**found.view) if found.view else None) == view
    np.testing.assert_allclose(found.mean, mean, rtol=1e-6)
    assert found.channels == "rgb"


@pytest.mark.parametrize(
    ("mean", "std", "said"),
    [
        ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375), False),
        ((123.7, 116.3, 103.5), (58.4, 57.1, 57.4), False),
        ((127.5,), (127.5,), True),
    ],
)
def test_a_study_that_overrules_the_processor_says_so(tmp_path, mean, std, said):
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(HF))
    found = told(tmp_path / "net.onnx", given=OnnxSettings(mean=mean, std=std))
    assert found.source == "the section [onnx]"
    assert ("[123.67, 116.28, 103.53]" in found.otherwise) is said
    assert bool(found.otherwise) is said


@pytest.mark.parametrize("shorter", range(150, 600, 7))
def test_the_share_of_a_crop_gives_back_the_shorter_side(tmp_path, shorter):
    config = {**HF, "size": {"shortest_edge": shorter}, "do_center_crop": True, "crop_size": 140}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(config))
    view = View(**told(tmp_path / "net.onnx").view)
    assert min(view.place((1000, 1500), 140).size) == shorter


@pytest.mark.parametrize(
    "config",
    [
        "{",
        "[]",
        {},
        {"image_mean": [0.5], "image_std": "x"},
        {**HF, "include_top": True},
        {**HF, "image_std": [0, 0, 0]},
        {**HF, "size": {"height": 10, "width": 20}},
        {**HF, "size": -1},
        {**HF, "rescale_factor": 0},
    ],
    ids=str,
)
def test_processors_that_are_not_clear(tmp_path, config):
    path = tmp_path / "preprocessor_config.json"
    path.write_text(config if isinstance(config, str) else json.dumps(config))
    with pytest.raises(InputError, match=r"preprocessor_config\.json"):
        told(tmp_path / "net.onnx")


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"mean": (0.5,), "std": (0.5,)}, r"from 0 to 1, it seems; .*onnx\.mean=\[127\.5\]"),
        ({"mean": (127.5,)}, "without onnx.std"),
        ({"mean": (1.0, 2.0), "std": (1.0,)}, "one for each of three channels"),
        ({"mean": (1.0,), "std": (0.0,)}, "numbers above 0"),
        ({"pool": "max"}, "choose from: cls, mean"),
        ({"channels": "RGB"}, "choose from: rgb, bgr"),
    ],
)
def test_settings_are_checked(values, says):
    with pytest.raises(InputError, match=says):
        OnnxSettings(**values)


def test_weights_in_the_defaults_of_a_function_are_looked_for_too(tmp_path):
    path = graph(tmp_path / "net.onnx")
    model = onnx.load(path)
    default = onnx.helper.make_attribute("value", onnx.numpy_helper.from_array(np.zeros(3, np.float32)))
    default.t.ClearField("raw_data")
    default.t.data_location = onnx.TensorProto.EXTERNAL
    entry = default.t.external_data.add()
    entry.key, entry.value = "location", "/etc/passwd"
    function = model.functions.add()
    function.name, function.domain = "own", "own"
    function.attribute_proto.append(default)
    path.write_bytes(model.SerializeToString())
    with pytest.raises(InputError, match="outside its folder"):
        find_onnx(str(path))
