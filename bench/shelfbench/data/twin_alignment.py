"""Whether one photo is an altered copy of another: brighter, darker, or cropped by a little and enlarged again.

The alteration that explains the pair best is fitted to the two fingerprints, undone, and what is left is compared with
the limit. Photos of different things in the same pose (black wallets, lipsticks in two shades) leave more, or need an
alteration that no copy has. Where a catalogue has many photos that are much alike, less may be left.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from shelfbench.data.fingerprint import BLUE, BRIGHTNESS, LUMA, RED, cosines, grid, planes

# What may be left, in levels of 255 (root mean square), is a limit times the square roots of the contrast and of the
# spread: strong contrasts are harder to align and weak ones easier to take for one another, and so are photos among
# many that are alike. The limits were chosen on the `fashion` catalogue without its shoes and on a generated catalogue,
# and are tested on the shoes and on other catalogues.
CROP_LIMIT, BRIGHTNESS_LIMIT = 0.17, 0.17
# Where nothing is clipped, a copy that is brighter or darker leaves next to nothing.
GAIN_LIMIT = 0.08
# The mean of the height and width that a crop leaves; above it, the photo is as good as whole.
WHOLE = 0.985
# The most that a copy is brighter or darker, and how far its highlights may go the other way.
BRIGHTEST, OPPOSITE = 0.15, -0.15
# Fitting a crop: points per side and frequencies of each step, and how far an edge usually moves.
_FIRST, _LAST, _EDGE = ((12, 6), (12, 8)), ((16, 12), (16, 12)), 0.05
_OUTSIDE, _INSIDE = -0.01, 0.13
# Frequencies on which a crop is judged at first and at last; a first look lets pass what is left up to this limit.
_LOOK, _JUDGED, _FIRST_LIMIT = (6, 4, 12), (10, 5, 24), 0.3
_POINTS, _LIGHTER, _BLOCK = 16, 0.1, 256
_WHITE = 255


def same_but_brightness(first: np.ndarray, second: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """Measure what is left between photos if one is a brighter or darker copy of the other.

    Parameters
    ----------
    first : ndarray of float32, shape (n, 384)
        Fingerprints of one photo of each pair.
    second : ndarray of float32, shape (n, 384)
        And of the other.
    spread : ndarray of float32, shape (n,)
        How far the other photos are, from `shelfbench.data.twin_candidates.neighbours`.

    Returns
    -------
    ndarray of float32, shape (n,)
        Levels of 255; infinite where it is not such a copy.
    """
    return _in_blocks(_brightness, first, second, spread)


def same_but_cropped(first: np.ndarray, second: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """Measure what is left between photos if one is a part of the other, enlarged to the same size.

    Parameters
    ----------
    first : ndarray of float32, shape (n, 384)
        Fingerprints of one photo of each pair.
    second : ndarray of float32, shape (n, 384)
        And of the other.
    spread : ndarray of float32, shape (n,)
        How far the other photos are, from `shelfbench.data.twin_candidates.neighbours`.

    Returns
    -------
    ndarray of float32, shape (n,)
        Levels of 255; infinite where neither is such a copy of the other.
    """
    found: np.ndarray = np.minimum(_in_blocks(_crop, first, second, spread), _in_blocks(_crop, second, first, spread))
    return found


def _in_blocks(measure: Callable[..., np.ndarray], *rows: np.ndarray) -> np.ndarray:
    """Measure so few pairs at a time that their arrays fit the processor's cache."""
    blocks = (slice(begin, begin + _BLOCK) for begin in range(0, len(rows[0]), _BLOCK))
    return np.concatenate([np.empty(0, np.float32), *(measure(*(part[block] for part in rows)) for block in blocks)])


