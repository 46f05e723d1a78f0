"""Furniture: boxes in space, so that each photo can show a different side."""

from __future__ import annotations

from shelfbench.generator.materials import Paint, darker, lighter
from shelfbench.generator.scene import Ends, Scene
from shelfbench.generator.sketch import Sketch


def _scene(s: Sketch) -> Scene:
    return Scene(s, s.between(25, 48), s.between(8, 24))


def _wood(s: Sketch, metal: float = 0.15) -> Paint:
    if s.chance(metal):
        return Paint(s.steel(), "down")
    return Paint(s.wooden(), "down", s.pick("wood", "wood", "", "grain"))


def _legs(scene: Scene, across: Ends, deep: Ends, size: tuple[float, float], paint: Paint, inset: float = 0.0) -> None:
    """Four legs under a rectangle; `size` is the height and the thickness of each."""
    height, thick = size
    for x in (across[0] + inset, across[1] - thick - inset):
        for z in (deep[0] + inset, deep[1] - thick - inset):
            scene.box((x, x + thick), (0, height), (z, z + thick), paint)


def chair(s: Sketch) -> None:
    """A chair: legs, a seat, a back of slats, rails or one panel."""
    scene = _scene(s)
    frame = _wood(s, 0.3)
    seat = s.cloth("puff", "fabric", "leather", printed=0.3) if s.chance(0.5) else frame
    width, height = s.between(40, 50), s.between(42, 50)
    depth, thick, top = s.between(38, 46), s.between(2.5, 5), s.between(84, 108)
    _legs(scene, (0, width), (0, depth), (height, thick), frame)
    scene.box((0, width), (height, height + s.between(3, 9)), (0, depth), seat)
    low = height + 9
    kind = s.pick("slats", "rails", "panel", "panel")
    if kind == "panel":
        scene.box((0, width), (s.pick(low - 1, low + 14), top), (0, thick), seat)
        scene.box((0, thick), (low - 9, low + 14), (0, thick), frame)
        scene.box((width - thick, width), (low - 9, low + 14), (0, thick), frame)
    else:
        for x in (0, width - thick):
            scene.box((x, x + thick), (low, top - 8), (0, thick), frame)
        scene.box((0, width), (top - 8, top), (0, thick), frame)
        if kind == "slats":
            for k in range(s.count(2, 4)):
                x = width * (k + 1) / 5
                scene.box((x, x + 3), (low, top - 8), (0, thick), frame)
        else:
            for y in (low + 6, low + 18):
                scene.box((thick, width - thick), (y, y + 5), (0, thick), frame)
    scene.draw()


def stool(s: Sketch) -> None:
    """A low stool or a bar stool, with or without a low back."""
    scene = _scene(s)
    frame = _wood(s, 0.45)
    seat = s.cloth("puff", "leather", "fabric", printed=0.2) if s.chance(0.6) else frame
    width, height = s.between(30, 42), s.between(42, 80)
    depth, thick = width * s.between(0.85, 1), s.between(2, 4)
    _legs(scene, (0, width), (0, depth), (height, thick), frame, s.between(0, 3))
    rung = height * s.between(0.25, 0.4)
    for z in (2.0, depth - thick - 2):
        scene.box((thick, width - thick), (rung, rung + 2), (z, z + 2), frame)
    scene.box((0, width), (height, height + s.between(3, 8)), (0, depth), seat)
    if s.chance(0.15):
        scene.box((0, width), (height + 8, height + s.between(16, 28)), (0, 4), seat)
    scene.draw()


def _upholstered(s: Sketch, low: float, high: float, seats: int) -> None:
    """Upholstered seating, from `low` to `high` wide."""
    scene = _scene(s)
    body = s.cloth("puff", "fabric", "leather", "denim", "knit", printed=0.25)
    plain = Paint(body.colour, "puff", body.texture)
    width, depth = s.between(low, high), s.between(64, 78)
    seat, arm = s.between(34, 42), s.between(8, 18)
    back, foot = s.between(66, 92), s.between(3, 14)
    _legs(scene, (2, width - 2), (2, depth - 2), (foot, 4), Paint(s.wooden(), "down"))
    scene.box((0, width), (foot, seat - 10), (0, depth), plain)
    step = (width - 2 * arm) / seats
    for k in range(seats):
        x0, x1 = arm + k * step + 0.3, arm + (k + 1) * step - 0.3
        scene.box((x0, x1), (seat - 10, seat + 4), (16, depth), body)
        scene.box((x0, x1), (seat + 4, back - 4), (12, 26), body)
    scene.box((0, width), (seat - 10, back), (0, 12), plain)
    arms = seat + s.between(8, 24)
    scene.box((0, arm), (seat - 10, arms), (12, depth), plain)
    scene.box((width - arm, width), (seat - 10, arms), (12, depth), plain)
    if s.chance(0.35):
        x = s.between(arm, width - arm - 26)
        scene.box(
            (x, x + 24), (seat + 4, seat + 26), (27, 34), Paint(s.colour(), "puff", "fabric", "check", s.colour())
        )
    scene.draw()


def armchair(s: Sketch) -> None:
    """An armchair."""
    _upholstered(s, 70, 94, 1)


def sofa(s: Sketch) -> None:
    """A sofa for two or three; narrow ones look much like armchairs."""
    _upholstered(s, 125, 215, s.count(2, 3))


