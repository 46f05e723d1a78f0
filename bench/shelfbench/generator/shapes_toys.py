"""Toys and sports equipment."""

from __future__ import annotations

import math

from shelfbench.generator.materials import Paint, darker, lighter, mix
from shelfbench.generator.scene import Scene
from shelfbench.generator.sketch import Sketch


def teddy(s: Sketch, ears: str = "round") -> None:
    """A sitting plush animal."""
    colour = s.pick((176, 124, 74), (216, 186, 144), (110, 74, 48), (236, 230, 220)) if s.chance(0.55) else s.colour()
    fur, pale = (
        Paint(mix(colour, s.colour(), 0.15), "ball", "fur"),
        Paint(lighter(colour, 0.45), "ball", "fur"),
    )
    r = s.between(19, 24) if ears == "round" else s.between(15, 18)
    head_y, belly = (32.0 if ears == "round" else 40.0), s.between(19, 25)
    for way in (-1, 1):
        if ears == "round":
            s.disc(50 + way * r * 0.8, head_y - r * 0.75, s.between(6, 9), fur)
            s.disc(50 + way * r * 0.8, head_y - r * 0.75, 4, pale)
        else:
            tip, out = s.between(3, 12), r * s.between(0.4, 0.6)
            s.oval(50 + way * out - 4.5, tip, 50 + way * out + 4.5, head_y - 4, fur)
            s.oval(50 + way * out - 2.2, 4 + tip, 50 + way * out + 2.2, head_y - 8, pale)
        arm = s.between(0.9, 1.25)
        s.oval(50 + way * belly * arm - 7, 50, 50 + way * belly * arm + 7, 74, fur)
    s.oval(50 - belly, 46, 50 + belly, 90, fur)
    s.oval(50 - belly * 0.6, 54, 50 + belly * 0.6, 84, pale)
    for way in (-1, 1):
        s.oval(50 + way * belly * 0.9 - 10, 74, 50 + way * belly * 0.9 + 10, 95, fur)
        s.oval(50 + way * belly * 0.9 - 6, 79, 50 + way * belly * 0.9 + 6, 93, pale)
    s.oval(50 - r, head_y - r * 0.9, 50 + r, head_y + r * 0.9, fur)
    s.oval(50 - r * 0.45, head_y, 50 + r * 0.45, head_y + r * 0.68, pale)
    for way in (-1, 1):
        s.spot(50 + way * r * 0.38, head_y - 3, 1.9, (20, 18, 18))
        s.spot(50 + way * r * 0.38 - 0.6, head_y - 3.6, 0.6, (250, 250, 250))
    s.oval(47, head_y + 3, 53, head_y + 7, Paint((40, 28, 26), "ball"))
    if s.chance(0.5):
        bow = Paint(s.bright(), "puff", "", s.pick("", "dots", "check"), (255, 255, 255))
        y = head_y + r * 0.85
        s.poly([(50, y), (38, y - 5), (38, y + 6)], bow, 1)
        s.poly([(50, y), (62, y - 5), (62, y + 6)], bow, 1)


def rabbit(s: Sketch) -> None:
    """A plush rabbit: like the bear, but with long ears."""
    teddy(s, "long")


def doll(s: Sketch) -> None:
    """A doll in a dress or trousers."""
    skin = s.pick((244, 206, 178), (224, 172, 136), (160, 108, 76), (104, 70, 50))
    hair = s.pick((60, 38, 24), (226, 186, 90), (20, 18, 20), (170, 74, 40), (230, 120, 170))
    cloth = Paint(s.bright(), "drape", "folds", s.pick("", "dots", "floral", "stripes", "stars"), s.pale())
    r, flesh = s.between(11, 16), Paint(skin, "side")
    back = s.between(4, 26)
    s.oval(50 - r * 1.2, 6, 50 + r * 1.2, 10 + 2 * r + back, Paint(hair, "slant", "fur"))
    for way in (-1, 1):
        s.line([(50 + way * 8, 42), (50 + way * s.between(16, 24), 62)], 4, flesh)
        s.line([(50 + way * 5, 70), (50 + way * s.between(4, 8), 90)], 4.4, flesh)
        s.oval(50 + way * 6 - 5, 88, 50 + way * 6 + 4, 95, Paint(s.dark(), "ball"))
    wide = s.between(10, 26)
    s.poly([(44, 38), (56, 38), (58, 52), (50 + wide, s.between(70, 82)), (50 - wide, 76), (42, 52)], cloth, 1)
    s.disc(50, 24, r, Paint(skin, "ball"))
    s.arc((50 - r - 1, 24 - r - 2, 50 + r + 1, 24 + r), (180, 360), s.between(4, 8), Paint(hair, "slant", "fur"))
    for way in (-1, 1):
        s.oval(
            50 + way * r * 0.4 - 1.8,
            22,
            50 + way * r * 0.4 + 1.8,
            27,
            Paint(s.pick((50, 90, 150), (60, 40, 30), (60, 120, 70)), "flat"),
        )
    s.arc((46, 26, 54, 32), (20, 160), 0.9, Paint((190, 50, 60), "flat"))


