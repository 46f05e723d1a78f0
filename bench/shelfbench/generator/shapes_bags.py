"""Shoes and bags, from the side or the front."""

from __future__ import annotations

from shelfbench.generator.materials import Paint, darker, lighter
from shelfbench.generator.shapes_clothes import mirrored
from shelfbench.generator.sketch import Sketch


def sneaker(s: Sketch) -> None:
    """A sports shoe from the side."""
    upper = s.cloth("slant", "leather", "fabric", "knit", printed=0.1)
    sole = Paint(s.pale() if s.chance(0.7) else s.colour(), "down")
    ankle, toe = s.between(22, 40), s.between(58, 64)
    high = 62 - ankle
    s.poly(
        [
            (8, 72),
            (7, 66),
            (10, high + 6),
            (14, high),
            (30, high + s.between(0, 6)),
            (44, 52),
            (66, toe - 2),
            (86, toe + 2),
            (93, 70),
            (92, 74),
        ],
        upper,
        2,
    )
    s.oval(12, high - 2, 34, high + 6, Paint(darker(upper.colour, 0.5), "flat"))
    s.poly([(6, 70), (93, 69), (95, 75), (90, 80), (10, 80), (5, 76)], sole, 1)
    s.stroke([(6, 75), (94, 75)], 0.8, darker(sole.colour, 0.25))
    lace = s.pale()
    for k in range(s.count(3, 6)):
        x, y = 36 + 5 * k, high + 12 + 3.2 * k
        s.stroke([(x - 4, y + 3), (x + 3, y - 2)], 1.5, lace)
    mark = s.colour()
    kind = s.pick("swoosh", "stripes", "patch", "none")
    if kind == "stripes":
        for k in range(3):
            s.stroke([(40 + 7 * k, 68), (46 + 7 * k, 54 + 2 * k)], 2, mark)
    elif kind == "swoosh":
        s.poly([(22, 62), (44, 65), (66, 56), (42, 69)], Paint(mark, "flat"), 1)
    elif kind == "patch":
        s.poly([(7, 68), (9, high + 14), (22, 58), (24, 69)], Paint(mark, "slant", "leather"), 1)


def boot(s: Sketch) -> None:
    """An ankle boot or a knee boot."""
    leather = s.cloth("slant", "leather", "leather", "fur", printed=0.03)
    top = s.between(12, 40)
    calf = s.between(24, 32)
    heel = s.between(2, 13)
    sole = Paint(s.dark() if s.chance(0.7) else s.wooden(), "down")
    s.poly(
        [
            (22, 84 - heel),
            (20, top),
            (22, top),
            (20 + calf, top),
            (21 + calf, top + 3),
            (47, 58),
            (62, 66),
            (80, 72),
            (84, 82),
            (60, 84),
        ],
        leather,
        2,
    )
    s.poly(
        [
            (20, 82 - heel),
            (36, 82 - heel),
            (58, 83),
            (85, 81),
            (85, 86),
            (56, 87),
            (40, 83 - heel * 0.4),
            (34, 88),
            (22, 88),
        ],
        sole,
    )
    s.oval(21, top - 2, 20 + calf, top + 3, Paint(darker(leather.colour, 0.5), "flat"))
    if s.chance(0.5):
        for k in range(5):
            y = top + 8 + (60 - top) * k / 5
            s.stroke(
                [(20 + calf - 8, y), (20 + calf, y - 2)],
                1.4,
                s.pale() if k == 0 else lighter(leather.colour, 0.4),
            )
    elif s.chance(0.4):
        s.stroke([(28, top + 4), (28, 74 - heel)], 0.9, s.steel())


