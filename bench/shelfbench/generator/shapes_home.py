"""Lamps and decoration."""

from __future__ import annotations

import math

from shelfbench.generator.materials import Paint, darker, lighter, mix
from shelfbench.generator.sketch import Sketch


def _shade(s: Sketch, x: float, top: float, height: float, r: float) -> None:
    """A lampshade around the vertical at `x`, lit or not."""
    cloth = s.pick(
        Paint(s.pale(), "side", "fabric"),
        Paint(s.colour(), "side", s.pick("fabric", "", "wicker")),
        Paint(s.steel(), "metal"),
        Paint(s.pale(), "side", "", s.pick("stripes", "chevron", "leaves"), s.colour()),
    )
    kind = s.pick("cone", "cone", "drum", "dome", "ball")
    if kind == "ball":
        s.disc(x, top + height / 2, max(r, height / 2) * 0.85, Paint(lighter(cloth.colour, 0.4), "ball"))
        return
    upper = r * {"cone": s.between(0.4, 0.7), "drum": 1.0, "dome": 0.35}[kind]
    if kind == "dome":
        s.turned(x, [(top, upper), (top + height * 0.3, r * 0.85), (top + height, r), (top + height, r)], cloth, 2)
    else:
        s.turned(x, [(top, upper), (top + height, r)], cloth, 0)
    s.oval(
        x - r,
        top + height - 2.5,
        x + r,
        top + height + 2.5,
        Paint(mix(cloth.colour, (255, 235, 180), 0.6), "flat"),
    )


def _foot(s: Sketch, x: float, top: float, bottom: float, r: float, thin: bool) -> None:
    """The foot of a lamp."""
    metal = Paint(s.steel(), "metal") if s.chance(0.6) else Paint(s.wooden() if s.chance(0.5) else s.colour(), "side")
    kind = "rod" if thin else s.pick("rod", "vase", "turned")
    if kind == "rod" and thin and s.chance(0.35):
        for way in (-1, 0, 1):
            s.line([(x, top + 6), (x + way * r * 1.5, bottom)], 1.6, metal)
        return
    s.oval(x - r, bottom - 4, x + r, bottom + 2, Paint(metal.colour, "slant"))
    height = bottom - top
    if kind == "rod":
        s.slab(x - 1.2, top, x + 1.2, bottom - 2, metal)
    elif kind == "vase":
        s.turned(
            x,
            [(top, 2), (top + height * 0.3, r * 0.5), (top + height * 0.6, r), (bottom - 2, r * 0.6)],
            Paint(s.colour(), "side", "", s.pick("", "", "floral", "bands"), s.colour()),
            2,
        )
    else:
        steps = s.count(4, 7)
        s.turned(x, [(top + height * k / steps, r * s.between(0.15, 0.7)) for k in range(steps + 1)], metal, 2)


def table_lamp(s: Sketch) -> None:
    """A lamp for a table or bedside table."""
    r, height = s.between(17, 27), s.between(18, 30)
    if s.chance(0.22):
        metal = Paint(s.colour(), "side")
        s.oval(30, 84, 56, 92, Paint(metal.colour, "slant"))
        s.line([(43, 88), (30, 52), (56, 24)], 2.6, Paint(s.steel(), "side"))
        s.poly([(52, 16), (60, 22), (74, 40), (52, 46), (48, 24)], metal, 1)
        return
    top = s.between(8, 18)
    _foot(s, 50, top + height - 2, s.between(78, 92), s.between(9, 16), False)
    _shade(s, 50, top, height, r)


def floor_lamp(s: Sketch) -> None:
    """A lamp that stands on the floor."""
    r, height = s.between(9, 16), s.between(11, 19)
    x = 50.0
    if s.chance(0.25):
        s.arc((36, 6, 66, 60), (180, 330), 1.8, Paint(s.steel(), "side"))
        s.slab(35.2, 32, 37.4, 94, Paint(s.steel(), "metal"))
        s.oval(26, 91, 48, 96, Paint(s.dark(), "slant"))
        _shade(s, 63, 14, height * 0.8, r * 0.9)
        return
    _foot(s, x, 5 + height - 2, 94, s.between(8, 13), True)
    _shade(s, x, 5, height, r)


def pendant(s: Sketch) -> None:
    """A hanging lamp, or several on one bar."""
    number = s.pick(1, 1, 1, 2, 3)
    r = s.between(18, 32) / (1 + 0.55 * (number - 1))
    cord = Paint(s.dark(), "flat")
    if number > 1:
        s.slab(14, 6, 86, 9, Paint(s.steel(), "tube"), 1)
    else:
        s.turned(50, [(5, 5), (9, 6)], Paint(s.steel(), "metal"), 0)
    drop, height = s.between(20, 50), r * s.between(0.7, 1.5)
    state = s.rng.bit_generator.state
    for k in range(number):
        x = 100 * (k + 0.5) / number if number > 1 else 50
        x = 50 + (x - 50) * 0.85
        s.line([(x, 8), (x, drop)], 0.7, cord)
        s.rng.bit_generator.state = state  # the same shade everywhere
        _shade(s, x, drop, min(height, 92 - drop), r)


