"""The descent's sweeps on an accelerator, through the Array API: the same descent, with the features on the device.

Every sweep over the images (margins, sums over them, gradients) is computed where the features are. NumPy does what is
done once (moments, the Gram matrix), what is only as large as the weights, and Newton's steps, which need few rows.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np

from shelfbench.base.console import Console
from shelfbench.base.errors import InputError, first_line
from shelfbench.base.processor import free_memory, has_accelerator
from shelfbench_baselines.device_sweep import DeviceSweep
from shelfbench_baselines.margins import Columns, Margins, widest_block
from shelfbench_baselines.squared_hinge import SquaredHinge
from shelfbench_baselines.streamed import Streamed, StreamedHinge

LIBRARIES = ("cupy", "torch", "jax")
ENGINES = ("auto", "numpy", *LIBRARIES)
# At its peak a sweep holds eight float32 matrices rows x categories: signs, slacks, their change along the direction,
# and what becomes of them. A block may take this share of the device's free memory.
BYTES_EACH = 8 * 4
SHARE = 1 / 2


@dataclass(frozen=True, kw_only=True)
class Device:
    """The device that computes the sweeps.

    Attributes
    ----------
    library : str
        The library whose arrays are used.
    xp : module
        Its functions, as the Array API names them.
    device : object
        The device in the library's terms; None for its default.
    name : str
        Name for the record; ``cpu`` without an accelerator.
    exact : callable
        Context in which matrix products are computed in float32, not in a shorter format.
    """

    library: str
    xp: Any
    device: Any
    name: str
    exact: Callable[[], AbstractContextManager[Any]] = contextlib.nullcontext

    def margins(self, problem: SquaredHinge) -> DeviceBlocks:
        """Copy a problem's features to the device; return a factory of margins for `regularisation_path`."""
        return DeviceBlocks(self, [self.put(problem.features[part]) for part in problem.parts])

    def free(self) -> int:
        """Count the bytes that are free where it computes; 0 if the library does not tell."""
        if self.name == "cpu":
            return free_memory()
        try:
            return _FREE[self.library](self.device)
        except Exception:  # each library raises its own errors
            return 0

    def put(self, array: np.ndarray) -> Any:
        """Copy an array to the device."""
        if self.library == "torch" and not array.flags.writeable:
            array = array.copy()  # torch warns of arrays that it could change
        return self.xp.asarray(array, device=self.device)

    def get(self, array: Any) -> np.ndarray:
        """Copy an array from the device."""
        array = array.cpu() if self.library == "torch" else array.get() if self.library == "cupy" else array
        return np.asarray(array)


def check_engine(engine: str) -> None:
    """Check that an engine exists and is installed, without loading it.

    Parameters
    ----------
    engine : str
        See `find_device`.

    Raises
    ------
    InputError
        If the engine is unknown or not installed.
    """
    if engine not in ENGINES:
        raise InputError(f"svm.engine is {engine!r}", f"choose from: {', '.join(ENGINES)}")
    if engine in LIBRARIES and importlib.util.find_spec(engine) is None:
        raise InputError(f"svm.engine is {engine!r}, which is not installed", "install it, or set svm.engine=numpy")


def find_device(engine: str) -> Device | None:
    """Find the device that computes the sweeps.

    Parameters
    ----------
    engine : {"auto", "numpy", "cupy", "torch", "jax"}
        ``auto`` is the first library that sees an accelerator (on Linux) of those that this process has loaded, or that
        are installed; or NumPy if none does. A library that is named also computes on a CPU.

    Returns
    -------
    Device or None
        None for NumPy.

    Raises
    ------
    InputError
        If the engine is unknown or not installed.
    """
    check_engine(engine)
    if engine in LIBRARIES:
        return _device(engine)
    if engine == "auto" and has_accelerator():
        # memory that a library has taken for Keras serves its own arrays, and no other library's
        for library in sorted(LIBRARIES, key=lambda name: name not in sys.modules):
            if importlib.util.find_spec(library) is not None:
                with contextlib.suppress(Exception):  # a library without a driver sees no accelerator
                    found = _device(library)
                    if found.name != "cpu":
                        return found
    return None


