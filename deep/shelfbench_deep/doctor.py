"""What would compute on this machine, for ``shelfbench doctor``: found out without loading any engine."""

from __future__ import annotations

from importlib.util import find_spec

from shelfbench.base.processor import has_accelerator
from shelfbench_deep.engines.versions import framework, openvino_version
from shelfbench_deep.features.settings import BottleneckSettings, why_not_openvino
from shelfbench_deep.heads.two_layer_settings import TwoLayerSettings

_NAMES = {"tensorflow": "TensorFlow", "jax": "JAX", "torch": "PyTorch", "openvino": "OpenVINO", "numpy": "NumPy"}


def uses() -> dict[str, str]:
    """Say what would compute each thing with the default settings.

    Returns
    -------
    dict of str to str
        From a task to an engine, its precision, and why if it is not the usual one.
    """
    keras = _keras()
    return {
        "features of networks": _features(keras),
        "2NN on features": _two_layer(keras),
        "training of networks": keras or "nothing here: it takes Keras (python -m pip install 'shelfbench[deep]')",
    }


def _keras() -> str:
    """Name Keras and what it runs on; empty if one of them is not installed."""
    here = framework()
    if find_spec("keras") is None or find_spec(here.engine) is None:
        return ""
    engine = _NAMES.get(here.engine, here.engine)
    return f"Keras {here.keras_version} on {engine} {here.engine_version}"


def _features(keras: str) -> str:
    if has_accelerator():
        other = "OpenVINO on the processor" if openvino_version() else "the processor"
        return f"{keras or 'Keras, which is missing,'} on the GPU if it sees it; else {other}"
    if reason := why_not_openvino():
        return f"{keras}, in float32 ({reason})" if keras else f"nothing here ({reason})"
    return f"OpenVINO {openvino_version()}, in {BottleneckSettings().settle().precision}"


def _two_layer(keras: str) -> str:
    if not keras:
        return "nothing here: it takes Keras (python -m pip install 'shelfbench[deep]')"
    if has_accelerator():
        return f"{keras} on the GPU if it sees it; else the processor"
    engine = TwoLayerSettings().settle("cpu")
    return f"{_NAMES.get(engine.name, engine.name)}, in {engine.precision}"
