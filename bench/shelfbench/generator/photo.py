"""A photo of a product: how the product stands, where, and in which light."""

from __future__ import annotations

import io
import math
from functools import cache, lru_cache

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from shelfbench.generator.materials import BASE, TILE, Colour, mix, palette, shading, texture
from shelfbench.generator.sketch import Sketch, font

POSES = {"stands": 4.0, "front": 7.0, "lies": 180.0, "leans": 35.0}
"""How far a product may be turned in a photo, in degrees to either side."""

ONE_WAY = "front"
"""The pose of products that have a left and a right side, and so are never mirrored."""

OVERSAMPLING = 1.5
"""Pixels of the sketch per pixel of the photo; at the usual scale a product is drawn at about twice its size."""

TWICE, CLOSE_UP, PRINTED = 0.04, 0.1, 0.08
"""Shares of photos that show the product twice, show a part of it, and carry a badge, a ribbon or a frame."""


def photograph(sketch: Sketch, pose: str, pixels: int, quality: int, rng: np.random.Generator, first: bool) -> bytes:
    """Photograph a sketch.

    Parameters
    ----------
    sketch : Sketch
        A finished drawing.
    pose : str
        A name of `POSES`.
    pixels : int
        Side of the photo.
    quality : int
        JPEG quality.
    rng : numpy.random.Generator
        Generator of this photo.
    first : bool
        Whether it is the product's main photo, which shops take with more care.

    Returns
    -------
    bytes
        A JPEG, RGB.
    """
    neat = rng.random() < (0.62 if first else 0.4)
    photo = Image.new("RGB", (pixels, pixels), (255, 255, 255)) if neat else _background(pixels, rng)
    shadow = rng.random() < (0.5 if neat else 0.85)
    kind = rng.random()
    if kind < TWICE:
        for across in (-0.23, 0.23):
            forward = _homography(sketch, pixels, pose, rng, rng.uniform(0.45, 0.6), across)
            _place(photo, sketch, forward, pose if shadow else "", rng)
    else:
        close = kind > 1 - CLOSE_UP * (0.5 if first else 1.5)
        scale = rng.uniform(1.15, 1.7) if close else rng.uniform(0.7, 1.06)
        _place(photo, sketch, _homography(sketch, pixels, pose, rng, scale, 0.0), pose if shadow else "", rng)
    photo = _light(photo, rng, neat)
    if rng.random() < PRINTED:
        _badge(photo, rng)
    buffer = io.BytesIO()
    photo.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def _homography(
    sketch: Sketch, pixels: int, pose: str, rng: np.random.Generator, scale: float, across: float
) -> np.ndarray:
    """Draw the projective map from the sketch's pixels to the photo's, shape (3, 3)."""
    angle = math.radians(rng.uniform(-POSES[pose], POSES[pose]))
    squeeze, shear, tall = rng.uniform(0.86, 1.0), rng.uniform(-0.05, 0.05), rng.random() < 0.5
    sx, sy = (scale * squeeze, scale) if tall else (scale, scale * squeeze)
    slack = abs(1 - scale) / 2 + 0.03
    right, down = rng.uniform(-slack, slack, 2)
    tilt_x, tilt_y = rng.uniform(-0.16, 0.16, 2)
    c, s = math.cos(angle), math.sin(angle)
    flip, side = -1.0 if sketch.mirrored else 1.0, sketch.side
    forward = np.array(
        [
            [c * flip * sx, c * shear - s * sy, right + across],
            [s * flip * sx, s * shear + c * sy, down],
            [tilt_x, tilt_y, 1.0],
        ]
    )
    into_photo = np.array([[pixels, 0, pixels / 2], [0, pixels, pixels / 2], [0, 0, 1.0]])
    from_sketch = np.array([[1 / side, 0, -0.5], [0, 1 / side, -0.5], [0, 0, 1.0]])
    found: np.ndarray = into_photo @ forward @ from_sketch
    return found


def _place(photo: Image.Image, sketch: Sketch, forward: np.ndarray, pose: str, rng: np.random.Generator) -> None:
    """Put the sketch into the photo, with a shadow if a pose is given.

    Only the part of the photo that the sketch covers is warped.
    """
    box = sketch.mask.getbbox()
    if box is None:
        return
    x0, y0, x1, y1 = box
    corners = forward @ np.array([[x0, x1, x1, x0], [y0, y0, y1, y1], [1.0, 1, 1, 1]])
    across, down = corners[0] / corners[2], corners[1] / corners[2]
    left, top = max(0, int(across.min()) - 1), max(0, int(down.min()) - 1)
    size = (min(photo.width, int(across.max()) + 2) - left, min(photo.height, int(down.max()) + 2) - top)
    if min(size) <= 0:
        return
    moved = np.linalg.inv(forward) @ np.array([[1.0, 0, left], [0, 1, top], [0, 0, 1]])
    coefficients = (moved / moved[2, 2]).ravel()[:8].tolist()
    mask = sketch.mask.transform(size, Image.Transform.PERSPECTIVE, coefficients, Image.Resampling.BILINEAR)
    image = sketch.image.transform(size, Image.Transform.PERSPECTIVE, coefficients, Image.Resampling.BILINEAR)
    if pose:
        _shadow(photo, mask, (left, top), pose, rng)
    photo.paste(image, (left, top), mask)