def margins_for(
    engine: str, problem: SquaredHinge, console: Console
) -> tuple[type[Margins] | DeviceBlocks | Streamed, Device | None]:
    """Choose the function that makes the margins for `regularisation_path`, and copy the features to the device.

    With ``auto``, NumPy takes over, with a warning, if the device has no room for the features, because another library
    of this process may have taken all its memory.

    Parameters
    ----------
    engine : {"auto", "numpy", "cupy", "torch", "jax"}
        See `find_device`.
    problem : SquaredHinge
    console : Console

    Returns
    -------
    callable
        Makes the margins.
    Device or None
        None for NumPy.

    Raises
    ------
    Exception
        Whatever the library raises if the device has no room, unless `engine` is ``auto``.
    """
    device = find_device(engine)
    on_cpu = Streamed(problem.sweep) if isinstance(problem, StreamedHinge) else Margins
    if device is None:
        return on_cpu, None
    try:
        if isinstance(problem, StreamedHinge):
            return Streamed(DeviceSweep(device, problem)), device
        return device.margins(problem), device
    except Exception as error:  # each library raises its own errors
        if engine != "auto":
            raise
        console.warn(f"NumPy computes the linear SVM, not {device.library} on {device.name}: {first_line(error)}")
        return on_cpu, None


def _device(library: str) -> Device:
    if library == "jax":
        # like Keras (`shelfbench_deep.engines.keras`): memory as it is needed, not three quarters at once
        os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
        import jax

        jax_device = jax.local_devices()[0]
        name = "cpu" if jax_device.platform == "cpu" else str(jax_device.device_kind)
        return Device(
            library=library,
            xp=jax.numpy,
            device=jax_device,
            name=name,
            exact=lambda: jax.default_matmul_precision("highest"),
        )
    xp = importlib.import_module(f"array_api_compat.{library}")
    if library == "cupy":
        cupy = importlib.import_module("cupy")
        name = cupy.cuda.runtime.getDeviceProperties(0)["name"].decode()
        return Device(library=library, xp=xp, device=None, name=name)
    torch = importlib.import_module("torch")
    if torch.cuda.is_available():
        return Device(library=library, xp=xp, device="cuda", name=torch.cuda.get_device_name(0))
    return Device(library=library, xp=xp, device="cpu", name="cpu")


def _free_of_cupy(device: Any) -> int:
    cupy = importlib.import_module("cupy")
    return int(cupy.cuda.runtime.memGetInfo()[0] + cupy.get_default_memory_pool().free_bytes())


def _free_of_torch(device: Any) -> int:
    cuda = importlib.import_module("torch").cuda
    return int(cuda.mem_get_info()[0] + cuda.memory_reserved() - cuda.memory_allocated())


def _free_of_jax(device: Any) -> int:
    known = device.memory_stats()
    return int(known["bytes_limit"] - known["bytes_in_use"])


_FREE = {"cupy": _free_of_cupy, "torch": _free_of_torch, "jax": _free_of_jax}


class DeviceBlocks:
    """Makes the margins of blocks of categories on features that are on a device.

    Parameters
    ----------
    device : Device
    features : list of arrays of the device's library, float32, shape (rows of a part, d)
    """

    def __init__(self, device: Device, features: list[Any]) -> None:
        self._device, self._features = device, features

    def widest(self, problem: SquaredHinge) -> int:
        """Count the categories for whose margins the device has memory beside the features."""
        return widest_block(problem.count, BYTES_EACH, SHARE * self._device.free())

    def __call__(self, problem: SquaredHinge, live: np.ndarray) -> DeviceMargins:
        """Make the margins of a block."""
        return DeviceMargins(self._device, self._features, problem, live)