def _table(s: Sketch, low: float, high: float, drawers: float, shelf: float) -> None:
    scene = _scene(s)
    top = _wood(s, 0.05)
    legs = _wood(s, 0.4) if s.chance(0.4) else top
    width, depth, height = s.between(90, 160), s.between(55, 80), s.between(low, high)
    thick = s.between(3, 8)
    if s.chance(0.75):
        _legs(scene, (0, width), (0, depth), (height, thick), legs, s.between(0, 8))
    else:
        scene.box((2, 2 + thick), (0, height), (4, depth - 4), legs)
        scene.box((width - 2 - thick, width - 2), (0, height), (4, depth - 4), legs)
    if s.chance(drawers):
        right = width * s.between(0.55, 0.68)
        scene.box(
            (right, width - 9),
            (height - s.between(14, 50), height),
            (6, depth - 3),
            Paint(lighter(top.colour, 0.1), "down"),
        )
    if s.chance(shelf):
        scene.box((8, width - 8), (height * 0.3, height * 0.3 + 3), (6, depth - 6), legs)
    scene.box((0, width), (height, height + s.between(2.5, 6)), (0, depth), top)
    scene.draw()


def dining_table(s: Sketch) -> None:
    """A dining table."""
    _table(s, 68, 78, 0.1, 0.05)


def coffee_table(s: Sketch) -> None:
    """A coffee table."""
    _table(s, 30, 50, 0.1, 0.6)


def desk(s: Sketch) -> None:
    """A desk, mostly with drawers."""
    _table(s, 68, 78, 0.8, 0.05)


def _case(s: Sketch, size: tuple[float, float, float], cells: tuple[int, int], doors: float, open_: float) -> None:
    """A cabinet divided into rows and columns of compartments, each with a drawer, with a door, or open."""
    width, height, depth = size
    rows, columns = cells
    scene = _scene(s)
    body = _wood(s, 0.02)
    foot = s.between(0, 12)
    if foot > 3:
        _legs(scene, (1, width - 1), (1, depth - 1), (foot, 3.5), _wood(s, 0.4))
    else:
        foot = 0.0
    scene.box((0, width), (foot, height), (0, depth), body)
    scene.draw()
    front = Paint(body.colour if s.chance(0.6) else s.wooden(), "down", body.texture)
    knob, round_knob = s.steel(), s.chance(0.5)
    board = 3.0
    cell_x, cell_y = (width - board) / columns, (height - foot - board) / rows
    for row in range(rows):
        for column in range(columns):
            x0, x1 = board + column * cell_x, (column + 1) * cell_x
            y0, y1 = foot + board + row * cell_y, foot + (row + 1) * cell_y
            corners = [scene.place(x, y, depth) for x, y in ((x0, y1), (x1, y1), (x1, y0), (x0, y0))]
            if s.chance(open_):
                s.plain(corners, darker(body.colour, 0.5))
                _filled(s, scene, (x0, x1), (y0, y1), depth)
                continue
            s.poly(corners, front)
            s.stroke([*corners, corners[0]], 0.5, darker(body.colour, 0.45))
            hinged = cell_y > 1.2 * cell_x or s.chance(doors)
            at = (x1 - 4, (y0 + y1) / 2) if hinged else ((x0 + x1) / 2, (y0 + y1) / 2)
            u, v = scene.place(*at, depth)
            if round_knob:
                s.spot(u, v, 0.9, knob)
            else:
                s.stroke([(u, v - 2.5), (u, v + 2.5)] if hinged else [(u - 3.5, v), (u + 3.5, v)], 1, knob)


def _filled(s: Sketch, scene: Scene, across: Ends, up: Ends, depth: float) -> None:
    """The contents of an open compartment: books, a vase or nothing."""
    (x0, x1), (y0, y1) = across, up
    kind = s.between(0, 1)
    if kind < 0.35:
        x = x0 + 1
        while x < x0 + (x1 - x0) * 0.75:
            wide = 2 + 2.5 * float(s.rng.random())
            top = y0 + (y1 - y0) * (0.6 + 0.3 * float(s.rng.random()))
            s.plain(
                [scene.place(u, v, depth) for u, v in ((x, top), (x + wide, top), (x + wide, y0), (x, y0))],
                s.colour(),
            )
            x += wide + 0.3
    elif kind < 0.5:
        u, v = scene.place((x0 + x1) / 2, y0, depth)
        s.turned(u, [(v - 7, 1.4), (v - 3, 3), (v, 1.6)], Paint(s.colour(), "side"), 1)


def drawers(s: Sketch) -> None:
    """A chest of drawers."""
    _case(s, (s.between(50, 100), s.between(70, 105), s.between(38, 48)), (s.count(3, 5), s.count(1, 2)), 0.02, 0.02)


def sideboard(s: Sketch) -> None:
    """A low, long cupboard, also used for televisions."""
    _case(s, (s.between(120, 175), s.between(42, 80), s.between(38, 45)), (s.count(1, 3), s.count(2, 4)), 0.6, 0.25)


def bookcase(s: Sketch) -> None:
    """Shelves, mostly open."""
    _case(s, (s.between(45, 110), s.between(110, 190), s.between(25, 35)), (s.count(4, 6), s.count(1, 3)), 0.6, 0.88)


def wardrobe(s: Sketch) -> None:
    """A tall cupboard with doors."""
    _case(
        s,
        (s.between(80, 160), s.between(165, 205), s.between(50, 60)),
        (s.pick(1, 1, 2), s.count(2, 4)),
        1.0,
        0.08,
    )
