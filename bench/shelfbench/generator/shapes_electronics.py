"""Electronics: screens, sound, cameras and keyboards."""

from __future__ import annotations

import math

from shelfbench.generator.materials import Paint, darker, lighter, mix
from shelfbench.generator.scene import Scene
from shelfbench.generator.sketch import Sketch


def _case(s: Sketch) -> Paint:
    """The body of a device: mostly black, grey or white."""
    kind = s.between(0, 1)
    return Paint(
        s.dark() if kind < 0.55 else s.steel() if kind < 0.8 else s.colour(),
        "slant",
        s.pick("", "", "brushed"),
    )


def _shown(s: Sketch, x0: float, y0: float, x1: float, y1: float) -> None:
    """The contents of a screen: nothing, a picture, icons or text."""
    width, height = x1 - x0, y1 - y0
    kind = s.pick("off", "off", "scene", "scene", "icons", "abstract", "page")
    if kind == "off":
        s.slab(x0, y0, x1, y1, Paint((26, 28, 34), "screen"))
        return
    if kind == "page":
        s.slab(x0, y0, x1, y1, Paint((238, 240, 243), "flat"))
        for k in range(6):
            y = y0 + height * (0.16 + 0.12 * k)
            s.stroke([(x0 + width * 0.1, y), (x0 + width * s.between(0.4, 0.9), y)], height * 0.03, (130, 136, 150))
        s.slab(x0, y0, x1, y0 + height * 0.08, Paint(s.colour(), "flat"))
        return
    s.slab(x0, y0, x1, y1, Paint(s.colour(), s.pick("up", "slant", "ball"), "", "", s.colour()))
    if kind == "scene":
        ground = y0 + height * s.between(0.45, 0.75)
        ridge = [(x0 + width * k / 6, ground - height * s.between(0, 0.25)) for k in range(7)]
        s.poly([(x0, y1), *ridge, (x1, y1)], Paint(s.colour(), "down", "grain"))
        radius = min(width, height) * s.between(0.06, 0.14)
        s.disc(
            x0 + width * s.between(0.2, 0.8),
            y0 + height * s.between(0.16, 0.4),
            radius,
            Paint((250, 240, 200), "flat"),
        )
    elif kind == "icons":
        step = min(width, height) / 4.5
        for row in range(int(height // step) - 1):
            for column in range(int(width // step)):
                x, y = x0 + step * (column + 0.22), y0 + step * (row + 0.6)
                s.plain(
                    [(x, y), (x + step * 0.6, y), (x + step * 0.6, y + step * 0.6), (x, y + step * 0.6)],
                    s.bright(),
                )
    else:
        for _ in range(3):
            a, b = s.between(0, 1), s.between(0, 1)
            s.plain(
                [
                    (x0, y0 + height * a),
                    (x1, y0 + height * b),
                    (x1, min(y1, y0 + height * (b + 0.2))),
                    (x0, min(y1, y0 + height * (a + 0.15))),
                ],
                s.bright(),
            )


def _handheld(s: Sketch, low: float, high: float, size: float, border: float) -> None:
    """A slab with a screen, from the front or the back; its width over height is from `low` to `high`."""
    case = _case(s)
    height = size * s.between(0.9, 1)
    width = height * s.between(low, high)
    if s.chance(0.25):
        height, width = min(width, 90), min(height, 90)
    x0, y0 = 50 - width / 2, 50 - height / 2
    radius = s.between(2, 6)
    edge = s.between(border * 0.3, border)
    side = 1.6 * s.turn
    s.slab(
        x0 + side,
        y0 + 0.6,
        x0 + width + side,
        y0 + height + 0.6,
        Paint(darker(case.colour, 0.4), "flat"),
        radius,
    )
    s.slab(x0, y0, x0 + width, y0 + height, case, radius)
    if s.chance(0.2):
        for k in range(s.count(1, 3)):
            s.disc(x0 + 6, y0 + 7 + 7 * k, 2.8, Paint((20, 22, 28), "ball"))
        s.text(50, 50, s.word(1, 2).title(), 5, lighter(case.colour, 0.5))
        return
    chin = edge + s.between(0, border)
    s.slab(x0 + edge, y0 + chin, x0 + width - edge, y0 + height - chin, Paint((20, 20, 24), "flat"))
    _shown(s, x0 + edge, y0 + chin, x0 + width - edge, y0 + height - chin)
    s.spot(50, y0 + chin / 2, 0.7, (60, 62, 70))
    if chin > 4:
        s.spot(50, y0 + height - chin / 2, 1.6, mix(case.colour, (128, 128, 128), 0.4))


def smartphone(s: Sketch) -> None:
    """A telephone."""
    _handheld(s, 0.45, 0.58, 88, 3.5)


def tablet(s: Sketch) -> None:
    """A tablet, a little wider than a telephone."""
    _handheld(s, 0.6, 0.8, 86, 5)


def _screen(s: Sketch, low: float, high: float, foot: float, border: float) -> None:
    case = _case(s)
    width = s.between(80, 92)
    height = width / s.between(low, high)
    x0, y0 = 50 - width / 2, 44 - height / 2
    y1 = y0 + height
    stand = Paint(case.colour if s.chance(0.6) else s.steel(), "side")
    if s.chance(foot):
        rise = s.between(8, 18)
        s.slab(46, y1 - 2, 54, y1 + rise, stand)
        if s.chance(0.5):
            s.oval(50 - width * 0.2, y1 + rise - 3, 50 + width * 0.2, y1 + rise + 3, stand)
        else:
            s.slab(50 - width * 0.22, y1 + rise - 1.5, 50 + width * 0.22, y1 + rise + 1.5, stand, 1)
    else:
        for way in (-1, 1):
            x = 50 + way * width * s.between(0.28, 0.4)
            s.plain(
                [
                    (x - 1, y1),
                    (x + 1, y1),
                    (x + 6, y1 + 7),
                    (x + 4, y1 + 7),
                    (x, y1 + 2),
                    (x - 4, y1 + 7),
                    (x - 6, y1 + 7),
                ],
                stand.colour,
            )
    s.slab(x0, y0, x0 + width, y1, case, 1)
    edge = s.between(border * 0.4, border)
    _shown(s, x0 + edge, y0 + edge, x0 + width - edge, y1 - edge * 1.4)
    if s.chance(0.6):
        s.text(50, y1 - edge * 0.7, s.word(1, 2).upper(), 2.6, lighter(case.colour, 0.6))


def television(s: Sketch) -> None:
    """A television."""
    _screen(s, 1.62, 1.85, 0.4, 2.6)


def monitor(s: Sketch) -> None:
    """A computer monitor."""
    _screen(s, 1.35, 1.8, 0.88, 3.6)


def laptop(s: Sketch) -> None:
    """A portable computer, open."""
    case = _case(s)
    width = s.between(60, 72)
    height = width * s.between(0.56, 0.68)
    x0, x1 = 50 - width / 2, 50 + width / 2
    hinge = 58.0
    lean = 5 * s.turn
    s.poly(
        [(x0 + lean, hinge - height), (x1 + lean, hinge - height), (x1, hinge), (x0, hinge)],
        Paint(case.colour, "flat"),
    )
    edge = s.between(1.4, 3.5)
    _shown(s, x0 + edge + lean / 2, hinge - height + edge, x1 - edge + lean / 2, hinge - edge * 1.3)
    deep, spread = s.between(15, 24), s.between(4, 10)
    s.poly(
        [(x0, hinge), (x1, hinge), (x1 + spread, hinge + deep), (x0 - spread, hinge + deep)],
        Paint(lighter(case.colour, 0.1), "down", case.texture),
    )
    s.plain(
        [
            (x0 - spread, hinge + deep),
            (x1 + spread, hinge + deep),
            (x1 + spread, hinge + deep + 2),
            (x0 - spread, hinge + deep + 2),
        ],
        darker(case.colour, 0.3),
    )
    keys = (30, 30, 34) if sum(case.colour) > 220 else (84, 86, 92)
    for row in range(4):
        y = hinge + deep * (0.1 + 0.12 * row)
        out = spread * (y - hinge) / deep - 5
        s.stroke([(x0 - out, y), (x1 + out, y)], deep * 0.085, keys)
    s.plain(
        [
            (42, hinge + deep * 0.66),
            (58, hinge + deep * 0.66),
            (59, hinge + deep * 0.93),
            (41, hinge + deep * 0.93),
        ],
        mix(case.colour, (128, 128, 128), 0.3),
    )


def keyboard(s: Sketch) -> None:
    """A keyboard, sometimes with a mouse."""
    case = _case(s)
    width, deep = s.between(76, 90), s.between(24, 32)
    scene = Scene(s, 14, s.between(45, 75))
    scene.box((0, width), (0, 2), (0, deep), case)
    mouse = s.chance(0.25)
    if mouse:
        scene.box((width + 8, width + 16), (0, 3), (deep * 0.3, deep * 0.8), case)
    scene.draw()
    key = s.dark() if s.chance(0.6) else s.pale()
    glow = s.bright() if s.chance(0.3) else darker(case.colour, 0.4)
    corners = [
        scene.place(x, 2, z) for x, z in ((1.5, 1.5), (width - 1.5, 1.5), (width - 1.5, deep - 1.5), (1.5, deep - 1.5))
    ]
    s.plain(corners, glow)
    rows, columns = 5, s.count(12, 16)
    step_x, step_z = (width - 4) / columns, (deep - 4) / rows
    for row in range(rows):
        column = 0
        while column < columns:
            long = 6 if row == rows - 1 and column == 3 else 1
            x, z = 2 + column * step_x, 2 + row * step_z
            s.plain(
                [
                    scene.place(u, 2.4, v)
                    for u, v in (
                        (x + 0.3, z + 0.3),
                        (x + long * step_x - 0.3, z + 0.3),
                        (x + long * step_x - 0.3, z + step_z - 0.3),
                        (x + 0.3, z + step_z - 0.3),
                    )
                ],
                key,
            )
            column += long


def headphones(s: Sketch) -> None:
    """Headphones with a band, seen from the front or turned."""
    case = Paint(s.dark() if s.chance(0.5) else s.colour(), "side")
    pad = Paint(s.dark(), "puff", "leather")
    r, width = s.between(24, 32), s.between(6, 12)
    narrow = 1 - 0.35 * abs(s.turn)
    s.arc((50 - r * narrow, 12, 50 + r * narrow, 12 + 2.2 * r), (180, 360), s.between(3, 7), case)
    cup_y, cup = 12 + 1.1 * r + s.between(4, 12), s.between(11, 17)
    for way in (-1, 1):
        x = 50 + way * (r * narrow - 1)
        s.slab(x - 2, cup_y - cup - 8, x + 2, cup_y, case)
        s.oval(x - way * 5 - width, cup_y - cup, x - way * 5 + width, cup_y + cup, pad)
        s.oval(x + way * 2 - width * 0.9, cup_y - cup * 0.95, x + way * 2 + width * 0.9, cup_y + cup * 0.95, case)
        s.oval(
            x + way * 3 - width * 0.5,
            cup_y - cup * 0.5,
            x + way * 3 + width * 0.5,
            cup_y + cup * 0.5,
            Paint(darker(case.colour, 0.2), "ball"),
        )
    if s.chance(0.4):
        s.stroke([(50 - r, cup_y + cup), (46, 88), (52, 92), (60, 90)], 1, s.dark())


def camera(s: Sketch) -> None:
    """A camera with its lens."""
    case = Paint(s.dark() if s.chance(0.65) else s.colour(), "slant", s.pick("leather", "grain", ""))
    metal = Paint(s.steel(), "tube", "brushed") if s.chance(0.4) else Paint(darker(case.colour, 0.25), "tube")
    width, height = s.between(64, 84), s.between(36, 50)
    x0, y0 = 50 - width / 2, 52 - height / 2
    if s.chance(0.6):
        s.poly(
            [(42, y0 + 3), (45, y0 - s.between(5, 10)), (55, y0 - 8), (59, y0 + 3)],
            Paint(metal.colour, "slant"),
        )
    s.slab(x0 + 8, y0 - 4, x0 + 16, y0 + 3, Paint(s.steel(), "side"), 1)
    s.slab(x0, y0, x0 + width, y0 + height, case, 5)
    s.slab(x0, y0, x0 + width, y0 + height * 0.24, metal, 3)
    x, r = 50 + s.between(-6, 8) + 4 * s.turn, min(height * 0.5, s.between(15, 23))
    y = 54.0
    for share, paint in (
        (1.0, Paint(s.dark(), "side")),
        (0.86, Paint(s.steel(), "metal")),
        (0.8, Paint((24, 24, 28), "ball")),
        (0.5, Paint(s.pick((40, 30, 70), (20, 50, 60), (50, 20, 30)), "ball")),
    ):
        s.disc(x, y, r * share, paint)
    s.spot(x - r * 0.18, y - r * 0.2, r * 0.1, (225, 232, 245))
    s.slab(x0 + width - 14, y0 + 3, x0 + width - 5, y0 + 8, Paint((230, 232, 220), "screen"))


def speaker(s: Sketch) -> None:
    """A box with cones, or a round speaker."""
    case = s.pick(
        Paint(s.dark(), "slant", "grain"),
        Paint(s.wooden(), "slant", "board"),
        Paint(s.colour(), "side", "fabric"),
    )
    if s.chance(0.35):
        r, height = s.between(16, 34), s.between(40, 70)
        top = 50 - height / 2
        s.turned(
            50,
            [(top, r * 0.85), (top + 6, r), (top + height - 6, r), (top + height, r * 0.85)],
            Paint(case.colour, "side", "wicker"),
            1,
        )
        s.oval(50 - r * 0.84, top - 3, 50 + r * 0.84, top + 7, Paint(darker(case.colour, 0.3), "slant"))
        return
    width, height = s.between(34, 52), s.between(60, 84)
    scene = Scene(s, 32, 8)
    depth = s.between(20, 34)
    scene.box((0, width), (0, height), (0, depth), case)
    scene.draw(80)
    cone = s.between(0.3, 0.42)
    for share_y, share_r in ((0.32, cone), (0.76, cone * s.between(0.45, 0.8))):
        rim = [
            scene.place(
                width * (0.5 + share_r * math.cos(a / 4)),
                height * share_y + width * share_r * math.sin(a / 4),
                depth,
            )
            for a in range(26)
        ]
        s.poly(rim, Paint((34, 34, 38), "ball"))
        inner = [
            scene.place(
                width * (0.5 + share_r * 0.75 * math.cos(a / 4)),
                height * share_y + width * share_r * 0.75 * math.sin(a / 4),
                depth,
            )
            for a in range(26)
        ]
        s.poly(inner, Paint(s.pick((62, 62, 66), (190, 170, 60), (90, 90, 100)), "hollow"))
        u, v = scene.place(width * 0.5, height * share_y, depth)
        s.disc(u, v, 3, Paint((30, 30, 30), "ball"))


def game_controller(s: Sketch) -> None:
    """A controller with two grips."""
    case = Paint(s.dark() if s.chance(0.5) else s.colour(), "ball")
    spread, drop = s.between(36, 42), s.between(68, 80)
    right = [
        (0, 36),
        (18, 34),
        (spread - 6, 33),
        (spread, 44),
        (spread + 3, drop),
        (spread - 5, drop + 4),
        (20, 62),
        (0, 60),
    ]
    s.poly([*((50 + x, y) for x, y in right), *((50 - x, y) for x, y in reversed(right))], case, 2)
    dark = Paint(s.dark(), "ball")
    low = s.chance(0.5)
    s.disc(50 - (12 if low else 24), 56 if low else 45, 5.5, dark)
    s.disc(62, 56, 5.5, dark)
    x, y = (26, 46) if low else (38, 56)
    s.stroke([(x - 5, y), (x + 5, y)], 3, (50, 50, 54))
    s.stroke([(x, y - 5), (x, y + 5)], 3, (50, 50, 54))
    for dx, dy in ((0, -5), (5, 0), (0, 5), (-5, 0)):
        s.spot(74 + dx, 46 + dy, 1.9, s.bright())
    s.slab(44, 40, 56, 46, Paint(lighter(case.colour, 0.15), "slant"), 2)
