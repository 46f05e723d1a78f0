"""How what an ONNX network returns becomes one row of features per image."""

from __future__ import annotations

import math
from pathlib import Path

from shelfbench.base.errors import InputError


def pooling(shape: tuple[int, ...], wanted: str, layout: str, path: Path) -> tuple[str, str]:
    """Choose how the network's output becomes one row per image.

    Parameters
    ----------
    shape : tuple of int
        Of the output for some images.
    wanted : {"", "cls", "mean"}
    layout : {"NCHW", "NHWC"}
        Of the input.
    path : Path
        For messages.

    Returns
    -------
    pool : str
        See `shelfbench_deep.engines.onnx.OnnxPlan`.
    says : str
        What was chosen, for the screen; empty if there was nothing to choose.

    Raises
    ------
    InputError
        If it is unclear, or `wanted` does not fit.
    """
    if len(shape) == 2:
        return "", ""
    if len(shape) == 4:
        if wanted == "cls":
            raise InputError(f"{path} returns a map of shape {shape}, which has no first token", "set onnx.pool=mean")
        first, last = shape[2] == shape[3], shape[1] == shape[2]
        if first == last and shape[1:] != (1, 1, 1):
            if not first:
                raise InputError(f"{path} returns values of shape {shape}", "choose another with onnx.output")
            kind = layout.lower()  # as many channels as rows: the output is as the input
        else:
            kind = "nchw" if first else "nhwc"
        rows = shape[2] if kind == "nchw" else shape[1]
        return f"mean_{kind}", f"mean of a map of {rows} x {rows}" if rows > 1 else ""
    if len(shape) != 3:
        raise InputError(f"{path} returns values of shape {shape}", "choose another with onnx.output")
    count = shape[1]
    if wanted:
        return wanted, f"{'the first' if wanted == 'cls' else 'mean'} of {count} tokens, as onnx.pool says"
    if math.isqrt(count) ** 2 == count and count > 1:
        return "mean", f"mean of {count} tokens, as many as a square of patches has (onnx.pool=cls takes the first)"
    if count > 1 and math.isqrt(count - 1) ** 2 == count - 1:
        one = "the first of {0} tokens, one more than a square of patches has (onnx.pool=mean takes their mean)"
        return "cls", one.format(count)
    raise InputError(
        f"{path} returns {count} tokens per image, of {shape[2]} numbers each",
        "say what stands for the image: --set onnx.pool=cls for the first token, or onnx.pool=mean for their mean",
    )
