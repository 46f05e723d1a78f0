"""Books: one body for all, with covers that differ only in the statistics of layout, palette and title."""

from __future__ import annotations

from dataclasses import dataclass

from shelfbench.generator.materials import Colour, Paint, darker, mix
from shelfbench.generator.sketch import Box, Sketch


@dataclass(frozen=True)
class Cover:
    """Tendencies of a genre's covers: probabilities and ranges, so that genres overlap.

    Attributes
    ----------
    shape : (float, float)
        Range of width over height.
    pale, dark : float
        Probabilities of a pale and of a dark ground; otherwise it is coloured.
    words : (int, int)
        Range of the number of words in the title.
    title_top : float
        Probability that the title is in the upper third.
    size : (float, float)
        Range of the height of the title's letters.
    band : float
        Probability of a band behind the title.
    art : tuple of str
        Kinds of picture, all equally likely.
    thick : (float, float)
        Range of the book's thickness.
    """

    shape: tuple[float, float]
    pale: float
    dark: float
    words: tuple[int, int]
    title_top: float
    size: tuple[float, float]
    band: float
    art: tuple[str, ...]
    thick: tuple[float, float]


def book(s: Sketch, cover: Cover) -> None:
    """A book from the front, turned a little: with pages or spine next to the cover."""
    height = s.between(76, 88)
    width = height * s.between(*cover.shape)
    x0, y0 = 50 - width / 2, 50 - height / 2
    x1, y1 = x0 + width, y0 + height
    ground_kind = s.between(0, 1)
    ground = s.pale() if ground_kind < cover.pale else s.dark() if ground_kind < cover.pale + cover.dark else s.colour()
    ink: Colour = (250, 248, 240) if sum(ground) < 390 else darker(s.colour(), 0.55)
    accent = s.bright()
    thick = s.between(*cover.thick) * (0.4 + abs(s.turn))
    if s.turn < 0:
        s.plain([(x1, y0), (x1 + thick, y0 + 2), (x1 + thick, y1 - 1), (x1, y1)], (226, 219, 202))
        for k in range(1, 5):
            s.stroke([(x1 + thick * k / 5, y0 + 1), (x1 + thick * k / 5, y1 - 1)], 0.3, (190, 182, 166))
    else:
        s.plain([(x0, y0), (x0 - thick, y0 + 2), (x0 - thick, y1 - 1), (x0, y1)], darker(ground, 0.3))
    s.slab(x0, y0, x1, y1, Paint(ground, "slant", s.pick("", "grain", "")))
    _picture(s, s.pick(*cover.art), (x0, y0, x1, y1), ground, accent)
    top = s.chance(cover.title_top)
    size = s.between(*cover.size)
    y = y0 + height * (s.between(0.1, 0.24) if top else s.between(0.42, 0.62))
    lines = s.count(*cover.words)
    if s.chance(cover.band):
        s.plain(
            [
                (x0, y - size),
                (x1, y - size),
                (x1, y + size * (1.15 * lines)),
                (x0, y + size * (1.15 * lines)),
            ],
            accent,
        )
        ink = (255, 255, 255) if sum(accent) < 420 else (20, 20, 25)
    for line in range(lines):
        words = s.word(2, 4)
        fitted = min(size, width * 1.55 / len(words))
        s.text(50, y + line * size * 1.15, words.upper() if line == 0 else words.title(), fitted, ink)
    s.text(
        50,
        y0 + height * (0.93 if top else s.between(0.07, 0.12)),
        f"{s.word(1, 2)} {s.word(2, 3)}".title(),
        5,
        ink,
    )
    s.stroke([(x0 + 2.2, y0), (x0 + 2.2, y1)], 0.5, mix(ground, (0, 0, 0), 0.25))


