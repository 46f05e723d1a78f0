"""Cookware and tableware."""

from __future__ import annotations

from shelfbench.generator.materials import Paint, darker, lighter
from shelfbench.generator.sketch import Sketch


def _ceramic(s: Sketch, printed: float = 0.4) -> Paint:
    """Glazed ceramic: white or coloured, sometimes printed."""
    colour = s.pale() if s.chance(0.45) else s.colour()
    print_ = s.pick("stripes", "bands", "dots", "floral", "leaves", "stars", "chevron") if s.chance(printed) else ""
    return Paint(colour, "side", s.pick("", "", "speckle"), print_, s.colour())


def _inside(paint: Paint) -> Paint:
    return Paint(darker(lighter(paint.colour, 0.25), 0.15), "hollow")


def mug(s: Sketch, low: float = 0.8, high: float = 1.25, saucer: float = 0.1) -> None:
    """A cup with a handle; `low` and `high` are the bounds of height over width."""
    paint = _ceramic(s)
    width = s.between(40, 50)
    height = min(76, width * s.between(low, high))
    top, bottom, x = 50 - height / 2, 50 + height / 2, 45
    r = width / 2
    foot = r * s.between(0.6, 1.0)
    if s.chance(saucer):
        s.oval(x - r * 1.7, bottom - 7, x + r * 1.7, bottom + 8, Paint(paint.colour, "ball"))
        s.oval(x - r, bottom - 4, x + r, bottom + 4, _inside(paint))
    thick = s.between(4, 7)
    grip = height * s.between(0.5, 0.72)
    side = 1 if s.turn > -0.85 else 0
    handle_x = x + (r + foot) / 2 - 6 + 2 * s.turn
    if side:
        s.ring(
            handle_x - 8,
            top + height * 0.14,
            handle_x + s.between(18, 24),
            top + height * 0.14 + grip,
            thick,
            Paint(paint.colour, "side"),
        )
    s.turned(
        x,
        [
            (top, r),
            (top + height * 0.55, r * s.between(0.94, 1.06)),
            (bottom - 3, foot),
            (bottom + 2, foot * 0.85),
        ],
        paint,
        2,
    )
    rim = r * s.between(0.16, 0.26)
    s.oval(x - r, top - rim, x + r, top + rim, Paint(lighter(paint.colour, 0.3), "flat"))
    s.oval(x - r + 1.5, top - rim + 1, x + r - 1.5, top + rim - 0.5, _inside(paint))
    if s.chance(0.3):
        s.oval(
            x - r + 4,
            top - rim * 0.4,
            x + r - 4,
            top + rim * 0.8,
            Paint(s.pick((70, 42, 22), (130, 80, 40), (110, 60, 30)), "slant"),
        )


def bowl(s: Sketch) -> None:
    """A bowl, empty or full."""
    paint = _ceramic(s)
    r = s.between(34, 44)
    height = r * s.between(0.6, 1.0)
    top = 50 - height / 2
    rim = r * s.between(0.22, 0.36)
    foot = r * s.between(0.35, 0.55)
    s.turned(
        50,
        [
            (top, r),
            (top + height * 0.45, r * s.between(0.85, 0.98)),
            (top + height * 0.9, foot),
            (top + height + 2, foot),
        ],
        paint,
    )
    s.oval(50 - r, top - rim, 50 + r, top + rim, Paint(lighter(paint.colour, 0.3), "flat"))
    s.oval(50 - r + 1.6, top - rim + 1.2, 50 + r - 1.6, top + rim - 0.6, _inside(paint))
    if s.chance(0.35):
        food = s.bright()
        for _ in range(9):
            u, v = s.between(-0.62, 0.62), s.between(-0.4, 0.5)
            s.disc(50 + r * u, top + rim * v, r * s.between(0.1, 0.2), Paint(food, "ball"))


