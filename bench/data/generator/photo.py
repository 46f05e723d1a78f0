"""A photo of a product: how it stands, where, in which light."""

from __future__ import annotations

import io
import math
from functools import cache

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from bench.data.generator.materials import BASE, TILE, mix, palette, shading, texture
from bench.data.generator.sketch import Colour, Sketch, font

# How a product may be turned in a photo: most degrees to either side, and whether it may be mirrored (print may not).
POSES = {"stands": (7.0, True), "front": (9.0, False), "lies": (180.0, True), "leans": (35.0, True)}

OVERSAMPLING = 1.5
"""Pixels of the sketch for one of the photo; a product at its usual 0.7 of the photo is thus drawn at about twice its size."""


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
        Of the JPEG.
    rng : numpy.random.Generator
        The photo's.
    first : bool
        Whether it is the product's main photo, which shops take more neatly.

    Returns
    -------
    bytes
        A JPEG, RGB.
    """
    photo, contrast = _background(pixels, rng, 0.7 if first else 0.45)
    kind = rng.random()
    if kind < 0.06:
        for side in (-0.23, 0.23):
            _place(photo, sketch, _homography(sketch.side, pixels, pose, rng, rng.uniform(0.45, 0.6), side), contrast, pose, rng)
    else:
        scale = rng.uniform(0.62, 1.0) if kind < (0.92 if first else 0.75) else rng.uniform(1.1, 1.7)
        _place(photo, sketch, _homography(sketch.side, pixels, pose, rng, scale, 0.0), contrast, pose, rng)
    photo = _light(photo, rng)
    if rng.random() < 0.1:
        _badge(photo, rng)
    buffer = io.BytesIO()
    photo.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def _homography(side: int, pixels: int, pose: str, rng: np.random.Generator, scale: float, across: float) -> np.ndarray:
    """Projective map from the photo's pixels to the sketch's, in the form that Pillow takes, shape (8,)."""
    most, mirrors = POSES[pose]
    angle = math.radians(rng.uniform(-most, most))
    squeeze, shear = rng.uniform(0.86, 1.0), rng.uniform(-0.08, 0.08)
    flip = -1.0 if mirrors and rng.random() < 0.5 else 1.0
    if rng.random() < 0.5:
        sx, sy = scale * squeeze, scale
    else:
        sx, sy = scale, scale * squeeze
    slack = abs(1 - scale) / 2 + 0.04
    move = rng.uniform(-slack, slack, 2)
    c, s = math.cos(angle), math.sin(angle)
    linear = np.array([[c, -s], [s, c]]) @ np.array([[flip * sx, shear], [0.0, sy]])
    forward = np.eye(3)
    forward[:2, :2] = linear
    forward[:2, 2] = move + (across, 0)
    forward[2, :2] = rng.uniform(-0.22, 0.22, 2)
    into_photo = np.array([[pixels, 0, pixels / 2], [0, pixels, pixels / 2], [0, 0, 1.0]])
    from_sketch = np.array([[1 / side, 0, -0.5], [0, 1 / side, -0.5], [0, 0, 1.0]])
    back = np.linalg.inv(into_photo @ forward @ from_sketch)
    return (back / back[2, 2]).ravel()[:8]


def _place(photo: Image.Image, sketch: Sketch, map_: np.ndarray, contrast: float, pose: str, rng: np.random.Generator) -> None:
    size, how = photo.size, Image.Transform.PERSPECTIVE
    mask = sketch.mask.transform(size, how, map_.tolist(), Image.Resampling.BILINEAR)
    image = sketch.image.transform(size, how, map_.tolist(), Image.Resampling.BILINEAR)
    if rng.random() < contrast:
        _shadow(photo, mask, pose, rng)
    photo.paste(image, (0, 0), mask)


def _shadow(photo: Image.Image, mask: Image.Image, pose: str, rng: np.random.Generator) -> None:
    """Darken the ground below what stands, or beside what lies."""
    width, height = photo.size
    small = mask.reduce(4)
    box = small.getbbox()
    if box is None:
        return
    strength, blur = rng.uniform(60, 150), rng.uniform(1.5, 4)
    cast = Image.new("L", small.size)
    if pose in ("lies", "leans"):
        cast.paste(small, (round(rng.uniform(-3, 3)), round(rng.uniform(1, 4))))
    else:
        x0, y0, x1, y1 = box
        depth = max(3.0, 0.1 * (x1 - x0))
        slip = rng.uniform(-0.08, 0.08) * (x1 - x0)
        ImageDraw.Draw(cast).ellipse((x0 + slip, y1 - depth, x1 + slip, y1 + 0.5 * depth), fill=255)
    cast = cast.filter(ImageFilter.GaussianBlur(blur)).resize((width, height), Image.Resampling.BILINEAR)
    photo.paste((25, 22, 20), (0, 0), cast.point([round(v * strength / 255) for v in range(256)]))


@cache
def _ramp(kind: str, pixels: int) -> Image.Image:
    return shading(kind).resize((pixels, pixels), Image.Resampling.BICUBIC)


def _coloured(light: Image.Image, colour: Colour) -> Image.Image:
    light.putpalette(palette(colour))
    return light.convert("RGB")


def _background(pixels: int, rng: np.random.Generator, white: float) -> tuple[Image.Image, float]:
    """What is behind the product, and how probable a shadow on it is."""
    size = (pixels, pixels)
    if rng.random() < white:
        level = 255 if rng.random() < 0.75 else int(rng.integers(238, 255))
        return Image.new("RGB", size, (level, level, level)), 0.55
    tint = tuple(int(v) for v in rng.integers(90, 246, 3))
    grey = int(rng.integers(120, 240))
    kind = rng.random()
    if kind < 0.4:
        colour = mix((grey, grey, grey), (tint[0], tint[1], tint[2]), rng.uniform(0, 0.5))
        light = _ramp(str(rng.choice(["down", "up", "ball", "slant", "puff"])), pixels).copy()
        return _coloured(light, colour), 0.8
    if kind < 0.6:
        wall = Image.new("RGB", size, mix((225, 222, 215), (tint[0], tint[1], tint[2]), rng.uniform(0, 0.8)))
        floor = _surface(size, str(rng.choice(["wood", "grain", "marble", "fabric"])), rng)
        wall.paste(floor, (0, round(pixels * rng.uniform(0.55, 0.85))))
        return wall, 0.9
    return _surface(size, str(rng.choice(["wood", "board", "marble", "fabric", "leather", "grain", "folds"])), rng), 0.9


def _surface(size: tuple[int, int], kind: str, rng: np.random.Generator) -> Image.Image:
    """A table, a floor, a cloth."""
    colours = {"wood": (176, 128, 84), "board": (150, 104, 66), "marble": (226, 224, 222), "fabric": (190, 180, 165),
               "leather": (120, 80, 60), "grain": (200, 198, 194), "folds": (205, 196, 186)}
    tint = rng.integers(40, 240, 3)
    colour = mix(colours[kind], (int(tint[0]), int(tint[1]), int(tint[2])), rng.uniform(0, 0.45))
    x, y = rng.integers(0, TILE - min(TILE, size[0]) + 1), rng.integers(0, TILE - min(TILE, size[1]) + 1)
    tile = texture(kind).crop((int(x), int(y), int(x) + size[0], int(y) + size[1]))
    light = ImageChops.add(tile, Image.new("L", size, BASE), 1, -128)
    return _coloured(light, colour)


def _light(photo: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Exposure, a cast of colour, and at times a fall of light over the whole."""
    exposure = rng.uniform(0.86, 1.1)
    cast = exposure * (1 + rng.uniform(-0.05, 0.05, 3))
    gamma = rng.uniform(0.85, 1.2)
    levels = 255 * (np.arange(256) / 255.0) ** gamma
    table = np.clip(levels[None, :] * cast[:, None], 0, 255).round().astype(int).ravel().tolist()
    photo = photo.point(table)
    if rng.random() < 0.35:
        ramp = _ramp(str(rng.choice(["slant", "down", "up", "ball"])), photo.width)
        turned = ramp.transpose(Image.Transpose(int(rng.integers(0, 7)))).point([min(255, v + 60) for v in range(256)])
        photo = ImageChops.multiply(photo, Image.merge("RGB", (turned, turned, turned)))
    return photo


