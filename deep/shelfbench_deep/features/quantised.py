"""Features of a network in int8, calibrated on photos of the training data (``bottleneck.precision = "int8"``).

The quantised network is a file of its own, from pixels to features: whatever made the network (Keras, timm, ONNX), and
wherever it is computed, these files are all that it takes, and NNCF is not needed again.
"""

from __future__ import annotations

import hashlib
import shutil
import uuid
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from shelfbench.base.errors import InputError
from shelfbench.base.processor import multiplies_bfloat16_faster
from shelfbench.base.storage import (
    cache_dir,
    file_sha256,
    file_stem,
    fingerprint,
    load_json,
    storage_errors,
    write_json,
)
from shelfbench.data.extractor import FeatureExtractor
from shelfbench.data.view import View
from shelfbench_deep.engines.versions import nncf_version, openvino_version
from shelfbench_deep.features.settings import Engine

if TYPE_CHECKING:
    from shelfbench_deep.engines.openvino import CompiledNetwork

RECORD, NUMBERS = "network.json", "network-int8.safetensors"
# Photos that ranges are measured on; NNCF's own default is 300.
CALIBRATION = 600
# Increased whenever the same network and photos would be quantised differently.
VERSION = 1
# Images per call of OpenVINO, as for other precisions.
_AT_ONCE = 256


class Quantisable:
    """What extractors have in common whose network can be quantised.

    Attributes
    ----------
    precision : str
        Of the network, for those that inherit to define.
    """

    precision: str

    def to_openvino(self) -> Any:
        """Convert the network to an `openvino.Model`, for those that inherit to define."""
        raise NotImplementedError

    @property
    def calibration(self) -> int:
        """Number of photos that the network is calibrated on before it computes; 0 unless it does so in int8."""
        return CALIBRATION if self.precision == "int8" else 0

    def calibrated(self, photos: np.ndarray) -> QuantisedExtractor:
        """Quantise the network (see `shelfbench_deep.features.quantised.calibrated`).

        Parameters
        ----------
        photos : ndarray of uint8, shape (n, pixels, pixels, 3)
            Of the training data.

        Returns
        -------
        QuantisedExtractor
        """
        return calibrated(cast(FeatureExtractor, self), self.to_openvino, photos)

    def check_calibrated(self) -> None:
        """Raise `InputError` if this computes in int8: only what `calibrated` returns does."""
        if self.calibration:
            raise InputError(
                f"{cast(FeatureExtractor, self).name} in int8 has not been calibrated, and nothing here has training "
                "photos for it",
                "set bottleneck.precision=auto",
            )


def calibrated(source: FeatureExtractor, network: Callable[[], Any], photos: np.ndarray) -> QuantisedExtractor:
    """Quantise a network, or take the one that was quantised before from the same network on the same photos.

    Parameters
    ----------
    source : FeatureExtractor
        Of the network itself; its description says ``int8`` already.
    network : callable
        Makes the `openvino.Model`, from images of uint8, shape (n, pixels, pixels, 3), to features.
    photos : ndarray of uint8, shape (photos, pixels, pixels, 3)
        Of the training data.

    Returns
    -------
    QuantisedExtractor

    Raises
    ------
    InputError
        If NNCF is not installed, or there is no photo.
    RunError
        If the network cannot be quantised.
    """
    if not len(photos):
        raise InputError(
            f"{source.name}: int8 is calibrated on training photos, and none can be read",
            "check the files, or set bottleneck.precision=float32",
        )
    description = {
        **source.describe(),
        "int8": {
            "version": VERSION,
            "nncf": nncf_version() or "unknown",
            "photos": len(photos),
            "photos_sha256": hashlib.sha256(np.ascontiguousarray(photos).data).hexdigest(),
            # what is left in floating point, if anything
            "rest": "bfloat16" if multiplies_bfloat16_faster() else "float32",
        },
    }
    folder = cache_dir() / "int8" / f"{file_stem(source.name)}-{fingerprint(description)}"
    try:
        found = QuantisedExtractor(folder)
    except InputError:
        shutil.rmtree(folder, ignore_errors=True)  # missing or damaged
        _write(folder, source, description, _arrays(network(), photos, source.name))
        found = QuantisedExtractor(folder)
    found.notes = (*getattr(source, "notes", ()), *found.notes)
    if address := getattr(source, "address", ""):
        found.address = address
    return found


def _arrays(network: Any, photos: np.ndarray, name: str) -> dict[str, np.ndarray]:
    from shelfbench_deep.engines.quantising import quantised, to_arrays

    return to_arrays(quantised(network, photos, name))