def _brightness(first: np.ndarray, second: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """Explain the brighter photo by the darker one, with highlights that stop at white or with none that do."""
    swap = (first[:, 0] > second[:, 0])[:, None]
    dark, bright = np.where(swap, second, first), np.where(swap, first, second)
    colours = _colours(dark)
    change = _colours(bright) - colours
    # what a little more light adds: to a pixel, up to white; and to one that is partly white already
    light = np.minimum((1 + _LIGHTER) * colours, np.maximum(colours, _WHITE)) - colours
    mixed = colours * (_WHITE - colours) / _WHITE
    allowed = np.sqrt(spread * np.minimum(_contrast(planes(dark)), _contrast(planes(bright))))
    gain = _dot(colours, change) / np.maximum(_dot(colours, colours), 1)
    plain = _size(change - gain[:, None] * colours)
    plain[(plain > GAIN_LIMIT * allowed) | (gain > BRIGHTEST)] = np.inf
    # least squares in two unknowns, slightly held back where nothing tells them apart
    a, b, c = _dot(mixed, mixed) + 1, _dot(mixed, light), _dot(light, light) + 1
    p, q = _dot(mixed, change), _dot(light, change)
    determinant = a * c - b * b
    some, full = (c * p - b * q) / determinant, (a * q - b * p) / determinant
    added = some[:, None] * mixed + full[:, None] * light
    share = _LIGHTER * added.sum(axis=1) / np.maximum(light.sum(axis=1), 1)
    clipped = _size(change - added)
    wrong = (clipped > BRIGHTNESS_LIMIT * allowed) | (full < OPPOSITE) | (share > BRIGHTEST)
    clipped[wrong] = np.inf
    found: np.ndarray = np.minimum(plain, clipped)
    return found


def _colours(fingerprints: np.ndarray) -> np.ndarray:
    """Show photos as red, green and blue of a few points, shape (n, points * 3)."""
    at = grid(_POINTS)
    bright, blue, red = (
        (cosines(at, plane.shape[1])[0] @ plane @ cosines(at, plane.shape[1])[0].T) for plane in planes(fingerprints)
    )
    red, blue = bright + red / RED, bright + blue / BLUE
    green = (bright - LUMA[0] * red - LUMA[2] * blue) / LUMA[1]
    return np.stack([red, green, blue], axis=1).reshape(len(fingerprints), -1)


def _dot(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    product: np.ndarray = np.einsum("ij,ij->i", one, other)
    return product


def _size(left: np.ndarray) -> np.ndarray:
    """Measure differences of red, green and blue as fingerprints measure them."""
    red, green, blue = np.moveaxis(left.reshape(len(left), 3, -1), 1, 0)
    bright = LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue
    squares = sum(_dot(part, part) for part in (bright, (blue - bright) * BLUE, (red - bright) * RED))
    found: np.ndarray = np.sqrt(squares / bright.shape[1])
    return found


def _contrast(parts: tuple[np.ndarray, ...]) -> np.ndarray:
    """Measure the contrast of brightness and colours, their means left out."""
    flat = [part.reshape(len(part), -1)[:, 1:] for part in parts]
    return np.sqrt(sum(_dot(part, part) for part in flat))


def _crop(whole: np.ndarray, part: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """Find the window of one photo that the other shows, first coarsely."""
    left = np.full(len(whole), np.inf, np.float32)
    edges = np.tile(np.array([0, 1, 0, 1], np.float32), (len(whole), 1))
    edges = _fitted(whole, part, edges, _FIRST)
    rest, contrast = _after_crop(whole, part, edges, *_LOOK)
    some = np.flatnonzero(rest <= _FIRST_LIMIT * np.sqrt(spread * contrast))
    if len(some):
        whole, part = whole[some], part[some]
        edges = _fitted(whole, part, edges[some], _LAST)
        rest, contrast = _after_crop(whole, part, edges, *_JUDGED)
        kept = (edges[:, 1] - edges[:, 0] + edges[:, 3] - edges[:, 2]) / 2
        same = (rest <= CROP_LIMIT * np.sqrt(spread[some] * contrast)) & (kept <= WHOLE)
        left[some[same]] = rest[same]
    return left


def _fitted(whole: np.ndarray, part: np.ndarray, edges: np.ndarray, steps: tuple[tuple[int, int], ...]) -> np.ndarray:
    """Move the edges of the window by steps of Gauss and Newton; edges that nothing in the photo shows stay put."""
    start = np.array([0, 1, 0, 1], np.float32)
    hold = np.float32(1 / _EDGE**2)
    for points, count in steps:
        at = grid(points)
        own = cosines(at, count)[0]
        plane = np.ascontiguousarray(planes(whole)[0][:, :count, :count])
        seen = own @ planes(part)[0][:, :count, :count] @ own.T
        rows, row_slopes = cosines(edges[:, :1] + (edges[:, 1:2] - edges[:, :1]) * at, count)
        columns, column_slopes = cosines(edges[:, 2:3] + (edges[:, 3:4] - edges[:, 2:3]) * at, count)
        columns = columns.transpose(0, 2, 1)
        halfway = rows @ plane
        now, across = halfway @ columns, halfway @ column_slopes.transpose(0, 2, 1)
        down = (row_slopes @ plane) @ columns
        lower = at[:, None]
        slopes = np.stack([down * (1 - lower), down * lower, across * (1 - at), across * at], axis=1)
        slopes = slopes.reshape(len(whole), 4, -1)
        missing = slopes @ (seen - now).reshape(len(whole), -1, 1) + hold * (start - edges)[:, :, None]
        system = slopes @ slopes.transpose(0, 2, 1) + hold * np.eye(4, dtype=np.float32)
        edges = edges + np.linalg.solve(system, missing)[:, :, 0]
        edges[:, ::2] = np.clip(edges[:, ::2], _OUTSIDE, _INSIDE)
        edges[:, 1::2] = np.clip(edges[:, 1::2], 1 - _INSIDE, 1 - _OUTSIDE)
    return edges


def _after_crop(
    whole: np.ndarray, part: np.ndarray, edges: np.ndarray, count: int, colours: int, points: int
) -> tuple[np.ndarray, np.ndarray]:
    """Measure what is left after the crop on some frequencies of brightness and colours, and the contrast there."""
    at = grid(points)
    down = edges[:, :1] + (edges[:, 1:2] - edges[:, :1]) * at
    across = edges[:, 2:3] + (edges[:, 3:4] - edges[:, 2:3]) * at
    rest = np.zeros(len(whole), np.float32)
    compared = []
    for mine, other, keep in zip(planes(whole), planes(part), (count, colours, colours), strict=True):
        used = min(mine.shape[1], BRIGHTNESS if count > _LOOK[0] else _FIRST[-1][1])
        back = cosines(at, keep)[0].T / points
        rows, columns = (back @ cosines(where, used)[0] for where in (down, across))
        compared.append(other[:, :keep, :keep])
        change = rows @ mine[:, :used, :used] @ columns.transpose(0, 2, 1) - compared[-1]
        rest += np.einsum("nij,nij->n", change, change)
    return np.sqrt(rest), _contrast(tuple(compared))