def toy_car(s: Sketch) -> None:
    """A toy car, lorry or bus, from the side."""
    body = Paint(s.bright(), "down")
    glass = Paint((150, 190, 215), "screen")
    kind = s.pick("car", "car", "sport", "lorry", "bus")
    r = s.between(8, 11)
    floor = 70.0
    if kind == "bus":
        s.slab(8, 34, 92, floor, body, 5)
        for k in range(5):
            s.slab(13 + 16 * k, 39, 25 + 16 * k, 51, glass, 1)
        s.stroke([(8, 57), (92, 57)], 2.4, s.pale())
    elif kind == "lorry":
        s.slab(
            6,
            s.between(30, 44),
            64,
            floor - 2,
            Paint(s.bright(), "down", "", s.pick("", "stripes", "diagonal"), s.bright()),
            1,
        )
        s.poly([(66, 38), (82, 38), (92, 54), (93, floor), (66, floor)], body, 1)
        s.poly([(72, 42), (81, 42), (88, 54), (72, 54)], glass)
        s.slab(6, floor - 4, 92, floor, Paint((50, 50, 54), "down"))
    else:
        roof = 50 if kind == "sport" else s.between(36, 42)
        s.poly([(22, 54), (34, roof), (62, roof), (76, 54)], Paint(darker(body.colour, 0.1), "down"), 1)
        s.poly([(29, 54), (37, roof + 3), (48, roof + 3), (48, 54)], glass)
        s.poly([(51, 54), (51, roof + 3), (60, roof + 3), (69, 54)], glass)
        s.poly([(6, 58), (14, 53), (78, 53), (94, 58), (95, floor), (6, floor)], body, 1)
        s.spot(91, 60, 2.2, (255, 240, 170))
        if s.chance(0.4):
            s.stroke([(8, 63), (93, 63)], 2, s.pale())
    for x in (26, 75):
        s.disc(x, floor + 1, r, Paint((34, 34, 36), "ball"))
        s.disc(x, floor + 1, r * 0.5, Paint(s.steel(), "metal"))


def bricks(s: Sketch) -> None:
    """Stacked building blocks."""
    scene = Scene(s, 40, s.between(16, 30))
    number = s.count(4, 9)
    level: dict[tuple[int, int], int] = {}
    tops = []
    for _ in range(number):
        x, z, long = s.count(0, 3), s.count(0, 1), s.count(1, 2)
        y = max(level.get((x + k, z), 0) for k in range(long))
        colour = s.bright()
        scene.box((10 * x, 10 * (x + long) - 0.2), (9 * y, 9 * y + 8.8), (10 * z, 10 * z + 9.8), Paint(colour, "down"))
        for k in range(long):
            level[x + k, z] = y + 1
            tops.append((10 * (x + k) + 5, 9 * y + 8.8, 10 * z + 5, colour))
    scene.draw(80)
    highest = {(x, z): y for x, y, z, _ in sorted(tops, key=lambda top: top[1])}
    for x, top, z, colour in tops:
        if highest[x, z] == top:
            u, v = scene.place(x, top, z)
            s.oval(u - 4, v - 4, u + 4, v + 1, Paint(lighter(colour, 0.15), "side"))