def pump(s: Sketch) -> None:
    """A woman's shoe with a heel."""
    leather = s.cloth("slant", "leather", "", printed=0.15)
    heel, wide = s.between(10, 34), s.between(2, 9)
    high = 76 - heel
    s.poly(
        [
            (13, high - 14),
            (14, high + 2),
            (24, high + 6),
            (54, 76),
            (90, 78),
            (93, 73),
            (82, 66),
            (66, 64),
            (44, high + 8),
            (26, high - 2),
        ],
        leather,
        2,
    )
    s.poly(
        [(14, high), (14 + wide + 4, high + 5), (15 + wide, 80), (15, 80)],
        Paint(darker(leather.colour, 0.2), "side"),
    )
    s.poly([(26, high), (46, high + 9), (64, 65), (40, high + 14)], Paint(darker(leather.colour, 0.5), "flat"), 1)
    if s.chance(0.35):
        s.arc((16, high - 22, 34, high - 6), (0, 360), 1.6, Paint(leather.colour, "side"))
    if s.chance(0.3):
        s.disc(76, 69, 3, Paint(s.bright(), "ball"))


def handbag(s: Sketch) -> None:
    """A bag with one or two handles."""
    leather = s.cloth("puff", "leather", "leather", "wicker", "fabric", printed=0.25)
    width, height = s.between(26, 38), s.between(34, 52)
    top = 60 - height / 2
    slope = s.between(0.75, 1.05)
    strap = Paint(darker(leather.colour, 0.2) if s.chance(0.7) else s.colour(), "side")
    rise = s.between(16, 30)
    s.arc((50 - width * 0.55, top - rise, 50 + width * 0.55, top + rise), (180, 360), s.between(2, 4), strap)
    s.poly(
        mirrored(
            [
                (width * slope, top),
                (width * slope, top),
                (width, top + height * 0.6),
                (width * 0.96, top + height),
                (width * 0.96, top + height),
            ]
        ),
        leather,
        1,
    )
    if s.chance(0.5):
        flap = height * s.between(0.3, 0.6)
        s.poly(
            mirrored([(width * slope, top), (width * slope, top), (width * 0.9, top + flap), (4, top + flap + 4)]),
            Paint(darker(leather.colour, 0.12), "puff", leather.texture),
            1,
        )
        s.slab(46, top + flap - 3, 54, top + flap + 5, Paint(s.steel(), "metal"), 1)
    else:
        s.stroke([(50 - width * slope * 0.9, top + 3), (50 + width * slope * 0.9, top + 3)], 0.9, s.steel())


def backpack(s: Sketch) -> None:
    """A rucksack with pockets."""
    cloth = s.cloth("puff", "fabric", "denim", "leather", "grain", printed=0.3)
    width, height = s.between(24, 32), s.between(60, 76)
    top = 52 - height / 2
    s.arc((42, top - 8, 58, top + 8), (180, 360), 2.2, Paint(s.dark(), "side"))
    for way in (-1, 1):
        s.line(
            [
                (50 + way * width * 0.8, top + 10),
                (50 + way * (width + 4), 50),
                (50 + way * width * 0.9, 52 + height * 0.42),
            ],
            3.4,
            Paint(s.dark(), "side"),
        )
    s.poly(
        mirrored(
            [
                (width * 0.5, top),
                (width * 0.95, top + 6),
                (width, top + height * 0.5),
                (width, top + height),
                (width, top + height),
            ]
        ),
        cloth,
        2,
    )
    pocket = Paint(darker(cloth.colour, 0.12) if s.chance(0.6) else s.colour(), "puff", cloth.texture)
    y = 52 + s.between(0, 8)
    s.slab(50 - width * 0.75, y, 50 + width * 0.75, 52 + height * 0.46, pocket, 5)
    s.stroke([(50 - width * 0.65, y + 4), (50 + width * 0.65, y + 4)], 0.8, s.steel())
    s.arc(
        (50 - width * 0.85, top + 5, 50 + width * 0.85, top + height * 0.7),
        (180, 360),
        0.9,
        Paint(s.steel(), "flat"),
    )
    if s.chance(0.5):
        s.text(50, y - 8, s.word(1, 2).upper(), 5, s.pale())
