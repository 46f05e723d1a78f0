"""Tools, paint and garden equipment."""

from __future__ import annotations

import math

from shelfbench.generator.materials import Paint, darker, lighter
from shelfbench.generator.sketch import Sketch


def _grip(s: Sketch) -> Paint:
    """A handle of wood, rubber or plastic."""
    return s.pick(Paint(s.wooden(), "side", "board"), Paint(s.bright(), "side"), Paint(s.dark(), "side", "grain"))


def _handle(s: Sketch, top: float, bottom: float, r: float) -> None:
    """An upright handle in the middle."""
    paint = _grip(s)
    s.turned(
        50,
        [
            (top, r * 0.8),
            (top + (bottom - top) * 0.4, r),
            (bottom - 6, r * s.between(0.8, 1.1)),
            (bottom, r * 0.9),
        ],
        paint,
        2,
    )
    if s.chance(0.4):
        band = Paint(s.bright(), "side")
        low = top + (bottom - top) * s.between(0.5, 0.7)
        s.slab(50 - r, low, 50 + r, bottom - 8, band, 1)


def hammer(s: Sketch) -> None:
    """A hammer or a mallet."""
    steel = Paint(s.steel(), "tube", "brushed")
    _handle(s, 20, s.between(84, 95), s.between(2.4, 4))
    kind, wide = s.pick("claw", "claw", "peen", "mallet"), s.between(18, 26)
    if kind == "mallet":
        s.slab(50 - wide, 12, 50 + wide, 34, Paint(s.dark() if s.chance(0.5) else s.wooden(), "tube"), 3)
        return
    s.slab(50 - 5, 13, 50 + 5, 28, steel, 2)
    s.slab(50 - wide, 14, 50 - 3, 26, steel, 1)
    s.slab(50 - wide - 3, 12, 50 - wide + 3, 28, steel, 2)
    if kind == "claw":
        s.poly([(54, 14), (66, 15), (50 + wide + 3, 30), (62, 24), (54, 26)], steel, 1)
    else:
        s.poly([(54, 14), (50 + wide, 19), (50 + wide, 22), (54, 26)], steel)


def screwdriver(s: Sketch) -> None:
    """One or a few screwdrivers."""
    number = s.pick(1, 1, 1, 2, 3)
    grip, mark = s.bright(), s.dark()
    for k in range(number):
        x = 50 + (k - (number - 1) / 2) * 20
        handle, r = s.between(30, 40), s.between(4.5, 7)
        tip = 94 - s.between(0, 22)
        s.slab(x - 1.5, 8 + handle, x + 1.5, tip, Paint(s.steel(), "metal"))
        s.plain([(x - 1.5, tip), (x + 1.5, tip), (x + 2.2, tip + 3), (x - 2.2, tip + 3)], (90, 92, 96))
        s.turned(x, [(8, r * 0.8), (12, r), (8 + handle * 0.7, r), (8 + handle, r * 0.55)], Paint(grip, "side"), 2)
        s.slab(x - r * 0.9, 8 + handle * 0.3, x - r * 0.5, 8 + handle * 0.75, Paint(mark, "flat"))
        s.slab(x + r * 0.2, 8 + handle * 0.3, x + r * 0.55, 8 + handle * 0.75, Paint(mark, "flat"))


def spanner(s: Sketch) -> None:
    """Spanners, one or a set."""
    number = s.pick(1, 1, 2, 4)
    steel = Paint(s.steel(), "metal", s.pick("", "brushed"))
    for k in range(number):
        x = 50 + (k - (number - 1) / 2) * 17
        length = s.between(62, 84) - 6 * k * (number > 2)
        top, r = 50 - length / 2, s.between(6.5, 9) - 0.8 * k * (number > 2)
        low = 50 + length / 2
        s.slab(x - r * 0.42, top, x + r * 0.42, low, steel)
        s.disc(x, top + r * 0.4, r, steel)
        s.disc(x, low - r * 0.4, r, steel)
        s.erase(x - r * 0.42, top - r * 0.9, x + r * 0.42, top + r * 0.5)
        if s.chance(0.5):
            s.erase(x - r * 0.5, low - r * 0.9, x + r * 0.5, low + r * 0.1)
        else:
            s.erase(x - r * 0.45, low - r * 0.5, x + r * 0.45, low + r * 0.9)


def pliers(s: Sketch) -> None:
    """Pliers or cutters."""
    grip, steel = Paint(s.bright(), "side"), Paint(s.steel(), "slant", "brushed")
    spread, jaw = s.between(8, 18), s.between(14, 28)
    for way in (-1, 1):
        s.line(
            [(50 - way * 2, 42), (50 + way * spread, 60), (50 + way * spread * 0.9, 92)],
            s.between(5, 7),
            grip,
        )
    for way in (-1, 1):
        s.poly(
            [
                (50 + way * 1, 40 - jaw),
                (50 + way * 5, 40 - jaw + 3),
                (50 + way * 8, 40),
                (50 + way * 2, 50),
                (50 - way * 4, 44),
            ],
            steel,
            1,
        )
    s.disc(50, 42, 4, Paint(darker(steel.colour, 0.2), "ball"))
    s.stroke([(50, 40 - jaw), (50, 36)], 0.6, (40, 40, 44))


