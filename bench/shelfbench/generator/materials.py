"""Light, texture and pattern: the surfaces that all products are made of.

A surface is first a grey picture of how much light it reflects (``BASE`` is the plain colour, less is shade, more is
highlight), then coloured through a palette. All of it is in 8 bits and in Pillow, for speed; each process makes the
tiles once.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

BASE = 170
TILE = 512

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Paint:
    """A surface: its colour, how light falls on it, and what it is made of.

    Attributes
    ----------
    colour : (int, int, int)
        sRGB.
    shade : str
        A name of `shading`.
    texture : str
        A name of `texture`, or '' for none.
    pattern : str
        A name of `pattern`, or '' for none, printed in `second`.
    second : (int, int, int)
        Colour of the pattern.
    """

    colour: Colour
    shade: str = "down"
    texture: str = ""
    pattern: str = ""
    second: Colour = (255, 255, 255)


def mix(a: Colour, b: Colour, share: float) -> Colour:
    """Return the colour between `a` (share 0) and `b` (share 1)."""
    return (
        round(a[0] + (b[0] - a[0]) * share),
        round(a[1] + (b[1] - a[1]) * share),
        round(a[2] + (b[2] - a[2]) * share),
    )


def darker(colour: Colour, share: float = 0.3) -> Colour:
    """Return the colour in the shade."""
    return mix(colour, (0, 0, 0), share)


def lighter(colour: Colour, share: float = 0.3) -> Colour:
    """Return the colour in the light."""
    return mix(colour, (255, 255, 255), share)


@lru_cache(maxsize=4096)
def palette(colour: Colour) -> bytes:
    """Return 256 colours, from black through `colour` at ``BASE`` to nearly white."""
    light = np.arange(256, dtype=np.float32)[:, None]
    base = np.asarray(colour, dtype=np.float32)
    shade = base * (light / BASE) ** 1.15
    shine = base + (255 - base) * np.clip((light - BASE) / (255 - BASE), 0, 1) ** 1.3 * 0.85
    return np.where(light <= BASE, shade, shine).round().astype(np.uint8).tobytes()


def _grey(values: np.ndarray) -> Image.Image:
    return Image.fromarray(np.clip(values, 0, 255).astype(np.uint8))


@cache
def shading(kind: str) -> Image.Image:
    """Return a grey picture of how light falls on a shape (from the upper left), to be stretched over it."""
    y, x = np.mgrid[0:256, 0:256] / 255.0
    across = 2 * x - 1
    edge = np.minimum(np.minimum(x, 1 - x), np.minimum(y, 1 - y))
    light: dict[str, np.ndarray] = {
        "flat": np.full_like(x, BASE),
        "down": 186 - 36 * y,
        "up": 150 + 34 * y,
        "slant": 198 - 28 * x - 28 * y,
        "side": 100
        + 84 * np.sqrt(np.clip(1 - (across + 0.25) ** 2 / 1.6, 0, 1))
        + 45 * np.exp(-(((across + 0.45) / 0.13) ** 2)),
        "tube": 80
        + 100 * np.sqrt(np.clip(1 - (2 * y - 1 + 0.2) ** 2 / 1.5, 0, 1))
        + 50 * np.exp(-(((2 * y - 0.55) / 0.14) ** 2)),
        "metal": 128 + 70 * np.sin(across * 4.2 + 0.6) + 40 * np.exp(-(((across + 0.35) / 0.1) ** 2)),
        "ball": 205
        - 100 * ((x - 0.36) ** 2 + (y - 0.32) ** 2) ** 0.75 * 1.3
        + 60 * np.exp(-((x - 0.33) ** 2 + (y - 0.27) ** 2) / 0.008),
        "puff": 120 + 62 * np.clip(edge * 4, 0, 1) ** 0.6 - 14 * y,
        "drape": 160
        - 20 * np.abs(across) ** 3
        + 14 * np.sin(across * 7 + 1.3 * y)
        - 10 * y
        + 8 * np.sin(across * 3 - 4 * y),
        "glass": 165
        + 60 * (np.abs(across) > 0.8)
        - 30 * (np.abs(across) > 0.92)
        + 70 * np.exp(-(((across + 0.5) / 0.08) ** 2)),
        "screen": 160 + 50 * np.clip(1 - np.abs(x + 0.8 * y - 0.7) * 3, 0, 1),
        "hollow": 90 + 80 * x + 25 * y,
    }
    return _grey(light[kind])


def _noise(rng: np.random.Generator, blur_x: float, blur_y: float, strength: float) -> np.ndarray:
    """Return noise around 0 that tiles seamlessly, smoothed by a Gaussian in the frequency domain."""
    spectrum = np.fft.rfft2(rng.standard_normal((TILE, TILE)))
    fy = np.fft.fftfreq(TILE)[:, None]
    fx = np.fft.rfftfreq(TILE)[None, :]
    smooth = np.fft.irfft2(spectrum * np.exp(-2 * np.pi**2 * ((fx * blur_x) ** 2 + (fy * blur_y) ** 2)))
    found: np.ndarray = strength * smooth / smooth.std()
    return found


@cache
def texture(kind: str) -> Image.Image:
    """Return a grey tile of `TILE` pixels around 128: a material's texture, added to the light."""
    rng = np.random.default_rng([11, sum(kind.encode())])
    y, x = np.mgrid[0:TILE, 0:TILE]
    if kind == "wood":
        rings = _noise(rng, 40, 6, 1.0)
        values = 9 * np.sin(7 * rings) + _noise(rng, 14, 0.8, 5)
    elif kind == "board":
        rings = _noise(rng, 6, 40, 1.0)
        values = 9 * np.sin(7 * rings) + _noise(rng, 0.8, 14, 5)
    elif kind == "brushed":
        values = _noise(rng, 30, 0.7, 9)
    elif kind == "fabric":
        values = 6 * np.sin(x * 2.1) + 6 * np.sin(y * 2.1) + _noise(rng, 1, 1, 5)
    elif kind == "denim":
        values = 8 * np.sin((x + y) * 1.2) + _noise(rng, 1.2, 1.2, 7) + _noise(rng, 30, 30, 8)
    elif kind == "knit":
        values = 17 * np.sin(x * 0.9 + 1.2 * np.sin(y * 0.9)) * np.sin(y * 0.45)
    elif kind == "leather":
        values = 7 * np.abs(_noise(rng, 1.6, 1.6, 1.0)) - 5 + _noise(rng, 25, 25, 6)
    elif kind == "fur":
        values = _noise(rng, 0.9, 1.8, 15) + _noise(rng, 6, 8, 6)
    elif kind == "wicker":
        values = 32 * np.sign(np.sin(x * 0.5) * np.sin(y * 0.5)) * np.abs(np.sin(x * 0.5))
    elif kind == "marble":
        values = 40 - 55 * np.exp(-np.abs(_noise(rng, 18, 18, 1.0) + _noise(rng, 5, 5, 0.25)) * 9)
    elif kind == "folds":
        values = _noise(rng, 9, 26, 10)
    elif kind == "speckle":
        values = -90.0 * (_noise(rng, 1.3, 1.3, 1.0) > 2.1)
    else:
        values = _noise(rng, 0.8, 0.8, 7)
    return _grey(128 + values)