def vase(s: Sketch) -> None:
    """A vase, empty or with flowers."""
    height = s.between(44, 74)
    flowers = s.chance(0.35)
    if flowers:
        height = min(height, 50)
    bottom = 92 if flowers else 50 + height / 2
    top = bottom - height
    neck, belly, foot = s.between(5, 13), s.between(13, 25), s.between(6, 13)
    if flowers:
        stem, bloom = (70, 120, 60), s.bright()
        for k in range(s.count(3, 7)):
            x, y = 50 + s.between(-26, 26), top - s.between(12, 32)
            s.stroke([(50 + (x - 50) * 0.2, top + 2), (x, y)], 0.9, stem)
            for petal in range(5):
                a = petal * 1.2566 + k
                s.spot(x + 3.6 * math.cos(a), y + 3.6 * math.sin(a), 3, bloom)
            s.spot(x, y, 2, (240, 200, 60))
    paint = s.pick(
        Paint(
            s.colour(),
            "side",
            s.pick("", "speckle", "marble"),
            s.pick("", "", "floral", "bands", "leaves", "chevron"),
            s.colour(),
        ),
        Paint(lighter(s.colour(), 0.5), "glass"),
        Paint(s.steel(), "metal"),
    )
    at = s.between(0.3, 0.75)
    s.turned(
        50,
        [
            (top, neck * s.between(1, 1.5)),
            (top + height * 0.15, neck),
            (top + height * at, belly),
            (bottom - 3, foot),
            (bottom, foot),
        ],
        paint,
        3,
    )
    s.oval(50 - neck, top - 1.5, 50 + neck, top + 2.5, Paint(darker(paint.colour, 0.45), "flat"))


def wall_clock(s: Sketch) -> None:
    """A clock."""
    face = s.pale() if s.chance(0.6) else s.colour() if s.chance(0.5) else s.dark()
    rim = Paint(
        s.steel() if s.chance(0.5) else s.wooden() if s.chance(0.5) else s.colour(),
        "slant",
        s.pick("", "wood"),
    )
    r, width = s.between(36, 44), s.between(1.5, 7)
    square = s.chance(0.25)
    if square:
        s.slab(50 - r, 50 - r, 50 + r, 50 + r, rim, s.between(0, 8))
        s.slab(50 - r + width, 50 - r + width, 50 + r - width, 50 + r - width, Paint(face, "slant"), 3)
    else:
        s.disc(50, 50, r, rim)
        s.disc(50, 50, r - width, Paint(face, "ball"))
    ink = s.dark() if sum(face) > 360 else s.pale()
    inner = (r - width) * 0.84
    kind = s.pick("numbers", "lines", "lines", "dots")
    for hour in range(1, 13):
        a = hour * math.pi / 6
        u, v = math.sin(a), -math.cos(a)
        if kind == "numbers":
            s.text(50 + inner * 0.95 * u, 50 + inner * 0.95 * v, str(hour), r * 0.2, ink)
        elif kind == "lines":
            s.stroke(
                [(50 + inner * 0.88 * u, 50 + inner * 0.88 * v), (50 + inner * u, 50 + inner * v)],
                1.6 if hour % 3 else 2.6,
                ink,
            )
        else:
            s.spot(50 + inner * u, 50 + inner * v, 1.4, ink)
    for reach, thick in ((0.55, 2.2), (0.8, 1.4)):
        a = s.between(0, 6.28)
        s.stroke(
            [
                (50 - 3 * math.sin(a), 50 + 3 * math.cos(a)),
                (50 + inner * reach * math.sin(a), 50 - inner * reach * math.cos(a)),
            ],
            thick,
            ink,
        )
    s.spot(50, 50, 1.8, s.bright())


