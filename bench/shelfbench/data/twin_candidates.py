"""Which photos may be altered copies of one another: the closest ones, in a metric that forgives crops.

A crop moves every photo in much the same directions: its low frequencies shift and stretch. The covariance of these
moves is estimated on photos of the catalogue itself, cropped in the frequency domain, and whitened away (within-class
covariance normalisation, Hatch, Kajarekar and Stolcke, 2006). What is left tells photos apart. Each photo's few
nearest neighbours are then sought in the nearest cells of a coarse partition (an inverted file, Jégou, Douze and
Schmid, 2011), so that no photo is compared with all others.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from shelfbench.data.fingerprint import BRIGHTNESS, COLOUR, SIDE, cosines, grid, planes

NEIGHBOURS, PROBES = 12, 16
# Where a catalogue has fewer photos than neighbours are sought, and the most that is taken for the spread
# (in the metric, in which crops move photos by about one in each direction).
USUAL_SPREAD, WIDEST_SPREAD = 15.0, 40.0
# Nothing that is farther off is an altered copy.
REACH = 25.0
# Frequencies that are compared, of brightness and of each colour difference.
_LOW, _LOW_COLOUR = 8, 4
_PHOTOS, _WINDOWS, _LARGEST = 400, 12, 0.1
_RIDGE = 0.1
_BLOCK, _MOST_CELLS, _SMALL = 4096, 4096, 1024


def low_frequencies(fingerprints: np.ndarray) -> np.ndarray:
    """Take the frequencies that are compared, without the mean brightness and scaled to length one.

    Parameters
    ----------
    fingerprints : ndarray of float32, shape (n, 384)

    Returns
    -------
    ndarray of float32, shape (n, 95)
        The same for a photo that is brighter or darker by a factor.
    """
    kept = [
        plane[:, :keep, :keep].reshape(len(plane), keep * keep)[:, skip:]
        for plane, keep, skip in zip(planes(fingerprints), (_LOW, _LOW_COLOUR, _LOW_COLOUR), (1, 0, 0), strict=True)
    ]
    low = np.hstack(kept)
    found: np.ndarray = low / np.maximum(np.linalg.norm(low, axis=1, keepdims=True), np.float32(1e-6))
    return found


def cropped(fingerprints: np.ndarray, window: tuple[float, float, float, float]) -> np.ndarray:
    """Compute the fingerprints of photos of which only a window is left, enlarged to the whole.

    Parameters
    ----------
    fingerprints : ndarray of float32, shape (n, 384)
    window : tuple of float
        Top, bottom, left and right, as shares of the height and width.

    Returns
    -------
    ndarray of float32, shape (n, 384)
    """
    top, bottom, left, right = window
    at = grid(SIDE)
    parts = []
    for plane, keep in zip(planes(fingerprints), (BRIGHTNESS, COLOUR, COLOUR), strict=True):
        back = cosines(at, keep)[0].T / SIDE
        rows, columns = (
            back @ cosines(low + (high - low) * at, keep)[0] for low, high in ((top, bottom), (left, right))
        )
        parts.append((rows @ plane @ columns.T).reshape(len(plane), keep * keep))
    return np.hstack(parts)


def whitening(fingerprints: np.ndarray) -> np.ndarray:
    """Estimate how crops move photos, and the transform in which they move them equally far in every direction.

    Parameters
    ----------
    fingerprints : ndarray of float32, shape (n, 384)

    Returns
    -------
    ndarray of float32, shape (95, 95)
    """
    rng = np.random.default_rng(0)
    some = fingerprints[np.sort(rng.permutation(len(fingerprints))[:_PHOTOS])]
    before = low_frequencies(some)
    moves = []
    for _ in range(_WINDOWS):
        (height, width), (y, x) = rng.uniform(0, _LARGEST, 2), rng.random(2)
        window = (height * y, 1 - height * (1 - y), width * x, 1 - width * (1 - x))
        moves.append(low_frequencies(cropped(some, window)) - before)
    together = np.concatenate(moves)
    covariance = (together.T @ together / len(together)).astype(np.float64)
    ridge = max(_RIDGE * float(np.trace(covariance)) / len(covariance), 1e-12)
    value, vector = np.linalg.eigh(covariance + ridge * np.eye(len(covariance)))
    found: np.ndarray = (vector / np.sqrt(value)).astype(np.float32)
    return found


@dataclass(frozen=True, kw_only=True)
class _Cells:
    """Points, each in the cell of its nearest centre.

    Attributes
    ----------
    points, centres : ndarray of float32, shapes (n, d) and (cells, d)
    squares : ndarray of float32, shape (n,)
        Squared lengths of the points.
    order : ndarray of int64, shape (n,)
        Points, cell by cell.
    ends : ndarray of int64, shape (cells,)
        Where each cell ends in `order`.
    """

    points: np.ndarray
    centres: np.ndarray
    squares: np.ndarray
    order: np.ndarray
    ends: np.ndarray

    def members(self, cell: int) -> np.ndarray:
        """Return the points of a cell."""
        return self.order[self.ends[cell - 1] if cell else 0 : self.ends[cell]]


def neighbours(
    fingerprints: np.ndarray, queries: np.ndarray, count: int = NEIGHBOURS, probes: int = PROBES
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Propose, for some photos, the photos of which they may be altered copies, or that may be altered copies of them.

    Parameters
    ----------
    fingerprints : ndarray of float32, shape (n, 384)
    queries : ndarray of int64, shape (m,)
        Ascending rows of `fingerprints`.
    count : int
        Neighbours of each, fewer where some are out of reach.
    probes : int
        Cells in which they are sought.

    Returns
    -------
    first, second : ndarray of int64, shape (pairs,)
        Queries, ascending, and their neighbours.
    spread : ndarray of float32, shape (pairs,)
        How far the last of the neighbours of `first` is: small where many photos are alike.
    """
    if len(queries) == 0 or len(fingerprints) < 2:
        return np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32)
    transform = whitening(fingerprints)
    points = np.concatenate([low_frequencies(part) @ transform for part in _parts(fingerprints)])
    cells = 1 if len(points) <= _SMALL else min(_MOST_CELLS, int(np.sqrt(len(points))))
    centres = points[np.sort(np.random.default_rng(0).permutation(len(points))[:cells])]
    home = np.concatenate([_nearest(part, centres, 1)[:, 0] for part in _parts(points)])
    order = np.argsort(home, kind="stable")
    ends = np.cumsum(np.bincount(home, minlength=cells))
    squares = np.einsum("ij,ij->i", points, points)
    index = _Cells(points=points, centres=centres, squares=squares, order=order, ends=ends)
    found = [_search(index, block, count, probes) for block in _parts(queries)]
    first, second, spread = (np.concatenate(part) for part in zip(*found, strict=True))
    return first, second, spread


