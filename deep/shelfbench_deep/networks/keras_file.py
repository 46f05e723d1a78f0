"""Models that Keras saved (``*.keras``), read without running anything that they contain."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
import tempfile
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from shelfbench.base.errors import InputError, first_line
from shelfbench_deep.networks.keras_allowed import allowed_architecture
from shelfbench_deep.networks.weights import hash_of_arrays, read_arrays

if TYPE_CHECKING:
    from shelfbench_deep.engines.keras import keras

_METADATA, _CONFIG, _WEIGHTS = "metadata.json", "config.json", "model.weights.h5"
_MIB = 1 << 20
_LIMITS = {_METADATA: _MIB, _CONFIG: 16 * _MIB, _WEIGHTS: 4096 * _MIB}
# Values of one layer's output for one image: 32 maps of 1,024 by 1,024 pixels, four times over.
_LARGEST = 1 << 27
_AGAIN = "save it again with model.save('network.keras')"


@dataclass(frozen=True, kw_only=True)
class KerasFile:
    """A model in a file, checked but not built.

    Attributes
    ----------
    path : Path
    architecture : str
        What Keras is to build, as JSON (see `shelfbench_deep.networks.keras_allowed`).
    sha256 : str
        Of the architecture and of all weights.
    """

    path: Path
    architecture: str
    sha256: str

    def model(self) -> keras.Model:
        """Build the model with its weights.

        Returns
        -------
        keras.Model
            Not compiled.

        Raises
        ------
        InputError
            If the file does not hold such a model, or has changed.
        """
        with _opened(self.path) as (architecture, weights):
            if _hash(architecture, weights) != self.sha256:
                raise ValueError("it has changed since it was opened")
            model = build(self.architecture, sum(array.size for _, array in read_arrays(weights)))
            with warnings.catch_warnings():
                warnings.simplefilter("error", UserWarning)
                model.load_weights(weights)
        return model


def open_keras(path: Path) -> KerasFile:
    """Open a model that Keras saved.

    Parameters
    ----------
    path : Path
        Of a ``*.keras`` file, which anyone may have written.

    Returns
    -------
    KerasFile

    Raises
    ------
    InputError
        If it is not such a file, or contains anything that is not known to compute alone.
    """
    with _opened(path) as (architecture, weights):
        return KerasFile(path=path, architecture=architecture, sha256=_hash(architecture, weights))


def _hash(architecture: str, weights: Path) -> str:
    return hashlib.sha256(f"{architecture}\n{hash_of_arrays(read_arrays(weights))}".encode()).hexdigest()


@contextmanager
def _opened(path: Path) -> Iterator[tuple[str, Path]]:
    """Give the checked architecture of a file, and a copy of its weights that lives as long as the context."""
    try:
        with zipfile.ZipFile(path) as archive, tempfile.TemporaryDirectory() as folder:
            members = _members(archive, path.stat().st_size)
            with archive.open(members[_CONFIG]) as handle:
                text = handle.read(members[_CONFIG].file_size).decode()
            architecture = json.dumps(allowed_architecture(json.loads(text)), sort_keys=True)
            weights = Path(folder) / _WEIGHTS
            with archive.open(members[_WEIGHTS]) as handle, weights.open("wb") as copy:
                shutil.copyfileobj(handle, copy, _MIB)
            _check_hdf5(weights)
            yield architecture, weights
    except InputError:
        raise
    except Exception as error:  # zipfile, h5py and Keras raise all sorts of errors
        raise InputError(f"{path} cannot be used: {first_line(error)}", _AGAIN) from error


def _members(archive: zipfile.ZipFile, size: int) -> dict[str, zipfile.ZipInfo]:
    """Check what an archive contains, and how large that becomes."""
    members = {info.filename: info for info in archive.infolist()}
    if len(members) != len(archive.infolist()) or {_CONFIG, _WEIGHTS} - set(members):
        raise ValueError("it is not a model that Keras 3 saved")
    for name, info in members.items():
        if name not in _LIMITS:
            raise ValueError(f"it contains {name[:60]!r}, which a network of images does not need")
        if info.file_size > _LIMITS[name]:
            raise ValueError(f"its {name} would have {info.file_size:,} bytes")
    if sum(info.file_size for info in members.values()) > 20 * size + _MIB:
        raise ValueError("it is packed much more tightly than weights can be")
    return members


def _check_hdf5(path: Path) -> None:
    """Make sure that a file of weights holds its arrays itself, and no larger ones than it has bytes."""
    import h5py

    problems: list[str] = []
    with h5py.File(path, "r") as root:

        def check(name: str, link: Any) -> None:  # an exception would not pass through HDF5
            if not isinstance(link, h5py.HardLink):
                problems.append(f"its weights lead elsewhere at {name[:60]!r}")
            elif isinstance(item := root[name], h5py.Dataset):
                if item.external or item.is_virtual:
                    problems.append(f"its weights lead elsewhere at {name[:60]!r}")
                elif item.size * item.dtype.itemsize > item.id.get_storage_size():
                    problems.append(f"its weights at {name[:60]!r} are declared larger than they are")

        root.visititems_links(check)
    if problems:
        raise ValueError(problems[0])


def _layers_of_applications() -> tuple[type, ...]:
    """Layers that networks of ``keras.applications`` keep for themselves; Keras is loaded before, quietly."""
    from keras.src.applications.convnext import LayerScale, StochasticDepth
    from keras.src.applications.inception_resnet_v2 import CustomScaleLayer

    return LayerScale, StochasticDepth, CustomScaleLayer


def build(architecture: str, values: int) -> keras.Model:
    """Build a model from an architecture, with weights of 0.

    Parameters
    ----------
    architecture : str
        JSON, which is checked once more: it may come with a decision.
    values : int
        Number of all weights that are there for it; a model of more is not built.

    Returns
    -------
    keras.Model

    Raises
    ------
    ValueError
        If it is not allowed, takes something else than images, or is larger than its weights.
    """
    from shelfbench_deep.engines.keras import keras

    config = allowed_architecture(json.loads(architecture))
    known = {kind.__name__: kind for kind in _layers_of_applications()}
    with keras.StatelessScope() as scope:  # variables get their memory when the scope ends
        try:
            model = keras.saving.deserialize_keras_object(config, custom_objects=known, safe_mode=True)
            _check_size(model, values)
        except BaseException:
            scope.initialize_variables = False
            keras.backend.clear_session()
            raise
    return model


def _check_size(model: keras.Model, values: int) -> None:
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise ValueError(f"it has {len(model.inputs)} inputs and {len(model.outputs)} outputs, not one of each")
    count = sum(math.prod(weight.shape) for weight in model.weights)
    if count > values:
        raise ValueError(f"its layers have {count:,} weights, and it holds {values:,}")
    for tensor in _outputs(model):
        sides = [side for side in tensor.shape[1:] if side is not None]
        if math.prod(sides) > _LARGEST:
            raise ValueError(f"a layer of it makes values of shape {tuple(tensor.shape)}")


def _outputs(model: keras.Model) -> Iterator[Any]:
    for operation in _operations(model):
        for node in operation._inbound_nodes:
            yield from node.output_tensors
        if _operations(operation):
            yield from _outputs(operation)


def _operations(model: Any) -> list[Any]:
    """List the operations of a model in order; empty for a layer."""
    return list(getattr(getattr(model, "_functional", None) or model, "operations", []))


def input_side(model: keras.Model) -> int | None:
    """Read the side of the images that a model takes.

    Parameters
    ----------
    model : keras.Model

    Returns
    -------
    int or None
        None if it takes any.

    Raises
    ------
    ValueError
        If it does not take square images of three channels.
    """
    shape = tuple(model.inputs[0].shape)
    if len(shape) != 4 or shape[3] != 3 or shape[1] != shape[2] or shape[0] is not None:
        raise ValueError(f"it takes values of shape {shape}, and not square images (None, side, side, 3)")
    return None if shape[1] is None else int(shape[1])


def scales_itself(model: keras.Model) -> str:
    """Say which first layers of a model take pixels from 0 to 255 to its own range; empty if none certainly do.

    Parameters
    ----------
    model : keras.Model

    Returns
    -------
    str
        Such as ``Rescaling``.
    """
    for operation in _operations(model):
        kind = type(operation).__name__
        if _operations(operation):
            if inner := scales_itself(operation):
                return inner
            if all(map(_only_moves, _operations(operation))):
                continue
            return ""
        if _only_moves(operation):
            continue
        if kind == "Rescaling":
            return kind if np.max(np.abs(np.asarray(operation.scale))) <= 1 / 64 else ""
        if kind == "Normalization":  # its variance is a constant, or one of its weights
            variance = operation.input_variance
            found = operation.adapt_variance if variance is None else variance
            return kind if float(np.min(np.sqrt(np.asarray(found, np.float32)))) > 8 else ""
        if kind in ("TrueDivide", "Divide"):
            constant = [value for node in operation._inbound_nodes for value in node.arguments.args[1:]]
            large = len(constant) == 1 and isinstance(constant[0], int | float) and constant[0] >= 64
            return f"division by {constant[0]}" if large else ""
        return ""
    return ""


def _only_moves(operation: Any) -> bool:
    """Tell whether a layer leaves the range of pixels as it is."""
    kind = type(operation).__name__
    return kind.startswith("Random") or kind in ("InputLayer", "Resizing", "CenterCrop", "Identity", "Cast")
