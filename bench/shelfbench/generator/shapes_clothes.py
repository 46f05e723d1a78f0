"""Clothes, laid flat."""

from __future__ import annotations

from shelfbench.generator.materials import Colour, Paint, darker, lighter
from shelfbench.generator.sketch import Sketch


def mirrored(right: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Complete an outline from its right half, given from the top down as (distance from the middle, height)."""
    return [*((50 + x, y) for x, y in right), *((50 - x, y) for x, y in reversed(right))]


def _top(s: Sketch, cloth: Paint, sleeve: float, length: float, wide: float, collar: str) -> None:
    """A garment for the upper body; `sleeve` from 0 (none) to 1 (to the wrist)."""
    shoulder, chest = wide * s.between(0.86, 0.95), wide * s.between(0.72, 0.84)
    hem = chest * s.between(0.9, 1.2)
    top = 50 - length / 2
    neck = s.between(7, 11)
    spread = s.between(3, 16) if sleeve > 0.5 else s.between(8, 18)
    if sleeve > 0:
        reach = 14 + sleeve * (length * s.between(0.62, 0.78) - 14)
        out = shoulder + spread * (0.4 + 0.6 * sleeve)
        cuff = s.between(5, 8) if sleeve > 0.5 else s.between(8, 11)
        for way in (-1, 1):
            arm = [
                (50 + way * (shoulder - 7), top + 3),
                (50 + way * shoulder, top + 5),
                (50 + way * (out + 2), top + reach),
                (50 + way * (out + 2 - cuff), top + reach + 3),
                (50 + way * (chest - 2), top + 22),
            ]
            s.poly(
                [arm[0], *arm, arm[-1]],
                Paint(cloth.colour, cloth.shade, cloth.texture, cloth.pattern, cloth.second),
                1,
            )
    right = [
        (neck, top),
        (neck, top),
        (shoulder, top + 4),
        (shoulder, top + 6),
        (chest, top + 24),
        (chest * 0.96, top + length * 0.6),
        (hem, top + length),
        (hem, top + length),
    ]
    s.poly(mirrored(right), cloth, 2)
    inner = Paint(darker(cloth.colour, 0.4), "flat")
    if collar == "round":
        s.oval(50 - neck, top - 3, 50 + neck, top + s.between(4, 9), inner)
        s.arc(
            (50 - neck - 1, top - 4, 50 + neck + 1, top + 9),
            (0, 180),
            1.6,
            Paint(darker(cloth.colour, 0.15), "flat"),
        )
    elif collar == "v":
        s.plain([(50 - neck, top - 1), (50 + neck, top - 1), (50, top + s.between(12, 22))], inner.colour)
    elif collar == "roll":
        s.slab(
            50 - neck,
            top - s.between(4, 9),
            50 + neck,
            top + 3,
            Paint(cloth.colour, "side", cloth.texture),
            3,
        )
    else:
        s.plain(
            [(50 - neck, top - 2), (50, top + 12), (50 - neck - 4, top + s.between(8, 18))],
            lighter(cloth.colour, 0.12),
        )
        s.plain(
            [(50 + neck, top - 2), (50, top + 12), (50 + neck + 4, top + s.between(8, 18))],
            darker(cloth.colour, 0.12),
        )


def _closure(s: Sketch, colour: Colour, top: float, bottom: float, buttons: bool) -> None:
    """Buttons or a zip down the front."""
    s.stroke([(50, top), (50, bottom)], 0.6, darker(colour, 0.5))
    if buttons:
        for k in range(s.count(4, 7)):
            s.spot(52, top + (bottom - top) * (k + 0.6) / 7.5, 1.1, s.dark())


def t_shirt(s: Sketch) -> None:
    """Short sleeves, sometimes with a print on the chest."""
    cloth = s.cloth("drape", "fabric", "folds", "folds", printed=0.3)
    _top(
        s,
        cloth,
        s.between(0.0, 0.28),
        s.between(60, 74),
        s.between(26, 31),
        s.pick("round", "round", "v", "polo"),
    )
    if s.chance(0.4):
        s.text(50, s.between(40, 52), s.word(1, 2).upper(), s.between(8, 14), s.colour())
    elif s.chance(0.3):
        s.disc(
            50,
            46,
            s.between(6, 11),
            Paint(s.bright(), "flat", "", s.pick("", "stars", "stripes"), s.bright()),
        )


def sweater(s: Sketch) -> None:
    """Long sleeves, knitted or of sweatshirt fabric."""
    cloth = s.cloth("drape", "knit", "knit", "fur", "folds", printed=0.35)
    _top(
        s,
        cloth,
        s.between(0.8, 1.0),
        s.between(60, 74),
        s.between(26, 31),
        s.pick("round", "roll", "v", "round"),
    )
    if s.chance(0.25):
        _closure(s, cloth.colour, 28, 82, s.chance(0.6))


def shirt(s: Sketch) -> None:
    """A collar and buttons."""
    cloth = s.cloth("drape", "folds", "fabric", printed=0.55)
    _top(s, cloth, s.pick(0.25, 0.9, 0.95, 1.0), s.between(66, 78), s.between(26, 30), "polo")
    _closure(s, cloth.colour, 24, 84, True)
    if s.chance(0.4):
        s.slab(
            55,
            36,
            65,
            46,
            Paint(darker(cloth.colour, 0.08), "drape", cloth.texture, cloth.pattern, cloth.second),
        )


def coat(s: Sketch) -> None:
    """A long or short coat, closed by buttons or a zip."""
    cloth = s.cloth("drape", "folds", "leather", "fur", "denim", printed=0.12)
    length = s.between(66, 88)
    _top(s, cloth, s.between(0.85, 1.0), length, s.between(28, 33), s.pick("polo", "polo", "roll", "v"))
    _closure(s, cloth.colour, 52 - length / 2, 49 + length / 2, s.chance(0.55))
    if s.chance(0.4):
        y = 50 + s.between(-4, 6)
        s.slab(27, y, 73, y + 4, Paint(darker(cloth.colour, 0.25), "tube"))
    for x in (33, 67):
        s.stroke([(x - 4, 62), (x + 4, 60)], 0.9, darker(cloth.colour, 0.45))


def dress(s: Sketch) -> None:
    """A dress with or without sleeves."""
    cloth = s.cloth("drape", "folds", "folds", "fabric", printed=0.55)
    sleeve = s.pick(0.0, 0.0, 0.2, 0.9)
    length, wide = s.between(76, 90), s.between(19, 24)
    top = 50 - length / 2
    if sleeve:
        _top(
            s,
            Paint(cloth.colour, "drape", cloth.texture, cloth.pattern, cloth.second),
            sleeve,
            44,
            wide + 4,
            "none",
        )
    waist, hem = wide * s.between(0.6, 0.85), wide * s.between(0.95, 1.9)
    at = top + length * s.between(0.32, 0.45)
    right = [
        (s.between(5, 11), top),
        (wide * 0.75, top),
        (wide * 0.8, top + 12),
        (waist, at),
        (waist, at),
        (hem, top + length),
        (hem, top + length),
    ]
    s.poly(mirrored(right), cloth, 1)
    s.plain([(42, top - 1), (58, top - 1), (50, top + s.between(5, 15))], darker(cloth.colour, 0.45))
    if s.chance(0.5):
        s.slab(50 - waist, at - 1.5, 50 + waist, at + 2, Paint(s.colour(), "tube"))


def skirt(s: Sketch) -> None:
    """A skirt, short or long, straight or wide."""
    cloth = s.cloth("drape", "folds", "denim", "fabric", printed=0.5)
    length, waist = s.between(40, 80), s.between(13, 19)
    hem = waist * s.between(1.1, 2.3)
    top = 50 - length / 2
    s.poly(
        mirrored(
            [
                (waist, top),
                (waist, top),
                (waist * 1.2, top + length * 0.25),
                (hem, top + length),
                (hem, top + length),
            ]
        ),
        cloth,
        1,
    )
    for k in range(s.count(0, 5)):
        x = (k - 2) / 2.6
        s.stroke([(50 + x * waist, top + 6), (50 + x * hem, top + length)], 0.5, darker(cloth.colour, 0.3))
    s.slab(50 - waist, top - 3, 50 + waist, top + 3, Paint(darker(cloth.colour, 0.15), "tube", cloth.texture), 1)


def _legs(s: Sketch, cloth: Paint, length: float, wide: float) -> None:
    waist, top = s.between(15, 20), 50 - length / 2
    crotch = top + s.between(22, 28)
    out = waist + s.between(1, 7)
    for way in (-1, 1):
        s.poly(
            [
                (50, top),
                (50 + way * waist, top),
                (50 + way * (waist + 2), crotch - 8),
                (50 + way * out, top + length),
                (50 + way * (out - wide), top + length),
                (50 + way * 0.2, crotch),
            ],
            cloth,
        )
    seam = darker(cloth.colour, 0.4)
    s.slab(50 - waist, top - 1, 50 + waist, top + 4, Paint(darker(cloth.colour, 0.15), "tube", cloth.texture), 1)
    s.stroke([(50, top + 4), (50, crotch)], 0.6, seam)
    for way in (-1, 1):
        s.stroke([(50 + way * waist * 0.4, top + 4), (50 + way * waist, top + s.between(9, 14))], 0.6, seam)
    s.spot(50, top + 1.5, 1, s.steel())


def trousers(s: Sketch) -> None:
    """Long legs."""
    _legs(
        s,
        s.cloth("drape", "denim", "denim", "folds", "leather", printed=0.15),
        s.between(76, 90),
        s.between(11, 17),
    )


def shorts(s: Sketch) -> None:
    """Short legs that end above or below the knee."""
    _legs(s, s.cloth("drape", "denim", "folds", "fabric", printed=0.35), s.between(38, 60), s.between(15, 21))
