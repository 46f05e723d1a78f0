"""Whether Keras is installed, and which engine it runs on, found out without loading either."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from shelfbench.base.errors import NotInstalled
from shelfbench.base.storage import load_json

_DISTRIBUTIONS = {
    "tensorflow": ("tensorflow", "tensorflow-cpu", "tensorflow-intel", "tensorflow-macos", "tf-nightly"),
    "jax": ("jax",),
    "torch": ("torch",),
}


NEEDS_KERAS = "python -m pip install 'shelfbench[deep]'"


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


def keras_installed() -> bool:
    """Tell whether Keras is installed, with whatever engine, without loading it."""
    return find_spec("keras") is not None


def check_keras(what: str) -> None:
    """Make sure that Keras and its engine are installed, without loading them.

    Parameters
    ----------
    what : str
        What needs it, for the message: ``a 2NN``.

    Raises
    ------
    NotInstalled
        If one of them is missing.
    """
    if not keras_installed():
        raise NotInstalled(f"{what} needs Keras, which is not installed", NEEDS_KERAS)
    engine = framework().engine
    if engine in _DISTRIBUTIONS and find_spec(engine) is None:
        others = [name for name in _DISTRIBUTIONS if name != engine and find_spec(name) is not None]
        extra = "deep" if engine == "tensorflow" else engine
        otherwise = f", or set KERAS_BACKEND={others[0]}, which is installed" if others else ""
        raise NotInstalled(
            f"{what} needs Keras, which is set to run on {engine}, and {engine} is not installed",
            f"python -m pip install 'shelfbench[{extra}]'{otherwise}",
        )


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