def saw(s: Sketch) -> None:
    """A hand saw."""
    grip = _grip(s)
    high, low = s.between(34, 40), s.between(56, 64)
    s.poly(
        [(28, high), (96, high + s.between(2, 10)), (96, low - 6), (28, low)],
        Paint(s.steel(), "slant", "brushed"),
    )
    for k in range(24):
        x = 29 + 67 * k / 24
        y = low - 6 * k / 24
        s.plain([(x, y - 0.5), (x + 2.4, y - 0.6), (x + 1.2, y + 2)], (120, 122, 126))
    s.poly([(6, 36), (10, 30), (26, 30), (32, 38), (32, 60), (24, 70), (10, 68), (7, 58)], grip, 2)
    s.erase(12, 42, 23, 60)
    if s.chance(0.5):
        s.text(60, (high + low) / 2, s.word(2, 3).upper(), 6, (60, 60, 66))


def drill(s: Sketch) -> None:
    """A power drill or power screwdriver."""
    case, dark = (
        Paint(s.bright() if s.chance(0.8) else s.colour(), "slant"),
        Paint(s.dark(), "slant", "grain"),
    )
    height = s.between(19, 25)
    top = 20.0
    s.slab(66, top + 4, 78, top + height - 4, Paint(s.dark(), "tube"), 2)
    s.slab(76, top + height / 2 - 1.2, 96, top + height / 2 + 1.2, Paint(s.steel(), "tube"))
    s.poly(
        [(30, top + height - 4), (48, top + height - 4), (42, 76), (24, 76)],
        case if s.chance(0.5) else dark,
        1,
    )
    s.poly(
        [
            (14, top + 3),
            (22, top),
            (62, top),
            (70, top + 4),
            (70, top + height - 3),
            (54, top + height),
            (20, top + height),
        ],
        case,
        1,
    )
    s.slab(20, top + 5, 36, top + height - 6, dark, 3)
    if s.chance(0.65):
        s.slab(16, 72, 50, 86, dark, 3)
        s.slab(16, 72, 50, 75, case, 1)
    else:
        s.line([(32, 76), (34, 88), (20, 94)], 1.6, dark)
    s.plain([(50, top + height), (54, top + height), (52, top + height + 7), (48, top + height + 6)], (30, 30, 30))
    s.text(50, top + height / 2, s.word(1, 2).upper(), 6, (255, 255, 255))


def _garden_tool(s: Sketch, head: str) -> None:
    """A long shaft with a tool at its end."""
    r = s.between(1.3, 2.3)
    shaft = Paint(s.wooden() if s.chance(0.6) else s.steel(), "side", s.pick("", "board"))
    metal = Paint(s.dark() if s.chance(0.4) else s.steel() if s.chance(0.6) else s.bright(), "slant", "brushed")
    top = s.between(5, 30)
    s.slab(50 - r, top, 50 + r, 72, shaft, 1)
    kind = s.pick("d", "t", "none", "none")
    if kind == "d":
        s.ring(50 - 7, top - 8, 50 + 7, top + 5, 2.6, Paint(s.dark(), "side"))
    elif kind == "t":
        s.slab(50 - 8, top - 2, 50 + 8, top + 2, shaft, 2)
    wide = s.between(10, 16)
    if head == "spade":
        tip, half = s.between(92, 96), s.between(8.5, 12)
        s.poly(
            [
                (46, 60),
                (54, 60),
                (50 + half, 63),
                (50 + half, 66),
                (50 + half, 80),
                (50 + half * s.between(0.4, 0.9), 89),
                (50, tip),
                (50 - half * 0.65, 89),
                (50 - half, 80),
                (50 - half, 66),
                (50 - half, 63),
            ],
            metal,
            1,
        )
        s.stroke([(50, 58), (50, 80)], 1.4, darker(metal.colour, 0.3))
    elif head == "rake":
        tines = s.count(7, 13)
        for k in range(tines):
            x = 50 + wide * 1.6 * (2 * k / (tines - 1) - 1)
            if tines > 10:
                s.stroke([(50, 70), (x, 90)], 0.8, metal.colour)
            s.stroke([(x, 78 if tines <= 10 else 90), (x, 93)], 1.3, metal.colour)
        if tines <= 10:
            s.slab(50 - wide * 1.65, 76, 50 + wide * 1.65, 79.5, metal, 1)
    else:
        for k in range(s.count(3, 4)):
            x = 50 + wide * (2 * k / 3 - 1) * 0.8
            s.line([(50, 68), (x, 74), (x, 94)], 1.8, metal)


