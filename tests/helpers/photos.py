"""Small encoded pictures."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image


class InMemoryImages:
    """Encoded images in a list, with the interface of the readers' images."""

    files = ()

    def __init__(self, content):
        self.content = content

    def __len__(self):
        return len(self.content)

    def read(self, indices):
        return [self.content[index] for index in indices]

    def where(self, index):
        return f"image {index}"

    def identity(self):
        return None


def picture(color=(200, 30, 30), size=(24, 18), kind="JPEG", mode="RGB", **options) -> bytes:
    """Encode an image of a single colour."""
    buffer = io.BytesIO()
    Image.new(mode, size, color).save(buffer, kind, **options)
    return buffer.getvalue()


def noise_picture(seed: int, size=(24, 18), base=(128, 128, 128)) -> bytes:
    """Encode an image of noise around a colour; each seed makes a different one."""
    rng = np.random.default_rng(seed)
    pixels = np.clip(np.array(base) + rng.normal(0, 25, (size[1], size[0], 3)), 0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()