PATTERNS = (
    "stripes",
    "bands",
    "diagonal",
    "check",
    "dots",
    "chevron",
    "floral",
    "camouflage",
    "stars",
    "gingham",
    "leaves",
)


@cache
def pattern(kind: str) -> Image.Image:
    """Return a mask of `TILE` pixels: where the second colour is printed."""
    rng = np.random.default_rng([12, sum(kind.encode())])
    y, x = np.mgrid[0:TILE, 0:TILE]
    if kind == "stripes":
        on = (x % 32) < 14
    elif kind == "bands":
        on = (y % 40) < 15
    elif kind == "diagonal":
        on = ((x + y) % 36) < 15
    elif kind == "check":
        on = ((x // 26) + (y // 26)) % 2 == 0
    elif kind == "gingham":
        return _grey(110.0 * ((x % 32) < 15) + 110.0 * ((y % 32) < 15))
    elif kind == "dots":
        on = (((x + 16 * ((y // 32) % 2)) % 32 - 16) ** 2 + (y % 32 - 16) ** 2) < 70
    elif kind == "chevron":
        on = ((y + np.abs(x % 40 - 20)) % 28) < 12
    elif kind == "camouflage":
        on = _noise(rng, 14, 12, 1.0) > 0.3
    else:
        return _scattered(kind, rng)
    return _grey(255.0 * on)


def _scattered(kind: str, rng: np.random.Generator) -> Image.Image:
    """Scatter flowers, stars or leaves on a tile."""
    tile = Image.new("L", (TILE, TILE))
    draw = ImageDraw.Draw(tile)
    for column in range(0, TILE, 52):
        for row in range(0, TILE, 52):
            cx, cy = column + rng.uniform(8, 40), row + rng.uniform(8, 40)
            radius, turn = rng.uniform(10, 19), rng.uniform(0, 6.3)
            if kind == "floral":
                for petal in range(5):
                    angle = turn + petal * 1.2566
                    px, py = cx + radius * 0.62 * np.cos(angle), cy + radius * 0.62 * np.sin(angle)
                    draw.ellipse((px - radius * 0.5, py - radius * 0.5, px + radius * 0.5, py + radius * 0.5), fill=255)
                draw.ellipse((cx - 4, cy - 4, cx + 4, cy + 4), fill=0)
            elif kind == "stars":
                angles = turn + np.arange(10) * np.pi / 5
                far = radius * np.where(np.arange(10) % 2 == 0, 0.9, 0.4)
                draw.polygon(
                    [(cx + r * np.cos(a), cy + r * np.sin(a)) for r, a in zip(far, angles, strict=True)],
                    fill=255,
                )
            else:
                angles = np.linspace(-np.pi / 2, np.pi / 2, 9)
                half = np.cos(angles) * radius * 0.35
                along = np.sin(angles) * radius * 1.2
                points = [*zip(along, half, strict=True), *zip(along[::-1], -half[::-1], strict=True)]
                c, s = np.cos(turn), np.sin(turn)
                draw.polygon([(cx + c * u - s * v, cy + s * u + c * v) for u, v in points], fill=255)
    return tile.filter(ImageFilter.GaussianBlur(0.6))