def _frame(s: Sketch, mirror: bool) -> None:
    """A frame around a mirror or a picture."""
    ratio, round_ = s.between(0.6, 1.3), s.chance(0.4 if mirror else 0.03)
    height = 84 if ratio < 1 else 84 / ratio
    width = height * ratio
    thick = s.between(2, 9)
    rim = Paint(s.wooden() if s.chance(0.55) else s.steel(), "slant", s.pick("wood", "board", "", "brushed"))
    x0, y0, x1, y1 = 50 - width / 2, 50 - height / 2, 50 + width / 2, 50 + height / 2
    glass = Paint(mix((205, 216, 224), s.pale(), 0.5), s.pick("screen", "slant", "screen"))
    if round_:
        s.oval(x0, y0, x1, y1, rim)
        s.oval(x0 + thick, y0 + thick, x1 - thick, y1 - thick, glass)
        return
    s.slab(x0, y0, x1, y1, rim, s.pick(0, 0, 3))
    for a, b in (
        ((x0, y0), (x0 + thick, y0 + thick)),
        ((x1, y1), (x1 - thick, y1 - thick)),
        ((x0, y1), (x0 + thick, y1 - thick)),
        ((x1, y0), (x1 - thick, y0 + thick)),
    ):
        s.stroke([a, b], 0.5, darker(rim.colour, 0.4))
    x0, y0, x1, y1 = x0 + thick, y0 + thick, x1 - thick, y1 - thick
    if mirror:
        s.slab(x0, y0, x1, y1, glass)
        return
    if s.chance(0.6):
        s.slab(x0, y0, x1, y1, Paint((246, 244, 238), "flat"))
        mat = s.between(3, 9)
        x0, y0, x1, y1 = x0 + mat, y0 + mat, x1 - mat, y1 - mat
    kind = s.pick("landscape", "abstract", "flower", "landscape", "abstract", "empty")
    s.slab(x0, y0, x1, y1, Paint(s.colour() if kind != "empty" else (232, 230, 226), "up"))
    if kind == "landscape":
        for level in (0.45, 0.65, 0.82):
            ridge = [(x0 + (x1 - x0) * k / 5, y0 + (y1 - y0) * (level + s.between(-0.1, 0.08))) for k in range(6)]
            s.poly([(x0, y1), *ridge, (x1, y1)], Paint(s.colour(), "down", "grain"))
    elif kind == "abstract":
        for _ in range(s.count(3, 6)):
            u, v, r = s.between(x0 + 6, x1 - 6), s.between(y0 + 6, y1 - 6), s.between(3, 6)
            s.oval(u - r, v - r, u + r, v + r, Paint(s.bright(), "flat", "grain"))
    elif kind == "flower":
        s.slab(x0, y0, x1, y1, Paint(s.pale(), "up", "", s.pick("floral", "leaves"), s.bright()))


def mirror(s: Sketch) -> None:
    """A mirror, round or not."""
    _frame(s, True)


def picture(s: Sketch) -> None:
    """A framed picture, or an empty frame."""
    _frame(s, False)


def candle(s: Sketch) -> None:
    """One to three candles, bare or in glasses."""
    number = s.pick(1, 1, 2, 3)
    wax = s.pale() if s.chance(0.5) else s.colour()
    glass = s.chance(0.3)
    for k in range(number):
        x = 50 + (k - (number - 1) / 2) * 26
        r, height = s.between(8, 12) if number > 1 else s.between(9, 20), s.between(24, 70)
        top = 88 - height
        if glass:
            s.turned(x, [(top - 8, r + 2), (88, r + 2)], Paint(lighter(wax, 0.6), "glass"), 0)
        s.slab(x - r, top, x + r, 88, Paint(wax, "side", s.pick("", "grain")), 1)
        s.oval(x - r, top - 2.5, x + r, top + 2.5, Paint(lighter(wax, 0.4), "slant"))
        s.stroke([(x, top - 4), (x, top)], 0.9, (50, 40, 35))
        if s.chance(0.5):
            s.poly(
                [(x, top - 15), (x + 2.6, top - 6), (x, top - 3), (x - 2.6, top - 6)],
                Paint((255, 190, 60), "ball"),
                2,
            )


def cushion(s: Sketch) -> None:
    """A cushion, square or long."""
    cloth = s.cloth("puff", "fabric", "knit", "fur", "folds", printed=0.65)
    a, b = s.between(34, 42), s.between(24, 42)
    pinch = s.between(2, 6)
    points = [
        (-a, -b),
        (0, -b + pinch),
        (a, -b),
        (a - pinch, 0),
        (a, b),
        (0, b - pinch),
        (-a, b),
        (-a + pinch, 0),
    ]
    doubled = [(50 + x, 50 + y) for x, y in points for _ in range(2 if abs(x) == a and abs(y) == b else 1)]
    s.poly(doubled, cloth, 2)
    if s.chance(0.3):
        s.text(50, 50, s.word(2, 3).title(), 10, s.colour())
    if s.chance(0.25):
        s.disc(50, 50, 1.5, Paint(darker(cloth.colour, 0.4), "ball"))


def rug(s: Sketch) -> None:
    """A carpet, from above or at an angle."""
    cloth = s.cloth("slant", "fur", "fabric", "knit", "wicker", printed=0.6)
    if s.chance(0.2):
        s.oval(10, 10, 90, 90, cloth)
        s.ring(13, 13, 87, 87, 2, Paint(s.colour(), "flat", "fur"))
        return
    a, b = s.between(36, 44), s.between(22, 38)
    lean = s.between(0, 8)
    outline = [(50 - a + lean, 50 - b), (50 + a - lean, 50 - b), (50 + a, 50 + b), (50 - a, 50 + b)]
    if s.chance(0.45):
        for k in range(24):
            y = 50 - b + 2 * b * k / 23
            s.stroke([(50 - a - 3, y), (50 + a + 3, y)], 0.5, lighter(cloth.colour, 0.5))
    s.poly(outline, cloth)
    if s.chance(0.5):
        border = Paint(s.colour(), "slant", cloth.texture, s.pick("", "check", "chevron"), s.colour())
        inner = [(50 + (x - 50) * 0.86, 50 + (y - 50) * 0.8) for x, y in outline]
        s.poly(inner, border)
        s.poly([(50 + (x - 50) * 0.78, 50 + (y - 50) * 0.7) for x, y in outline], cloth)
