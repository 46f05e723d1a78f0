"""The networks that Keras builds, by the names that a study gives them."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import numpy as np

from shelfbench.base.errors import InputError
from shelfbench_deep.networks.applications import APPLICATIONS
from shelfbench_deep.networks.network import PREPROCESSINGS, Network, caffe, lite, symmetric

PREFIX = "keras:"


def _paper(preprocess: Callable[[np.ndarray], np.ndarray], **values: object) -> Network:
    return Network(preprocess=preprocess, preprocessing=PREPROCESSINGS[preprocess], **values)  # type: ignore[arg-type]


# Those of the papers, with names of their own.
NETWORKS = {
    "efficientnet_lite0": _paper(lite, application="", dimensions=1280, pixels=224, least=32, batch=64),
    "inception_v3": _paper(
        symmetric,
        application="InceptionV3",
        dimensions=2048,
        pixels=299,
        least=75,
        batch=32,
        file="inception_v3_weights_tf_dim_ordering_tf_kernels_notop.h5",
        folder="inception_v3",
        digest="bcbd6486424b2319ff4ef7d526e38f63",
    ),
    "xception": _paper(
        symmetric,
        application="Xception",
        dimensions=2048,
        pixels=299,
        least=71,
        batch=32,
        file="xception_weights_tf_dim_ordering_tf_kernels_notop.h5",
        folder="xception",
        digest="b0042744bf5b25fce3cb969f33bebb97",
    ),
    "vgg16": _paper(
        caffe,
        application="VGG16",
        dimensions=512,
        pixels=224,
        least=32,
        batch=16,
        file="vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5",
        folder="vgg16",
        digest="6d6bbae143d832006294945121d1f1fc",
    ),
    "resnet152": _paper(
        caffe,
        application="ResNet152",
        dimensions=2048,
        pixels=224,
        least=32,
        batch=32,
        file="resnet152_weights_tf_dim_ordering_tf_kernels_notop.h5",
        folder="resnet",
        digest="ee4c566cf9a93f14d82f913c2dc6dd0c",
    ),
}
KNOWN = {**NETWORKS, **{PREFIX + name: network for name, network in APPLICATIONS.items()}}
"""All networks, by the names under which their features are stored."""

_OWN_NAMES = {network.application: name for name, network in NETWORKS.items() if network.application}


def find_network(name: str) -> tuple[str, Network]:
    """Find a network by its name in a study.

    Parameters
    ----------
    name : str
        A key of `NETWORKS`, or ``keras:NAME`` for any network of ``keras.applications``.

    Returns
    -------
    str
        The name under which its features are stored: ``keras:Xception`` is ``xception``.
    Network

    Raises
    ------
    InputError
        If there is none; the message suggests the nearest name.
    """
    wanted = name.removeprefix(PREFIX)
    if name.startswith(PREFIX) and wanted in _OWN_NAMES:
        name = _OWN_NAMES[wanted]
    if name in KNOWN:
        return name, KNOWN[name]
    if not name.startswith(PREFIX) and (folder := Path(name).expanduser()).is_dir():
        files = (
            file
            for pattern in ("[!.]*.onnx", "onnx/[!.]*.onnx", "[!.]*.keras")
            for file in sorted(folder.glob(pattern))
        )
        inside = ", ".join(islice(map(str, files), 4))
        raise InputError(f"the backbone {name} is a folder", f"name the file in it: {inside or '*.onnx or *.keras'}")
    keras = [PREFIX + one for one in sorted([*APPLICATIONS, *_OWN_NAMES])]
    by_lower = {one.removeprefix(PREFIX).lower(): one for one in [*keras, *NETWORKS]}
    close = difflib.get_close_matches(wanted.lower()[:100], by_lower, 1, cutoff=0.7)
    hint = f"did you mean {by_lower[close[0]]}?" if close else ""
    if name.startswith(PREFIX):
        raise InputError(f"keras.applications has no network {wanted!r}", hint or f"choose from: {', '.join(keras)}")
    others = "keras:NAME, timm:NAME, or the path of a network (*.onnx, *.keras)"
    raise InputError(f"unknown backbone {name!r}", f"{hint} choose from: {', '.join(NETWORKS)}, {others}".strip())