def plate(s: Sketch) -> None:
    """A plate, from above or at an angle."""
    paint = _ceramic(s, 0.6)
    r = s.between(38, 46)
    flat = s.between(0.55, 1.0)
    well = s.between(0.58, 0.72)
    s.oval(
        50 - r,
        50 - r * flat,
        50 + r,
        50 + r * flat,
        Paint(paint.colour, "ball", paint.texture, paint.pattern, paint.second),
    )
    if s.chance(0.4):
        s.ring(50 - r, 50 - r * flat, 50 + r, 50 + r * flat, 1.2, Paint(s.colour(), "flat"))
    s.oval(
        50 - r * well,
        50 - r * flat * well,
        50 + r * well,
        50 + r * flat * well,
        Paint(darker(paint.colour, 0.1), "slant"),
    )
    w = well - 0.03
    s.oval(
        50 - r * w,
        50 - r * flat * w,
        50 + r * w,
        50 + r * flat * w,
        Paint(lighter(paint.colour, s.between(0.1, 0.5)), "up"),
    )


def teapot(s: Sketch, metal: float = 0.15, tall: float = 0.0) -> None:
    """A pot with a spout, a handle and a lid."""
    shiny = s.chance(metal)
    paint = Paint(s.steel(), "metal") if shiny else _ceramic(s)
    plain = Paint(paint.colour, paint.shade)
    r = s.between(24, 29)
    height = r * (s.between(1.35, 1.7) + tall)
    top, bottom = 55 - height / 2, 55 + height / 2
    s.line(
        [
            (50 - r * 0.7, bottom - height * 0.35),
            (50 - r * 1.25, bottom - height * 0.6),
            (50 - r * 1.6, top + height * s.between(0, 0.15)),
        ],
        s.between(6, 9),
        plain,
    )
    if s.chance(0.45 if shiny else 0.2):
        s.arc((50 - r, top - r * 1.1, 50 + r, top + r * 0.9), (180, 360), 4, Paint(s.dark(), "side"))
    else:
        s.ring(
            50 + r * 0.55,
            top + height * 0.08,
            50 + r * 1.65,
            top + height * 0.75,
            4.5,
            Paint(s.dark(), "side") if shiny else plain,
        )
    waist, foot = s.between(0.9, 1.12), s.between(0.55, 1.05)
    s.turned(
        50,
        [
            (top, r * s.between(0.45, 0.7)),
            (top + height * 0.4, r * waist),
            (bottom - 4, r * foot),
            (bottom, r * foot * 0.9),
        ],
        paint,
    )
    s.oval(50 - r * 0.55, top - 5, 50 + r * 0.55, top + 5, Paint(darker(paint.colour, 0.12), paint.shade))
    s.oval(50 - r * 0.5, top - 6, 50 + r * 0.5, top + 3, plain)
    s.disc(50, top - 8, s.between(2.4, 4), Paint(s.dark(), "ball") if shiny else Paint(paint.colour, "ball"))


def kettle(s: Sketch) -> None:
    """A kettle for the stove, or an electric one."""
    if s.chance(0.5):
        teapot(s, 0.8, 0.1)
        return
    paint = Paint(s.steel(), "metal") if s.chance(0.5) else Paint(s.colour(), "side")
    dark = Paint(s.dark(), "side")
    r, height = s.between(20, 25), s.between(50, 60)
    top, bottom = 50 - height / 2, 50 + height / 2
    s.line(
        [
            (50 + r * 0.5, top + 1),
            (50 + r * 1.75, top + 5),
            (50 + r * 1.7, bottom - height * 0.25),
            (50 + r * 0.9, bottom - 8),
        ],
        6,
        dark,
    )
    s.poly(
        [(50 - r * 0.7, top + 2), (50 - r * 1.45, top + 3), (50 - r * 0.85, top + height * 0.3)],
        Paint(paint.colour, paint.shade),
    )
    s.turned(50, [(top, r * s.between(0.7, 0.85)), (bottom - 4, r), (bottom, r)], paint, 1)
    s.slab(50 - r - 1, bottom - 3, 50 + r + 1, bottom + 4, dark, 2)
    s.turned(50, [(top - 5, r * 0.5), (top + 1, r * 0.8)], dark, 1)
    if s.chance(0.6):
        s.slab(50 - 3, top + height * 0.3, 50 + 3, bottom - height * 0.15, Paint((120, 160, 190), "glass"), 2)


