"""The drawing of one product: a small vocabulary of parts, in units of a hundredth of the sketch's side.

The function of a motif (``shapes_*.py``) takes a `Sketch`. What it draws from `Sketch.between`, `pick`, `chance` and
the colours belongs to the product and is the same in each of its photos; `Sketch.turn` belongs to the photo.
"""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFont

from shelfbench.generator.materials import PATTERNS, TILE, Colour, Paint, palette, pattern, shading, texture

T = TypeVar("T")
Points = Sequence[Sequence[float]]
Box = tuple[float, float, float, float]
"""x0, y0, x1, y1."""

SYLLABLES = (
    "ba",
    "co",
    "da",
    "el",
    "fi",
    "go",
    "ha",
    "in",
    "ka",
    "lo",
    "ma",
    "ne",
    "or",
    "pa",
    "qui",
    "ra",
    "so",
    "ta",
    "un",
    "vi",
)


@dataclass(frozen=True)
class Style:
    """What distinguishes a category from others with the same motif.

    Attributes
    ----------
    variant : int
        0 draws over the motif's whole range; any other number narrows every range in its own way.
    hue : float
        Centre of the band of hues it keeps to, in [0, 1); negative for no band.
    """

    variant: int = 0
    hue: float = -1.0


def _liked(share: float) -> float:
    """Return a hue with the frequencies of a shop: many reds, browns and blues, some greens, few purples."""
    return float(
        np.interp(
            share,
            (0, 0.2, 0.36, 0.48, 0.6, 0.68, 0.92, 0.96, 1),
            (-0.03, 0.02, 0.08, 0.14, 0.36, 0.5, 0.66, 0.8, 0.94),
        )
    )


