"""Curves with as many points as can be seen."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

SEEN = 0.4  # pixels; a line is two to four wide


def thinned(
    x: np.ndarray, y: np.ndarray, size: tuple[float, float], *, keep: np.ndarray | None = None, bound: float = SEEN
) -> np.ndarray:
    """Find the points of a line that are enough to draw it.

    Ramer's and Douglas and Peucker's algorithm: between two points that stay, none that is left out lies further than
    `bound` from the straight line that replaces it.

    Parameters
    ----------
    x : ndarray of float64, shape (points,)
        Corners of the line, in pixels if they are multiplied by `size`.
    y : ndarray of float64, shape (points,)
    size : tuple of float
        Pixels of one unit of `x` and of `y`.
    keep : ndarray of int, optional
        Points that stay in any case; the first and the last always do.
    bound : float
        Pixels.

    Returns
    -------
    ndarray of int, shape (kept,)
        Places of the points that stay, in order.
    """
    if len(x) < 3:
        return np.arange(len(x))
    places = np.column_stack([np.asarray(x, np.float64) * size[0], np.asarray(y, np.float64) * size[1]])
    kept = sorted({0, len(x) - 1, *(() if keep is None else map(int, keep))})
    open_spans = list(pairwise(kept))
    while open_spans:
        first, last = open_spans.pop()
        if last - first < 2:
            continue
        distance = _from_segment(places[first + 1 : last], places[first], places[last])
        furthest = int(distance.argmax())
        if distance[furthest] > bound:
            middle = first + 1 + furthest
            kept.append(middle)
            open_spans += [(first, middle), (middle, last)]
    return np.sort(np.asarray(kept))


def _from_segment(points: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Distances of points from the segment between two others."""
    along = end - start
    length = float(along @ along)
    share = np.clip((points - start) @ along / length, 0, 1) if length else np.zeros(len(points))
    apart = points - start - share[:, None] * along
    return np.asarray(np.hypot(apart[:, 0], apart[:, 1]))


def staircase(precision: np.ndarray, share: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Corners of a falling staircase, whose height at any place is that of the next step to the right.

    Parameters
    ----------
    precision : ndarray of float64, shape (steps,)
        From `AcceptanceCurve.frontier`, as `share`.
    share : ndarray of float64, shape (steps,)

    Returns
    -------
    tuple of ndarray of float64, shape (2 * steps - 1,)
        Both empty without steps.
    """
    return np.repeat(precision, 2)[:-1], np.repeat(share, 2)[1:]


def thin_staircase(
    precision: np.ndarray, share: np.ndarray, size: tuple[float, float], exact: float
) -> tuple[np.ndarray, np.ndarray]:
    """Corners of a falling staircase that are enough to draw it, with both ends of the step at one place.

    Parameters
    ----------
    precision : ndarray of float64, shape (steps,)
        From `AcceptanceCurve.frontier`, as `share`.
    share : ndarray of float64, shape (steps,)
    size : tuple of float
        Pixels of one unit of each.
    exact : float
        A precision at which the line stays exactly what it is.

    Returns
    -------
    tuple of ndarray of float64, shape (corners,)
        Nowhere further than `SEEN` pixels from the staircase.
    """
    x, y = staircase(precision, share)
    at = np.arange(2) + 2 * int(np.searchsorted(precision, exact)) - 1
    kept = thinned(x, y, size, keep=at[(at >= 0) & (at < len(x))])
    return x[kept], y[kept]