def saucepan(s: Sketch, low: float = 0.75, high: float = 1.1, lid: float = 0.4, ears: float = 0.1) -> None:
    """A pot with one long handle, or with two ears."""
    paint = Paint(s.steel(), "metal", "brushed") if s.chance(0.65) else Paint(s.colour(), "side")
    dark = Paint(s.dark(), "tube") if s.chance(0.6) else Paint(paint.colour, "tube")
    two = s.chance(ears)
    r = s.between(30, 35) if two else s.between(22, 27)
    x = 50 if two else 35
    height = r * s.between(low, high)
    top, rim = 50 - height / 2, r * s.between(0.2, 0.32)
    if two:
        for way in (-1, 1):
            s.ring(x + way * r - 8, top + 3, x + way * r + 8, top + 13, 3.2, dark)
    else:
        s.line([(x + r - 2, top + 5), (x + r + 14, top + 3), (95, top + s.between(-6, 3))], s.between(4, 6), dark)
    s.turned(x, [(top, r), (top + height * 0.8, r * s.between(0.9, 1)), (top + height, r * 0.86)], paint, 1)
    s.oval(x - r, top - rim, x + r, top + rim, Paint(lighter(paint.colour, 0.35), "flat"))
    if s.chance(lid):
        s.oval(
            x - r + 1,
            top - rim - 3,
            x + r - 1,
            top + rim - 3,
            Paint(lighter(paint.colour, 0.1), s.pick("metal", "ball", "screen")),
        )
        s.oval(x - 4, top - rim * 0.6 - 8, x + 4, top - rim * 0.6, dark)
    else:
        s.oval(
            x - r + 1.5,
            top - rim + 1,
            x + r - 1.5,
            top + rim - 0.6,
            Paint(darker(paint.colour, 0.25), "hollow"),
        )


def casserole(s: Sketch) -> None:
    """A wide pot with two ears."""
    saucepan(s, 0.6, 0.95, 0.7, 0.88)


def frying_pan(s: Sketch) -> None:
    """A flat pan, from above or from the side."""
    body = Paint(s.steel(), "metal") if s.chance(0.3) else Paint(s.dark() if s.chance(0.6) else s.colour(), "side")
    r = s.between(25, 30)
    flat = s.between(0.3, 0.95)
    x = 34
    handle = Paint(s.dark() if s.chance(0.6) else s.wooden(), "tube")
    s.line([(x + r - 3, 50), (94, 50 - s.between(-3, 8))], s.between(4, 6.5), handle)
    depth = (1 - flat) * 12
    s.oval(x - r, 50 - r * flat + depth, x + r, 50 + r * flat + depth, Paint(darker(body.colour, 0.25), "side"))
    s.oval(x - r, 50 - r * flat, x + r, 50 + r * flat, body)
    inner = s.dark() if s.chance(0.75) else s.steel()
    s.oval(
        x - r + 2.5,
        50 - (r - 2.5) * flat,
        x + r - 2.5,
        50 + (r - 2.5) * flat,
        Paint(inner, "slant", s.pick("", "grain", "speckle")),
    )
    s.oval(
        x - r * 0.78,
        50 - r * 0.78 * flat,
        x + r * 0.78,
        50 + r * 0.78 * flat,
        Paint(lighter(inner, 0.12), "screen", "grain"),
    )


