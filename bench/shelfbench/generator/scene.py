"""Things made of boxes, seen from the camera."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from shelfbench.generator.materials import Paint, darker, lighter
from shelfbench.generator.sketch import Sketch

# The six faces of a box: four corners, numbered 4 i + 2 j + k for the ends i, j, k of x, y, z; the axis perpendicular
# to the face, the side of that axis it is on, and its name.
_FACES = (
    ((2, 6, 7, 3), 1, 1, "top"),
    ((0, 4, 5, 1), 1, -1, "under"),
    ((3, 7, 5, 1), 2, 1, "front"),
    ((2, 6, 4, 0), 2, -1, "back"),
    ((7, 6, 4, 5), 0, 1, "right"),
    ((3, 2, 0, 1), 0, -1, "left"),
)

Ends = tuple[float, float]


@dataclass(frozen=True)
class _Box:
    low: tuple[float, float, float]
    high: tuple[float, float, float]
    paint: Paint


class Scene:
    """Boxes in space, with x to the right, y up and z towards the viewer, in any unit; scaled to fit the sketch.

    Parameters
    ----------
    sketch : Sketch
    yaw : float
        Largest turn to either side, in degrees; the photo's `turn` says how much of it is used.
    pitch : float
        Angle from above, in degrees.
    """

    def __init__(self, sketch: Sketch, yaw: float = 38, pitch: float = 18) -> None:
        self.sketch = sketch
        angle, tilt = math.radians(yaw * sketch.turn), math.radians(pitch)
        c, s, ct, st = math.cos(angle), math.sin(angle), math.cos(tilt), math.sin(tilt)
        # Rows: right and up in the picture, and towards the viewer.
        self._axes = np.array([[c, 0, s], [s * st, ct, -c * st], [-s * ct, st, c * ct]])
        self._rows: list[list[float]] = self._axes[:2].tolist()
        self._look: list[float] = self._axes[2].tolist()
        self._boxes: list[_Box] = []
        self._scale = 1.0
        self._shift = (0.0, 0.0)

    def box(self, x: Ends, y: Ends, z: Ends, paint: Paint) -> None:
        """Add a box between the two ends of each axis."""
        self._boxes.append(_Box((x[0], y[0], z[0]), (x[1], y[1], z[1]), paint))

    def place(self, x: float, y: float, z: float) -> tuple[float, float]:
        """Return the position of a point in the sketch; only after `draw`."""
        (a, b, c), (d, e, f) = self._rows
        right, up = self._shift
        return self._scale * (a * x + b * y + c * z) + right, up - self._scale * (d * x + e * y + f * z)

    def draw(self, room: float = 88) -> None:
        """Draw all boxes, the farthest first, in the middle of the sketch, `room` units wide or high."""
        ends = np.array([(b.low, b.high) for b in self._boxes])
        # Corner (i, j, k) of box n, projected.
        index = np.array([(i, j, k) for i in (0, 1) for j in (0, 1) for k in (0, 1)])
        points = ends[:, index, np.arange(3)]
        seen = points @ self._axes.T
        low, high = seen[..., :2].min(axis=(0, 1)), seen[..., :2].max(axis=(0, 1))
        self._scale = float(room / max(high - low))
        centre = (low + high) / 2
        self._shift = (float(50 - self._scale * centre[0]), float(50 + self._scale * centre[1]))
        flat = np.empty((*seen.shape[:2], 2))
        flat[..., 0] = self._scale * seen[..., 0] + self._shift[0]
        flat[..., 1] = -self._scale * seen[..., 1] + self._shift[1]
        places = flat.tolist()
        for n in self._order():
            for corners, axis, way, name in _FACES:
                if self._look[axis] * way > 1e-6:
                    u, v, w, x = corners
                    self._face([places[n][u], places[n][v], places[n][w], places[n][x]], self._boxes[n].paint, name)

    def _order(self) -> list[int]:
        """Order the boxes from far to near.

        Two boxes that do not overlap are separated along some axis; the one on the viewer's side is drawn later.
        """
        boxes, nearer = (
            self._boxes,
            [(axis, part > 0) for axis, part in enumerate(self._look) if abs(part) > 1e-6],
        )
        behind: list[set[int]] = [set() for _ in boxes]
        for a, first in enumerate(boxes):
            for b in range(a + 1, len(boxes)):
                second = boxes[b]
                for axis, towards in nearer:
                    if first.high[axis] <= second.low[axis] + 1e-9:
                        behind[b if towards else a].add(a if towards else b)
                        break
                    if second.high[axis] <= first.low[axis] + 1e-9:
                        behind[a if towards else b].add(b if towards else a)
                        break
        done: list[int] = []
        left = list(range(len(boxes)))
        while left:
            free = next((n for n in left if not behind[n]), left[0])
            left.remove(free)
            done.append(free)
            for waits in behind:
                waits.discard(free)
        return done

    def _face(self, outline: list[list[float]], paint: Paint, name: str) -> None:
        colour = paint.colour
        if name == "top":
            colour = lighter(colour, 0.16)
        elif name in ("left", "right"):
            colour = darker(colour, 0.26 if name == "right" else 0.16)
        elif name == "under":
            colour = darker(colour, 0.5)
        (x0, y0), (x1, y1), (x2, y2), (x3, y3) = outline
        area = abs((x2 - x0) * (y3 - y1) - (x3 - x1) * (y2 - y0)) / 2
        if area < (60 if paint.pattern else 130):
            self.sketch.plain(outline, colour)
        else:
            self.sketch.poly(outline, Paint(colour, paint.shade, paint.texture, paint.pattern, paint.second))
