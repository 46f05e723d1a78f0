"""What is installed of what shelfbench takes: packages, their versions and the extras; nothing is loaded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution, version
from importlib.util import find_spec

from packaging.requirements import InvalidRequirement, Requirement

NAME = "shelfbench"
# Engines and what they are for: the distribution, the module that is imported, and whether a CPU takes it by default.
ENGINES = {
    "OpenVINO": ("openvino", "openvino"),
    "Keras": ("keras", "keras"),
    "TensorFlow": ("tensorflow", "tensorflow"),
    "JAX": ("jax", "jax"),
    "PyTorch": ("torch", "torch"),
    "ONNX Runtime": ("onnxruntime", "onnxruntime"),
    "NNCF": ("nncf", "nncf"),
}
# Extras that are for those who work on shelfbench itself.
_INNER = ("test", "lint", "docs")
# What an extra is good for.
PURPOSES = {
    "deep": "networks of Keras on TensorFlow",
    "keras": "Keras without an engine",
    "jax": "Keras on JAX",
    "torch": "Keras on PyTorch",
    "gpu": "an NVIDIA GPU, through JAX",
    "gpu-tensorflow": "an NVIDIA GPU, through TensorFlow",
    "skimage": "scikit-image's HOG",
    "timm": "networks of timm",
    "onnxruntime": "ONNX files that OpenVINO cannot take",
    "int8": "networks in 8 bits",
    "tensorboard": "curves in TensorBoard",
    "onnx": "writing networks as ONNX",
    "fetch": "datasets of Hugging Face and Kaggle",
    "heic": "photos of phones",
    "excel": "tables as *.xlsx",
    "cloud": "photos on s3:// and gs://",
    "completion": "completion in a shell",
    "dask": "several processes or machines",
}


@dataclass(frozen=True)
class Need:
    """A requirement that is not met."""

    requirement: str
    installed: str

    def __str__(self) -> str:
        """Say what is wrong."""
        if not self.installed:
            return f"{self.requirement} is not installed"
        return f"{self.requirement} is needed, and {self.installed} is installed"


def installed(name: str) -> str:
    """Return the version of a package; empty if it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def engines() -> dict[str, str]:
    """Return the engines that are installed, with their versions; a damaged one, whose module is not there, with "".

    Returns
    -------
    dict of str to str
    """
    found = {}
    for name, (package, module) in ENGINES.items():
        here, there = installed(package), find_spec(module) is not None
        if here or there:
            found[name] = here if here and there else "" if here else "of unknown version"
    return found


def needs(extra: str = "") -> list[Need]:
    """List what of shelfbench's requirements is not met.

    Parameters
    ----------
    extra : str
        Only those of an extra; by default those that everyone needs.

    Returns
    -------
    list of Need
    """
    found = []
    for wanted in _requirements(NAME, extra):
        here = installed(wanted.name)
        if not here or not wanted.specifier.contains(here, prereleases=True):
            found.append(Need(f"{wanted.name}{wanted.specifier}", here))
    return found


def _requirements(package: str, extra: str) -> Iterator[Requirement]:
    """Yield what a package requires on this machine, for everyone or for one extra only."""
    try:
        lines = distribution(package).requires or []
    except PackageNotFoundError:
        return
    for line in lines:
        try:
            wanted = Requirement(line)
        except InvalidRequirement:
            continue
        always = wanted.marker is None or wanted.marker.evaluate({"extra": ""})
        if always == bool(extra) or (extra and not (wanted.marker and wanted.marker.evaluate({"extra": extra}))):
            continue
        if wanted.name == package:  # an extra that holds others
            for inner in wanted.extras:
                yield from _requirements(package, inner)
        else:
            yield wanted
            for inner in wanted.extras if extra else ():
                yield from _requirements(wanted.name, inner)


def extras() -> dict[str, bool]:
    """Tell which of shelfbench's extras are there, in the order in which it declares them.

    Returns
    -------
    dict of str to bool
        Without those for people who work on shelfbench itself.
    """
    try:
        named = distribution(NAME).metadata.get_all("Provides-Extra") or []
    except PackageNotFoundError:
        return {}
    return {name: not needs(name) for name in named if name not in _INNER}


def outdated_python(running: str) -> str:
    """Say which Python shelfbench needs if this one does not fit; empty if it does."""
    from packaging.specifiers import SpecifierSet

    try:
        [allowed, *_] = distribution(NAME).metadata.get_all("Requires-Python") or [""]
    except PackageNotFoundError:
        return ""
    fits = SpecifierSet(allowed).contains(running, prereleases=True)
    return "" if fits else f"shelfbench needs Python {allowed}, and this is {running}"