def bottle(s: Sketch, steel: float = 0.45) -> None:
    """A drinking bottle."""
    paint = (
        s.pick(
            Paint(s.steel(), "metal"),
            Paint(s.colour(), "side"),
            Paint(s.colour(), "side", "", s.pick("floral", "bands", "stars", "leaves"), s.colour()),
        )
        if s.chance(steel + 0.3)
        else Paint(lighter(s.bright(), 0.35), "glass")
    )
    r, height = s.between(11, 15), s.between(70, 84)
    top, bottom = 50 - height / 2, 50 + height / 2
    neck = r * s.between(0.45, 0.85)
    cap = s.between(8, 14)
    s.turned(
        50,
        [(top + cap, neck), (top + cap + 5, neck), (top + cap + 14, r), (bottom - 3, r), (bottom, r * 0.9)],
        paint,
    )
    s.slab(
        50 - neck - 1,
        top,
        50 + neck + 1,
        top + cap + 2,
        Paint(s.dark() if s.chance(0.5) else s.colour(), "side"),
        2,
    )
    if s.chance(0.3):
        s.arc((50 - 6, top - 7, 50 + 6, top + 5), (180, 360), 2, Paint(s.dark(), "flat"))
    if s.chance(0.5):
        s.text(
            50,
            50 + s.between(-5, 15),
            s.word(1, 2).upper(),
            6,
            (245, 245, 245) if sum(paint.colour) < 380 else (30, 30, 30),
        )


def thermos(s: Sketch) -> None:
    """A vacuum flask: a steel bottle with a cup on top, sometimes with a handle."""
    paint = Paint(s.steel(), "metal") if s.chance(0.6) else Paint(s.colour(), "side", s.pick("", "grain"))
    r, height = s.between(12, 17), s.between(68, 84)
    top, bottom = 50 - height / 2, 50 + height / 2
    if s.chance(0.35):
        s.ring(50 + r - 6, top + 18, 50 + r + 13, bottom - 14, 4, Paint(s.dark(), "side"))
    s.turned(50, [(top + 14, r * 0.9), (top + 20, r), (bottom - 2, r), (bottom, r * 0.92)], paint, 1)
    s.slab(
        50 - r * 0.9,
        top,
        50 + r * 0.9,
        top + s.between(14, 20),
        Paint(s.steel() if s.chance(0.5) else s.dark(), "metal"),
        3,
    )
    if s.chance(0.5):
        s.slab(50 - r, bottom - 8, 50 + r, bottom - 4, Paint(s.dark(), "side"))


def wine_glass(s: Sketch) -> None:
    """A glass on a stem, empty or filled."""
    tint = lighter(s.colour(), 0.75)
    glass = Paint(tint, "glass")
    r, bowl_height, stem = s.between(14, 20), s.between(26, 40), s.between(20, 32)
    top = 50 - (bowl_height + stem) / 2
    waist = top + bowl_height
    s.oval(50 - r * 0.8, waist + stem - 3, 50 + r * 0.8, waist + stem + 3, glass)
    s.slab(49, waist - 2, 51, waist + stem, glass)
    belly = s.between(0.85, 1.25)
    s.turned(50, [(top, r), (top + bowl_height * 0.5, r * belly), (waist - 3, r * 0.5), (waist + 2, 1)], glass)
    if s.chance(0.5):
        wine = s.pick((110, 10, 30), (140, 20, 45), (225, 200, 110), (240, 160, 150))
        level = top + bowl_height * s.between(0.3, 0.6)
        width = r * (0.94 + (belly - 1) * 0.5)
        s.turned(
            50,
            [(level, width), (top + bowl_height * 0.65, width * 0.95), (waist - 3, r * 0.42), (waist, 1)],
            Paint(wine, "side"),
        )
        s.oval(50 - width * 0.97, level - 2.5, 50 + width * 0.97, level + 2.5, Paint(lighter(wine, 0.2), "flat"))
    s.oval(50 - r, top - 2.5, 50 + r, top + 2.5, Paint(lighter(tint, 0.3), "slant"))
