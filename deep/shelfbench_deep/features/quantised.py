"""Features of a network in int8, calibrated on photos of the training data (``bottleneck.precision = "int8"``).

The quantised network is a file of its own, from pixels to features: whatever made the network (Keras, timm, ONNX), and
wherever it is computed, these files are all that it takes, and NNCF is not needed again.
"""

from __future__ import annotations

import hashlib
import shutil
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from shelfbench.base.errors import InputError, RunError, first_line
from shelfbench.base.partial import aside_folder
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
from shelfbench.base.using import used
from shelfbench.data.extractor import FeatureExtractor
from shelfbench.data.view import View
from shelfbench_deep.engines.versions import nncf_version, openvino_version
from shelfbench_deep.features.from_pixels import FromPixels
from shelfbench_deep.features.settings import Engine

if TYPE_CHECKING:
    from shelfbench_deep.engines.openvino import CompiledNetwork

RECORD, NUMBERS = "network.json", "network-int8.safetensors"
# Photos that ranges are measured on; NNCF's own default is 300.
CALIBRATION = 600
# Increased whenever the same network and photos would be quantised differently.
VERSION = 1
# Photos on which int8 is compared with float32, the correlation of features below which a user is told, and the one
# below which the network is of no use: EfficientNet-Lite0 has 0.98.
_COMPARED, _GOOD, _LEAST = 128, 0.9, 0.5
# Images per call of OpenVINO, as for other precisions.
_AT_ONCE = 256


class Quantisable(FromPixels):
    """What extractors have in common whose network can be quantised."""

    @abstractmethod
    def to_openvino(self) -> Any:
        """Convert the network to an `openvino.Model`."""

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
        If the network cannot be quantised, or what comes out no longer tells the photos apart as it did.
    """
    if not len(photos):
        raise InputError(
            f"{source.name}: int8 is calibrated on training photos, and none can be read",
            "check the files, or set bottleneck.precision=float32",
        )
    description = {
        **source.describe(),
        **_seen(source),
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
        whole = network()
        arrays = _arrays(whole, photos, source.name)
        agreement = _agreement(source, whole, arrays, photos[:_COMPARED])
        _write(folder, source, description, arrays, agreement)
        found = QuantisedExtractor(folder)
    used(folder)
    found.notes = (*getattr(source, "notes", ()), *found.notes)
    if address := getattr(source, "address", ""):
        found.address = address
    return found


def _seen(source: FeatureExtractor) -> dict[str, Any]:
    """Say how photos are made square, if the network has a way of its own: the files hold it."""
    view: View | None = getattr(source, "view", None)
    return {"view": asdict(view)} if view else {}


def _arrays(network: Any, photos: np.ndarray, name: str) -> dict[str, np.ndarray]:
    from shelfbench_deep.engines.quantising import quantised, to_arrays

    return to_arrays(quantised(network, photos, name))


def _agreement(source: FeatureExtractor, whole: Any, arrays: dict[str, np.ndarray], photos: np.ndarray) -> float:
    """Compute the correlation of the features in int8 with those in float32, over photos; refuse what has lost them."""
    from shelfbench_deep.engines.openvino import CompiledNetwork
    from shelfbench_deep.engines.quantising import from_arrays

    quantised = from_arrays(arrays, source.pixels, source.dimensions)
    was, now = (CompiledNetwork(network, "float32", source.name)(photos) for network in (whole, quantised))
    was, now = (np.float64(features) - features.mean(axis=0, dtype=np.float64) for features in (was, now))
    spread = float(np.sqrt((was**2).sum() * (now**2).sum()))
    if not np.any(was):  # equal photos tell nothing
        return 1.0
    agreement = float((was * now).sum()) / spread if spread else 0.0
    if not agreement >= _LEAST:
        raise RunError(
            f"{source.name} does not bear int8: the correlation of its features with those in float32 is "
            f"{agreement:.2f} on {len(photos)} training photos",
            "set bottleneck.precision=auto",
        )
    return agreement


def _write(
    folder: Path,
    source: FeatureExtractor,
    description: dict[str, Any],
    arrays: dict[str, np.ndarray],
    agreement: float,
) -> None:
    """Write the two files of a quantised network, whole or not at all."""
    from safetensors.numpy import save_file

    view: View | None = getattr(source, "view", None)
    with storage_errors(folder), aside_folder(folder) as aside:
        save_file(arrays, aside / NUMBERS)
        record = {
            "engine": {"name": "openvino", "precision": "int8"},
            "name": source.name,
            "pixels": source.pixels,
            "dimensions": source.dimensions,
            "view": view and asdict(view),
            "description": description,
            "agreement": agreement,
            "sha256": file_sha256(aside / NUMBERS),
        }
        write_json(aside / RECORD, record)
        if not folder.exists():  # another run may have been faster
            aside.rename(folder)


def holds_int8(folder: Path) -> bool:
    """Tell whether a folder holds a quantised network."""
    return (folder / NUMBERS).is_file()


class QuantisedExtractor(FromPixels):
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
    precision = "int8"
    remedy = "set bottleneck.precision=auto"

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
            agreement = float(record.get("agreement", 1.0))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise _unreadable(folder, error) from error
        self._sha256 = record["sha256"]
        self.batch, self.framework, self.device = _AT_ONCE, "openvino", "cpu"
        self.notes: tuple[str, ...] = (
            f"{self.name} computes in int8, calibrated on {self._description['int8']['photos']} training photos",
        )
        if agreement < _GOOD:
            self.notes += (
                f"{self.name}: int8 changes the features much, whose correlation with those in float32 is "
                f"{agreement:.2f}; compare with bottleneck.precision=auto",
            )
        self._compiled: CompiledNetwork | None = None

    def describe(self) -> dict[str, Any]:
        """Describe everything that changes the features (JSON): the network, what it was calibrated on, the result."""
        return {
            **self._description,
            **Engine("openvino", "int8").describe(),
            "int8": {**self._description["int8"], "sha256": self._sha256},
        }

    def _features(self, images: np.ndarray) -> np.ndarray:
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
    return InputError(
        f"{folder} contains no readable network in int8 ({type(error).__name__}: {first_line(error)})",
        "delete that folder and run the study again",
    )
