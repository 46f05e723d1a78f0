"""Weights from a PyTorch checkpoint, read without PyTorch and without executing what is pickled in it.

A ``.pth`` file is a pickle next to raw arrays, in one of two layouts: a zip archive (PyTorch 1.6 and later), or the
older row of pickles followed by the arrays. The pickle may name any function for the reader to call. The unpickler here
knows a handful of inert stand-ins and refuses every other name.
"""

from __future__ import annotations

import math
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np

from shelfbench.base.errors import InputError

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001
_STORAGES = {
    "DoubleStorage": "f8",
    "FloatStorage": "f4",
    "HalfStorage": "f2",
    "LongStorage": "i8",
    "IntStorage": "i4",
    "ShortStorage": "i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
}


def read_torch_weights(path: Path) -> dict[str, np.ndarray]:
    """Read a state dict saved by ``torch.save``.

    Parameters
    ----------
    path : Path
        A ``.pth`` or ``.pt`` file with one flat mapping of names to tensors.

    Returns
    -------
    dict of str to ndarray
        In the order of the file, each array contiguous and owning its memory.

    Raises
    ------
    InputError
        If the file cannot be read, is truncated, or asks for anything beyond plain tensors; none of its code has been
        executed.
    """
    path = Path(path)
    try:
        with open(path, "rb") as handle:
            loaded = _read_zip(handle) if zipfile.is_zipfile(handle) else _read_legacy(handle)
    except InputError as error:
        raise InputError(f"{path}: {error.message}", "use the weights as their author published them") from error
    except OSError as error:
        raise InputError(
            f"{path} cannot be read ({error.strerror or error})", "check the path of the weights"
        ) from error
    except Exception as error:  # a damaged pickle may raise almost anything
        raise InputError(
            f"{path} is damaged or not a PyTorch checkpoint ({type(error).__name__}: {error})", "fetch the file again"
        ) from error
    return loaded


@dataclass(frozen=True)
class _StorageType:
    dtype: str

    def __setstate__(self, state: object) -> None:
        raise InputError("the pickle tries to change the reader")


@dataclass(frozen=True)
class _Storage:
    key: str
    dtype: str
    items: int


@dataclass(frozen=True)
class _Tensor:
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _StateDict(OrderedDict[str, Any]):
    def __setstate__(self, state: object) -> None:
        """Ignore what PyTorch attaches to a state dict (``_metadata``): versions of modules, not weights."""


class _RebuildTensor:
    __slots__ = ()

    def __call__(
        self,
        storage: object,
        offset: int,
        shape: tuple[int, ...],
        strides: tuple[int, ...],
        *ignored: object,
    ) -> _Tensor:
        if len(ignored) > 3:  # requires_grad, backward hooks and metadata
            raise InputError("a tensor with unknown arguments")
        if not isinstance(storage, _Storage):
            raise InputError("a tensor without storage")
        numbers = (offset, *shape, *strides)
        if len(shape) != len(strides) or any(type(n) is not int or n < 0 for n in numbers):
            raise InputError("a tensor of impossible shape")
        last = offset + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
        if all(shape) and (last >= storage.items or math.prod(shape) > storage.items):
            raise InputError("a tensor that reaches beyond its storage")
        return _Tensor(storage, offset, tuple(shape), tuple(strides))

    def __setstate__(self, state: object) -> None:
        raise InputError("the pickle tries to change the reader")


class _Unpickler(pickle.Unpickler):
    """Knows tensors and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return _StateDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _RebuildTensor()
        if module == "torch" and name in _STORAGES:
            return _StorageType(_STORAGES[name])
        raise InputError(f"it asks for {module}.{name}, which is not a plain tensor, and is refused")

    def persistent_load(self, pid: Any) -> _Storage:
        if not (
            isinstance(pid, tuple)
            and len(pid) in (5, 6)
            and pid[0] == "storage"
            and isinstance(pid[1], _StorageType)
            and type(pid[4]) is int
            and pid[4] >= 0
        ):
            raise InputError("a storage of unknown kind")
        if len(pid) == 6 and pid[5] is not None:
            raise InputError("a storage that is a view of another, which only very old checkpoints have")
        return _Storage(str(pid[2]), pid[1].dtype, pid[4])


def _read_legacy(handle: IO[bytes]) -> dict[str, np.ndarray]:
    handle.seek(0)
    if _Unpickler(handle).load() != _LEGACY_MAGIC or _Unpickler(handle).load() != _LEGACY_PROTOCOL:
        raise InputError("not a PyTorch checkpoint")
    system = _Unpickler(handle).load()
    order: Literal["<", ">"] = "<" if system.get("little_endian", True) else ">"
    state = _Unpickler(handle).load()
    wanted = {tensor.storage.key: tensor.storage for tensor in _tensors(state).values()}
    storages = {}
    for key in _Unpickler(handle).load():
        if key not in wanted:
            raise InputError(f"storage {key!r} belongs to no tensor")
        items = int(np.frombuffer(_exactly(handle, 8), f"{order}i8")[0])
        if items != wanted[key].items:
            raise InputError(f"storage {key!r} has {items} items instead of the {wanted[key].items} announced")
        dtype = np.dtype(wanted[key].dtype).newbyteorder(order)
        storages[key] = np.frombuffer(_exactly(handle, items * dtype.itemsize), dtype)
    return _arrays(state, storages.__getitem__)


def _read_zip(handle: IO[bytes]) -> dict[str, np.ndarray]:
    with zipfile.ZipFile(handle) as archive:
        names = [name for name in archive.namelist() if name.endswith("/data.pkl")]
        if len(names) != 1:
            raise InputError("a zip archive, but not a PyTorch checkpoint: it does not contain exactly one data.pkl")
        root = names[0].removesuffix("data.pkl")
        big = f"{root}byteorder" in archive.namelist() and archive.read(f"{root}byteorder").strip() == b"big"
        order: Literal["<", ">"] = ">" if big else "<"
        with archive.open(names[0]) as pickled:
            state = _Unpickler(pickled).load()
        wanted = {tensor.storage.key: tensor.storage for tensor in _tensors(state).values()}

        def storage(key: str) -> np.ndarray:
            dtype = np.dtype(wanted[key].dtype).newbyteorder(order)
            with archive.open(f"{root}data/{key}") as data:
                return np.frombuffer(_exactly(data, wanted[key].items * dtype.itemsize), dtype)

        return _arrays(state, storage)


def _exactly(handle: IO[bytes], size: int) -> bytes:
    data = handle.read(size)
    if len(data) != size:
        raise InputError("the file is truncated")
    return data


def _tensors(state: object) -> dict[str, _Tensor]:
    if not isinstance(state, dict) or not all(
        isinstance(name, str) and isinstance(tensor, _Tensor) for name, tensor in state.items()
    ):
        raise InputError("not a flat mapping of names to tensors")
    return state


def _arrays(state: object, storage: Callable[[str], np.ndarray]) -> dict[str, np.ndarray]:
    arrays = {}
    for name, tensor in _tensors(state).items():
        flat = storage(tensor.storage.key)[tensor.offset :]
        view = np.lib.stride_tricks.as_strided(
            flat, tensor.shape, [step * flat.itemsize for step in tensor.strides], writeable=False
        )
        arrays[name] = np.array(view, dtype=view.dtype.newbyteorder("="), order="C")
    return arrays