def spade(s: Sketch) -> None:
    """A spade or shovel."""
    _garden_tool(s, "spade")


def rake(s: Sketch) -> None:
    """A rake."""
    _garden_tool(s, "rake")


def fork(s: Sketch) -> None:
    """A garden fork."""
    _garden_tool(s, "fork")


def watering_can(s: Sketch) -> None:
    """A can with a long spout."""
    paint = Paint(s.bright() if s.chance(0.6) else s.steel(), "side", s.pick("", "", "brushed"))
    r, height = s.between(16, 22), s.between(30, 42)
    top, bottom = 84 - height, 84
    plain = Paint(paint.colour, "side")
    s.line([(40, bottom - 8), (20, top + 4), (12, top - s.between(6, 20))], s.between(3.5, 5.5), plain)
    s.oval(6, top - 20, 18, top - 8, Paint(darker(paint.colour, 0.15), "slant"))
    s.arc((48, top - 12, 48 + 2 * r + 6, bottom - 6), (250, 80), 3.4, plain)
    if s.chance(0.5):
        s.arc((56 - r, top - 18, 56 + r, top + 14), (180, 360), 3, plain)
    s.turned(
        56,
        [(top, r * s.between(0.75, 0.95)), (bottom, r)],
        Paint(paint.colour, "side", paint.texture, s.pick("", "", "", "floral"), s.pale()),
        0,
    )
    s.oval(56 - r * 0.85, top - 3, 56 + r * 0.85, top + 3, Paint(darker(paint.colour, 0.4), "hollow"))


def flower_pot(s: Sketch) -> None:
    """A pot, empty or planted."""
    clay = (
        Paint((190, 104, 70), "side", "grain")
        if s.chance(0.4)
        else Paint(
            s.colour(),
            "side",
            s.pick("", "wicker", "speckle"),
            s.pick("", "", "bands", "chevron"),
            s.colour(),
        )
    )
    r, height = s.between(18, 28), s.between(26, 46)
    planted = s.chance(0.55)
    top = (90 if planted else 50 + height / 2) - height
    if planted:
        green = (s.count(40, 90), s.count(105, 165), s.count(40, 80))
        for k in range(s.count(7, 13)):
            a = -math.pi / 2 + s.between(-1.25, 1.25)
            long = s.between(20, 40)
            x, y = 50 + long * math.cos(a), max(6, top + long * math.sin(a))
            across = s.between(2, 5)
            s.poly(
                [
                    (50, top + 2),
                    ((50 + x) / 2 - across, (top + y) / 2),
                    (x, y),
                    ((50 + x) / 2 + across, (top + y) / 2),
                ],
                Paint(lighter(green, 0.05 * (k % 5)), "slant"),
                1,
            )
    s.turned(50, [(top, r), (top + height, r * s.between(0.6, 0.95))], clay, 0)
    if s.chance(0.6):
        s.slab(50 - r - 1.5, top - 2, 50 + r + 1.5, top + 6, Paint(clay.colour, "side", clay.texture), 1)
    elif not planted:
        s.oval(50 - r, top - 4, 50 + r, top + 4, Paint(darker(clay.colour, 0.45), "hollow"))


def paint_pot(s: Sketch) -> None:
    """A tin or bucket of paint."""
    r, height = s.between(22, 28), s.between(44, 60)
    top, bottom = 54 - height / 2, 54 + height / 2
    metal = Paint(s.steel() if s.chance(0.5) else s.pale(), "metal")
    s.arc((50 - r, top - r * 0.8, 50 + r, top + r * 0.8), (180, 360), 1.2, Paint(s.steel(), "side"))
    s.turned(50, [(top, r), (bottom, r * s.between(0.88, 1.0))], metal, 0)
    s.slab(
        50 - r,
        top + 9,
        50 + r,
        bottom - 5,
        Paint(s.colour(), "side", "", s.pick("", "diagonal", "bands"), s.bright()),
    )
    s.slab(50 - r * 0.6, 46, 50 + r * 0.6, 62, Paint(s.bright(), "side"))
    s.text(50, 54, s.word(1, 2).upper(), 7, (255, 255, 255))
    if s.chance(0.3):
        s.oval(50 - r, top - 4, 50 + r, top + 4, Paint(s.bright(), "slant"))
    else:
        s.oval(50 - r - 0.5, top - 4, 50 + r + 0.5, top + 4, Paint(lighter(metal.colour, 0.25), "slant"))
        s.ring(50 - r * 0.85, top - 3, 50 + r * 0.85, top + 3, 0.6, Paint(darker(metal.colour, 0.3), "flat"))