def _boxed(s: Sketch, depth: float, puzzle: bool) -> None:
    """A printed box."""
    width, height = s.between(70, 96), s.between(50, 90)
    scene = Scene(s, 34, 16)
    deep = s.between(depth * 0.6, depth)
    side = Paint(s.bright(), "down")
    scene.box((0, width), (0, height), (0, deep), side)
    scene.draw(82)

    def at(x: float, y: float) -> tuple[float, float]:
        return scene.place(x * width, (1 - y) * height, deep)

    sky, ground = Paint(s.colour(), "up"), Paint(s.colour(), "down", "grain")
    s.poly([at(0, 0), at(1, 0), at(1, 1), at(0, 1)], sky)
    s.poly([at(0, 1), *(at(k / 5, s.between(0.5, 0.75)) for k in range(6)), at(1, 1)], ground)
    for _ in range(s.count(2, 5)):
        u, v = at(s.between(0.15, 0.85), s.between(0.35, 0.85))
        s.disc(u, v, s.between(3, 8), Paint(s.bright(), s.pick("ball", "flat")))
    top = s.between(0.06, 0.2)
    if s.chance(0.6):
        s.plain([at(0, top - 0.04), at(1, top - 0.04), at(1, top + 0.17), at(0, top + 0.17)], s.bright())
    u, v = at(0.5, top + 0.06)
    s.text(u, v, s.word(2, 4).upper(), 9, (255, 255, 255))
    if puzzle:
        u, v = at(s.pick(0.14, 0.86), 0.9)
        s.text(u, v, s.pick("100", "500", "1000", "1500"), 7, (255, 255, 255))
        if s.chance(0.6):
            for k in range(1, 6):
                s.stroke([at(k / 6, top + 0.2), at(k / 6 + 0.03, 1)], 0.3, (60, 60, 60))
                s.stroke([at(0, 0.25 + k / 8), at(1, 0.26 + k / 8)], 0.3, (60, 60, 60))
    elif s.chance(0.6):
        u, v = at(0.85, 0.9)
        s.text(u, v, s.pick("8+", "10+", "2-4", "2-6"), 6, (255, 255, 255))


def puzzle(s: Sketch) -> None:
    """A jigsaw puzzle in its box."""
    _boxed(s, 26, True)


def board_game(s: Sketch) -> None:
    """A game in its box."""
    _boxed(s, 34, False)


def _ball(s: Sketch, colour: tuple[int, int, int]) -> float:
    r = s.between(36, 44)
    s.disc(50, 50, r, Paint(colour, "ball", s.pick("grain", "leather")))
    return r


def football(s: Sketch) -> None:
    """A ball with patches."""
    ground = s.pale() if s.chance(0.7) else s.bright()
    r = _ball(s, ground)
    patch = s.dark() if s.chance(0.6) else s.bright()
    turn, tilt = s.between(0, 6.28) + s.turn, s.between(0.2, 1.2)
    golden = (1 + 5**0.5) / 2
    for a in (-1.0, 1.0):
        for b in (-golden, golden):
            for corner in ((0.0, a, b), (a, b, 0.0), (b, 0.0, a)):
                x, y, z = (v / math.hypot(1, golden) for v in corner)
                x, z = x * math.cos(turn) - z * math.sin(turn), x * math.sin(turn) + z * math.cos(turn)
                y, z = y * math.cos(tilt) - z * math.sin(tilt), y * math.sin(tilt) + z * math.cos(tilt)
                if z > 0.1:
                    way = math.atan2(y, x)
                    ring = []
                    for k in range(5):
                        q = k * 1.2566
                        u, v = 0.3 * math.cos(q) * z, 0.3 * math.sin(q)
                        ring.append(
                            (
                                50 + r * (x + u * math.cos(way) - v * math.sin(way)) * 0.94,
                                50 + r * (y + u * math.sin(way) + v * math.cos(way)) * 0.94,
                            )
                        )
                    s.poly(ring, Paint(patch, "ball"))


