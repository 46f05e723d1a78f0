"""Small ONNX networks in every form in which strangers bring them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

KINDS = {"float32": TensorProto.FLOAT, "float16": TensorProto.FLOAT16, "uint8": TensorProto.UINT8}
SIDE, CHANNELS = 16, 6


@dataclass(frozen=True, kw_only=True)
class Form:
    """What a network looks like.

    Attributes
    ----------
    kind, layout, batch, side
        Of its input.
    end : {"row", "map", "tokens", "scores", "both"}
        What comes out: one row per image, a map in the input's layout, one token per place, scores of a dense layer on
        the row, or tokens and the row.
    metadata : dict
    external : bool
        Keep the weights in ``PATH.data``.
    extra : list of str
        Operators after the row, which is then the output, by ``domain:name``.
    seed : int
        Of the weights.
    """

    kind: str = "float32"
    layout: str = "NCHW"
    end: str = "row"
    batch: int | str = "n"
    side: int | str = SIDE
    metadata: dict[str, str] = field(default_factory=dict)
    external: bool = False
    extra: list[str] = field(default_factory=list)
    seed: int = 0


def graph(path: Path, **form: Any) -> Path:
    """Write a network of one convolution, with the attributes of `Form`."""
    told = Form(**form)
    kind, layout, end, batch, extra = told.kind, told.layout, told.end, told.batch, told.extra
    rng = np.random.default_rng(told.seed)
    dtype = np.float16 if kind == "float16" else np.float32
    weights = {
        "kernel": rng.normal(0, 0.3, (CHANNELS, 3, 4, 4)).astype(dtype),
        "dense": rng.normal(0, 1, (CHANNELS, 5)).astype(dtype),
    }
    nodes, value = [], "pixels"

    def add(op: str, *inputs: str, to: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(op, list(inputs), [to], **attributes))
        return to

    if kind == "uint8":
        nodes.append(helper.make_node("Cast", [value], ["cast"], to=TensorProto.FLOAT))
        weights |= {"half": np.float32([127.5])}
        value = add("Div", add("Sub", "cast", "half", to="centred"), "half", to="scaled")
    if layout == "NHWC":
        value = add("Transpose", value, to="channels_first", perm=[0, 3, 1, 2])
    value = add("Relu", add("Conv", value, "kernel", to="conv", strides=[4, 4]), to="relu")
    row = add("Flatten", add("GlobalAveragePool", value, to="pooled"), to="row")
    weights |= {"shape": np.int64([0, CHANNELS, -1])}
    outputs = [row]
    if end == "map":
        outputs = [add("Transpose", value, to="map", perm=[0, 2, 3, 1]) if layout == "NHWC" else value]
    elif end in ("tokens", "both"):
        tokens = add("Transpose", add("Reshape", value, "shape", to="places"), to="tokens", perm=[0, 2, 1])
        outputs = [tokens] if end == "tokens" else [tokens, row]
    elif end == "scores":
        outputs = [add("MatMul", row, "dense", to="scores")]
    for number, name in enumerate(extra):
        domain, _, op = name.partition(":")
        nodes.append(helper.make_node(op, [row], [f"extra{number}"], domain=domain))
        outputs = [row := f"extra{number}"]
    place = [batch, 3, told.side, told.side] if layout == "NCHW" else [batch, told.side, told.side, 3]
    ranks = {row: 2, "scores": 2, "tokens": 3}
    model = helper.make_model(
        helper.make_graph(
            nodes,
            "small",
            [helper.make_tensor_value_info("pixels", KINDS[kind], place)],
            [
                helper.make_tensor_value_info(
                    name,
                    KINDS["float16" if kind == "float16" else "float32"],
                    [batch, *"abc"[: ranks.get(name, 4) - 1]],
                )
                for name in outputs
            ],
            [numpy_helper.from_array(array, name) for name, array in weights.items()],
        ),
        opset_imports=[
            helper.make_opsetid("", 17),
            *(helper.make_opsetid(domain, 1) for domain in {name.partition(":")[0] for name in extra} - {""}),
        ],
        ir_version=8,
    )
    helper.set_model_props(model, told.metadata)
    if told.external:
        onnx.save_model(
            model,
            path,
            save_as_external_data=True,
            location=f"{path.name}.data",
            size_threshold=0,
            convert_attribute=True,
        )
    else:
        onnx.save_model(model, path)
    return path


def computed(path: Path, images: np.ndarray, output: str = "", **prepared: Any) -> np.ndarray:
    """Compute what a network returns for images, by ONNX's own reference in NumPy, one image after the other.

    Parameters
    ----------
    path : Path
    images : ndarray of uint8, shape (n, side, side, 3)
    output : str
        By default the first.
    **prepared
        ``mean``, ``std``, ``channels``, ``layout`` and ``kind``.

    Returns
    -------
    ndarray
    """
    from onnx.reference import ReferenceEvaluator

    evaluator = ReferenceEvaluator(onnx.load(path))
    kind = prepared.get("kind", "float32")
    rows = []
    for image in images:
        values: Any = image[..., ::-1] if prepared.get("channels") == "bgr" else image
        if kind != "uint8":
            values = (values.astype(np.float32) - prepared["mean"]) / prepared["std"]
        if prepared.get("layout", "NCHW") == "NCHW":
            values = values.transpose(2, 0, 1)
        found = evaluator.run([output] if output else None, {"pixels": values[None].astype(kind)})
        rows.append(np.asarray(found[0], np.float32))
    return np.concatenate(rows)