def _parts(rows: np.ndarray) -> Iterator[np.ndarray]:
    for begin in range(0, len(rows), _BLOCK):
        yield rows[begin : begin + _BLOCK]


def _nearest(points: np.ndarray, centres: np.ndarray, count: int) -> np.ndarray:
    """Find the nearest centres of each point, in any order."""
    distance = np.einsum("ij,ij->i", centres, centres) - 2 * points @ centres.T
    if count == 1:
        found: np.ndarray = distance.argmin(axis=1)[:, None]
        return found
    if count >= len(centres):
        return np.tile(np.arange(len(centres)), (len(points), 1))
    return np.argpartition(distance, count, axis=1)[:, :count]


def _search(index: _Cells, block: np.ndarray, count: int, probes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Search the nearest cells of a block of queries for their nearest neighbours."""
    probed = _nearest(index.points[block], index.centres, probes)
    near = np.zeros((*probed.shape, count), np.int64)
    far = np.full(near.shape, np.inf, np.float32)
    by_cell = np.argsort(probed, axis=None, kind="stable")
    cell = probed.ravel()[by_cell]
    starts = np.flatnonzero(np.diff(cell, prepend=-1))
    for begin, end in zip(starts, np.append(starts[1:], len(cell)), strict=True):
        asking, place = np.divmod(by_cell[begin:end], probed.shape[1])
        members, rows = index.members(int(cell[begin])), block[asking]
        distance = index.squares[members] - 2 * index.points[rows] @ index.points[members].T
        distance[rows[:, None] == members] = np.inf
        best = np.argpartition(distance, count, axis=1)[:, :count] if len(members) > count else np.arange(len(members))
        kept = min(count, len(members))
        near[asking, place, :kept] = members[best]
        far[asking, place, :kept] = np.take_along_axis(distance, np.broadcast_to(best, (len(asking), kept)), axis=1)
    flat = far.reshape(len(block), -1)
    best = np.argpartition(flat, count - 1, axis=1)[:, :count]
    second, squared = (np.take_along_axis(part, best, axis=1) for part in (near.reshape(len(block), -1), flat))
    distance = np.sqrt(np.maximum(squared + index.squares[block][:, None], 0))
    last = distance.max(axis=1)
    spread = np.minimum(np.where(np.isfinite(last), last, USUAL_SPREAD), WIDEST_SPREAD).astype(np.float32)
    reached = distance <= REACH
    return np.repeat(block, count)[reached.ravel()], second[reached], np.repeat(spread, count)[reached.ravel()]