def _badge(photo: Image.Image, rng: np.random.Generator) -> None:
    """What shops print over their photos: a disc, a ribbon, a frame."""
    side = photo.width
    draw = ImageDraw.Draw(photo)
    colour = tuple(int(v) for v in rng.choice([[200, 30, 40], [30, 90, 180], [240, 170, 20], [40, 140, 70], [20, 20, 20]]))
    words = str(rng.choice(["-20%", "NEW", "SALE", "x2", "ECO", "TOP", "3 YEARS", "MADE IN EU"]))
    kind = rng.random()
    if kind < 0.5:
        radius = side * rng.uniform(0.09, 0.14)
        x, y = (rng.choice([radius + 4, side - radius - 4]) for _ in range(2))
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)
        draw.text((x, y), words, fill="white", font=font(max(6, int(radius * 1.4 / max(2.2, len(words) * 0.5)))), anchor="mm")
    elif kind < 0.8:
        top = rng.choice([0.0, 0.88]) * side
        draw.rectangle((0, top, side, top + 0.12 * side), fill=colour)
        draw.text((side / 2, top + 0.06 * side), words, fill="white", font=font(max(6, int(side * 0.07))), anchor="mm")
    else:
        draw.rectangle((0, 0, side - 1, side - 1), outline=colour, width=max(1, side // 60))