class DeviceMargins:
    """Does the work of `shelfbench_baselines.margins.Margins` on a device.

    Parameters
    ----------
    device : Device
    features : list of arrays of the device's library, float32, shape (rows of a part, d)
        The problem's features, part by part.
    problem : SquaredHinge
    live : ndarray of int64, shape (k,)
        The categories, whose weights begin at zero.
    """

    def __init__(self, device: Device, features: list[Any], problem: SquaredHinge, live: np.ndarray) -> None:
        self._device, self._features, self._problem = device, features, problem
        self._columns = Columns(problem.classes, live)
        self._labels = device.put(problem.labels.astype(np.int64))
        self._along: Any = None
        self._sign(live)
        first = device.put(self._columns.spread(np.ones(len(live), np.float32)))
        self._slack = first * device.xp.ones_like(self._signs)

    def _sign(self, live: np.ndarray) -> None:
        """Set the signs with which margins enter the slacks: -1 if a row is in a category, otherwise 1."""
        xp, names = self._device.xp, np.full(self._columns.width, -2)
        names[self._columns.at] = live
        own = self._labels[:, None] == self._device.put(names)[None, :]
        self._signs = 1 - 2 * xp.astype(own, xp.float32)

    def _product(self, weights: np.ndarray) -> Any:
        folded, shift = (self._device.put(array) for array in self._problem.folded(self._columns.spread(weights)))
        with self._device.exact():
            products = [part @ folded for part in self._features]
        return self._signs * (self._device.xp.concat(products, axis=0) + shift)

    def _sum(self, array: Any) -> np.ndarray:
        """Sum over the rows of each part in float32, and over the parts in float64."""
        sums = [self._device.xp.sum(array[part, :], axis=0) for part in self._problem.parts]
        found: np.ndarray = self._device.get(self._device.xp.stack(sums)).sum(axis=0, dtype=np.float64)[
            self._columns.at
        ]
        return found

    def _step(self, length: np.ndarray) -> Any:
        return self._along * self._device.put(self._columns.spread(length.astype(np.float32)))

    def _positive(self, array: Any) -> Any:
        return self._device.xp.where(array > 0, array, self._device.xp.zeros_like(array))

    def keep(self, kept: np.ndarray, live: np.ndarray) -> None:
        """Drop the categories that are not `kept`; `live` remain."""
        columns = self._columns.keep(kept, live)
        if columns is not None:
            whole = np.resize(columns, self._columns.width)  # slacks of empty columns do not matter
            self._along = None
            self._slack = self._device.xp.take(self._slack, self._device.put(whole), axis=1)
        self._sign(live)

    def active(self, column: int) -> np.ndarray:
        """Return the rows whose slack is positive in a category."""
        return np.flatnonzero(self._device.get(self._slack[:, int(self._columns.at[column])]) > 0)

    def look(self, direction: np.ndarray) -> None:
        """Set the direction, and compute what a step of 1 along it adds to the slacks."""
        self._along = self._product(direction)

    def bend(self) -> np.ndarray:
        """Return half the second derivative of the loss along the direction."""
        xp = self._device.xp
        return self._sum(xp.where(self._slack > 0, self._along * self._along, xp.zeros_like(self._along)))

    def slope(self, length: np.ndarray) -> np.ndarray:
        """Return half the first derivative of the loss after a step of `length`."""
        return self._sum(self._positive(self._slack + self._step(length)) * self._along)

    def move(self, length: np.ndarray) -> None:
        """Take a step of `length` along the direction."""
        self._slack = self._slack + self._step(length)

    def gradient(self, length: np.ndarray | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Take a step of `length`; return the gradient and value of the loss, and the number of active rows."""
        if length is not None:
            self.move(length)
        xp, slack = self._device.xp, self._positive(self._slack)
        loss, active = self._sum(slack * slack), self._sum(xp.astype(slack > 0, xp.float32))
        slack = slack * self._signs
        with self._device.exact():  # the transposed product is the smaller one
            products = [slack[rows, :].T @ part for rows, part in zip(self._problem.parts, self._features, strict=True)]
        back = self._device.get(xp.stack(products)).sum(axis=0, dtype=np.float64)[self._columns.at]
        return self._problem.unfolded(back.T, self._sum(slack)), loss, active
