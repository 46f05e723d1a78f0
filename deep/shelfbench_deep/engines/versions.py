"""Which Keras runs on which engine, found out without loading either."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from shelfbench.base.storage import load_json

_DISTRIBUTIONS = {
    "tensorflow": ("tensorflow", "tensorflow-cpu", "tensorflow-intel", "tensorflow-macos", "tf-nightly"),
    "jax": ("jax",),
    "torch": ("torch",),
}


@dataclass(frozen=True)
class Framework:
    """Keras, the engine below it, and their versions."""

    engine: str
    engine_version: str
    keras_version: str


def framework() -> Framework:
    """Find the engine by Keras' own rule: ``KERAS_BACKEND``, else its ``keras.json``, else TensorFlow."""
    if "keras" in sys.modules:
        engine = str(sys.modules["keras"].backend.backend())
    else:
        engine = os.environ.get("KERAS_BACKEND") or _configured()
    return Framework(engine, _version(*_DISTRIBUTIONS.get(engine, (engine,))), _version("keras"))


def openvino_version() -> str | None:
    """Version of the installed OpenVINO, found out without loading it; None if it is not installed."""
    return installed_version("openvino", "openvino-nightly")


def installed_version(*distributions: str) -> str | None:
    """Version of the first of some distributions that is installed, found out without loading it; None without any."""
    found = _version(*distributions)
    return None if found == "unknown" else found


def nncf_version() -> str | None:
    """Version of the installed NNCF, which quantises networks, found out without loading it; None without it."""
    found = _version("nncf")
    return None if found == "unknown" else found


def torch_version() -> str | None:
    """Version of the installed PyTorch, found out without loading it; None if it is not installed."""
    return installed_version("torch")


def keras_home() -> Path:
    """Folder in which Keras keeps its settings and downloads (``KERAS_HOME`` or ``~/.keras``)."""
    if given := os.environ.get("KERAS_HOME"):
        return Path(given).expanduser()
    home = Path.home()
    return (home if os.access(home, os.W_OK) else Path("/tmp")) / ".keras"


def _configured() -> str:
    try:
        settings = load_json(keras_home() / "keras.json")
    except (OSError, ValueError):
        settings = {}
    return str(settings.get("backend", "tensorflow"))


def _version(*distributions: str) -> str:
    for name in distributions:
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return "unknown"