def basketball(s: Sketch) -> None:
    """A ball with seams."""
    r = _ball(s, s.pick((206, 104, 44), (190, 84, 40), (220, 130, 60)) if s.chance(0.7) else s.bright())
    seam = Paint((30, 24, 22), "flat")
    tilt = 0.3 * s.turn
    s.stroke(
        [
            (50 - r * math.cos(tilt), 50 - r * math.sin(tilt)),
            (50 + r * math.cos(tilt), 50 + r * math.sin(tilt)),
        ],
        1.4,
        seam.colour,
    )
    s.stroke(
        [
            (50 + r * math.sin(tilt), 50 - r * math.cos(tilt)),
            (50 - r * math.sin(tilt), 50 + r * math.cos(tilt)),
        ],
        1.4,
        seam.colour,
    )
    s.arc((50 - 1.65 * r, 50 - r * 0.8, 50 - 0.35 * r, 50 + r * 0.8), (280, 80), 1.4, seam)
    s.arc((50 + 0.35 * r, 50 - r * 0.8, 50 + 1.65 * r, 50 + r * 0.8), (100, 260), 1.4, seam)
    if s.chance(0.5):
        s.text(50, 50 - r * 0.3, s.word(2, 3).upper(), 7, (30, 24, 22))


def racket(s: Sketch) -> None:
    """A racket with strings."""
    frame = Paint(s.bright() if s.chance(0.7) else s.dark(), "slant")
    a, b = s.between(17, 23), s.between(22, 28)
    y = 8 + b
    s.slab(48, y + b, 52, 80, Paint(s.steel(), "side"))
    s.plain(
        [(50 - a * 0.5, y + b * 0.8), (50 - a * 0.35, y + b * 0.8), (50, y + b + 12), (50, y + b + 15)],
        frame.colour,
    )
    s.plain(
        [(50 + a * 0.5, y + b * 0.8), (50 + a * 0.35, y + b * 0.8), (50, y + b + 12), (50, y + b + 15)],
        frame.colour,
    )
    string, number = lighter(s.pale(), 0.2), s.count(7, 11)
    for k in range(1, number):
        t = 2 * k / number - 1
        half = math.sqrt(1 - t * t)
        s.stroke([(50 + a * t, y - b * half), (50 + a * t, y + b * half)], 0.4, darker(string, 0.25))
        s.stroke([(50 - a * half, y + b * t), (50 + a * half, y + b * t)], 0.4, darker(string, 0.25))
    s.ring(50 - a, y - b, 50 + a, y + b, s.between(2, 3.4), frame)
    s.slab(47, s.between(72, 78), 53, 95, Paint(s.dark(), "side", "leather"), 1)


def dumbbell(s: Sketch) -> None:
    """One or two dumbbells."""
    plate = Paint(s.dark() if s.chance(0.5) else s.bright(), "side", s.pick("", "grain"))
    bar = Paint(s.steel(), "tube")
    number = s.pick(1, 1, 2)
    for k in range(number):
        y = 50 + (k - (number - 1) / 2) * 40
        r = s.between(14, 24) if number == 1 else 15
        s.slab(16, y - 2.6, 84, y + 2.6, bar, 2)
        for way in (-1, 1):
            for step in range(s.count(1, 3)):
                x = 50 + way * (22 + 8 * step)
                q = r * (1 - 0.17 * step)
                s.slab(x - 4, y - q, x + 4, y + q, plate, s.pick(2, 4))


def skateboard(s: Sketch) -> None:
    """A board with wheels, from the side, from above or from below."""
    deck = Paint(
        s.bright(),
        "slant",
        s.pick("wood", "grain"),
        s.pick("", "stars", "chevron", "camouflage", "stripes"),
        s.bright(),
    )
    wheel = Paint(s.bright() if s.chance(0.5) else s.pale(), "ball")
    if s.chance(0.4):
        s.poly([(5, 40), (14, 49), (86, 49), (95, 40), (96, 43), (87, 53), (13, 53), (4, 43)], deck, 1)
        for x in (25, 75):
            s.slab(x - 4, 52, x + 4, 58, Paint(s.steel(), "metal"))
            s.disc(x, 61, 5.6, wheel)
        return
    half = s.between(10, 14)
    s.slab(5, 50 - half, 95, 50 + half, deck, half)
    if s.chance(0.6):
        for x in (24, 76):
            s.slab(x - 3, 50 - half - 3, x + 3, 50 + half + 3, Paint(s.steel(), "metal"), 1)
            for way in (-1, 1):
                s.slab(x - 4.5, 50 + way * (half - 1) - 3.5, x + 4.5, 50 + way * (half - 1) + 3.5, wheel, 2)
    s.text(50, 50, s.word(2, 3).upper(), 9, s.pale())