def _picture(s: Sketch, kind: str, box: Box, ground: Colour, accent: Colour) -> None:
    """The picture on the cover."""
    x0, y0, x1, y1 = box
    width, height = x1 - x0, y1 - y0
    cx, cy = x0 + width * s.between(0.4, 0.6), y0 + height * s.between(0.5, 0.7)
    second = s.colour()
    if kind == "landscape":
        horizon = y0 + height * s.between(0.5, 0.7)
        s.slab(x0, y0 + height * s.between(0.0, 0.3), x1, horizon, Paint(mix(second, (150, 190, 230), 0.6), "up"))
        ridge = [(x0 + width * k / 6, horizon - s.between(2, 18)) for k in range(7)]
        s.poly([(x0, y1 - 8), *ridge, (x1, y1 - 8)], Paint(accent, "down", "grain"))
    elif kind == "figure":
        s.poly(
            [
                (cx - 12, y1),
                (cx - 11, cy + 2),
                (cx - 4, cy - 5),
                (cx + 4, cy - 5),
                (cx + 11, cy + 2),
                (cx + 12, y1),
            ],
            Paint(second, "drape"),
            1,
        )
        s.oval(
            cx - 5,
            cy - 19,
            cx + 5,
            cy - 5,
            Paint(s.pick((224, 178, 146), (150, 100, 70), (90, 60, 45)), "ball"),
        )
        s.arc((cx - 6, cy - 21, cx + 6, cy - 6), (180, 360), 4, Paint(s.dark(), "flat"))
    elif kind == "dish":
        radius = width * s.between(0.24, 0.36)
        s.disc(cx, cy, radius, Paint((240, 238, 232), "ball"))
        for _ in range(s.count(5, 10)):
            u, v = s.between(-0.5, 0.5), s.between(-0.5, 0.5)
            s.disc(cx + radius * u, cy + radius * v, radius * s.between(0.14, 0.3), Paint(s.bright(), "ball"))
    elif kind == "diagram":
        for k in range(s.count(3, 5)):
            bottom = y0 + height * 0.82
            left = x0 + width * (0.2 + 0.13 * k)
            s.plain(
                [
                    (left, bottom),
                    (left, bottom - s.between(5, 26)),
                    (left + 4.5, bottom - s.between(5, 26)),
                    (left + 4.5, bottom),
                ],
                mix(accent, second, k / 4),
            )
    elif kind == "shapes":
        for _ in range(s.count(2, 5)):
            x, y, r = x0 + width * s.between(0.2, 0.8), y0 + height * s.between(0.3, 0.8), s.between(3, 10)
            s.disc(x, y, min(r, x - x0, x1 - x, y1 - y), Paint(s.bright(), "flat"))
    elif kind == "panels":
        for row in range(2):
            for column in range(2):
                left, up = x0 + width * (0.06 + 0.46 * column), y0 + height * (0.32 + 0.31 * row)
                s.slab(
                    left,
                    up,
                    left + width * 0.42,
                    up + height * 0.28,
                    Paint(s.bright(), "up", "", s.pick("", "dots", "diagonal"), s.bright()),
                )
                s.disc(
                    left + width * s.between(0.12, 0.3),
                    up + height * 0.17,
                    s.between(3, 6),
                    Paint((228, 184, 150), "ball"),
                )
    elif kind == "pattern":
        s.slab(
            x0,
            y0 + height * 0.3,
            x1,
            y1 - height * 0.1,
            Paint(ground, "down", "", s.pick("floral", "leaves", "stars", "chevron", "stripes"), accent),
        )
    elif kind == "frame":
        s.slab(x0 + 5, y0 + 5, x1 - 5, y1 - 5, Paint(accent, "flat"))
        s.slab(x0 + 6, y0 + 6, x1 - 6, y1 - 6, Paint(ground, "slant"))


COVERS = {
    "LITERATURE": Cover(
        shape=(0.62, 0.7),
        pale=0.4,
        dark=0.3,
        words=(1, 3),
        title_top=0.6,
        size=(6, 9),
        band=0.15,
        art=("landscape", "pattern", "frame", "frame"),
        thick=(3, 9),
    ),
    "CRIME NOVEL": Cover(
        shape=(0.6, 0.68),
        pale=0.08,
        dark=0.72,
        words=(1, 3),
        title_top=0.4,
        size=(9, 14),
        band=0.15,
        art=("landscape", "figure", "none", "none"),
        thick=(4, 10),
    ),
    "TEXTBOOK": Cover(
        shape=(0.7, 0.8),
        pale=0.35,
        dark=0.15,
        words=(2, 4),
        title_top=0.75,
        size=(7, 11),
        band=0.5,
        art=("diagram", "diagram", "shapes", "pattern"),
        thick=(3, 9),
    ),
    "COOK BOOK": Cover(
        shape=(0.74, 0.95),
        pale=0.5,
        dark=0.12,
        words=(1, 3),
        title_top=0.6,
        size=(7, 12),
        band=0.35,
        art=("dish", "dish", "dish", "pattern"),
        thick=(3, 7),
    ),
    "COMIC BOOK": Cover(
        shape=(0.66, 0.78),
        pale=0.2,
        dark=0.25,
        words=(1, 2),
        title_top=0.85,
        size=(10, 16),
        band=0.45,
        art=("panels", "panels", "figure", "shapes"),
        thick=(1, 4),
    ),
    "TRAVEL GUIDE": Cover(
        shape=(0.5, 0.62),
        pale=0.25,
        dark=0.1,
        words=(1, 2),
        title_top=0.7,
        size=(8, 13),
        band=0.5,
        art=("landscape", "landscape", "pattern", "figure"),
        thick=(2, 6),
    ),
    "CHILDREN'S BOOK": Cover(
        shape=(0.8, 1.05),
        pale=0.4,
        dark=0.05,
        words=(1, 3),
        title_top=0.7,
        size=(8, 14),
        band=0.2,
        art=("shapes", "figure", "pattern", "landscape"),
        thick=(1, 4),
    ),
    "BIOGRAPHY": Cover(
        shape=(0.62, 0.72),
        pale=0.35,
        dark=0.3,
        words=(1, 2),
        title_top=0.35,
        size=(7, 12),
        band=0.3,
        art=("figure", "figure", "figure", "frame"),
        thick=(4, 9),
    ),
    "DICTIONARY": Cover(
        shape=(0.62, 0.75),
        pale=0.25,
        dark=0.2,
        words=(1, 3),
        title_top=0.6,
        size=(9, 15),
        band=0.55,
        art=("frame", "none", "shapes", "pattern"),
        thick=(6, 12),
    ),
    "SELF-HELP": Cover(
        shape=(0.62, 0.7),
        pale=0.5,
        dark=0.08,
        words=(2, 4),
        title_top=0.5,
        size=(7, 12),
        band=0.3,
        art=("shapes", "none", "figure", "diagram"),
        thick=(2, 6),
    ),
}
