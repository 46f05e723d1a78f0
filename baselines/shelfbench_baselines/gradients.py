"""The same histograms of oriented gradients as ``skimage.feature.hog``, computed faster, by NumPy alone.

Gradients of 8-bit images are integers from -255 to 255, so that their directions are looked up in a table of 511 x 511
bins, made once by scikit-image's own formula: no arctangent per pixel, and no pixel falls into a different bin. It is
written by hand because scikit-image takes many times as long for the same features.
"""

from __future__ import annotations

from functools import cache

import numpy as np

_SPAN = 511  # number of values of a gradient
_EPS = 1e-5  # scikit-image's, added in each norm
_CLIP = 0.2
_HUGE = 2 << 20  # bytes of a huge page; NumPy requests them for arrays of twice this size


@cache
def _bins(orientations: int) -> np.ndarray:
    """Compute the bin of each gradient, at ``(row + 255) * 511 + column + 255``; `orientations` for no bin."""
    steps = np.arange(-255.0, 256.0)
    degrees = np.rad2deg(np.arctan2(steps[:, None], steps[None, :])) % 180
    edges = 180.0 / orientations * np.arange(1, orientations + 1)
    found = np.searchsorted(edges, degrees.ravel(), side="right")
    result: np.ndarray = found.astype(np.uint8 if orientations < 256 else np.int32)
    return result


class Histograms:
    """HOG of square 8-bit colour images of one size. Not thread-safe.

    Parameters
    ----------
    pixels : int
        Side of the images.
    cells : int
        Side of a cell, in pixels.
    blocks : int
        Side of a block, in cells.
    orientations : int
        Bins of the gradient's direction.
    """

    def __init__(self, pixels: int, cells: int, blocks: int, orientations: int) -> None:
        self._cells, self._blocks, self._orientations = cells, blocks, orientations
        self._count = count = pixels // cells
        cell = np.arange(pixels) // cells
        place = cell[:, None] * count + cell
        # pixels left over at the right and lower edge go into a cell that is not read
        place[(cell >= count)[:, None] | (cell >= count)] = count * count
        self._pixels, size = pixels, pixels * pixels
        # in one piece that begins at a huge page: with smaller pages, chance decides for the life of the process how
        # much they compete for the cache
        self._lookup, self._base, whole, self._planes = _in_one_piece(
            _bins(orientations),
            (place * (orientations + 1)).ravel(),
            np.zeros((8, size), np.float32),
            np.empty((3, size), np.uint8),
        )
        self._square, self._place, self._plane, self._mask, self._strongest, self._chosen = whole[:6]
        # gradients at the edges of the image, where a neighbour is missing, stay 0
        self._rows, self._columns = whole[6:]
        # these reuse the memory of arrays that are no longer needed by then
        self._index, self._magnitude = whole[:2].reshape(-1).view(np.int64), whole[2:4].reshape(-1).view(np.float64)

    def fill(self, features: np.ndarray, images: np.ndarray) -> None:
        """Compute the features of images.

        Parameters
        ----------
        features : ndarray of float32, shape (n, dimensions)
            Where the result is written.
        images : ndarray of uint8, shape (n, pixels, pixels, 3)
        """
        count, width = self._count, self._orientations
        bins = np.empty((len(images), count * count + 1, width + 1))
        for row, image in zip(bins, images, strict=True):
            row[:] = self._histogram(image).reshape(row.shape)
        cells = bins[:, :-1, :width].reshape(len(images), count, count, width) / self._cells**2
        size = self._blocks
        windows = np.lib.stride_tricks.sliding_window_view(cells, (size, size), axis=(1, 2))
        blocks = np.array(windows.transpose((0, 1, 2, 4, 5, 3)), order="C").reshape(-1, size * size * width)
        # L2-Hys
        _normalise(blocks)
        np.minimum(blocks, _CLIP, out=blocks)
        _normalise(blocks)
        features[:] = blocks.reshape(features.shape)

    def _histogram(self, image: np.ndarray) -> np.ndarray:
        """Sum the magnitudes of one image by cell and bin; each pixel's comes from the channel where it is greatest."""
        side, plane, rows, columns, mask = self._pixels, self._plane, self._rows, self._columns, self._mask
        np.copyto(self._planes.reshape(3, side, side), image.transpose(2, 0, 1))
        for channel in range(3):
            # flat arrays of integers below 2 ** 24: exact in float32, and NumPy's fastest operations
            np.copyto(plane, self._planes[channel])
            np.subtract(plane[2 * side :], plane[: -2 * side], out=rows[side:-side])
            np.subtract(plane[2:], plane[:-2], out=columns[1:-1])
            columns[::side] = 0
            columns[side - 1 :: side] = 0
            square, place = (self._square, self._place) if channel else (self._strongest, self._chosen)
            np.multiply(rows, _SPAN, out=place)
            place += columns
            np.multiply(rows, rows, out=square)
            np.multiply(columns, columns, out=plane)
            square += plane
            if channel:  # the first of equals; arithmetic is faster than copying under a mask
                np.greater(square, self._strongest, out=mask)
                place -= self._chosen
                place *= mask
                self._chosen += place
                np.maximum(self._strongest, square, out=self._strongest)
        self._chosen += 255 * _SPAN + 255
        np.copyto(self._index, self._chosen, casting="unsafe")
        np.add(self._base, self._lookup.take(self._index, mode="clip"), out=self._index)
        np.sqrt(self._strongest, out=self._magnitude)
        size = (self._count**2 + 1) * (self._orientations + 1)
        return np.bincount(self._index, self._magnitude, minlength=size)


def _in_one_piece(*arrays: np.ndarray) -> list[np.ndarray]:
    """Copy arrays next to each other, from the beginning of a huge page (if the system provides them)."""
    starts = np.cumsum([0, *(-(-array.nbytes // 64) * 64 for array in arrays)])
    memory = np.empty(starts[-1] + 2 * _HUGE, np.uint8)
    first = -memory.ctypes.data % _HUGE
    copies = []
    for start, array in zip(starts[:-1] + first, arrays, strict=True):
        copies.append(memory[start : start + array.nbytes].view(array.dtype).reshape(array.shape))
        copies[-1][:] = array
    return copies


def _normalise(blocks: np.ndarray) -> None:
    blocks /= np.sqrt(np.einsum("ij,ij->i", blocks, blocks) + _EPS**2)[:, None]