def _write(folder: Path, source: FeatureExtractor, description: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
    """Write the two files of a quantised network, whole or not at all."""
    from safetensors.numpy import save_file

    view: View | None = getattr(source, "view", None)
    aside = folder.with_name(f".partial-{uuid.uuid4().hex[:12]}")
    with storage_errors(folder):
        try:
            aside.mkdir(parents=True)
            save_file(arrays, aside / NUMBERS)
            record = {
                "engine": {"name": "openvino", "precision": "int8"},
                "name": source.name,
                "pixels": source.pixels,
                "dimensions": source.dimensions,
                "view": view and asdict(view),
                "description": description,
                "sha256": file_sha256(aside / NUMBERS),
            }
            write_json(aside / RECORD, record)
            if not folder.exists():  # another run may have been faster
                aside.rename(folder)
        finally:
            shutil.rmtree(aside, ignore_errors=True)


def holds_int8(folder: Path) -> bool:
    """Tell whether a folder holds a quantised network."""
    return (folder / NUMBERS).is_file()


class QuantisedExtractor:
    """Features of a quantised network, as a `shelfbench.plugins.backend.FeatureExtractor`.

    Attributes
    ----------
    notes : tuple of str
        What is said of it on the screen and on the page.
    address : str
        Of the network that was quantised, where that has one.

    Parameters
    ----------
    folder : Path
        With the two files that `calibrated` or `save` wrote, or a stranger.

    Raises
    ------
    InputError
        If the folder contains no readable network, or OpenVINO is not installed.
    """

    address: str

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            record = load_json(folder / RECORD)
            if record["engine"] != {"name": "openvino", "precision": "int8"}:
                raise ValueError("it is not of int8")
            if record["sha256"] != file_sha256(folder / NUMBERS):
                raise ValueError("its hash differs")
            self.name = str(record["name"])
            self.pixels, self.dimensions = int(record["pixels"]), int(record["dimensions"])
            view = record["view"]
            self.view = None if view is None else View(**{**view, "background": tuple(view["background"])})
            self._description = {**record["description"]}
            self._rest = str(self._description["int8"]["rest"])
            if self._rest not in ("float32", "bfloat16"):
                raise ValueError(f"it computes the rest in {self._rest[:40]!r}")
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise _unreadable(folder, error) from error
        self._sha256 = record["sha256"]
        self.batch, self.framework, self.device = _AT_ONCE, "openvino", "cpu"
        self.notes: tuple[str, ...] = (
            f"{self.name} computes in int8, calibrated on {self._description['int8']['photos']} training photos",
        )
        self._compiled: CompiledNetwork | None = None

    def describe(self) -> dict[str, Any]:
        """Describe everything that changes the features (JSON): the network, what it was calibrated on, the result."""
        return {
            **self._description,
            **Engine("openvino", "int8").describe(),
            "int8": {**self._description["int8"], "sha256": self._sha256},
        }

    def extract(self, images: np.ndarray) -> np.ndarray:
        """Compute features.

        Parameters
        ----------
        images : ndarray of uint8, shape (n, pixels, pixels, 3)
            RGB images; `n` may be 0.

        Returns
        -------
        ndarray of float32, shape (n, dimensions)

        Raises
        ------
        InputError
            If the network cannot be read, or OpenVINO is not installed.
        ValueError
            If the images are of another shape or type.
        """
        if images.shape[1:] != (self.pixels, self.pixels, 3) or images.dtype != np.uint8:
            raise ValueError(
                f"expected images of uint8 and shape (n, {self.pixels}, {self.pixels}, 3), "
                f"not {images.dtype} {images.shape}"
            )
        if self._compiled is None:
            self._compiled = self._compile()
        return self._compiled(images)

    def _compile(self) -> CompiledNetwork:
        if openvino_version() is None:
            raise InputError(
                f"{self.name} in int8 is computed by OpenVINO, which is not installed", "python -m pip install openvino"
            )
        from safetensors.numpy import load_file

        from shelfbench_deep.engines.openvino import CompiledNetwork
        from shelfbench_deep.engines.quantising import from_arrays

        try:
            network = from_arrays(load_file(self.folder / NUMBERS), self.pixels, self.dimensions)
        except Exception as error:  # safetensors and OpenVINO raise all sorts of errors
            raise _unreadable(self.folder, error) from error
        return CompiledNetwork(network, self._rest, self.name)

    def save(self, folder: Path) -> None:
        """Write the two files into an existing folder: the network needs no other."""
        for name in (NUMBERS, RECORD):
            shutil.copyfile(self.folder / name, folder / name)


def _unreadable(folder: Path, error: Exception) -> InputError:
    reason = str(error).splitlines()[0][:200] if str(error) else "no message"
    return InputError(
        f"{folder} contains no readable network in int8 ({type(error).__name__}: {reason})",
        "delete that folder and run the study again",
    )
