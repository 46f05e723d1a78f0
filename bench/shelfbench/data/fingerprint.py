"""Fingerprints of photos: the low frequencies of the shrunk photo, and what can be done to a photo in them.

A photo is shrunk to 32 x 32 pixels and kept as the low frequencies of its cosine transform: 16 x 16 of the brightness
and 8 x 8 of each colour difference. The distance of two fingerprints is that of the two shrunk photos (Parseval).
"""

from __future__ import annotations

from typing import Any

import numpy as np

SIDE, BRIGHTNESS, COLOUR = 32, 16, 8

# JPEG's colours: brightness of red, green and blue, and the scales of the blue and the red difference
LUMA = np.array([0.299, 0.587, 0.114], np.float32)
BLUE, RED = np.float32(0.564), np.float32(0.713)

_ODD = [np.tile(np.where(np.arange(k) % 2, -1, 1), k) for k in (BRIGHTNESS, COLOUR, COLOUR)]
# A mirrored photo has the same fingerprint but for the sign of the odd horizontal frequencies.
MIRROR = np.concatenate(_ODD).astype(np.float32)


class Fingerprint:
    """Extract the low frequencies of photos; as an extractor, so that the feature store keeps them by content.

    Attributes
    ----------
    name, pixels, dimensions, batch, framework, device
        See `shelfbench.data.extractor.FeatureExtractor`.
    """

    name = "fingerprint"
    pixels = SIDE
    dimensions = BRIGHTNESS**2 + 2 * COLOUR**2
    batch = 512
    framework = "numpy"
    device = "cpu"

    def describe(self) -> dict[str, Any]:
        """Return everything that changes the numbers."""
        return {"version": 1, "brightness": BRIGHTNESS, "colour": COLOUR}

    def extract(self, images: np.ndarray) -> np.ndarray:
        """Transform shrunk photos.

        Parameters
        ----------
        images : ndarray of uint8, shape (n, 32, 32, 3)

        Returns
        -------
        ndarray of float32, shape (n, 384)
            In levels of 255: the norm of a row is the root mean square of the low-pass filtered photo. Brightness
            first, then the blue and red differences (JPEG's colours), each by rows of vertical frequency.
        """
        from scipy.fft import dct

        basis = dct(np.eye(SIDE), axis=0, norm="ortho").astype(np.float32) / np.sqrt(np.float32(SIDE))
        colours = images.astype(np.float32)
        bright = colours @ LUMA
        parts = (
            (bright, BRIGHTNESS),
            ((colours[..., 2] - bright) * BLUE, COLOUR),
            ((colours[..., 0] - bright) * RED, COLOUR),
        )
        return np.hstack([(basis[:k] @ plane @ basis[:k].T).reshape(len(images), k * k) for plane, k in parts])


def planes(fingerprints: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Take fingerprints apart.

    Parameters
    ----------
    fingerprints : ndarray of float32, shape (n, 384)

    Returns
    -------
    tuple of ndarray, shapes (n, 16, 16), (n, 8, 8) and (n, 8, 8)
        Brightness, blue and red difference, by vertical and horizontal frequency.
    """
    count, end = len(fingerprints), BRIGHTNESS**2
    blue, red = (fingerprints[:, end + i * COLOUR**2 : end + (i + 1) * COLOUR**2] for i in (0, 1))
    return (
        fingerprints[:, :end].reshape(count, BRIGHTNESS, BRIGHTNESS),
        blue.reshape(count, COLOUR, COLOUR),
        red.reshape(count, COLOUR, COLOUR),
    )


def grid(side: int) -> np.ndarray:
    """Compute where the centres of pixels lie, as shares of the side.

    Parameters
    ----------
    side : int

    Returns
    -------
    ndarray of float32, shape (side,)
    """
    return ((np.arange(side) + 0.5) / side).astype(np.float32)


def cosines(at: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Evaluate the waves of which a photo is the sum, and their slopes.

    Parameters
    ----------
    at : ndarray of float32, shape (..., points)
        Places, as shares of the side; the photo goes on mirrored beyond 0 and 1.
    count : int
        Frequencies.

    Returns
    -------
    tuple of ndarray of float32, each of shape (..., points, count)
        ``waves @ plane @ waves.T`` is the low-pass filtered photo, in levels of 255.
    """
    turns = (np.pi * np.arange(count)).astype(np.float32)
    height = np.where(np.arange(count) == 0, 1, np.sqrt(2)).astype(np.float32)
    angle = at[..., None] * turns
    return height * np.cos(angle), -height * turns * np.sin(angle)