@lru_cache(maxsize=64)
def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Return Pillow's own typeface, so that the machine's fonts do not matter."""
    return ImageFont.load_default(size)


class Sketch:
    """A product being drawn.

    Parameters
    ----------
    side : int
        Side of the square sketch in pixels (twice what the photo will show).
    rng : numpy.random.Generator
        Generator of the product; the same state produces the same product.
    style : Style
        Style of its category.
    turn : float
        Point of view of the photo, from -1 (from the left) to 1 (from the right).
    mirrored : bool
        Whether the photo will be mirrored, so that print must be drawn the wrong way round.

    Attributes
    ----------
    image : PIL.Image.Image
        RGB; pixels outside the mask have no meaning.
    mask : PIL.Image.Image
        L; where the product is.
    """

    def __init__(self, side: int, rng: np.random.Generator, style: Style, turn: float, mirrored: bool = False) -> None:
        self.side = side
        self.unit = side / 100
        self.rng = rng
        self.turn = turn
        self.mirrored = mirrored
        self.style = style
        self.image = Image.new("RGB", (side, side), (120, 120, 120))
        self.mask = Image.new("L", (side, side))
        self._on_image, self._on_mask = ImageDraw.Draw(self.image), ImageDraw.Draw(self.mask)
        self._narrow = np.random.default_rng([13, style.variant]) if style.variant else None

    # Random choices, for the product

    def between(self, low: float, high: float) -> float:
        """Draw a number from `low` to `high`."""
        share = self.rng.random()
        if self._narrow is not None:
            share = self._narrow.random() * 0.65 + 0.35 * share
        return low + (high - low) * share

    def count(self, low: int, high: int) -> int:
        """Draw a whole number from `low` to `high`, both included."""
        return min(high, int(self.between(low, high + 1)))

    def chance(self, share: float) -> bool:
        """Draw True for about `share` of the products."""
        return self.between(0, 1) < share

    def pick(self, *options: T) -> T:
        """Draw one of the options."""
        return options[min(len(options) - 1, int(self.between(0, len(options))))]

    def _hsv(self, hue: float, saturation: float, value: float) -> Colour:
        if self.style.hue >= 0:
            hue = self.style.hue + 0.06 * (hue - 0.5)
            saturation = max(saturation, 0.45)
        red, green, blue = colorsys.hsv_to_rgb(hue % 1.0, saturation, value)
        return (round(255 * red), round(255 * green), round(255 * blue))

    def colour(self) -> Colour:
        """Draw a colour that shops sell: mostly a real colour, sometimes nearly black, grey or white."""
        hue, kind, u, v = self.rng.random(4)
        if kind < 0.55:
            return self._hsv(_liked(hue), 0.25 + 0.55 * u, 0.28 + 0.62 * v)
        if kind < 0.77:
            return self._hsv(hue, 0.15 * u, 0.09 + 0.2 * v)
        return self._hsv(0.1 * hue, 0.16 * u, 0.5 + 0.46 * v)

    def bright(self) -> Colour:
        """Draw a saturated colour."""
        hue, u, v = self.rng.random(3)
        return self._hsv(_liked(hue), 0.6 + 0.35 * u, 0.6 + 0.35 * v)

    def pale(self) -> Colour:
        """Draw white, cream or a pastel."""
        hue, u, v = self.rng.random(3)
        return self._hsv(hue, 0.2 * u, 0.84 + 0.15 * v)

    def dark(self) -> Colour:
        """Draw black, anthracite or a deep colour."""
        hue, u, v = self.rng.random(3)
        return self._hsv(hue, 0.4 * u, 0.07 + 0.2 * v)

    def wooden(self) -> Colour:
        """Draw the colour of a wood, or of painted wood."""
        hue, u, v, painted = self.rng.random(4)
        if painted < 0.25:
            return self._hsv(hue, 0.15 * u, 0.2 + 0.75 * v)
        return self._hsv(0.055 + 0.045 * hue, 0.3 + 0.4 * u, 0.3 + 0.58 * v)

    def steel(self) -> Colour:
        """Draw grey metal, sometimes brass, copper or black."""
        hue, u, v, kind = self.rng.random(4)
        if kind < 0.7:
            return self._hsv(0.55 + 0.1 * hue, 0.06 * u, 0.55 + 0.3 * v)
        return self._hsv(0.05 + 0.08 * hue, 0.55 * u + 0.2, 0.2 + 0.6 * v)

    def cloth(self, shade: str, *textures: str, printed: float = 0.4) -> Paint:
        """Draw a paint with one of the textures and, for a share of the products, a printed pattern."""
        kind = self.pick(*PATTERNS) if self.chance(printed) else ""
        return Paint(self.colour(), shade, self.pick(*textures), kind, self.colour())

    def word(self, low: int = 2, high: int = 4) -> str:
        """Draw a meaningless word or brand."""
        return "".join(
            SYLLABLES[int(i)] for i in self.rng.integers(0, len(SYLLABLES), int(self.rng.integers(low, high + 1)))
        )

    # Parts

    def oval(self, x0: float, y0: float, x1: float, y1: float, paint: Paint) -> None:
        """Fill the ellipse in a box."""
        stencil, box = self._stencil(x0, y0, x1, y1)
        ImageDraw.Draw(stencil).ellipse(box, fill=255)
        self._fill(stencil, x0, y0, paint)

    def disc(self, x: float, y: float, radius: float, paint: Paint) -> None:
        """Fill a circle."""
        self.oval(x - radius, y - radius, x + radius, y + radius, paint)

    def ring(self, x0: float, y0: float, x1: float, y1: float, width: float, paint: Paint) -> None:
        """Draw the rim of an ellipse, `width` inwards."""
        stencil, box = self._stencil(x0, y0, x1, y1)
        ImageDraw.Draw(stencil).ellipse(box, outline=255, width=max(1, round(width * self.unit)))
        self._fill(stencil, x0, y0, paint)

    def arc(self, box: Box, span: tuple[float, float], width: float, paint: Paint) -> None:
        """Draw a part of such a rim: the degrees of `span`, clockwise from the right."""
        x0, y0, x1, y1 = box
        stencil, inner = self._stencil(x0, y0, x1, y1)
        ImageDraw.Draw(stencil).arc(inner, *span, fill=255, width=max(1, round(width * self.unit)))
        self._fill(stencil, x0, y0, paint)

    def slab(self, x0: float, y0: float, x1: float, y1: float, paint: Paint, radius: float = 0) -> None:
        """Fill a rectangle, with round corners if `radius` is given."""
        stencil, box = self._stencil(x0, y0, x1, y1)
        draw = ImageDraw.Draw(stencil)
        if radius * self.unit >= 1:
            draw.rounded_rectangle(box, radius * self.unit, fill=255)
        else:
            draw.rectangle(box, fill=255)
        self._fill(stencil, x0, y0, paint)

    def poly(self, points: Points, paint: Paint, smooth: int = 0) -> None:
        """Fill a polygon; `smooth` rounds of corner cutting make it a soft shape."""
        outline = np.asarray(points, dtype=np.float64)
        for _ in range(smooth):
            ahead = np.roll(outline, -1, axis=0)
            outline = np.stack([0.75 * outline + 0.25 * ahead, 0.25 * outline + 0.75 * ahead], axis=1).reshape(-1, 2)
        (x0, y0), (x1, y1) = outline.min(axis=0), outline.max(axis=0)
        stencil, _ = self._stencil(x0, y0, x1, y1)
        local = (outline - (x0, y0)) * self.unit
        ImageDraw.Draw(stencil).polygon(local.ravel().tolist(), fill=255)
        self._fill(stencil, x0, y0, paint)

    def turned(self, x: float, profile: Points, paint: Paint, smooth: int = 2) -> None:
        """Fill a body of revolution about the vertical at `x`: (height y, radius) from top to bottom."""
        right = [(x + radius, y) for y, radius in profile]
        left = [(x - radius, y) for y, radius in reversed(profile)]
        self.poly([*right[:1], *right, *right[-1:], *left[:1], *left, *left[-1:]], paint, smooth)

    def line(self, points: Points, width: float, paint: Paint) -> None:
        """Draw a stroke with round ends."""
        across = np.asarray(points, dtype=np.float64)
        half = width / 2
        (x0, y0), (x1, y1) = across.min(axis=0) - half, across.max(axis=0) + half
        stencil, _ = self._stencil(x0, y0, x1, y1)
        local = (across - (x0, y0)) * self.unit
        draw = ImageDraw.Draw(stencil)
        draw.line(local.ravel().tolist(), fill=255, width=max(1, round(width * self.unit)), joint="curve")
        reach = half * self.unit
        for u, v in (local[0], local[-1]):
            draw.ellipse((u - reach, v - reach, u + reach, v + reach), fill=255)
        self._fill(stencil, x0, y0, paint)

    def plain(self, points: Points, colour: Colour) -> None:
        """Fill a polygon with one colour: the cheapest part, for thin things."""
        local = [(x * self.unit, y * self.unit) for x, y in points]
        self._on_image.polygon(local, fill=colour)
        self._on_mask.polygon(local, fill=255)

    def stroke(self, points: Points, width: float, colour: Colour) -> None:
        """Draw a line of one colour: seams, laces, wires."""
        local = [(x * self.unit, y * self.unit) for x, y in points]
        thick = max(1, round(width * self.unit))
        self._on_image.line(local, fill=colour, width=thick)
        self._on_mask.line(local, fill=255, width=thick)

    def spot(self, x: float, y: float, radius: float, colour: Colour) -> None:
        """Draw a small disc of one colour: buttons, eyes, screws."""
        box = (
            (x - radius) * self.unit,
            (y - radius) * self.unit,
            (x + radius) * self.unit,
            (y + radius) * self.unit,
        )
        self._on_image.ellipse(box, fill=colour)
        self._on_mask.ellipse(box, fill=255)

    def text(self, x: float, y: float, words: str, height: float, colour: Colour) -> None:
        """Print words on what is already drawn."""
        typeface = font(max(4, round(height * self.unit)))
        if not self.mirrored:
            self._on_image.text((x * self.unit, y * self.unit), words, fill=colour, font=typeface, anchor="mm")
            return
        left, top, right, bottom = typeface.getbbox(words, anchor="mm")
        label = Image.new("L", (max(1, int(right - left) + 2), max(1, int(bottom - top) + 2)))
        ImageDraw.Draw(label).text((1 - left, 1 - top), words, fill=255, font=typeface, anchor="mm")
        label = label.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        self.image.paste(colour, (round(x * self.unit - right), round(y * self.unit + top)), label)

    def erase(self, x0: float, y0: float, x1: float, y1: float) -> None:
        """Make an elliptic hole."""
        self._on_mask.ellipse((x0 * self.unit, y0 * self.unit, x1 * self.unit, y1 * self.unit), fill=0)

    def _stencil(
        self, x0: float, y0: float, x1: float, y1: float
    ) -> tuple[Image.Image, tuple[float, float, float, float]]:
        """Return an empty mask that fits the box, and the box in the mask's own pixels."""
        width, height = max(1.0, (x1 - x0) * self.unit), max(1.0, (y1 - y0) * self.unit)
        size = (min(2 * self.side, int(width) + 2), min(2 * self.side, int(height) + 2))
        return Image.new("L", size), (0.0, 0.0, width, height)

    def _fill(self, stencil: Image.Image, x0: float, y0: float, paint: Paint) -> None:
        size = stencil.size
        light = shading(paint.shade).resize(size, Image.Resampling.NEAREST)
        if paint.texture:
            light = ImageChops.add(light, self._crop(texture(paint.texture), size), 1, -128)
        coloured = _coloured(light, paint.colour)
        if paint.pattern:
            coloured.paste(_coloured(light, paint.second), (0, 0), self._crop(pattern(paint.pattern), size))
        at = (round(x0 * self.unit), round(y0 * self.unit))
        self.image.paste(coloured, at, stencil)
        self.mask.paste(255, (*at, at[0] + size[0], at[1] + size[1]), stencil)

    def _crop(self, tile: Image.Image, size: tuple[int, int]) -> Image.Image:
        if max(size) > TILE:
            return tile.resize(size)
        u, v = self.rng.random(2)
        x, y = int(u * (TILE - size[0])), int(v * (TILE - size[1]))
        return tile.crop((x, y, x + size[0], y + size[1]))


def _coloured(light: Image.Image, colour: Colour) -> Image.Image:
    indexed = light.copy()
    indexed.putpalette(palette(colour))
    return indexed.convert("RGB")
