"""Things made of boxes, seen from where the photo is taken."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from bench.data.generator.materials import Paint, darker, lighter
from bench.data.generator.sketch import Sketch

# The six faces of a box: the corners' places among (x0|x1, y0|y1, z0|z1), and the normal.
_FACES = (
    (((0, 1, 0), (1, 1, 0), (1, 1, 1), (0, 1, 1)), (0, 1, 0), "top"),
    (((0, 0, 0), (1, 0, 0), (1, 0, 1), (0, 0, 1)), (0, -1, 0), "under"),
    (((0, 1, 1), (1, 1, 1), (1, 0, 1), (0, 0, 1)), (0, 0, 1), "front"),
    (((0, 1, 0), (1, 1, 0), (1, 0, 0), (0, 0, 0)), (0, 0, -1), "back"),
    (((1, 1, 1), (1, 1, 0), (1, 0, 0), (1, 0, 1)), (1, 0, 0), "right"),
    (((0, 1, 1), (0, 1, 0), (0, 0, 0), (0, 0, 1)), (-1, 0, 0), "left"),
)


@dataclass(frozen=True)
class _Box:
    low: tuple[float, float, float]
    high: tuple[float, float, float]
    paint: Paint


class Scene:
    """Boxes in space: x to the right, y up, z to the viewer, in any unit; the picture is fitted to the sketch.

    Parameters
    ----------
    sketch : Sketch
    yaw : float
        Largest turn to either side, degrees; the photo's `turn` says how much of it.
    pitch : float
        How far from above it is seen, degrees.
    """

    def __init__(self, sketch: Sketch, yaw: float = 38, pitch: float = 18) -> None:
        self.sketch = sketch
        angle, tilt = math.radians(yaw * sketch.turn), math.radians(pitch)
        c, s, ct, st = math.cos(angle), math.sin(angle), math.cos(tilt), math.sin(tilt)
        # Rows: to the right of the picture, up in it, towards the viewer.
        self._axes = np.array([[c, 0, s], [s * st, ct, -c * st], [-s * ct, st, c * ct]])
        self._rows: list[list[float]] = self._axes[:2].tolist()
        self._boxes: list[_Box] = []
        self._scale = 1.0
        self._shift = (0.0, 0.0)

    def box(self, x0: float, x1: float, y0: float, y1: float, z0: float, z1: float, paint: Paint) -> None:
        """Add a box."""
        self._boxes.append(_Box((x0, y0, z0), (x1, y1, z1), paint))

    def place(self, x: float, y: float, z: float) -> tuple[float, float]:
        """Where a point is in the sketch; only after `draw`."""
        (a, b, c), (d, e, f) = self._rows
        right, up = self._shift
        return self._scale * (a * x + b * y + c * z) + right, up - self._scale * (d * x + e * y + f * z)

    def draw(self, room: float = 88) -> None:
        """Draw all boxes, the far ones first, in the middle of the sketch, `room` units wide or high."""
        corners = np.array([(b.low, b.high) for b in self._boxes])
        # Corner (i, j, k) of box n, projected.
        index = np.array([(i, j, k) for i in (0, 1) for j in (0, 1) for k in (0, 1)])
        points = corners[:, index, np.arange(3)]
        seen = points @ self._axes.T
        low, high = seen[..., :2].min(axis=(0, 1)), seen[..., :2].max(axis=(0, 1))
        self._scale = float(room / max(high - low))
        centre = (low + high) / 2
        self._shift = (float(50 - self._scale * centre[0]), float(50 + self._scale * centre[1]))
        flat = np.empty((*seen.shape[:2], 2))
        flat[..., 0] = self._scale * seen[..., 0] + self._shift[0]
        flat[..., 1] = -self._scale * seen[..., 1] + self._shift[1]
        for n in self._order():
            for places, normal, name in _FACES:
                if self._axes[2] @ normal > 1e-6:
                    outline = [tuple(flat[n, 4 * i + 2 * j + k]) for i, j, k in places]
                    self._face(outline, self._boxes[n].paint, name)

    def _order(self) -> list[int]:
        """Boxes from far to near.

        Of two boxes that do not meet, some axis separates them, and the one on the viewer's side of it is drawn later.
        """
        look = self._axes[2]
        boxes = self._boxes
        behind: list[set[int]] = [set() for _ in boxes]
        for a, first in enumerate(boxes):
            for b in range(a + 1, len(boxes)):
                second = boxes[b]
                for axis in range(3):
                    if abs(look[axis]) < 1e-6:
                        continue
                    if first.high[axis] <= second.low[axis] + 1e-9:
                        (behind[b] if look[axis] > 0 else behind[a]).add(a if look[axis] > 0 else b)
                        break
                    if second.high[axis] <= first.low[axis] + 1e-9:
                        (behind[a] if look[axis] > 0 else behind[b]).add(b if look[axis] > 0 else a)
                        break
        done: list[int] = []
        left = list(range(len(boxes)))
        while left:
            free = next((n for n in left if not behind[n] - set(done)), left[0])
            left.remove(free)
            done.append(free)
        return done

    def _face(self, outline: list[tuple[float, float]], paint: Paint, name: str) -> None:
        colour = paint.colour
        if name == "top":
            colour = lighter(colour, 0.16)
        elif name in ("left", "right"):
            colour = darker(colour, 0.26 if name == "right" else 0.16)
        elif name == "under":
            colour = darker(colour, 0.5)
        xs, ys = [p[0] for p in outline], [p[1] for p in outline]
        area = abs(sum(xs[i] * ys[i - 1] - xs[i - 1] * ys[i] for i in range(4))) / 2
        if area < (60 if paint.pattern else 130):
            self.sketch.plain(outline, colour)
        else:
            self.sketch.poly(outline, Paint(colour, paint.shade, paint.texture, paint.pattern, paint.second))
