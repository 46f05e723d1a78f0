"""Small encoded pictures for tests."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image


def picture(color=(200, 30, 30), size=(24, 18), kind="JPEG", mode="RGB", **options) -> bytes:
    """One encoded image of one colour."""
    buffer = io.BytesIO()
    Image.new(mode, size, color).save(buffer, kind, **options)
    return buffer.getvalue()


def noise_picture(seed: int, size=(24, 18), base=(128, 128, 128)) -> bytes:
    """One encoded image of noise around a colour; another for each seed."""
    rng = np.random.default_rng(seed)
    pixels = np.clip(np.array(base) + rng.normal(0, 25, (size[1], size[0], 3)), 0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()