@lru_cache(maxsize=256)
def _fading(strength: int) -> list[int]:
    return [v * strength // 255 for v in range(256)]


def _shadow(photo: Image.Image, mask: Image.Image, at: tuple[int, int], pose: str, rng: np.random.Generator) -> None:
    """Darken the ground below a standing product, or next to one that is lying."""
    cast = Image.new("L", (photo.width // 4 + 1, photo.height // 4 + 1))
    blur, strength, slip, fall = (
        rng.uniform(1.5, 4),
        int(rng.integers(60, 150)),
        rng.uniform(-1, 1),
        rng.uniform(1, 4),
    )
    if pose in ("lies", "leans"):
        cast.paste(mask.reduce(4), (at[0] // 4 + round(3 * slip), at[1] // 4 + round(fall)))
    else:
        width, bottom = mask.width / 4, (at[1] + mask.height) / 4
        depth, left = max(3.0, 0.1 * width), at[0] / 4 + 0.08 * slip * width
        ImageDraw.Draw(cast).ellipse((left, bottom - depth, left + width, bottom + 0.5 * depth), fill=255)
    cast = cast.filter(ImageFilter.GaussianBlur(blur)).resize(photo.size, Image.Resampling.BILINEAR)
    photo.paste((25, 22, 20), (0, 0), cast.point(_fading(strength)))


@cache
def _ramp(kind: str, pixels: int) -> Image.Image:
    return shading(kind).resize((pixels, pixels), Image.Resampling.BICUBIC)


@cache
def _fall_of_light(kind: str, turn: int, pixels: int) -> Image.Image:
    light = _ramp(kind, pixels).transpose(Image.Transpose(turn)).point([min(255, v + 60) for v in range(256)])
    return Image.merge("RGB", (light, light, light))


def _coloured(light: Image.Image, colour: Colour) -> Image.Image:
    light.putpalette(palette(colour))
    return light.convert("RGB")


def _one(rng: np.random.Generator, *names: str) -> str:
    return names[int(rng.integers(len(names)))]


def _background(pixels: int, rng: np.random.Generator) -> Image.Image:
    """Draw a sheet of one colour, a wall with a floor, or a table from above."""
    size = (pixels, pixels)
    grey = int(rng.integers(140, 246))
    kind = rng.random()
    if kind < 0.5:
        light = _ramp(_one(rng, "down", "up", "ball", "slant", "puff"), pixels).copy()
        return _coloured(light, mix((grey, grey, grey), _tint(rng), rng.uniform(0, 0.3)))
    if kind < 0.7:
        wall = Image.new("RGB", size, mix((228, 225, 219), _tint(rng), rng.uniform(0, 0.4)))
        floor = _surface(size, _one(rng, "wood", "grain", "marble", "fabric"), rng)
        wall.paste(floor, (0, round(pixels * rng.uniform(0.55, 0.85))))
        return wall
    return _surface(size, _one(rng, "wood", "board", "marble", "fabric", "leather", "grain", "folds"), rng)


def _tint(rng: np.random.Generator) -> Colour:
    red, green, blue = rng.integers(60, 246, 3)
    return (int(red), int(green), int(blue))


SURFACES: dict[str, Colour] = {
    "wood": (176, 128, 84),
    "board": (150, 104, 66),
    "marble": (226, 224, 222),
    "fabric": (190, 180, 165),
    "leather": (120, 80, 60),
    "grain": (200, 198, 194),
    "folds": (205, 196, 186),
}


def _surface(size: tuple[int, int], kind: str, rng: np.random.Generator) -> Image.Image:
    """Draw a table, a floor or a cloth."""
    tile = texture(kind)
    if size[0] < TILE:
        x, y = int(rng.integers(TILE - size[0])), int(rng.integers(TILE - size[1]))
        tile = tile.crop((x, y, x + size[0], y + size[1]))
    else:
        tile = tile.resize(size)
    light = ImageChops.add(tile, Image.new("L", size, BASE), 1, -128)
    return _coloured(light, mix(SURFACES[kind], _tint(rng), rng.uniform(0, 0.3)))


def _light(photo: Image.Image, rng: np.random.Generator, neat: bool) -> Image.Image:
    """Change exposure and colour cast, sometimes with falling light; a neat photo keeps its white background."""
    if not neat:
        red, green, blue = rng.uniform(0.84, 1.08) * (1 + rng.uniform(-0.05, 0.05, 3))
        photo = photo.convert("RGB", (red, 0, 0, 0, 0, green, 0, 0, 0, 0, blue, 0))
    if rng.random() < (0.08 if neat else 0.5):
        light = _fall_of_light(_one(rng, "slant", "down", "up", "ball"), int(rng.integers(0, 7)), photo.width)
        photo = ImageChops.multiply(photo, light)
    return photo


BADGES: tuple[Colour, ...] = ((200, 30, 40), (30, 90, 180), (240, 170, 20), (40, 140, 70), (20, 20, 20))


def _badge(photo: Image.Image, rng: np.random.Generator) -> None:
    """Add what shops print over their photos: a disc, a ribbon or a frame."""
    side = photo.width
    draw = ImageDraw.Draw(photo)
    colour = BADGES[int(rng.integers(len(BADGES)))]
    words = _one(rng, "-20%", "NEW", "SALE", "x2", "ECO", "TOP", "3 YEARS", "MADE IN EU")
    kind = rng.random()
    if kind < 0.5:
        radius = side * rng.uniform(0.09, 0.14)
        x, y = (rng.choice([radius + 4, side - radius - 4]) for _ in range(2))
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)
        size = max(6, int(radius * 1.4 / max(2.2, len(words) * 0.5)))
        draw.text((x, y), words, fill="white", font=font(size), anchor="mm")
    elif kind < 0.8:
        top = rng.choice([0.0, 0.88]) * side
        draw.rectangle((0, top, side, top + 0.12 * side), fill=colour)
        draw.text(
            (side / 2, top + 0.06 * side),
            words,
            fill="white",
            font=font(max(6, int(side * 0.07))),
            anchor="mm",
        )
    else:
        draw.rectangle((0, 0, side - 1, side - 1), outline=colour, width=max(1, side // 60))
