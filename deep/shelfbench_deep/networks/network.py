"""The fixed properties of a network that Keras builds, and the preprocessing that its weights expect."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

_PUBLISHED = "https://storage.googleapis.com/tensorflow/keras-applications"
# Mean and standard deviation of ImageNet's pixels, by channel of RGB from 0 to 1.
_MEAN, _STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


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
    parameters : int
        Their number without the top, and 0 where nothing asks for it.
    file, folder, digest : str
        Its ImageNet weights without the top, as ``keras.applications`` publishes them, with MD5 or SHA-256; the digest
        is empty where Keras names none.
    address : str
        Where that file is fetched from, if not from `folder` under its own name.
    sides : tuple of int
        Sides of images for which weights of their own are published; `file` then has a place for the side. The last
        stands for every other side.
    only_published : bool
        Whether Keras builds another network for other weights than the published ones, so that a file of weights does
        not say which network it belongs to.
    """

    application: str
    dimensions: int
    pixels: int
    least: int
    batch: int
    preprocess: Callable[[np.ndarray], np.ndarray]
    preprocessing: str
    parameters: int = 0
    file: str = ""
    folder: str = ""
    digest: str = ""
    address: str = ""
    sides: tuple[int, ...] = ()
    only_published: bool = False

    @property
    def url(self) -> str:
        """Address of the published weights."""
        return self.address or f"{_PUBLISHED}/{self.folder}/{self.file}"

    def at(self, pixels: int) -> Network:
        """Return the network with the file of weights that is published for images of a size.

        Parameters
        ----------
        pixels : int

        Returns
        -------
        Network
        """
        if not self.sides:
            return self
        return replace(self, file=self.file.format(side=pixels if pixels in self.sides else self.sides[-1]), sides=())


def lite(images: np.ndarray) -> np.ndarray:
    """Preprocess for EfficientNet-Lite0."""
    return (images - np.float32(127)) / np.float32(128)


def symmetric(images: np.ndarray) -> np.ndarray:
    """Preprocess to values from -1 to 1 (Keras: ``tf``)."""
    return images / np.float32(127.5) - np.float32(1)


def caffe(images: np.ndarray) -> np.ndarray:
    """Preprocess to BGR around the mean of ImageNet (Keras: ``caffe``)."""
    return images[..., ::-1] - np.array([103.939, 116.779, 123.68], np.float32)


def standardised(images: np.ndarray) -> np.ndarray:
    """Preprocess to the mean and standard deviation of ImageNet (Keras: ``torch``)."""
    return (images / np.float32(255) - _MEAN.astype(np.float32)) / _STD.astype(np.float32)


def inside(images: np.ndarray) -> np.ndarray:
    """Leave images to the layers that preprocess inside the network."""
    return images


def efficientnet(images: np.ndarray) -> np.ndarray:
    """Preprocess for EfficientNet B0 to B7, whose layers subtract the mean and divide by the standard deviation.

    Their ImageNet weights expect another division, by the root of the standard deviation. Keras adds it as a layer to
    the network, but only if it loads these weights itself, and by their name.
    """
    centre, root = (255 * _MEAN).astype(np.float32), np.sqrt(_STD).astype(np.float32)
    found: np.ndarray = (images - centre) / root + centre
    return found


PREPROCESSINGS: dict[Callable[[np.ndarray], np.ndarray], str] = {
    lite: "(x - 127) / 128",
    symmetric: "x / 127.5 - 1",
    caffe: "BGR - (103.939, 116.779, 123.68)",
    standardised: "(x / 255 - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)",
    inside: "by layers of the network",
    efficientnet: "by layers of the network, after a division by (0.229, 0.224, 0.225) ** 0.5 around the mean",
}
"""Each preprocessing in words, for the record."""
