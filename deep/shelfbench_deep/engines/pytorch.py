"""Networks in PyTorch: computing forward on a CPU or a GPU, and converting to OpenVINO."""

from __future__ import annotations

import contextlib
import io
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from shelfbench_deep.engines.openvino import REQUEST, CompiledNetwork, library, taking

if TYPE_CHECKING:
    import torch

Three = tuple[float, float, float]


def normalising(model: torch.nn.Module, mean: Three, std: Three) -> torch.nn.Module:
    """Let a network take pixels as they are.

    Parameters
    ----------
    model : torch.nn.Module
        From normalised images of shape (n, 3, side, side) to features.
    mean : tuple of float
        Of red, green and blue from 0 to 1.
    std : tuple of float
        Standard deviation of the same.

    Returns
    -------
    torch.nn.Module
        From RGB of uint8, shape (n, side, side, 3), to features.
    """
    import torch

    class Seeing(torch.nn.Module):  # type: ignore[misc, unused-ignore]
        mean: torch.Tensor
        std: torch.Tensor

        def __init__(self) -> None:
            super().__init__()
            self.model = model
            for name, values in (("mean", mean), ("std", std)):
                scaled = torch.tensor(values, dtype=torch.float64) * 255
                self.register_buffer(name, scaled.float().view(1, 3, 1, 1), persistent=False)

        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            features: torch.Tensor = self.model((pixels.permute(0, 3, 1, 2).float() - self.mean) / self.std)
            return features

    return Seeing().eval()


def torch_device() -> str:
    """Name the device that PyTorch computes on: ``cuda`` if it has one, otherwise ``cpu``."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def half_precision() -> str:
    """Return the half precision of the GPU: bfloat16 where it multiplies that, otherwise float16."""
    import torch

    return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float16"


class TorchNetwork:
    """A network in PyTorch, from bytes to features.

    Parameters
    ----------
    network : torch.nn.Module
        From `normalising`.
    precision : {"float32", "bfloat16", "float16"}
        Of products; what needs more is computed in float32 (autocast).
    batch : int
        Images at once.
    """

    def __init__(self, network: torch.nn.Module, precision: str, batch: int) -> None:
        import torch

        kind = torch_device()
        self.device = torch.cuda.get_device_name() if kind == "cuda" else "cpu"
        self._device, self._batch = torch.device(kind), batch
        self._network = network.to(self._device).to(memory_format=torch.channels_last)
        self._half = None if precision == "float32" else getattr(torch, precision)

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Compute features.

        Every batch is padded to the same number of images, so that an image's features do not depend on how many
        others are computed with it.

        Parameters
        ----------
        images : ndarray of uint8, shape (n, pixels, pixels, 3)

        Returns
        -------
        ndarray of float32, shape (n, dimensions)
        """
        import torch

        parts = []
        filled = np.zeros((self._batch, *images.shape[1:]), np.uint8)
        half = torch.autocast(self._device.type, self._half) if self._half else contextlib.nullcontext()
        with torch.inference_mode(), half:
            for start in range(0, len(images), self._batch):
                part = images[start : start + self._batch]
                filled[: len(part)] = part
                filled[len(part) :] = 0
                # a copy, because the next batch is written to the same place
                pixels = torch.tensor(filled).to(self._device)
                parts.append(self._network(pixels)[: len(part)].float().cpu().numpy())
        return np.concatenate(parts)


def from_torch(network: torch.nn.Module, pixels: int, name: str) -> Any:
    """Convert a network to OpenVINO.

    Parameters
    ----------
    network : torch.nn.Module
        From `normalising`. Its weights are copied.
    pixels : int
        Side of an image.
    name : str
        For messages.

    Returns
    -------
    openvino.Model
        From images of uint8, shape (`REQUEST`, pixels, pixels, 3), to features of float32.

    Raises
    ------
    RunError
        If OpenVINO cannot take the network.
    """
    import torch

    example = torch.zeros((REQUEST, pixels, pixels, 3), dtype=torch.uint8)
    quiet = contextlib.redirect_stdout(io.StringIO())
    with taking(name), quiet, warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")  # of tracing, about sizes that are fixed here
        return library().convert_model(network, example_input=example, input=[tuple(example.shape)])


def apart(network: torch.nn.Module, converted: Any, pixels: int, name: str) -> float:
    """Compare a network with its conversion, in float32.

    Parameters
    ----------
    network : torch.nn.Module
    converted : openvino.Model
    pixels : int
    name : str

    Returns
    -------
    float
        The largest difference of a feature, in standard deviations of the features; infinite if one is not a number.
    """
    import torch

    row, column = np.ogrid[:pixels, :pixels]
    waves = [127.5 + 120 * np.sin(2 * np.pi * ((n + 1) * row + 2 * column) / pixels) for n in range(REQUEST)]
    images = np.stack([np.repeat(np.rint(wave)[..., None], 3, axis=2) for wave in waves]).astype(np.uint8)
    images[..., 1] = images[..., ::-1, 1]
    with torch.inference_mode():
        expected = network(torch.from_numpy(images)).numpy()
    found = CompiledNetwork(converted, "float32", name)(images)
    difference = np.abs(found - expected).max() / max(float(expected.std()), 1e-30)
    return float(difference) if np.isfinite(difference) else np.inf
